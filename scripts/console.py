"""What set-up says to a person: one line a piece of work, and every failure with its mend."""

from __future__ import annotations

import sys
import time

PROGRESS_EVERY_S = 20.0  # [s] between progress lines where the output is not a terminal


class SetupError(Exception):
    """A piece of set-up that failed, and what the user can do about it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


class Console:
    """Prints `  name  text` lines. On a terminal, progress rewrites its line."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self._last_progress_s = time.monotonic()
        self._last_text = ""

    def title(self, text: str) -> None:
        print(text, flush=True)

    def progress(self, name: str, text: str) -> None:
        if self.is_terminal:
            print(f"\r\033[K  {name:<10} {text}", end="", flush=True)
        elif (
            text != self._last_text and time.monotonic() - self._last_progress_s > PROGRESS_EVERY_S
        ):
            self.done(name, text)
            self._last_text = text

    def done(self, name: str, text: str) -> None:
        print(f"{self._start_of_line()}  {name:<10} {text}", flush=True)
        self._last_progress_s = time.monotonic()

    def failure(self, what: str, mend: str) -> None:
        print(self._start_of_line(), end="", flush=True)
        print(f"set-up stopped: {what}\n  mend: {mend}", file=sys.stderr, flush=True)

    def _start_of_line(self) -> str:
        return "\r\033[K" if self.is_terminal else ""


def seconds(duration_s: float) -> str:
    minutes, rest_s = divmod(round(duration_s), 60)
    return f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"
