"""LeRobot takes seconds to load: all of this is slow."""

import numpy as np
import pandas
import pytest

from policies.interface import ACTION_NAMES
from sim import robot
from sim.dataset import Collection, collect
from sim.sim2real.arm import ArmParameters, ArmSimulation
from sim.sim2real.gap import tracking_gap
from sim.sim2real.lerobot_logs import read_dataset, write_dataset
from sim.sim2real.logs import LogError
from sim.sim2real.reading import read_logs

pytestmark = pytest.mark.slow


def make_dataset(
    folder, state, action, state_names=tuple(robot.JOINT_NAMES), action_names=tuple(ACTION_NAMES)
):
    """Two seconds in which every row is alike."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    row = {"observation.state": np.float32(state), "action": np.float32(action)}
    features = {
        name: {"dtype": "float32", "shape": (7,), "names": list(names)}
        for name, names in zip(row, (state_names, action_names), strict=True)
    }
    dataset = LeRobotDataset.create(
        f"local/{folder.name}", 10, features, root=folder, use_videos=False
    )
    for _ in range(20):
        dataset.add_frame({**row, "task": "x"})
    dataset.save_episode()
    dataset.finalize()
    return folder


def test_what_is_written_is_read(tmp_path, log_by_hand):
    logs = [
        log_by_hand(success=success, instruction=words, gripper_openings=np.linspace(0, 1, 101))
        for success, words in ((True, "lift it"), (False, "push it"))
    ]
    write_dataset(tmp_path / "runs", logs, 50)
    back = read_logs([tmp_path / "runs"])
    assert [log.name for log in back] == ["runs, episode 0", "runs, episode 1"]
    for log, read in zip(logs, back, strict=True):
        assert read.stamps_s == pytest.approx(log.stamps_s)
        assert read.joint_positions == pytest.approx(log.joint_positions, abs=1e-6)
        assert read.command_at(log.stamps_s) == pytest.approx(
            log.command_at(log.stamps_s), abs=1e-6
        )
        assert read.gripper_openings == pytest.approx(log.gripper_openings, abs=1e-6)
        assert (read.success, read.instruction) == (log.success, log.instruction)
    with pytest.raises(LogError, match="already exists"):
        write_dataset(tmp_path / "runs", logs, 50)
    with pytest.raises(LogError, match="all or none of them with an outcome"):
        write_dataset(tmp_path / "new", [logs[0], log_by_hand()], 50)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_what_collect_writes_is_a_log(tmp_path):
    """Tool displacements become the joint targets that carried them out."""
    collect(
        Collection(
            ("VlaRos/Lift-v0",),
            1,
            tmp_path / "d",
            seed=3,
            perturb=0.0,
            image_size_px=32,
            cameras=("front",),
        )  # fmt: skip
    )
    (log,) = read_dataset(tmp_path / "d")
    assert list(log.image_stamps_s) == ["observation.images.front"]
    assert log.instruction
    gap = tracking_gap(ArmSimulation(), log, ArmParameters.nominal())
    assert gap.rmse_rad < 0.01
    still = tracking_gap(ArmSimulation(), log, ArmParameters.nominal()).samples
    assert still == len(log.stamps_s)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (1, 12.0, "action: expected displacements of at most 0.2 m in a row, got 12; milli"),
        (5, -3.0, "action: expected rotations of at most 1 rad in a row, got 3; .*degrees"),
        (2, np.nan, "action: expected displacements of at most 0.2 m in a row, got nan"),
    ],
)
def test_displacements_in_other_units_are_refused(tmp_path, column, value, message):
    displacement = np.zeros(7, np.float32)
    displacement[column] = value
    folder = make_dataset(tmp_path / "d", robot.HOME_RAD, displacement)
    with pytest.raises(LogError, match=message):
        read_dataset(folder)


def test_timestamps_in_another_unit_are_refused(tmp_path):
    folder = make_dataset(tmp_path / "d", robot.HOME_RAD, np.zeros(7))
    (log,) = read_dataset(folder)
    assert log.duration_s == pytest.approx(1.9)
    (file,) = (folder / "data").rglob("*.parquet")
    rows = pandas.read_parquet(file)
    rows["timestamp"] *= 1000
    rows.to_parquet(file)
    with pytest.raises(LogError, match="timestamp: expected steps of 0.1 s at 10 fps, got 100"):
        read_dataset(folder)


def test_datasets_of_another_robot_are_refused(tmp_path):
    def make(name, state_names, action_names):
        return make_dataset(tmp_path / name, np.zeros(7), np.zeros(7), state_names, action_names)

    other = [f"shoulder_{index}" for index in range(7)]
    with pytest.raises(LogError, match="measured joint positions: expected fr3_joint1.* another"):
        read_dataset(make("a", other, list(ACTION_NAMES)))
    with pytest.raises(LogError, match="commands: joint targets .* or tool displacements"):
        read_dataset(make("b", list(robot.JOINT_NAMES), other))
    (tmp_path / "c" / "meta").mkdir(parents=True)
    (tmp_path / "c" / "meta" / "info.json").write_text("{}")
    with pytest.raises(LogError, match="LeRobot cannot open it"):
        read_dataset(tmp_path / "c")
