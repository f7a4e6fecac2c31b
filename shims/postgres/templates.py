"""From text to templates: what each statement is in this session, now. No I/O."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from onrecord.policies.masking import MaskError
from onrecord.policies.model import Action, Session, SqlCommand
from onrecord.policies.sql import Analysis, Statement, command_of
from onrecord.policies.sql.catalog import Catalog
from onrecord.policies.sql.lineage import Lineage
from onrecord.policies.sql.lineage.types import UNSURE
from onrecord.shims.postgres.analysing import LONG, Reading, Wanted, read, refused
from onrecord.shims.postgres.combined import UNKNOWN_ROWS, executing
from onrecord.shims.postgres.commands import UNKNOWN, Prepared, Refusal, Template, own_detail, with_detail
from onrecord.shims.postgres.masking.copy_options import copy_options
from onrecord.shims.postgres.rulings import MASKING, MaskedRules, ruling_of
from onrecord.shims.postgres.settings import PathError, fields_of, paths_of
from onrecord.shims.postgres.state import Before, SessionState, altering_setting

if TYPE_CHECKING:
    from onrecord.shims.postgres.catalog import CatalogSource
    from onrecord.shims.postgres.masking.session import SessionMasking

_CACHED_TEXTS = 128
_CACHED_LENGTH = LONG
_READINGS = 6  # of one text: for two paths, and thrice as the catalog changes
_CURSORS = {"DeclareCursorStmt": "declares", "FetchStmt": "fetches", "ClosePortalStmt": "closes"}
ALL_CURSORS = "*"
_BUILT_IN = ("pg_catalog.", "information_schema.")


class Miss(Exception):  # noqa: N818  # a signal, not an error
    """The catalog does not know a name, or another session is changing it: read it again, then ask again."""


class Long(Miss):
    """A text is too long to be read between others' messages: have it read aside, `put` what it says, ask again."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self.wanted = wanted


