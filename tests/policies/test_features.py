import numpy as np
import pytest

from policies.openvla.state import DATASET_STATE_NAMES, state_vector
from policies.training.demonstrations import opening
from policies.training.features import (
    DatasetError,
    FeatureMap,
    choose_features,
    parse_map,
    to_state_vector,
)

POSE = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]


def image(dtype="video", **info):
    return {"dtype": dtype, "shape": (96, 96, 3), "names": ["h", "w", "c"], "info": info}


def numbers(*names, size=None):
    return {"dtype": "float32", "shape": (size or len(names),), "names": list(names) or None}


OURS = {
    "observation.images.front": image(),
    "observation.images.wrist": image(),
    "observation.state": numbers(*DATASET_STATE_NAMES),
    "action": numbers(*POSE),
    "executed_action": numbers(*POSE),
    "timestamp": {"dtype": "float32", "shape": (1,), "names": None},
}
THEIRS = {
    "observation.images.top": image("image"),
    "observation.images.side": image(),
    "observation.images.depth": image(is_depth_map=True),
    "observation.state": numbers("j1", "j2", "j3", "j4", "j5", "j6"),
    "observation.pose": numbers(*POSE),
    "actions": numbers(size=7),
    "action.joints": numbers("j1", "j2", "j3", "j4", "j5", "j6"),
}


def test_our_own_names_are_found():
    found = choose_features(OURS, "front", with_state=True)
    assert found == FeatureMap("observation.images.front", "action", "observation.state")
    assert choose_features(OURS, "front", with_state=False).state is None


def test_what_is_unambiguous_is_inferred():
    one_camera = {k: v for k, v in THEIRS.items() if k != "observation.images.side"}
    found = choose_features(one_camera, "front", with_state=True)
    assert found == FeatureMap("observation.images.top", "actions", "observation.pose")


def test_a_map_overrules():
    wanted = parse_map(
        ["observation.images.side=front", "actions=action", "none=state"], camera="front"
    )
    found = choose_features(THEIRS, "front", True, wanted)
    assert found == FeatureMap("observation.images.side", "actions", None)


@pytest.mark.parametrize(
    ("pairs", "with_state", "message"),
    [
        ([], False, "camera 'front': expected .* it has observation.images.top, observation.im"),
        (["observation.images.up=front"], False, "'observation.images.up' is not a colour camera"),
        (["observation.images.depth=front"], False, "is not a colour camera"),
        (["observation.images.top=front", "action.joints=action"], False, r"7 numbers .*\(6,\)"),
        (["observation.images.top=front", "nothing=action"], False, "got 'nothing'; it has obs"),
        (["observation.images.top=front", "observation.state=state"], True, "--map none=state"),
        (["observation.images.top=front", "observation.pose=state"], False, "does not look at"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_choices(pairs, with_state, message):
    with pytest.raises(DatasetError, match=message):
        choose_features(THEIRS, "front", with_state, parse_map(pairs, "front"))


def test_a_dataset_without_seven_actions_says_what_it_has():
    features = {**OURS, "action": numbers("a", "b", size=2), "executed_action": numbers(size=14)}
    with pytest.raises(DatasetError, match=r"it has action \(2,\) \(a, b\); executed_action"):
        choose_features(features, "front", with_state=True)


def test_a_state_nobody_knows_is_not_guessed():
    features = {**OURS, "observation.state": numbers(size=7)}
    with pytest.raises(DatasetError, match="state: expected the tool's pose"):
        choose_features(features, "front", with_state=True)
    wanted = {"state": "observation.state"}
    assert choose_features(features, "front", True, wanted).state == "observation.state"


@pytest.mark.parametrize("pair", ["front", "=front", "a=", "a=top"])
def test_a_map_that_is_none(pair):
    with pytest.raises(DatasetError, match="expected THEIRS=OURS with OURS one of front, action"):
        parse_map([pair], "front")


def test_a_map_with_a_name_twice():
    with pytest.raises(DatasetError, match="'front' is given twice"):
        parse_map(["a=front", "b=front"], "front")


def test_angles_become_the_same_state_as_quaternions():
    half = np.pi / 4  # a quarter turn about z, of a tool that points down
    quaternion = np.array([[0.0, np.cos(half), np.sin(half), 0.0]])
    angles = np.array([[0.4, 0.1, 0.2, np.pi, 0.0, np.pi / 2, 0.5]])
    expected = state_vector(angles[:, :3], quaternion, angles[:, 6])
    assert np.allclose(to_state_vector(angles), expected, atol=1e-9)


def test_gripper_conventions():
    values = np.array([-1.0, 0.0, 1.0], np.float32)
    assert opening(values, (-1, 1), "d").tolist() == [0.0, 0.5, 1.0]
    assert opening(values, (1, -1), "d").tolist() == [1.0, 0.5, 0.0]
    with pytest.raises(DatasetError, match="it goes from -1 to 1; .* --gripper CLOSED,OPEN"):
        opening(values, (0, 1), "d")
