"""`vla-ros verify-checkpoint`: its table, its status, its JSON file, and writing golden outputs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from policies.factory import CHECKPOINTS
from policies.openvla.config import CheckpointError
from vla_ros.cli import COMMANDS, build_app
from vla_ros.errors import UserError

REFERENCE = Path(__file__).parents[1] / "fixtures" / "openvla_reference"


@pytest.fixture
def run():
    def run(*arguments):
        app = build_app("verify-checkpoint")
        return CliRunner().invoke(app, ["verify-checkpoint", *map(str, arguments)])

    return run


@pytest.fixture
def mini(tmp_path):
    folder = tmp_path / "mini"
    shutil.copytree(CHECKPOINTS / "openvla-mini", folder)
    shutil.rmtree(folder / "golden", ignore_errors=True)
    return folder


def test_it_is_listed():
    assert "verify-checkpoint" in COMMANDS


def test_the_reference_passes_with_status_0(run, tmp_path):
    result = run(REFERENCE, "--json", tmp_path / "out" / "figures.json")
    assert result.exit_code == 0, result.output
    for name in ("pixel values", "logits", "greedy tokens", "action bridge_orig", "token table"):
        assert name in result.output
    assert "1.0e-05" in result.output
    assert "failed" not in result.output
    written = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert written["ok"] is True
    assert len([f for f in written["figures"] if f["name"] == "logits"]) == 4
    assert all(figure["deviation"] <= figure["tolerance"] for figure in written["figures"])


@pytest.mark.parametrize("how", [("--dtype", "bfloat16"), ("--quantize", "int8")])
def test_less_than_float32_is_compared_as_far_as_it_reaches(run, tmp_path, how):
    result = run(REFERENCE, *how, "--json", tmp_path / "figures.json")
    assert result.exit_code == 0, result.output
    assert "generated_ids" in result.output.split("not checked: ")[1]
    written = json.loads((tmp_path / "figures.json").read_text())
    assert (written["dtype"], written["quantization"]) == (
        ("bfloat16", None) if how[0] == "--dtype" else ("float32", "int8")
    )
    (worst, *_) = sorted(f["tolerance"] for f in written["figures"] if f["name"] == "logits")
    assert worst > 0.01


def test_a_difference_is_named_with_status_1(run, tmp_path):
    folder = tmp_path / "reference"
    shutil.copytree(REFERENCE, folder)
    numbers = load_file(folder / "expected.safetensors")
    numbers["2.generated_ids"] = numbers["2.generated_ids"][::-1].copy()
    numbers["1.last_logits"] = np.zeros(3, np.float32)
    save_file(numbers, folder / "expected.safetensors")
    result = run(folder, "--json", tmp_path / "figures.json")
    assert result.exit_code == 1
    assert "failed: greedy tokens (image 2)" in result.output
    assert "failed: logits (image 1)" in result.output
    written = json.loads((tmp_path / "figures.json").read_text())
    (logits,) = [f for f in written["figures"] if not f["ok"] and f["name"] == "logits"]
    assert logits["deviation"] is None
    assert "expected shape (3,), got (32064,)" in logits["detail"]


def test_what_the_user_can_mend_is_said(run, mini):
    def error(*arguments):
        return run(*arguments).exception

    assert isinstance(error(mini), CheckpointError)
    assert "found none; `vla-ros verify-checkpoint DIR --write`" in str(error(mini))
    assert "expected a checkpoint folder or one of" in str(error("no-such-policy"))
    assert "device: 'abacus' cannot be used here" in str(error(mini, "--device", "abacus"))
    assert "dtype: expected one of float32, bfloat16, got 'float8'" in str(
        error(mini, "--dtype", "float8")
    )
    assert "quantize: expected one of int8, int8-dynamic, int4, got 'int3'" in str(
        error(mini, "--quantize", "int3")
    )
    assert isinstance(error(mini, "--image", "a.png"), UserError)
    assert "not an image" in str(error(mini, "--write", "--image", "a.png", "--instruction", "x"))


def test_golden_outputs_are_written_and_replayed(run, mini):
    result = run(mini, "--write")
    assert result.exit_code == 0, result.output
    files = sorted((mini / "golden").iterdir())
    assert [path.name for path in files] == [
        "expected.json", "expected.safetensors", "image_0.png", "image_1.png", "image_2.png",
    ]  # fmt: skip
    assert sum(path.stat().st_size for path in files) < 300_000
    assert run(mini).exit_code == 0


def test_golden_outputs_from_pictures_of_ones_own(run, mini, tmp_path):
    picture = np.random.default_rng(1).integers(0, 256, size=(90, 120, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "table.png")
    options = ["--image", tmp_path / "table.png", "--instruction", "pick up the red cube"]
    result = run(mini, "--write", *options)
    assert result.exit_code == 0, result.output
    about = json.loads((mini / "golden" / "expected.json").read_text())
    assert [case["instruction"] for case in about["cases"]] == ["pick up the red cube"]
