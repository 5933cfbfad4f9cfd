"""Whatever ends the writing, and whenever: LeRobot opens what was finished before."""

import errno
import fcntl
import json
import os

import numpy as np
import pytest

from sim import episode_files, video
from sim.episode_files import LOCK, PENDING, DatasetError, EpisodeFiles, check_output
from sim.episode_tables import OUTCOME, EpisodeData, image, outcome_columns, sample_pixels, vector

CAMERA = "observation.images.front"
FEATURES = {CAMERA: image(32, 48), "action": vector(("a", "b")), **OUTCOME}
RATE_HZ = 10
STEPS = 7  # where an `append` can be killed: before each of its six renames, and after


def open_files(folder, rate_hz=RATE_HZ, features=FEATURES, robot_type="fr3"):
    return EpisodeFiles(folder, rate_hz, features, robot_type)


def make_episode(files, seed, length=6, task="lift it"):
    rng = np.random.default_rng(seed)
    pictures = np.full((length, 32, 48, 3), 0, np.uint8)
    pictures[:] = (20 * (seed + 1) + np.arange(length))[:, None, None, None]
    return EpisodeData(
        task=task,
        columns={
            "action": rng.normal(size=(length, 2)).astype(np.float32),
            **outcome_columns(seed % 2 == 0, length),
        },
        videos={CAMERA: video.encode(pictures, RATE_HZ, files.encoder_options)},
        pixels={CAMERA: sample_pixels(pictures)},
    )


