"""Tables of keys: both ways they give back what went in, and a wrong message is named."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from policies.interface import ActionChunk, ActionError, ObservationError
from policies.remote.table import PRESETS, KeyTable, TableError, read_table, table_from
from policies.remote.translate import (
    actions_from_message,
    actions_to_message,
    observation_from_message,
    observation_to_message,
)

BOTH = ("front", "wrist")
ORIENTATIONS = ("ee_quaternion", "ee_quaternion_xyzw", "ee_axis_angle", "ee_roll_pitch_yaw")


def chunk(mode: Any = "delta") -> ActionChunk:
    rows = np.array([[0.01, -0.02, 0.03, 0.1, -0.2, 0.3, 1.0], [0, 0.05, 0, 0, 0, 0.5, 0.25]])
    return ActionChunk(rows, stamp_ns=3, dt_s=0.05, mode=mode)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("gripper", ["gripper_opening", "gripper_closure", "panda_fingers"])
def test_an_observation_survives_the_way(observe: Any, orientation: str, gripper: str) -> None:
    table = KeyTable(state={"s": (gripper, orientation, "ee_position"), "j": ("joint_positions",)})
    sent = observe()
    found = observation_from_message(
        observation_to_message(sent, table, BOTH), table, BOTH, stamp_ns=9
    )
    for camera in BOTH:
        np.testing.assert_array_equal(found.images[camera], sent.images[camera])
    np.testing.assert_array_equal(found.joint_positions, sent.joint_positions)
    np.testing.assert_array_equal(found.ee_position, sent.ee_position)
    assert found.gripper_opening == pytest.approx(sent.gripper_opening)
    turns = [Rotation.from_quat(each.ee_quaternion, scalar_first=True) for each in (found, sent)]
    assert (turns[0] * turns[1].inv()).magnitude() < 1e-9
    assert (found.instruction, found.stamp_ns) == ("go", 9)


def test_the_default_table_changes_no_bit(observe: Any) -> None:
    table, sent = KeyTable(), observe()
    found = observation_from_message(observation_to_message(sent, table, BOTH), table, BOTH, 0)
    np.testing.assert_array_equal(found.ee_quaternion, sent.ee_quaternion)
    assert found.gripper_opening == sent.gripper_opening
    actions = chunk().actions
    message = {"actions": actions_to_message(chunk(), table)}
    np.testing.assert_array_equal(actions_from_message(message, table), actions)


def test_libero_by_hand(observe: Any) -> None:
    """What openpi's `examples/libero/main.py` sends, and what its environment would do."""
    table = PRESETS["libero"]
    message = observation_to_message(observe(), table, BOTH)
    assert set(message) == {
        "observation/image",
        "observation/wrist_image",
        "observation/state",
        "prompt",
    }
    vector = Rotation.from_quat([0.1, 0.7, -0.5, 0.5], scalar_first=True).as_rotvec()
    expected = [0.45, -0.1, 0.2, *vector, 0.01, -0.01]
    np.testing.assert_allclose(message["observation/state"], expected)
    unit = np.array([[1.0, -0.5, 0, 0, 0, 1.0, -1.0], [0, 0, 0, 0, 0, 0, 1.5]])
    found = actions_from_message({"actions": unit}, table)
    np.testing.assert_allclose(found, [[0.05, -0.025, 0, 0, 0, 0.5, 1.0], [0] * 7], atol=1e-12)


def test_actions_in_other_units_survive_the_way() -> None:
    table = PRESETS["libero"]
    message = {"actions": actions_to_message(chunk(), table)}
    np.testing.assert_allclose(actions_from_message(message, table), chunk().actions, atol=1e-12)
    with pytest.raises(ActionError, match="displacements, the policy gives absolute"):
        actions_to_message(chunk("absolute"), table)


