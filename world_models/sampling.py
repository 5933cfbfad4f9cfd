"""Clips drawn from recordings, with what came true at their end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from world_models.clips import Clip
from world_models.conditioning import OutcomeTargets
from world_models.config import Scales, WorldModelConfig
from world_models.recordings import Recordings
from world_models.words import WordNumbers

MIN_STD = 1e-3  # of a number that never changes
REPEAT_SHARE = 0.5  # of the actions made up behind an episode's end repeat its last one


def scales_of(recordings: Recordings) -> Scales:
    """Mean and standard deviation of actions and states."""
    numbers = {}
    for name, values in (("action", recordings.actions), ("state", recordings.states)):
        numbers[f"{name}_mean"] = tuple(float(x) for x in values.mean(0, dtype=np.float64))
        std = values.std(0, dtype=np.float64)
        numbers[f"{name}_std"] = tuple(float(max(MIN_STD, x)) for x in std)
    return Scales(**numbers)


class ClipSampler:
    """Draws clips of k context frames and the one to predict, `actions_per_frame` steps apart.

    The last actions of an episode lead to a frame that was never recorded; it is drawn like any
    other, for its outcome.
    """

    def __init__(self, recordings: Recordings, config: WorldModelConfig) -> None:
        self._recordings = recordings
        self._discount = config.discount
        self._stride = config.dynamics.actions_per_frame
        scales = config.scales
        self._actions = (recordings.actions - np.array(scales.action_mean)) / np.array(
            scales.action_std
        )
        self._states = (recordings.states - np.array(scales.state_mean)) / np.array(
            scales.state_std
        )
        tool = np.array((scales.state_mean[:3], scales.state_std[:3]))
        self._places = np.concatenate(
            [(each - tool[0]) / tool[1] for each in (recordings.targets, recordings.goals)], axis=1
        )
        numbers = WordNumbers(config.words, config.dynamics.max_words)
        self._words = numbers.encode(recordings.instructions)
        self._episode = recordings.episode_of_rows()
        self._goals = goal_rows(recordings)
        self._starts = {
            context: self._valid_starts(context)
            for context in range(1, config.dynamics.context_frames + 1)
        }

    @property
    def contexts(self) -> tuple[int, ...]:
        """Numbers of context frames for which some episode is long enough."""
        return tuple(context for context, starts in self._starts.items() if len(starts))

    def _valid_starts(self, context: int) -> NDArray[np.int64]:
        """Rows from which `context` frames lie within their episode."""
        rows = np.arange(len(self._episode))
        last = rows + (context - 1) * self._stride
        return rows[last < self._recordings.starts[self._episode + 1]]

    def draw(
        self,
        rng: np.random.Generator,
        count: int,
        context: int,
        contents_of: Callable[[NDArray[np.int64]], Tensor],
        device: torch.device,
    ) -> Clip:
        """`contents_of` gives contents (b, t, s, d) for rows (b, t) of the recordings."""
        starts = self._starts[context]
        return self.clip(
            rng, starts[rng.integers(len(starts), size=count)], context, contents_of, device
        )

    def clip(
        self,
        rng: np.random.Generator,
        starts: NDArray[np.int64],
        context: int,
        contents_of: Callable[[NDArray[np.int64]], Tensor],
        device: torch.device,
    ) -> Clip:
        """The clips that begin at these rows."""
        stride = self._stride
        rows = starts[:, None] + np.arange(context + 1) * stride  # (b, t)
        ends = self._recordings.starts[self._episode[starts] + 1]  # (b,)
        known = rows[:, -1] < ends
        seen = np.minimum(rows, ends[:, None] - 1)
        places = np.where((rows < ends[:, None])[..., None], self._places[seen], np.nan)
        actions = np.zeros((*rows.shape, stride, self._actions.shape[1]))
        executed = np.zeros((*rows.shape, stride), dtype=bool)
        for offset in range(stride):
            done = rows[:, :-1] + offset  # (b, t - 1)
            actions[:, 1:, offset] = self._acted(rng, done, ends)
            executed[:, 1:, offset] = True
        number = lambda values: torch.as_tensor(values, dtype=torch.float32).to(device)  # noqa: E731
        return Clip(
            contents=contents_of(seen),
            last_known=torch.from_numpy(known).to(device),
            actions=number(actions),
            executed=torch.from_numpy(executed).to(device),
            states=number(self._states[seen]),
            words=torch.from_numpy(self._words[self._episode[starts]]).to(device),
            places=number(places),
            targets=self._targets(rows[:, -2], rows[:, -1], ends, known, number),
        )

    def _acted(self, rng: np.random.Generator, rows: NDArray, ends: NDArray) -> NDArray[np.float64]:
        """(b, t, 7) scaled actions of rows (b, t); behind the end some that might have come.

        An episode may end with the first of a frame's actions. At work all of them are always
        given, so that here too nothing may tell an ending by its actions.
        """
        over = rows >= ends[:, None]
        made_up = np.where(
            rng.random(rows.shape) < REPEAT_SHARE,
            np.broadcast_to(ends[:, None] - 1, rows.shape),
            rng.integers(len(self._actions), size=rows.shape),
        )
        return self._actions[np.where(over, made_up, np.minimum(rows, len(self._actions) - 1))]

    def _targets(self, before, at, ends, known, number) -> OutcomeTargets:
        """Of frames at rows `at` (b,), one frame after rows `before`."""
        recordings = self._recordings
        block = np.minimum(before[:, None] + np.arange(self._stride), ends[:, None] - 1)
        inside = before[:, None] + np.arange(self._stride) < ends[:, None]
        success = np.where(inside, recordings.success[block], 0.0).max(1)  # nan stays nan
        reward = np.where(inside, recordings.rewards[block], 0.0).sum(1)
        goals = self._goals[self._episode[before]]  # inf: failed, nan: nobody knows
        steps = np.maximum(0.0, goals - at)
        value = np.where(np.isinf(steps), 0.0, self._discount**steps)
        last = np.minimum(at, ends - 1)
        change = self._states[last] - self._states[before]
        change[~known] = np.nan
        return OutcomeTargets(
            reward=number(reward),
            success=number(success),
            steps=number(np.where(np.isinf(steps), np.nan, steps)),
            value=number(value),
            state_change=number(change),
        )


def goal_rows(recordings: Recordings) -> NDArray[np.float64]:
    """(episodes,) the row behind the action that finished the task; inf: none, nan: unknown."""
    goals = np.full(recordings.episodes, np.inf)
    for episode in range(recordings.episodes):
        first, last = recordings.starts[episode], recordings.starts[episode + 1]
        done = recordings.success[first:last]
        if np.any(done > 0.5):
            goals[episode] = first + int(np.argmax(done > 0.5)) + 1
        elif np.any(np.isnan(done)):
            goals[episode] = np.nan
    return goals
