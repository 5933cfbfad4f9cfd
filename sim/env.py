"""Gymnasium environments: a task on the simulated tabletop, with images and a language instruction.

The action is the field's usual one for vision-language-action policies: a displacement of the tool
centre point in the base frame and the wanted gripper opening, here at 10 Hz.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from policies.interface import ACTION_DIM, Observation
from policies.spaces import observation_of, observation_space
from sim.kinematics import Kinematics
from sim.motion import ACTION_HIGH, ACTION_LOW, CONTROL_RATE_HZ, carry_out
from sim.quaternions import canonical
from sim.randomization import NOMINAL
from sim.randomization.world import RandomizedTabletop
from sim.scene import CAMERAS
from sim.scenes import find_task
from sim.tabletop import Tabletop
from sim.tasks import Episode, Task
from sim.variants import STANDARD, check_variant, find_variant

IMAGE_SIZE_PX = 224


class TabletopEnv(gymnasium.Env):
    """One language-conditioned task. Same seed, same episode, bit for bit.

    Observation (a dictionary): one (224, 224, 3) uint8 RGB image per camera ("front", "wrist"),
    `joint_positions` (7,) [rad], `gripper_opening` (1,) in [0, 1], `ee_position` (3,) [m] and
    `ee_quaternion` (4,) w, x, y, z in the base frame, `instruction` (text).
    Action (7,): x, y, z [m], fixed-axis roll, pitch, yaw [rad] displacement from the measured tool
    pose, base frame; gripper opening wanted, 1 = open. Out-of-range actions are clipped, others
    (not finite, wrong shape) raise `ValueError`.
    Reward: 1 when the task succeeds, which ends the episode; otherwise 0.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": int(CONTROL_RATE_HZ)}

    def __init__(
        self,
        task: str,
        cameras: tuple[str, ...] = CAMERAS,
        image_size_px: int = IMAGE_SIZE_PX,
        render_mode: str | None = None,
        meshes: bool = False,
        variant: str = STANDARD,
        randomization: str = NOMINAL,
    ) -> None:
        """`task` is a key of `sim.tasks.TASKS` or a scene file; see `sim.scenes`.

        `meshes` draws the arm with those of the extra `menagerie`; see `sim.menagerie`.
        `variant` is a key of `sim.variants.VARIANTS`: a changed world. `randomization` is what
        `sim.randomization.load_domain` takes: a world that every episode draws anew.
        """
        unknown = [camera for camera in cameras if camera not in CAMERAS]
        if unknown:
            raise ValueError(f"camera: expected some of {', '.join(CAMERAS)}, got {unknown}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(
                f"render_mode: expected one of {self.metadata['render_modes']}, got {render_mode!r}"
            )
        self.task: Task = find_task(task)
        self.cameras = tuple(cameras)
        self.image_size_px = image_size_px
        self.render_mode = render_mode
        self.meshes = meshes
        self.variant = check_variant(variant)
        self._variant = find_variant(variant, randomization)
        self.action_space = spaces.Box(
            ACTION_LOW.astype(np.float32), ACTION_HIGH.astype(np.float32), dtype=np.float32
        )
        self.observation_space = observation_space(self.cameras, image_size_px)
        self.kinematics = Kinematics()
        self.world: Tabletop | None = None
        self.episode: Episode | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Draw an episode from the seed.

        `options["target"]` names another item of the drawn scene in the instruction;
        `options["episode"]` (a `sim.tasks.Episode`) replaces the draw.
        """
        super().reset(seed=seed)
        options = options or {}
        unknown = set(options) - {"target", "episode"}
        if unknown:
            raise ValueError(f"options: expected 'target' or 'episode', got {sorted(unknown)}")
        episode = options.get("episode") or self.task.sample(self.np_random)
        if "target" in options:
            episode = self.task.retarget(self.np_random, episode, options["target"])
        self.start(episode)
        return self.observe()

    def start(self, episode: Episode) -> None:
        """Build the world of `episode` and put the arm at its start."""
        if self.world is not None:
            self.world.close()
        self.world, self.episode = self._variant.begin(
            self.task, episode, self.np_random, self.meshes
        )

    def step(self, action: NDArray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carry out one action for 0.1 s."""
        self.move(action)
        values, info = self.observe()
        success = info["success"]
        return values, float(success), success, False, info

    def move(self, action: NDArray, duration_s: float = 1.0 / CONTROL_RATE_HZ) -> None:
        """Carry out one action, within `duration_s`, without looking at the result."""
        world, _ = self.running()
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (ACTION_DIM,):
            raise ValueError(f"action: expected shape ({ACTION_DIM},), got {action.shape}")
        if not np.isfinite(action).all():
            raise ValueError(f"action: expected finite numbers, got {action}")
        carry_out(world, self.kinematics, action, duration_s)

    def hold(self, duration_s: float) -> None:
        """Let time pass; what was commanded last stays commanded."""
        world, _ = self.running()
        world.advance(duration_s)

    def expert_action(self) -> NDArray[np.float64]:
        """The scripted expert's action (7,) in the present state."""
        world, episode = self.running()
        return np.clip(self.task.expert(world, episode), ACTION_LOW, ACTION_HIGH)

    def succeeded(self) -> bool:
        """Whether the task is done in the present state."""
        return self.task.success(*self.running())

    def render(self) -> NDArray[np.uint8] | None:
        """The front camera's image, (h, w, 3) uint8."""
        if self.render_mode is None:
            return None
        world, _ = self.running()
        return world.render("front", self.image_size_px, self.image_size_px)

    def close(self) -> None:
        if self.world is not None:
            self.world.close()
            self.world = None

    def observe(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Observation and info of the present state, for callers of `move`."""
        return self._observe(), self._info()

    def running(self) -> tuple[Tabletop, Episode]:
        """The world and the episode; `RuntimeError` before the first reset."""
        if self.world is None or self.episode is None:
            raise RuntimeError("call reset() before anything else")
        return self.world, self.episode

    def _observe(self) -> dict[str, Any]:
        world, _ = self.running()
        if isinstance(world, RandomizedTabletop):
            return world.sense(self._measure)
        return self._measure(world)

    def _measure(self, world: Tabletop) -> dict[str, Any]:
        _, episode = self.running()
        size = self.image_size_px
        return {
            **{camera: world.render(camera, size, size) for camera in self.cameras},
            "joint_positions": world.joint_positions,
            "gripper_opening": np.array([world.gripper_opening]),
            "ee_position": world.ee_position - world.base_position,
            "ee_quaternion": canonical(world.ee_quaternion),
            "instruction": episode.instruction,
        }

    def _info(self) -> dict[str, Any]:
        world, episode = self.running()
        return {
            "success": self.succeeded(),
            "target": episode.target,
            "first_touched": world.first_touched,
            "items": [item.name for item in episode.scene.items],
            "target_position": self.task.target_position(world, episode) - world.base_position,
            "goal_position": self.task.goal_position(world, episode) - world.base_position,
            "randomization": (world.draw.record() if isinstance(world, RandomizedTabletop) else {}),
        }


def make_scene(scene: str, **settings: Any) -> gymnasium.Env:
    """What `gymnasium.make("VlaRos/Scene-v0", scene="file.yaml")` makes, with its time limit."""
    env = TabletopEnv(scene, **settings)
    return TimeLimit(env, env.task.max_steps)


def to_observation(values: dict[str, Any], stamp_ns: int = 0) -> Observation:
    """An environment's observation as the policies' `Observation`."""
    return observation_of(values, CAMERAS, stamp_ns)
