"""Reading LeRobotDatasets: what was executed, how it ended, what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from policies.training.features import DatasetError
from world_models.recordings import join, read_kept, read_recordings, split_all

EPISODES, LENGTH = 3, 4


def write_dataset(folder: Path, outcomes: bool = False, executed: bool = True) -> np.ndarray:
    """Three episodes with pictures; returns the executed actions (n, 7). The second one failed."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    vector = lambda size: {"dtype": "float32", "shape": (size,), "names": None}  # noqa: E731
    image = {"dtype": "image", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
    names = ["x", "y", "z", "qw", "qx", "qy", "qz", "gripper_opening"]
    features = {
        "observation.images.front": image,
        "observation.state": {"dtype": "float32", "shape": (8,), "names": names},
        "observation.joint_positions": vector(7),
        "action": vector(7),
    }
    if executed:
        features["executed_action"] = vector(7)
    if outcomes:
        features["next.success"] = {"dtype": "bool", "shape": (1,), "names": None}
        features["next.reward"] = vector(1)
    made = LeRobotDataset.create(
        "local/toy", fps=10, root=folder, use_videos=False, features=features, robot_type="fr3"
    )
    rng = np.random.default_rng(0)
    actions = rng.normal(0, 0.02, (EPISODES * LENGTH, 7)).astype(np.float32)
    for row, action in enumerate(actions):
        episode, step = divmod(row, LENGTH)
        frame = {
            "observation.images.front": np.full((32, 32, 3), 10 * row, dtype=np.uint8),
            "observation.state": np.r_[row, 0, 0, 0, 1, 0, 0, 1].astype(np.float32),
            "observation.joint_positions": np.full(7, row, dtype=np.float32),
            "action": np.zeros(7, dtype=np.float32) if executed else action,
            "task": f"lift item {episode}",
        }
        if executed:
            frame["executed_action"] = action
        if outcomes:
            done = step == LENGTH - 1 and episode != 1
            frame["next.success"] = np.array([done])
            frame["next.reward"] = np.array([2.0 * done], dtype=np.float32)
        made.add_frame(frame)
        if step == LENGTH - 1:
            made.save_episode()
    made.finalize()
    return actions


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> tuple[Path, np.ndarray]:
    folder = tmp_path_factory.mktemp("plain") / "toy"
    return folder, write_dataset(folder)


def test_what_was_executed_is_read(plain):
    folder, actions = plain
    found = read_recordings(folder, "front", 16)
    np.testing.assert_allclose(found.actions, actions, atol=1e-6)
    assert found.images.shape == (12, 16, 16, 3)
    assert found.images[:, 0, 0, 0].tolist() == [10 * row for row in range(12)]
    assert found.starts.tolist() == [0, 4, 8, 12]
    assert found.instructions == ("lift item 0", "lift item 1", "lift item 2")
    np.testing.assert_allclose(found.states[5, [0, 6, 7]], [5, 1, 5])
    assert found.robot == "fr3" and found.rate_hz == 10
    assert np.isnan(found.targets).all()


def test_an_ending_that_nobody_wrote_down_is_unknown(plain):
    found = read_recordings(plain[0], "front", 16)
    assert np.isnan(found.success[[3, 7, 11]]).all() and np.isnan(found.rewards[3])
    assert (found.success[[0, 1, 2]] == 0).all()


def test_columns_say_how_it_ended(tmp_path):
    write_dataset(tmp_path / "toy", outcomes=True)
    found = read_recordings(tmp_path / "toy", "front", 16)
    assert found.success[[3, 7, 11]].tolist() == [1, 0, 1]
    assert found.rewards[[3, 7, 11]].tolist() == [2, 0, 2]


def test_a_collection_says_how_it_ended(tmp_path):
    write_dataset(tmp_path / "toy")
    about = tmp_path / "toy" / "meta" / "collection.json"
    rows = [{"episode_index": index, "success": index != 1} for index in range(EPISODES)]
    about.write_text(json.dumps({"policy": "openvla-mini", "recorded": rows}))
    assert read_recordings(tmp_path / "toy", "front", 16).success[[3, 7, 11]].tolist() == [1, 0, 1]
    for row in rows:
        del row["success"]
    about.write_text(json.dumps({"policy": None, "recorded": rows}))  # experts: failures left out
    assert read_recordings(tmp_path / "toy", "front", 16).success[[3, 7, 11]].tolist() == [1, 1, 1]
    about.write_text(json.dumps({"policy": "openvla-mini", "recorded": rows}))
    assert np.isnan(read_recordings(tmp_path / "toy", "front", 16).success[[3, 7, 11]]).all()


def test_without_executed_actions_the_action_counts(tmp_path):
    actions = write_dataset(tmp_path / "toy", executed=False)
    found = read_recordings(tmp_path / "toy", "front", 16)
    np.testing.assert_allclose(found.actions, actions, atol=1e-6)


def test_what_is_kept_is_what_was_read(plain, tmp_path):
    folder, _ = plain
    first = read_kept(folder, "front", 16, tmp_path)
    (kept,) = tmp_path.iterdir()
    stamp = kept.stat().st_mtime_ns
    again = read_kept(folder, "front", 16, tmp_path)
    assert kept.stat().st_mtime_ns == stamp
    for name in ("images", "states", "actions", "success", "rewards", "targets", "starts"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert (again.instructions, again.rate_hz, again.robot) == (
        first.instructions,
        first.rate_hz,
        first.robot,
    )
    read_kept(folder, "front", 8, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_last_episodes_of_each_dataset_are_held_out(recordings):
    training, held_out = split_all([recordings, recordings], 0.25)
    assert held_out.episodes == 12 and training.episodes == 36
    assert held_out.instructions[:6] == recordings.instructions[-6:]
    rows = slice(int(recordings.starts[18]), None)
    np.testing.assert_array_equal(held_out.states, np.tile(recordings.states[rows], (2, 1)))
    assert held_out.starts[-1] == len(held_out.images)


def test_robots_are_not_mixed(recordings):
    with pytest.raises(DatasetError, match=r"expected one robot in all of them, got \['bar', 'fr"):
        join([recordings, replace(recordings, robot="fr3")])


def test_a_dataset_without_joints_is_refused(tmp_path):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    names = ["x", "y", "z", "qw", "qx", "qy", "qz", "gripper_opening"]
    image = {"dtype": "image", "shape": (32, 32, 3), "names": ["height", "width", "channels"]}
    LeRobotDataset.create(
        "local/toy", fps=10, root=tmp_path / "toy", use_videos=False,
        features={
            "observation.images.front": image,
            "observation.state": {"dtype": "float32", "shape": (8,), "names": names},
            "action": {"dtype": "float32", "shape": (7,), "names": None},
        },
    ).finalize()  # fmt: skip
    with pytest.raises(DatasetError):
        read_recordings(tmp_path / "toy", "front", 16)


def test_a_few_episodes_are_spread_over_all(recordings):
    few = recordings.spread(3)
    assert few.episodes == 3
    last = recordings.episodes - 1
    for index, episode in enumerate((0, round(last / 2), last)):
        rows = slice(few.starts[index], few.starts[index + 1])
        theirs = slice(recordings.starts[episode], recordings.starts[episode + 1])
        np.testing.assert_array_equal(few.images[rows], recordings.images[theirs])
    assert recordings.spread(99) is recordings
