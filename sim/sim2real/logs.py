"""A run of a robot as numbers: what its encoders said, what its joints were told, how it ended.

Readers of files (`rosbag`, `lerobot_logs`) make a `Log`, which checks itself: a log with gaps, a
clock that jumps, degrees in place of radians or joints of another robot never gets further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim import robot

MIN_DURATION_S = 1.0
MAX_GAP_S = 0.25  # between two joint states: longer, and what happened meanwhile is unknown
MAX_GAP_PERIODS = 5.0  # the same, in typical periods: whichever is longer
LONGEST_GAP_S = 0.5  # whatever the typical period: stamps in milliseconds are no slow log
MAX_IMAGE_STEP_BACK_S = 0.1  # drivers that estimate a camera's clock correct it a little
LIMIT_MARGIN_RAD = 0.05  # encoders and limits of two sources differ a little
MAX_SPEED_FACTOR = 2.0  # of the joints' velocity limits; more is no motion but a jump


class LogError(ValueError):
    """A log that cannot be used; the message names the file, the field, the value, the choices."""


@dataclass(frozen=True)
class Log:
    """One run. Times count from the first joint state; poses are in the base frame."""

    name: str
    stamps_s: NDArray[np.float64]  # (n,) [s], when joints were measured, rising from 0
    joint_positions: NDArray[np.float64]  # (n, 7) [rad], in the order of `robot.JOINT_NAMES`
    # What the joints were told: corners of a path, straight between them, held after the last.
    command_stamps_s: NDArray[np.float64]  # (m,) [s], rising
    commands: NDArray[np.float64]  # (m, 7) [rad]
    gripper_openings: NDArray[np.float64] | None = None  # (n,) measured, 0 = closed, 1 = open
    # When images were taken, by camera; the pictures themselves stay in the file.
    image_stamps_s: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    instruction: str | None = None
    success: bool | None = None  # None: the log does not say

    def __post_init__(self) -> None:
        joints = len(robot.JOINT_NAMES)
        self._check_rows("joint_positions", self.stamps_s, self.joint_positions, (joints,))
        self._check_rows("commands", self.command_stamps_s, self.commands, (joints,))
        if self.gripper_openings is not None:
            self._check_rows("gripper_openings", self.stamps_s, self.gripper_openings, ())
            self._check_openings(self.gripper_openings)
        self._check_times()
        for name, values in (
            ("joint_positions", self.joint_positions),
            ("commands", self.commands),
        ):
            self._check_angles(name, values)
        self._check_speed()

    @property
    def duration_s(self) -> float:
        return float(self.stamps_s[-1])

    def command_at(self, times_s: NDArray) -> NDArray[np.float64]:
        """The joint command (k, 7) [rad] at `times_s` (k,), held before the first and the last."""
        return np.stack(
            [np.interp(times_s, self.command_stamps_s, column) for column in self.commands.T],
            axis=1,
        )

    # --- what makes a log unusable ----------------------------------------------------------

    def _fail(self, field_name: str, text: str) -> None:
        raise LogError(f"{self.name}: {field_name}: {text}")

    def _check_rows(
        self, name: str, stamps: NDArray, values: NDArray, row_shape: tuple[int, ...]
    ) -> None:
        if len(stamps) < 2 or values.shape != (len(stamps), *row_shape):
            self._fail(
                name,
                f"expected at least 2 rows of shape {row_shape}, one for each stamp, "
                f"got {values.shape} for {len(stamps)} stamps",
            )
        bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1) | ~np.isfinite(stamps)
        if bad.any():
            row = int(bad.argmax())
            self._fail(name, f"expected finite numbers, got {values[row]} in row {row}")

    def _check_openings(self, openings: NDArray) -> None:
        low, high = float(openings.min()), float(openings.max())
        if low < -0.1 or high > 1.1:
            self._fail(
                "gripper_openings",
                f"expected 0 (closed) to 1 (open), got {low:.3g} to {high:.3g}; "
                "millimetres and percentages must be scaled",
            )

    def _check_times(self) -> None:
        steps = np.diff(self.stamps_s)
        if np.any(steps <= 0):
            row = int(np.argmax(steps <= 0))
            self._fail(
                "stamps_s",
                f"the clock jumps back (or stands still) by {-steps[row]:.3f} s "
                f"after {self.stamps_s[row]:.3f} s",
            )
        if np.any(np.diff(self.command_stamps_s) <= 0):
            row = int(np.argmax(np.diff(self.command_stamps_s) <= 0))
            self._fail("command_stamps_s", f"expected rising times, got none after row {row}")
        period_s = float(np.median(steps))
        limit_s = min(LONGEST_GAP_S, max(MAX_GAP_S, MAX_GAP_PERIODS * period_s))
        if steps.max() > limit_s:
            row = int(steps.argmax())
            self._fail(
                "stamps_s",
                f"a gap (or a clock that jumps) of {steps[row]:.3f} s after "
                f"{self.stamps_s[row]:.3f} s; at most {limit_s:.2f} s expected"
                + ("; are the stamps in seconds?" if period_s > LONGEST_GAP_S else ""),
            )
        if self.duration_s < MIN_DURATION_S:
            self._fail(
                "stamps_s", f"expected {MIN_DURATION_S:g} s or more, got {self.duration_s:.2f} s"
            )
        first, last = float(self.command_stamps_s[0]), float(self.command_stamps_s[-1])
        if first > self.duration_s or last < 0:
            self._fail(
                "command_stamps_s",
                f"commands ({first:.1f} to {last:.1f} s) and joint states (0 to "
                f"{self.duration_s:.1f} s) do not overlap; are they on the same clock?",
            )
        for camera, stamps in self.image_stamps_s.items():
            self._check_image_times(camera, stamps)

    def _check_image_times(self, camera: str, stamps: NDArray) -> None:
        field_name = f"image_stamps_s, {camera}"
        falling = np.diff(stamps) < -MAX_IMAGE_STEP_BACK_S
        if falling.any():
            row = int(falling.argmax())
            self._fail(
                field_name,
                f"the clock jumps back from {stamps[row]:.3f} to {stamps[row + 1]:.3f} s",
            )
        if len(stamps) and not (stamps[0] <= self.duration_s and stamps[-1] >= 0):
            self._fail(
                field_name,
                f"images ({stamps[0]:.1f} to {stamps[-1]:.1f} s) and joint states (0 to "
                f"{self.duration_s:.1f} s) do not overlap; are they on the same clock?",
            )

    def _check_angles(self, name: str, values: NDArray) -> None:
        lower = robot.POSITION_LOWER_RAD - LIMIT_MARGIN_RAD
        upper = robot.POSITION_UPPER_RAD + LIMIT_MARGIN_RAD
        if np.all((values >= lower) & (values <= upper)):
            return
        row, joint = np.argwhere((values < lower) | (values > upper))[0]
        radians = np.deg2rad(values)
        hint = ""
        if np.all((radians >= lower) & (radians <= upper)):
            hint = "; as degrees all values would fit: radians are expected"
        self._fail(
            f"{name}, {robot.JOINT_NAMES[joint]}",
            f"expected {lower[joint]:.3f} to {upper[joint]:.3f} rad, "
            f"got {values[row, joint]:.4g} in row {row}{hint}",
        )

    def _check_speed(self) -> None:
        limit = MAX_SPEED_FACTOR * robot.VELOCITY_LIMIT_RAD_S
        # Over 20 ms and more: stamps of neighbouring states jitter.
        steps = max(1, int(np.ceil(0.02 / np.median(np.diff(self.stamps_s)))))
        moved = np.abs(self.joint_positions[steps:] - self.joint_positions[:-steps])
        speed = moved / (self.stamps_s[steps:] - self.stamps_s[:-steps])[:, None]  # [rad/s]
        if np.any(speed > limit):
            row, joint = np.argwhere(speed > limit)[0]
            self._fail(
                f"joint_positions, {robot.JOINT_NAMES[joint]}",
                f"expected at most {limit[joint]:.1f} rad/s, got {speed[row, joint]:.1f} rad/s "
                f"after {self.stamps_s[row]:.3f} s: the position jumps",
            )


def ordered_by_name(
    names: Sequence[str], positions: NDArray, wanted: Sequence[str], where: str
) -> NDArray[np.float64]:
    """Columns (..., len(wanted)) of `positions` (..., len(names)) by name, in the wanted order."""
    short = [name.removesuffix(".pos") for name in names]  # LeRobot's robots append it
    missing = [name for name in wanted if name not in short]
    if missing:
        raise LogError(
            f"{where}: joints: expected {', '.join(wanted)}, got {', '.join(names) or 'none'}; "
            f"missing {', '.join(missing)}: is it a log of another robot?"
        )
    return np.asarray(positions, float)[..., [short.index(name) for name in wanted]]


def outcomes(logs: Sequence[Log]) -> dict[str, int]:
    """How many logs tell their outcome, and how many of them succeeded."""
    told = [log.success for log in logs if log.success is not None]
    return {"episodes": len(told), "successes": sum(told)}
