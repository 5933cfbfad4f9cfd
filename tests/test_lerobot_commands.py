"""`lerobot-train` and `lerobot-eval` with our policy and environments, and their checkpoints here.

As a user would: other processes, the command line, a dataset that was just collected.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from policies.factory import load_policy
from policies.lerobot_adapter.policy import LeRobotPolicy
from policies.openvla.policy import OpenVLAPolicy
from sim.dataset import Collection, collect
from sim.evaluation import Evaluation, evaluate

ROOT = Path(__file__).resolve().parent.parent
OUR_POLICY = "--policy.discover_packages_path=policies.lerobot_plugin"
OUR_ENVS = ("--env.type=vla_ros", "--env.discover_packages_path=sim.lerobot_plugin")
TIMEOUT_S = 600  # on a busy machine

pytestmark = pytest.mark.slow


def lerobot(command: str, *arguments: str) -> str:
    """Run `lerobot-<command>` on one core without network; its output, or a failure that shows
    it.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"lerobot.scripts.lerobot_{command}", *arguments],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "push"
    collect(Collection(("VlaRos/Push-v0",), episodes=3, output=folder, image_size_px=64))
    return folder


def train(dataset: Path, output: Path, *arguments: str) -> Path:
    """Two steps of training; the checkpoint's folder."""
    lerobot(
        "train",
        f"--dataset.repo_id=local/{dataset.name}",
        f"--dataset.root={dataset}",
        "--dataset.video_backend=pyav",
        f"--output_dir={output}",
        "--policy.device=cpu",
        "--policy.push_to_hub=false",
        "--steps=2",
        "--batch_size=4",
        "--num_workers=0",
        *arguments,
    )
    return output / "checkpoints" / "last" / "pretrained_model"


def successes(output: Path) -> list[bool]:
    info = json.loads((output / "eval_info.json").read_text())
    return info["per_task"][0]["metrics"]["successes"]


def test_the_shipped_policy_does_as_well_under_lerobot(tmp_path):
    lerobot(
        "eval",
        "--policy.type=openvla",
        "--policy.checkpoint=openvla-mini",
        "--policy.device=cpu",
        OUR_POLICY,
        *OUR_ENVS,
        "--env.task=Lift-v0",
        "--eval.n_episodes=3",
        "--eval.batch_size=1",
        "--seed=1000",
        f"--output_dir={tmp_path}",
    )
    ours = evaluate(Evaluation("openvla-mini", ("VlaRos/Lift-v0",), episodes=3, seed=1000))
    assert successes(tmp_path) == [row["success"] for row in ours["rows"]]


def test_openvla_trains_from_the_shipped_checkpoint_and_its_folder_opens_everywhere(
    dataset, tmp_path
):
    folder = train(
        dataset, tmp_path / "run", "--policy.type=openvla", "--policy.checkpoint=openvla-mini",
        OUR_POLICY,
    )  # fmt: skip
    policy = load_policy(str(folder))
    assert isinstance(policy, OpenVLAPolicy)
    assert policy.config.norm_stats == load_policy("openvla-mini").config.norm_stats  # type: ignore[attr-defined]
    lerobot(
        "eval",
        f"--policy.path={folder}",
        "--policy.device=cpu",
        *OUR_ENVS,
        "--env.task=Push-v0",
        "--eval.n_episodes=1",
        "--eval.batch_size=1",
        f"--output_dir={tmp_path / 'eval'}",
    )
    assert len(successes(tmp_path / "eval")) == 1
    resumed = lerobot(
        "train",
        f"--config_path={folder / 'train_config.json'}",
        "--resume=true",
        OUR_POLICY,
        "--steps=3",
        "--log_freq=1",
    )
    assert "step:3 " in resumed


def test_a_chunk_head_trains_on_what_follows_each_frame(dataset, tmp_path):
    """The dataset has disturbed steps, as `collect` makes them: those are no labels."""
    folder = train(
        dataset, tmp_path / "run", "--policy.type=openvla", "--policy.checkpoint=openvla-mini-oft",
        OUR_POLICY,
    )  # fmt: skip
    policy, before = (load_policy(str(each)) for each in (folder, "openvla-mini-oft"))
    assert policy.config.chunk == before.config.chunk  # type: ignore[attr-defined]
    heads = [each.model.chunk_head.state_dict() for each in (policy, before)]  # type: ignore[attr-defined]
    assert any(not heads[0][name].equal(heads[1][name]) for name in heads[0])


def test_openvla_begins_anew_for_a_dataset(dataset, tmp_path):
    folder = train(dataset, tmp_path / "run", "--policy.type=openvla", OUR_POLICY)
    config = load_policy(str(folder)).config  # type: ignore[attr-defined]
    assert list(config.norm_stats) == ["push"]
    assert "push" in config.instruction_words or "slide" in config.instruction_words


@pytest.mark.parametrize("policy_type", ["act", "diffusion"])
def test_lerobots_own_policies_run_here(dataset, tmp_path, policy_type):
    sizes = {
        "act": ("--policy.dim_model=64", "--policy.n_heads=2", "--policy.chunk_size=8",
                "--policy.n_action_steps=4"),
        "diffusion": ("--policy.horizon=8", "--policy.n_action_steps=4",
                      "--policy.down_dims=[32,64]", "--policy.num_inference_steps=2"),
    }  # fmt: skip
    if policy_type == "diffusion":
        pytest.importorskip("diffusers")
    folder = train(
        dataset,
        tmp_path / "run",
        f"--policy.type={policy_type}",
        "--policy.pretrained_backbone_weights=null",
        *sizes[policy_type],
    )
    policy = load_policy(str(folder))
    assert isinstance(policy, LeRobotPolicy)
    assert policy.rate_hz == 10.0  # its dataset's
    assert policy.sees_every_step == (policy_type == "diffusion")
    result, again = (
        evaluate(Evaluation(str(folder), ("VlaRos/Push-v0",), episodes=1, execute_steps=2))
        for _ in range(2)
    )
    assert result["rows"] == again["rows"]  # the noise it draws follows the episode's seed
