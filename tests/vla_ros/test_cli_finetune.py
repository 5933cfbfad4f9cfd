"""`vla-ros finetune` and `vla-ros merge` as they are typed, on a dataset with foreign names."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from policies.factory import load_policy

ROOT = Path(__file__).parents[2]
POSE = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
MAP = ("--map", "observation.images.top=front")
SMALL = ("--steps", 2, "--batch-size", 2, "--lora-rank", 4, "--precision", "fp32")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Three episodes as another lab would record them: pictures, other names, no sim truth."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    folder = tmp_path_factory.mktemp("data") / "their-robot"
    image = {"dtype": "image", "shape": (48, 64, 3), "names": ["height", "width", "channels"]}
    pose = {"dtype": "float32", "shape": (7,), "names": POSE}
    made = LeRobotDataset.create(
        "local/their-robot", fps=5, root=folder, use_videos=False,
        features={
            "observation.images.top": image, "observation.images.side": image,
            "observation.pose": pose, "actions": {**pose, "names": None},
        },
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for episode in range(3):
        for _ in range(4):
            frame = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            made.add_frame({
                "observation.images.top": frame, "observation.images.side": 255 - frame,
                "observation.pose": np.append(rng.normal(0.3, 0.1, 6), 1).astype(np.float32),
                "actions": np.append(rng.normal(0, 0.02, 6), episode % 2).astype(np.float32),
                "task": "stack the crates",
            })  # fmt: skip
        made.save_episode()
    made.finalize()
    return folder


@pytest.fixture
def vla_ros(vla_ros):
    """The same, with what it complained on one line."""

    def type_it(*words: object) -> tuple[int, str, str]:
        code, out, errors = vla_ros(*words)
        return code, out, " ".join(errors.split())

    return type_it


def finetune(dataset, output, *rest) -> tuple[object, ...]:
    words = ("--policy", "openvla-mini", "--dataset", dataset, "--output", output)
    return ("finetune", *words, *rest)


def test_a_foreign_dataset_adapts_the_shipped_policy(vla_ros, dataset, tmp_path):
    output = tmp_path / "out"
    code, out, errors = vla_ros(*finetune(dataset, output, *MAP, *SMALL))
    assert code == 0, errors
    assert f"wrote {output}" in out
    merged, adapter = (load_policy(str(folder)) for folder in (output, output / "adapter"))
    for policy in (merged, adapter):
        assert policy.statistics.key == "their-robot"
        assert policy.config.rate_hz == 5.0
        assert {"stack", "crates"} <= set(policy.config.instruction_words)
    base = json.loads((output / "adapter/adapter_base.json").read_text())
    assert base["policy"] == "openvla-mini"
    code, _, errors = vla_ros("merge", "--adapter", output / "adapter", "--output", tmp_path / "m")
    assert code == 0, errors
    code, _, errors = vla_ros("merge", "--adapter", output, "--output", tmp_path / "n")
    assert code == 2 and f"there is one in {output / 'adapter'}" in errors.replace("\n", "")
    again = (tmp_path / "m/model.safetensors").read_bytes()
    assert again == (output / "model.safetensors").read_bytes()


def test_without_the_state_and_without_merging(vla_ros, dataset, tmp_path):
    output = tmp_path / "out"
    code, out, errors = vla_ros(
        *finetune(dataset, output, *MAP, *SMALL, "--map", "none=state", "--no-merge")
    )
    assert code == 0, errors
    assert not (output / "config.json").exists() and f"wrote {output / 'adapter'}" in out
    assert load_policy(str(output / "adapter")).config.proprio is None


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ((), "it has observation.images.top, observation.images.side; choose with --map"),
        (("--map", "observation.images.up=front"), "is not a colour camera of this dataset"),
        ((*MAP, "--map", "observation.pose=other"), "OURS one of front, action, state"),
        ((*MAP, "--map", "timestamp=action"), "expected 7 numbers"),
        ((*MAP, "--unnorm-key", "x"), "only with --keep-statistics"),
        ((*MAP, "--keep-statistics", "--unnorm-key", "x"), "expected one of vla_ros_sim, got 'x'"),
        ((*MAP, "--lora-rank", "0"), "rank: expected 1 or more, got 0"),
        ((*MAP, "--gripper", "open"), "expected CLOSED,OPEN"),
        ((*MAP, "--batch-size", "3", "--gradient-accumulation", "2"), "a multiple of 2"),
        ((*MAP, "--gripper", "2,3"), "it goes from 0 to 1; say which is which"),
    ],
)
def test_what_does_not_fit_is_one_line_with_the_choices(vla_ros, dataset, tmp_path, rest, message):
    code, _, errors = vla_ros(*finetune(dataset, tmp_path / "out", *rest))
    assert code == 2
    assert message in errors


def test_merge_needs_an_adapter(vla_ros, tmp_path):
    code, _, errors = vla_ros("merge", "--adapter", tmp_path, "--output", tmp_path / "m")
    assert code == 2 and "expected a folder with adapter_config.json" in errors


def environment() -> dict[str, str]:
    return {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip


def saved_step(output: Path) -> int:
    """Of the checkpoint that a run would go on from; 0: there is none."""
    for name in ("last", "last.old"):  # in the moment of exchange only the old one is there
        try:
            return json.loads((output / name / "progress.json").read_text())["step"]
        except FileNotFoundError:
            continue
    return 0


def validated_steps(output: Path) -> list[int]:
    """A line is written for every checkpoint, after it."""
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "bins" in line]


@pytest.mark.slow
def test_kill_9_loses_at_most_the_steps_since_the_last_checkpoint(dataset, tmp_path):
    output = tmp_path / "out"
    words = finetune(dataset, output, *MAP, *SMALL[2:], "--steps", 10, "--save-every", 1)
    command = [sys.executable, "-m", "vla_ros.cli", *map(str, words)]
    process = subprocess.Popen(command, env=environment(), start_new_session=True)
    deadline = time.monotonic() + 300
    while saved_step(output) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    reached = saved_step(output)
    assert 4 <= reached < 10
    before = len(validated_steps(output))
    subprocess.run(command, env=environment(), check=True, timeout=300)
    # None is done twice, none left out: it goes on behind the last that was saved.
    assert validated_steps(output)[before:] == list(range(reached + 1, 11))
    load_policy(str(output))


@pytest.mark.slow
def test_accelerate_launch_runs_it_in_two_processes(dataset, tmp_path):
    output = tmp_path / "out"
    subprocess.run(
        [
            sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu",
            "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
            "--dynamo_backend", "no", "--main_process_port", "0", "-m", "vla_ros.cli",
            *map(str, finetune(dataset, output, *MAP, *SMALL)),
        ],
        env=environment(), check=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert load_policy(str(output)).statistics.key == "their-robot"


@pytest.mark.slow
def test_the_adaptation_experiment_end_to_end(vla_ros, tmp_path):
    """What docs/finetuning.md measures, as small as it goes: the whole path, not the figures."""
    shifted = ("--env", "VlaRos/Lift-v0", "--variant", "shifted-camera", "--workers", 1)
    code, _, errors = vla_ros(
        "collect", *shifted, "--episodes", 2, "--cameras", "front", "--output", tmp_path / "demos"
    )
    assert code == 0, errors
    code, _, errors = vla_ros(
        *finetune(tmp_path / "demos", tmp_path / "out", *SMALL, "--keep-statistics")
    )
    assert code == 0, errors
    code, out, errors = vla_ros(
        "evaluate", "--policy", tmp_path / "out", *shifted, "--episodes", 1,
        "--json", tmp_path / "after.json",
    )  # fmt: skip
    assert code == 0, errors
    after = json.loads((tmp_path / "after.json").read_text())
    assert after["variant"] == "shifted-camera" and "wilson_low" in after
