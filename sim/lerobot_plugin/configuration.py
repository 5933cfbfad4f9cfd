"""What `lerobot-eval --env.type=vla_ros` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import gymnasium
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.envs.utils import freeze_after_episode_end
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from policies.interface import ACTION_DIM
from policies.openvla.state import DATASET_STATE_NAMES
from sim.env import CONTROL_RATE_HZ, IMAGE_SIZE_PX
from sim.lerobot_plugin.env import LeRobotTabletop
from sim.randomization import NOMINAL, load_domain
from sim.scene import CAMERAS
from sim.scenes import is_scene_file, read_description
from sim.tasks import TASKS

VERSION = "-v0"


@EnvConfig.register_subclass("vla_ros")
@dataclass
class VlaRosEnvConfig(EnvConfig):
    """One task (`Lift-v0`), several (`Lift-v0,Push-v0`), a scene file, or `all`.

    Episode i has the seed `--seed` + i, as in `vla-ros evaluate`: the same scene, instruction and
    judgement.
    """

    task: str | None = "all"
    fps: int = int(CONTROL_RATE_HZ)
    cameras: list[str] = field(default_factory=lambda: list(CAMERAS))
    image_size_px: int = IMAGE_SIZE_PX  # drawn at 224 and scaled, as a policy's adapter does it
    randomization: str = NOMINAL  # a preset or a .yaml file of ranges, see `sim.randomization`

    def __post_init__(self) -> None:
        self.task_names()
        load_domain(self.randomization)
        if self.fps != CONTROL_RATE_HZ:
            raise ValueError(f"fps: the simulated robot acts at {CONTROL_RATE_HZ:.0f} Hz only")
        size = self.image_size_px
        self.features = {
            ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(ACTION_DIM,)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(len(DATASET_STATE_NAMES),)),
            "joint_positions": PolicyFeature(type=FeatureType.STATE, shape=(7,)),
            **{
                f"pixels/{camera}": PolicyFeature(type=FeatureType.VISUAL, shape=(size, size, 3))
                for camera in self.cameras
            },
        }
        self.features_map = {
            ACTION: ACTION,
            "agent_pos": OBS_STATE,
            "joint_positions": "observation.joint_positions",
            **{f"pixels/{camera}": f"{OBS_IMAGES}.{camera}" for camera in self.cameras},
        }

    def task_names(self) -> tuple[str, ...]:
        """The tasks, as `sim.tasks` calls them. Raises `ValueError` naming the choices."""
        if self.task in (None, "all"):
            return tuple(TASKS)
        names = [name.strip().removesuffix(VERSION) for name in str(self.task).split(",")]
        unknown = [name for name in names if name not in TASKS and not is_scene_file(name)]
        if unknown:
            raise ValueError(
                f"task: expected all or some of {', '.join(name + VERSION for name in TASKS)}, "
                f"or .yaml files of scenes; got {self.task!r}"
            )
        for name in filter(is_scene_file, names):
            read_description(name)
        if len(set(map(_key, names))) < len(names):
            raise ValueError(f"task: expected names that differ, got {self.task!r}")
        return tuple(names)

    @property
    def gym_kwargs(self) -> dict:
        return {
            "cameras": tuple(self.cameras),
            "image_size_px": self.image_size_px,
            "randomization": self.randomization,
        }

    def create_envs(
        self, n_envs: int, use_async_envs: bool = False
    ) -> dict[str, dict[int, gymnasium.vector.VectorEnv]]:
        """{task: {0: vector environment}}; LeRobot reports success by task."""
        envs: dict[str, dict[int, gymnasium.vector.VectorEnv]] = {}
        for name in self.task_names():
            make = freeze_after_episode_end(partial(LeRobotTabletop, name, **self.gym_kwargs))
            mode = gymnasium.vector.AutoresetMode.SAME_STEP
            envs[_key(name)] = {
                0: gymnasium.vector.AsyncVectorEnv(
                    [make] * n_envs, context="forkserver", autoreset_mode=mode
                )
                if use_async_envs and n_envs > 1
                else gymnasium.vector.SyncVectorEnv([make] * n_envs, autoreset_mode=mode)
            }
        return envs


def _key(name: str) -> str:
    """What LeRobot calls a task; it makes folders of that name."""
    return Path(name).stem if is_scene_file(name) else name + VERSION
