"""Runs as episodes of a LeRobotDataset (v3), read and written.

Joints are found by their names (LeRobot's `.pos` at the end is allowed). Commands are joint
targets, as LeRobot's robots record them, or tool displacements, as `vla-ros collect` does: those
become joint targets by the same inverse kinematics that carried them out. An action is where the
joints shall be at the next row.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_NAMES
from sim import robot
from sim.kinematics import Kinematics, displaced
from sim.sim2real.logs import Log, LogError, ordered_by_name
from sim.tabletop import COMMAND_SPEED_FRACTION

STATE, ACTION, SUCCESS = "observation.state", "action", "next.success"
GRIPPER = "gripper_opening"
MEASURED = ("observation.joint_positions", STATE)
COMMANDED = ("executed_action", ACTION)  # the first: what the arm was told where labels differ
IMAGE_KINDS = ("video", "image")
# Of a tool displacement in one row. More is no motion of an arm but another unit, which inverse
# kinematics would clip into a path that looks like one.
MAX_DISPLACEMENT_M = 0.2
MAX_ROTATION_RAD = 1.0


def is_dataset(path: Path) -> bool:
    return (path / "meta" / "info.json").is_file()


def read_dataset(folder: Path) -> list[Log]:
    """One log for every episode. Raises `LogError` for what cannot be used."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    try:
        dataset = LeRobotDataset(f"local/{folder.name}", root=folder, video_backend="pyav")
    except Exception as error:  # whatever LeRobot or its readers raise about a damaged folder
        raise LogError(f"{folder}: LeRobot cannot open it: {error}") from error
    features = dataset.meta.features
    measured = _find(folder, features, MEASURED, robot.JOINT_NAMES, "measured joint positions")
    try:
        commanded = _find(folder, features, COMMANDED, robot.JOINT_NAMES, "joint targets")
        displacements = False
    except LogError:
        commanded = _find(
            folder, features, COMMANDED, ACTION_NAMES,
            f"commands: joint targets ({', '.join(robot.JOINT_NAMES)}) or tool displacements",
        )  # fmt: skip
        displacements = True
    rows = dataset.hf_dataset.with_format("numpy")
    columns = {name: np.stack(rows[name]) for name in {measured, commanded} | {"episode_index"}}
    states = ordered_by_name(
        _names(features, measured), columns[measured], robot.JOINT_NAMES, measured
    )
    actions = ordered_by_name(
        _names(features, commanded), columns[commanded],
        ACTION_NAMES if displacements else robot.JOINT_NAMES, commanded,
    )  # fmt: skip
    if displacements:
        _check_displacements(folder, commanded, actions)
    openings = None
    if GRIPPER in _names(features, measured):
        openings = columns[measured][:, _names(features, measured).index(GRIPPER)].astype(float)
    success = np.stack(rows[SUCCESS]).reshape(-1).astype(bool) if SUCCESS in features else None
    tasks = {int(row.task_index): str(name) for name, row in dataset.meta.tasks.iterrows()}
    task_index = np.stack(rows["task_index"]).astype(int)
    timestamps = np.stack(rows["timestamp"]).reshape(-1).astype(float)
    images = [name for name, row in features.items() if row["dtype"] in IMAGE_KINDS]
    kinematics = Kinematics() if displacements else None
    logs = []
    for episode in np.unique(columns["episode_index"]):
        chosen = np.flatnonzero(columns["episode_index"].reshape(-1) == episode)
        # Single-precision timestamps: the rate gives the exact ones.
        stamps_s = np.round((timestamps[chosen] - timestamps[chosen[0]]) * 1e5) / 1e5
        _check_rate(f"{folder.name}, episode {episode}", stamps_s, dataset.meta.fps)
        targets = actions[chosen]
        if kinematics is not None:
            targets = _carried_out(kinematics, states[chosen], targets, 1.0 / dataset.meta.fps)
        logs.append(
            Log(
                name=f"{folder.name}, episode {episode}",
                stamps_s=stamps_s,
                joint_positions=states[chosen],
                command_stamps_s=np.append(stamps_s, stamps_s[-1] + 1.0 / dataset.meta.fps),
                commands=np.vstack([states[chosen[:1]], targets]),
                gripper_openings=None if openings is None else openings[chosen],
                image_stamps_s=dict.fromkeys(images, stamps_s),
                instruction=tasks.get(int(task_index[chosen[0]])),
                success=None if success is None else bool(success[chosen].any()),
            )
        )
    return logs


