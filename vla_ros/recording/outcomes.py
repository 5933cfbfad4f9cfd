"""Episodes that have ended and wait: for a word on how they went, and for what is in the queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vla_ros.recording.episode import EpisodeInProgress

TURNS = 3  # of the recorder: words that were there when the episode ended have been heard by then
MOST_TURNS = 50  # then joint states that have not come will not


@dataclass
class Ended:
    """An episode that has its rows, and may not know yet how it went."""

    episode: EpisodeInProgress
    until_ns: int  # when what ended it was published
    turns: int = 0  # since then

    def is_due(self, joints_until_ns: int) -> bool:
        """Joint states come more often than images: a recorder that is behind hears them later."""
        caught_up = joints_until_ns >= self.episode.last_ns or self.turns >= MOST_TURNS
        return caught_up and self.turns >= TURNS


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
