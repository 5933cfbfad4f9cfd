"""`vla-ros collect` and `vla-ros evaluate` as they are typed."""

import json

import pytest

LIFT, PUSH = "VlaRos/Lift-v0", "VlaRos/Push-v0"


def test_collect_writes_a_mixed_dataset(vla_ros, tmp_path):
    folder = tmp_path / "dataset"
    options = ("--env", LIFT, "--env", PUSH, "--episodes", 2, "--output", folder)
    small = ("--cameras", "front", "--image-size", 64, "--workers", 1, "--seed", 3)
    code, out, _ = vla_ros("collect", *options, *small)
    assert code == 0
    assert "2 episodes" in out and "failed attempts left out" in out
    recorded = json.loads((folder / "meta/collection.json").read_text())["recorded"]
    assert [(row["env"], row["seed"]) for row in recorded] == [(LIFT, 3), (PUSH, 3)]
    code, _, errors = vla_ros("collect", *options, *small)
    assert code == 2
    assert "already exists; choose another or remove it" in " ".join(errors.split())


@pytest.mark.parametrize("command", ["collect", "evaluate"])
def test_an_unknown_environment_is_one_line_with_the_choices(vla_ros, command, tmp_path):
    rest = {"collect": ("--output", tmp_path / "d"), "evaluate": ("--policy", "expert")}[command]
    code, _, errors = vla_ros(command, "--env", "VlaRos/Fly-v0", "--episodes", 1, *rest)
    assert code == 2
    (line,) = errors.strip().splitlines()
    assert "expected some of VlaRos/Lift-v0, VlaRos/PickPlace-v0, VlaRos/Push-v0" in line
    assert "got VlaRos/Fly-v0" in line


def test_an_unknown_camera_is_one_line_with_the_choices(vla_ros, tmp_path):
    code, _, errors = vla_ros(
        "collect", "--env", LIFT, "--episodes", 1, "--output", tmp_path / "d", "--cameras", "top"
    )
    assert code == 2
    assert "cameras: expected some of front, wrist, each once, got top" in errors


def test_evaluate_writes_json(vla_ros, tmp_path):
    file = tmp_path / "result.json"
    code, out, _ = vla_ros(
        "evaluate", "--policy", "expert", "--env", LIFT, "--episodes", 2, "--seed", 1000,
        "--json", file, "--workers", 1,
    )  # fmt: skip
    assert code == 0
    result = json.loads(file.read_text())
    assert (result["success_rate"], result["episodes"], result["seed"]) == (1.0, 2, 1000)
    assert LIFT in out and "100.0%" in out


def test_an_unknown_policy_is_one_line(vla_ros, tmp_path):
    code, _, errors = vla_ros(
        "evaluate", "--policy", tmp_path / "nothing", "--env", LIFT, "--episodes", 1,
        "--json", tmp_path / "result.json", "--workers", 1,
    )  # fmt: skip
    assert code == 2
    (line,) = errors.strip().splitlines()
    assert "expected a checkpoint folder" in line and "also: expert, zero" in line
    assert not (tmp_path / "result.json").exists()


def test_where_the_result_goes_is_checked_before_the_work(vla_ros, tmp_path, monkeypatch):
    def fail(*_):
        raise AssertionError("an episode ran")

    monkeypatch.setattr("vla_ros.cli.evaluate.evaluate_all", fail)
    (tmp_path / "file").write_text("")
    options = ("evaluate", "--policy", "expert", "--env", LIFT, "--episodes", 1)
    for place, problem in (
        (tmp_path, "expected a file"),
        (tmp_path / "file" / "x.json", "cannot write"),
    ):
        code, _, errors = vla_ros(*options, "--json", place)
        assert code == 2
        assert problem in " ".join(errors.split()) and len(errors.strip().splitlines()) == 1


def test_training_on_a_device_that_is_not_there(vla_ros, tmp_path, monkeypatch):
    monkeypatch.setattr("vla_ros.cli.train.open_dataset", lambda *_: None)
    options = ("--dataset", tmp_path, "--output", tmp_path / "out", "--device", "nonsense")
    code, _, errors = vla_ros("train", *options)
    assert code == 2
    assert "device: 'nonsense' cannot be used here" in " ".join(errors.split())


def test_a_randomized_collection_records_its_draws(vla_ros, tmp_path):
    ranges = tmp_path / "lab.yaml"
    ranges.write_text("axes: {lighting: {brightness: [0.5, 0.6]}}")
    folder = tmp_path / "dataset"
    code, _, _ = vla_ros(
        "collect", "--env", LIFT, "--episodes", 1, "--output", folder, "--cameras", "front",
        "--image-size", 64, "--workers", 1, "--randomize", ranges,
    )  # fmt: skip
    assert code == 0
    (line,) = (folder / "meta/randomization.jsonl").read_text().splitlines()
    assert 0.5 <= json.loads(line)["randomization"]["lighting"]["brightness"] <= 0.6


@pytest.mark.parametrize("command", ["collect", "evaluate"])
def test_bad_ranges_are_one_line(vla_ros, command, tmp_path):
    ranges = tmp_path / "lab.yaml"
    ranges.write_text("axes: {lighting: {brightness: [0.6, 0.5]}}")
    rest = {
        "collect": ("--output", tmp_path / "d", "--randomize", ranges),
        "evaluate": ("--policy", "expert", "--variant", ranges),
    }[command]
    code, _, errors = vla_ros(command, "--env", LIFT, "--episodes", 1, *rest)
    assert code == 2
    (line,) = errors.strip().splitlines()
    assert f"{ranges}: lighting.brightness: low 0.6 is above high 0.5" in line
    assert not (tmp_path / "d").exists()
