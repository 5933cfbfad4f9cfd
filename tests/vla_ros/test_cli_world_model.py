"""`vla-ros world-model` as it is typed: train, evaluate, imagine; and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

TINY = ("--preset", "tiny", "--steps", 8, "--batch-size", 4, "--save-every", 4)


@pytest.fixture(scope="module")
def dataset(toy_dataset) -> Path:
    return toy_dataset


def train(dataset, output, *rest):
    return ("world-model", "train", "--dataset", dataset, "--output", output, *TINY, *rest)


def test_train_evaluate_imagine(vla_ros, dataset, tmp_path):
    model, result, film = tmp_path / "model", tmp_path / "result.json", tmp_path / "film.mp4"
    code, out, errors = vla_ros(*train(dataset, model))
    assert code == 0, errors
    assert "6 episodes, 30 frames; 3 succeeded, 3 failed" in errors
    assert f"wrote {model}" in out
    steps = [json.loads(line)["step"] for line in (model / "metrics.jsonl").open()]
    assert max(steps) == 8

    where = ("--model", model, "--dataset", dataset)
    plot = tmp_path / "result.png"
    words = ("--held-out", 0.5, "--horizon", 2, "--json", result, "--plot", plot)
    words += ("--episodes", 2)
    code, out, errors = vla_ros("world-model", "evaluate", *where, *words)
    assert code == 0, errors
    found = json.loads(result.read_text())
    assert found["episodes"] == 2  # of 3 held out
    assert plot.read_bytes().startswith(b"\x89PNG") and f"wrote {plot}" in out
    assert sum(row["count"] for row in found["success"]["reliability"]) == found["outcome_steps"]
    assert [row["frames_ahead"] for row in found["horizons"]] == [1, 2]
    for name in ("psnr_db", "ssim", "tower_distance", "psnr_db_shuffled_actions"):
        assert np.isfinite(found["horizons"][0][name])
    assert 0 <= found["success"]["ece"] <= 1 and 0 <= found["reward"]["ece"] <= 1
    ways = {(row["mode"], row["steps"]) for row in found["decodings"]}
    assert {("parallel", 1), ("parallel", 16), ("autoregressive", 16)} <= ways
    assert all(row["batch_1_p95_ms"] >= row["batch_1_p50_ms"] > 0 for row in found["decodings"])
    assert "success: ECE" in out

    code, out, errors = vla_ros("world-model", "imagine", *where, "--output", film)
    assert code == 0, errors
    assert "4 frames at 5 Hz" in out
    assert film.stat().st_size > 1000


def test_a_run_that_was_finished_is_not_begun_again(vla_ros, dataset, tmp_path):
    assert vla_ros(*train(dataset, tmp_path))[0] == 0
    weights = (tmp_path / "model.safetensors").read_bytes()
    assert vla_ros(*train(dataset, tmp_path))[0] == 0
    assert (tmp_path / "model.safetensors").read_bytes() == weights


def test_training_goes_on_from_a_model(vla_ros, dataset, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    assert vla_ros(*train(dataset, before))[0] == 0
    rest = ("--steps", 4, "--batch-size", 4, "--save-every", 4)
    where = ("world-model", "train", "--dataset", dataset, "--output", after, "--initial", before)
    code, out, errors = vla_ros(*where, *rest)
    assert code == 0, errors
    assert (after / "model.safetensors").is_file()
    assert not (after / "tokenizer").exists()
    code, _, errors = vla_ros(*where, "--preset", "tiny")
    assert code == 2 and "preset: " in errors and "has its own" in " ".join(errors.split())
    code, _, errors = vla_ros(*where[:-1], dataset)
    assert code == 2 and "config.json" in "".join(errors.split())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--preset", "huge"), "preset: expected one of tiny, two-core"),
        (("--kind", "magic"), "kind: expected one of masked, flow, latent"),
        (("--camera", "wrist", "--kind", "flow", "--seed", 1), ""),
        (("--tokenizer-share", "2"), "tokenizer_share: expected a share"),
        (("--tokenizer-share", "0"), "tokenizer_share: expected enough for a step"),
        (("--views", "600", "--kind", "latent"), "views: the kind latent has no tokenizer"),
        (("--views", "600", "--tokenizer-share", "0"), "views: only a tokenizer that learns"),
        (("--views", "600", "--camera", "wrist"), "views: they are of the camera 'front', not"),
        (("--tokenizer", "world-mini", "--kind", "latent"), "tokenizer: the kind latent has none"),
        (("--tokenizer", "world-maxi"), "world-maxi"),
    ],
)
def test_what_cannot_be_trained_is_refused(vla_ros, dataset, tmp_path, words, reason):
    code, _, errors = vla_ros(*train(dataset, tmp_path, *words))
    if reason:
        assert code == 2 and reason in " ".join(errors.split())
    else:  # the only camera is taken, whatever the policy calls it
        assert code == 0, errors


def test_what_cannot_be_measured_is_refused(vla_ros, dataset, tmp_path):
    where = ("--model", tmp_path, "--dataset", dataset)
    code, _, errors = vla_ros("world-model", "evaluate", *where)
    assert code == 2 and "expected a world model's folder" in " ".join(errors.split())
    code, _, errors = vla_ros("world-model", "evaluate", *where, "--json", tmp_path)
    assert code == 2 and "json: expected a file" in errors
    code, _, errors = vla_ros("world-model", "evaluate", *where, "--plot", tmp_path / "a.pdf")
    assert code == 2 and "expected a file ending in .png" in errors
    code, _, errors = vla_ros("world-model", "imagine", *where, "--output", tmp_path / "film.gif")
    assert code == 2 and "expected a file ending in .mp4" in errors


def test_episodes_that_are_not_there_are_refused(vla_ros, dataset, tmp_path):
    assert vla_ros(*train(dataset, tmp_path / "model", "--kind", "latent"))[0] == 0
    where = ("--model", tmp_path / "model", "--dataset", dataset, "--output", tmp_path / "f.mp4")
    code, _, errors = vla_ros("world-model", "imagine", *where)
    assert code == 2 and "imagines no pictures" in " ".join(errors.split())
    assert vla_ros(*train(dataset, tmp_path / "masked"))[0] == 0
    where = ("--model", tmp_path / "masked", *where[2:], "--episode", 7)
    code, _, errors = vla_ros("world-model", "imagine", *where)
    assert code == 2 and "episode: expected 0 to 0, got 7" in errors
    assert not (tmp_path / "f.mp4").exists()
