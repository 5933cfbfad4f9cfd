"""What is unusual for a model that has learned a toy world."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from world_models.dynamics import Decoding
from world_models.novelty import NoveltyError, Usual, doubt_signal, learn_usual, start_signals
from world_models.rollout import first_context


def test_the_score_is_that_of_the_most_unusual_signal():
    usual = Usual({"a": (1.0, 0.5), "b": (10.0, 2.0)}, threshold=2.5, share=0.05, episodes=40)
    assert usual.score({"a": 2.0, "b": 11.0}) == pytest.approx(2.0)
    assert usual.score({"a": 0.0, "b": 16.0}) == pytest.approx(3.0)
    assert usual.unusual({"a": 0.0, "b": 16.0}) and not usual.unusual({"a": 2.0, "b": 11.0})
    assert json.loads(json.dumps(usual.to_dict()))["signals"]["a"] == [1.0, 0.5]


@pytest.mark.parametrize(("kind", "signals"), [
    ("masked", {"reconstruction", "surprise", "doubt"}), ("flow", {"reconstruction"}),
])  # fmt: skip
def test_the_threshold_lets_the_chosen_share_through(make_model, recordings, kind, signals):
    """24 episodes and a fifth: the 20th of the 24 scores (25 * 0.8), so 4 are not below it."""
    model = make_model(kind)
    usual = learn_usual(model, recordings, 0.2, Decoding(1))
    assert set(usual.signals) == signals and usual.episodes == 24
    if kind == "flow":
        context = first_context(recordings, list(range(24)), 2)
        values = start_signals(model, context)["reconstruction"]
        scores = sorted(usual.score({"reconstruction": value}) for value in values)
        assert usual.threshold == pytest.approx(scores[19])
        mean, std = usual.signals["reconstruction"]
        assert (mean, std) == (pytest.approx(values.mean()), pytest.approx(values.std(ddof=1)))


def test_too_few_episodes_tell_nothing(make_model, recordings):
    with pytest.raises(NoveltyError, match="at least 19 held-out episodes .* 5% .* got 18"):
        learn_usual(make_model(), recordings.part(0, 18), 0.05, Decoding(1))
    assert learn_usual(make_model(), recordings.part(0, 19), 0.05, Decoding(1)).threshold > 0
    with pytest.raises(NoveltyError, match="share: expected a number between 0 and 1, got 0"):
        learn_usual(make_model(), recordings, 0.0, Decoding(1))


def test_doubt_is_that_of_the_first_frames():
    assert doubt_signal([1.0] * 10 + [50.0] * 20) == {"doubt": 1.0}
    assert doubt_signal([2.0, 4.0]) == {"doubt": 3.0}
    assert doubt_signal([]) == {}


@pytest.mark.slow
def test_a_trained_model_finds_another_world_unusual(many_recordings, tmp_path):
    """The same bar in other colors, and lying in the picture instead of standing."""
    from policies.training.loop import LoopConfig
    from world_models.config import TINY
    from world_models.training import TrainConfig, train_world_model

    training, held_out = many_recordings.split(0.4)
    loop = LoopConfig(
        steps=300, batch_size=16, learning_rate=2e-3, warmup_steps=20, save_every_steps=300,
        seed=0, precision="fp32",
    )  # fmt: skip
    config = TrainConfig(TINY, tokenizer_share=0.4, tokenizer_learning_rate=3e-3)
    cpu = torch.device("cpu")
    model = train_world_model(
        training, held_out, "front", tmp_path, loop, cpu, lambda *_: None, config
    ).eval()
    usual = learn_usual(model, held_out, 0.1, Decoding(1))

    def share(images):
        context = first_context(replace(held_out, images=images), list(range(24)), 2)
        starts = start_signals(model, context)
        rows = [{name: values[row] for name, values in starts.items()} for row in range(24)]
        mean = usual.signals["doubt"][0]
        return np.mean([usual.unusual({**row, "doubt": mean}) for row in rows])

    assert share(held_out.images) <= 0.2
    assert share(255 - held_out.images) >= 0.9
    assert share(held_out.images.swapaxes(1, 2).copy()) >= 0.9
