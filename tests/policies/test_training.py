import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from policies.factory import load_policy
from policies.interface import Observation
from policies.openvla.checkpoint import save_checkpoint
from policies.openvla.config import CheckpointError
from policies.openvla.policy import OpenVLAPolicy
from policies.openvla.statistics import ActionStatistics
from policies.openvla.tokens import ActionTokenizer
from policies.training.batches import BatchMaker, augment_images
from policies.training.demonstrations import later_actions
from policies.training.initial import add_chunk_head, fresh_model
from policies.training.loop import (
    Loop,
    LoopConfig,
    TrainingError,
    learning_rate,
    use_plain_attention,
)
from policies.training.losses import number_loss, number_targets, siglip_loss
from policies.training.objective import Learner, SeeingHeads, bin_errors

CPU = torch.device("cpu")


@given(st.floats(-1.0, 1.0))
def test_soft_labels_are_a_distribution_centred_on_the_value(value):
    targets = number_targets(torch.tensor([value]), bins=256, sigma_bins=2.0)[0]
    assert targets.sum().item() == pytest.approx(1.0, abs=1e-5)
    bin_of_value = 768 - int(ActionTokenizer(768).encode(np.array([value]))[0])
    assert abs(int(targets.argmax()) + 1 - bin_of_value) <= 1


def test_soft_labels_by_hand():
    # A value in the middle of bin 128 of 256: the bin holds erf(0.5 / (2 sqrt 2)) of the mass.
    width = 2.0 / 255
    value = -1.0 + 127.5 * width
    targets = number_targets(torch.tensor([value]), 256, 2.0)[0]
    assert targets[127].item() == pytest.approx(0.19741, abs=1e-4)
    assert targets[126].item() == pytest.approx(targets[128].item(), abs=1e-4)


def test_number_loss_prefers_near_misses_and_ignores_the_unknown():
    tokens = ActionTokenizer(768)
    value = torch.tensor([[0.2, float("nan")]])
    right = int(tokens.encode(np.array([0.2]))[0])

    def loss(token_id):
        logits = torch.zeros(1, 2, 768)
        logits[0, 0, token_id] = 8.0
        return number_loss(logits, value, tokens, 2.0)

    assert loss(right)[0] < loss(right + 2)[0] < loss(right + 40)[0]
    assert loss(right)[1] == 0.0


def test_siglip_loss_falls_when_pairs_match():
    features = torch.eye(4)
    scale, bias = torch.tensor(2.0), torch.tensor(-3.0)
    matched = siglip_loss(features, features, scale, bias)
    assert matched < siglip_loss(features, features.roll(1, 0), scale, bias)


def test_augmentation_is_seeded_and_stays_in_range():
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = (augment_images(images, np.random.default_rng(1)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, augment_images(images, np.random.default_rng(2)))
    assert first.min() >= 0.0 and first.max() <= 1.0


def test_learning_rate_warms_up_and_decays():
    config = LoopConfig(steps=100, warmup_steps=10, learning_rate=1.0, final_rate_share=0.1)
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 10) == pytest.approx(1.0)
    assert learning_rate(config, 55) == pytest.approx(0.55)
    assert learning_rate(config, 100) == pytest.approx(0.1)


def make_learner(config, tokenizer, examples, seed=0) -> Learner:
    model = fresh_model(config, seed)
    use_plain_attention(model, CPU)
    statistics = ActionStatistics.from_norm_stats(config.norm_stats, None)
    maker = BatchMaker(config, tokenizer, statistics, CPU)
    heads = SeeingHeads(model, 3, len(tokenizer))
    return Learner(model, maker, tokenizer, heads, examples.patches.class_names)


def make_loop(learner, examples, folder, **settings) -> Loop:
    config = LoopConfig(**{"batch_size": 8, "warmup_steps": 5, "precision": "fp32", **settings})

    def loss(rng):
        rows = rng.integers(len(examples), size=config.batch_size)
        return learner.loss(examples, learner.maker.make(examples, rows, rng))

    return Loop(learner, loss, config, folder, CPU)


def test_batches_hold_the_numbers_as_tokens(tiny_config, tiny_tokenizer, tiny_examples):
    maker = make_learner(tiny_config, tiny_tokenizer, tiny_examples).maker
    batch = maker.make(tiny_examples, np.arange(4), np.random.default_rng(0), augment=False)
    assert batch.values.shape == (4, 9)
    for row in range(4):
        last = int(batch.last_prompt[row])
        ids = batch.input_ids[row, last + 1 : last + 9].numpy()
        values = batch.values[row, :8].numpy()
        assert np.abs(maker.action_tokenizer.decode(ids) - values).max() < 0.005


