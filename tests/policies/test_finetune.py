import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from policies.factory import load_policy
from policies.finetuning.finetune import check_base, checkpoint_gradients, finetune
from policies.finetuning.settings import FinetuneConfig, adapted_config, uses_original_objective
from policies.openvla.adapter import BaseReference, LoraSettings, add_adapter
from policies.openvla.checkpoint import load_model, save_checkpoint
from policies.openvla.config import CheckpointError
from policies.openvla.statistics import ActionStatistics
from policies.training.batches import Batch, BatchMaker
from policies.training.demonstrations import Demonstrations
from policies.training.examples import Examples
from policies.training.initial import add_chunk_head
from policies.training.loop import Loop, LoopConfig, TrainingError
from policies.training.losses import original_loss
from policies.training.objective import Learner, bin_errors

CPU = torch.device("cpu")
SMALL = LoraSettings(rank=4)
REFERENCE = Path(__file__).parents[1] / "fixtures" / "openvla_reference"


@pytest.fixture(scope="session")
def demonstrations(tiny_examples) -> Demonstrations:
    """Four episodes of one instruction; the action is the image's brightness."""
    examples = Examples(
        tiny_examples.images,
        tiny_examples.states + np.random.default_rng(0).normal(0, 0.1, (32, 7)).astype(np.float32),
        [row[:1] for row in tiny_examples.instructions],
        np.full((32, 1, 4), np.nan, np.float32),
        tiny_examples.actions[:, :1],
        later_actions=np.repeat(tiny_examples.actions[:, :1, None], 2, axis=2),
    )
    return Demonstrations(examples, np.arange(0, 32, 8), 10.0)


def run(folder, demonstrations, output, lora=SMALL, until=None, **settings):
    """Fine-tune on the CPU; returns the reports."""
    loop = LoopConfig(
        **{"steps": 4, "batch_size": 8, "precision": "fp32", "warmup_steps": 1}
        | {"learning_rate": 3e-3, "report_every_steps": 1, "save_every_steps": 2}
        | {key: settings.pop(key) for key in list(settings) if hasattr(LoopConfig, key)}
    )  # fmt: skip
    reports = []

    def report(step, figures):
        reports.append(figures)
        if step == until:
            raise KeyboardInterrupt

    finetune(
        BaseReference.of(str(folder), folder), folder, [demonstrations], output, loop, CPU,
        report, lambda *_: None, FinetuneConfig("new-robot", lora=lora, **settings),
    )  # fmt: skip
    return reports


def test_the_loss_is_the_originals():
    """The published objective on the published data: the loss the original code computes."""
    expected = load_file(REFERENCE / "expected.safetensors")
    about = json.loads((REFERENCE / "expected.json").read_text())["train"]
    ids, labels = expected["train.input_ids"].long(), expected["train.labels"]
    model = load_model(REFERENCE)
    assert uses_original_objective(model.config)
    statistics = ActionStatistics.from_norm_stats(model.config.norm_stats, "bridge_orig")
    maker = BatchMaker(model.config, None, statistics, CPU, end_token=True)
    first = (labels != -100).int().argmax(1)  # of the seven action tokens
    places = first[:, None] + torch.arange(7)
    tokens = torch.gather(ids, 1, places).numpy()
    decoded = maker.action_tokenizer.decode(tokens)
    decoded[tokens == maker.action_tokenizer.first_id] = 1.0  # the last edge has no centre
    values = torch.as_tensor(decoded, dtype=torch.float32)
    assert (maker.action_tokenizer.encode(values.numpy()) == tokens).all()

    from PIL import Image

    from policies.openvla.preprocess import pixel_values

    images = [np.asarray(Image.open(REFERENCE / f"image_{i}.png").convert("RGB")) for i in (0, 1)]
    pixels = torch.cat([pixel_values(image, 224) for image in images])
    batch = Batch(pixels, torch.zeros(2, 0), ids, first - 1, values, np.arange(2))
    learner = Learner(model, maker, None)
    features = model.vision_backbone(pixels)
    logits = learner._outputs(features, batch)[0]
    loss = original_loss(logits, values, maker.action_tokenizer)
    assert abs(loss.item() - about["loss"]) < 1e-4 * about["loss"]


