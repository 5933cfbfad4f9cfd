"""Evaluation: figures that are right for models whose faults are known."""

import numpy as np
import pytest
import torch

from world_models.dynamics import Decoding
from world_models.evaluation import EvaluationConfig, evaluate_world_model
from world_models.probe import fit_probe, named_classes
from world_models.rollout import action_blocks, first_context, roll_out
from world_models.timing import TimingConfig, compare_decodings

NAMES = ("bar",)


@pytest.mark.parametrize("kind", ["masked", "latent"])
def test_every_figure_is_there(make_model, recordings, kind):
    model = make_model(kind)
    training, held_out = recordings.split(0.25)
    config = EvaluationConfig(horizon=4, decoding=Decoding(2), class_names=NAMES)
    result = evaluate_world_model(
        model, training, held_out, config, distance=lambda real, made: np.full(len(real), 0.5)
    )
    assert result["episodes"] == 6
    lengths = np.diff(held_out.starts)
    for row in result["horizons"]:
        assert row["frames"] == int((lengths > 2 * row["frames_ahead"]).sum())
        assert row["tool_error_m"] > 0 and row["tool_error_m_shuffled_actions"] > 0
        assert ("psnr_db" in row) == (kind == "masked")
    assert result["outcome_steps"] == sum(min(4, -(-length // 2)) for length in lengths)
    assert 0 <= result["success"]["ece"] <= 1
    assert result["success"]["share_true"] == pytest.approx(
        held_out.success.sum() / result["outcome_steps"], abs=0.2
    )
    if kind == "masked":
        assert result["horizons"][0]["tower_distance"] == 0.5
        assert result["probe"]["classes"] == 1


def test_a_model_that_ignores_actions_loses_nothing_by_shuffling(make_model, recordings):
    model = make_model("masked")
    with torch.no_grad():
        model.dynamics.condition.actions[-1].weight.zero_()
    training, held_out = recordings.split(0.25)
    result = evaluate_world_model(model, training, held_out, EvaluationConfig(horizon=2))
    for row in result["horizons"]:
        assert row["psnr_db"] == row["psnr_db_shuffled_actions"]
        assert row["tool_error_m"] == pytest.approx(row["tool_error_m_shuffled_actions"])


def test_outcomes_that_nobody_knows_are_left_out(make_model, recordings):
    from dataclasses import replace

    unknown = np.where(recordings.success > 0, np.nan, recordings.success).astype(np.float32)
    training, held_out = replace(recordings, success=unknown, rewards=unknown).split(0.25)
    result = evaluate_world_model(make_model(), training, held_out, EvaluationConfig(horizon=2))
    assert result["success"]["auroc"] is None  # no success is left


def test_blocks_repeat_the_last_action_behind_the_end(recordings):
    blocks = action_blocks(recordings, [0, 1], 10, 2)
    assert blocks.shape == (2, 10, 2, 7)
    length = recordings.length(0)
    np.testing.assert_array_equal(blocks[0].reshape(-1, 7)[:length], recordings.actions[:length])
    assert (blocks[0].reshape(-1, 7)[length:] == recordings.actions[length - 1]).all()


def test_a_roll_out_is_the_same_every_time(make_model, recordings):
    model = make_model("flow")
    context = first_context(recordings, [0, 3], 2)
    actions = action_blocks(recordings, [0, 3], 3, 2)
    first, second = (roll_out(model, context, actions, Decoding(2), seed=4) for _ in range(2))
    np.testing.assert_array_equal(np.stack(first.frames), np.stack(second.frames))
    assert len(first.success) == 3 and first.success[0].shape == (2,)


@pytest.mark.parametrize(("kind", "count"), [("masked", 6), ("flow", 4), ("latent", 1)])
def test_decodings_are_compared_with_a_clock_of_ones_own(make_model, recordings, kind, count):
    ticks = iter(np.arange(0, 100, 0.25))
    _, held_out = recordings.split(0.25)
    rows = compare_decodings(
        make_model(kind),
        held_out,
        TimingConfig(batch_sizes=(1, 2), repeats=2, quality_episodes=2, quality_horizon=2),
        clock=lambda: float(next(ticks)),
    )
    assert len(rows) == count
    for row in rows:
        assert row["batch_1_p50_ms"] == row["batch_2_p95_ms"] == 250.0
        assert ("psnr_db" in row) == ("ssim" in row) == (kind != "latent")
        assert row.get("batch_2_speedup") == (1.0 if kind == "masked" else None)


def test_the_probe_finds_what_tokens_say():
    """Positions that are a linear function of one-hot digits; another class, another function."""
    rng = np.random.default_rng(0)
    digits = torch.from_numpy(rng.integers(0, 5, (400, 4, 2)))
    classes = np.arange(400) % 2
    table = rng.normal(size=(2, 4, 2, 5, 3))
    positions = np.zeros((400, 3))
    for row in range(400):
        for place in range(4):
            for digit in range(2):
                positions[row] += table[classes[row], place, digit, digits[row, place, digit]]
    probe = fit_probe(digits[:300], positions[:300], classes[:300], (5, 5))
    errors = np.linalg.norm(probe.positions(digits[300:], classes[300:]) - positions[300:], axis=1)
    spread = np.linalg.norm(positions[300:] - positions[:300].mean(0), axis=1)
    assert errors.mean() < 0.4 * spread.mean()
    assert np.isnan(probe.positions(digits[:2], np.array([7, -1]))).all()


def test_the_first_class_named_is_the_one_meant():
    names = ("red cube", "blue bowl")
    texts = ["put the red cube into the blue bowl", "wipe", "to the blue bowl with the red cube"]
    assert named_classes(texts, names).tolist() == [0, -1, 1]
