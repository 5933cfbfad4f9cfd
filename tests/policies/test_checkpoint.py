import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.factory import load_policy
from policies.openvla.checkpoint import load_model
from policies.openvla.config import CheckpointError


def test_what_is_saved_is_loaded(tiny_folder, tiny_model):
    loaded = load_model(tiny_folder).state_dict()
    saved = tiny_model.state_dict()
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_names_are_the_originals(tiny_folder):
    names = set(load_file(tiny_folder / "model.safetensors"))
    assert "vision_backbone.featurizer.blocks.0.ls1.scale_factor" in names
    assert "language_model.model.layers.0.self_attn.q_proj.weight" in names
    assert {name.split(".")[0] for name in names} == {
        "vision_backbone", "projector", "language_model", "proprio_projector",
    }  # fmt: skip


def damage(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("projector.fc1.bias"), "1 weights are missing: projector.fc1.bias"),
        (lambda w: w.update(extra=torch.zeros(1)), "unknown weight 'extra'"),
        (
            lambda w: w.update({"projector.fc1.bias": torch.zeros(3)}),
            r"'projector.fc1.bias': expected shape \(256,\), got \(3,\)",
        ),
        (
            lambda w: w["projector.fc1.bias"].fill_(float("nan")),
            "'projector.fc1.bias' has numbers that are not finite",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(tiny_folder, change, message):
    damage(tiny_folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_model(tiny_folder)


def test_truncated_weights(tiny_folder):
    path = tiny_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_model(tiny_folder)


def test_truncated_config(tiny_folder):
    path = tiny_folder / "config.json"
    path.write_text(path.read_text()[:200])
    with pytest.raises(CheckpointError, match="truncated"):
        load_model(tiny_folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_only_pickled_weights(tiny_folder, name):
    (tiny_folder / "model.safetensors").rename(tiny_folder / name)
    with pytest.raises(CheckpointError, match=rf"only pickled weights \({name}\).*never loaded"):
        load_model(tiny_folder)


def test_sharded_weights_load_and_a_missing_shard_is_named(tiny_folder, tiny_model):
    path = tiny_folder / "model.safetensors"
    weights = load_file(path)
    names = sorted(weights)
    shards = {"a.safetensors": names[:10], "b.safetensors": names[10:]}
    for file, part in shards.items():
        save_file({name: weights[name] for name in part}, tiny_folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (tiny_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    path.unlink()
    assert torch.equal(load_model(tiny_folder).projector.fc1.bias, tiny_model.projector.fc1.bias)
    (tiny_folder / "b.safetensors").unlink()
    with pytest.raises(CheckpointError, match="missing shards b.safetensors"):
        load_model(tiny_folder)


def test_unknown_policy_names_the_choices():
    with pytest.raises(CheckpointError, match="expected a checkpoint folder or one of"):
        load_policy("no-such-policy")


def test_empty_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="found no config.json"):
        load_policy(str(tmp_path))


def test_unusable_device(tiny_folder):
    with pytest.raises(CheckpointError, match="device: 'nonsense' cannot be used"):
        load_policy(str(tiny_folder), device="nonsense")
