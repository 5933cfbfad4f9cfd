"""LeRobot's checkpoints as policies, with a small ACT that LeRobot itself builds and saves."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import lerobot.policies
import numpy as np
import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature, PreTrainedConfig
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.act.processor_act import make_act_pre_post_processors
from safetensors.torch import load_file, save_file

from policies.chunks import absolute_poses
from policies.factory import checkpoint_kind, load_policy
from policies.interface import (
    Observation,
    ObservationError,
    Policy,
    SelfChecking,
    UnfitPolicyError,
)
from policies.lerobot_adapter.checkpoint import RUN_CODE, find_rate_hz
from policies.lerobot_adapter.features import resized, tool_state
from policies.openvla.config import CheckpointError
from policies.remote.table import KeyTable
from policies.serving.describe import describe
from vla_ros.limits import FR3_LIMITS

SIZE_PX = 32


def observe(**changes) -> Observation:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 255, size=(48, 64, 3), dtype=np.uint8)
    values = {
        "images": {"front": image, "wrist": image[::-1].copy()},
        "joint_positions": np.arange(7.0),
        "gripper_opening": 1.0,
        "ee_position": np.array([0.45, 0.0, 0.2]),
        "ee_quaternion": np.array([-0.6, 0.8, 0.0, 0.0]),
        "instruction": "pick up the red cube",
        "stamp_ns": 123,
    }
    return Observation(**{**values, **changes})


def image_feature(size_px: int = SIZE_PX) -> PolicyFeature:
    return PolicyFeature(FeatureType.VISUAL, (3, size_px, size_px))


@pytest.fixture(scope="session")
def saved_act(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config = ACTConfig(
        device="cpu",
        chunk_size=6,
        n_action_steps=4,
        dim_model=32,
        n_heads=2,
        dim_feedforward=32,
        n_encoder_layers=1,
        use_vae=False,
        pretrained_backbone_weights=None,
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, (8,)),
            "observation.target_position": PolicyFeature(FeatureType.STATE, (3,)),
            "observation.images.front": image_feature(),
            "observation.images.wrist": image_feature(),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, (7,))},
    )
    stats = {
        "observation.state": {"mean": torch.full((8,), 0.1), "std": torch.full((8,), 0.5)},
        "action": {"mean": torch.arange(7.0), "std": torch.full((7,), 2.0)},
    }
    folder = tmp_path_factory.mktemp("lerobot") / "act"
    ACTPolicy(config).save_pretrained(folder)
    for processor in make_act_pre_post_processors(config, stats):
        processor.save_pretrained(folder)
    # As published checkpoints have it: the weights that training began with.
    edit(folder / "config.json", pretrained_backbone_weights="ResNet18_Weights.IMAGENET1K_V1")
    return folder


@pytest.fixture
def act(saved_act, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved_act, tmp_path / "act"))


def edit(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def edit_step(file: Path, index: int, **changes) -> None:
    values = json.loads(file.read_text())
    values["steps"][index].update(changes)
    file.write_text(json.dumps(values))


def test_it_is_a_policy_and_gives_the_steps_it_was_made_to_execute(saved_act):
    assert checkpoint_kind(saved_act) == "lerobot"
    policy = load_policy(str(saved_act))
    assert isinstance(policy, Policy)
    assert policy.cameras == ("front", "wrist")
    chunk = policy.predict_chunk(observe())
    assert chunk.actions.shape == (4, 7)
    assert (chunk.stamp_ns, chunk.mode, chunk.dt_s) == (123, "delta", pytest.approx(0.1))
    assert len(chunk.statistics_hash) == 12
    assert np.array_equal(chunk.actions, policy.predict_chunk(observe()).actions)
    assert np.all((chunk.actions[:, 6] >= 0) & (chunk.actions[:, 6] <= 1))
    assert np.any(chunk.actions[:, :6] > 1.5)  # un-normalized: the means are 0 to 5


@torch.inference_mode()
def test_it_does_what_lerobot_does(saved_act):
    policy = load_policy(str(saved_act))
    chunk = policy.predict_chunk(observe())
    network = ACTPolicy.from_pretrained(saved_act, config=policy.config, strict=True)
    observation = observe()
    state = torch.tensor(tool_state(observation), dtype=torch.float32)
    batch = {
        "observation.state": (state[None] - 0.1) / (0.5 + 1e-8),
        **{
            f"observation.images.{name}": resized(image, (SIZE_PX, SIZE_PX))
            for name, image in observation.images.items()
        },
    }
    for row in chunk.actions:
        expected = network.select_action(batch)[0] * 2.0 + torch.arange(7.0)
        np.testing.assert_allclose(row[:6], expected[:6], atol=1e-5)


def test_its_chunks_are_poses_for_the_executor(saved_act):
    chunk = load_policy(str(saved_act)).predict_chunk(observe())
    positions, rotations, gripper = absolute_poses(chunk, observe())
    assert positions.shape == (4, 3) and len(rotations) == 4 and gripper.shape == (4,)


def test_the_state_is_the_datasets():
    state = tool_state(observe())
    np.testing.assert_array_equal(state, [0.45, 0.0, 0.2, -0.6, 0.8, 0, 0, 1.0])


def test_images_are_scaled_without_aliasing():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 255
    small = resized(stripes, (16, 16))
    assert small.shape == (1, 3, 16, 16)
    assert small[..., 1:-1, :].sub(0.5).abs().max() < 0.02


def test_temporal_ensembling_sees_every_step(act):
    edit(act / "config.json", temporal_ensemble_coeff=0.01, n_action_steps=1)
    policy = load_policy(str(act))
    assert policy.sees_every_step
    first = policy.predict_chunk(observe()).actions
    assert first.shape == (1, 7)
    second = policy.predict_chunk(observe()).actions
    assert not np.array_equal(first, second)  # the average of two chunks
    policy.reset()
    assert np.array_equal(policy.predict_chunk(observe()).actions, first)


def test_noise_follows_the_seed_and_nobody_elses(saved_act, monkeypatch):
    policy = load_policy(str(saved_act))
    noisy = lambda batch: torch.randn(1, 6, 7)  # noqa: E731
    monkeypatch.setattr(policy._checkpoint.policy, "predict_action_chunk", noisy)
    before = torch.get_rng_state()
    policy.reset(seed=5)
    first = [policy.predict_chunk(observe()).actions for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    policy.reset(seed=5)
    again = [policy.predict_chunk(observe()).actions for _ in range(2)]
    assert np.array_equal(first, again) and not np.array_equal(first[0], first[1])
    policy.reset(seed=6)
    assert not np.array_equal(policy.predict_chunk(observe()).actions, first[0])


def test_a_rename_map_in_the_pre_processor_is_followed(act):
    names = json.loads((act / "config.json").read_text())["input_features"]
    names["observation.images.camera1"] = names.pop("observation.images.front")
    edit(act / "config.json", input_features=names)
    rename = {"observation.images.front": "observation.images.camera1"}
    edit_step(act / "policy_preprocessor.json", 0, config={"rename_map": rename})
    policy = load_policy(str(act))
    assert set(policy.cameras) == {"front", "wrist"}
    assert policy.predict_chunk(observe()).actions.shape == (4, 7)


def test_a_missing_camera_is_named(saved_act):
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ObservationError, match=r"camera 'wrist' is missing.*\['front'\]"):
        load_policy(str(saved_act)).predict_chunk(observe(images={"front": image}))


def test_the_rate_is_that_of_the_training_data(act, tmp_path):
    assert find_rate_hz(act) == 10.0
    (act / "train_config.json").write_text(json.dumps({"env": {"fps": 20}}))
    assert find_rate_hz(act) == 20.0
    (tmp_path / "data" / "meta").mkdir(parents=True)
    (tmp_path / "data" / "meta" / "info.json").write_text('{"fps": 5}')
    (act / "train_config.json").write_text(
        json.dumps({"env": {"fps": 20}, "dataset": {"root": str(tmp_path / "data")}})
    )
    assert find_rate_hz(act) == 5.0
    assert load_policy(str(act)).predict_chunk(observe()).dt_s == pytest.approx(0.2)


def with_inputs(folder: Path, **features) -> None:
    edit(folder / "config.json", input_features=features)


SCENE = {"observation.environment_state": {"type": "ENV", "shape": [2]}}
JOINTS = {"observation.state": {"type": "STATE", "shape": [14]}}
SIX = {"action": {"type": "ACTION", "shape": [6]}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: with_inputs(f, **SCENE),
            r"input 'observation.environment_state' of shape \(2,\) cannot be supplied; there are "
            r"observation.images.<camera>, observation.state, observation.joint_positions",
        ),
        (
            lambda f: with_inputs(f, **JOINTS),
            r"observation.state: expected 8 numbers.*takes \(14,\)",
        ),
        (
            lambda f: edit(f / "config.json", output_features=SIX),
            r"action: expected 7 numbers, the checkpoint gives \(6,\)",
        ),
        (lambda f: edit(f / "config.json", type="foo"), "type: expected one of .*act.*'foo'"),
        (lambda f: edit(f / "config.json", dim_modle=3), "LeRobot refuses it"),
        (lambda f: edit(f / "config.json", use_peft=True), "merge it into its base policy first"),
        (lambda f: (f / "model.safetensors").write_bytes(b"half"), "not a whole safetensors file"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            r"expected model.safetensors, found only pickled weights \(pytorch_model.bin\)",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "expected model.safetensors, found none"),
        (
            lambda f: edit(f / "config.json", type="pi0_fast"),
            "LeRobot runs Python from other repositories to build 'pi0_fast'",
        ),
        (
            lambda f: (f / "policy_preprocessor.json").unlink(),
            "expected policy_preprocessor.json, found none",
        ),
        (lambda f: (f / "policy_postprocessor.json").write_text("{"), "not valid JSON"),
        (
            lambda f: (f / "policy_preprocessor.json").write_text(
                '{"steps": [{"class": "os.system", "config": {}}]}'
            ),
            "names the class 'os.system' to import",
        ),
        (
            lambda f: edit_step(f / "policy_preprocessor.json", 3, state_file="../a.safetensors"),
            "state_file: expected a safetensors file of this folder",
        ),
        (
            lambda f: edit_step(f / "policy_preprocessor.json", 0, registry_name="unheard_of"),
            "step 'unheard_of' is not one of LeRobot's",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(act, damage, message):
    damage(act)
    with pytest.raises(CheckpointError, match=message):
        load_policy(str(act))


@pytest.mark.parametrize("said", [True, False, None])
def test_remote_code_is_refused_and_stays_off_where_nothing_is_said(act, said):
    values = json.loads((act / "policy_preprocessor.json").read_text())
    values["steps"].append(
        {
            "registry_name": "action_tokenizer_processor",
            "config": {"action_tokenizer_name": "nobody/nothing"},
        }
    )
    if said is not None:
        values["steps"][-1]["config"]["trust_remote_code"] = said
    (act / "policy_preprocessor.json").write_text(json.dumps(values))
    if said:
        with pytest.raises(CheckpointError, match="trust_remote_code: expected false.*got True"):
            load_policy(str(act))
        return
    from policies.lerobot_adapter.checkpoint import PREPROCESSOR, read_config, read_processor

    checked, _ = read_processor(act, PREPROCESSOR, read_config(act, "cpu"))
    assert checked["steps"][-1]["config"]["trust_remote_code"] is False


def test_no_type_that_runs_the_code_of_others_is_opened():
    """As LeRobot is installed here: a newer one may have more of them."""
    folder = Path(lerobot.policies.__file__).parent
    found = {
        path.relative_to(folder).parts[0]
        for path in folder.rglob("*.py")
        if re.search(r"trust_remote_code\"?[=:] ?True", path.read_text())
    }
    assert found == set(RUN_CODE) <= set(PreTrainedConfig.get_known_choices())


LIMITS = FR3_LIMITS.tool
POST_STATE = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"


def with_steps(folder: Path, mean_m: float, deviation_m: float) -> Path:
    """Un-normalized as data of which these are a step's mean and deviation."""
    numbers = load_file(folder / POST_STATE)
    numbers["action.mean"] = torch.full((7,), mean_m)
    numbers["action.std"] = torch.full((7,), deviation_m)
    save_file(numbers, folder / POST_STATE)
    return folder


