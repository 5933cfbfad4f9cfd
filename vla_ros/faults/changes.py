"""How messages are spoiled: each function changes a message in place or returns another."""

from __future__ import annotations

import string
from array import array
from typing import Any

import numpy as np
from numpy.random import Generator
from rclpy.serialization import serialize_message

NS = 10**9
MOST_JUNK = 100_000  # characters of a text that is far too long


def truncate(message: Any, generator: Generator) -> bytes:
    """The message's bytes on the wire, cut off somewhere: no message any more."""
    data = serialize_message(message)
    return bytes(data[: int(generator.integers(4, max(5, len(data) * 3 // 4)))])


class ShiftStamp:
    """The header's stamp leaps."""

    def __init__(self, shift_ns: int) -> None:
        self._shift_ns = shift_ns

    def __call__(self, message: Any, _generator: Generator) -> Any:
        stamp = message.header.stamp
        shifted_ns = max(0, stamp.sec * NS + stamp.nanosec + self._shift_ns)
        stamp.sec, stamp.nanosec = shifted_ns // NS, shifted_ns % NS
        return message


# --- images ---------------------------------------------------------------------------------


def blacken(message: Any, _generator: Generator) -> Any:
    message.data = array("B", bytes(len(message.data)))
    return message


def noise(message: Any, generator: Generator) -> Any:
    """A third of the bytes become others."""
    pixels = np.frombuffer(message.data, np.uint8).copy()
    wrong = generator.random(pixels.size) < 1 / 3
    pixels[wrong] = generator.integers(0, 256, int(wrong.sum()), dtype=np.uint8)
    message.data = array("B", pixels.tobytes())
    return message


def halve(message: Any, _generator: Generator) -> Any:
    """A whole image of another size."""
    size = message.height // 2
    message.height = message.width = size
    message.step = 3 * size
    message.data = array("B", bytes(range(256)) * (3 * size * size // 256 + 1))[: 3 * size * size]
    return message


def rename_encoding(message: Any, generator: Generator) -> Any:
    message.encoding = str(generator.choice(["mono8", "32FC1", "", "rgb8 ", "yuv422"]))
    return message


def shorten(message: Any, generator: Generator) -> Any:
    """Fewer bytes than the header says, or rows that cannot be."""
    if generator.random() < 0.5:
        message.data = message.data[: int(generator.integers(0, len(message.data)))]
    else:
        message.step = int(generator.integers(0, 3 * message.width))
    return message


# --- joint states ---------------------------------------------------------------------------


def lose_joint(message: Any, generator: Generator) -> Any:
    gone = int(generator.integers(0, 7))
    for name in ("name", "position", "velocity"):
        values = list(getattr(message, name))
        del values[gone]
        setattr(message, name, values)
    return message


def rename_joint(message: Any, generator: Generator) -> Any:
    names = list(message.name)
    names[int(generator.integers(0, 7))] += "_renamed"
    message.name = names
    return message


def shuffle_joints(message: Any, generator: Generator) -> Any:
    order = generator.permutation(len(message.name))
    for name in ("name", "position", "velocity"):
        values = list(getattr(message, name))
        setattr(message, name, [values[index] for index in order])
    return message


def not_a_joint(message: Any, generator: Generator) -> Any:
    message.position[int(generator.integers(0, 7))] = float(
        generator.choice([np.nan, np.inf, -np.inf])
    )
    return message


def fewer_positions(message: Any, generator: Generator) -> Any:
    message.position = message.position[: int(generator.integers(0, 7))]
    return message


class Offset:
    """An encoder that lies: one joint is elsewhere."""

    def __init__(self, joint: int, offset_rad: float) -> None:
        self._joint, self._offset_rad = joint, offset_rad

    def __call__(self, message: Any, _generator: Generator) -> Any:
        message.position[self._joint] += self._offset_rad
        return message


def wild_joint(message: Any, generator: Generator) -> Any:
    """Now and then one joint is anywhere."""
    if generator.random() < 0.3:
        message.position[int(generator.integers(0, 7))] = float(generator.uniform(-3, 3))
    return message


class Stuck:
    """The first positions again and again, with new stamps."""

    def __init__(self) -> None:
        self._first: Any = None

    def __call__(self, message: Any, _generator: Generator) -> Any:
        self._first = message.position if self._first is None else self._first
        message.position = self._first
        return message


# --- chunks ---------------------------------------------------------------------------------


class SetNumber:
    """One number of one pose becomes `value`."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __call__(self, message: Any, generator: Generator) -> Any:
        point = message.points[int(generator.integers(0, len(message.points)))]
        part = point.transforms[0]
        where = part.translation if generator.random() < 0.7 else part.rotation
        setattr(where, str(generator.choice(["x", "y", "z"])), self._value)
        return message


class SetOpening:
    """One opening of the gripper becomes `value`."""

    def __init__(self, value: float) -> None:
        self._value = value

    def __call__(self, message: Any, generator: Generator) -> Any:
        message.points[int(generator.integers(0, len(message.points)))].positions[0] = self._value
        return message


class Constant:
    """Always the poses of the first chunk."""

    def __init__(self) -> None:
        self._first: Any = None

    def __call__(self, message: Any, _generator: Generator) -> Any:
        self._first = message.points if self._first is None else self._first
        message.points = self._first
        return message


def shake(message: Any, generator: Generator) -> Any:
    """Every pose is somewhere around where it should be."""
    for point in message.points:
        place = point.transforms[0].translation
        place.x, place.y, place.z = (
            value + float(generator.normal(0, 0.1)) for value in (place.x, place.y, place.z)
        )
    return message


def any_opening(message: Any, generator: Generator) -> Any:
    for point in message.points:
        point.positions[0] = float(generator.uniform(-0.5, 1.5))
    return message


def misshape(message: Any, generator: Generator) -> Any:
    """A chunk of poses that none can follow, in one of many ways."""
    way = int(generator.integers(0, 7))
    if way == 0:
        message.joint_names = ["elbow"]
    elif way == 1:
        message.header.frame_id = "camera"
    elif way == 2:
        message.points = []
    elif way == 3:
        message.points = [*message.points, message.points[-1]]
    elif way == 4:
        message.points[0].transforms = [*message.points[0].transforms] * 2
    elif way == 5:
        message.points[-1].time_from_start.sec = -5
    else:
        message.points[0].transforms = []
    return message


# --- texts ----------------------------------------------------------------------------------


def garble(message: Any, generator: Generator) -> Any:
    letters = list(message.data or " ")
    for _ in range(1 + len(letters) // 3):
        where = int(generator.integers(0, len(letters)))
        letters[where] = str(generator.choice(list(string.printable)))
    message.data = "".join(letters)
    return message


def junk(message: Any, generator: Generator) -> Any:
    """Text that is too long, of control characters, or no text at all."""
    way = int(generator.integers(0, 3))
    if way == 0:
        message.data = "wander " * (MOST_JUNK // 7)
    elif way == 1:
        message.data = "".join(chr(code) for code in generator.integers(1, 32, 50))
    else:
        size = 20
        return b"\x00\x01\x00\x00" + (size + 1).to_bytes(4, "little") + b"\xff" * size + b"\x00"
    return message
