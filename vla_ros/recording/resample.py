"""Streams that come when they like, at the instants of a fixed rate. Time is header stamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp


@dataclass(frozen=True)
class Series:
    """Numbers over time."""

    stamps_ns: NDArray[np.int64]  # (m,) [ns], rising
    values: NDArray[np.float64]  # (m, d)

    def __post_init__(self) -> None:
        if len(self.stamps_ns) != len(self.values) or self.values.ndim != 2:
            raise ValueError(
                f"series: expected one row of values for each stamp, got {self.values.shape} for "
                f"{len(self.stamps_ns)} stamps"
            )


def rising(stamps_ns: NDArray[np.int64]) -> NDArray[np.intp]:
    """Which of the stamps, in the order they came, are later than all before them."""
    stamps_ns = np.asarray(stamps_ns, dtype=np.int64)
    if not len(stamps_ns):
        return np.zeros(0, dtype=np.intp)
    before = np.concatenate([[stamps_ns[0] - 1], np.maximum.accumulate(stamps_ns)[:-1]])
    return np.flatnonzero(stamps_ns > before)


def ticks_ns(first_ns: int, end_ns: int, rate_hz: float) -> NDArray[np.int64]:
    """When rows are taken, (n,) [ns]: at the rate, from half a period after the first image on.

    Half a period, because a camera at the same rate jitters about its own grid: at its instants
    the newest image would be now this one, now the one before.
    """
    period_ns = 1e9 / rate_hz
    count = max(0, int(np.floor((end_ns - first_ns) / period_ns + 0.5)))
    return first_ns + np.round((np.arange(count) + 0.5) * period_ns).astype(np.int64)


def newest(stamps_ns: NDArray[np.int64], instants_ns: NDArray[np.int64]) -> NDArray[np.intp]:
    """Index of the newest sample not after each instant, -1 where there is none. Never later."""
    return np.searchsorted(stamps_ns, instants_ns, side="right") - 1


def hold(series: Series, instants_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, d): the newest values; before the first, the first."""
    return series.values[np.maximum(newest(series.stamps_ns, instants_ns), 0)]


def interpolate(series: Series, instants_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, d): on straight lines between samples, held before the first and after the last."""
    # Differences first: nanoseconds since 1970 do not fit into a double.
    start = series.stamps_ns[0]
    times, instants = (series.stamps_ns - start).astype(float), (instants_ns - start).astype(float)
    return np.stack([np.interp(instants, times, column) for column in series.values.T], axis=1)


def interpolate_poses(series: Series, instants_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, 7) x y z, w x y z: positions on straight lines, rotations along the shortest turn.

    Of a quaternion's two signs the one with w >= 0 is taken.
    """
    positions = interpolate(Series(series.stamps_ns, series.values[:, :3]), instants_ns)
    rotations = Rotation.from_quat(series.values[:, 3:], scalar_first=True)
    if len(series.stamps_ns) > 1:
        start = series.stamps_ns[0]
        inside = np.clip(instants_ns, start, series.stamps_ns[-1])
        turn = Slerp((series.stamps_ns - start).astype(float), rotations)
        rotations = turn((inside - start).astype(float))
    else:
        rotations = Rotation.concatenate([rotations] * len(instants_ns))
    return np.hstack([positions, rotations.as_quat(canonical=True, scalar_first=True)])


def ages_ns(stamps_ns: NDArray[np.int64], instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) how old the newest sample is at each instant; before the first, how far off that is."""
    indices = newest(stamps_ns, instants_ns)
    return np.abs(instants_ns - stamps_ns[np.maximum(indices, 0)])