def test_published_checkpoints_adapt_by_the_same_call(tmp_path, demonstrations):
    """No state, no grounding, several statistics in the base: one, of the new data, comes out."""
    folder = tmp_path / "published"
    shutil.copytree(REFERENCE, folder)
    (folder / "expected.safetensors").unlink()
    from policies.openvla.text import train_tokenizer

    tokenizer = train_tokenizer(["pick up the red cube"], 400)
    (folder / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str())
    large = demonstrations.examples.images.repeat(8, axis=1).repeat(8, axis=2)
    examples = replace(demonstrations.examples, images=large)
    data = Demonstrations(examples, demonstrations.episode_starts, 5.0)
    reports = run(folder, data, tmp_path / "out", steps=2, batch_size=2)
    assert np.isfinite(reports[-1]["loss"])
    adapted = load_policy(str(tmp_path / "out"))
    assert list(adapted.config.norm_stats) == ["new-robot"]
    assert adapted.config.rate_hz == 5.0
    written = json.loads((tmp_path / "out" / "dataset_statistics.json").read_text())
    assert list(written) == ["new-robot"]


def bins_of_x(folder, demonstrations, tokenizer) -> tuple[float, float]:
    """Mean error of x on the demonstrations, of a checkpoint and of a constant."""
    model = load_model(folder)
    statistics = ActionStatistics.from_norm_stats(model.config.norm_stats, None)
    maker = BatchMaker(model.config, tokenizer, statistics, CPU)
    examples = replace(demonstrations.examples, grounding=np.full((32, 1, 2), np.nan, np.float32))
    learner = Learner(model, maker, tokenizer)
    ours, constant = bin_errors(learner, examples, np.arange(32), np.zeros(maker.numbers))
    return ours[2], constant[2]  # behind the two numbers that are named