def write_dataset(folder: Path, logs: Sequence[Log], rate_hz: int) -> None:
    """Write runs without images as a LeRobotDataset, sampled at `rate_hz`; whole or not at all.

    Either every log tells its outcome or none does: a column holds it.
    """
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    if folder.exists():
        raise LogError(f"{folder} already exists; choose another or remove it")
    told = {log.success is not None for log in logs}
    if len(told) != 1:
        raise LogError("logs: expected at least one, and all or none of them with an outcome")
    names = [f"{name}.pos" for name in robot.JOINT_NAMES]
    features: dict[str, Any] = {
        STATE: {"dtype": "float32", "shape": (8,), "names": [*names, GRIPPER]},
        ACTION: {"dtype": "float32", "shape": (7,), "names": names},
    }
    if told == {True}:
        features[SUCCESS] = {"dtype": "bool", "shape": (1,), "names": None}
    incomplete = folder.with_name(f".{folder.name}.incomplete")
    shutil.rmtree(incomplete, ignore_errors=True)
    try:
        dataset = LeRobotDataset.create(
            f"local/{folder.name}", rate_hz, features, root=incomplete, robot_type="fr3",
            use_videos=False,
        )  # fmt: skip
        for log in logs:
            for frame in _frames(log, rate_hz):
                dataset.add_frame(frame)
            dataset.save_episode()
        dataset.finalize()
        incomplete.rename(folder)
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)


def _frames(log: Log, rate_hz: int):
    stamps_s = np.arange(int(log.duration_s * rate_hz + 1e-6) + 1) / rate_hz
    openings = np.ones(len(log.stamps_s)) if log.gripper_openings is None else log.gripper_openings
    measured = np.column_stack(
        [np.interp(stamps_s, log.stamps_s, column) for column in (*log.joint_positions.T, openings)]
    ).astype(np.float32)  # (n, 8)
    targets = log.command_at(stamps_s + 1.0 / rate_hz).astype(np.float32)  # (n, 7)
    for row, (state, target) in enumerate(zip(measured, targets, strict=True)):
        frame: dict[str, Any] = {STATE: state, ACTION: target, "task": log.instruction or "move"}
        if log.success is not None:
            frame[SUCCESS] = np.array([log.success and row == len(stamps_s) - 1])
        yield frame


def _check_displacements(folder: Path, name: str, actions: NDArray) -> None:
    """Refuse millimetres, degrees and normalized actions (n, 7) in place of [m] and [rad]."""
    for what, columns, limit, unit in (
        ("displacements", slice(0, 3), MAX_DISPLACEMENT_M, "m"),
        ("rotations", slice(3, 6), MAX_ROTATION_RAD, "rad"),
    ):
        largest = float(np.abs(actions[:, columns]).max())
        if not largest <= limit:  # nor nan
            raise LogError(
                f"{folder}: {name}: expected {what} of at most {limit:g} {unit} in a row, got "
                f"{largest:.3g}; millimetres, degrees and normalized actions must be scaled"
            )


def _check_rate(name: str, stamps_s: NDArray, fps: float) -> None:
    """Refuse timestamps (n,) in another unit than seconds; single gaps are looked for later."""
    if len(stamps_s) < 2:
        return
    step_s = float(np.median(np.diff(stamps_s)))
    if not np.isclose(step_s * fps, 1.0, rtol=0.1):
        raise LogError(
            f"{name}: timestamp: expected steps of {1.0 / fps:.3g} s at {fps} fps, "
            f"got {step_s:.3g}; timestamps are in seconds"
        )


def _carried_out(
    kinematics: Kinematics, states: NDArray, actions: NDArray, period_s: float
) -> NDArray[np.float64]:
    """Joint targets (n, 7) [rad] of tool displacements (n, 7), as `TabletopEnv.move` finds them."""
    limit = COMMAND_SPEED_FRACTION * robot.VELOCITY_LIMIT_RAD_S * period_s
    command = states[0]
    targets = []
    for joints, action in zip(states, actions, strict=True):
        position, rotation = kinematics.forward(joints)
        target, _ = kinematics.inverse(
            joints, position + action[:3], displaced(rotation, action[3:6])
        )
        command = command + np.clip(target - command, -limit, limit)
        targets.append(command)
    return np.stack(targets)


def _find(
    folder: Path,
    features: Mapping[str, Any],
    usual: Sequence[str],
    wanted: Sequence[str],
    what: str,
) -> str:
    """The feature that has the numbers called `wanted`; the `usual` ones are looked at first."""
    for name in usual:
        if name in features and set(wanted) <= {
            n.removesuffix(".pos") for n in _names(features, name)
        }:
            return name
    found = [f"{name} ({', '.join(_names(features, name))})" for name in usual if name in features]
    raise LogError(
        f"{folder}: {what}: expected {', '.join(wanted)} in one of {', '.join(usual)}; "
        f"got {'; '.join(found) or 'none of these'}: is it a dataset of another robot?"
    )


def _names(features: Mapping[str, Any], name: str) -> list[str]:
    names = features[name].get("names") or []
    if isinstance(names, Mapping):  # older datasets: {"motors": [...]}
        names = [each for group in names.values() for each in group]
    return [str(each) for each in names]
