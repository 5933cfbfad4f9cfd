"""`vla-ros scene check`, and scene files given to `evaluate` and `collect`, as they are typed."""

import json
from pathlib import Path

import pytest

SCENE = Path(__file__).parents[2] / "config/scenes/left_of_bowl.yaml"


def test_check_prints_what_was_understood_and_draws_it(vla_ros, tmp_path):
    picture = tmp_path / "scene.png"
    code, out, _ = vla_ros("scene", "check", SCENE, "--seed", 2, "--draws", 3, "--picture", picture)
    assert code == 0
    assert "x_m: [0.37, 0.6]" in out  # a default, filled in
    assert "the red cube" in out and "goal of red cube" in out
    assert "3 of 3 seeds draw a layout that fits" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("color: red", "color: pink"), "objects[1].color: expected one of red, green"),
        (("kind: bowl", "kind: bowl, y_cm: 3"), "objects[0]: unknown field"),
        (("x_m: [0.42, 0.54], y_m: [-0.12, 0.02]", "x_m: 0.95, y_m: 0.4"), "is out of reach: at x"),
    ],
)
def test_what_is_wrong_is_one_line(vla_ros, tmp_path, change, message):
    file = tmp_path / "wrong.yaml"
    file.write_text(SCENE.read_text().replace(*change))
    code, _, errors = vla_ros("scene", "check", file)
    assert code == 2
    (line,) = errors.strip().splitlines()
    assert line.startswith(f"error: {file}: ") and message in line


def test_a_picture_that_cannot_be_written_is_said_first(vla_ros, tmp_path):
    code, _, errors = vla_ros("scene", "check", SCENE, "--picture", tmp_path)
    assert code == 2 and "picture: expected a .png file" in errors
    (tmp_path / "folder.png").mkdir()
    code, _, errors = vla_ros("scene", "check", SCENE, "--picture", tmp_path / "folder.png")
    assert code == 2 and "picture: expected a file" in errors


def test_evaluate_takes_a_scene_file(vla_ros, tmp_path):
    file = tmp_path / "result.json"
    code, out, _ = vla_ros(
        "evaluate", "--policy", "expert", "--env", SCENE, "--episodes", 2, "--seed", 0,
        "--variant", "table", "--json", file, "--workers", 1,
    )  # fmt: skip
    assert code == 0
    result = json.loads(file.read_text())
    assert result["env"] == str(SCENE) and result["episodes"] == 2
    assert result["scenes"][str(SCENE)]["objects"][0]["kind"] == ["bowl"]


def test_collect_takes_a_scene_file(vla_ros, tmp_path):
    folder = tmp_path / "dataset"
    code, _, _ = vla_ros(
        "collect", "--env", SCENE, "--episodes", 1, "--output", folder, "--cameras", "front",
        "--image-size", 64, "--workers", 1, "--perturb", 0,
    )  # fmt: skip
    assert code == 0
    collection = json.loads((folder / "meta/collection.json").read_text())
    assert [row["env"] for row in collection["recorded"]] == [str(SCENE)]
    assert collection["scenes"][str(SCENE)]["success"][0]["left_of"]["aside_m"] == 0.04


@pytest.mark.parametrize("command", ["collect", "evaluate"])
def test_a_wrong_scene_file_is_one_line(vla_ros, command, tmp_path):
    rest = {"collect": ("--output", tmp_path / "d"), "evaluate": ("--policy", "expert")}[command]
    (tmp_path / "wrong.yaml").write_text("instruction: do it\nobjects: 3")
    code, _, errors = vla_ros(
        command, "--env", tmp_path / "wrong.yaml", "--episodes", 1, "--workers", 1, *rest
    )
    assert code == 2
    (line,) = errors.strip().splitlines()
    assert "wrong.yaml: objects: expected a list of 1 to 40, got 3" in line
    assert not (tmp_path / "d").exists()


def test_no_expert_is_one_line(vla_ros, tmp_path):
    file = tmp_path / "near.yaml"
    text = SCENE.read_text()
    goal = "  - near: {item: red cube, other: blue bowl, distance_m: 0.1}\n"
    file.write_text(text[: text.index("success:")] + "success:\n" + goal)
    code, out, _ = vla_ros("scene", "check", file, "--draws", 2)
    assert code == 0 and "success[0].near: this predicate has no expert" in out
    code, _, errors = vla_ros(
        "evaluate", "--policy", "expert", "--env", file, "--episodes", 1, "--workers", 1
    )
    assert code == 2
    assert "error: success[0].near: this predicate has no expert" in errors
