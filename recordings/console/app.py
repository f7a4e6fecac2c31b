"""`onrecord console`: the application. It only reads the store; decisions and kills go through the admin API."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from onrecord.recordings.console.desk import Desk
from onrecord.recordings.console.door import DoorOpener
from onrecord.recordings.console.proofs import Proofs
from onrecord.recordings.console.screens.timeline import TimelineScreen
from onrecord.recordings.console.settings import Settings, SettingsError, load_settings, save_settings
from onrecord.recordings.console.themes import DARK, THEMES


class ConsoleApp(App[None]):
    """The console over the store at `store`."""

    TITLE = "onrecord"
    CSS_PATH = "console.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("t", "next_theme", "Theme", show=False),
        Binding("question_mark", "show_help_panel", "Keys", show=False, key_display="?"),
    ]

    def __init__(
        self,
        store: Path,
        *,
        state: Path | None = None,
        filter: str = "",
        settings: Path | None = None,
        door: DoorOpener | None = None,
    ) -> None:
        super().__init__()
        self.desk = Desk(store)
        self.state = state
        self.door = door
        self.proofs = Proofs(store, state) if state is not None else None
        self._filter = filter
        self._settings_path = settings
        self.settings = Settings()
        self._unusable = ""
        for theme in THEMES:
            self.register_theme(theme)
        if settings is not None:
            try:
                self.settings = load_settings(settings)
            except SettingsError as error:
                self._unusable = str(error)
        names = {theme.name for theme in THEMES}
        self.theme = self.settings.theme if self.settings.theme in names else DARK.name

    def on_mount(self) -> None:
        self.push_screen(TimelineScreen(self.desk, self._filter))
        if self._unusable:
            self.notify(self._unusable, markup=False, severity="warning", timeout=10)

    async def on_unmount(self) -> None:
        self.desk.close()
        if self.proofs is not None:
            self.proofs.close()

    def _fatal_error(self) -> None:
        """Say only where it was: Textual's own prints the values of local variables, which may be recorded bytes."""
        self._exit_renderables.append(Text(_places(sys.exception())))
        self._close_messages_no_wait()

    def keep(self) -> None:
        """Write the settings. Raises SettingsError."""
        if self._settings_path is None:
            raise SettingsError("there is no place to keep settings")
        if self._unusable:
            raise SettingsError(self._unusable)
        save_settings(self._settings_path, self.settings)

    def action_next_theme(self) -> None:
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = self.settings.theme = names[(at + 1) % len(names)]
        try:
            self.keep()
        except SettingsError as error:
            self.notify(str(error), markup=False, severity="warning")

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        if isinstance(screen, TimelineScreen):
            for binding in screen.active_bindings.values():
                inner = binding.binding
                if binding.node is screen and inner.description:
                    yield SystemCommand(
                        inner.description,
                        f"key {inner.key_display or inner.key}",
                        lambda action=inner.action: self.run_worker(screen.run_action(action)),
                    )


def _places(error: BaseException | None) -> str:
    """The kind of an error and where it was raised, without anything that it says."""
    if error is None:
        return "onrecord console: it ended by an error"
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    lines = [f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
    return "\n".join([f"onrecord console: it ended by an error of its own: {type(error).__name__}", *lines])
