"""Which of a dataset's features are the policy's image, action and state.

LeRobot leaves the names to whoever records. What is unambiguous is found; the rest is given as
`THEIRS=OURS` (`observation.images.top=front`, `actions=action`, `none=state`), and a wrong choice
is answered with what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from policies.interface import ACTION_DIM, ACTION_NAMES
from policies.openvla.state import DATASET_STATE_NAMES, state_vector

ACTION, STATE, NONE = "action", "state", "none"
EULER_STATE_NAMES = ACTION_NAMES  # x y z [m], roll pitch yaw [rad], gripper opening


class DatasetError(ValueError):
    """A dataset that cannot be trained on; the message says what was expected and what it has."""


@dataclass(frozen=True)
class FeatureMap:
    """The names of a dataset's features, by what they are to the policy."""

    image: str
    action: str  # seven numbers
    state: str | None  # None: the policy goes without


def parse_map(pairs: Iterable[str], camera: str) -> dict[str, str]:
    """`THEIRS=OURS` texts as a mapping from ours ("action", "state" or the camera) to theirs."""
    ours = (camera, ACTION, STATE)
    found: dict[str, str] = {}
    for pair in pairs:
        theirs, equals, name = (part.strip() for part in pair.partition("="))
        if not (theirs and equals and name in ours):
            raise DatasetError(
                f"map: expected THEIRS=OURS with OURS one of {', '.join(ours)} "
                f"(for example observation.images.top={camera}), got {pair!r}"
            )
        if name in found:
            raise DatasetError(f"map: {name!r} is given twice: {found[name]!r} and {theirs!r}")
        found[name] = theirs
    return found


def choose_features(
    features: Mapping[str, Any],
    camera: str,
    with_state: bool,
    wanted: Mapping[str, str] | None = None,
    source: str = "dataset",
) -> FeatureMap:
    """Find the policy's image, action and (`with_state`) state among a dataset's `features`.

    `features` is LeRobot's description (`meta.features`), `wanted` what `parse_map` returns. Raises
    `DatasetError` naming the choices for what is missing, ambiguous or of the wrong size.
    """
    wanted = wanted or {}
    return FeatureMap(
        image=_image(features, camera, wanted.get(camera), source),
        action=_action(features, wanted.get(ACTION), source),
        state=_state(features, wanted.get(STATE), with_state, source),
    )


def to_state_vector(states: NDArray) -> NDArray[np.float64]:
    """(n, 8 or 7) of a dataset's state feature -> (n, 7), see `policies.openvla.state`."""
    states = np.asarray(states, dtype=np.float64)
    if states.shape[1] == len(DATASET_STATE_NAMES):
        return state_vector(states[:, :3], states[:, 3:7], states[:, 7])
    turns = Rotation.from_euler("xyz", states[:, 3:6]).as_quat(scalar_first=True)
    return state_vector(states[:, :3], turns, states[:, 6])


def describe(features: Mapping[str, Any], names: Sequence[str]) -> str:
    """Names with shapes, for messages."""
    shown = []
    for name in names:
        labels = _names(features[name])
        about = f" ({', '.join(labels)})" if labels else ""
        shown.append(f"{name} {tuple(features[name].get('shape', ()))}{about}")
    return "; ".join(shown) or "none"


def _image(features: Mapping[str, Any], camera: str, given: str | None, source: str) -> str:
    images = [
        name
        for name, feature in features.items()
        if feature.get("dtype") in ("image", "video")
        and 3 in tuple(feature.get("shape", ()))
        and not (feature.get("info") or {}).get("is_depth_map")
    ]
    usual = f"observation.images.{camera}"
    if given is None:
        if usual in images:
            return usual
        if len(images) == 1:
            return images[0]
        raise DatasetError(
            f"{source}: camera {camera!r}: expected {usual!r} or one camera alone, it has "
            f"{', '.join(images) or 'none'}; choose with --map FEATURE={camera}"
        )
    if given not in images:
        raise DatasetError(
            f"{source}: camera {camera!r}: {given!r} is not a colour camera of this dataset; it "
            f"has {', '.join(images) or 'none'}"
        )
    return given


def _numbers(features: Mapping[str, Any]) -> list[str]:
    """Names of the features that are rows of floating-point numbers."""
    return [
        name
        for name, feature in features.items()
        if str(feature.get("dtype", "")).startswith("float")
        and len(tuple(feature.get("shape", ()))) == 1
        and name != "timestamp"
    ]


def _action(features: Mapping[str, Any], given: str | None, source: str) -> str:
    numbers = _numbers(features)
    if given is None:
        named = [name for name in numbers if "action" in name.split(".")[-1]]
        fitting = [name for name in named if _size(features[name]) == ACTION_DIM]
        if ACTION in fitting:
            return ACTION
        if len(fitting) == 1:
            return fitting[0]
        raise DatasetError(
            f"{source}: action: expected {ACTION_DIM} numbers ({', '.join(ACTION_NAMES)}), it has "
            f"{describe(features, named or numbers)}; choose with --map FEATURE=action"
        )
    if given not in numbers or _size(features[given]) != ACTION_DIM:
        has = describe(features, [given] if given in numbers else numbers)
        raise DatasetError(
            f"{source}: action: expected {ACTION_DIM} numbers ({', '.join(ACTION_NAMES)}), "
            f"got {given!r}; it has {has}"
        )
    return given


def _state(
    features: Mapping[str, Any], given: str | None, with_state: bool, source: str
) -> str | None:
    if given == NONE or (given is None and not with_state):
        return None
    if not with_state:
        raise DatasetError(f"{source}: state: this policy does not look at a state, got {given!r}")
    numbers = _numbers(features)
    layouts = f"({', '.join(DATASET_STATE_NAMES)}) or ({', '.join(EULER_STATE_NAMES)})"
    if given is None:
        known = (DATASET_STATE_NAMES, EULER_STATE_NAMES)
        # An action may have the same names as a state.
        fitting = [
            name
            for name in numbers
            if _names(features[name]) in known and "action" not in name.split(".")[-1]
        ]
        if "observation.state" in fitting:
            return "observation.state"
        if len(fitting) == 1:
            return fitting[0]
        raise DatasetError(
            f"{source}: state: expected the tool's pose and gripper, {layouts}, it has "
            f"{describe(features, numbers)}; choose with --map FEATURE=state, or go without: "
            "--map none=state"
        )
    sizes = (len(DATASET_STATE_NAMES), len(EULER_STATE_NAMES))
    if given not in numbers or _size(features[given]) not in sizes:
        has = describe(features, [given] if given in numbers else numbers)
        raise DatasetError(
            f"{source}: state: expected {layouts}, got {given!r}; it has {has}; or go without: "
            "--map none=state"
        )
    return given


def _size(feature: Mapping[str, Any]) -> int:
    return int(tuple(feature["shape"])[0])


def _names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of a feature's numbers; LeRobot has them as a list or as a list in a dictionary."""
    names = feature.get("names")
    if isinstance(names, Mapping):
        names = next(iter(names.values()), None)
    return tuple(str(name) for name in names) if isinstance(names, list | tuple) else ()
