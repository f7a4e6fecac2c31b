"""git: subcommands that are known; all else may be an alias, which runs anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onrecord.policies.shell.options import Parsed, parse_options
from onrecord.policies.shell.words import Word

if TYPE_CHECKING:
    from onrecord.policies.shell.options import Program
    from onrecord.policies.shell.walker import Walker

_LOG = (
    "--oneline --graph --all --decorate? --stat? --shortstat --numstat --name-only --name-status --summary --patch -pqsu "
    "-n: --max-count: --since: --until: --after: --before: --author: --grep: --format: --pretty? --abbrev-commit "
    "--no-color --color? --no-merges --merges --first-parent --reverse --follow --no-patch --date: -0123456789 "
    "--no-ext-diff --no-textconv --unified: -U: -w --word-diff? --diff-filter: --cached --staged --tags --branches "
    "--remotes -S: -G: -i --exit-code --quiet --minimal --raw --full-history --no-renames -M --find-renames?"
)
# subcommand → options, and whether it is a read, a write or admin. Operands are revisions and paths in the repository.
_KNOWN: dict[str, tuple[str, str]] = {
    "status": ("-sbuvz --short --branch --porcelain? --long --ignored? --untracked-files? --show-stash", "read"),
    "log": (_LOG, "read"),
    "show": (_LOG, "read"),
    "diff": (_LOG, "read"),
    "shortlog": ("-snecw --summary --numbered --email --all", "read"),
    "rev-parse": ("--short? --abbrev-ref? --show-toplevel --verify --git-dir --is-inside-work-tree --quiet -q HEAD", "read"),
    "rev-list": ("--count --all --max-count: -n: --since: --until:", "read"),
    "ls-files": ("-cdmostzikv --cached --deleted --modified --others --stage --exclude-standard --full-name", "read"),
    "ls-tree": ("-rtdlz --name-only --full-tree --long", "read"),
    "blame": ("-wsetnfl -L: --date: --porcelain --line-porcelain", "read"),
    "describe": ("--tags --always --all --dirty? --long --abbrev: --match: --exact-match", "read"),
    "name-rev": ("--tags --name-only --all", "read"),
    "reflog": ("-n: --date:", "unknown"),
    "merge-base": ("--all --is-ancestor --octopus", "read"),
    "cat-file": ("-ptes", "read"),
    "count-objects": ("-vH", "read"),
    "cherry": ("-v", "read"),
    "version": ("--build-options", "read"),
    "add": ("-AunvfN --all --update --dry-run --verbose --force --intent-to-add", "write"),
    "rm": ("-rfqn --cached --force --quiet --dry-run", "write"),
    "mv": ("-fknv --force", "write"),
    "commit": ("-aqvsn -m: --all --message: --amend --no-edit --quiet --signoff --allow-empty --no-verify --author: "
               "--date:", "write"),
    "checkout": ("-bBqft --force --quiet --track --detach --", "write"),
    "switch": ("-cCqd --create --detach --quiet", "write"),
    "restore": ("-SWq --staged --worktree --quiet --source:", "write"),
    "reset": ("-q --hard --soft --mixed --keep --quiet", "write"),
    "merge": ("-qm: --no-ff --ff-only --ff --abort --continue --no-edit --squash --no-commit --quiet", "write"),
    "revert": ("-n --no-edit --abort --continue --no-commit -m:", "write"),
    "cherry-pick": ("-xn --abort --continue --skip --no-commit -m:", "write"),
    "tag": ("-afdm: --annotate --force --delete --message:", "write"),
    "fetch": ("-pqatv --all --prune --tags --quiet --depth: --verbose --unshallow", "write"),
    "pull": ("-qrv --rebase? --ff-only --no-rebase --quiet --tags --prune --verbose", "write"),
    "push": ("-uqfdv --set-upstream --quiet --force --force-with-lease? --tags --all --delete --dry-run --verbose", "write"),
    "clone": ("-qvb: --depth: --branch: --single-branch --quiet --bare --mirror --no-tags --verbose --no-checkout", "write"),
    "init": ("-qb: --bare --quiet --initial-branch:", "write"),
    "clean": ("-fdxXqn --force --dry-run --quiet", "write"),
    "gc": ("--auto --prune? --quiet --aggressive", "write"),
}  # fmt: skip


def git(walker: Walker, row: Program, words: list[Word], stdin: str | None) -> None:
    found = walker.found
    rest = words[1:]
    while rest and rest[0].static and rest[0].text.startswith("-"):
        text = rest[0].text
        if text in {"--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs"}:
            rest = rest[1:]
        elif text == "--version":
            return
        elif text == "-C" and len(rest) > 1:
            found.reads(rest[1])
            rest = rest[2:]
        else:
            found.unknown(f"git {text} may name programs to run")
            rest = rest[2:] if text in {"-c", "--git-dir", "--work-tree", "--exec-path", "--config-env"} else rest[1:]
    if not rest:
        return
    command, *words_after = rest
    if found.terminal and not any(word.text in {"--no-pager", "-P"} for word in words[1 : len(words) - len(rest)]):
        found.unknown("git opens a pager on a terminal, which runs commands: add --no-pager")
    known = _KNOWN.get(command.text) if command.static else None
    if command.static and command.text in {"branch", "remote", "stash", "worktree", "config"}:
        _listing(walker, command.text, words_after)
        return
    if known is None:
        found.unknown(f"git {command.text} is not in the table, or is an alias")
        return
    spec, action = known
    parsed = parse_options(spec, words_after)
    for problem in parsed.problems:
        found.unknown(f"git {command.text}: {problem}")
    found.judge(action, f"git {command.text}")  # type: ignore[arg-type]
    if _edits(command.text, parsed, terminal=found.terminal):
        found.unknown(f"git {command.text} opens an editor, which runs commands: give the message")
    if any(not word.static for word in parsed.operands):
        found.unknown(f"git {command.text}: words that are known only when it runs")
    if command.text in {"clone", "fetch", "pull", "push"}:
        for word in parsed.operands[:1]:
            _remote(walker, word, command.text)
        if command.text == "clone" and len(parsed.operands) > 1:
            found.writes(parsed.operands[1])
    elif command.text in {"add", "rm", "mv", "restore", "diff", "blame", "checkout", "log", "show"}:
        for word in parsed.operands:
            if "/" in word.text or "." in word.text:
                if action == "write":
                    found.writes(word)
                else:
                    found.reads(word)


_MERGED = ("-m", "--no-edit", "--abort", "--no-commit", "-n", "--ff-only", "--squash")


def _edits(command: str, parsed: Parsed, *, terminal: bool) -> bool:
    """Whether an editor is opened for a message: by `commit` always, by those that merge on a terminal."""
    if command == "commit":
        return not parsed.has("-m", "--message", "--no-edit")
    return terminal and command in {"merge", "revert", "pull"} and not parsed.has(*_MERGED)


def _listing(walker: Walker, command: str, words: list[Word]) -> None:
    allowed = {
        "branch": {"-a", "-r", "-v", "-vv", "--all", "--list", "--show-current", "--remotes"},
        "remote": {"-v", "show", "get-url", "origin"},
        "stash": {"list"},
        "worktree": {"list"},
        "config": set(),
    }[command]
    texts = [word.text for word in words]
    if command == "config" and len(texts) == 2 and texts[0] in {"--get", "--get-all"} and words[1].static:
        return
    if command == "config" and texts in (["-l"], ["--list"]):
        return
    if command == "remote" and "show" in texts[:-1]:
        walker.found.judge("write", "git remote show asks another host")
    if (
        command != "config"
        and (words or command in {"branch", "remote"})
        and all(word.static and word.text in allowed for word in words)
    ):
        return
    if command == "config":
        walker.found.judge("admin", "git config may name programs that git runs")
        if texts and not texts[0].startswith("-") and all(word.static for word in words):
            return
    walker.found.unknown(f"git {command} {' '.join(texts)[:80]}")


def _remote(walker: Walker, word: Word, command: str) -> None:
    found = walker.found
    text = word.text
    if "::" in text or text.startswith("-"):
        found.unknown(f"git {command}: a transport that may run programs")
    elif "://" in text:
        scheme = text.partition("://")[0]
        if scheme not in {"https", "http", "ssh", "git"}:
            found.unknown(f"git {command}: the scheme {scheme}")
        walker.dial(text, {"https": 443, "http": 80, "git": 9418}.get(scheme, 22))
    elif ":" in text:
        walker.dial(text.partition(":")[0], 22)
    elif "/" in text:
        found.unknown(f"git {command}: a repository in a folder, whose settings may run programs")


SPECIALS = {"git": git}
