"""Whether a policy file can be one, without running it: it exists, compiles and assigns `addons`."""

from __future__ import annotations

import ast
from pathlib import Path

from onrecord.policies.config.values import BadValue, name, shown

MAX_POLICY = 1024 * 1024
LIBRARY = Path(__file__).resolve().parent.parent / "library"


def library_path(label: str) -> Path:
    """The file of `library:NAME`."""
    path = LIBRARY / f"{name(label, 'library policy')}.py"
    if label.startswith("_") or not path.is_file():
        known = ", ".join(sorted(file.stem for file in LIBRARY.glob("*.py") if not file.stem.startswith("_")))
        raise BadValue(f"no such policy in the library: {shown(label)}", f"there are: {known}")
    return path


def check_policy_file(path: Path) -> None:
    """Raise BadValue where the file at `path` cannot be loaded as a policy."""
    try:
        if not path.is_file():
            raise BadValue(
                f"no such file: {shown(str(path))}", 'give a path from the configuration\'s folder, or "library:NAME"'
            )
        with path.open("rb") as file:
            source = file.read(MAX_POLICY + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, BadValue):
            raise
        raise BadValue(
            f"cannot be read: {shown(str(path))}: {getattr(error, 'strerror', None) or 'bad path'}"
        ) from None
    if len(source) > MAX_POLICY:
        raise BadValue(f"{str(path)!r} is over {MAX_POLICY} bytes")
    try:
        tree = ast.parse(source, filename=str(path))
        compile(tree, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" at line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else "it cannot be parsed"
        raise BadValue(f"{str(path)!r} does not compile{line}: {reason}") from None
    if not any(_assigns_addons(node) for node in tree.body):
        raise BadValue(f"{str(path)!r} has no module-level list `addons`", "end it with addons = [YourPolicy()]")


def _assigns_addons(node: ast.stmt) -> bool:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets = [node.target]
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant | ast.Dict | ast.Set):
        return False
    return any(isinstance(target, ast.Name) and target.id == "addons" for target in targets)
