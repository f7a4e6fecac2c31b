"""Full-text search: what people type → FTS5 terms, hits → the commands they belong to."""

from __future__ import annotations

from collections.abc import Iterator

from onrecord.recordings.frames import Kind
from onrecord.recordings.queries import Reader, encodable
from onrecord.recordings.views import View, record_view

_MAX_TERMS = 32


def fts_query(text: str) -> str:
    """Every word of `text` as a quoted term, all of them required; "" where there is none.

    Quoted, FTS5's own syntax (AND, NEAR, *, column filters) is just text, so nothing typed is a syntax error. A phrase
    in double quotes stays together; `*` behind a word asks for its beginning.
    """
    terms: list[str] = []
    for index, part in enumerate(encodable(text).replace("\x00", " ").split('"')):
        if index % 2:
            terms.append(_quoted(part))
        else:
            for word in part.split():
                bare = word.rstrip("*")
                terms.append(_quoted(bare) + ("*" if bare != word and _has_word(bare) else ""))
    return " ".join([term for term in terms if term][:_MAX_TERMS])


def search(reader: Reader, text: str, limit: int | None) -> Iterator[View]:
    """Commands, refusals and sessions with a record in which all words of `text` stand (`match`), oldest first.

    Only numbers are collected; the views are made one by one, since a word may stand in every record.
    """
    query = fts_query(text)
    if not query:
        return
    found: dict[int, int] = {}
    for seq, leaf in reader.match(query, -1 if limit is None else 4 * limit + 4):
        found.setdefault(reader.owner(seq, leaf), seq)
        if limit is not None and len(found) >= limit:
            break
    for owner, seq in sorted(found.items()):
        view = _view(reader, owner)
        hit = reader.leaf(seq)
        if view is not None and hit is not None:
            part = Kind(hit.kind).name.lower() if hit.kind in list(Kind) else "unknown"
            yield view | {"match": {"record": hit.id, "part": part}}


def _view(reader: Reader, seq: int) -> View | None:
    leaf = reader.leaf(seq)
    if leaf is None:
        return None
    if leaf.kind == Kind.SESSION:
        return reader.session_of(seq) | {"kind": "session"}
    return reader.command_of(seq, leaf) or record_view(leaf)


def _has_word(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _quoted(text: str) -> str:
    """A term in which FTS5 sees text only; "" where no word is left for its tokenizer."""
    return '"' + text.replace('"', '""') + '"' if _has_word(text) else ""
