"""`vla-ros doctor` judges a policy by the robot that it is to move."""

import numpy as np
import pytest
from typer.testing import CliRunner

from policies import factory
from policies.interface import ACTION_DIM, ActionChunk
from vla_ros import health
from vla_ros.cli import build_app
from vla_ros.errors import RobotError
from vla_ros.health import CheckFailed


def test_a_policy_that_fits_is_tried():
    result = health.check_checkpoint("openvla-mini-oft", "cpu", "ur5e")
    assert result.ok
    assert "openvla-mini-oft fits ur5e, loads in" in result.text
    assert result.figures["actions"] == 8


def test_a_policy_that_is_too_fast_for_the_robot_is_refused():
    with pytest.raises(CheckFailed, match=r"on so101: .*the controller allows 0.4 m/s") as caught:
        health.check_checkpoint("openvla-mini-oft", "cpu", "so101")
    assert "for this robot" in caught.value.mend


class Still:
    """Says nothing about itself."""

    name = "still"

    def reset(self, seed):
        pass

    def predict_chunk(self, _observation):
        return ActionChunk(np.zeros((1, ACTION_DIM)), 0, 0.1)


def test_a_policy_without_a_gate_is_not_said_to_fit(monkeypatch):
    monkeypatch.setattr(factory, "load_policy", lambda *_, **__: Still())
    assert health.check_checkpoint("still", "cpu").text.startswith("still loads in")


@pytest.mark.parametrize(
    ("robot", "message"),
    [
        ("fr4", "robot: expected one of fr3, so101, ur5e, FILE.yaml, got 'fr4'"),
        ("mine.yaml", "robot: mine.yaml: no such file"),
        ("/", "robot: /: expected a file, it is a folder"),
    ],
)
def test_a_robot_that_there_is_not_is_said_before_any_check(robot, message):
    result = CliRunner().invoke(build_app("doctor"), ["doctor", "--robot", robot])
    assert isinstance(result.exception, RobotError)
    assert message in str(result.exception)
    assert "checking" not in result.output
