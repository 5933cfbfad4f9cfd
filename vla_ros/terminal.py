"""A terminal as a game's screen: keys as they are pressed, pictures of half blocks. Over ssh, too.

Needs a terminal that shows 24-bit colors, as nearly all do.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
import termios
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vla_ros.playing import HELP, Command, Shown, command_of_keys

ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"  # a screen of its own, no cursor, empty
LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"
UPPER_HALF = "\N{UPPER HALF BLOCK}"
TEXT_LINES = 4
BAR_WIDTH = 20
ESCAPES = re.compile(r"\x1b(\[[0-9;]*[A-Za-z~]|O.)?")  # arrows and the like: no letters of ours


class Keyboard:
    """Keys of a terminal, unbuffered and not echoed while it is open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def read(self) -> Command | None:
        """What was pressed since the last call; None when the terminal is gone."""
        keys = b""
        while select.select([self._descriptor], [], [], 0)[0]:
            try:
                more = os.read(self._descriptor, 256)
            except OSError:
                return None
            if not more:
                return None
            keys += more
        return command_of_keys(ESCAPES.sub("", keys.decode(errors="ignore")))


class Screen:
    """Draws frames over each other; `write` is the terminal's."""

    def __init__(
        self,
        write: Callable[[str], object] | None = None,
        size: Callable[[], os.terminal_size] = shutil.get_terminal_size,
    ) -> None:
        self._write = write or self._to_terminal
        self._size = size

    def __enter__(self) -> Self:
        self._write(ENTER)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._write(LEAVE)

    def show(self, frame: Shown) -> None:
        columns, lines = self._size()
        side = max(8, min(columns, 2 * (lines - TEXT_LINES)) // 2 * 2)
        texts = [text[:columns] for text in describe(frame)]
        rows = half_blocks(frame.picture, side) + texts
        self._write("\x1b[H" + "".join(f"{row}\x1b[0m\x1b[K\r\n" for row in rows))

    @staticmethod
    def _to_terminal(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def half_blocks(picture: NDArray[np.uint8], side: int) -> list[str]:
    """(s, s, 3) as side / 2 lines of `side` characters, two pixels in each."""
    resized = Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized).reshape(side // 2, 2, side, 3)
    return [
        "".join(
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m{UPPER_HALF}"
            for a, b in zip(upper, lower, strict=True)
        )
        for upper, lower in pixels.tolist()
    ]


def describe(frame: Shown) -> list[str]:
    """What stands below the picture."""
    probability = frame.info["success_probability"]
    full = round(BAR_WIDTH * probability)
    x, y, z = frame.position
    return [
        f"{frame.instruction}   success [{'#' * full}{'.' * (BAR_WIDTH - full)}] "
        f"{100 * probability:.0f} %",
        f"tool {x:.2f} {y:.2f} {z:.2f} m   gripper {'open' if frame.opening > 0.5 else 'closed'}   "
        f"{frame.info['imagined_frames']} frames imagined   {frame.frames_per_s:.1f} frames/s",
        HELP,
    ]
