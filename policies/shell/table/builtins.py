"""Words that the shell itself knows."""

from onrecord.policies.shell.options import Program

ROWS = (
    Program("cd", special="cd"),
    Program("test [", special="test"),
    Program("printf", special="printf"),
    Program("export readonly unset", "-fnpv", special="names"),
    Program("read", "-r", special="names"),
    Program("set", special="set"),
    Program("exit return break continue shift umask", "-Sp", special="number"),
    Program("wait jobs", "-lpnrs", special="number"),
    Program("times hash", ""),
    Program("type", "", "data*"),
    Program("eval", special="evaluate"),
    Program("trap", special="evaluate"),
    Program(". source", "", "script data*", action="unknown", why="runs a file as code"),
    Program("alias unalias shopt enable complete compgen bind declare typeset local let mapfile readarray getopts "
            "dirs pushd popd suspend logout fc history caller help ulimit", "", "data*", action="unknown",
            why="changes the shell, or is read differently by shells"),
    Program("fg bg disown", "", "data*", action="unknown", why="is for interactive shells"),
)  # fmt: skip
