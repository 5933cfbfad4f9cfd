"""Training: the loss falls, a resumed run is the same run, what was learned is used."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.training.features import DatasetError
from policies.training.loop import LoopConfig, TrainingError
from world_models.checkpoint import load_world_model
from world_models.conditioning import Outcome, OutcomeTargets
from world_models.config import KINDS, TINY
from world_models.dynamics import Decoding
from world_models.latent import normality
from world_models.metrics import psnr
from world_models.rollout import action_blocks, first_context, roll_out
from world_models.sampling import ClipSampler
from world_models.training import ContentsOf, TrainConfig, neighbor_rows, train_world_model
from world_models.words import InstructionError

CPU = torch.device("cpu")


def train(
    recordings, output, kind="masked", steps=20, initial=None, tokenizer_share=0.4, tokenizer=None,
    **loop,
):  # fmt: skip
    reports = []
    training, held_out = recordings.split(0.15)
    model = train_world_model(
        training,
        held_out,
        "front",
        output,
        LoopConfig(
            steps=steps, batch_size=16, learning_rate=2e-3, warmup_steps=5, report_every_steps=5,
            precision="fp32", **{"save_every_steps": 10, **loop},
        ),
        CPU,
        lambda step, figures: reports.append((step, figures)),
        TrainConfig(
            TINY.with_kind(kind), tokenizer_share=tokenizer_share, tokenizer_learning_rate=3e-3
        ),
        initial,
        tokenizer,
    )  # fmt: skip
    return model, reports


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_computes_what_was_trained(recordings, tmp_path, kind):
    """Up to the rounding of stored weights, to 8 bits of mantissa."""
    model, _ = train(recordings, tmp_path, kind, steps=6)
    loaded = load_world_model(tmp_path)
    assert loaded.config == model.config
    weights = loaded.state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=2**-8, atol=1e-30)


@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_on_from_a_model(recordings, tmp_path, kind):
    """Its tokenizer and scales stay; other data of the same robot are learned from."""
    before, _ = train(recordings, tmp_path / "before", kind, steps=10)
    others = recordings.part(8, 24)
    go_on = {"kind": kind, "steps": 6, "initial": before, "tokenizer_share": 0.0}
    after, _ = train(others, tmp_path / "after", **go_on)
    assert after.config == replace(before.config, validation_share=after.config.validation_share)
    old, new = before.state_dict(), after.state_dict()
    same = {name for name in old if torch.equal(old[name], new[name])}
    written = {name for name in old if name.startswith("tokenizer.")}
    assert written <= same if before.generative else not written <= same
    assert any(name.startswith("dynamics.") for name in set(old) - same)
    again, _ = train(others, tmp_path / "after", **go_on)  # it is finished, and stays
    for name, value in again.state_dict().items():
        assert torch.equal(value, new[name])
    with pytest.raises(TrainingError, match="initial weights"):
        train(others, tmp_path / "after", **{**go_on, "initial": after})


def test_going_on_with_other_data_than_a_model_knows_is_refused(recordings, tmp_path):
    model, _ = train(recordings, tmp_path / "before", steps=6)
    for change, error, reason in (
        ({"rate_hz": 5.0}, DatasetError, "rate_hz: expected 10.0, as the model to go on from has"),
        ({"robot": "ur5e"}, DatasetError, "robot: expected 'bar'"),
        ({"instructions": ("juggle",) * 24}, InstructionError, "juggle"),
    ):
        with pytest.raises(error, match=reason):
            train(replace(recordings, **change), tmp_path / "after", initial=model)


def test_new_dynamics_of_another_kind_learn_on_a_tokenizer_that_stays(recordings, tmp_path):
    masked, _ = train(recordings, tmp_path / "masked", steps=8)
    taken = masked.tokenizer
    go_on = {"kind": "flow", "steps": 4, "tokenizer_share": 0.0}
    flow, _ = train(recordings, tmp_path / "flow", **go_on, tokenizer=taken)
    for name, value in taken.state_dict().items():
        torch.testing.assert_close(flow.tokenizer.state_dict()[name], value, rtol=0, atol=0)
    assert flow.config.dynamics.kind == "flow"
    others, _ = train(recordings, tmp_path / "others", steps=4, seed=1)
    with pytest.raises(TrainingError, match="tokenizer weights"):
        train(recordings, tmp_path / "flow", **go_on, tokenizer=others.tokenizer)
    for refused in ({"kind": "latent"}, {"initial": masked}):
        with pytest.raises(ValueError, match="tokenizer: expected none"):
            train(recordings, tmp_path / "no", **{**go_on, **refused}, tokenizer=taken)


def test_a_tokenizer_that_would_never_learn_is_refused(recordings, tmp_path):
    with pytest.raises(ValueError, match="tokenizer_share: expected enough for a step"):
        train(recordings, tmp_path, tokenizer_share=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_the_same_run(recordings, tmp_path, kind):
    """Stopped in the tokenizer and in the dynamics, as after kill -9 at a checkpoint."""
    whole, _ = train(recordings, tmp_path / "whole", kind, steps=20, save_every_steps=3)

    class Killed(Exception):
        pass

    import world_models.training as module

    def killed_after(saves):
        class Dying(module.Loop):
            def save(self):
                super().save()
                nonlocal saves
                saves -= 1
                if saves == 0:
                    raise Killed

        return Dying

    original = module.Loop
    try:
        for saves in (2, 2, 3):
            module.Loop = killed_after(saves)
            with pytest.raises(Killed):
                train(recordings, tmp_path / "parts", kind, steps=20, save_every_steps=3)
    finally:
        module.Loop = original
    parts, _ = train(recordings, tmp_path / "parts", kind, steps=20, save_every_steps=3)
    for (name, one), other in zip(
        whole.state_dict().items(), parts.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)


def test_a_run_goes_on_with_the_same_sizes_only(recordings, tmp_path):
    train(recordings, tmp_path, "masked", steps=4)
    with pytest.raises(TrainingError, match="begun with world model"):
        train(recordings, tmp_path, "flow", steps=4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_what_actions_do(many_recordings, tmp_path, kind):
    """On episodes never trained on: pictures and the state, beside that nothing moves."""
    recordings = many_recordings
    model, reports = train(recordings, tmp_path, kind, steps=600, save_every_steps=40)
    checks = [figures["held_out_loss"] for _, figures in reports if "held_out_loss" in figures]
    assert checks[-1] < 0.9 * checks[0]
    _, held_out = recordings.split(0.15)
    episodes = list(range(held_out.episodes))
    context = first_context(held_out, episodes, 2)
    actions = action_blocks(held_out, episodes, 3, 2)
    rollout = roll_out(model, context, actions, Decoding(4), seed=0)
    rows = held_out.starts[:-1] + 4
    seen = rows < held_out.starts[1:]
    assert seen.any()
    error = np.abs(rollout.states[1][seen, 0] - held_out.states[rows[seen], 0])
    way = np.abs(context.states[seen, 0, 0] - held_out.states[rows[seen], 0])
    assert error.mean() < 0.4 * way.mean()
    if model.generative:
        made = psnr(held_out.images[rows[seen]], rollout.frames[1][seen])
        frozen = psnr(held_out.images[rows[seen]], context.images[seen, 0])
        assert made.mean() > frozen.mean() + 2


def test_the_second_step_of_a_roll_out_starts_from_an_imagined_frame(make_model, recordings):
    model = make_model("masked")
    sampler = ClipSampler(recordings, model.config)
    clip = sampler.draw(np.random.default_rng(0), 4, 3, ContentsOf(model, recordings), CPU)
    generator = torch.Generator().manual_seed(0)
    rolled = model.dynamics.with_imagined_context(clip, Decoding(2), generator)
    assert torch.equal(rolled.contents[:, :2], clip.contents[:, :2])
    assert not torch.equal(rolled.contents[:, 2], clip.contents[:, 2])
    assert torch.equal(rolled.contents[:, 3], clip.contents[:, 3])
    # The place to arrive at stays the same.
    torch.testing.assert_close(
        rolled.states[:, 2] + rolled.targets.state_change,
        clip.states[:, 2] + clip.targets.state_change,
        equal_nan=True,
    )
    loss, _ = model.dynamics.loss(rolled, "prefix", generator)
    assert torch.isfinite(loss)


def test_frames_that_were_seen_teach_their_encoder_in_roll_outs_too(make_model, recordings):
    model = make_model("latent")
    sampler = ClipSampler(recordings, model.config)
    clip = sampler.draw(np.random.default_rng(0), 4, 3, ContentsOf(model, recordings), CPU)
    generator = torch.Generator().manual_seed(0)
    rolled = model.dynamics.with_imagined_context(clip, Decoding(1), generator, frames=2)
    loss, _ = model.dynamics.loss(rolled, "prefix", generator)
    loss.backward()
    assert model.tokenizer.project.weight.grad.abs().sum() > 0


def content_loss(model, clip, mode):
    condition = model.dynamics.clip_condition(clip)
    generator = torch.Generator().manual_seed(1)
    return model.dynamics.content_loss(clip, condition, mode, generator)


@pytest.mark.parametrize("mode", ["prefix", "all", "causal"])
def test_what_was_never_seen_is_not_learned_from(make_model, recordings, mode):
    """The loss on contents is the same whatever stands in a frame that nobody recorded."""
    model = make_model("masked")
    sampler = ClipSampler(recordings, model.config)
    clip = sampler.draw(np.random.default_rng(0), 8, 2, ContentsOf(model, recordings), CPU)
    unseen = replace(clip, last_known=torch.zeros(8, dtype=torch.bool))
    filled = replace(
        unseen, contents=torch.cat([clip.contents[:, :-1], 1 - clip.contents[:, -1:] % 2], 1)
    )
    losses = [content_loss(model, each, mode)[0] for each in (unseen, filled)]
    torch.testing.assert_close(*losses)


def test_outcomes_are_learned_only_where_all_is_hidden(make_model, recordings):
    model = make_model("masked")
    sampler = ClipSampler(recordings, model.config)
    clip = sampler.draw(np.random.default_rng(0), 64, 1, ContentsOf(model, recordings), CPU)
    _, _, full, _ = content_loss(model, clip, "prefix")
    assert full[~clip.last_known].all()
    assert 0.3 < full[clip.last_known].float().mean() < 0.7
    for mode in ("all", "causal"):
        none = content_loss(model, clip, mode)[2]
        assert not none.any()


def test_unknown_outcomes_cost_nothing():
    nothing = torch.full((3,), float("nan"))
    targets = OutcomeTargets(nothing, nothing, nothing, nothing, nothing[:, None].expand(3, 14))
    outcome = Outcome(*(torch.ones(3) for _ in range(4)), torch.ones(3, 14))
    loss, _ = targets.loss(outcome, torch.ones(3, dtype=torch.bool))
    assert loss == 0


def test_the_regularizer_tells_normal_latents_from_collapsed_ones():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(256, 16, generator=generator)
    fair = normality(normal, generator)
    assert fair < normality(normal * 0.1, generator) / 5
    assert fair < normality(torch.ones(256, 16), generator) / 5
    assert fair < normality(normal * 4, generator) / 5


def test_neighbors_stay_in_their_episode(recordings):
    rows = neighbor_rows(recordings, 2)
    episode = recordings.episode_of_rows()
    assert (episode[rows] == episode).all()
    inside = np.arange(len(rows)) - 2 >= recordings.starts[episode]
    assert (rows[inside] == np.arange(len(rows))[inside] - 2).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"tokenizer_share": 1.0}, "tokenizer_share: expected a share"),
        ({"causal_share": 0.6, "all_hidden_share": 0.5}, "expected less than 1, got 1.1"),
        ({"motion_emphasis": -1.0}, "motion_emphasis: expected 0 or more"),
    ],
)
def test_impossible_settings_are_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        TrainConfig(TINY, **values)
