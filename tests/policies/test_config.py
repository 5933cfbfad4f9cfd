"""A configuration that no network here can honour is refused by field, before weights are read."""

from __future__ import annotations

import json

import pytest

from policies.factory import load_policy
from policies.openvla.config import CheckpointError
from policies.openvla.text import train_tokenizer


def edit(folder, file, **changes):
    path = folder / file
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, **changes}))


@pytest.fixture
def folder(tiny_folder, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("the weights were read")

    monkeypatch.setattr("policies.openvla.policy.load_model", fail)
    return tiny_folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_config": None}, "expected an object 'text_config'"),
        ({"text_config": {"hidden_size": 8}}, "text_config.vocab_size: expected an integer from 1"),
        (
            {"text_config": {"vocab_size": 768, "model_type": "mistral"}},
            "text_config.model_type: expected 'llama', got 'mistral'",
        ),
        ({"rate_hz": 0}, "rate_hz: expected 0.1 to 1000.0 actions a second, got 0"),
        ({"rate_hz": float("nan")}, "rate_hz: expected 0.1 to 1000.0 actions a second, got nan"),
        ({"rate_hz": None}, "config.json: a field has a wrong kind of value"),
        ({"rate_hz": "x"}, "config.json: a field has a wrong kind of value"),
        ({"image_sizes": 5}, "config.json: a field has a wrong kind of value"),
        ({"vision_backbone_id": ["l"]}, "config.json: a field has a wrong kind of value"),
        ({"instruction_words": "abc"}, "instruction_words: expected a list of words"),
        ({"instruction_words": [1, 2]}, "instruction_words: expected words, got"),
        (
            {"grounding": {"names": ["a"], "low": [0.0, 1.0], "high": [1.0]}},
            "grounding: expected a low and a high for each name, got 1 names, 2 low, 1 high",
        ),
        (
            {"grounding": {"names": ["a"], "low": [2.0], "high": [1.0]}},
            "grounding: expected finite numbers, low <= high",
        ),
        ({"proprio": {"q01": [0.0], "q99": []}}, "proprio: expected as many q01 as q99"),
        ({"vision_backbone_id": "siglip"}, "vision_backbone_id: expected one of dinosiglip"),
        ({"image_resize_strategy": "letterbox"}, "expected 'resize-naive', got 'letterbox'"),
        ({"use_fused_vision_backbone": False}, "use_fused_vision_backbone: expected True"),
        (
            {"trust_remote_code": True},
            "trust_remote_code: expected False, got True",
        ),
        (
            {"timm_override_act_layers": ["quick_gelu", None]},
            "timm_override_act_layers: expected None",
        ),
        ({"timm_model_ids": ["vit"]}, "timm_model_ids: expected one entry for each of the 2"),
        ({"image_sizes": [28, 56]}, r"expected the same for both towers, got \[28, 56\]"),
        ({"vision_towers": [{}]}, "vision_towers: expected one entry for each of the 2"),
        (
            {"n_action_bins": 1000},
            r"n_action_bins: expected fewer than the 768 tokens .*, got 1000",
        ),
        ({"pad_to_multiple_of": 600}, "n_action_bins: expected fewer than the 168 tokens"),
        ({"n_action_bins": "256"}, "n_action_bins: expected an integer from 2, got '256'"),
        ({"n_action_bins": 1}, "n_action_bins: expected an integer from 2, got 1"),
        ({"pad_to_multiple_of": -1}, "pad_to_multiple_of: expected an integer from 0, got -1"),
        ({"norm_stats": {}}, "expected the action statistics of a data set.* found none"),
        (
            {"norm_stats": {"arm": {"action": {"q01": [0] * 14, "q99": [1] * 14}}}},
            r"norm_stats\['arm'\]: expected 7 numbers per action, got q01 \(14,\)",
        ),
        ({"proprio": {"q01": [0] * 8, "q99": [1] * 8}}, "proprio: expected 7 numbers, got 8"),
    ],
)
def test_a_field_that_does_not_fit_is_named(folder, changes, message):
    edit(folder, "config.json", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_policy(str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_resize_strategy": "letterbox"}, "expected resize-naive, got letterbox"),
        ({"input_sizes": [[3, 224, 224]] * 2}, r"input_sizes: expected \[\[3, 28, 28\]"),
        ({"interpolations": ["bilinear"] * 2}, "interpolations: expected"),
        ({"means": [[0.5, 0.5, 0.5]]}, "means: expected 3 numbers for each of 2 towers"),
        ({"stds": [[0.5, 0.5, "?"]] * 2}, "stds: expected 3 numbers for each of 2 towers"),
        ({"stds": [[0.5, 0.5, 0]] * 2}, "stds: expected positive numbers"),
    ],
)
def test_images_prepared_otherwise_are_refused(folder, changes, message):
    edit(folder, "preprocessor_config.json", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_policy(str(folder))


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(folder):
    texts = [f"word{number} and {number * 7919}" for number in range(3000)]
    tokenizer = train_tokenizer(texts, 1200)
    assert len(tokenizer) > 768
    (folder / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str())
    with pytest.raises(CheckpointError, match=r"ids up to 1\d+, the model's vocabulary .* 768"):
        load_policy(str(folder))


def test_sizes_that_no_network_has_are_refused(tiny_folder):
    edit(tiny_folder, "config.json", vision_towers=[{"embed_dim": 30, "num_heads": 4}] * 2)
    with pytest.raises(CheckpointError, match=r"config.json: no network has these sizes"):
        load_policy(str(tiny_folder))


def test_a_type_that_is_not_known_names_the_choices(tiny_folder):
    with pytest.raises(CheckpointError, match="dtype: expected one of float32, bfloat16, got 'x'"):
        load_policy(str(tiny_folder), dtype="x")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_attention_heads", 3),
        ("num_key_value_heads", 0),
        ("hidden_act", "nonsense"),
        ("intermediate_size", "x"),
        ("num_hidden_layers", 10**6),
    ],
)
def test_sizes_no_network_can_have(tiny_folder, name, value):
    values = json.loads((tiny_folder / "config.json").read_text())
    edit(tiny_folder, "config.json", text_config={**values["text_config"], name: value})
    with pytest.raises(CheckpointError, match=r"config.json: (no network has|text_config\.num)"):
        load_policy(str(tiny_folder))
