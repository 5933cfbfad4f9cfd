"""How unusual an episode is for a world model, told before anybody knows how it really ends.

Three signals, each of which grows with what the model has not seen in training:

- reconstruction: how far the first frame, written down and decoded, is from itself,
- surprise: how little the model expects the first frame to follow itself while the robot stands
  still (negative log-likelihood of its tokens; kind masked only),
- doubt: how undecided the model is in the first frames that it imagines (entropy of its first pass;
  kind masked only).

Held-out episodes of the training data say what is usual. An episode's score is that of its most
unusual signal, in standard deviations above the mean; the threshold is split-conformal (Vovk et
al. 2005, Algorithmic Learning in a Random World; Angelopoulos and Bates, arXiv 2107.07511, section
1): of further episodes like the held-out ones about the chosen share lies above it on average.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from world_models.dynamics import Decoding
from world_models.interface import Context
from world_models.model import ImaginationModel, Imagined
from world_models.recordings import Recordings
from world_models.rollout import action_blocks, first_context
from world_models.state import STATE_NAMES

DOUBT_FRAMES = 10  # imagined ahead; later ones would compare long episodes with short ones
BATCH = 16
GRIPPER = STATE_NAMES.index("gripper_opening")


class NoveltyError(ValueError):
    """What is usual cannot be told; the message says what is missing."""


@dataclass(frozen=True)
class Usual:
    """What is usual: mean and standard deviation of every signal, and where the unusual begins."""

    signals: Mapping[str, tuple[float, float]]  # mean, standard deviation
    threshold: float  # of the score
    share: float  # of usual episodes that lie above it, at most
    episodes: int  # it was learned from

    def score(self, signals: Mapping[str, float]) -> float:
        """Of one episode: standard deviations of the most unusual signal above its mean."""
        return max((signals[name] - mean) / std for name, (mean, std) in self.signals.items())

    def unusual(self, signals: Mapping[str, float]) -> bool:
        """Whether the model had better say nothing of this episode."""
        return self.score(signals) > self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def start_signals(model: ImaginationModel, context: Context) -> dict[str, NDArray[np.float64]]:
    """(b,) each, of b first frames."""
    latent = model.encode(context)
    seen = context.images[:, -1].astype(np.float64)
    errors = np.abs(model.decode(latent) - seen).mean(axis=(1, 2, 3)) / 255.0
    signals = {"reconstruction": errors}
    surprise = model.surprise(latent, _standing_still(model, context), latent)
    if surprise is not None:
        signals["surprise"] = surprise.astype(np.float64)
    return signals


def doubt_signal(doubts: Sequence[float]) -> dict[str, float]:
    """Of one imagined episode; empty where there is nothing to go by."""
    return {"doubt": float(np.mean(doubts[:DOUBT_FRAMES]))} if len(doubts) else {}


def learn_usual(
    model: ImaginationModel,
    held_out: Recordings,
    share: float,
    decoding: Decoding,
    on_progress: Callable[[int, int], None] = lambda done, episodes: None,
) -> Usual:
    """What is usual, from episodes that the model was not trained on.

    Raises `NoveltyError` for too few episodes.
    """
    if not 0 < share < 1:
        raise NoveltyError(f"share: expected a number between 0 and 1, got {share}")
    count = held_out.episodes
    rank = math.ceil((count + 1) * (1 - share))  # of the threshold among the scores, from below
    if rank > count:
        raise NoveltyError(
            f"held-out: expected at least {math.ceil(1 / share) - 1} held-out episodes to abstain "
            f"from {share:.0%} of usual ones, got {count}; hold out more, or abstain from more"
        )
    rows: list[dict[str, float]] = []
    for start in range(0, count, BATCH):
        episodes = list(range(start, min(start + BATCH, count)))
        rows += _signals(model, held_out, episodes, decoding)
        on_progress(len(rows), count)
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    usual = {
        name: (float(values.mean()), float(max(values.std(ddof=1), 1e-9)))
        for name, values in table.items()
    }
    learned = Usual(usual, math.inf, share, count)
    scores = sorted(learned.score(row) for row in rows)
    return Usual(usual, scores[rank - 1], share, count)


def _signals(
    model: ImaginationModel, recordings: Recordings, episodes: list[int], decoding: Decoding
) -> list[dict[str, float]]:
    """Of these recorded episodes, imagined with the actions that were executed."""
    block = model.actions_per_frame
    context = first_context(recordings, episodes, block)
    starts = start_signals(model, context)
    actions = action_blocks(recordings, episodes, DOUBT_FRAMES, block)
    latent: Imagined = model.encode(context)
    doubts = []
    for step in range(DOUBT_FRAMES):
        latent = model.next(latent, actions[:, step], decoding)
        if latent.doubt is not None:
            doubts.append(latent.doubt.cpu().numpy())
    rows = []
    for row, episode in enumerate(episodes):
        frames = math.ceil(recordings.length(episode) / block)
        own = [float(values[row]) for values in doubts[:frames]]
        rows.append({**{n: float(v[row]) for n, v in starts.items()}, **doubt_signal(own)})
    return rows


def _standing_still(model: ImaginationModel, context: Context) -> NDArray[np.float32]:
    """(b, actions_per_frame, 7): no displacement, the fingers stay as they are."""
    still = np.zeros((len(context.images), model.actions_per_frame, 7), dtype=np.float32)
    still[:, :, 6] = np.clip(context.states[:, -1, GRIPPER], 0.0, 1.0)[:, None]
    return still
