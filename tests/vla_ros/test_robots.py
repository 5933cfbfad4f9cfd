"""Robots' files: within what their makers publish, complete, and refused with the reason."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from policies.interface import ActionError
from vla_ros import robot_graph, topics
from vla_ros.body import Body
from vla_ros.checks import violations
from vla_ros.errors import UserError
from vla_ros.limits import FR3_LIMITS, JOINT_FIELDS, Box
from vla_ros.planning import Begin, PoseChunk, plan
from vla_ros.robots import FR3, NUMBERS, RobotError, known_robots, load_robot, urdf_limits
from vla_ros.trajectory import Phase

MS = 1_000_000
PI = np.pi
NAN = float("nan")
# What the makers publish; sources stand in the files. None: nothing is published.
PUBLISHED = {
    "fr3": {
        "position_lower_rad": [-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159],
        "position_upper_rad": [2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159],
        "velocity_rad_s": [2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26],
        "acceleration_rad_s2": [10.0] * 7,
        "jerk_rad_s3": [5000.0] * 7,
        "speed_m_s": 3.0,
        "acceleration_m_s2": 9.0,
        "jerk_m_s3": 4500.0,
        "turn_rad_s": 2.5,
        "turn_rad_s2": 17.0,
        "turn_rad_s3": 8500.0,
    },
    "ur5e": {
        "position_lower_rad": [-2 * PI, -2 * PI, -PI, -2 * PI, -2 * PI, -2 * PI],
        "position_upper_rad": [2 * PI, 2 * PI, PI, 2 * PI, 2 * PI, 2 * PI],
        "velocity_rad_s": [PI] * 6,
        "acceleration_rad_s2": [5.0] * 6,  # ur_moveit_config
    },
    "so101": {
        # of the last joint what both published versions allow: +-2.79253 and -2.74385 to 2.84121
        "position_lower_rad": [-1.91986, -1.74533, -1.69, -1.65806, -2.74385],
        "position_upper_rad": [1.91986, 1.74533, 1.69, 1.65806, 2.79253],
        "velocity_rad_s": [4.71] * 5,  # the servo's data sheet; the URDF states 10
    },
}
# Tool positions [m] in the base frame by the makers' tables, for given joints.
UR5E_JOINTS = [
    "shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint", "wrist_1_joint", "wrist_2_joint",
    "wrist_3_joint",
]  # fmt: skip
UR5E_STRAIGHT = (np.zeros(6), [-0.425 - 0.3922, -0.1333 - 0.0996, 0.1625 - 0.0997])


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_limit_is_beyond_what_the_maker_publishes(name):
    limits, published = load_robot(name).limits, PUBLISHED[name]
    for field, value in published.items():
        sign = -1 if field == "position_lower_rad" else 1
        ours = np.asarray(getattr(limits, field))
        assert np.all(sign * ours <= sign * np.asarray(value) + 1e-5), field
    for field in ("position_lower_rad", "position_upper_rad"):
        np.testing.assert_allclose(getattr(limits, field), published[field], atol=1e-5)


def test_every_file_that_ships_is_checked():
    assert set(known_robots()) == set(PUBLISHED)


def test_the_fr3_of_the_file_is_the_one_that_is_simulated():
    robot = load_robot("fr3")
    for field in JOINT_FIELDS:
        np.testing.assert_array_equal(getattr(robot.limits, field), getattr(FR3_LIMITS, field))
    assert robot.limits.range_ends == FR3_LIMITS.range_ends
    assert robot.gripper == FR3.gripper
    assert robot.limits.workspace == FR3_LIMITS.workspace
    for number in NUMBERS:
        assert getattr(robot.limits, number) == getattr(FR3_LIMITS, number), number


def test_the_ur5e_stands_where_its_makers_table_has_it():
    joints, position = UR5E_STRAIGHT
    np.testing.assert_allclose(Body(load_robot("ur5e").arm).forward(joints)[0], position, atol=1e-6)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_executor_plans_for_every_robot_and_keeps_its_limits(name):
    robot = load_robot(name)
    body = Body(robot.arm, robot.limits.keep_out, robot.limits.clearance_m)
    home = robot.arm.home_rad
    position, rotation = body.forward(home)
    steps = np.outer(np.arange(1, 5), [0.0, -0.01, 0.01])  # five joints can
    chunk = PoseChunk(
        0,
        np.arange(1, 5) * 100 * MS,
        position + steps,
        np.tile(rotation.as_quat(scalar_first=True), (4, 1)),
        np.ones(4),
    )
    motion = plan(chunk, Begin(0, Phase.at_rest(home)), robot.limits, body)
    assert violations(motion.trajectory, robot.limits, body) == []
    reached, _ = body.forward(motion.trajectory.positions[-1])
    np.testing.assert_allclose(reached, position + steps[-1], atol=5e-3)
    far = replace(chunk, positions=chunk.positions + [0, 0, 5.0])
    with pytest.raises(ActionError):
        plan(far, Begin(0, Phase.at_rest(home)), robot.limits, body)


@pytest.mark.parametrize("name", PUBLISHED)
def test_topics_are_remapped_to_the_robots_names(name):
    graph = robot_graph.describe({"robot": name})
    robot = load_robot(name)
    for node in graph.nodes:
        renamed = dict(node.remappings)
        for camera, topic in robot.cameras.items():
            assert renamed.get(topics.image_topic(camera), topics.image_topic(camera)) == topic
        wanted = robot.topics.get("arm_command", topics.ARM_COMMAND)
        assert renamed.get(topics.ARM_COMMAND, topics.ARM_COMMAND) == wanted


def test_what_a_gripper_shows_and_is_told():
    gripper = load_robot("ur5e").gripper  # closes towards larger values
    assert gripper.opening(np.array([0.8])) == 0.0
    assert gripper.opening(np.array([0.2])) == pytest.approx(0.75)
    np.testing.assert_allclose(gripper.values(np.array([[0.0], [1.0], [7.0]])), [[0.8], [0], [0]])


@pytest.fixture
def changed(tmp_path):
    """The UR5e's file with changes."""

    def write(**changes):
        path = known_robots()["ur5e"]
        (tmp_path / "ur5e.urdf").write_bytes((path.parent / "ur5e.urdf").read_bytes())
        content = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            if isinstance(value, dict):
                content[key] = {**content[key], **value}
            else:
                content[key] = value
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
        return str(file)

    return write


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"joints": ["a"]}, r"home_rad: expected a number \(finite\), got \["),
        ({"joints": list("abcdef")}, r"joints: expected some of .*'shoulder_pan_joint'.*got \['a'"),
        ({"joints": list("aabcde")}, "joints: expected different names"),
        ({"topics": {"arm_command": "a b"}}, "topics: arm_command: expected a topic's name"),
        ({"topics": {"arm_command": 3}}, "topics: arm_command: expected a topic's name, got 3"),
        ({"cameras": {"front": "/a", "wrist": "/a"}}, "cameras: expected a topic of its own"),
        ({"limits": {"speed_m_s": True}}, "limits: speed_m_s: expected a number"),
        ({"tool": "hand"}, "tool: expected one of .*'tool0'.*, got 'hand'"),
        ({"home_rad": 9.0}, "home_rad: expected angles within"),
        ({"description": None}, "description: expected a URDF or MJCF file, got nothing"),
        ({"description": "no.urdf"}, "description: expected a URDF or MJCF file, got .*no.urdf"),
        ({"limits": {"velocity_rad_s": 9.0}}, "velocity_rad_s: beyond what the description"),
        ({"limits": {"position_upper_rad": 7.0}}, "position_upper_rad: beyond what"),
        ({"limits": {"jerk_rad_s3": 0.0}}, "jerk_rad_s3: expected numbers above 0"),
        ({"limits": {"jerk_rad_s3": [1, 2]}}, "jerk_rad_s3: expected a number or 6 of them"),
        ({"limits": {"sped_m_s": 1.0}}, "limits: expected one of .*do you mean speed_m_s"),
        ({"limits": {"keep_out_m": [[0, 0, 0]]}}, "keep_out_m: expected lists of six numbers"),
        ({"limits": {"workspace_low_m": [9, 9, 9]}}, "box: expected x, y, z"),
        ({"gripper": {"opened": 0.8}}, "gripper: expected closed and opened to differ"),
        ({"gripper": {"joints": []}}, "joints: expected a list of names"),
        ({"topics": {"camera": "/x"}}, "topics: expected one of"),
        ({"colour": "red"}, "robot: expected one of"),
        ({"home_rad": None}, "home_rad: expected a number or 6 of them .*, got nothing"),
        ({"home_rad": [NAN] * 6}, "home_rad: expected a number or 6 of them .*, got .*nan"),
        ({"home_rad": ["0"] * 6}, "home_rad: expected a number or 6 of them"),
        ({"gripper": {"closed": NAN}}, "gripper: closed: expected a number .*, got nan"),
        ({"gripper": {"opened": None}}, "gripper: opened: expected a number .*, got nothing"),
        ({"gripper": {"opened": 10**400}}, "gripper: opened: expected a number"),
        ({"gripper": {"joints": ["elbow_joint"]}}, "gripper: joints: expected others than the arm"),
        (
            {"limits": {"speed_m_s": float("inf")}},
            "limits: speed_m_s: expected a number .*, got inf",
        ),
        ({"limits": {"speed_m_s": 0}}, "speed_m_s: expected a number above 0, got 0.0"),
        ({"limits": {"workspace_low_m": 3}}, r"workspace_low_m: expected x, y, z \[m\], got 3"),
        ({"limits": {"workspace_low_m": ["a", "b", "c"]}}, "workspace_low_m: expected x, y, z"),
        ({"limits": {"workspace_low_m": {"x": 1}}}, "workspace_low_m: expected x, y, z"),
        ({"limits": {"workspace_high_m": None}}, "workspace_high_m: expected x.*, got nothing"),
        ({"limits": {"workspace_high_m": [0.0, 0.0, NAN]}}, "workspace_high_m: expected x, y, z"),
        ({"limits": {"keep_out_m": 3}}, "keep_out_m: expected lists of six numbers .*, got 3"),
        ({"limits": {"keep_out_m": [["a"] * 6]}}, "keep_out_m: expected lists of six numbers"),
        ({"limits": {"keep_out_m": [[0, 0, 0, 1, 1, NAN]]}}, "keep_out_m: expected lists of six"),
        ({"description": 3}, "description: expected a URDF or MJCF file, got 3"),
        ({"frames": {"base": 3}}, "frames: base: expected the name of a frame, got 3"),
        ({"frames": {"tool": ["x"]}}, "frames: tool: expected the name of a frame, got"),
        ({"frames": {"tool": "/tool"}}, "frames: tool: expected the name of a frame, got '/tool'"),
        ({"name": ["a"]}, "name: expected the robot's name, got"),
        ({"cameras": {"fr ont": "/a"}}, "cameras: expected names of letters, .*got 'fr ont'"),
        ({"cameras": {3: "/a"}}, "cameras: expected names of letters, .*got 3"),
        (
            {"joints": UR5E_JOINTS[:5], "home_rad": [0.0, -1.7, 2.0, -1.87, -1.57]},
            "joints: expected every joint from .*'tool0', .* got none of the name wrist_3",
        ),
        (
            {"limits": {"workspace_low_m": [-800, -500, 10], "workspace_high_m": [-250, 500, 700]}},
            r"workspace_low_m: expected x, y, z \[m\], at most 10 m from .*got \[-800, -500, 10\]",
        ),
        ({"limits": {"keep_out_m": [[-800, 0, 0, 1, 1, 1]]}}, "keep_out_m: .* at most 100 m"),
        ({"limits": {"range_ends": 3}}, "range_ends: expected keys and values, got 3"),
        ({"limits": {"range_ends": {"end_rad": 1}}}, "range_ends: expected.* got 'end_rad'"),
        ({"limits": {"range_ends": {"lower_rad": -9}}}, "upper_rad: .* or 6 of .*got nothing"),
        ({"limits": {"speed_m_s": 500}}, "limits: speed_m_s: expected at most 3, got 500"),
        ({"limits": {"jerk_rad_s3": [1e6] * 6}}, "jerk_rad_s3: expected at most 100000, got"),
        (
            {"limits": {"keep_out_m": [[-1, -1, -1, 1, 1, 1]]}},
            "keep_out_m: expected boxes beside the robot, got one around its base",
        ),
        (
            {"limits": {"workspace_low_m": [0.2, -0.5, 0.0], "workspace_high_m": [0.8, 0.5, 0.7]}},
            r"home_rad: expected a posture with the tool in the workspace.*got .*at \[-0.42, ",
        ),
        ({"frames": {"base": "nowhere"}}, "frames: base: expected a link .*, base, .*'nowhere'"),
        ({"frames": {"base": "tool0"}}, "frames: base: expected a link .*, base, .*'tool0'"),
        ({"gripper": {"closed": 85}}, "gripper: closed: expected radians or m .*, got 85: mm"),
        ({"gripper": {"opened": -45.0}}, "gripper: opened: expected radians or m .*, got -45: mm"),
        (
            {"limits": {"acceleration_rad_s2": 286}},
            "limits: acceleration_rad_s2: expected at most 100, got 286: another unit",
        ),
        (
            {"topics": {"joint_states": "/emergency_stop"}},
            "topics: joint_states: expected a topic of the robot's drivers, got '/emergency_stop'",
        ),
        (
            {"topics": {"arm_command": "policy/gripper_chunk"}},
            "topics: arm_command: expected a topic of the robot's drivers, got 'policy/gripper_ch",
        ),
        (
            {"topics": {"arm_command": "/a_controller/follow_joint_trajectory"}},
            "topics: arm_command: expected a topic, got '/a_con.*, the name of an action.*/joint_t",
        ),
        (
            {"topics": {"joint_states": "/gripper_controller/joint_trajectory"}},
            "topics: expected a topic of its own for each, got .*gripper_controller",
        ),
        ({"topics": {"arm_command": "/servo_node/delta_twist_cmds"}}, "topics: expected a topic"),
        ({"cameras": {"front": "/joint_states"}}, "cameras: front: expected a camera's topic, got"),
        ({"cameras": {"front": "/instruction"}}, "cameras: front: expected a topic of the robot's"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(changed, changes, reason):
    with pytest.raises(RobotError, match=reason) as error:
        load_robot(changed(**changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", ["closed", "opened", "joints"])
def test_a_gripper_lacks_nothing(changed, field):
    path = Path(changed())
    content = yaml.safe_load(path.read_text())
    del content["gripper"][field]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RobotError, match=f"mine.yaml: gripper: {field}: expected .*, got "):
        load_robot(str(path))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('velocity="', 'velocity="abc', "joint shoulder_pan_joint: limit: velocity: .*got 'abc3"),
        ('lower="-6.283185"', 'lower="nan"', "limit: lower: expected a finite number, got 'nan'"),
        ('velocity="3.141593"', 'velocity="inf"', "limit: velocity: expected a finite number"),
        ('type="revolute"', 'type="continuous"', "joints with a range, .*revolute with <limit"),
        ("<robot name", "<robot xmlns:xacro='http://ros.org/wiki/xacro' name", ""),
        ("</robot>", "<xacro:ur_robot/></robot>", "got a xacro file; expand it first"),
    ],
)
def test_what_is_wrong_with_a_description_is_said_with_its_file(tmp_path, before, after, reason):
    text = known_robots()["ur5e"].with_suffix(".urdf").read_text()
    assert before in text
    file = tmp_path / "cell.urdf"
    file.write_text(text.replace(before, after))
    if not reason:
        assert load_robot("ur5e", str(file)).name == "ur5e"
        return
    with pytest.raises(RobotError, match=f"description: .*cell.urdf: .*{reason}"):
        load_robot("ur5e", str(file))


