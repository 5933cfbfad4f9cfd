from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.factory import load_policy
from policies.interface import ActionChunk, ActionError, Observation, ObservationError, Policy
from policies.openvla.config import ChunkConfig
from policies.openvla.policy import OpenVLAPolicy
from policies.openvla.preprocess import pixel_values
from policies.openvla.state import observation_state, state_vector
from policies.openvla.text import BOS_ID, encode_prompt, prompt
from policies.openvla.tokens import to_unit
from policies.training.initial import fresh_model


def observe(**changes) -> Observation:
    rng = np.random.default_rng(3)
    values = {
        "images": {"front": rng.integers(0, 255, size=(48, 64, 3), dtype=np.uint8)},
        "joint_positions": np.zeros(7),
        "gripper_opening": 1.0,
        "ee_position": np.array([0.45, 0.0, 0.2]),
        "ee_quaternion": np.array([0.0, 1.0, 0.0, 0.0]),
        "instruction": "pick up the red cube",
        "stamp_ns": 123,
    }
    return Observation(**{**values, **changes})


@pytest.fixture
def policy(tiny_folder):
    return load_policy(str(tiny_folder))


def test_is_a_policy_and_repeats_itself(policy):
    assert isinstance(policy, Policy)
    first, second = policy.predict_chunk(observe()), policy.predict_chunk(observe())
    assert np.array_equal(first.actions, second.actions)
    assert first.actions.shape == (1, 7)
    assert first.stamp_ns == 123
    assert first.dt_s == pytest.approx(0.1)
    assert first.statistics_hash == policy.statistics.hash


@torch.inference_mode()
def test_cached_decoding_equals_full_forward_passes(policy):
    observation = observe()
    values = policy._predict([observation])[0]
    config = policy.config
    pixels = pixel_values(observation.images["front"], 28)
    unit = to_unit(
        observation_state(observation), np.array(config.proprio.q01), np.array(config.proprio.q99)
    )
    state = torch.tensor(unit, dtype=torch.float32)[None]
    ids = encode_prompt(policy.tokenizer, observation.instruction)
    for value in values:
        hidden = policy.model(pixels, torch.tensor([ids]), state)
        token = int(policy.model.language_model.lm_head(hidden[:, -1]).argmax())
        assert policy.numbers.decode(token) == value
        ids.append(token)


def test_looks_and_listens_even_untrained(policy):
    observation = observe()
    black = {"front": np.zeros((48, 64, 3), np.uint8)}

    def logits(value):
        with torch.inference_mode():
            ids = encode_prompt(policy.tokenizer, value.instruction)
            pixels = pixel_values(value.images["front"], 28)
            return policy.model(pixels, torch.tensor([ids]), torch.zeros(1, 7))[0, -1]

    reference = logits(observation)
    assert not torch.equal(reference, logits(replace(observation, images=black)))
    other = replace(observation, instruction="push the blue cylinder to the left")
    assert not torch.equal(reference, logits(other))


def test_unknown_words_and_missing_cameras_are_named(policy):
    with pytest.raises(ObservationError, match="was not trained on 'dance'"):
        policy.predict_chunk(observe(instruction="dance"))
    with pytest.raises(ObservationError, match="expected words"):
        policy.predict_chunk(observe(instruction=""))
    wrist = {"wrist": np.zeros((8, 8, 3), np.uint8)}
    with pytest.raises(ObservationError, match=r"camera 'front' is missing.*\['wrist'\]"):
        policy.predict_chunk(observe(images=wrist))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {"front": np.zeros((8, 8), np.uint8)}}, r"\(height, width, 3\), got \(8, 8\)"),
        ({"images": {"front": np.zeros((8, 8, 3))}}, "expected an uint8 array, got float64"),
        ({"ee_position": np.array([np.nan, 0, 0])}, "ee_position: expected finite numbers"),
        ({"ee_quaternion": np.zeros(3)}, r"ee_quaternion: expected shape \(4,\), got \(3,\)"),
        ({"gripper_opening": float("inf")}, "gripper_opening: expected finite"),
        ({"instruction": None}, "instruction: expected text, got NoneType"),
    ],
)
def test_observations_are_validated(changes, message):
    with pytest.raises(ObservationError, match=message):
        observe(**changes)


@pytest.mark.parametrize(
    ("actions", "changes", "message"),
    [
        (np.zeros((0, 7)), {}, r"expected shape \(k, 7\), got \(0, 7\)"),
        (np.zeros((1, 6)), {}, r"got \(1, 6\)"),
        (np.array([[0, 0, np.nan, 0, 0, 0, 0]]), {}, "got nan for 'z' in row 0"),
        (np.zeros((1, 7)), {"dt_s": 0.0}, "dt_s: expected a positive number"),
        (np.zeros((1, 7)), {"mode": "relative"}, "mode: expected 'delta' or 'absolute'"),
    ],
)
def test_action_chunks_are_validated(actions, changes, message):
    with pytest.raises(ActionError, match=message):
        ActionChunk(**{"actions": actions, "stamp_ns": 0, "dt_s": 0.1, **changes})


@pytest.mark.parametrize("with_head", [False, True])
def test_no_more_tokens_are_taken_than_the_context_has_room_for(
    tiny_config, tiny_tokenizer, with_head
):
    config = replace(tiny_config, chunk=ChunkConfig(length=4, blocks=1) if with_head else None)
    policy = OpenVLAPolicy.of("tiny", fresh_model(config, seed=0).eval(), tiny_tokenizer)
    seen = []
    policy.model.language_model.model.register_forward_pre_hook(
        lambda module, args, given: seen.append(given["inputs_embeds"].shape[1]), with_kwargs=True
    )
    context = 4 + 1  # patches, state
    behind = 2 + (4 if with_head else 7)
    fixed = len(encode_prompt(tiny_tokenizer, "red")) - 1
    one = len(encode_prompt(tiny_tokenizer, "red red")) - fixed - 1  # tokens of another word
    fits = (128 - context - behind - fixed - 1) // one + 1
    policy.predict_chunk(observe(instruction=" ".join(["red"] * fits)))
    assert 128 - one < max(seen) + (0 if with_head else behind) <= 128
    seen.clear()
    for count in (fits + 1, 200_000):
        with pytest.raises(ObservationError, match=r"room for \d+ tokens, .*; got \d+"):
            policy.predict_chunk(observe(instruction=" ".join(["red"] * count)))
    assert not seen  # the network was not run


def test_prompt_is_the_originals(tiny_tokenizer):
    text = "In: What action should the robot take to lift it?\nOut:"
    assert prompt("Lift it") == text
    ids = encode_prompt(tiny_tokenizer, "Lift it")
    assert ids[0] == BOS_ID
    assert tiny_tokenizer.decode(ids[1:]) == text


def test_tokenizer_writes_what_it_has_not_seen(tiny_tokenizer):
    text = "schnürsenkel ✓ 42"
    assert tiny_tokenizer.decode(tiny_tokenizer.encode(text)) == text
    assert len(tiny_tokenizer) <= 512


def test_state_is_continuous_where_a_quaternion_jumps():
    position = np.zeros(3)
    tilted = [np.array([s * 1e-4, 1.0, 0.0, 0.0]) for s in (1, -1)]
    tilted = [q / np.linalg.norm(q) * (1 if q[0] >= 0 else -1) for q in tilted]
    first, second = (state_vector(position, q, 1.0) for q in tilted)
    assert np.abs(first - second).max() < 1e-3
    assert first.shape == (7,)
    assert state_vector(np.zeros((5, 3)), np.tile(tilted[0], (5, 1)), np.ones(5)).shape == (5, 7)