def test_joints_may_be_left_out_and_other_keys_are_ignored(observe: Any) -> None:
    table = KeyTable()
    message = observation_to_message(observe(), table, BOTH)
    del message["observation/joint_position"]
    message["more"] = object()
    assert observation_from_message(message, table, ("front",), 0).joint_positions.shape == (0,)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("observation/image", None, "observation/image: expected an image"),
        ("observation/state", np.zeros(7), "expected 8 numbers (ee_position, ee_quaternion"),
        ("observation/state", np.zeros((8, 1)), "expected a vector of numbers, got ndarray"),
        ("observation/state", np.array(["a"] * 8), "expected a vector of numbers"),
        ("observation/state", "state", "expected a vector of numbers, got str"),
        ("observation/state", np.zeros(8), "expected a unit quaternion, got length 0"),
        ("observation/state", np.full(8, np.nan), "expected a unit quaternion, got length nan"),
        ("observation/state", [0, 0, np.inf, 1, 0, 0, 0, 1], "expected finite numbers"),
        ("observation/joint_position", np.array([np.nan]), "joint_positions: expected finite"),
        ("prompt", 3, "prompt: expected text of at most 2000 characters, got int"),
        ("prompt", "x" * 2001, "got str of 2001"),
    ],
)
def test_a_wrong_observation_is_named(observe: Any, key: str, value: Any, said: str) -> None:
    table = KeyTable()
    message = {**observation_to_message(observe(), table, BOTH), key: value}
    with pytest.raises(ObservationError) as caught:
        observation_from_message(message, table, BOTH, 0)
    assert said in str(caught.value)


@pytest.mark.parametrize("key", ["observation/image", "observation/state", "prompt"])
def test_what_is_missing_is_named(observe: Any, key: str) -> None:
    table = KeyTable()
    message = observation_to_message(observe(), table, BOTH)
    del message[key]
    with pytest.raises(ObservationError, match=f"{key} is missing; the message has "):
        observation_from_message(message, table, BOTH, 0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros((2, 8)), "expected shape (1 to 1000, 7), got (2, 8)"),
        (np.zeros((0, 7)), "got (0, 7)"),
        (np.zeros((1001, 7)), "got (1001, 7)"),
        (np.zeros(7), "got (7,)"),
        (np.array([[np.nan] * 7]), "expected finite numbers"),
        (np.array([["a"] * 7]), "expected an array of numbers, got <U1"),
        ([[0.0] * 7], "expected an array of numbers, got list"),
    ],
)
def test_wrong_actions_are_named(value: Any, said: str) -> None:
    with pytest.raises(ActionError) as caught:
        actions_from_message({"actions": value}, KeyTable())
    assert said in str(caught.value)
    with pytest.raises(ActionError, match="the answer has other"):
        actions_from_message({"other": value}, KeyTable())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"images": {"front": 3}}, "images: expected names with their keys"),
        ({"images": ["front"]}, "images: expected names with their keys"),
        ({"state": {"s": ["speed"]}}, "state: 's': expected a list of some of joint_positions"),
        ({"state": {"s": "ee_position"}}, "expected a list"),
        ({"state": {"s": []}}, "expected a list"),
        ({"state": 3}, "state: expected keys with their parts"),
        ({"state": {"s": ["joint_positions", "ee_position"]}}, "expected joint_positions alone"),
        ({"prompt": ""}, "prompt: expected a key"),
        ({"prompt": "observation/image"}, "each to be used once"),
        ({"rate_hz": 0}, "rate_hz: expected a positive number, got 0"),
        ({"rate_hz": "10"}, "rate_hz: expected a positive number"),
        ({"translation_m": float("nan")}, "translation_m: expected a positive number"),
        ({"rotation": "euler"}, "rotation: expected one of roll_pitch_yaw, axis_angle"),
        ({"gripper": "x"}, "gripper: expected one of opening, closed_positive"),
        ({"image": {}}, "expected some of images, state, prompt"),
        ([], "expected fields, got list"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Any, fields: Any, said: str) -> None:
    with pytest.raises(TableError) as caught:
        table_from(fields)
    assert said in str(caught.value)
    file = tmp_path / "table.json"
    file.write_text(json.dumps(fields))
    with pytest.raises(TableError, match="table.json: "):
        read_table(str(file))


def test_tables_come_from_presets_and_files(tmp_path: Any) -> None:
    for name, preset in PRESETS.items():
        assert read_table(name) == preset
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(preset.as_dict()))
        assert read_table(str(file)) == preset
    with pytest.raises(TableError, match="expected one of default, libero or a JSON file"):
        read_table("aloha")
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(TableError, match="expected JSON"):
        read_table(str(tmp_path / "no.json"))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (KeyTable(images={"wrist": "i"}), "the policy looks at front; the table has wrist"),
        (KeyTable(state={"s": ("ee_position",)}), "expected an orientation, one of ee_quaternion"),
        (KeyTable(state={"s": ("ee_quaternion",)}), "expected a position"),
        (KeyTable(state={"s": ("ee_position", "ee_quaternion")}), "expected a gripper"),
    ],
)
def test_a_server_needs_what_its_policy_looks_at(table: KeyTable, said: str) -> None:
    with pytest.raises(TableError, match=said):
        table.check_readable(("front",))
