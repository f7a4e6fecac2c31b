"""How `sessions`, `runs` and `replay` look on a terminal."""

from __future__ import annotations

from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from onrecord.recordings.display.kubernetes import Changes
from onrecord.recordings.replay import Event
from onrecord.recordings.views import View
from onrecord.scripts.screen import console, render_command, render_outcome, render_sample, render_verdict, who, widest
from onrecord.scripts.terminal import clean

_RUN = 120  # characters of a run's id: it may be the agent's own text


def print_sessions(views: list[View]) -> None:
    """The table of `sessions`: what names a session keeps its width, why it ended takes what is left."""
    if not views:
        console().print(Text("no sessions fit", style="dim"))
        return
    screen = console()
    people, places = (14, 12) if screen.width >= 76 else (8, 8)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0), expand=True)
    table.add_column("…id", width=12, no_wrap=True)
    table.add_column("began UTC", width=14, no_wrap=True)
    table.add_column("who", no_wrap=True, width=widest(map(who, views), 3, people))
    table.add_column("on", no_wrap=True, width=widest(map(_place, views), 2, places))
    table.add_column("cmds", width=widest((str(view["commands"]) for view in views), 4, 9), justify="right")
    table.add_column("ended", overflow="ellipsis", no_wrap=True, ratio=1)
    for view in views:
        table.add_row(
            Text(view["id"][-12:], style="cyan"),
            Text(view["at"][5:19].replace("T", " "), style="dim"),
            Text(who(view), overflow="ellipsis"),
            Text(_place(view), overflow="ellipsis"),
            Text(str(view["commands"])),
            Text(_ended(view), style="dim" if view["ended"] else "green"),
        )
    screen.print(table)


def _place(view: View) -> str:
    return clean(view["resource"] or "–")


def _ended(view: View) -> str:
    """When and why; with the day where it is another one."""
    if not view["ended"]:
        return "open"
    same = view["ended"][:10] == view["at"][:10]
    return f"{view['ended'][11 if same else 5 : 19].replace('T', ' ')} {clean(view['reason'] or '')}"


def _run_id(run: str) -> str:
    return clean(run[:_RUN]) + "…" if len(run) > _RUN else clean(run) or "–"


def print_runs(views: list[View]) -> None:
    """The table of `runs`: the ids share with the places what the other columns leave."""
    if not views:
        console().print(Text("no runs fit", style="dim"))
        return
    screen = console()
    names = [_run_id(view["run"] or "") for view in views]
    places = [", ".join(clean(name) for name in view["resources"]) for view in views]
    people = widest(map(who, views), 3, 14 if screen.width >= 76 else 8)
    counts = {
        field: widest((str(view[field]) for view in views), len(name), 9)
        for name, field in (("sess", "sessions"), ("cmds", "commands"), ("denied", "denied"))
    }
    room = screen.width - 14 - people - sum(counts.values()) - 7  # a space behind each column
    on = widest(places, 2, max(8, room // 3))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold", style="cyan", width=widest(names, 3, max(8, room - on)))
    table.add_column("last UTC", width=14, no_wrap=True)
    table.add_column("who", no_wrap=True, width=people)
    table.add_column("on", overflow="fold", width=on)
    for name, width in zip(("sess", "cmds", "denied"), counts.values(), strict=True):
        table.add_column(name, justify="right", no_wrap=True, width=width)
    for view, name, place in zip(views, names, places, strict=True):
        table.add_row(
            Text(name, style="cyan"),
            Text(view["last"][5:19].replace("T", " "), style="dim"),
            Text(who(view), overflow="ellipsis"),
            Text(place),
            Text(str(view["sessions"])),
            Text(str(view["commands"])),
            Text(str(view["denied"]), style="bold red" if view["denied"] else "dim"),
        )
    screen.print(table)


class ReplayScreen:
    """Prints events one after another, with the time since the first."""

    def __init__(self, sequence: list[Event]) -> None:
        self._start = sequence[0].at if sequence else 0.0
        self._console = console()
        self._chunked: set[str] = set()
        self._changes = Changes()

    def play(self, event: Event) -> None:
        """Print one event."""
        view, screen = event.view, self._console
        self._start = self._start or event.at
        if event.what == "session":
            text = f"{who(view)} on {clean(view['resource'])} ({clean(view['protocol'])}) from {clean(view['client'])}"
            screen.print(Rule(Text(f"{self._clock(event)} {text}", style="bold"), style="dim", align="left"))
        elif event.what == "end":
            screen.print(
                Rule(Text(f"{self._clock(event)} ended: {clean(view['reason'] or '')}", style="dim"), style="dim")
            )
        elif event.what == "command":
            head = Text(self._clock(event), style="dim")
            head.append(f" {who(view)}@{clean(view['resource'] or '–')} ", style="bold cyan")
            head.append(f"{clean(view['kind'])} {clean(view['action'])}", style="dim")
            screen.print(head)
            screen.print(Padding(render_command(view), (0, 0, 0, 2)))
            verdict = view["verdict"] or {}
            if verdict.get("type") == "allow" and not verdict.get("reason"):
                screen.print(Text(f"  allow by {clean(verdict.get('policy') or '–')}", style="dim green"))
            else:
                screen.print(Padding(render_verdict(verdict), (0, 0, 0, 2)))
        elif event.what == "chunk":
            self._chunked.add(view["of"])
            arrow = "→" if view["direction"] == "to_upstream" else "←"
            channel = clean(view.get("channel") or "")
            what = [channel, f"{view['size']} bytes" if view["size"] or not channel else "", clean(view["note"])]
            if channel == "resize" and isinstance(view["data"], dict):
                what.append(clean(f"{view['data'].get('columns')}x{view['data'].get('rows')}"))
            screen.print(Text(f"{self._clock(event)} {arrow} {' '.join(filter(None, what))}", style="dim"))
            if view["data"] is not None and channel != "resize":
                screen.print(Padding(render_sample(view["data"]), (0, 0, 0, 2)))
        else:
            outcome = dict(view["outcome"])
            if view["id"] in self._chunked:
                outcome["sample"] = None  # its parts were shown when they came
            changed = self._changes.learn(view)
            if changed is not None:
                outcome["sample"] = None  # the object as it is now
                screen.print(Padding(changed, (0, 0, 0, 2)))
            if outcome["status"] != "refused":
                screen.print(Padding(render_outcome(outcome), (0, 0, 1, 2)))

    def _clock(self, event: Event) -> str:
        seconds = max(0.0, event.at - self._start)
        return f"{int(seconds // 60):02d}:{seconds % 60:06.3f}"