def test_a_policy_with_steps_of_this_robot_passes_the_gate(act):
    policy = load_policy(str(with_steps(act, 0.0, 0.02)))
    assert isinstance(policy, SelfChecking)
    policy.check_fit(LIMITS)
    first = policy.predict_chunk(observe()).actions
    assert np.array_equal(first, load_policy(str(act)).predict_chunk(observe()).actions)


def test_a_policy_with_steps_of_metres_is_refused(act):
    message = r"statistics of 'act': x: a step of 5\.02 m at 10 actions/s is 50\.2 m/s"
    with pytest.raises(UnfitPolicyError, match=message):
        load_policy(str(with_steps(act, 5.0, 0.02))).check_fit(LIMITS)


def test_a_policy_whose_numbers_nothing_scales_is_refused(act):
    edit_step(act / "policy_postprocessor.json", 0, config={
        **json.loads((act / "policy_postprocessor.json").read_text())["steps"][0]["config"],
        "norm_map": {"ACTION": "IDENTITY"},
    })  # fmt: skip
    with pytest.raises(UnfitPolicyError, match="x: a step of 1 m at 10 actions/s"):
        load_policy(str(with_steps(act, 0.0, 0.02))).check_fit(LIMITS)


def test_a_blind_policy_is_refused_also_when_it_draws_noise(act, monkeypatch):
    policy = load_policy(str(with_steps(act, 0.0, 0.02)))
    noisy = lambda batch: torch.randn(1, 6, 7)  # noqa: E731
    monkeypatch.setattr(policy._checkpoint.policy, "predict_action_chunk", noisy)
    with pytest.raises(UnfitPolicyError, match="ignores the images: black, white and noise"):
        policy.check_fit(LIMITS)


