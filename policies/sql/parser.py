"""SQL text → libpg_query's trees, without letting a text harm the process.

libpg_query recurses over the tree that it prints: 400 KB of `1+1+1…` overruns an 8 MiB stack and kills the process.
Long texts are therefore parsed on a thread whose stack was measured to suffice for the longest text allowed.
PostgreSQL's lexer takes quadratic time on long runs of operator characters (64 KB of nested comment marks: 10 s), so
those are refused before it sees them.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import msgspec
import pgparse  # type: ignore[import-not-found]

from onrecord.policies.sql.errors import SqlError, SqlTooLarge

Node = dict[str, Any]

# Bytes. At LARGEST the worst texts known take 2 s and 300 MB; callers that must not stall analyse texts over SMALL
# on a thread. Stack pages are mapped only when touched: 512 bytes of stack are there for each byte of text.
SMALL = 16 * 1024
LARGEST = 512 * 1024
_STACK = 256 * 1024 * 1024

_OPERATOR_RUN = re.compile(r"[~!@#^&|`?+\-*/%<>=]{257}")

_lock = threading.Lock()


class _Json:
    """Stands in for the json module of pgparse: the same trees in half the time, a tenth of the cost of a statement."""

    loads = staticmethod(msgspec.json.Decoder().decode)


pgparse.json = _Json


def parse(sql: str) -> list[Node]:
    """The raw statements of `sql`: `{"stmt": {NodeName: fields}, "stmt_location": …, "stmt_len": …}`, in bytes.

    Raises SqlError where PostgreSQL's grammar does not accept the text, SqlTooLarge over LARGEST bytes.
    """
    if "\0" in sql:
        raise SqlError("a NUL character cannot be in SQL text", sql.index("\0") + 1)
    size = len(sql)
    if size > SMALL or (size * 4 > SMALL and not sql.isascii()):
        try:
            size = len(sql.encode())
        except UnicodeEncodeError as error:
            raise SqlError("the text holds a lone surrogate", error.start + 1) from None
    if size > LARGEST:
        raise SqlTooLarge(f"the text is {size} bytes long; analysis takes at most {LARGEST}")
    run = _OPERATOR_RUN.search(sql)
    if run is not None:
        raise SqlError("a run of more than 256 operator characters takes the parser too long", run.start() + 1)
    if size <= SMALL:
        return _parse(sql)
    return _parse_on_large_stack(sql)


def _parse(sql: str) -> list[Node]:
    try:
        return pgparse.parse(sql)  # type: ignore[no-any-return]
    except pgparse.PGQueryError as error:
        raise SqlError(str(error.message), error.position) from None
    except RecursionError:
        raise SqlError("the text nests too deeply to be analysed") from None
    except UnicodeEncodeError as error:
        raise SqlError("the text holds a lone surrogate", error.start + 1) from None
    except (ValueError, MemoryError) as error:
        raise SqlError(f"the text cannot be analysed: {type(error).__name__}") from None


def _parse_on_large_stack(sql: str) -> list[Node]:
    result: list[list[Node]] = []
    failure: list[SqlError] = []

    def work() -> None:
        try:
            result.append(_parse(sql))
        except SqlError as error:
            failure.append(error)

    # One at a time: stack_size is process-wide, and so is the memory that a hostile text can claim.
    with _lock:
        before = threading.stack_size(_STACK)
        try:
            thread = threading.Thread(target=work, name="sql-parser")
            thread.start()
        except RuntimeError:
            raise SqlError("no thread to analyse a long text on") from None
        finally:
            threading.stack_size(before)
        thread.join()
    if failure:
        raise failure[0]
    if not result:
        raise SqlError("the text cannot be analysed")
    return result[0]
