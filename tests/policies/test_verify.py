"""Expectations of other sizes pass, and whatever is wrong fails under its own name."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file as load_numbers
from safetensors.numpy import save_file as save_numbers
from safetensors.torch import load_file, save_file

from policies.openvla.checkpoint import load_model, save_checkpoint
from policies.openvla.config import CheckpointError
from policies.openvla.expectations import read_expectations
from policies.openvla.golden import write_expectations
from policies.openvla.quantization import quantize
from policies.openvla.stages import run_stages
from policies.openvla.verify import _overall, _relative, replay, verify
from policies.training.initial import fresh_model

STATISTICS = {"q01": [-0.02] * 7, "q99": [0.04] * 7, "mask": [True] * 6 + [False]}


def pictures(count=3):
    rng = np.random.default_rng(5)
    sizes = [(60, 80), (70, 70), (31, 99)]
    return [rng.integers(0, 256, size=(*sizes[i], 3), dtype=np.uint8) for i in range(count)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory, tiny_config, tiny_tokenizer):
    """Nothing here has the size it has in the fixture, and it is laid out beside the weights."""
    folder = tmp_path_factory.mktemp("other")
    config = replace(
        tiny_config,
        text_config={
            **tiny_config.text_config,
            "hidden_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_theta": 500000.0,
            "vocab_size": 800,
        },
        norm_stats={
            "first.set": {"action": STATISTICS},
            "second": {"action": {**STATISTICS, "q99": [0.08] * 7}},
        },
        image_sizes=(70, 70),
        vision_towers=(
            {"embed_dim": 24, "depth": 3, "num_heads": 2},
            {"embed_dim": 32, "depth": 4, "num_heads": 4},
        ),
        n_action_bins=100,
        pad_to_multiple_of=32,
        proprio=None,
        grounding=None,
        instruction_words=None,
    )
    save_checkpoint(folder, fresh_model(config, seed=1), config, tiny_tokenizer)
    golden = write_expectations(folder, pictures(), ["lift it", "push", "pick the red cube"])
    for path in golden.iterdir():
        path.rename(folder / path.name)
    return folder


@pytest.fixture
def copy(reference, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in reference.glob("*.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def names_of(figures):
    return {figure.name for figure in figures}


def change_numbers(folder, change):
    numbers = load_numbers(folder / "expected.safetensors")
    change(numbers)
    save_numbers(numbers, folder / "expected.safetensors")


def test_another_reference_passes_with_every_figure(reference):
    report = verify(reference)
    assert report.ok, [str(figure) for figure in report.failed]
    assert report.not_checked == () and report.not_given == []
    assert names_of(report.figures) == {
        "pixel values", "patch features", "projection", "logits", "greedy tokens",
        "action first.set", "action second", "prompt tokens", "training loss", "gradient norms",
        "token table", "decoded numbers", "parameters",
    }  # fmt: skip
    assert report.count("logits") == 3


@pytest.mark.parametrize(("pixels", "patches"), [(1, 1), (3, 2), (7, 6), (70, 25)])
def test_any_sampling_is_recognized(copy, pixels, patches):
    model = load_model(copy)
    expectations = read_expectations(copy)

    def resample(numbers):
        for i in expectations.cases:
            stages = run_stages(
                model, expectations.image(i), expectations.case(i)["input_ids"], None, 1
            )
            numbers.pop(f"{i}.pixel_values_stride4")
            sampled = np.ascontiguousarray(stages.pixel_values[:, ::pixels, ::pixels])
            numbers[f"{i}.pixel_values_stride{pixels}"] = sampled
            numbers[f"{i}.patch_features"] = stages.patch_features[::patches].copy()
            numbers[f"{i}.projected"] = stages.projected[::patches].copy()

    change_numbers(copy, resample)
    assert verify(copy).ok


def test_only_what_the_file_lists_is_compared(copy):
    def keep(numbers):
        for name in list(numbers):
            if name not in ("1.input_ids", "1.last_logits", "1.action.second"):
                del numbers[name]

    change_numbers(copy, keep)
    (copy / "expected.json").unlink()
    report = verify(copy)
    assert report.ok
    assert [figure.name for figure in report.figures] == ["logits", "action second"]
    assert {"pixel values", "training loss", "gradient norms"} <= set(report.not_given)


def test_what_is_not_understood_is_said(copy):
    change_numbers(copy, lambda numbers: numbers.update({"0.attention": np.zeros(3)}))
    report = verify(copy)
    assert report.ok
    assert report.not_checked == ("0.attention",)


def perturb(folder, name, change):
    weights = load_file(folder / "model.safetensors")
    change(weights[name])
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("weight", "first_failure", "unharmed"),
    [
        ("vision_backbone.featurizer.pos_embed", "patch features", "pixel values"),
        ("vision_backbone.fused_featurizer.pos_embed", "patch features", "pixel values"),
        ("projector.fc2.weight", "projection", "patch features"),
        ("language_model.model.layers.1.self_attn.v_proj.weight", "logits", "projection"),
    ],
)
def test_a_perturbed_weight_fails_where_it_first_matters(copy, weight, first_failure, unharmed):
    perturb(copy, weight, lambda values: values.flatten()[:40].add_(0.05))
    failed = names_of(verify(copy).failed)
    assert first_failure in failed
    assert {"training loss", "gradient norms"} & failed
    assert unharmed not in failed
    assert "token table" not in failed


def test_wrong_preprocessing_fails_at_the_pixels(copy):
    path = copy / "preprocessor_config.json"
    values = json.loads(path.read_text())
    values["means"][0][1] += 0.001
    path.write_text(json.dumps(values))
    assert "pixel values" in names_of(verify(copy).failed)


def test_another_image_fails_at_the_pixels(copy):
    path = copy / "image_2.png"
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    failed = verify(copy).failed
    assert failed[0].name == "pixel values"
    assert {figure.where for figure in failed} == {"image 2"}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda n: np.copyto(n["0.generated_ids"], n["0.generated_ids"][::-1].copy()), "greedy"),
        (lambda n: n["1.action.second"].__iadd__(1e-8), "action second"),
        (lambda n: n["2.input_ids"][1:].sort(), "prompt tokens"),
        (lambda n: n["train.loss"].__iadd__(2e-4), "training loss"),
        (lambda n: n["tokenizer.token_ids"][40:42].sort(), "token table"),
        (lambda n: n["tokenizer.decoded"].__iadd__(1e-9), "decoded numbers"),
        (lambda n: n["0.last_logits"].fill(np.nan), "logits"),
        (lambda n: n.update({"0.last_logits": np.zeros(5, np.float32)}), "logits"),
        (lambda n: n.update({"0.projected": np.zeros((2, 3), np.float32)}), "projection"),
        (lambda n: n.update({"0.action.third": np.zeros(7)}), "action third"),
        (lambda n: n.update({"0.action.second": np.zeros(6)}), "action second"),
    ],
)
def test_a_wrong_expectation_fails_by_name(copy, change, name):
    change_numbers(copy, change)
    report = verify(copy)
    assert not report.ok
    assert any(figure.name.startswith(name) for figure in report.failed)


def test_a_wrong_gradient_names_the_weight(copy):
    about = json.loads((copy / "expected.json").read_text())
    about["train"]["grad_norm"]["projector.fc1.weight"] *= 1.002
    (copy / "expected.json").write_text(json.dumps(about))
    (figure,) = verify(copy).failed
    assert (figure.name, figure.where) == ("gradient norms", "projector.fc1.weight")


def test_a_shorter_type_is_compared_as_far_as_it_reaches(reference):
    model = load_model(reference, torch.bfloat16)
    report = replay(model, read_expectations(reference))
    assert report.ok, [str(figure) for figure in report.failed]
    assert "logits" in names_of(report.figures)
    assert "0.generated_ids" in report.not_checked


def test_quantized_weights_are_compared_as_far_as_they_reach(reference):
    model = quantize(load_model(reference), "int8")
    report = replay(model, read_expectations(reference))
    assert report.ok, [str(figure) for figure in report.failed]
    tolerances = {figure.name: figure.tolerance for figure in report.figures}
    assert tolerances["pixel values"] == 1e-5  # they are no business of the weights
    assert tolerances["logits"] == pytest.approx(0.03)
    assert "0.generated_ids" in report.not_checked


def test_one_number_at_an_edge_does_not_fail_a_coarse_type():
    expected = np.array([0.9, -0.8, 0.5, 0.7, -0.6, 0.4, 0.9])
    turned = expected + [0, 0, 0, 0, 0, 0.03, 0]
    assert _overall(turned, expected) < 0.02 < _relative(turned, expected)
    assert _overall(1.1 * expected, expected) == pytest.approx(0.1)
    assert np.isnan(_overall(np.full(7, np.nan), expected))


def test_a_model_with_state_and_grounding_gets_golden_outputs(tiny_folder):
    states = [np.linspace(-1, 1, 7), np.zeros(7)]
    golden = write_expectations(tiny_folder, pictures(2), ["pick up the red cube", "push"], states)
    assert golden == tiny_folder / "golden"
    report = verify(tiny_folder)
    assert report.ok, [str(figure) for figure in report.failed]
    assert read_expectations(tiny_folder).case(0)["generated_ids"].shape == (9,)
    change = load_numbers(golden / "expected.safetensors")
    change["0.state"] += 0.1
    save_numbers(change, golden / "expected.safetensors")
    assert "logits" in names_of(verify(tiny_folder).failed)
    del change["0.state"]
    save_numbers(change, golden / "expected.safetensors")
    with pytest.raises(CheckpointError, match="state: expected 7 numbers for this model, got none"):
        verify(tiny_folder)


def test_golden_outputs_are_replaced_whole(tiny_folder):
    write_expectations(tiny_folder, pictures(2), ["push", "push"])
    golden = write_expectations(tiny_folder, pictures(1), ["push"])
    assert sorted(path.name for path in golden.iterdir()) == [
        "expected.json", "expected.safetensors", "image_0.png",
    ]  # fmt: skip


def test_what_cannot_be_written_is_said(reference, tiny_folder):
    with pytest.raises(CheckpointError, match=r"has its own expected\.safetensors"):
        write_expectations(reference, pictures(1), ["push"])
    with pytest.raises(CheckpointError, match="got 2 images and 1 instructions"):
        write_expectations(tiny_folder, pictures(2), ["push"])


def test_a_folder_without_expectations_is_told_how_to_get_them(tiny_folder):
    with pytest.raises(CheckpointError, match=r"beside the weights or in golden/.*--write"):
        verify(tiny_folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "image_1.png").unlink(), "expected the image image_1.png, found none"),
        (lambda f: (f / "image_0.png").write_bytes(b"GIF"), "image_0.png: not an image"),
        (lambda f: (f / "expected.json").write_text("{"), "expected.json: not valid JSON"),
        (
            lambda f: (f / "expected.safetensors").write_bytes(b"\x80\x04"),
            "not a whole safetensors file",
        ),
        (
            lambda f: (f / "expected.json").write_text('{"cases": [{"image": "../secret.png"}]}'),
            "expected a file in this folder, got '../secret.png'",
        ),
        (
            lambda f: (f / "expected.json").write_text('{"train": {"grad_norm": {"no.w": 1}}}'),
            "gradients: this model has no weight 'no.w'",
        ),
    ],
)
def test_broken_expectations_are_named(copy, damage, message):
    damage(copy)
    with pytest.raises(CheckpointError, match=message):
        verify(copy)
