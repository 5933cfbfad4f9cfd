"""Which episode a word on success is about, when it is heard after the episode's end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vla_ros.recording.episode import EpisodeInProgress

TURNS = 3  # of the recorder: what was there when the episode ended has been heard by then


@dataclass
class Ended:
    """An episode that has its rows, and may not know yet how it went."""

    episode: EpisodeInProgress
    until_ns: int  # when what ended it was published
    turns: int = 0  # since then

    @property
    def is_due(self) -> bool:
        return self.turns >= TURNS


def whose(
    published_ns: int, ended: Sequence[Ended], current: EpisodeInProgress | None
) -> EpisodeInProgress | None:
    """The episode in which it was said; None: it was said between two, or of one long finished."""
    if current is not None and published_ns >= (current.since_ns or 0):
        return current
    for each in reversed(ended):
        if published_ns >= (each.episode.since_ns or 0):
            return each.episode if published_ns < each.until_ns else None
    return None