def test_learns_what_only_the_image_tells(tmp_path, tiny_config, tiny_tokenizer, tiny_examples):
    learner = make_learner(tiny_config, tiny_tokenizer, tiny_examples)
    loop = make_loop(learner, tiny_examples, tmp_path, steps=150, learning_rate=3e-3)
    reports = []
    loop.run(lambda step, figures: reports.append(figures))
    assert reports[-1]["loss"] < 0.6 * reports[0]["loss"]
    ours, constant = bin_errors(learner.eval(), tiny_examples, np.arange(32), np.zeros(9))
    assert ours[0] < 0.5 * constant[0]


def test_resumed_equals_uninterrupted(tmp_path, tiny_config, tiny_tokenizer, tiny_examples):
    def weights(learner):
        return torch.cat([value.detach().flatten() for value in learner.parameters()])

    whole = make_learner(tiny_config, tiny_tokenizer, tiny_examples)
    make_loop(whole, tiny_examples, tmp_path / "whole", steps=6).run(lambda *_: None)
    for until in (4, 6):
        part = make_learner(tiny_config, tiny_tokenizer, tiny_examples, seed=until)
        loop = make_loop(part, tiny_examples, tmp_path / "part", steps=6, seed=0)
        if until == 4:
            part.load_state_dict(
                make_learner(tiny_config, tiny_tokenizer, tiny_examples).state_dict()
            )
        assert loop.resume() == (until == 6)
        loop.run(lambda *_: None, until_step=until)
    assert torch.allclose(weights(whole), weights(part), atol=1e-6)


def test_resume_refuses_another_seed_or_model(tmp_path):
    def loop(width, seed):
        module = nn.Linear(width, 1)
        config = LoopConfig(steps=1, seed=seed, precision="fp32")
        return Loop(
            module, lambda rng: (module(torch.ones(width)).sum(), {}), config, tmp_path, CPU
        )

    loop(3, 0).run(lambda *_: None)
    with pytest.raises(TrainingError, match="begun with seed 0, not 1"):
        loop(3, 1).resume()
    with pytest.raises(TrainingError, match="holds another model"):
        loop(4, 0).resume()


def test_a_loss_that_is_not_finite_stops(tmp_path):
    module = nn.Linear(2, 1)
    loop = Loop(
        module,
        lambda rng: (module(torch.full((2,), float("nan"))).sum(), {}),
        LoopConfig(steps=3, precision="fp32"),
        tmp_path,
        CPU,
    )
    with pytest.raises(TrainingError, match="the loss is nan at step 0"):
        loop.run(lambda *_: None)


TRAIN_FOR_EVER = """
import sys
from pathlib import Path
import torch
from torch import nn
from policies.training.loop import Loop, LoopConfig
module = nn.Linear(400, 400)
config = LoopConfig(steps=10**9, save_every_steps=1, precision="fp32")
loss = lambda rng: (module(torch.ones(400)).sum(), {})
Loop(module, loss, config, Path(sys.argv[1]), torch.device("cpu")).run(lambda *_: None)
"""