class Templates:
    """Makes and keeps the templates of one session. Analysis is cached beyond it; verdicts never are.

    `catalog` is the snapshot to decide by, None where there is none to trust. `masking`: what this session sees masked,
    with the resource's `rules`; None: nothing. `aside`: Long may be raised. `worked`: characters read by now.
    """

    def __init__(self, session: Session, user: str, source: CatalogSource | None = None) -> None:
        self.session = session
        self.state = SessionState(user, source)
        self.catalog: Catalog | None = None
        self.masking: SessionMasking | None = None
        self.rules = MaskedRules()
        self.patient = True  # Miss may be raised
        self.looked = False  # the catalog was read for this very message
        self.aside = False
        self.worked = 0
        self._readings: list[tuple[Wanted, Reading]] = []  # of one text, read aside
        self._source = source
        self._cache: dict[str, tuple[Template, ...]] = {}
        self._shapes: dict[int, tuple[Statement, Template]] = {}  # by the id of Statement.shape, which is held with it
        self._key: tuple[object, ...] = ()
        self._stamp = object()

    def of(self, text: str) -> tuple[Template, ...]:
        """One template a statement of `text`; for blank text one of kind EMPTY. Never raises for bad SQL; Miss."""
        self._renew()
        found = self._cache.get(text)
        if found is None:
            found = self._make(text)
            self._readings = []
            if len(text) <= _CACHED_LENGTH and not _looked_for(found):
                if len(self._cache) >= _CACHED_TEXTS:
                    self._cache.clear()
                self._cache[text] = found
        return found

    def _renew(self) -> None:
        """Forget what was made under another catalog, state or masks."""
        source = self._source
        key = (self.catalog, self.state.version, source.unsettled_version if source is not None else 0, self.masking)
        if key != self._key:
            self._cache.clear()
            self._shapes.clear()
            self._key, self._stamp = key, object()

    def again(self, template: Template) -> Template:
        """The template as it is now: of a prepared statement, under the catalog and the paths of this moment."""
        if not template.text:
            return template
        self._renew()
        if template.stamp is self._stamp and not _looked_for((template,)):
            return template
        made = self.of(template.text)
        if template.stamp is self._stamp:
            return template
        now = made[template.index]
        return prepared_by(now) if template.inner else now

    def plain(self, text: str, kind: str, action: Action) -> Template:
        """A template of something that is no statement of the grammar."""
        command = SqlCommand(session=self.session, action=action, text=text, kind=kind, role=self.state.role)
        return own_detail(Template(command))

    def fetching(self, text: str, cursor: str) -> Template:
        """A template of a message that fetches from a cursor."""
        template = self.plain(text, "FETCH", "read")
        template.fetches = cursor
        template.lineage = UNKNOWN_ROWS if self.masking is not None and self.masking.traces else None
        return template

    def opaque(self, text: str, kind: str, refusal: Refusal) -> Template:
        """A template of something that the shim refuses."""
        template = self.plain(text, kind, "unknown")
        template.refusal = refusal
        return template

    def executing(self, template: Template, prepared: Prepared | None) -> Template:
        """An EXECUTE or FETCH as what it runs, with what the masks say of that."""
        resolved = executing(template, prepared)
        self.rule(resolved)
        return resolved

    # ------------------------------------------------------------------ making

    def _make(self, text: str) -> tuple[Template, ...]:
        path = self.state.path
        reading = self._read(text, path)
        shape = None
        if reading.analysis is not None:
            statement = reading.analysis.statements[0] if len(reading.analysis.statements) == 1 else None
            shape = statement.shape if statement is not None and not reading.lineages else None
            if statement is not None and shape is not None and (found := self._shapes.get(id(shape))) is not None:
                return (found[1].alike(statement, text),)
            path = self._path(reading.analysis)
            if path != self.state.path:  # a text may set the path that its own next statement is read with
                reading = self._read(text, path)
        if reading.refusal is not None:
            return (self.opaque(reading.shown, "UNKNOWN", reading.refusal),)
        if reading.analysis is None:
            return (self._unparsed(reading.shown, reading.error),)
        statements = reading.analysis.statements
        if not statements:
            return (self.plain(text, "EMPTY", "read"),)
        lineages = self._lineages(reading.lineages, len(statements))
        made: list[Template] = []
        before = Before()
        for i, statement in enumerate(statements):
            template = self._template(statement, before, lineages[i])
            template.text, template.index, template.stamp = text, i, self._stamp
            made.append(template)
            before.add(statement)
        if shape is not None and made[0].plain:
            if len(self._shapes) >= _CACHED_TEXTS:
                self._shapes.clear()
            self._shapes[id(shape)] = shape, made[0]
        return tuple(made)

    def _read(self, text: str, path: tuple[str, ...]) -> Reading:
        """What `text` says under `path`. Raises Long."""
        refuses = self._masked or self.session.resource.unknown == "deny"
        wanted = Wanted(text, path, self.catalog, self.masking is not None and self.masking.traces, refuses)
        if not self.aside:
            return read(wanted)
        if len(text) <= LONG:
            self.worked += len(text)
            return read(wanted)
        for known, reading in self._readings:
            if known == wanted or (reading.refusal is not None and known.text == text):
                return reading
        raise Long(wanted)

    def put(self, wanted: Wanted, reading: Reading) -> None:
        """What was read aside, for the next `of`. Where catalog or paths change all the while, it is refused."""
        if self._readings and self._readings[0][0].text != wanted.text:
            self._readings = []
        if len(self._readings) >= _READINGS:
            reading = refused(wanted, "what its names mean changed again and again while it was analysed", "40001")
        self._readings.append((wanted, reading))

    def _unparsed(self, text: str, reason: str) -> Template:
        """A text that may do anything: where the resource lets unknown commands be decided, and nothing is masked, the
        server may have its say (most often a syntax error); behind it nothing in the session is certain."""
        if self._masked or self.session.resource.unknown == "deny":
            return self.opaque(text, "UNKNOWN", Refusal(reason, policy=UNKNOWN))
        anything = Statement(
            text=text, kind="UNKNOWN", action="unknown", node="", ddl=True, creates=("*",), settings=(("?", None),)
        )
        template = self.plain(text, "UNKNOWN", "unknown")
        template.statements, template.tracked, template.reasons = (anything,), True, (f"unknown: {reason}",)
        return template

    def _path(self, analysis: Analysis) -> tuple[str, ...]:
        try:
            return self.state.extended([path for one in analysis.statements for path in paths_of(one)])
        except PathError:  # that statement is refused, and with it the text
            return self.state.path

    @property
    def _masked(self) -> bool:
        return self.masking is not None and not self.masking.idle

    def _lineages(self, found: tuple[Lineage, ...], count: int) -> tuple[Lineage | None, ...]:
        if self.masking is None or not self.masking.traces:
            return (None,) * count
        return found if len(found) == count else (UNSURE,) * count

    def _template(self, statement: Statement, before: Before, lineage: Lineage | None) -> Template:
        state = self.state
        uncertain = state.uncertain(statement, before) or _altering(statement) or self._unread(statement)
        uncertain = uncertain or self._contested(statement)
        if not uncertain:
            self._check_known(statement)
        command = command_of(statement, self.session, role=state.role)
        reasons = statement.reasons
        if statement.otherwise is not None and self.looked and not self.state.may_hide and not uncertain:
            # Looked for just now, and no session of the gateway is making it: the server says that it is not there.
            command = msgspec.structs.replace(command, action=statement.otherwise, also_admin=False)
            reasons = tuple(reason for reason in reasons if reason not in statement.absent)
        if uncertain:
            reasons = (f"unknown: {uncertain}", *reasons)
            lineage = UNSURE if lineage is not None else None
            admin = "admin" in statement.actions or statement.action == "admin"
            command = msgspec.structs.replace(command, action="unknown", also_admin=admin)
        template = Template(
            command,
            refusal=self._refusal(statement),
            reasons=reasons,
            statements=(statement,),
            prepares=statement.prepares,
            executes=statement.executes,
            deallocates=statement.deallocates,
            copy=statement.copy,
            secret_parameters=statement.secret_parameters,
            lineage=lineage,
        )
        _name_cursor(template, statement)
        names = (template.prepares, template.executes, template.deallocates)
        cursors = (template.declares, template.fetches, template.closes)
        template.special = any(name is not None for name in (*names, *cursors))
        template.tracked = template.declares is not None or _is_tracked(statement)
        self.rule(template)
        return with_detail(template, statement.detail_json, state.role)

    def rule(self, template: Template) -> None:
        """Let the masks say what they say of a template with its lineage."""
        lineage = template.lineage
        if lineage is not None and self.masking is not None:
            resolved = lineage.use not in {"executes", "fetches"}  # else its own fields say nothing yet
            template.ruling = ruling_of(lineage, self.masking.may_hit, self.rules) if resolved else None

    def _contested(self, statement: Statement) -> str:
        name = self.state.contested(statement)
        if name and self.patient:
            raise Miss
        return f"{name} is being changed by another session" if name else ""

    def _unread(self, statement: Statement) -> str:
        """Without a catalog that there should be: what a relation is, and what it sets in motion, nobody knows."""
        if self._source is None or self.catalog is not None:
            return ""
        named = statement.tables_read | statement.tables_written
        if all(table.startswith(_BUILT_IN) for table in named) and statement.action != "unknown":
            return ""
        return "the catalog cannot be read"

    def _check_known(self, statement: Statement) -> None:
        source, catalog = self._source, self.catalog
        if statement.action != "unknown" or source is None or catalog is None:
            return
        unknown = statement.mentions - catalog.bare_names
        if self.patient and (statement.absent or (unknown and source.may_look_again())):
            raise Miss

    def _refusal(self, statement: Statement) -> Refusal | None:
        """What the shim refuses in every mode: paths that cannot be followed, and masks that could be walked around."""
        try:
            paths = paths_of(statement)
            self.state.extended(paths)
        except PathError as error:
            return Refusal(str(error), "use SET search_path with the names of a few schemas")
        altering = altering_setting(statement)
        if altering and self.masking is not None and not self.masking.idle:
            return Refusal(f"{altering} may not change in a session with masks: SQL would read in another way")
        if statement.copy == "out" and self.masking is not None and not self.masking.idle:
            try:
                copy_options(statement.text)
            except MaskError as error:
                return Refusal(str(error), "use the usual options", policy=MASKING)
        return None


def prepared_by(template: Template) -> Template:
    """What a PREPARE prepares, as the template of an EXECUTE of it."""
    return dataclasses.replace(template, prepares=None, special=False, inner=True)


def _looked_for(templates: tuple[Template, ...]) -> bool:
    """Whether a name is not there: the next time it is looked for again."""
    return any(statement.absent for template in templates for statement in template.statements)


def _is_tracked(statement: Statement) -> bool:
    return statement.ddl or bool(statement.transaction or statement.settings) or statement.node == "DiscardStmt"


def _altering(statement: Statement) -> str:
    altering = altering_setting(statement)
    return f"SQL may read in another way once {altering} is changed" if altering else ""


def _name_cursor(template: Template, statement: Statement) -> None:
    attribute = _CURSORS.get(statement.node)
    if attribute is not None:
        fields: dict[str, Any] = fields_of(statement)
        setattr(template, attribute, fields.get("portalname") or (ALL_CURSORS if attribute == "closes" else ""))
