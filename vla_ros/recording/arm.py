"""What the arm's own streams say of an episode: state, joints and the action that was executed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_NAMES
from policies.openvla.state import DATASET_STATE_NAMES, dataset_state
from sim import robot
from sim.episode_tables import OUTCOME, image, vector
from sim.following import Trajectory, follow
from sim.kinematics import Kinematics, displacement
from vla_ros.recording.commands import RECENT_NS
from vla_ros.recording.mapping import image_feature
from vla_ros.recording.resample import Series, interpolate

JOINT_NAMES = robot.JOINT_NAMES + robot.FINGER_JOINT_NAMES


def features(shapes: dict[str, tuple[int, ...]]) -> dict[str, dict]:
    """Of a recorded dataset, given the cameras' image shapes (h, w, 3): as `collect` has them."""
    return {
        **{image_feature(name): image(shape[0], shape[1]) for name, shape in shapes.items()},
        "observation.state": vector(DATASET_STATE_NAMES),
        "observation.joint_positions": vector(robot.JOINT_NAMES),
        "action": vector(ACTION_NAMES),
        **OUTCOME,
    }


@dataclass(frozen=True)
class ArmStreams:
    """What arrived during an episode; times of trajectories count from `start_ns` [s].

    Trajectories from before tell where the command stands when it begins; without any it is taken
    to stand where the joints are.
    """

    start_ns: int
    joints: Series  # (m, 9) [rad], [m]: `JOINT_NAMES`
    arm: Sequence[Trajectory]  # commands to the joints
    gripper: Sequence[Trajectory]  # commands to the fingers


def arm_columns(
    streams: ArmStreams, instants_ns: NDArray[np.int64], period_s: float, kinematics: Kinematics
) -> dict[str, NDArray[np.float32]]:
    """The columns at `instants_ns` (n,), in the units of `policies.interface`.

    An action is what the robot was told until the next row: the displacement from the measured tool
    pose to the one the controller commands a period later, and the fingers' commanded opening. It
    is what passed the executor's limits, whoever wanted it.
    """
    measured = interpolate(streams.joints, instants_ns)  # (n, 9)
    ends_s = (instants_ns - streams.start_ns) / 1e9 + period_s
    first = streams.joints.values[0]
    targets = _commanded(_with_pauses(streams), first[:7], ends_s)  # (n, 7)
    fingers = _commanded(streams.gripper, first[7:], ends_s)  # (n, 2)
    openings = np.clip(fingers.mean(axis=1) / robot.FINGER_TRAVEL_M, 0.0, 1.0)
    measured_openings = np.clip(measured[:, 7:].mean(axis=1) / robot.FINGER_TRAVEL_M, 0.0, 1.0)
    states, actions = [], []
    for row, target, opening, measured_opening in zip(
        measured, targets, openings, measured_openings, strict=True
    ):
        position, rotation = kinematics.forward(row[:7])
        wanted_position, wanted_rotation = kinematics.forward(target)
        quaternion = rotation.as_quat(canonical=True, scalar_first=True)
        states.append(dataset_state(position, quaternion, float(measured_opening)))
        turn = displacement(rotation, wanted_rotation)
        actions.append(np.concatenate([wanted_position - position, turn, [opening]]))
    return {
        "observation.state": np.stack(states).astype(np.float32),
        "observation.joint_positions": measured[:, :7].astype(np.float32),
        "action": np.stack(actions).astype(np.float32),
    }


def _with_pauses(streams: ArmStreams) -> list[Trajectory]:
    """The arm's trajectories; `RECENT_NS` after the end of one, until the next, it was told to be
    where it was: a hand or another controller may have moved it.

    Not so the gripper's: it is told once to close, and holds what keeps it open.
    """
    measured_s = (streams.joints.stamps_ns - streams.start_ns) / 1e9  # (m,)
    told = [each for each in streams.arm if each.times_s[-1] > each.stamp_s]  # others do nothing
    told.sort(key=lambda each: each.stamp_s)
    nexts_s = [each.stamp_s for each in told[1:]] + [np.inf]
    found = []
    for each, next_s in zip(told, nexts_s, strict=True):
        found.append(each)
        pause_s = float(each.times_s[-1]) + RECENT_NS / 1e9
        inside = (measured_s > pause_s) & (measured_s <= next_s)  # (m,)
        if inside.any():
            positions = streams.joints.values[inside, :7]
            found.append(Trajectory(pause_s, measured_s[inside], positions))
    return found


def _commanded(
    trajectories: Sequence[Trajectory], initial: NDArray, times_s: NDArray
) -> NDArray[np.float64]:
    start_s = 0.0
    if trajectories and trajectories[0].stamp_s < 0.0:
        start_s, initial = trajectories[0].stamp_s, trajectories[0].positions[0]
    corners_s, corners = follow(trajectories, initial, start_s)
    return np.stack([np.interp(times_s, corners_s, column) for column in corners.T], axis=1)
