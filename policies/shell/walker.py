"""From the checked tree to simple commands, and from those to what they do."""

from __future__ import annotations

import re

from tree_sitter import Node

from onrecord.policies.shell.errors import ShellError
from onrecord.policies.shell.found import Found
from onrecord.policies.shell.options import Parsed, Program, operand_roles, parse_options
from onrecord.policies.shell.specials import SPECIALS
from onrecord.policies.shell.table import PROGRAMS
from onrecord.policies.shell.tree import WORDS, Tree
from onrecord.policies.shell.variables import judge_variable
from onrecord.policies.shell.words import Read, Word, read_body, read_words
from onrecord.policies.sql.wordlists import words as word_list

_DEPTH = 8
_BIN = frozenset({"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"})
_READ_FROM = frozenset({"<"})
_WRITE_TO = frozenset({">", ">>", ">|", "&>", "&>>", ">&"})
# Of these programs a target `-` is the standard output.
_DASH_IS_OUTPUT = word_list("curl wget uniq")
_DELIMITER = re.compile(r"""(?:'([\w.-]+)'|"([\w.-]+)"|(\w[\w.-]*))""")
_OPERATORS = word_list("; & && || | |& ;; ( ) { } ! if then elif else fi for in while until do done case esac") | {"\n"}


class Walker:
    """Grows `found`. One for a line and all code nested in it; `depth` counts the nesting."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.depth = 0

    # Code

    def code(self, text: str, what: str = "", *, same_shell: bool = False) -> None:
        """Shell code: the line, or what `sh -c`, a substitution or the like runs. `same_shell`: its `cd` lasts."""
        if self.depth >= _DEPTH:
            self.found.unknown("code nested too deeply")
            return
        self.depth += 1
        before = self.found.cwds
        try:
            tree = Tree(text)
            self._node(tree, tree.root)
        except ShellError as error:
            self.found.unknown(f"{what}: {error}" if what else str(error))
        finally:
            self.depth -= 1
            if self.depth and not same_shell:
                self.found.cwds = before

    def _read(self, read: Read) -> list[Word]:
        for reason in read.reasons:
            self.found.unknown(reason)
        for code in read.codes:
            self.code(code, "in a substitution")
        return read.words

    def _word(self, tree: Tree, node: Node) -> Word:
        words = self._read(read_words(tree.text(node)))
        if len(words) != 1:
            raise ShellError("a word that is not read alike by all shells")
        return words[0]

    # Structure

    def _node(self, tree: Tree, node: Node) -> None:
        kind = node.type
        method = getattr(self, f"_{kind}", None) if node.is_named else None
        if method is not None:
            method(tree, node)
        elif kind in WORDS:
            self._word(tree, node)
        elif node.is_named:
            raise ShellError(f"{kind.replace('_', ' ')} is not supported here")
        elif kind not in _OPERATORS:
            raise ShellError(f"{kind!r} is not supported")
        elif kind == "|&":
            self.found.unknown("|& is read differently by shells")

    def _all(self, tree: Tree, node: Node) -> None:
        for child in node.children:
            self._node(tree, child)

    def _program(self, tree: Tree, node: Node) -> None:
        self._all(tree, node)

    def _comment(self, tree: Tree, node: Node) -> None:
        pass

    def _scoped(self, tree: Tree, node: Node) -> None:
        before = self.found.cwds
        self._all(tree, node)
        self.found.cwds = before

    _subshell = _scoped
    _negated_command = _compound_statement = _if_statement = _elif_clause = _else_clause = _all
    _case_item = _variable_assignments = _all

    def _pipeline(self, tree: Tree, node: Node) -> None:
        # Which parts of a pipeline share the shell's folder depends on the shell.
        self._all(tree, node)

    def _list(self, tree: Tree, node: Node) -> None:
        left, *rest = node.children
        before = self.found.cwds
        self._node(tree, left)
        operator = rest[0].type if rest else ""
        if operator == "&&" and _plain_cd(tree, left) and self.found.cwds[: len(before)] == before:
            moved = self.found.cwds[len(before) :]
            self.found.cwds = moved or before
        for child in rest:
            self._node(tree, child)
        if self.found.cwds != before:
            self.found.cwds = tuple(dict.fromkeys((*self.found.cwds, *before)))

    def _loop(self, tree: Tree, node: Node) -> None:
        before = self.found.cwds
        self._all(tree, node)
        if self.found.cwds != before:
            self.found.unknown("changes the folder inside a loop")

    _while_statement = _do_group = _loop

    def _for_statement(self, tree: Tree, node: Node) -> None:
        before = self.found.cwds
        for child in node.children:
            if child.type == "variable_name":
                judge_variable(self.found, tree.text(child))
            elif child.type == "select":
                raise ShellError("select is not supported")
            else:
                self._node(tree, child)
        if self.found.cwds != before:
            self.found.unknown("changes the folder inside a loop")

    def _case_statement(self, tree: Tree, node: Node) -> None:
        self._all(tree, node)

    def _function_definition(self, tree: Tree, node: Node) -> None:
        self.found.unknown("defines a function")
        for child in node.named_children:
            if child.type != "word":
                self._node(tree, child)

    def _variable_assignment(self, tree: Tree, node: Node) -> None:
        name, equals, *value = node.children
        if name.type != "variable_name" or equals.type != "=" or len(value) > 1:
            raise ShellError("an assignment that is more than NAME=word")
        if equals.start_byte != name.end_byte or (value and value[0].start_byte != equals.end_byte):
            raise ShellError("an assignment with blanks")
        judge_variable(self.found, tree.text(name), self._word(tree, value[0]).text if value else "")

    def _declaration_command(self, tree: Tree, node: Node) -> None:
        keyword, *rest = node.children
        if keyword.type not in {"export", "readonly"}:
            self.found.unknown(f"{keyword.type} is read differently by shells")
        self.found.programs.add(keyword.type)
        self.found.argv.append(tuple(word.text for word in self._read(read_words(tree.text(node)))))
        for child in rest:
            if child.type == "variable_assignment":
                self._variable_assignment(tree, child)
            elif child.type == "variable_name":
                judge_variable(self.found, tree.text(child))
            else:
                self.found.unknown(f"{keyword.type} with more than NAME=word")

    def _unset_command(self, tree: Tree, node: Node) -> None:
        self.found.programs.add("unset")
        words = self._read(read_words(tree.text(node)))
        self.found.argv.append(tuple(word.text for word in words))
        for word in words[1:]:
            judge_variable(self.found, word.text)

    def _test_command(self, tree: Tree, node: Node) -> None:
        if node.children[0].type != "[":
            raise ShellError(f"{node.children[0].type} is read differently by shells")
        self._simple(self._read(read_words(tree.text(node))))

    # Simple commands

    def _redirected_statement(self, tree: Tree, node: Node) -> None:
        body: list[Node] = []
        extra: list[Word] = []
        bodies: list[str] = []
        later: list[Node] = []
        inner = [child for child in node.children if not child.type.endswith("_redirect")]
        if len(inner) == 1 and inner[0].type != "command":
            # The parser puts the last redirection of `cd /etc && ls > x` around all of it: x lies where that led.
            self._node(tree, inner[0])
        before = len(self.found.redirections)
        for child in node.children:
            if child.type == "file_redirect":
                extra += self._file_redirect(tree, child)
            elif child.type == "herestring_redirect":
                self._herestring(tree, child)
            elif child.type == "heredoc_redirect":
                words, text, nodes = self._heredoc(tree, child)
                extra += words
                bodies.append(text)
                later += nodes
            else:
                body.append(child)
        if extra and any(operator.startswith("&") for operator, _ in self.found.redirections[before:]):
            raise ShellError("words behind &>, which are a command of their own to some shells")
        if len(body) > 1 or (extra and (not body or body[0].type != "command")):
            raise ShellError("a redirection in an odd place")
        if body and body[0].type == "command":
            self._command(tree, body[0], extra=extra, stdin=bodies[0] if len(bodies) == 1 else None)
        elif not body and self.found.terminal:
            self.found.unknown("a redirection without a command: zsh opens a pager for it, which runs commands")
        for child in later:
            self._node(tree, child)

    def _file_redirect(self, tree: Tree, node: Node) -> list[Word]:
        """Judges the redirection; what follows its target belongs to the command."""
        operator, words = "", []
        for child in node.children:
            if child.type == "file_descriptor":
                if not tree.text(child).isdigit():
                    raise ShellError("a redirection to {name}")
            elif child.type in WORDS:
                words.append(self._word(tree, child))
            else:
                operator = tree.text(child)
        if not words:
            if operator in {">&-", "<&-"}:
                return []
            raise ShellError("a redirection without a target")
        target, *rest = words
        self.found.redirections.append((operator, target.text))
        if operator in {">&", "<&"} and target.static and (target.text.isdigit() or target.text == "-"):
            return rest
        if target.text == "-":
            target = Word(text="./-", static=target.static)  # a file: only `>&-` closes
        if target.many or target.glob:
            self.found.unknown("a redirection to a word that may become several")
        if target.text.startswith(("/dev/tcp/", "/dev/udp/")) or not (target.static or target.pipe):
            self._device(target)
        if operator in _READ_FROM:
            self.found.reads(target)
        elif operator in _WRITE_TO:
            self.found.writes(target)
        else:
            self.found.writes(target)
            if operator != "<>":
                self.found.unknown(f"the redirection {operator}")
        return rest

    def _device(self, target: Word) -> None:
        parts = target.text.split("/")
        self.found.unknown("a redirection that bash makes a connection of, or could")
        if len(parts) == 5 and parts[4].isdigit():
            self.found.dials.add((parts[3], int(parts[4])))

    def _herestring(self, tree: Tree, node: Node) -> None:
        self.found.unknown("<<< is read differently by shells")
        for child in node.named_children:
            if child.type in WORDS:
                self._word(tree, child)

    _herestring_redirect = _herestring

    def _heredoc(self, tree: Tree, node: Node) -> tuple[list[Word], str, list[Node]]:
        """The words that follow on the line, the body, and the commands that follow on the line."""
        start = next((child for child in node.children if child.type == "heredoc_start"), None)
        operator = next((tree.text(child) for child in node.children if child.type in {"<<", "<<-"}), "")
        given = _DELIMITER.fullmatch(tree.text(start)) if start else None
        if start is None or given is None or not operator or tree.source.count(b"<<") != 1:
            raise ShellError("a here-document that is not plain: one a line, delimited by a name")
        delimiter = given.group(1) or given.group(2) or given.group(3)
        line_end = tree.source.find(b"\n", start.end_byte)
        if line_end < 0 or b"\\\n" in tree.source[start.end_byte : line_end + 1]:
            raise ShellError("a here-document without a body")
        lines = tree.source[line_end + 1 :].decode().split("\n")
        strip = operator == "<<-"
        ends = [index for index, line in enumerate(lines) if (line.lstrip("\t") if strip else line) == delimiter]
        end_node = next((child for child in node.children if child.type == "heredoc_end"), None)
        if not ends or end_node is None:
            raise ShellError("a here-document that does not end")
        body = "".join(line + "\n" for line in lines[: ends[0]])
        end_at = line_end + 1 + len(body.encode()) + len(lines[ends[0]].encode())
        if end_node.end_byte != end_at:
            raise ShellError("a here-document that is not read alike by all shells")
        quoted = given.group(3) is None
        if not quoted:
            if "\\\n" in body:
                raise ShellError("a line continuation in a here-document")
            self._read(read_body(body))
            if "$" in body or "`" in body or "\\" in body:
                body = "$unknown"
        words: list[Word] = []
        nodes: list[Node] = []
        for child in node.children:
            if child.type in {"<<", "<<-", "heredoc_start", "heredoc_body", "heredoc_end"}:
                continue
            if child.end_byte > line_end:
                raise ShellError("a here-document that is not plain")
            if child.type == "file_redirect":
                words += self._file_redirect(tree, child)
            elif child.type in WORDS:
                words.append(self._word(tree, child))
            else:
                nodes.append(child)
        return words, body, nodes

    def _command(self, tree: Tree, node: Node, *, extra: list[Word] | None = None, stdin: str | None = None) -> None:
        words: list[Word] = []
        for child in node.children:
            if child.type == "variable_assignment":
                if words:
                    words.append(self._word(tree, child))
                else:
                    self._variable_assignment(tree, child)
            elif child.type == "command_name" or child.type in WORDS:
                words.append(self._word(tree, child))
            elif child.type == "file_redirect":
                words += self._file_redirect(tree, child)
            elif child.type == "herestring_redirect":
                self._herestring(tree, child)
            elif child.is_named or child.type not in {"$", "==", "=~"}:
                raise ShellError(f"{child.type} inside a command is not supported")
            else:
                raise ShellError("a command that is not read alike by all shells")
        self._simple([*words, *(extra or [])], stdin=stdin)

    def _simple(self, words: list[Word], stdin: str | None = None) -> None:
        if not words:
            return
        self.run(words, stdin=stdin)

    def run(self, words: list[Word], *, stdin: str | None = None) -> None:
        """One simple command, also one that another program runs. `stdin`: the text of its here-document."""
        found = self.found
        found.budget -= 1
        if found.budget < 0:
            found.unknown("too many commands")
            return
        found.argv.append(tuple(word.place or word.text for word in words))
        name = words[0]
        if not name.static or name.glob or name.many or not name.text:
            found.unknown(f"a program that is known only when it runs: {name.text}")
            self.guess(words[1:])
            return
        found.programs.add(name.text)
        folder, _, base = name.text.rpartition("/")
        found.programs.add(base or name.text)
        row = PROGRAMS.get(base) if not folder or folder in _BIN else None
        if row is None or (name.home and folder == ""):
            found.unknown(f"program {name.text} is not in the table")
            self.guess(words[1:])
            return
        self._known(row, base, words, stdin)

    def guess(self, words: list[Word]) -> None:
        """Words of a program that is not known: what looks like a file is noted for policies, the action is not."""
        for word in words:
            if not word.text.startswith("-") and (word.home or "/" in word.text or "." in word.text):
                self.found.read.update(self.found.paths(word))

    def _known(self, row: Program, base: str, words: list[Word], stdin: str | None) -> None:
        found = self.found
        if row.action != "read":
            found.judge(row.action, f"{base} {row.why}" if row.why else f"runs {base}")
        if row.inert:
            return
        if row.special:
            SPECIALS[row.special](self, row, words, stdin)
            return
        self.plain(row, words)

    def plain(self, row: Program, words: list[Word]) -> Parsed:
        """A program of which its row says all."""
        found = self.found
        name = words[0].text
        parsed = parse_options(row.options, words[1:], calm=row.calm)
        for problem in parsed.problems:
            found.unknown(f"{name}: {problem}")
        if parsed.problems:
            self.guess(words[1:])
        for option, known, value in parsed.options:
            if known.effect:
                found.judge(known.effect, f"{name} {option}")  # type: ignore[arg-type]
            if value is not None:
                self.role(known.role, value, name)
        self.operands(row.operands, parsed.operands, name)
        return parsed

    def operands(self, spec: str, words: list[Word], name: str) -> None:
        roles = operand_roles(spec, len(words))
        if roles is None:
            self.found.unknown(f"{name}: more operands than are known")
            self.guess(words)
            return
        for role, word in zip(roles, words, strict=True):
            self.role(role, word, name)

    def role(self, role: str, word: Word, name: str) -> None:
        found = self.found
        if role == "data":
            return
        if role == "read":
            found.reads(word)
        elif role == "write":
            if word.text != "-" or name.rpartition("/")[2] not in _DASH_IS_OUTPUT:
                found.writes(word)
        elif role == "below":
            found.writes(word, below=True)
        elif role == "delete":
            found.deletes(word)
        elif role == "code":
            if word.static:
                self.code(word.text, f"in {name}")
            else:
                found.unknown(f"{name}: code that is known only when it runs")
        elif role == "dial":
            self.dial(word.text, 0)
            if not word.static:
                found.unknown(f"{name}: a host that is known only when it runs")
        else:
            found.unknown(f"{name}: {word.text}")

    def dial(self, host: str, port: int) -> None:
        """`host` may be `user@host`, `host:port`, `[v6]:port` or a URL."""
        text = re.sub(r"^[a-z][a-z0-9+.-]*://", "", host, flags=re.IGNORECASE).split("/", 1)[0].rpartition("@")[2]
        matched = re.fullmatch(r"\[([^\]]*)\](?::(\d+))?|([^:]*)(?::(\d+))?", text)
        if matched is None:
            self.found.dials.add((text, port))
            return
        self.found.dials.add((matched[1] or matched[3] or "", int(matched[2] or matched[4] or port)))


def _plain_cd(tree: Tree, node: Node) -> bool:
    return node.type == "command" and re.match(r"cd[ \t]", tree.text(node)) is not None
