"""Collected datasets: LeRobot opens them, they hold what was seen, and accidents are harmless."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from policies.training import demonstrations
from sim import dataset
from sim.dataset import Collection, DatasetError, collect
from sim.env import TabletopEnv
from sim.episode_files import EpisodeFiles
from sim.randomization import PRESETS
from sim.rollout import Perturbation, demonstrate

ENVS = ("VlaRos/Lift-v0", "VlaRos/Push-v0")
EPISODES = 4


def open_dataset(folder):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("local/test", root=folder, video_backend="pyav")


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collected") / "dataset"
    steps = []
    progress = collect(Collection(ENVS, EPISODES, folder, seed=50, perturb=0.4), steps.append)
    assert progress == steps[-1]
    assert (progress.kept, len(steps)) == (EPISODES, EPISODES + progress.failed)
    return folder


@pytest.fixture(scope="module")
def opened(collected):
    return open_dataset(collected)


def test_lerobot_opens_it(opened):
    assert opened.fps == 10
    assert opened.num_episodes == EPISODES
    assert opened.num_frames == len(opened) == opened.meta.total_frames
    item = opened[0]
    shapes = {
        "observation.images.front": (3, 224, 224),
        "observation.images.wrist": (3, 224, 224),
        "observation.state": (8,),
        "observation.joint_positions": (7,),
        "observation.target_position": (3,),
        "observation.goal_position": (3,),
        "action": (7,),
        "executed_action": (7,),
    }
    for key, shape in shapes.items():
        assert tuple(item[key].shape) == shape
        assert item[key].dtype == torch.float32
        assert key in opened.meta.stats
    assert opened.meta.features["action"]["names"][-1] == "gripper"
    assert opened.meta.stats["observation.images.front"]["mean"].shape == (3, 1, 1)
    for video_key in opened.meta.video_keys:
        info = opened.meta.features[video_key]["info"]
        assert (info["video.codec"], info["video.fps"]) == ("h264", 10)


def test_lerobot_makes_batches_and_chunks_of_actions(collected):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    chunks = LeRobotDataset(
        "local/test",
        root=collected,
        delta_timestamps={"action": [0.0, 0.1, 0.2]},
        episodes=[1, 2],
        video_backend="pyav",
    )
    loader = torch.utils.data.DataLoader(chunks, batch_size=3)
    batch = next(iter(loader))
    assert batch["action"].shape == (3, 3, 7)
    assert len(batch["task"]) == 3


def test_it_holds_what_the_seeds_say(collected, opened):
    """Labels, states and texts exactly; images to 35 dB of what is drawn anew."""
    settings = json.loads((collected / "meta/collection.json").read_text())
    assert [row["env"] for row in settings["recorded"]] == list(ENVS) * (EPISODES // 2)
    for row in settings["recorded"]:
        env = TabletopEnv(row["env"].split("/")[1].removesuffix("-v0"))
        again = demonstrate(env, row["seed"], Perturbation(settings["perturb"]))
        episode = opened.meta.episodes[row["episode_index"]]
        rows = range(episode["dataset_from_index"], episode["dataset_to_index"])
        assert len(rows) == again.steps == row["steps"]
        for step, index in enumerate(rows):
            item = opened[index]
            assert item["task"] == again.instruction
            assert int(item["frame_index"]) == step
            for key, values in (
                ("action", again.action),
                ("executed_action", again.executed_action),
                ("observation.state", again.state),
                ("observation.joint_positions", again.joint_positions),
                ("observation.target_position", again.target_position),
                ("observation.goal_position", again.goal_position),
                ("next.success", np.arange(again.steps) == again.steps - 1),
                ("next.reward", np.arange(again.steps) == again.steps - 1),
            ):
                np.testing.assert_array_equal(item[key], values[step])
            for camera, images in again.images.items():
                stored = item[f"observation.images.{camera}"].permute(1, 2, 0).numpy() * 255.0
                error = np.mean((stored - images[step]) ** 2)
                assert 10 * np.log10(255**2 / error) > 35.0
        env.close()


def test_the_statistics_are_those_of_the_columns(opened):
    actions = np.stack([opened.hf_dataset[index]["action"] for index in range(len(opened))])
    stored = opened.meta.stats["action"]
    np.testing.assert_allclose(stored["mean"], actions.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(stored["std"], actions.std(axis=0), atol=1e-4)
    np.testing.assert_allclose(stored["max"], actions.max(axis=0), atol=1e-6)
    assert stored["count"] == len(opened)


def test_the_number_of_workers_changes_nothing(collected, tmp_path):
    folder = tmp_path / "dataset"
    collect(Collection(ENVS, EPISODES, folder, seed=50, perturb=0.4, workers=2))
    here, there = (
        {path.relative_to(root): path for path in sorted(root.rglob("*")) if path.is_file()}
        for root in (collected, folder)
    )
    assert set(here) == set(there)
    for name, path in here.items():
        assert path.read_bytes() == there[name].read_bytes(), name


def test_what_was_drawn_is_in_the_dataset(tmp_path):
    folder = tmp_path / "dataset"
    collect(Collection(ENVS, 2, folder, seed=50, cameras=("front",), randomization="train"))
    rows = [json.loads(row) for row in (folder / dataset.RANDOMIZATION_FILE).open()]
    settings = json.loads((folder / dataset.COLLECTION_FILE).read_text())
    assert settings["randomization"] == "train"
    assert settings["ranges"] == PRESETS["train"].ranges()
    for row, recorded in zip(rows, settings["recorded"], strict=True):
        env = TabletopEnv(
            row["env"].split("/")[1].removesuffix("-v0"), cameras=(), randomization="train"
        )
        _, info = env.reset(seed=row["seed"])
        assert row == recorded | {"randomization": info["randomization"]}
    assert open_dataset(folder).num_episodes == 2


def test_a_nominal_dataset_has_no_draws(collected):
    assert not (collected / dataset.RANDOMIZATION_FILE).exists()


def test_one_camera_and_another_size(tmp_path):
    folder = tmp_path / "dataset"
    collect(Collection(ENVS[:1], 1, folder, cameras=("wrist",), image_size_px=96))
    data = open_dataset(folder)
    assert data.meta.camera_keys == ["observation.images.wrist"]
    assert data[0]["observation.images.wrist"].shape == (3, 96, 96)


def test_several_video_files(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "FILE_SIZE_LIMIT_BYTES", 50_000)
    folder = tmp_path / "dataset"
    collect(Collection(ENVS[1:], 5, folder, cameras=("front",)))
    data = open_dataset(folder)
    assert len(list((folder / "videos").rglob("*.mp4"))) > 1
    assert data[len(data) - 1]["observation.images.front"].std() > 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_ids": ("VlaRos/Fly-v0",)}, "env: expected some of VlaRos/Lift-v0"),
        ({"episodes": 0}, "episodes: expected 1 or more, got 0"),
        ({"cameras": ("top",)}, "cameras: expected some of front, wrist, each once, got top"),
        ({"cameras": ("front", "front")}, "each once, got front, front"),
        ({"image_size_px": 225}, "image_size: expected an even number from 16 to 640, got 225"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"randomization": "easy"}, "randomization: expected one of nominal, train, hard"),
        ({"variant": "hard", "randomization": "train"}, "is drawn already"),
        ({"perturb": 2.0}, "perturbation rate: expected 0 to 0.9, got 2.0"),
    ],
)
def test_bad_settings(changes, message, tmp_path):
    values = {"env_ids": ENVS, "episodes": 1, "output": tmp_path / "dataset"} | changes
    with pytest.raises(ValueError, match=message):
        Collection(**values)


def test_existing_output_is_refused_and_untouched(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match="already exists; choose another or remove it"):
        collect(Collection(ENVS, 1, tmp_path))
    with pytest.raises(DatasetError, match="already exists"):
        collect(Collection(ENVS, 1, tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_unwritable_output_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot write the dataset to .*file/dataset"):
        collect(Collection(ENVS, 1, tmp_path / "file" / "dataset"))


def test_a_full_disk_is_explained(tmp_path):
    """A limit on the size of files stands in for a full disk: writing fails half-way."""
    done = _collect_in_a_process(tmp_path / "dataset", 3, file_size_limit=20_000)
    _, errors = done.communicate(timeout=300)
    assert done.returncode == 1
    (line,) = [line for line in errors.splitlines() if "DatasetError: " in line]
    assert "cannot write the dataset to" in line and "free some space" in line
    assert os.listdir(tmp_path) == []


def test_a_full_disk_keeps_what_fits(tmp_path, monkeypatch):
    append = EpisodeFiles.append

    def with_room_for_two(files, episodes):
        if files.episodes + len(episodes) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(files, episodes)

    monkeypatch.setattr(EpisodeFiles, "append", with_room_for_two)
    folder = tmp_path / "dataset"
    with pytest.raises(DatasetError, match="2 episodes were written and stay: free some space"):
        collect(Collection(ENVS[:1], 5, folder, cameras=("front",), image_size_px=64))
    assert os.listdir(tmp_path) == ["dataset"]
    data = open_dataset(folder)
    assert data.num_episodes == 2
    assert data[len(data) - 1]["observation.images.front"].shape == (3, 64, 64)
    recorded = json.loads((folder / dataset.COLLECTION_FILE).read_text())["recorded"]
    assert [row["success"] for row in recorded] == [True, True]


def test_a_learner_that_fails_has_no_success(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.tasks.lift.Lift.max_steps", 3)
    folder = tmp_path / "dataset"
    collect(Collection(ENVS[:1], 1, folder, cameras=(), policy="zero"))
    rows = open_dataset(folder).hf_dataset.with_format("numpy")
    assert np.stack(rows["next.success"]).tolist() == [False] * 3
    assert np.stack(rows["next.reward"]).tolist() == [0.0] * 3
    (recorded,) = json.loads((folder / dataset.COLLECTION_FILE).read_text())["recorded"]
    assert recorded["success"] is False


def test_a_hand_that_shakes_is_recorded_alike_whatever_came_before(tmp_path, monkeypatch):
    monkeypatch.setattr("sim.tasks.lift.Lift.max_steps", 3)
    settings = {"cameras": (), "policy": "noisy:2:zero", "expert_share": 0.0, "perturb": 0.0}
    collect(Collection(ENVS[:1], 2, tmp_path / "two", seed=7, **settings))
    collect(Collection(ENVS[:1], 1, tmp_path / "second", seed=8, **settings))
    two, second = (
        np.stack(open_dataset(tmp_path / name).hf_dataset.with_format("numpy")["executed_action"])
        for name in ("two", "second")
    )
    assert np.array_equal(two[3:], second)
    assert not np.array_equal(two[:3], second)
    assert 0.001 < np.abs(second[:, :3]).mean() < 0.05


def test_an_expert_that_cannot_cope_ends_the_collection(tmp_path, monkeypatch):
    monkeypatch.setattr(TabletopEnv, "succeeded", lambda self: False)
    monkeypatch.setattr("sim.tasks.lift.Lift.max_steps", 2)
    with pytest.raises(DatasetError, match="the expert failed in 20 of 20 episodes"):
        collect(Collection(ENVS[:1], 2, tmp_path / "dataset", cameras=()))
    assert os.listdir(tmp_path) == []


def test_a_damaged_video_is_named_by_what_reads_it(collected, tmp_path):
    folder = shutil.copytree(collected, tmp_path / "copy")
    path = next((folder / "videos" / "observation.images.front").rglob("*.mp4"))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(
        demonstrations.DatasetError, match=f"{path}: the video of episode 0 is damaged"
    ):
        demonstrations.load_demonstrations(folder, "front", 28)


@pytest.mark.slow
def test_ctrl_c_keeps_the_finished_episodes(tmp_path):
    folder = tmp_path / "dataset"
    process = _collect_in_a_process(folder, 100_000)
    _wait_for_episodes(process, 3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in errors
    data = open_dataset(folder)
    assert 3 <= data.num_episodes < 100_000
    assert data[len(data) - 1]["observation.images.front"].shape == (3, 224, 224)
    assert os.listdir(tmp_path) == ["dataset"]


@pytest.mark.slow
def test_a_kill_leaves_nothing_that_looks_like_a_dataset(tmp_path):
    folder = tmp_path / "dataset"
    process = _collect_in_a_process(folder, 100_000)
    _wait_for_episodes(process, 3)
    process.kill()
    process.wait()
    assert os.listdir(tmp_path) == ["dataset.incomplete"]
    with pytest.raises(DatasetError, match=r"dataset\.incomplete is left from an interrupted"):
        collect(Collection(ENVS, 1, folder))


def _collect_in_a_process(
    folder: Path, episodes: int, file_size_limit: int | None = None
) -> subprocess.Popen:
    limit = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({file_size_limit},) * 2)\n"
        if file_size_limit
        else ""
    )
    code = (
        f"{limit}from pathlib import Path\n"
        "from sim.dataset import Collection, collect\n"
        "if __name__ == '__main__':\n"
        f"    collect(Collection({ENVS!r}, {episodes}, Path({str(folder)!r}), workers=2),\n"
        "            lambda progress: print(progress.kept, flush=True))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )


def _wait_for_episodes(process: subprocess.Popen, episodes: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= episodes:
            return
    raise AssertionError(process.stderr.read() if process.stderr else "")
