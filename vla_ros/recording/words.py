"""What people say about episodes waits for the images that came before it.

A recorder that is behind hears an instruction while older images still wait in the camera's queue:
they show the old task, and are no beginning of the new one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

QUIET_TURNS = 3  # without an image, then none is waiting
REPEATED_NS = 2_000_000_000  # sooner than that after the last time a text is not said anew


class Said:
    """The instruction in use, and whether the same one is given anew or only repeated.

    Scripts publish a text again and again while it is to be followed; a person gives it once, and
    later once more.
    """

    def __init__(self) -> None:
        self.text = ""
        self.anew = False  # of the last one that was the same
        self._heard_ns = 0

    def is_again(self, text: str, now_ns: int) -> bool:
        """Whether `text` is what was said last."""
        again, self.text = text == self.text, text
        self.anew = again and bool(text) and not 0 <= now_ns - self._heard_ns < REPEATED_NS
        self._heard_ns = now_ns
        return again


@dataclass(frozen=True)
class Word:
    """An instruction or an outcome; `take()` lets the recorder know."""

    received_ns: int  # when it arrived, as images' are
    published_ns: int
    take: Callable[[], None]


class Words:
    """Hands words out in the order of their publication, each at its place among the images."""

    def __init__(self) -> None:
        self._waiting: list[Word] = []
        self._quiet_turns = 0

    def add(self, word: Word) -> None:
        if not self._waiting:
            self._quiet_turns = 0
        self._waiting.append(word)

    def before_image(self, received_ns: int) -> list[Word]:
        """Those to be taken before an image that arrived then."""
        self._quiet_turns = 0
        return self._hand_out(lambda word: word.received_ns <= received_ns)

    def on_turn(self) -> list[Word]:
        """Call it every 0.1 s: without images nothing is waited for."""
        self._quiet_turns += 1
        return self.all() if self._quiet_turns >= QUIET_TURNS else []

    def all(self) -> list[Word]:
        return self._hand_out(lambda word: True)

    def _hand_out(self, due: Callable[[Word], bool]) -> list[Word]:
        found = sorted(filter(due, self._waiting), key=lambda word: word.published_ns)
        self._waiting = [word for word in self._waiting if not due(word)]
        return found
