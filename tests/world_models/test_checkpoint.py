"""World-model folders: whole, or refused with the reason."""

import json

import pytest
import torch

from policies.openvla.errors import CheckpointError
from world_models.checkpoint import load_world_model, read_world_model_config, save_world_model
from world_models.config import KINDS


@pytest.fixture
def folder(make_model, tmp_path):
    save_world_model(tmp_path, make_model())
    return tmp_path


def edit(folder, **changes):
    path = folder / "config.json"
    about = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in about.items() if value != "gone"}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_gives_the_model_back(make_model, tmp_path, kind):
    model = make_model(kind)
    save_world_model(tmp_path, model, torch.float32)
    loaded = load_world_model(tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    weights = loaded.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(weights[name], value), name


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action_names": ["x", "y"]}, "action_names: expected .*'gripper'"),
        ({"state_names": ["x"]}, "state_names: expected"),
        ({"model_type": "openvla"}, "expected a world model"),
        ({"words": "gone"}, r"missing \['words'\], unknown nothing"),
        ({"colour": 1}, r"missing nothing, unknown \['colour'\]"),
        ({"rate_hz": -1.0}, "rate_hz: expected a number above 0"),
        ({"discount": 2.0}, "discount: expected a number between 0 and 1"),
        ({"tokenizer": {"image_size_px": 16}}, "tokenizer: missing"),
        ({"tokenizer": None}, "tokenizer: expected names with values"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(folder, changes, reason):
    edit(folder, **changes)
    with pytest.raises(CheckpointError, match=reason):
        read_world_model_config(folder)


def test_weights_of_another_size_are_named(folder, make_model, tmp_path):
    about = json.loads((folder / "config.json").read_text())
    edit(folder, dynamics={**about["dynamics"], "width": 64})
    with pytest.raises(CheckpointError, match="expected shape"):
        load_world_model(folder)


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"found no config\.json"):
        load_world_model(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"expected model\.safetensors"):
        load_world_model(folder)


def test_a_file_that_breaks_off_is_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_world_model(folder)
