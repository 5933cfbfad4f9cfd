"""A tabletop task with the observation's names, time limit and attributes that LeRobot expects."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from policies.lerobot_adapter.features import resized, tool_state
from policies.openvla.state import DATASET_STATE_NAMES
from sim.env import IMAGE_SIZE_PX, TabletopEnv, to_observation
from sim.randomization import NOMINAL
from sim.scene import CAMERAS


class LeRobotTabletop(gymnasium.Env):
    """`sim.env.TabletopEnv` for LeRobot's rollouts; the same seed is the same episode.

    Observation: `pixels`, a dictionary of (size, size, 3) uint8 images by camera; `agent_pos` (8,),
    the tool's pose and the gripper's opening as in the datasets' `observation.state`;
    `joint_positions` (7,) [rad]. Action and reward are `TabletopEnv`'s. `task_description` is the
    instruction.
    """

    metadata = TabletopEnv.metadata

    def __init__(
        self,
        task: str,
        cameras: tuple[str, ...] = CAMERAS,
        image_size_px: int = IMAGE_SIZE_PX,
        randomization: str = NOMINAL,
    ) -> None:
        self._env = TabletopEnv(task, cameras, render_mode="rgb_array", randomization=randomization)
        self._size_px = image_size_px
        self._steps = 0
        self._seeded = False
        self._max_episode_steps = self._env.task.max_steps  # LeRobot's rollout reads it
        self.task = task
        self.task_description = ""
        self.render_mode = "rgb_array"
        self.action_space = self._env.action_space
        image = spaces.Box(0, 255, (image_size_px, image_size_px, 3), np.uint8)
        self.observation_space = spaces.Dict(
            {
                "pixels": spaces.Dict(dict.fromkeys(cameras, image)),
                "agent_pos": spaces.Box(-2.0, 2.0, (len(DATASET_STATE_NAMES),), np.float64),
                "joint_positions": spaces.Box(-np.pi, np.pi * 1.5, (7,), np.float64),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Draw the episode of `seed`; `options` are LeRobot's and mean nothing here.

        `info["randomization"]` is what was drawn, as `TabletopEnv` records it.
        """
        if seed is None and not self._seeded:
            # The operating system's 128 bits would not fit into a vector's `info`.
            seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._seeded = True
        values, info = self._env.reset(seed=seed)
        self._steps = 0
        self.task_description = values["instruction"]
        return self._observation(values), {
            "is_success": False,
            "randomization": info["randomization"],
        }

    def step(self, action: NDArray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        values, reward, success, _, _ = self._env.step(action)
        self._steps += 1
        truncated = not success and self._steps >= self._max_episode_steps
        return self._observation(values), reward, success, truncated, {"is_success": success}

    def render(self) -> NDArray[np.uint8] | None:
        """The front camera's image, (224, 224, 3) uint8."""
        return self._env.render()

    def close(self) -> None:
        self._env.close()

    def _observation(self, values: dict[str, Any]) -> dict[str, Any]:
        observation = to_observation(values)
        return {
            "pixels": {name: self._scaled(image) for name, image in observation.images.items()},
            "agent_pos": tool_state(observation),
            "joint_positions": observation.joint_positions,
        }

    def _scaled(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = self._size_px
        if image.shape[:2] == (size, size):
            return image
        return (resized(image, (size, size))[0] * 255.0).round().byte().permute(1, 2, 0).numpy()
