"""Rotations of the control loop as quaternions: SciPy's formulas in Python's own numbers.

`scipy.spatial.transform.Rotation` is for arrays of rotations; for one at a time its checks take
twenty times longer than the mathematics. The results are the same to the bit: x, y, z, w, of
length 1.
"""

from __future__ import annotations

from math import cos, sin, sqrt

import numpy as np
from numpy.typing import NDArray

Quaternion = tuple[float, float, float, float]  # x, y, z, w


def from_matrix(matrix: NDArray) -> Quaternion:
    """Of a rotation matrix, (9,) by rows, that is orthogonal; `Rotation.from_matrix`."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = matrix.tolist()
    trace = xx + yy + zz
    largest = max(xx, yy, zz, trace)
    if largest == xx:
        quaternion = 1 - trace + 2 * xx, yx + xy, zx + xz, zy - yz
    elif largest == yy:
        quaternion = yx + xy, 1 - trace + 2 * yy, zy + yz, xz - zx
    elif largest == zz:
        quaternion = zx + xz, zy + yz, 1 - trace + 2 * zz, yx - xy
    else:
        quaternion = zy - yz, xz - zx, yx - xy, 1 + trace
    return _normalized(quaternion)


def displaced(quaternion: Quaternion, roll_pitch_yaw: NDArray) -> Quaternion:
    """As `sim.kinematics.displaced`: turned by fixed-axis roll, pitch, yaw [rad]."""
    roll, pitch, yaw = (0.5 * roll_pitch_yaw).tolist()
    turn = _product((0.0, sin(pitch), 0.0, cos(pitch)), (sin(roll), 0.0, 0.0, cos(roll)))
    turn = _product((0.0, 0.0, sin(yaw), cos(yaw)), turn)
    return _normalized(_product(turn, quaternion))


def canonical(quaternion: Quaternion) -> NDArray[np.float64]:
    """(4,) w, x, y, z: of the two that are the same rotation that with w >= 0."""
    x, y, z, w = quaternion
    first = next((value for value in (w, x, y, z) if value != 0), 1.0)
    return np.array([w, x, y, z] if first > 0 else [-w, -x, -y, -z])


def _product(left: Quaternion, right: Quaternion) -> Quaternion:
    a, b, c, d = left
    x, y, z, w = right
    return (
        d * x + w * a + (b * z - c * y),
        d * y + w * b + (c * x - a * z),
        d * z + w * c + (a * y - b * x),
        d * w - a * x - b * y - c * z,
    )


def _normalized(quaternion: Quaternion) -> Quaternion:
    x, y, z, w = quaternion
    length = sqrt(x * x + y * y + z * z + w * w)
    return x / length, y / length, z / length, w / length
