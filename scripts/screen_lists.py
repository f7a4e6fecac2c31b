"""How `sessions`, `runs` and `replay` look on a terminal."""

from __future__ import annotations

from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from onrecord.recordings.display.kubernetes import Changes
from onrecord.recordings.replay import Event
from onrecord.recordings.views import View
from onrecord.scripts.screen import console, render_command, render_outcome, render_sample, render_verdict, who
from onrecord.scripts.terminal import clean


def print_sessions(views: list[View]) -> None:
    """The table of `sessions`."""
    if not views:
        console().print(Text("no sessions fit", style="dim"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("…id", width=12, no_wrap=True)
    table.add_column("began UTC", width=14, no_wrap=True)
    table.add_column("who", no_wrap=True, max_width=14, overflow="ellipsis")
    table.add_column("on", no_wrap=True, max_width=12, overflow="ellipsis")
    table.add_column("cmds", min_width=4, justify="right", no_wrap=True)
    table.add_column("ended", overflow="ellipsis", no_wrap=True)
    for view in views:
        ended = f"{view['ended'][11:19]} {clean(view['reason'] or '')}" if view["ended"] else "open"
        table.add_row(
            Text(view["id"][-12:], style="cyan"),
            Text(view["at"][5:19].replace("T", " "), style="dim"),
            Text(who(view)),
            Text(clean(view["resource"] or "–")),
            Text(str(view["commands"])),
            Text(ended, style="dim" if view["ended"] else "green"),
        )
    console().print(table)


def print_runs(views: list[View]) -> None:
    """The table of `runs`."""
    if not views:
        console().print(Text("no runs fit", style="dim"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold", style="cyan")
    table.add_column("last UTC", width=14, no_wrap=True)
    table.add_column("who", no_wrap=True, max_width=14, overflow="ellipsis")
    table.add_column("on", overflow="fold")
    for name in ("sess", "cmds", "denied"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for view in views:
        table.add_row(
            Text(clean(view["run"] or "–"), style="cyan"),
            Text(view["last"][5:19].replace("T", " "), style="dim"),
            Text(who(view)),
            Text(", ".join(clean(name) for name in view["resources"])),
            Text(str(view["sessions"])),
            Text(str(view["commands"])),
            Text(str(view["denied"]), style="bold red" if view["denied"] else "dim"),
        )
    console().print(table)


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
