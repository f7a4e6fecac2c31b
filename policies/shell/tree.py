"""Text → the tree of tree-sitter-bash, refused wherever bash or dash might read the text otherwise.

tree-sitter is lenient: it makes a tree of anything. So a tree counts only if it has no error, only kinds of nodes that
are listed here, and nothing but blanks between its tokens as a POSIX shell knows blanks.
"""

from __future__ import annotations

import re

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from onrecord.policies.shell.errors import ShellError
from onrecord.policies.sql.wordlists import words as word_list

SIZE = 32 * 1024  # characters of text
NODES = 6000
# Before the parser sees the text: its time grows with the square of some repetitions.
MARKS = 2000
DEPTH = 60

_BASH = Language(tree_sitter_bash.language())

# Read again, character by character, by words.py: what is below them is not looked at.
WORDS = word_list(
    "word string raw_string concatenation number simple_expansion expansion command_substitution arithmetic_expansion "
    "process_substitution ansi_c_string translated_string brace_expression extglob_pattern regex"
)
STRUCTURE = word_list(
    "program list pipeline command command_name redirected_statement subshell compound_statement negated_command "
    "if_statement elif_clause else_clause for_statement while_statement do_group case_statement case_item "
    "function_definition variable_assignment variable_assignments declaration_command unset_command test_command "
    "comment file_redirect heredoc_redirect heredoc_start heredoc_body heredoc_end herestring_redirect file_descriptor "
    "variable_name"
)
_KEYWORDS = word_list("if then elif else fi for in while until do done case esac { ! function")
_CLOSERS = word_list("} fi done esac then elif else do")
_SEPARATORS = frozenset(["", ";", "\n", "&", ";;", ";&", ";;&", ")", "}", "fi", "done", "esac"])

_LOOSE = frozenset({"variable_assignment", "program", "heredoc_redirect"})

_GAP = re.compile(r"(?:[ \t\n]|\\\n)*")
_LINE_GAP = re.compile(r"(?:[ \t]|\\\n)*")
_MARKS = re.compile(r"[|&;<>(){}$`\"']")
_BAD = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


# In Big5 or GBK, which a host may have as its locale, the second byte of a character may be one of these.
_SECOND_BYTE = re.compile(r"[^\x00-\x7f][\\`]")


class Tree:
    """A checked tree and the bytes that its nodes point into."""

    def __init__(self, text: str) -> None:
        """Raises ShellError where the text is too large, holds odd characters or is not read alike by all shells."""
        if len(text) > SIZE:
            raise ShellError(f"longer than {SIZE} characters")
        if _BAD.search(text):
            raise ShellError("control characters or bytes that are not UTF-8")
        if _SECOND_BYTE.search(text):
            raise ShellError("a \\ or ` behind a character that is no ASCII: not read alike in all locales")
        if len(_MARKS.findall(text)) > MARKS or text.count("|") > MARKS // 4:
            raise ShellError("more operators than are read")
        self.source = text.encode()
        self.root = Parser(_BASH).parse(self.source).root_node
        if self.root.has_error:
            raise ShellError("not a command line that can be parsed")
        self._check()

    def text(self, node: Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode()

    def between(self, start: int, end: int) -> str:
        return self.source[start:end].decode()

    def _check(self) -> None:
        # By level, so that depth costs no recursion.
        count, level, depth = 0, [self.root], 0
        while level:
            depth += 1
            if depth > DEPTH:
                raise ShellError(f"nested more than {DEPTH} deep")
            below: list[Node] = []
            for node in level:
                children = node.children
                count += 1 + len(children)
                if count > NODES:
                    raise ShellError(f"more than {NODES} parts")
                if node.is_missing or node.is_error:
                    raise ShellError("not a command line that can be parsed")
                self._check_node(node)
                if children and node.type not in WORDS and node.type not in {"test_command", "heredoc_body"}:
                    self._check_gaps(node, children)
                    below += children
            level = below
        head = self.between(0, self.root.start_byte)
        tail = self.between(self.root.end_byte, len(self.source))
        if not _GAP.fullmatch(head) or not _GAP.fullmatch(tail):
            raise ShellError("characters that are not read alike by all shells")

    def _check_node(self, node: Node) -> None:
        kind = node.type
        if node.is_named and kind not in WORDS and kind not in STRUCTURE:
            raise ShellError(f"{kind.replace('_', ' ')} is not supported")
        before = self.between(max(node.start_byte - 1, 0), node.start_byte) if self._ascii(node.start_byte - 1) else "x"
        after = self.between(node.end_byte, node.end_byte + 1) if self._ascii(node.end_byte) else "x"
        stuck = (after and after not in " \t\n;&|()<>") or (before and before not in " \t\n;&|()<>`")
        if stuck and kind in _KEYWORDS and not node.is_named:
            raise ShellError(f"{kind!r} stuck to another word")
        if kind == "file_descriptor" and before and before not in " \t\n;&|()":
            raise ShellError("a number stuck to a word before a redirection")
        if kind == "comment":
            if before and before not in " \t\n;&|()":
                raise ShellError("a # inside a word")
            if after not in ("", "\n"):
                raise ShellError("a comment that does not end with its line")

    def _ascii(self, place: int) -> bool:
        return not 0 <= place < len(self.source) or self.source[place] < 0x80

    def _check_gaps(self, node: Node, children: list[Node]) -> None:
        allowed = _LINE_GAP if node.type in {"command", "file_redirect", "herestring_redirect"} else _GAP
        place, previous = node.start_byte, None
        for child in children:
            gap = self.between(place, child.start_byte)
            if not allowed.fullmatch(gap) and node.type != "heredoc_redirect":
                raise ShellError("characters between words that are not read alike by all shells")
            if "\\\n" in gap and not re.search(r"[ \t]|(?<!\\)\n", gap):
                raise ShellError("a line continuation inside a word or an operator")
            both = previous is not None and previous.is_named and child.is_named
            redirects = child.type.endswith("_redirect") or (
                previous is not None and previous.type.endswith("_redirect")
            )
            if both and not gap and not redirects and node.type not in _LOOSE:
                raise ShellError("words that are not apart")
            if not child.is_named and child.type in _CLOSERS and previous is not None:
                if not previous.is_named and previous.type not in _SEPARATORS:
                    raise ShellError(f"{child.type!r} in an odd place")
                if previous.type in {"command", "redirected_statement"} and "\n" not in gap:
                    raise ShellError(f"{child.type!r} in an odd place")
            place, previous = child.end_byte, child
        if node.end_byte != place and not _GAP.fullmatch(self.between(place, node.end_byte)):
            raise ShellError("characters at the end that are not read alike by all shells")
