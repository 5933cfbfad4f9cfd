"""Weights in shards: each is read once, from where it should be, and memory holds one model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from policies.openvla.checkpoint import load_model, save_checkpoint
from policies.openvla.config import CheckpointError
from policies.openvla.model import OpenVLA

ROOT = Path(__file__).parents[2]
INDEX = "model.safetensors.index.json"


def split(folder, count=3):
    """Write the weights of a folder anew, in shards with an index."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    names = sorted(weights)
    files = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    for i, file in enumerate(files):
        save_file({name: weights[name].clone() for name in names[i::count]}, folder / file)
    index = {name: files[i % count] for i, name in enumerate(names)}
    (folder / INDEX).write_text(json.dumps({"weight_map": index}))
    path.unlink()
    return [folder / file for file in files]


def test_a_weight_in_two_shards_is_named(tiny_folder):
    first, second, _ = split(tiny_folder)
    weights = load_file(second)
    twice = next(iter(load_file(first)))
    save_file({**weights, twice: load_file(first)[twice]}, second)
    with pytest.raises(CheckpointError, match=f"weight '{twice}' is in {first.name} already"):
        load_model(tiny_folder)


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "/etc/outside.safetensors", "sub/in.safetensors", "..", 7]
)
def test_an_index_that_leads_elsewhere_is_refused(tiny_folder, name):
    split(tiny_folder)
    index = json.loads((tiny_folder / INDEX).read_text())
    index["weight_map"] = {"projector.fc1.bias": name}
    (tiny_folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="expected files in this folder, got"):
        load_model(tiny_folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a weight index"),
        ("[]", "not a weight index"),
        ('{"weight_map": {}}', "got an empty weight_map"),
        ('{"weight_map": {"a": "pytorch_model-1.bin"}}', "pickled weights can run code"),
    ],
)
def test_an_index_that_is_none_is_refused(tiny_folder, text, message):
    split(tiny_folder)
    (tiny_folder / INDEX).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_model(tiny_folder)


def test_shards_that_are_links_load(tiny_folder, tiny_model, tmp_path):
    """The hub's cache is made of links into a folder of blobs."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(split(tiny_folder)):
        path.rename(blobs / str(number))
        path.symlink_to(blobs / str(number))
    loaded = load_model(tiny_folder).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in tiny_model.state_dict().items())


def test_errors_come_before_the_first_number_is_read(tiny_folder, monkeypatch):
    def fail(*_):
        raise AssertionError("a weight was read")

    monkeypatch.setattr("policies.openvla.checkpoint.read_weight", fail)
    last = split(tiny_folder)[-1]
    weights = load_file(last)
    save_file({**weights, "surplus": torch.zeros(2)}, last)
    with pytest.raises(CheckpointError, match="unknown weight 'surplus'"):
        load_model(tiny_folder)


def test_whole_numbers_are_no_weights(tiny_folder):
    path = tiny_folder / "model.safetensors"
    weights = load_file(path)
    weights["projector.fc1.bias"] = weights["projector.fc1.bias"].to(torch.int8)
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"'projector.fc1.bias': expected numbers .* got I8"):
        load_model(tiny_folder)


def test_weights_do_not_depend_on_the_file_once_loaded(tiny_folder):
    model = load_model(tiny_folder)
    before = model.projector.fc1.weight.detach().clone()
    with (tiny_folder / "model.safetensors").open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(bytes(4096))
    assert torch.equal(model.projector.fc1.weight, before)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_a_type_is_chosen_at_loading(tiny_folder):
    model = load_model(tiny_folder, torch.bfloat16)
    assert {value.dtype for value in model.state_dict().values()} == {torch.bfloat16}
    assert model.projector.fc1.bias.requires_grad


def test_tied_embeddings_need_no_head_in_the_file(tmp_path, tiny_config, tiny_tokenizer):
    text = {**tiny_config.text_config, "tie_word_embeddings": True}
    config = replace(tiny_config, text_config=text)
    torch.manual_seed(0)
    save_checkpoint(tmp_path, OpenVLA(config), config, tiny_tokenizer)
    assert "language_model.lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    language_model = load_model(tmp_path).language_model
    assert language_model.lm_head.weight is language_model.model.embed_tokens.weight


# --- memory ---------------------------------------------------------------------------------

# The kernel's own high-water mark of this process's memory. `getrusage` would count the parent's
# too: Linux carries it over from before the program was started.
MEASURE = """
import ctypes, gc, sys
from pathlib import Path
import torch
from policies.openvla.checkpoint import load_model

def peak_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

load_model(Path(sys.argv[1]))  # everything that loading imports and allocates once
for dtype in (torch.bfloat16, torch.float32):
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the mark falls to what is held now
    before = peak_mb()
    model = load_model(Path(sys.argv[2]), dtype)
    held = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    print(peak_mb() - before, held / 2**20)
    del model
"""


@pytest.fixture(scope="module")
def big_folder(tmp_path_factory, tiny_config, tiny_tokenizer):
    """190 MB of float32 in 4 shards; the largest weight has 12 MB."""
    config = replace(
        tiny_config,
        text_config={
            **tiny_config.text_config,
            "hidden_size": 768,
            "intermediate_size": 4096,
            "num_hidden_layers": 4,
            "num_attention_heads": 8,
            "num_key_value_heads": 8,
        },
    )
    folder = tmp_path_factory.mktemp("big")
    torch.manual_seed(0)
    save_checkpoint(folder, OpenVLA(config), config, tiny_tokenizer)
    split(folder, 4)
    return folder


@pytest.mark.slow
def test_loading_holds_one_model_and_one_weight(big_folder, tiny_folder):
    """Reading all weights before converting them would add 200 MB to either."""
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tiny_folder), str(big_folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    rows = [tuple(map(float, line.split())) for line in result.stdout.splitlines()]
    assert [round(held_mb, -1) for _, held_mb in rows] == [100, 190]
    for grown_mb, held_mb in rows:
        assert 0.8 * held_mb < grown_mb < held_mb + 70, rows


def test_a_full_disk_leaves_the_old_weights(tmp_path):
    """A limit on the size of files stands in for a full disk."""
    code = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from policies.openvla.checkpoint import write_weights\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000,) * 2)\n"
        "try:\n"
        "    write_weights({'a': torch.zeros(100_000)}, Path(sys.argv[1]))\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    path = tmp_path / "model.safetensors"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert f"cannot write {path}" in done.stdout
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
