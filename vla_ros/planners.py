"""Which planner, on what: the choice of `vla-ros evaluate` and of `policy_node`. No ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from policies.interface import Policy
from policies.openvla.errors import CheckpointError
from sim.env import TabletopEnv
from sim.motion import CONTROL_RATE_HZ
from sim.oracle import SimulatedDynamics, SimulatedObjective
from sim.scene import CAMERAS
from vla_ros.errors import UserError
from world_models.checkpoint import (
    DEFAULT_WORLD_MODEL,
    load_world_model,
    read_world_model_config,
)
from world_models.config import WorldModelConfig
from world_models.model import ImaginationModel
from world_models.planning.planner import Planner
from world_models.planning.settings import MODES, PlannerSettings
from world_models.planning.world_model_planner import WorldModelPlanner

ORACLE, MUJOCO = "oracle", "mujoco"
PLANNERS = (*MODES, ORACLE)
ORACLE_HORIZON = 8  # actions
LEARNED_GAIN = 2.0  # see `PlannerSettings.least_gain`: MuJoCo needs none, a learned model errs
ROBOT = "fr3"  # as `vla-ros collect` calls it in its datasets


@dataclass(frozen=True)
class PlannerChoice:
    """What a user asked for. Checked when built, as far as can be without reading weights."""

    planner: str  # one of `PLANNERS`; oracle: iCEM on MuJoCo itself
    world_model: str = ""  # a name or folder, or "mujoco"; empty: the one that ships
    deadline_ms: float | None = None
    horizon: int | None = None  # actions; None: all that the model was trained for
    candidates: int = PlannerSettings.candidates
    iterations: int = PlannerSettings.iterations
    least_gain: float | None = None  # None: `LEARNED_GAIN`, on MuJoCo 0
    patience_s: float = PlannerSettings.patience_s  # 0: a policy that is stuck is left alone
    decode_steps: int | None = None  # of every imagined frame; None: 1 in search, then 4
    autoregressive: bool = False  # token by token instead
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.planner not in PLANNERS:
            raise UserError(f"planner: expected one of {', '.join(PLANNERS)}, got {self.planner!r}")
        if self.planner == ORACLE and self.world_model not in ("", MUJOCO):
            raise UserError(
                f"world-model: the oracle plans on MuJoCo itself, got {self.world_model!r}; "
                f"expected none, or one of {', '.join(MODES)} as the planner"
            )
        if self.simulated and (self.decode_steps is not None or self.autoregressive):
            raise UserError(
                "decode-steps, autoregressive: MuJoCo decodes nothing; expected a world model's "
                f"folder, got {MUJOCO}"
            )
        self.settings()

    @property
    def simulated(self) -> bool:
        """Whether it plans on the simulator: impossible for a robot."""
        return self.planner == ORACLE or self.world_model == MUJOCO

    @property
    def cameras(self) -> tuple[str, ...]:
        """What the planner looks at beside the policy."""
        return () if self.simulated else (self._config().camera,)

    def described(self) -> dict[str, Any]:
        """The settings that a result depends on, as they stand in its JSON."""
        return {
            "planner": self.planner,
            "world_model": MUJOCO if self.simulated else self._model,
            "deadline_ms": self.deadline_ms,
            "horizon_actions": self.settings().horizon_frames * self._block(),
            "candidates": self.candidates,
            "iterations": self.iterations,
            "least_gain": self._gain,
            "patience_s": self.patience_s,
            "decode_steps": self.decode_steps,
            "autoregressive": self.autoregressive,
        }

    def settings(self) -> PlannerSettings:
        """Raises `UserError` and `CheckpointError` for what cannot be."""
        frames = self._frames()
        try:
            return PlannerSettings(
                mode="icem" if self.planner == ORACLE else self.planner,  # type: ignore[arg-type]
                deadline_ms=self.deadline_ms,
                horizon_frames=frames,
                min_frames=max(1, frames // 2),
                candidates=self.candidates,
                elites=max(2, min(PlannerSettings.elites, self.candidates // 2)),
                iterations=self.iterations,
                least_gain=self._gain,
                patience_s=self.patience_s or math.inf,
                search_steps=_or(self.decode_steps, PlannerSettings.search_steps),
                final_steps=_or(self.decode_steps, PlannerSettings.final_steps),
                autoregressive=self.autoregressive,
            )
        except ValueError as error:
            raise UserError(str(error)) from error

    def wrap(self, policy: Policy, env: TabletopEnv) -> Planner:
        """The planner around `policy`, which acts in `env`."""
        if self.simulated:
            return Planner(policy, SimulatedDynamics(env), SimulatedObjective(), self.settings())
        return self.around(policy)

    def check_for_robot(self) -> None:
        """Raise `UserError` for a planner that sees what no robot knows."""
        if self.simulated:
            raise UserError(
                f"planner: {self.planner} on {MUJOCO} sees the simulator's true state, which no "
                f"robot has; expected one of {', '.join(MODES)} with a world model's folder"
            )

    def around(self, policy: Policy) -> WorldModelPlanner:
        """The planner around a policy that may be on a robot; raises `UserError` for an oracle."""
        self.check_for_robot()
        return WorldModelPlanner(
            policy, model_for_this_robot(self._model, self.device), self.settings()
        )

    @property
    def _gain(self) -> float:
        if self.least_gain is not None:
            return self.least_gain
        return 0.0 if self.simulated else LEARNED_GAIN

    @property
    def _model(self) -> str:
        return self.world_model or DEFAULT_WORLD_MODEL

    def _frames(self) -> int:
        block = self._block()
        if self.simulated:
            most, actions = None, self.horizon or ORACLE_HORIZON
        else:
            most = self._config().dynamics.context_frames * block
            actions = self.horizon or most
        if actions < block or actions % block:
            raise UserError(
                f"horizon: expected a multiple of {block} actions, which are a frame of this world "
                f"model, got {actions}"
            )
        if most is not None and actions > most:
            raise UserError(
                f"horizon: expected at most {most} actions, the context that the world model was "
                f"trained with, got {actions}"
            )
        return actions // block

    def _block(self) -> int:
        if self.simulated:
            return SimulatedDynamics.actions_per_frame
        return self._config().dynamics.actions_per_frame

    def _config(self) -> WorldModelConfig:
        return config_for_this_robot(self._model)


def _or(chosen: int | None, usual: int) -> int:
    return usual if chosen is None else chosen


def choose_planner(planner: str | None, **options: Any) -> PlannerChoice | None:
    """The choice of these options, of which None leave the default; None without a planner.

    Raises `UserError`, also for options that mean nothing without a planner.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if planner is not None:
        return PlannerChoice(planner, **given)
    unused = [name for name in given if name != "device"]
    if unused:
        raise UserError(
            f"{unused[0].replace('_', '-')}: means nothing without --planner; expected one of "
            f"{', '.join(PLANNERS)}"
        )
    return None


@lru_cache(maxsize=4)
def config_for_this_robot(name_or_path: str) -> WorldModelConfig:
    """Of a world model for this robot. Raises `UserError`."""
    try:
        config = read_world_model_config(name_or_path)
    except CheckpointError as error:
        raise UserError(f"world-model: {error}") from error
    for name, got, expected in (
        ("robot", config.robot, (ROBOT,)),
        ("rate_hz", config.rate_hz, (CONTROL_RATE_HZ,)),
        ("camera", config.camera, CAMERAS),
    ):
        if got not in expected:
            raise UserError(
                f"world-model: {name_or_path}: {name}: expected {' or '.join(map(str, expected))}, "
                f"got {got}"
            )
    return config


@lru_cache(maxsize=1)
def model_for_this_robot(name_or_path: str, device: str) -> ImaginationModel:
    """A world model, kept for the next who asks. Raises `UserError`."""
    config_for_this_robot(name_or_path)
    try:
        return load_world_model(name_or_path, device)
    except CheckpointError as error:
        raise UserError(f"world-model: {error}") from error