def test_a_chunk_head_adapts_to_a_robot_whose_x_axis_points_back(
    tmp_path, tiny_model, tiny_tokenizer, demonstrations
):
    model = add_chunk_head(tiny_model, 3, seed=0)
    save_checkpoint(tmp_path / "fresh", model, model.config, tiny_tokenizer)
    usual = {"steps": 100, "batch_size": 16, "save_every_steps": 100}
    run(tmp_path / "fresh", demonstrations, tmp_path / "base", None, **usual)
    before = load_file(tmp_path / "base" / "model.safetensors")
    examples = demonstrations.examples
    reversed_x = replace(
        demonstrations,
        examples=replace(
            examples, actions=-examples.actions, later_actions=-examples.later_actions
        ),
    )
    wrong, constant = bins_of_x(tmp_path / "base", reversed_x, tiny_tokenizer)
    assert wrong > constant
    run(
        tmp_path / "base",
        reversed_x,
        tmp_path / "out",
        learning_rate=6e-3,
        **usual | {"steps": 200},
    )
    for adapted in (tmp_path / "out", tmp_path / "out" / "adapter"):
        assert bins_of_x(adapted, reversed_x, tiny_tokenizer)[0] < 0.5 * constant
    after = load_file(tmp_path / "base" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_token_by_token_only_the_adapter_learns_and_is_saved(tmp_path, tiny_folder, demonstrations):
    reports = run(
        tiny_folder, demonstrations, tmp_path / "out", LoraSettings(rank=8, alpha=32),
        steps=60, learning_rate=1e-2, save_every_steps=60,
    )  # fmt: skip
    assert reports[-1]["loss"] < 0.95 * reports[0]["loss"]
    stored = load_file(tmp_path / "out" / "last" / "training_state.safetensors")
    assert all(".lora_" in name or "proprio" in name for name in stored)
    adapter = load_policy(str(tmp_path / "out" / "adapter"))
    assert list(adapter.config.norm_stats) == ["new-robot"]
    before, merged = (
        load_file(folder / "model.safetensors") for folder in (tiny_folder, tmp_path / "out")
    )
    head, inner = "language_model.lm_head.weight", "projector.fc1.weight"
    assert torch.equal(merged[head], before[head])
    assert not torch.equal(merged[inner], before[inner])


def test_in_bf16_the_frozen_weights_are_bf16(tmp_path, tiny_model, tiny_tokenizer, demonstrations):
    model = add_chunk_head(tiny_model, 3, seed=0)
    save_checkpoint(tmp_path / "base", model, model.config, tiny_tokenizer)
    reports = run(
        tmp_path / "base", demonstrations, tmp_path / "out", LoraSettings(rank=4, dropout=0.1),
        precision="bf16", merged_bf16=True,
    )  # fmt: skip
    assert np.isfinite(reports[-1]["loss"])
    adapter = load_file(tmp_path / "out/adapter/adapter_model.safetensors")
    assert {value.dtype for value in adapter.values()} == {torch.float32}
    merged = load_file(tmp_path / "out/model.safetensors")
    assert {value.dtype for value in merged.values()} == {torch.bfloat16}


def test_full_fine_tuning_trains_everything(tmp_path, tiny_folder, demonstrations):
    run(tiny_folder, demonstrations, tmp_path / "out", lora=None, steps=2)
    before, after = (
        load_file(folder / "model.safetensors") for folder in (tiny_folder, tmp_path / "out")
    )
    assert not torch.equal(
        before["language_model.lm_head.weight"], after["language_model.lm_head.weight"]
    )
    assert not (tmp_path / "out" / "adapter").exists()


def test_statistics_are_those_of_the_new_data_or_kept(tiny_config, demonstrations):
    actions = demonstrations.examples.actions[:, 0]
    anew = adapted_config(tiny_config, [demonstrations], FinetuneConfig("new-robot"))
    assert anew.norm_stats["new-robot"]["action"]["q99"] == pytest.approx(
        np.quantile(actions.astype(float), 0.99, axis=0)
    )
    assert anew.proprio != tiny_config.proprio
    kept = adapted_config(tiny_config, [demonstrations], FinetuneConfig("n", keep_statistics=True))
    assert (kept.norm_stats, kept.proprio) == (tiny_config.norm_stats, tiny_config.proprio)
    several = replace(tiny_config, norm_stats={"a": tiny_config.norm_stats["tiny"], "b": {}})
    with pytest.raises(CheckpointError, match="choose one of a, b"):
        adapted_config(several, [demonstrations], FinetuneConfig("n", keep_statistics=True))
    blind = adapted_config(tiny_config, [demonstrations], FinetuneConfig("n", with_state=False))
    assert blind.proprio is None


def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path, tiny_folder, demonstrations):
    run(tiny_folder, demonstrations, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tiny_folder, demonstrations, tmp_path / "part", until=3)
    assert json.loads((tmp_path / "part/last/progress.json").read_text())["step"] == 2
    assert len(run(tiny_folder, demonstrations, tmp_path / "part")) == 2  # steps 3 and 4
    whole, part = (
        load_file(tmp_path / name / "adapter/adapter_model.safetensors")
        for name in ("whole", "part")
    )
    assert all(torch.allclose(whole[name], part[name], atol=1e-6) for name in whole)


def test_a_run_goes_on_only_with_the_same_base_and_settings(
    tmp_path, tiny_folder, tiny_config, tiny_tokenizer, demonstrations
):
    run(tiny_folder, demonstrations, tmp_path / "out", steps=2)
    with pytest.raises(TrainingError, match="begun with rank 4, not 8"):
        run(tiny_folder, demonstrations, tmp_path / "out", lora=LoraSettings(rank=8))
    from policies.training.initial import fresh_model

    save_checkpoint(tiny_folder, fresh_model(tiny_config, 5), tiny_config, tiny_tokenizer)
    with pytest.raises(TrainingError, match="begun with base"):
        run(tiny_folder, demonstrations, tmp_path / "out")


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_accumulated_passes_make_one_batch(tmp_path, passes):
    """The gradient of the parts is that of the whole: of mean(x^2) at 0..7, 2 * 17.5."""
    data = torch.arange(8.0)
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(module.weight)
    taken: list[int] = []
    norms = []

    def loss(rng):
        rows = range(len(taken), len(taken) + loop.rows_per_step)
        taken.extend(rows)
        return module(data[list(rows), None]).square().mean(), {}

    config = LoopConfig(
        steps=1, batch_size=8, precision="fp32", report_every_steps=1, gradient_accumulation=passes
    )
    loop = Loop(module, loss, config, tmp_path, CPU)
    loop.run(lambda step, figures: norms.append(figures["norm"]))
    assert taken == list(range(8))
    assert norms == [pytest.approx(35.0)]