@pytest.mark.slow
def test_kill_9_leaves_a_checkpoint_that_resumes(tmp_path):
    """Killed while it does nothing but save, six times at other moments."""
    rng = np.random.default_rng(0)
    reached = 0
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN_FOR_EVER, str(tmp_path)], cwd=Path(__file__).parents[2]
        )
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("last*/progress.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(rng.uniform(0.0, 0.3))
        process.kill()
        process.wait()
        module = nn.Linear(400, 400)
        loop = Loop(module, lambda rng: None, LoopConfig(precision="fp32"), tmp_path, CPU)
        assert loop.resume()
        assert loop.step >= 1
        reached = max(reached, loop.step)
    assert reached > 1
    progress = next(tmp_path.glob("last*/progress.json"))
    assert json.loads(progress.read_text())["step"] >= 1


@pytest.mark.slow
def test_pretrain_then_train_gives_a_policy(tmp_path, tiny_examples, monkeypatch):
    """The whole chain on toy data: pretraining, a dataset's examples, training, a policy."""
    from policies.training import pretrain as pretraining
    from policies.training.demonstrations import Demonstrations
    from policies.training.train import train

    settings = {"steps": 3, "batch_size": 4, "precision": "fp32", "warmup_steps": 1}
    grounded = np.concatenate([tiny_examples.grounding] * 2, axis=-1)
    large = np.repeat(np.repeat(tiny_examples.images, 4, axis=1), 4, axis=2)
    patches = tiny_examples.patches
    examples = pretraining.Examples(
        large,
        tiny_examples.states + np.random.default_rng(0).normal(0, 0.1, (32, 7)).astype(np.float32),
        tiny_examples.instructions,
        grounded,
        tiny_examples.actions,
        type(patches)(
            patches.item_classes,
            patches.item_positions,
            np.tile(patches.patch_items, (1, 16)),
            patches.target_items,
            patches.captions,
            patches.class_names,
        ),
    )
    seen = []
    pretraining.pretrain(
        examples, examples, tmp_path / "pre", LoopConfig(**settings), CPU,
        lambda *_: None, lambda step, result: seen.append(result),
    )  # fmt: skip
    assert len(seen[-1].model_bins) == len(seen[-1].names) == 11
    one = pretraining.Examples(
        large, examples.states, [row[:1] for row in examples.instructions],
        grounded[:, :1], examples.actions[:, :1],
    )  # fmt: skip
    demonstrations = Demonstrations(one, np.arange(0, 32, 8), 10.0)
    train(
        [demonstrations], tmp_path / "out", LoopConfig(**settings), CPU,
        lambda *_: None, lambda *_: None, initial=tmp_path / "pre", views=examples,
    )  # fmt: skip
    assert load_policy(str(tmp_path / "out")).config.rate_hz == 10.0


def test_later_actions_stop_at_disturbances_and_episode_ends():
    actions = np.arange(12, dtype=np.float32).reshape(6, 2)
    followed = np.array([True, True, False, True, True, True])
    later = later_actions(actions, followed, np.array([0, 4]), 4)  # episodes of 4 and 2 frames
    expected = {0: [1, 2], 1: [2], 2: [], 3: [], 4: [5], 5: []}
    for row, rows in expected.items():
        assert np.array_equal(later[row, : len(rows)], actions[rows])
        assert np.isnan(later[row, len(rows) :]).all()


def test_the_chunk_head_learns_and_its_checkpoint_acts(
    tmp_path, tiny_model, tiny_tokenizer, tiny_examples
):
    """Later actions are each the double of the first: the head must tell its steps apart."""
    first = tiny_examples.actions
    later = np.stack([first * 2, np.full_like(first, np.nan)], axis=2)  # (n, m, 2, 7)
    examples = replace(tiny_examples, later_actions=later, patches=None)
    model = add_chunk_head(tiny_model, 3, seed=0)
    with pytest.raises(CheckpointError, match="has a head for 3 actions already"):
        add_chunk_head(model, 2, seed=0)
    statistics = ActionStatistics.from_norm_stats(model.config.norm_stats, None)
    maker = BatchMaker(model.config, tiny_tokenizer, statistics, torch.device("cpu"))
    learner = Learner(model, maker, tiny_tokenizer)
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    for _ in range(80):
        total, _ = learner.loss(examples, maker.make(examples, rng.integers(32, size=16), rng))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    ours, constant = bin_errors(learner.eval(), examples, np.arange(32), np.zeros(maker.numbers))
    x_first, x_second = 2, 2 + 7  # two numbers are named before the actions
    assert ours[x_first] < 0.6 * constant[x_first]
    assert ours[x_second] < 0.6 * constant[x_second]
    assert ours[2 + 14] == constant[2 + 14] == 0.0  # never known

    save_checkpoint(tmp_path / "chunk", model, model.config, tiny_tokenizer)
    policy = OpenVLAPolicy(tmp_path / "chunk")
    image = np.repeat(np.repeat(examples.images[0], 2, axis=0), 2, axis=1)
    chunk = policy.predict_chunk(
        Observation(
            {"front": image}, np.zeros(7), 1.0, np.array([0.5, 0, 0.2]),
            np.array([0, 1.0, 0, 0]), examples.instructions[0][0], 5,
        )
    )  # fmt: skip
    assert chunk.actions.shape == (3, 7) and chunk.stamp_ns == 5
