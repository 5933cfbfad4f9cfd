"""The verbs, of every kind of model, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from policies.interface import ActionError, Observation, ObservationError
from world_models.config import GPU, KINDS, TWO_CORE, Scales, WorldModelConfig
from world_models.dynamics import Decoding
from world_models.interface import Context, NotGenerativeError, NothingImaginedError, WorldModel
from world_models.model import ImaginationModel
from world_models.state import context_of
from world_models.words import InstructionError

ROWS, STRIDE = 3, 2


def some_context(frames: int = 2, size_px: int = 16, rows: int = ROWS) -> Context:
    rng = np.random.default_rng(frames)
    return Context(
        images=rng.integers(0, 255, (rows, frames, size_px, size_px, 3)).astype(np.uint8),
        states=rng.normal(size=(rows, frames, 14)),
        actions=rng.normal(size=(rows, frames - 1, STRIDE, 7)) * 0.1,
        instructions=("move the bar right",) * rows,
    )


def some_actions(seed: int = 0, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, STRIDE, 7)) * 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_have_the_verbs(make_model, kind):
    model = make_model(kind)
    assert isinstance(model, WorldModel)
    latent = model.next(model.encode(some_context()), some_actions())
    assert len(latent) == ROWS
    for verb in (model.reward, model.success, model.steps_to_goal, model.value):
        assert verb(latent).shape == (ROWS,)
        assert np.isfinite(verb(latent)).all()
    assert ((model.success(latent) > 0) & (model.success(latent) < 1)).all()
    assert (model.steps_to_goal(latent) >= 0).all()
    assert model.state(latent).shape == (ROWS, 14)
    if model.generative:
        assert model.decode(latent).shape == (ROWS, 16, 16, 3)
    else:
        with pytest.raises(NotGenerativeError, match="has no pictures"):
            model.decode(latent)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cache_of_past_frames_changes_nothing(make_model, kind):
    """Imagined step by step with the cache: as computed over the whole past at once."""
    model = make_model(kind)
    latent = model.encode(some_context())
    contents, conditions = [], []
    # The whole past: what was encoded, and every imagined frame with its condition.
    context = some_context()
    images = torch.from_numpy(context.images).flatten(0, 1).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        written = model.write_down(images.float()).unflatten(0, (ROWS, 2))
        states = model.scale_states(torch.from_numpy(context.states).float())
        led = torch.zeros(ROWS, 2, STRIDE, 7)
        led[:, 1:] = torch.from_numpy(context.actions).float()
        executed = torch.zeros(ROWS, 2, STRIDE, dtype=torch.bool)
        executed[:, 1:] = True
        condition = model.dynamics.condition(
            model.scale_actions(led), executed, states[:, [0, 0]], latent.text
        )
    contents, conditions = [written], [condition]
    for step in range(6):  # twice the context
        after = model.next(latent, some_actions(step), Decoding(2))
        with torch.inference_mode():
            generator = torch.Generator().manual_seed(0)
            ahead = model.dynamics.look_ahead(
                None,
                (torch.cat(contents, 1), torch.cat(conditions, 1)),
                after.pending,
                generator,
            )
            uncached = model.dynamics.imagine(ahead, Decoding(2), generator)
            success = model.dynamics.read_outcome(ahead).success
        if kind == "masked":
            assert torch.equal(after.contents, uncached)
        else:
            torch.testing.assert_close(after.contents, uncached, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(success, after.outcome.success, rtol=1e-4, atol=1e-4)
        contents.append(after.contents[:, None])
        conditions.append(after.pending)
        latent = after


@pytest.mark.parametrize("kind", KINDS)
def test_futures_branch_off_without_touching_each_other(make_model, kind):
    model = make_model(kind)
    latent = model.next(model.encode(some_context()), some_actions())
    alone = model.next(latent, some_actions(5))
    many = latent.repeat(4)
    actions = np.repeat(some_actions(5), 4, axis=0)
    actions[1::4] += 0.5
    together = model.next(many, actions)
    assert len(together) == 4 * ROWS
    np.testing.assert_allclose(model.value(together)[0::4], model.value(alone), atol=1e-4)
    np.testing.assert_allclose(
        model.value(model.next(latent, some_actions(5))), model.value(alone), atol=1e-6
    )
    assert np.abs(model.value(together)[1::4] - model.value(alone)).max() > 1e-5


@pytest.mark.parametrize("decoding", [Decoding(1), Decoding(4), Decoding(1, "autoregressive")])
def test_masked_frames_are_whole_whatever_the_decoding(make_model, decoding):
    model = make_model("masked")
    latent = model.next(model.encode(some_context()), some_actions(), decoding)
    assert latent.contents.shape == (ROWS, 16, 2)
    assert (latent.contents < model.dynamics.levels).all()


def test_one_parallel_pass_takes_the_likeliest_of_the_first_pass(make_model):
    model = make_model("masked")
    latent = model.encode(some_context())
    after = model.next(latent, some_actions(), Decoding(1))
    with torch.inference_mode():
        ahead = model.dynamics.look_ahead(latent.cache, None, after.pending, None)
        expected = [part.argmax(-1) for part in model.dynamics.digit_logits(ahead.features)]
    assert torch.equal(after.contents, torch.stack(expected, -1))


def test_drawing_follows_the_generator(make_model):
    model = make_model("masked")
    latent = model.encode(some_context())

    def draw(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        drawing = Decoding(4, temperature=1.0)
        return model.next(latent, some_actions(), drawing, generator).contents

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_order_of_words_matters(make_model):
    model = make_model()
    context = some_context(rows=1)
    swapped = replace(context, instructions=("right the bar move",))
    first, second = model.encode(context), model.encode(swapped)
    assert (first.text - second.text).abs().max() > 1e-4


def test_what_was_only_seen_has_no_outcome(make_model):
    model = make_model()
    with pytest.raises(NothingImaginedError, match="expected a latent that `next` returned"):
        model.success(model.encode(some_context()))


def test_bad_actions_are_refused(make_model):
    model = make_model()
    latent = model.encode(some_context())
    actions = some_actions()
    actions[1, 0, 3] = np.nan
    with pytest.raises(ActionError, match="got nan for 'roll' in row 1, step 0"):
        model.next(latent, actions)
    with pytest.raises(ActionError, match=r"expected shape \(3, 2, 7\), got \(3, 1, 7\)"):
        model.next(latent, some_actions()[:, :1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"states": np.zeros((ROWS, 2, 8))}, "states: expected 14 numbers, got 8"),
        ({"states": np.full((ROWS, 2, 14), np.inf)}, "states: expected finite numbers"),
        ({"instructions": ("move the bar right",)}, "instructions: expected 3"),
        ({"images": np.zeros((ROWS, 2, 16, 16, 3))}, "images: expected uint8"),
    ],
)
def test_bad_observations_are_refused(make_model, change, reason):
    with pytest.raises(ObservationError, match=reason):
        make_model().encode(replace(some_context(), **change))


def test_frames_of_another_size_are_refused(make_model):
    with pytest.raises(ObservationError, match=r"expected frames of \(16, 16, 3\)"):
        make_model().encode(some_context(size_px=32))


def test_unknown_words_are_named(make_model):
    context = replace(some_context(), instructions=("juggle the bar",) * ROWS)
    with pytest.raises(InstructionError, match="unknown to this world model: juggle"):
        make_model().encode(context)


def test_a_flow_has_no_order_of_tokens(make_model):
    model = make_model("flow")
    with pytest.raises(ValueError, match="expected parallel"):
        model.next(model.encode(some_context()), some_actions(), Decoding(1, "autoregressive"))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"steps": 0}, "steps: expected a whole number above 0"),
        ({"mode": "sideways"}, "mode: expected parallel or autoregressive"),
        ({"temperature": -1.0}, "temperature: expected 0 or more"),
    ],
)
def test_impossible_decodings_are_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        Decoding(**values)


def test_a_context_from_observations(make_model):
    rng = np.random.default_rng(0)
    observation = Observation(
        images={"front": rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)},
        joint_positions=np.zeros(7),
        gripper_opening=1.0,
        ee_position=np.array([0.5, 0.0, 0.2]),
        ee_quaternion=np.array([0.0, 1.0, 0.0, 0.0]),
        instruction="move the bar right",
        stamp_ns=0,
    )
    context = context_of([observation] * 2, [np.zeros((STRIDE, 7))], "front", 16)
    assert len(make_model().encode(context)) == 1
    np.testing.assert_allclose(context.states[0, 0, :7], [0.5, 0, 0.2, 0, 0, 0, 1], atol=1e-6)
    with pytest.raises(ObservationError, match="camera 'wrist' is missing"):
        context_of([observation], [], "wrist", 16)
    six = replace(observation, joint_positions=np.zeros(6))
    with pytest.raises(ObservationError, match="expected 7 numbers of the tool and 7 joints"):
        context_of([six], [], "front", 16)


def published(preset) -> WorldModelConfig:
    scales = Scales((0.0,) * 7, (1.0,) * 7, (0.0,) * 14, (1.0,) * 14)
    words = tuple(f"word{index}" for index in range(60))
    return WorldModelConfig(preset.tokenizer, preset.dynamics, scales, words, "front", 10.0, "fr3")


def test_the_gpu_sizes_are_the_same_code():
    with torch.device("meta"):
        model = ImaginationModel(published(GPU))
    assert len(model.dynamics.transformer.blocks) == 24
    assert model.dynamics.places == 16 * 16
    assert sum(value.numel() for value in model.parameters()) > 400e6


def test_the_two_core_checkpoint_fits_20_mb():
    with torch.device("meta"):
        models = [ImaginationModel(published(TWO_CORE.with_kind(kind))) for kind in KINDS]
    for model in models:
        assert sum(value.numel() for value in model.parameters()) * 2 < 20e6  # stored as bf16
