"""`vla-ros evaluate --world`: another environment through its file."""

import json

import pytest

MODULE = """
import gymnasium
import numpy as np


class Point(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict({})
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array([0.3, 0.0, 0.2, 1.0])
        return {"state": self.state}, {}

    def step(self, action):
        self.state = np.append(self.state[:3] + 0.05 * action[:3], action[3])
        return {"state": self.state}, 0.0, False, False, {"success": self.state[3] < 0.5}

    def render(self):
        return np.zeros((32, 32, 3), np.uint8)


gymnasium.register("Test/Point-v0", entry_point=Point)
"""
WORLD = """
env: Test/Point-v0
module: a_point_world
install: pip install a-point-world
rate_hz: 10
max_steps: 6
cameras: {front: {}}
tool: {position: "state[0:3]"}
gripper: {path: "state[3]", closed: 0.0, open: 1.0}
action: {entries: [x, y, z, gripper], metres_per_unit: 0.05}
instruction: {text: lift the red cube}
success: {info: success}
"""


@pytest.fixture
def world(tmp_path, monkeypatch):
    (tmp_path / "a_point_world.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "world.yaml"
    path.write_text(WORLD)
    return path


def one_line(errors):
    return " ".join(errors.split())


def test_a_policy_is_measured_and_written_down(vla_ros, world, tmp_path):
    file = tmp_path / "result.json"
    code, out, errors = vla_ros(
        "evaluate", "--policy", "zero", "--world", world, "--episodes", 3, "--seed", 7,
        "--workers", 1, "--json", file,
    )  # fmt: skip
    assert code == 0, errors
    result = json.loads(file.read_text())
    assert result["env"] == "Test/Point-v0" and result["world"] == str(world)
    assert result["success_rate"] == 1.0  # doing nothing closes the gripper
    assert [row["seed"] for row in result["rows"]] == [7, 8, 9]
    assert result["made_with"]["command"].startswith("vla-ros evaluate")
    assert "Test/Point-v0" in out and "100.0%" in out
    assert "no use for roll, pitch, yaw" in one_line(errors)


@pytest.mark.slow
def test_workers_do_not_change_the_result(vla_ros, world, tmp_path):
    rows = []
    for workers in (1, 2):
        file = tmp_path / f"{workers}.json"
        code, _, errors = vla_ros(
            "evaluate", "--policy", "random", "--world", world, "--episodes", 4,
            "--workers", workers, "--json", file,
        )  # fmt: skip
        assert code == 0, errors
        rows.append(json.loads(file.read_text())["rows"])
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_a_trained_policy_acts_in_another_world(vla_ros, world, tmp_path):
    file = tmp_path / "result.json"
    code, _, errors = vla_ros(
        "evaluate", "--policy", "openvla-mini", "--world", world, "--episodes", 1,
        "--workers", 1, "--json", file,
    )  # fmt: skip
    assert code == 0, errors
    result = json.loads(file.read_text())
    assert result["policy_latency_ms"]["p50"] > 1.0 and result["rows"][0]["steps"] <= 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--env", "VlaRos/Lift-v0"), "env: is for this project's own environments"),
        (("--delay-ms", 100), "delay-ms: is for this project's own"),
        (("--variant", "shifted-camera"), "variant: is for this project's own"),
        (("--policy", "expert"), "in a world also: zero, random"),
        (("--episodes", 0), "episodes: expected 1 or more"),
    ],
)
def test_what_means_nothing_there_is_refused(vla_ros, world, words, message):
    code, _, errors = vla_ros("evaluate", "--policy", "zero", "--world", world, *words)
    assert code == 2 and message in one_line(errors)


def test_a_missing_package_and_a_wrong_file_are_one_line(vla_ros, world):
    world.write_text(WORLD.replace("a_point_world", "no_such_module"))
    code, _, errors = vla_ros("evaluate", "--policy", "zero", "--world", world)
    assert code == 2 and "install it with: pip install a-point-world" in one_line(errors)
    world.write_text(WORLD.replace("rate_hz", "rate"))
    code, _, errors = vla_ros("evaluate", "--policy", "zero", "--world", world)
    assert code == 2 and "rate: unknown; expected some of env, rate_hz" in one_line(errors)


def test_an_environment_is_still_needed(vla_ros):
    code, _, errors = vla_ros("evaluate", "--policy", "zero")
    assert code == 2 and "env: expected some of VlaRos/" in one_line(errors)
