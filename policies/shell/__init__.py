"""A shell command line → programs, words, paths, action: read strictly, unknown where shells or runs could differ."""

from onrecord.policies.shell.analysis import ShellAnalysis, analyse, command_of

__all__ = ["ShellAnalysis", "analyse", "command_of"]
