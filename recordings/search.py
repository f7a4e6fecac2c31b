"""Full-text search: what people type → FTS5 terms, hits → the commands they belong to."""

from __future__ import annotations

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


def search(reader: Reader, text: str, limit: int | None) -> list[View]:
    """Commands, refusals and sessions with a record in which all words of `text` stand (`match`), oldest first."""
    query = fts_query(text)
    found: dict[str, View] = {}
    if not query:
        return []
    for seq, leaf in reader.match(query, -1 if limit is None else 4 * limit + 4):
        view: View | None
        if leaf.kind == Kind.SESSION:
            view = reader.session_of(seq) | {"kind": "session"}
        else:
            view = reader.command_of(seq, leaf)
        if view is None:
            view = record_view(leaf)
        if view["id"] not in found:
            part = Kind(leaf.kind).name.lower() if leaf.kind in list(Kind) else "unknown"
            found[view["id"]] = view | {"match": {"record": leaf.id, "part": part}}
        if limit is not None and len(found) >= limit:
            break
    return sorted(found.values(), key=lambda view: str(view["at"]))


def _has_word(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _quoted(text: str) -> str:
    """A term in which FTS5 sees text only; "" where no word is left for its tokenizer."""
    return '"' + text.replace('"', '""') + '"' if _has_word(text) else ""
