"""`vla-ros world-model play` as it is typed, without a terminal; and what it refuses."""

import json

import pytest


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text("w 2\nspace\n[ 1\nr\n. 1\n")
    return path


def play(model, *rest):
    return ("world-model", "play", "--model", model, *rest)


def test_a_script_from_a_recorded_start(vla_ros, tiny_world_model, toy_dataset, script, tmp_path):
    film, result = tmp_path / "film.mp4", tmp_path / "played.json"
    words = ("--dataset", toy_dataset, "--script", script, "--record", film, "--json", result)
    code, out, errors = vla_ros(*play(tiny_world_model(), *words))
    assert code == 0, errors
    assert "5 frames imagined" in out and f"wrote {film}" in out
    assert film.stat().st_size > 1000 and not list(tmp_path.glob(".film*"))
    figures = json.loads(result.read_text())
    assert figures["frames"] == 5 and figures["resets"] == 1 and figures["frames_per_s"] > 0
    assert 0 <= figures["success_probability_last"] <= figures["success_probability_max"] <= 1


def test_a_script_from_a_reset_of_the_simulator(vla_ros, tiny_world_model, script):
    words = ("--env", "VlaRos/Lift-v0", "--script", script, "--frames", 2)
    code, out, errors = vla_ros(*play(tiny_world_model(), *words))
    assert code == 0, errors
    assert "2 frames imagined" in out


def test_without_a_terminal_it_says_what_to_do(vla_ros, tiny_world_model):
    code, _, errors = vla_ros(*play(tiny_world_model()))
    assert code == 2 and "expected a terminal to read keys from" in " ".join(errors.split())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--env", "VlaRos/Nothing-v0"), "env: expected one of VlaRos/Lift-v0"),
        (("--env", "VlaRos/Lift-v0", "--dataset", "there"), "either --dataset or --env"),
        (("--dataset", "there"), "expected a LeRobotDataset"),
        (("--record", "film.gif"), "expected a file ending in .mp4"),
        (("--instruction", "fold the shirt"), "unknown to this world model: fold, shirt"),
        (("--episode", 3), "for starts from a dataset"),
        (("--speed", 9), "speed: expected above 0"),
        (("--joy",), "either --script or --joy"),
    ],
)
def test_what_makes_no_sense_is_refused(vla_ros, tiny_world_model, script, words, reason):
    code, _, errors = vla_ros(*play(tiny_world_model(), "--script", script, *words))
    assert code == 2 and reason in " ".join(errors.split())


def test_models_that_cannot_be_played_are_refused(vla_ros, tiny_world_model, toy_dataset, script):
    from dataclasses import replace

    from world_models.config import TINY

    words = ("--script", script)
    code, _, errors = vla_ros(*play(tiny_world_model(robot="ur5e"), *words))
    assert code == 2 and "robot: expected fr3, got ur5e" in " ".join(errors.split())
    other = tiny_world_model(rate_hz=20.0)
    code, _, errors = vla_ros(*play(other, *words, "--dataset", toy_dataset))
    assert code == 2 and "expected the rate 20.0" in " ".join(errors.split())
    latent = tiny_world_model(dynamics=replace(TINY.dynamics, kind="latent"))
    code, _, errors = vla_ros(*play(latent, *words, "--dataset", toy_dataset))
    assert code == 2 and "imagines no pictures" in " ".join(errors.split())
