"""The gate before a robot moves: each way in which a policy can be dead has its own message."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_numbers
from safetensors.numpy import save_file as save_numbers

from policies.factory import load_policy
from policies.interface import Policy, SelfChecking, ToolLimits, UnfitPolicyError
from policies.openvla.alive import check_statistics, equal_prompts
from policies.openvla.checkpoint import load_model, save_checkpoint
from policies.openvla.config import CheckpointError
from policies.openvla.golden import write_expectations
from policies.openvla.quantization import quantize
from policies.openvla.statistics import ActionStatistics
from policies.training.initial import add_chunk_head
from vla_ros.limits import FR3_LIMITS

LIMITS = ToolLimits(speed_m_s=1.0, turn_rad_s=4.0, step_m=0.2)


def scaled(config, factor, mask=(True,) * 6 + (False,)):
    """The statistics of another robot, whose steps are `factor` times as long."""
    quantiles = {
        name: [factor * value for value in values[:6]] + values[6:]
        for name, values in config.norm_stats["tiny"]["action"].items()
        if name != "mask"
    }
    return replace(config, norm_stats={"tiny": {"action": {**quantiles, "mask": list(mask)}}})


@pytest.fixture
def policy(tiny_folder):
    return load_policy(str(tiny_folder))


def test_an_untrained_policy_passes_and_has_the_hook(policy):
    assert isinstance(policy, Policy)
    assert isinstance(policy, SelfChecking)
    policy.check_fit(LIMITS)


def test_a_blind_policy_is_refused(policy):
    with torch.no_grad():
        policy.model.projector.fc1.weight.zero_()
    with pytest.raises(UnfitPolicyError, match="ignores the image: a black and a white one"):
        policy.check_fit(LIMITS)


def test_a_policy_that_hardly_sees_is_refused(policy):
    with torch.no_grad():
        policy.model.projector.fc3.weight.mul_(1e-8)
    with pytest.raises(UnfitPolicyError, match="ignores the image"):
        policy.check_fit(LIMITS)


def test_a_deaf_policy_is_refused(policy):
    with torch.no_grad():
        words = policy.model.language_model.get_input_embeddings().weight
        words[: len(policy.tokenizer)] = words[1].clone()
    with pytest.raises(UnfitPolicyError, match=r"ignores the instruction: \d different ones"):
        policy.check_fit(LIMITS)


def test_prompts_that_are_compared_are_equally_long(policy):
    prompts = equal_prompts(policy)
    assert len({len(ids) for ids in prompts}) == 1
    assert 2 <= len({tuple(ids) for ids in prompts}) == len(prompts)


def test_statistics_of_a_larger_robot_are_refused(policy, tmp_path, tiny_tokenizer):
    folder = tmp_path / "large"
    save_checkpoint(folder, policy.model, scaled(policy.config, 10), tiny_tokenizer)
    message = (
        r"statistics of 'tiny': x: a step of 0\.5 m at 10 actions/s is 5 m/s; the controller "
        r"allows 1 m/s"
    )
    with pytest.raises(UnfitPolicyError, match=message):
        load_policy(str(folder)).check_fit(LIMITS)


@pytest.mark.parametrize(
    ("axis", "value", "rate_hz", "message"),
    [
        ("z", 0.11, 10.0, r"z: a step of 0\.11 m at 10 actions/s is 1\.1 m/s"),
        ("y", -0.21, 4.0, r"y: a step of 0\.21 m; the controller allows 0\.2 m between"),
        ("yaw", 0.5, 10.0, r"yaw: a step of 0\.5 rad at 10 actions/s is 5 rad/s; .* 4 rad/s"),
        ("gripper", 1.0, 10.0, None),
        ("z", 0.1, 10.0, None),
    ],
)
def test_each_axis_has_its_limit(axis, value, rate_hz, message):
    names = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    low, high = np.zeros(7), np.zeros(7)
    (low if value < 0 else high)[names.index(axis)] = value
    statistics = ActionStatistics(low, high, np.ones(7, bool), "robot")
    if message is None:
        check_statistics(statistics, rate_hz, LIMITS)
        return
    with pytest.raises(UnfitPolicyError, match=message):
        check_statistics(statistics, rate_hz, LIMITS)


def test_an_axis_that_is_not_scaled_counts_as_the_numbers_it_gets(tiny_config):
    config = scaled(tiny_config, 1, mask=[True, False, True, True, True, True, False])
    statistics = ActionStatistics.from_norm_stats(config.norm_stats, None)
    with pytest.raises(UnfitPolicyError, match="y: a step of 1 m at 10 actions/s is 10 m/s"):
        check_statistics(statistics, 10.0, LIMITS)


def test_golden_outputs_must_match(tiny_folder):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, size=(40, 40, 3), dtype=np.uint8)
    golden = write_expectations(tiny_folder, [image], ["pick up the red cube"])
    load_policy(str(tiny_folder)).check_fit(LIMITS)
    numbers = load_numbers(golden / "expected.safetensors")
    numbers["0.last_logits"] += 0.5
    save_numbers(numbers, golden / "expected.safetensors")
    with pytest.raises(UnfitPolicyError, match=r"golden outputs: 1 of \d+ figures differ: logits"):
        load_policy(str(tiny_folder)).check_fit(LIMITS)
    (golden / "image_0.png").unlink()
    with pytest.raises(UnfitPolicyError, match="golden outputs: .* expected the image"):
        load_policy(str(tiny_folder)).check_fit(LIMITS)


def test_weights_that_changed_since_the_golden_outputs_are_refused(
    tiny_folder, tiny_config, tiny_tokenizer
):
    image = np.random.default_rng(0).integers(0, 256, size=(40, 40, 3), dtype=np.uint8)
    write_expectations(tiny_folder, [image], ["pick up the red cube"])
    model = load_model(tiny_folder)
    with torch.no_grad():
        model.language_model.lm_head.weight.mul_(1.01)
    save_checkpoint(tiny_folder, model, tiny_config, tiny_tokenizer)
    with pytest.raises(UnfitPolicyError, match="golden outputs: .*logits"):
        load_policy(str(tiny_folder)).check_fit(LIMITS)


def test_a_shorter_type_passes_the_same_gate(tiny_folder):
    image = np.random.default_rng(0).integers(0, 256, size=(40, 40, 3), dtype=np.uint8)
    write_expectations(tiny_folder, [image], ["pick up the red cube"])
    policy = load_policy(str(tiny_folder), dtype="bfloat16")
    assert policy.model.dtype == torch.bfloat16
    policy.check_fit(LIMITS)


NAMES = ("openvla-mini", "openvla-mini-oft", "openvla-mini-oft-randomized")
COARSE = [
    ("bfloat16", None),
    ("float32", "int8"),
    ("float32", "int8-dynamic"),
    ("bfloat16", "int8"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "quantization"), COARSE)
def test_what_ships_passes_in_every_type(name, dtype, quantization):
    load_policy(name, dtype=dtype, quantization=quantization).check_fit(FR3_LIMITS.tool)


@pytest.mark.parametrize(
    ("name", "weight", "figure"),
    [
        ("openvla-mini", "language_model.lm_head.weight", "logits"),
        ("openvla-mini", "projector.fc3.weight", "projection"),
        ("openvla-mini-oft", "chunk_head.fc_out.weight", "numbers"),
    ],
)
@pytest.mark.parametrize(("dtype", "quantization"), COARSE)
def test_a_tenth_more_is_found_in_every_type(name, weight, figure, dtype, quantization):
    policy = load_policy(name, dtype=dtype)
    with torch.no_grad():
        policy.model.get_parameter(weight).mul_(1.1)
    if quantization is not None:
        quantize(policy.model, quantization)
    with pytest.raises(UnfitPolicyError, match=f"golden outputs: .*{figure}"):
        policy.check_fit(FR3_LIMITS.tool)


def test_several_data_sets_need_an_explicit_one(tiny_folder):
    path = tiny_folder / "config.json"
    values = json.loads(path.read_text())
    values["norm_stats"]["other"] = values["norm_stats"]["tiny"]
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="unnorm_key: .* choose one of other, tiny"):
        load_policy(str(tiny_folder))
    with pytest.raises(CheckpointError, match="unnorm_key: expected one of other, tiny, got 'x'"):
        load_policy(str(tiny_folder), unnorm_key="x")
    load_policy(str(tiny_folder), unnorm_key="other").check_fit(LIMITS)


def test_the_shipped_policy_passes_quickly():
    policy = load_policy("openvla-mini")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several wait for each other by burning time, on a busy machine a lot
    start_s = time.process_time()
    try:
        policy.check_fit(LIMITS)
    finally:
        torch.set_num_threads(threads)
    assert time.process_time() - start_s < 2.0


def test_a_chunk_head_passes_the_gate_and_its_golden_numbers_are_compared(
    tmp_path, tiny_model, tiny_tokenizer
):
    folder = tmp_path / "chunk"
    model = add_chunk_head(tiny_model, 3, seed=0)
    save_checkpoint(folder, model, model.config, tiny_tokenizer)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    write_expectations(folder, [image], ["pick up the red cube"])
    policy = load_policy(str(folder))
    policy.check_fit(LIMITS)
    with torch.no_grad():
        policy.model.chunk_head.fc_out.bias[0] += 0.01
    with pytest.raises(UnfitPolicyError, match=r"golden outputs: 1 of .* figures differ: numbers"):
        policy.check_fit(LIMITS)
    with torch.no_grad():
        policy.model.chunk_head.slots.zero_()
        policy.model.chunk_head.fc_out.weight.zero_()
        policy.model.chunk_head.grounding.weight.zero_()
    with pytest.raises(UnfitPolicyError, match="ignores the image"):
        policy.check_fit(LIMITS)
