"""LeRobot takes seconds to load: all of this is slow."""

import numpy as np
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


def test_datasets_of_another_robot_are_refused(tmp_path):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    def make(name, state_names, action_names):
        features = {
            "observation.state": {"dtype": "float32", "shape": (7,), "names": state_names},
            "action": {"dtype": "float32", "shape": (7,), "names": action_names},
        }
        dataset = LeRobotDataset.create(
            f"local/{name}", 10, features, root=tmp_path / name, use_videos=False
        )
        for _ in range(20):
            zeros = np.zeros(7, np.float32)
            dataset.add_frame({"observation.state": zeros, "action": zeros, "task": "x"})
        dataset.save_episode()
        dataset.finalize()
        return tmp_path / name

    other = [f"shoulder_{index}" for index in range(7)]
    with pytest.raises(LogError, match="measured joint positions: expected fr3_joint1.* another"):
        read_dataset(make("a", other, list(ACTION_NAMES)))
    with pytest.raises(LogError, match="commands: joint targets .* or tool displacements"):
        read_dataset(make("b", list(robot.JOINT_NAMES), other))
    (tmp_path / "c" / "meta").mkdir(parents=True)
    (tmp_path / "c" / "meta" / "info.json").write_text("{}")
    with pytest.raises(LogError, match="LeRobot cannot open it"):
        read_dataset(tmp_path / "c")
