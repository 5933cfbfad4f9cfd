"""One episode of a scripted expert, with disturbances; what data collection runs.

Disturbing what is executed, while labelling every state with what the expert would do, shows the
learner how to recover: DART, arXiv 1703.09327.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_DIM, Policy
from policies.openvla.state import dataset_state
from sim.env import ACTION_HIGH, ACTION_LOW, TabletopEnv, to_observation

EXPERT_SHARE = 0.25  # of a learner's roll-outs is acted by the expert,
EXPERT_RUN_STEPS = 5.0  # in runs of this mean length


@dataclass(frozen=True)
class Perturbation:
    """How executed actions differ from the expert's: short runs of correlated noise."""

    rate: float = 0.0  # share of the steps that are disturbed, [0, 0.9]
    run_steps: float = 4.0  # mean length of a run
    position_std_m: float = 0.015  # per step and axis
    rotation_std_rad: tuple[float, float, float] = (0.02, 0.02, 0.05)  # roll, pitch, yaw
    correlation: float = 0.7  # of the noise from one step to the next, within a run
    max_position_m: float = 0.03
    max_rotation_rad: float = 0.1
    gripper_rate: float = 0.15  # share of the runs that begin with the wrong gripper command
    gripper_steps: int = 2  # for how many steps

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 0.9:
            raise ValueError(f"perturbation rate: expected 0 to 0.9, got {self.rate}")


class Disturbance:
    """The state of a `Perturbation` within one episode: an Ornstein-Uhlenbeck process in runs."""

    def __init__(self, perturbation: Perturbation, rng: np.random.Generator) -> None:
        self._settings = perturbation
        self._rng = rng
        self._std = np.array([perturbation.position_std_m] * 3 + [*perturbation.rotation_std_rad])
        self._limit = np.array(
            [perturbation.max_position_m] * 3 + [perturbation.max_rotation_rad] * 3
        )
        self._noise: NDArray | None = None  # (6,), None between runs
        self._wrong_gripper_steps = 0

    def disturb(self, action: NDArray) -> NDArray[np.float64]:
        """The action (7,) to execute in place of `action` (7,)."""
        settings = self._settings
        # Two states with mean run length L and share p of disturbed steps: p / (L (1 - p)) begin.
        begin = settings.rate / (settings.run_steps * (1.0 - settings.rate))
        draw = self._rng.random()
        if self._noise is None:
            if draw >= begin:
                return action
            self._noise = self._std * self._rng.standard_normal(6)
            wrong = self._rng.random() < settings.gripper_rate
            self._wrong_gripper_steps = settings.gripper_steps if wrong else 0
        elif draw < 1.0 / settings.run_steps:
            self._noise = None
            return action
        else:
            keep = settings.correlation
            fresh = self._std * self._rng.standard_normal(6)
            self._noise = keep * self._noise + np.sqrt(1.0 - keep**2) * fresh
        disturbed = np.array(action)
        disturbed[:6] += np.clip(self._noise, -self._limit, self._limit)
        if self._wrong_gripper_steps > 0:
            self._wrong_gripper_steps -= 1
            disturbed[6] = 1.0 - disturbed[6]
        return np.clip(disturbed, ACTION_LOW, ACTION_HIGH)


@dataclass
class Demonstration:
    """What an expert saw and did in one episode; row t of each array is before action t."""

    seed: int
    instruction: str
    success: bool = False
    randomization: dict[str, Any] = field(default_factory=dict)  # see `sim.randomization.draw`
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)  # (n, h, w, 3) RGB
    state: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 8), np.float32))
    joint_positions: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 7), np.float32)
    )  # [rad]
    action: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, ACTION_DIM), np.float32)
    )  # the expert's label
    executed_action: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, ACTION_DIM), np.float32)
    )  # what the arm was told
    target_position: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 3), np.float32)
    )  # [m], base frame
    goal_position: NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, 3), np.float32)
    )  # [m], base frame

    @property
    def steps(self) -> int:
        return len(self.action)


def demonstrate(
    env: TabletopEnv,
    seed: int,
    perturbation: Perturbation,
    max_steps: int | None = None,
    learner: Policy | None = None,
    expert_share: float = EXPERT_SHARE,
) -> Demonstration:
    """Let the expert act in the episode of `seed` until it succeeds or time is up.

    With a `learner` that one acts, but for short runs in which the expert does (`expert_share` of
    the time, so that later stages are seen too); the labels are the expert's all the same: DAgger,
    arXiv 1011.0686. Whoever acts is disturbed.
    """
    turns = np.random.default_rng([seed, 0xDA66])
    experts_turn = False
    # The words of the seed's sequence differ from those that drew the episode.
    disturbance = Disturbance(perturbation, np.random.default_rng([seed, 0xDA27]))
    values, info = env.reset(seed=seed)
    if learner is not None:
        learner.reset(seed=seed)
    columns: dict[str, list[NDArray]] = {
        name: []
        for name in (
            *env.cameras,
            "state",
            "joint_positions",
            "action",
            "executed_action",
            "target_position",
            "goal_position",
        )
    }
    success = False
    for _ in range(max_steps or env.task.max_steps):
        label = env.expert_action()
        if turns.random() < 1.0 / EXPERT_RUN_STEPS:
            experts_turn = turns.random() < expert_share
        if learner is None or experts_turn:
            wanted = label
        else:
            wanted = learner.predict_chunk(to_observation(values)).actions[0]
            wanted = np.clip(wanted, ACTION_LOW, ACTION_HIGH)
        executed = disturbance.disturb(wanted)
        for camera in env.cameras:
            columns[camera].append(values[camera])
        columns["state"].append(
            dataset_state(
                values["ee_position"], values["ee_quaternion"], float(values["gripper_opening"][0])
            )
        )
        columns["joint_positions"].append(values["joint_positions"])
        columns["action"].append(label)
        columns["executed_action"].append(executed)
        columns["target_position"].append(info["target_position"])
        columns["goal_position"].append(info["goal_position"])
        env.move(executed)
        success = env.succeeded()
        if success:  # the image after the last action is not part of the data: do not render it
            break
        values, info = env.observe()
    demonstration = Demonstration(seed, values["instruction"], success, info["randomization"])
    demonstration.images = {name: np.stack(columns.pop(name)) for name in env.cameras}
    for name, rows in columns.items():
        setattr(demonstration, name, np.stack(rows).astype(np.float32))
    return demonstration
