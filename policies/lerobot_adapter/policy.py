"""A LeRobot policy as a `Policy`: one observation in, a chunk of actions out."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from policies.interface import ACTION_DIM, ActionChunk, Observation, ToolLimits
from policies.lerobot_adapter.checkpoint import check_folder, load_checkpoint
from policies.openvla.statistics import ActionStatistics, check_statistics
from policies.probes import PROBE_SEED, check_answers_differ


class LeRobotPolicy:
    """A LeRobot checkpoint folder, ready to act.

    Its actions must be ours: seven numbers, displacements of the tool and the gripper's opening, as
    in the datasets that `vla-ros collect` writes. A chunk has the checkpoint's `n_action_steps`
    rows. Where a policy needs the observations of several steps (Diffusion) or averages over steps
    (ACT with temporal ensembling) it must see every step: then a chunk has one row, and LeRobot's
    own queues decide when the network runs.
    """

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        unnorm_key: str | None = None,
        rate_hz: float | None = None,
    ) -> None:
        """`rate_hz`: actions per second, when the folder does not say. Raises `CheckpointError`."""
        check_folder(folder, unnorm_key)
        checkpoint = load_checkpoint(folder, device)
        config = checkpoint.policy.config
        self.folder = folder
        self.name = f"{config.type} ({folder.name})"
        self.config = config
        self.rate_hz = rate_hz or checkpoint.rate_hz
        self._features = checkpoint.features
        self.cameras: tuple[str, ...] = tuple(self._features.cameras)
        self.sees_every_step = (
            config.n_obs_steps > 1 or getattr(config, "temporal_ensemble_coeff", None) is not None
        )
        self._checkpoint = checkpoint
        self._seed: int | None = None
        self._calls = 0
        checkpoint.policy.reset()

    def reset(self, seed: int | None = None) -> None:
        """Forget the last episode; with `seed` the noise a policy draws is the same every time."""
        self._checkpoint.policy.reset()
        self._seed, self._calls = seed, 0

    @torch.inference_mode()
    def predict_chunk(self, observation: Observation) -> ActionChunk:
        """The next actions. Raises `ObservationError` for what it cannot use."""
        started = time.perf_counter()
        checkpoint = self._checkpoint
        batch = checkpoint.preprocessor(self._features.batch(observation))
        with self._noise():
            if self.sees_every_step:
                actions = checkpoint.policy.select_action(batch)[:, None]  # (1, 1, 7)
            else:
                actions = checkpoint.policy.predict_action_chunk(batch)  # (1, chunk, 7)
        rows = getattr(self.config, "n_action_steps", actions.shape[1])
        return ActionChunk(
            actions=_usable(checkpoint.postprocessor(actions[:, :rows])[0]),
            stamp_ns=observation.stamp_ns,
            dt_s=1.0 / self.rate_hz,
            statistics_hash=checkpoint.statistics_hash,
            diagnostics={"inference_ms": (time.perf_counter() - started) * 1e3},
        )

    def check_fit(self, limits: ToolLimits) -> None:
        """Its steps are within the limits, and other pictures give other actions.

        Policies with a tokenizer are also asked whether they listen. Whether it computes what it
        should is not asked: its folder does not say. Raises `UnfitPolicyError`.
        """
        check_statistics(self._statistics(), self.rate_hz, limits)
        if self.cameras:
            words = self._checkpoint.reads_words
            check_answers_differ(self._first_answer, self.cameras, words)
            self.reset()

    def _first_answer(self, observation: Observation) -> ActionChunk:
        """At the start of an episode, with the same noise every time."""
        self.reset(seed=PROBE_SEED)
        return self.predict_chunk(observation)

    @torch.inference_mode()
    def _statistics(self) -> ActionStatistics:
        """Which actions the network's numbers from -1 to 1 stand for, by any normalization: data's
        smallest and largest, its quantiles, or one deviation about its mean.
        """
        ends = torch.tensor([-1.0, 1.0])[:, None].expand(2, ACTION_DIM)
        low, high = self._checkpoint.postprocessor(ends[None])[0].double().numpy()
        return ActionStatistics(low, high, np.ones(ACTION_DIM, bool), self.folder.name)

    @contextlib.contextmanager
    def _noise(self):
        """Seeded per call, and without touching anybody else's random numbers."""
        if self._seed is None:
            yield
            return
        (seed,) = np.random.SeedSequence([self._seed, self._calls]).generate_state(1)
        self._calls += 1
        with torch.random.fork_rng():
            torch.manual_seed(int(seed))
            yield


def _usable(actions: torch.Tensor) -> NDArray[np.float64]:
    """(k, 7) with the gripper inside its range."""
    rows = actions.to(torch.float64).cpu().numpy().copy()
    rows[:, 6] = np.clip(rows[:, 6], 0.0, 1.0)
    return rows
