"""How the demo looks: chapters, what was typed, what came back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.text import Text

REFUSED = re.compile(
    r"^(ERROR|FATAL|DETAIL|HINT|psql: error|SSL SYSCALL|connection to server was lost|curl: \(\d+\)|.*\b40[137]\b.*)",
    re.MULTILINE,
)
TYPED = re.compile(r"^(\w+=> |[$] ).*", re.MULTILINE)


class Screen:
    """Prints the story."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)

    def chapter(self, title: str, text: str = "") -> None:
        """A new part of the story."""
        self.console.print()
        self.console.print(Rule(f"[bold]{title}[/bold]", align="left", style="cyan"))
        if text:
            self.console.print(text, style="dim")

    def done(self, text: str) -> None:
        """Something was set up."""
        self.console.print(f"[green]✓[/green] {text}")

    def note(self, text: str) -> None:
        """A sentence of ours."""
        self.console.print(text, style="dim")

    def warning(self, text: str) -> None:
        """Something to be seen."""
        self.console.print(Panel(Text(text), border_style="yellow"))

    def terminal(self, who: str, text: str, *, bad: bool = False) -> None:
        """What a person or an agent sees on a terminal: inputs bright, refusals red. Recorded bytes stay text."""
        shown = Text(text)
        shown.highlight_regex(TYPED, "bold")
        shown.highlight_regex(REFUSED, "red")
        style = "red" if bad else "blue"
        self.console.print(Panel(shown, title=who, title_align="left", border_style=style))

    def command(self, folder: Path, *words: str) -> int:
        """Show an onrecord command and run it on this terminal, in the folder of mitm.toml; its exit status."""
        self.console.print(Text("$ onrecord " + " ".join(words), style="bold"))
        sys.stdout.flush()
        argv = [sys.executable, "-m", "onrecord.scripts.main", *words]
        return subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, cwd=folder).returncode
