import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.factory import load_policy
from policies.interface import Observation
from policies.openvla.adapter import (
    BaseReference,
    LoraSettings,
    add_adapter,
    linear_layers,
    load_adapter,
    merge_adapter,
    save_adapter,
    weights_hash,
)
from policies.openvla.checkpoint import load_model, save_checkpoint
from policies.openvla.config import CheckpointError
from policies.training.initial import add_chunk_head, fresh_model

REFERENCE = Path(__file__).parents[1] / "fixtures" / "openvla_reference"


def logits(model, seed=0) -> torch.Tensor:
    """What the network says to noise; with a chunk head the numbers."""
    generator = torch.Generator().manual_seed(seed)
    size = model.config.image_sizes[0]
    pixels = torch.randn(2, 6, size, size, generator=generator)
    ids = torch.randint(3, 400, (2, 12), generator=generator)
    proprio = model.config.proprio
    states = torch.randn(2, proprio.dim, generator=generator) if proprio else None
    with torch.inference_mode():
        if model.chunk_head is None:
            return model.language_model.lm_head(model(pixels, ids, states))
        context = model.embed_context(pixels, states)
        return model.slot_outputs(context, ids, torch.tensor([4, 6]))[0]


def disturb(model) -> None:
    """Give every weight of the adapter another value, as training would."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.05 * noise


@pytest.fixture
def adapter_folder(tmp_path, tiny_folder, tiny_tokenizer) -> Path:
    """An adapter on `tiny_folder` that changes what it says."""
    model = load_model(tiny_folder)
    tuner = add_adapter(model, LoraSettings(rank=4), seed=0)
    disturb(model)
    base = BaseReference.of(str(tiny_folder), tiny_folder)
    save_adapter(tmp_path / "adapter", tuner, base, model.config, tiny_tokenizer)
    return tmp_path / "adapter"


@pytest.mark.parametrize("chunk", [None, 3])
def test_a_fresh_adapter_changes_nothing(tiny_model, chunk):
    model = tiny_model if chunk is None else add_chunk_head(tiny_model, chunk, seed=0).eval()
    before = logits(model)
    add_adapter(model, LoraSettings(), seed=0)
    assert torch.equal(logits(model.eval()), before)


def test_a_fresh_adapter_changes_nothing_in_a_published_checkpoint():
    model = load_model(REFERENCE)
    before = logits(model)
    add_adapter(model, LoraSettings(), seed=0)
    assert torch.equal(logits(model), before)


def test_targets_are_all_linear_layers_but_the_output_head(tiny_model):
    names = linear_layers(tiny_model)
    assert "vision_backbone.featurizer.blocks.0.attn.qkv" in names
    assert "vision_backbone.fused_featurizer.blocks.1.mlp.fc2" in names
    assert {"projector.fc1", "projector.fc2", "projector.fc3"} <= set(names)
    assert "language_model.model.layers.1.mlp.down_proj" in names
    assert not [name for name in names if "lm_head" in name or "proprio" in name]
    add_adapter(tiny_model, LoraSettings(rank=2), seed=0)
    adapted = {
        name.split(".lora_A")[0] for name, _ in tiny_model.named_parameters() if "lora_A" in name
    }
    assert adapted == set(names)
    frozen = [name for name, value in tiny_model.named_parameters() if not value.requires_grad]
    assert all(".lora_" not in name for name in frozen)
    assert "language_model.lm_head.weight" in frozen


def test_alpha_is_the_originals():
    assert LoraSettings().effective_alpha == 16
    assert LoraSettings(rank=8).effective_alpha == 8
    assert LoraSettings(rank=8, alpha=64).effective_alpha == 64
    with pytest.raises(ValueError, match="rank: expected 1 or more, got 0"):
        LoraSettings(rank=0)


@pytest.mark.parametrize("chunk", [None, 3])
def test_merged_equals_unmerged(tmp_path, tiny_model, tiny_tokenizer, chunk):
    model = tiny_model if chunk is None else add_chunk_head(tiny_model, chunk, seed=0)
    save_checkpoint(tmp_path / "base", model, model.config, tiny_tokenizer)
    base_says = logits(model.eval())
    tuner = add_adapter(model, LoraSettings(rank=4), seed=0)
    disturb(model)
    base = BaseReference.of(str(tmp_path / "base"), tmp_path / "base")
    save_adapter(tmp_path / "adapter", tuner, base, model.config, tiny_tokenizer)
    trained = logits(model.eval())
    assert (trained - base_says).abs().max() > 1e-2
    loaded = load_model(tmp_path / "adapter")
    assert torch.allclose(logits(loaded), trained, atol=1e-6)
    merge_adapter(tmp_path / "adapter", tmp_path / "merged")
    merged = load_model(tmp_path / "merged")
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]
    assert (logits(merged) - trained).abs().max() < 1e-5 * trained.abs().max()


def test_merged_and_unmerged_act_alike(tmp_path, adapter_folder):
    merge_adapter(adapter_folder, tmp_path / "merged")
    observation = Observation(
        {"front": np.full((56, 56, 3), 90, np.uint8)}, np.zeros(7), 1.0,
        np.array([0.5, 0, 0.2]), np.array([0, 1.0, 0, 0]), "pick up the red cube", 0,
    )  # fmt: skip
    chunks = [
        load_policy(str(folder)).predict_chunk(observation)
        for folder in (adapter_folder, tmp_path / "merged")
    ]
    assert np.array_equal(chunks[0].actions, chunks[1].actions)


def test_a_checkpoint_without_the_state_token(tmp_path, tiny_folder, tiny_tokenizer):
    model = load_model(tiny_folder)
    model.config = replace(model.config, proprio=None)
    model.proprio_projector = None
    tuner = add_adapter(model, LoraSettings(rank=2), seed=0)
    base = BaseReference.of(str(tiny_folder), tiny_folder)
    save_adapter(tmp_path / "adapter", tuner, base, model.config, tiny_tokenizer)
    merge_adapter(tmp_path / "adapter", tmp_path / "merged")
    assert load_model(tmp_path / "merged").proprio_projector is None


def test_the_hash_is_of_the_weights_however_they_are_split(tmp_path, tiny_folder):
    whole = weights_hash(tiny_folder)
    weights = load_file(tiny_folder / "model.safetensors")
    names = sorted(weights)
    shards = {"a.safetensors": names[:10], "b.safetensors": names[10:]}
    for file, part in shards.items():
        save_file({name: weights[name] for name in part}, tmp_path / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights_hash(tmp_path) == whole
    weights["projector.fc1.bias"][0] += 1.0
    save_file(weights, tmp_path / "model.safetensors")
    assert weights_hash(tmp_path) != whole


def test_another_base_is_refused(tiny_config, tiny_folder, tiny_tokenizer, adapter_folder):
    save_checkpoint(tiny_folder, fresh_model(tiny_config, seed=9), tiny_config, tiny_tokenizer)
    with pytest.raises(CheckpointError, match=r"for another base: expected .* got [0-9a-f]{12}"):
        load_policy(str(adapter_folder))


def test_a_base_that_is_gone_is_named(tiny_folder, adapter_folder):
    tiny_folder.rename(tiny_folder.with_name("elsewhere"))
    with pytest.raises(CheckpointError, match="is not there .*`vla-ros merge"):
        load_policy(str(adapter_folder))
    load_adapter(adapter_folder, base=str(tiny_folder.with_name("elsewhere")))


def change(folder: Path, name: str, **values) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_other_shapes_are_refused(adapter_folder):
    change(adapter_folder, "adapter_config.json", r=8)
    with pytest.raises(CheckpointError, match=r"expected shape \(8, 32\), got \(4, 32\)"):
        load_policy(str(adapter_folder))


def test_other_layers_are_refused(adapter_folder):
    change(adapter_folder, "adapter_config.json", target_modules=["q_proj"])
    with pytest.raises(CheckpointError, match="of its weights have no place .* 0 are missing"):
        load_policy(str(adapter_folder))


def test_pickled_adapters_are_refused(adapter_folder):
    weights = adapter_folder / "adapter_model.safetensors"
    weights.rename(adapter_folder / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="adapter_model.bin, which is pickled"):
        load_policy(str(adapter_folder))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type: expected 'LORA', got 'IA3'"),
        ({"use_dora": True}, "expected plain LoRA, it uses use_dora"),
        ({"r": 0}, "expected r"),
    ],
)
def test_adapters_of_other_kinds_are_refused(adapter_folder, values, message):
    change(adapter_folder, "adapter_config.json", **values)
    with pytest.raises(CheckpointError, match=message):
        load_policy(str(adapter_folder))


def test_an_adapter_without_its_bases_hash_is_refused(adapter_folder):
    (adapter_folder / "adapter_base.json").unlink()
    with pytest.raises(CheckpointError, match="expected adapter_base.json"):
        load_policy(str(adapter_folder))