def check(folder, seeds, length=6):
    """LeRobot opens the folder, and it holds just the episodes of these seeds."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    data = LeRobotDataset("local/test", root=folder, video_backend="pyav")
    assert (data.num_episodes, len(data)) == (len(seeds), length * len(seeds))
    for number, seed in enumerate(seeds):
        actions = np.random.default_rng(seed).normal(size=(length, 2)).astype(np.float32)
        for row in range(length):
            item = data[number * length + row]
            assert (int(item["episode_index"]), int(item["frame_index"])) == (number, row)
            np.testing.assert_array_equal(item["action"], actions[row])
            assert float(item[CAMERA].mean()) * 255 == pytest.approx(20 * (seed + 1) + row, abs=2)
            assert bool(item["next.success"]) == (seed % 2 == 0 and row == length - 1)
    return data


def test_episodes_are_appended_and_continued(tmp_path):
    folder = tmp_path / "data"
    with open_files(folder) as files:
        files.append([make_episode(files, 0)])
        files.append([make_episode(files, 1), make_episode(files, 2, task="push it")])
    with open_files(folder) as files:
        assert (files.episodes, files.frames) == (3, 18)
        files.append([make_episode(files, 3)])
    data = check(folder, [0, 1, 2, 3])
    assert [data[row]["task"] for row in (0, 12, 18)] == ["lift it", "push it", "lift it"]
    assert data.meta.stats["action"]["count"] == 24
    assert set(os.listdir(folder)) == {"data", "meta", "videos"}


def test_lerobot_itself_goes_on_with_it(tmp_path):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    folder = tmp_path / "data"
    with open_files(folder, features={"action": FEATURES["action"], **OUTCOME}) as files:
        files.append([EpisodeData("lift", {"action": np.zeros((4, 2), np.float32),
                                           **outcome_columns(True, 4)}, {}, {})])  # fmt: skip
    more = LeRobotDataset.resume("local/test", root=folder)
    more.add_frame(
        {
            "action": np.ones(2, np.float32),
            "next.reward": np.zeros(1, np.float32),
            "next.success": np.zeros(1, bool),
            "task": "lift",
        }
    )
    more.save_episode()
    more.finalize()
    with open_files(folder, features={"action": FEATURES["action"], **OUTCOME}) as files:
        assert (files.episodes, files.frames) == (2, 5)


@pytest.mark.parametrize("done", range(STEPS))
def test_a_kill_between_any_two_renames_harms_nothing(tmp_path, monkeypatch, done):
    """An exception stands for the kill; what a kill would leave besides is made by hand."""
    folder = tmp_path / "data"
    replace = os.replace
    with open_files(folder) as files:
        files.append([make_episode(files, 0)])
        count = iter(range(100))

        def killed(source, target):
            if next(count) == done:
                raise KeyboardInterrupt
            replace(source, target)

        monkeypatch.setattr(episode_files.os, "replace", killed)
        if done == STEPS - 1:
            files.append([make_episode(files, 1)])
        else:
            with pytest.raises(KeyboardInterrupt):
                files.append([make_episode(files, 1)])
        monkeypatch.undo()
    (folder / PENDING / "data").mkdir(parents=True)
    (folder / PENDING / "data" / "half.parquet").write_bytes(b"PAR1")
    before = [0, 1] if done == STEPS - 1 else [0]
    check(folder, before)
    with open_files(folder) as files:
        files.append([make_episode(files, 2)])
    data = check(folder, [*before, 2])
    assert data.meta.stats["action"]["count"] == 6 * (len(before) + 1)


def test_a_full_disk_leaves_the_dataset_as_it_was(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "data"
    with open_files(folder) as files:
        files.append([make_episode(files, 0)])
        monkeypatch.setattr(episode_files, "write_rows", full)
        with pytest.raises(OSError, match="No space left"):
            files.append([make_episode(files, 1)])
        monkeypatch.undo()
        check(folder, [0])
        files.append([make_episode(files, 2)])
    check(folder, [0, 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_hz": 20}, "with another rate_hz: expected 20, it has 10"),
        ({"robot_type": "ur5e"}, "with another robot_type: expected ur5e, it has fr3"),
        ({"features": {**FEATURES, "action": vector("ac")}}, "another action: expected names"),
        ({"features": {**FEATURES, CAMERA: image(32, 32)}}, "expected shape .* it has"),
        ({"features": {**FEATURES, "more": vector(("a",))}}, "only one of the two has more"),
    ],
)  # fmt: skip
def test_another_dataset_is_not_continued(tmp_path, changes, message):
    with open_files(tmp_path / "data") as files:
        files.append([make_episode(files, 0)])
    with pytest.raises(DatasetError, match=message):
        open_files(tmp_path / "data", **changes)
    check(tmp_path / "data", [0])


def test_other_folders_and_other_writers_are_refused(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(DatasetError, match="already exists and is no LeRobotDataset"):
        open_files(tmp_path)
    with (
        open_files(tmp_path / "data"),
        pytest.raises(DatasetError, match="written to by another process"),
    ):
        open_files(tmp_path / "data")
    (tmp_path / "broken" / "meta").mkdir(parents=True)
    (tmp_path / "broken" / "meta" / "info.json").write_text(json.dumps({"fps": 10}))
    with pytest.raises(DatasetError, match="broken: cannot be continued"):
        open_files(tmp_path / "broken")


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_lock_that_was_removed_while_it_was_awaited_is_none(tmp_path, monkeypatch, made_anew):
    """Two would write, each with a lock of its own: on the old file, and on a third one's."""
    flock = fcntl.flock

    def the_first_one_ends_meanwhile(lock, how):
        (tmp_path / "data" / LOCK).unlink()
        if made_anew:
            (tmp_path / "data" / LOCK).touch()
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", the_first_one_ends_meanwhile)
    with pytest.raises(DatasetError, match="written to by another process"):
        open_files(tmp_path / "data")
    monkeypatch.undo()
    with open_files(tmp_path / "data") as files:
        files.append([make_episode(files, 0)])
    check(tmp_path / "data", [0])


def test_nothing_recorded_leaves_nothing(tmp_path):
    with open_files(tmp_path / "data"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_folder_is_checked_before_the_size_of_its_videos_is_known(tmp_path):
    features = {**FEATURES, CAMERA: image(0, 0)}
    folder = tmp_path / "data"
    check_output(folder, RATE_HZ, features, "fr3")
    assert not folder.exists()
    folder.mkdir()
    check_output(folder, RATE_HZ, features, "fr3")
    with open_files(folder) as files:
        files.append([make_episode(files, 0)])
        with pytest.raises(DatasetError, match="is being written to by another process"):
            check_output(folder, RATE_HZ, features, "fr3")
    before = sorted(folder.rglob("*"))
    check_output(folder, RATE_HZ, features, "fr3")
    assert sorted(folder.rglob("*")) == before
    wrong = {name: each for name, each in features.items() if name != CAMERA}
    for found, message in (
        ((RATE_HZ + 1, features, "fr3"), "another rate_hz: expected 11, it has 10"),
        ((RATE_HZ, features, "ur5e"), "another robot_type: expected ur5e, it has fr3"),
        ((RATE_HZ, wrong, "fr3"), f"other features: only one of the two has {CAMERA}"),
        ((RATE_HZ, {**features, "action": vector(("a",))}, "fr3"), "with another action"),
    ):
        with pytest.raises(DatasetError, match=message):
            check_output(folder, *found)
    check(folder, [0])
