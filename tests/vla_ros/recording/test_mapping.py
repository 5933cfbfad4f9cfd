"""A mapping says what it means, or is refused with the field and the choices."""

from pathlib import Path

import pytest

from vla_ros.recording.mapping import MappingError, parse_mapping, read_mapping
from vla_ros.robots import load_robot

ROOT = Path(__file__).resolve().parents[3]
STATE = {"observation.state": {"topic": "/joint_states", "names": ["a"]}}


def test_the_shipped_example_is_valid():
    mapping = read_mapping(ROOT / "config" / "convert.yaml")
    assert list(mapping.cameras) == ["observation.images.front"]
    assert [len(parts) for parts in mapping.numbers.values()] == [1, 2]
    assert mapping.episodes.topic == mapping.task.topic == "/instruction"


def test_the_shipped_example_names_the_topics_of_the_shipped_robot():
    """Not of the scaled controller: the executor sends that nothing."""
    mapping, robot = read_mapping(ROOT / "config" / "convert.yaml"), load_robot("ur5e")
    assert mapping.robot_type == robot.name
    arm, fingers = mapping.numbers["action"]
    assert (arm.topic, arm.names) == (robot.topics["arm_command"], robot.joint_names)
    assert fingers.topic == robot.topics["gripper_command"]
    assert fingers.names == robot.gripper.joints
    assert mapping.numbers["observation.state"][0].names == (*arm.names, *fingers.names)
    assert mapping.cameras["observation.images.front"].topic == robot.cameras["front"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature": {}}, "mapping: expected one of features, .*got 'feature'; do you mean feat"),
        ({"features": {}}, "features: expected at least one"),
        ({"features": {"next.success": {"topic": "/x"}}}, "other than next.success"),
        ({"features": {"a/b": {"topic": "/x"}}}, "names without '/'"),
        ({"features": {"action": {"topic": "x"}}}, "action: topic: expected a name that begins"),
        ({"features": {"action": {"names": ["a"]}}}, "features, action: missing topic"),
        ({"features": {"action": [{"topic": "/x"}, {"topic": "/x", "field": "speed"}]}},
         "features, action, 2: field: expected one of position, velocity, effort, got 'speed'"),
        ({"features": {"action": {"topic": "/x", "names": "a"}}}, "expected a list of names"),
        ({"features": {"action": {"topic": "/x", "names": ["a", "a"]}}}, "each once, got a, a"),
        ({"features": {"action": {"topic": "/x", "at": "later"}}}, "at: expected one of now, next"),
        ({"features": {"observation.images.a": {"topic": "/x", "height_px": 32}}},
         "height_px, width_px: expected two even whole numbers or none, got 32, 0"),
        ({"rate_hz": 0}, "rate_hz: expected a whole number from 1 to 100, got 0"),
        ({"rate_hz": True}, "rate_hz: expected a whole number from 1 to 100, got True"),
        ({"min_rows": True}, "min_rows: expected a whole number from 1 on, got True"),
        ({"max_gap_s": "long"}, "max_gap_s: expected 0.001 to 60, got 'long'"),
        ({"episodes": {"by": "day"}}, "episodes: by: expected one of bag, topic, gap, got 'day'"),
        ({"episodes": {"by": "topic"}}, "episodes: topic: expected one with `by: topic`"),
        ({"episodes": {"by": "gap", "longer_than_s": 0}}, "longer_than_s: expected 0.01 to 3600"),
        ({"task": {"text": "a", "topic": "/b"}}, "task: expected either `text` or `topic`"),
        ({"success": {"topic": "b"}}, "success: topic: expected a name that begins"),
        ({"task": "lift"}, "task: expected a mapping, got 'lift'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(changes, message):
    with pytest.raises(MappingError, match=message):
        parse_mapping({"features": STATE, "task": {"text": "lift"}} | changes)
