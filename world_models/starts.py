"""Where imagining begins: frames of recorded episodes, or first frames of another environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.error import Error as GymnasiumError

from policies.interface import Observation, ObservationError
from policies.spaces import observation_of
from policies.training.demonstrations import instruction_of, open_dataset
from policies.training.features import DatasetError, to_state_vector
from world_models.config import WorldModelConfig
from world_models.recordings import JOINTS
from world_models.state import full_state, to_observation


class Starts(Protocol):
    """Draws what is seen before imagining begins."""

    def draw(self, rng: np.random.Generator) -> Observation:
        """One start; the same generator, the same start."""

    def close(self) -> None:
        """Free what it holds."""


class RecordedStarts:
    """First frames of the episodes that a model was not trained on. One frame is decoded a draw."""

    def __init__(self, folders: Sequence[Path], config: WorldModelConfig) -> None:
        """Raises `DatasetError` for what is no dataset of the model's robot and rate."""
        self._camera = config.camera
        self._episodes: list[tuple[Any, str, str, int, int]] = []
        if not folders:
            raise DatasetError("dataset: expected a LeRobotDataset folder, got none")
        for folder in folders:
            dataset, chosen = open_dataset(folder, config.camera)
            meta = dataset.meta
            for name, expected, found in (
                ("rate", config.rate_hz, float(meta.fps)),
                ("robot", config.robot, str(meta.robot_type or "unknown")),
            ):
                if expected != found:
                    raise DatasetError(
                        f"{folder}: expected the {name} {expected} of the model's training data, "
                        f"got {found}"
                    )
            if JOINTS not in meta.features or not chosen.state:
                raise DatasetError(f"{folder}: expected {JOINTS} and the tool's pose")
            count = meta.total_episodes
            for index in range(count - max(1, round(count * config.validation_share)), count):
                bounds = meta.episodes[index]
                first, last = int(bounds["dataset_from_index"]), int(bounds["dataset_to_index"])
                self._episodes.append((dataset, chosen.image, chosen.state, first, last))

    def __len__(self) -> int:
        return len(self._episodes)

    def draw(self, rng: np.random.Generator) -> Observation:
        return self.at(int(rng.integers(len(self))))

    def at(self, episode: int, frame: int = 0) -> Observation:
        """A frame of one of the held-out episodes."""
        if not 0 <= episode < len(self):
            raise DatasetError(f"episode: expected 0 to {len(self) - 1}, got {episode}")
        dataset, image, state, first, last = self._episodes[episode]
        if not 0 <= frame < last - first:
            raise DatasetError(f"frame: expected 0 to {last - first - 1}, got {frame}")
        row = dataset[first + frame]
        pixels = (row[image] * 255).round().byte().permute(1, 2, 0).numpy()
        tool = to_state_vector(row[state].numpy()[None])[0]
        tasks = {int(task.task_index): str(name) for name, task in dataset.meta.tasks.iterrows()}
        return to_observation(
            full_state(tool, row[JOINTS].numpy()),
            {self._camera: pixels},
            instruction_of(tasks, int(row["task_index"]), dataset.root),
        )

    def close(self) -> None:
        self._episodes.clear()


class EnvironmentStarts:
    """Fresh resets of a Gymnasium environment that observes `policies.spaces.observation_space`.

    `env_id` as `gymnasium.make` takes it: "sim:VlaRos/Lift-v0" imports `sim`, which registers it.
    """

    def __init__(self, env_id: str, camera: str, settings: Mapping[str, Any] | None = None) -> None:
        try:
            self._env = gymnasium.make(env_id, **(settings or {}))
        except (GymnasiumError, ModuleNotFoundError) as error:
            raise ObservationError(
                f"env: expected an environment that Gymnasium knows, such as "
                f"sim:VlaRos/Lift-v0; {error}"
            ) from error
        self._camera = camera

    def draw(self, rng: np.random.Generator) -> Observation:
        values, _ = self._env.reset(seed=int(rng.integers(2**31)))
        try:
            return observation_of(values, (self._camera,))
        except (KeyError, TypeError) as error:
            raise ObservationError(
                f"env: expected an observation as policies.spaces has it, {error} is missing"
            ) from None

    def close(self) -> None:
        self._env.close()