def test_a_batch_that_cannot_be_split_is_refused(tmp_path, tiny_folder, demonstrations):
    with pytest.raises(TrainingError, match=r"a multiple of 3 \(1 processes x 3 passes\), got 8"):
        run(tiny_folder, demonstrations, tmp_path / "out", gradient_accumulation=3)


def test_gradient_checkpointing_gives_the_same_gradients(
    tiny_folder, tiny_config, tiny_tokenizer, demonstrations
):
    gradients = []
    for checkpointing in (False, True):
        model = load_model(tiny_folder)
        add_adapter(model, LoraSettings(rank=4), seed=0)
        torch.manual_seed(1)
        for name, value in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(value, std=0.05)
        if checkpointing:
            checkpoint_gradients(model)
        statistics = ActionStatistics.from_norm_stats(tiny_config.norm_stats, None)
        maker = BatchMaker(tiny_config, tiny_tokenizer, statistics, CPU)
        learner = Learner(model, maker, tiny_tokenizer).train()
        examples = replace(demonstrations.examples, grounding=np.full((32, 1, 2), 0.1, np.float32))
        batch = maker.make(examples, np.arange(4), np.random.default_rng(0))
        learner.loss(examples, batch)[0].backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    tower = "vision_backbone.featurizer.blocks.0.attn.qkv.lora_A.default.weight"
    assert gradients[0][tower].abs().max() > 0
    for name, value in gradients[0].items():
        assert torch.allclose(value, gradients[1][name], atol=1e-6), name


def test_unknown_places_are_named_by_the_model_itself(
    tiny_model, tiny_config, tiny_tokenizer, demonstrations
):
    statistics = ActionStatistics.from_norm_stats(tiny_config.norm_stats, None)
    maker = BatchMaker(tiny_config, tiny_tokenizer, statistics, CPU)
    learner = Learner(tiny_model, maker, tiny_tokenizer)
    unknown = replace(demonstrations.examples, grounding=np.full((32, 1, 2), np.nan, np.float32))
    batch = maker.make(unknown, np.arange(3), np.random.default_rng(0), augment=False)
    features = tiny_model.vision_backbone(batch.pixel_values)
    named = learner._with_own_names(features, batch)
    chosen = maker.action_tokenizer.encode(learner.numbers(features, batch)[:, :2])
    for row in range(3):
        place = int(batch.last_prompt[row]) + 1
        assert named.input_ids[row, place : place + 2].tolist() == chosen[row].tolist()
        rest = slice(place + 2, None)
        assert torch.equal(named.input_ids[row, rest], batch.input_ids[row, rest])
    known = replace(unknown, grounding=np.full((32, 1, 2), 0.1, np.float32))
    batch = maker.make(known, np.arange(3), np.random.default_rng(0))
    assert learner._with_own_names(features, batch) is batch


def test_an_adapter_is_no_base(tmp_path, tiny_folder, demonstrations):
    run(tiny_folder, demonstrations, tmp_path / "out", steps=1, merge=False)
    assert not (tmp_path / "out" / "config.json").exists()
    with pytest.raises(CheckpointError, match="merge it first"):
        check_base(tmp_path / "out" / "adapter")


LAUNCHED = """
import sys
from pathlib import Path
import torch
from torch import nn
from policies.training.loop import Loop, LoopConfig
from policies.training.processes import rank, run_in_processes, world_size

def work(folder):
    module = nn.Linear(2, 1, bias=False)
    nn.init.ones_(module.weight)
    def loss(rng):
        return module(torch.full((loop.rows_per_step, 2), 1.0 + rank())).mean(), {}
    config = LoopConfig(steps=2, batch_size=4, precision="fp32", gradient_clip=1e9)
    loop = Loop(module, loss, config, folder, torch.device("cpu"))
    loop.run(lambda *_: None)
    weights = module.weight.tolist()
    (folder / f"rank{rank()}.txt").write_text(f"{world_size()} {loop.rows_per_step} {weights}")

run_in_processes(1, work, Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_processes_of_a_launcher_train_together(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(LAUNCHED)
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
         "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
         "--main_process_port", "0", str(script), str(tmp_path)],
        check=True, timeout=300, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1",
             "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    said = [(tmp_path / f"rank{rank}.txt").read_text() for rank in (0, 1)]
    assert said[0] == said[1]
    assert said[0].startswith("2 2 ")