def test_the_gate_asks_a_policy_that_sees_every_step_anew_and_leaves_nothing(act):
    edit(act / "config.json", temporal_ensemble_coeff=0.01, n_action_steps=1)
    policy = load_policy(str(with_steps(act, 0.0, 0.02)))
    first = policy.predict_chunk(observe()).actions
    policy.check_fit(LIMITS)
    assert np.array_equal(policy.predict_chunk(observe()).actions, first)
    dead = lambda batch: torch.zeros(1, 6, 7)  # noqa: E731
    monkey = policy._checkpoint.policy
    monkey.predict_action_chunk = dead
    with pytest.raises(UnfitPolicyError, match="ignores the images"):
        policy.check_fit(LIMITS)


def test_a_server_tells_two_checkpoints_of_one_name_apart(act):
    """LeRobot's lie in folders of the same name, and `describe` has no statistics of them."""
    before = describe(load_policy(str(act)), KeyTable())
    weights = load_file(act / "model.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, act / "model.safetensors", {"format": "pt"})
    after = describe(load_policy(str(act)), KeyTable())
    assert len(before.checkpoint) == 64
    assert before != after == replace(before, checkpoint=after.checkpoint)


def test_what_it_computes_in_cannot_be_chosen(saved_act):
    with pytest.raises(CheckpointError, match="dtype: LeRobot's policies compute in what"):
        load_policy(str(saved_act), dtype="bfloat16")


def test_statistics_cannot_be_chosen(saved_act):
    with pytest.raises(CheckpointError, match="unnorm_key: .* has one set of statistics"):
        load_policy(str(saved_act), unnorm_key="bridge")


def test_our_own_folders_are_still_ours(tiny_folder):
    assert checkpoint_kind(tiny_folder) == "openvla"
    assert checkpoint_kind(tiny_folder.parent) == "openvla"  # its loader says what is missing
