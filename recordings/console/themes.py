"""Colours that eyes with any colour vision tell apart (Okabe and Ito's set); a mark never is colour alone."""

from __future__ import annotations

from typing import NamedTuple

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.theme import Theme

DARK = Theme(
    name="onrecord-dark",
    primary="#56B4E9", secondary="#0072B2", accent="#56B4E9",
    warning="#F0E442", error="#E8743B", success="#2FBF97",
    foreground="#E6E6E6", background="#101418", surface="#161B21", panel="#1F262E",
    dark=True,
    variables={"border": "#3A4653", "border-blurred": "#2A333D"},
)  # fmt: skip
LIGHT = Theme(
    name="onrecord-light",
    primary="#0072B2", secondary="#56B4E9", accent="#0072B2",
    warning="#8A6D00", error="#B34700", success="#00694E",
    foreground="#1A1A1A", background="#FAFAFA", surface="#F0F2F4", panel="#E3E7EB",
    dark=False,
    variables={"border": "#9AA5B1", "border-blurred": "#C5CCD3"},
)  # fmt: skip
CONTRAST = Theme(
    name="onrecord-contrast",
    primary="#FFFFFF", secondary="#56B4E9", accent="#56B4E9",
    warning="#FFFF00", error="#FF9E4A", success="#5CF2CB",
    foreground="#FFFFFF", background="#000000", surface="#000000", panel="#1A1A1A",
    dark=True,
    variables={"border": "#FFFFFF", "border-blurred": "#8C8C8C"},
)  # fmt: skip
THEMES = (DARK, LIGHT, CONTRAST)


class Palette(NamedTuple):
    """Rich styles of one theme."""

    plain: Style
    dim: Style
    id: Style
    ok: Style
    denied: Style
    held: Style
    failed: Style
    aborted: Style
    chosen: Style
    head: Style

    def mark(self, mark: str) -> Style:
        """The style of what became of a command."""
        known = {
            "ok": self.ok, "granted": self.ok, "deny": self.denied, "hold": self.held, "error": self.failed,
            "refused": self.denied, "aborted": self.aborted, "unread": self.denied, "unreadable": self.denied,
            "(deny)": self.held, "(hold)": self.held,
        }  # fmt: skip
        return known.get(mark, self.dim)


def palette(theme: Theme) -> Palette:
    """The styles of a theme; those of another than ours are made of what it has."""
    text = theme.foreground or ("#E6E6E6" if theme.dark else "#1A1A1A")
    error, warning, ok = theme.error or "#E8743B", theme.warning or "#F0E442", theme.success or "#2FBF97"
    muted = "#8A97A5" if theme.dark else "#5B6773"
    purple = "#CC79A7" if theme.dark else "#8E3A6B"
    bar = theme.panel or ("#1F262E" if theme.dark else "#E3E7EB")
    return Palette(
        plain=Style(color=text),
        dim=Style(color=muted),
        id=Style(color=theme.primary),
        ok=Style(color=ok),
        denied=Style(color=error, bold=True),
        held=Style(color=warning),
        failed=Style(color=warning, italic=True),
        aborted=Style(color=purple),
        chosen=Style(bgcolor=bar, bold=True),
        head=Style(color=theme.primary, bold=True),
    )


def recolour(segments: list[Segment], colours: Palette) -> list[Segment]:
    """What was made for a plain terminal (its 16 colours) in the colours of a theme."""
    by_number = {
        1: colours.denied.color, 2: colours.ok.color, 3: colours.held.color, 4: colours.id.color,
        5: colours.aborted.color, 6: colours.id.color,
    }  # fmt: skip

    def mapped(style: Style) -> Style:
        if style.bgcolor is not None:  # a mark on a ground of its own, such as that of a redaction
            if style.bgcolor.number == 3:
                return Style(color="black", bgcolor="#E69F00", bold=style.bold)
            return style
        if style.dim:
            return Style(color=colours.dim.color, italic=style.italic)
        colour: Color | None = style.color
        if colour is None or colour.number is None or colour.number > 15:
            return style
        found = by_number.get(colour.number % 8)
        return style if found is None else Style(color=found, bold=style.bold, italic=style.italic)

    return [
        segment if segment.style is None else Segment(segment.text, mapped(segment.style), segment.control)
        for segment in segments
    ]