def test_limits_come_from_the_description_where_the_file_has_none(changed):
    robot = load_robot(changed())
    np.testing.assert_allclose(robot.limits.velocity_rad_s, PI, atol=1e-5)
    text = Path(known_robots()["so101"]).with_suffix(".urdf").read_text()
    stated = urdf_limits(text, ("elbow_flex", "shoulder_pan"))
    np.testing.assert_allclose(stated["position_upper_rad"], [1.69, 1.91986])
    np.testing.assert_allclose(stated["velocity_rad_s"], [10, 10])


def test_a_description_of_another_robot_is_refused():
    other = str(known_robots()["so101"].with_suffix(".urdf"))
    with pytest.raises(RobotError, match="joints: expected some of"):
        load_robot("ur5e", other)


BESIDE = [[-1.0, -1.0, -1.0, 1.0, 1.0, -0.01]]  # a table


@pytest.fixture
def cell(tmp_path):
    """`cell(change)`: the UR5e's URDF after `change` of its text, as a file."""

    def write(change):
        file = tmp_path / "cell.urdf"
        file.write_text(change(known_robots()["ur5e"].with_suffix(".urdf").read_text()))
        return str(file)

    return write


def meshes(text, count=0):
    """Its shapes (all, or the first `count`) as meshes."""
    return re.sub(r"<(cylinder|box|sphere)[^>]*/>", '<mesh filename="a.stl"/>', text, count=count)


def test_boxes_that_nothing_can_be_checked_against_are_refused(changed, cell):
    file = cell(meshes)
    refused = rf"limits: keep_out_m: expected .* {re.escape(file)} has none: give its links <coll"
    with pytest.raises(RobotError, match=refused) as error:
        load_robot(changed(limits={"keep_out_m": BESIDE}), file)
    assert "\n" not in str(error.value)
    robot = load_robot("ur5e", file)
    with pytest.raises(UserError, match=r"keep_out_m: .*cell.urdf has none"):  # a parameter's
        Body(robot.arm, (Box((-1, -1, -1), (1, 1, -0.01)),))


def test_what_is_not_checked_is_said(cell):
    assert [load_robot(name).notes for name in known_robots()] == [()] * 3
    (note,) = load_robot("ur5e", cell(meshes)).notes
    assert "cell.urdf: no part that moves has a shape, so self-collision is NOT checked" in note
    (note,) = load_robot("ur5e", cell(lambda text: meshes(text, 1))).notes
    assert "cell.urdf: collisions of shoulder_link are NOT checked" in note


@pytest.mark.parametrize(
    ("root", "turned_rad", "base"),
    [("world", 0.0, "base"), ("base_link", 3.14159, None), ("table", 0.0, "base")],
)
def test_positions_count_from_the_descriptions_root(changed, cell, root, turned_rad, base):
    """UR's own description has "base_link", turned by half a turn, above "base"."""
    joint = (
        f'<link name="{root}"/><joint name="stand" type="fixed"><origin rpy="0 0 {turned_rad}"/>'
        f'<parent link="{root}"/><child link="base"/></joint></robot>'
    )
    file = cell(lambda text: text.replace("</robot>", joint))
    if base:
        assert load_robot("ur5e", file).base_frame == base
        return
    with pytest.raises(RobotError, match=f"frames: base: expected .*{root}.*got 'base'"):
        load_robot("ur5e", file)
    behind = {"workspace_low_m": [0.25, -0.5, 0.01], "workspace_high_m": [0.8, 0.5, 0.7]}
    robot = load_robot(changed(frames={"base": root}, limits=behind), file)
    assert robot.base_frame == root
