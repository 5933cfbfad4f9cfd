"""From a chunk of tool poses to a joint motion: what is left of it, IK, blending, limits, checks.

Pure: time is an argument. `vla_ros.execution` decides when to use it, `vla_ros.shaping` makes the
motion, `vla_ros.checks` looks at it before it may go out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from policies.alignment import first_remaining
from policies.interface import ActionError
from vla_ros import shaping
from vla_ros.checks import BodyLike, Violation, tool_violations, violations
from vla_ros.limits import Limits
from vla_ros.texts import shortened
from vla_ros.trajectory import Phase, Trajectory

MOST_POSES = 100  # of a chunk: while it is planned, a stop has to wait
SAME_OPENING = 0.1  # openings that differ by less are the same wish
ATTEMPTS = 6  # to go slow enough
STOP_ATTEMPTS = 3  # to brake gently enough for the tool
LEAST_BRAKING = 0.5  # of what the joints could: to stop is more important
CUTS = 8  # to find what of a chunk is reached in time
IN_TIME_S = 0.8 * shaping.LONGEST_S  # what is left of a motion that is cut: to rest takes longer
LEAST_SINGULAR = 0.1  # share of the speed next to `Limits.stop_condition`


@dataclass(frozen=True)
class PoseChunk:
    """Tool poses in the base frame for the instants `stamp_ns + times_ns`."""

    stamp_ns: int  # [ns], the observation's
    times_ns: NDArray[np.int64]  # (k,) [ns] after `stamp_ns`, rising
    positions: NDArray[np.float64]  # (k, 3) [m]
    quaternions: NDArray[np.float64]  # (k, 4) w, x, y, z
    gripper: NDArray[np.float64]  # (k,) wanted opening, [0, 1]


@dataclass(frozen=True)
class Motion:
    """What goes out for a chunk."""

    stamp_ns: int  # [ns], of the observation it answers
    trajectory: Trajectory
    reached_ns: NDArray[np.int64]  # (k,) [ns] from its start, when it is at each pose
    meant_ns: NDArray[np.int64]  # (k,) and when the chunk wanted it there
    gripper_ns: NDArray[np.int64]  # (k,) from when on each opening is wanted, absolute
    gripper: NDArray[np.float64]  # (k,) opening, [0, 1]
    notes: tuple[str, ...] = ()  # limits that were applied


@dataclass(frozen=True)
class Begin:
    """Where a motion begins, and what it takes the place of."""

    time_ns: int
    phase: Phase
    running: Trajectory | None = None  # what goes on until then
    held_ns: int = 0  # by how much the arm stood still or fell behind since the observation
    blend_ns: int = 0  # in which the new motion takes over from the running one
    now_ns: int | None = None  # the present; None: `time_ns`
    seen: NDArray[np.float64] | None = None  # (n,) [rad], commanded when the image was taken


def plan(chunk: PoseChunk, begin: Begin, limits: Limits, body: BodyLike) -> Motion:
    """The motion from `begin` through what `chunk` still asks for then.

    Poses in the past are dropped (time by which the arm stood still or fell behind does not count
    as passed), and those that the arm has passed; if all are, the last is still the newest target.
    The fingers keep to the arm's times. What takes longer than `shaping.LONGEST_S` is cut: the
    motion ends at rest at the last pose that it reaches by then, or on its way to the first.
    Raises `ActionError` for what no robot should do.
    """
    validate(chunk)
    notes: list[str] = []
    tool, _ = body.forward(begin.phase.positions)
    first, ends_ns = _remaining(chunk, begin, tool, body)
    positions = _inside_workspace(chunk.positions, limits, notes)[first:]
    _check_steps(np.vstack([tool, positions]), limits.step_m, limits.step_m * (first + 1))
    times_s = np.maximum(ends_ns[first:] - begin.time_ns, 0) / 1e9
    count = max(1, int(np.searchsorted(times_s, shaping.LONGEST_S)))  # no later pose is reached
    rotations = Rotation.from_quat(chunk.quaternions[first : first + count], scalar_first=True)
    waypoints = _waypoints(begin.phase.positions, positions[:count], rotations, limits, body, notes)
    times_s = times_s[: len(waypoints)]
    waypoints = _blended(waypoints, times_s, begin)
    gripper = np.clip(chunk.gripper[first : first + len(waypoints)], 0.0, 1.0)
    trajectory, reached_s, times_s = _shaped(
        begin, waypoints, times_s, limits, body, notes, _fingers_rest(gripper)
    )
    now_ns = begin.time_ns if begin.now_ns is None else begin.now_ns
    reached_ns = np.round(reached_s * 1e9).astype(np.int64)
    gripper_ns = np.concatenate([[now_ns], begin.time_ns + reached_ns[:-1]])
    return Motion(
        stamp_ns=chunk.stamp_ns,
        trajectory=trajectory,
        reached_ns=reached_ns,
        meant_ns=np.round(times_s * 1e9).astype(np.int64),
        gripper_ns=gripper_ns,
        gripper=gripper[: len(reached_s)],
        notes=tuple(notes),
    )


def gentle_stop(phase: Phase, now_ns: int, limits: Limits, body: BodyLike) -> Trajectory:
    """Every joint to rest, as fast as the limits of the joints and, as far as possible, of the
    tool's acceleration and jerk allow. Boxes have no say: it has to stop."""
    trajectory, share = shaping.stop(phase, now_ns, limits), 1.0
    for _ in range(STOP_ATTEMPTS):
        found = [each for each in tool_violations(trajectory, limits, body) if each.order >= 2]
        if not found or share == LEAST_BRAKING:
            break
        share *= 0.95 * min(each.allowed / each.found for each in found)
        share = max(share, LEAST_BRAKING)
        gentler = replace(
            limits,
            acceleration_rad_s2=limits.acceleration_rad_s2 * share,
            jerk_rad_s3=limits.jerk_rad_s3 * share,
        )
        try:
            trajectory = shaping.stop(phase, now_ns, gentler)
        except shaping.ShapingError:  # it has more acceleration than that already
            break
    return trajectory


def check_length(poses: int) -> None:
    """Raise `ActionError` for a chunk that would take too long to plan."""
    if poses > MOST_POSES:
        raise ActionError(f"chunk: expected at most {MOST_POSES} poses, got {poses}")


def validate(chunk: PoseChunk) -> None:
    """Raise `ActionError` unless the chunk is finite, rising in time and has unit rotations."""
    count = len(chunk.times_ns)
    check_length(count)
    for name, values, width in (
        ("positions", chunk.positions, 3),
        ("quaternions", chunk.quaternions, 4),
        ("gripper", chunk.gripper, 0),
    ):
        shape = (count, width) if width else (count,)
        if count == 0 or values.shape != shape:
            raise ActionError(f"{name}: expected shape (k, ...) = {shape}, got {values.shape}")
        if not np.all(np.isfinite(values)):
            rows = values.reshape(count, -1)
            first = rows[~np.isfinite(rows).all(axis=1)][0]
            raise ActionError(f"{name}: expected finite numbers, got {first.tolist()}")
    if chunk.times_ns[0] <= 0 or np.any(np.diff(chunk.times_ns) <= 0):
        raise ActionError(
            f"time_from_start: expected rising times [ns], got {shortened(chunk.times_ns.tolist())}"
        )
    norms = np.linalg.norm(chunk.quaternions, axis=1)
    if np.any(np.abs(norms - 1.0) > 0.01):
        raise ActionError(f"quaternions: expected unit length, got {shortened(norms.tolist())}")
    if np.any((chunk.gripper < -0.01) | (chunk.gripper > 1.01)):
        raise ActionError(
            f"gripper: expected an opening from 0 to 1, got {shortened(chunk.gripper.tolist())}"
        )


def singular_share(condition: float, limits: Limits) -> float:
    """Share of the speed near a singularity, as MoveIt Servo scales it: 1 up to `slow_condition`,
    then falling to `LEAST_SINGULAR` at `stop_condition`."""
    span = limits.stop_condition - limits.slow_condition
    return float(np.clip((limits.stop_condition - condition) / span, LEAST_SINGULAR, 1.0))


def _remaining(
    chunk: PoseChunk, begin: Begin, tool: NDArray, body: BodyLike
) -> tuple[int, NDArray[np.int64]]:
    """The first pose still to be done, and when (k,) [ns] each should be.

    An arm in motion cannot turn at once, and so gets past poses faster than it was meant to. It
    does not go back to them: of those whose time has passed on the clock, a pose is done, too, when
    `tool` (3,) [m] is beyond it in the direction in which the chunk comes to it. A pose at which
    the fingers move is not.
    """
    clock_ns = chunk.stamp_ns + chunk.times_ns
    ends_ns = clock_ns + begin.held_ns
    planned = first = first_remaining(ends_ns, begin.time_ns)
    if begin.seen is None:
        return first, ends_ns
    seen, _ = body.forward(begin.seen)
    path = np.vstack([seen, chunk.positions])  # (k + 1, 3), row i + 1 is pose i
    moves = np.diff(path, axis=0)  # (k, 3), row i leads to pose i
    while first < first_remaining(clock_ns, begin.time_ns) and _fingers_rest(chunk.gripper[first:]):
        if np.dot(tool - path[first + 1], moves[first]) <= 0.0:
            break
        first += 1
    if first > planned:
        way_m = max(float(np.linalg.norm(moves[first])), 1e-6)
        share = np.clip(np.dot(tool - path[first], moves[first]) / way_m**2, 0.0, 1.0)
        left_ns = round((1.0 - share) * (ends_ns[first] - ends_ns[first - 1]))
        ends_ns = ends_ns - max(0, int(ends_ns[first]) - begin.time_ns - left_ns)
    return first, ends_ns


def _fingers_rest(gripper: NDArray) -> bool:
    """Whether the fingers stay after the first of the openings (k,): its pose may be missed."""
    return len(gripper) > 1 and abs(float(gripper[1] - gripper[0])) < SAME_OPENING


# --- waypoints ------------------------------------------------------------------------------


def _inside_workspace(positions: NDArray, limits: Limits, notes: list[str]) -> NDArray:
    box = limits.workspace
    excess_m = box.excess_m(positions)
    if excess_m.max() > limits.workspace_margin_m:
        row = int(excess_m.argmax())
        raise ActionError(
            f"pose {_rounded(positions[row])} m is {excess_m[row]:.2f} m outside the workspace "
            f"{_rounded(box.low_m)} to {_rounded(box.high_m)} m"
        )
    if excess_m.max() > 0:
        notes.append(f"moved {excess_m.max() * 1000:.0f} mm back into the workspace")
    return np.clip(positions, box.low_m, box.high_m)


def _check_steps(path: NDArray, most_m: float, most_first_m: float) -> None:
    """`path` (m + 1, 3) [m] begins at the tool; only its first step covers dropped poses."""
    for row, step_m in enumerate(np.linalg.norm(np.diff(path, axis=0), axis=1)):
        allowed_m = most_m if row else most_first_m
        if step_m > allowed_m:
            raise ActionError(
                f"pose {_rounded(path[row + 1])} m is {step_m:.2f} m from the one before; "
                f"at most {allowed_m:.2f} m expected"
            )


def _waypoints(
    seed: NDArray,
    positions: NDArray,
    rotations: Rotation,
    limits: Limits,
    body: BodyLike,
    notes: list[str],
) -> NDArray[np.float64]:
    """Joints (j, n) [rad] for the poses, up to the first where the robot must not go.

    Raises `ActionError` when that is the first of all.
    """
    start = seed
    waypoints: list[NDArray[np.float64]] = []
    for position, rotation in zip(positions, rotations, strict=True):
        solution, error_m = body.inverse(seed, position, rotation)
        if not (np.all(np.isfinite(solution)) and error_m <= limits.reach_error_m):
            raise ActionError(
                f"pose {_rounded(position)} m is out of reach: inverse kinematics leaves "
                f"{error_m * 1000:.0f} mm, at most {limits.reach_error_m * 1000:.0f} mm expected"
            )
        turned = float(np.max(np.abs(solution - seed)))
        if turned > limits.joint_step_rad:
            raise ActionError(
                f"pose {_rounded(position)} m turns a joint by {turned:.2f} rad in one step; "
                f"at most {limits.joint_step_rad:.2f} rad expected"
            )
        solution = np.clip(solution, *limits.target_range_rad)
        reason = _closed(solution, start, limits, body)
        if reason:
            if not waypoints:
                raise ActionError(f"pose {_rounded(position)} m: {reason}")
            notes.append(f"stops {len(positions) - len(waypoints)} poses early: {reason}")
            break
        seed = solution
        waypoints.append(solution)
    return np.stack(waypoints)


def _closed(joints: NDArray, start: NDArray, limits: Limits, body: BodyLike) -> str:
    """Why the robot must not go to `joints`; empty when it may, as when it stands no better now."""
    touching = body.contacts(joints)
    if touching and not body.contacts(start):
        return str(touching[0])
    condition = body.condition(joints)
    if condition > limits.stop_condition and condition > body.condition(start):
        most = limits.stop_condition
        return f"a singularity: condition {condition:.0f}, at most {most:.0f} expected"
    return ""


def _blended(waypoints: NDArray, times_s: NDArray, begin: Begin) -> NDArray[np.float64]:
    """The new waypoints, faded in linearly over `begin.blend_ns` against what was running.

    A running motion that has ended by then has no say: its end is no wish for a time after it.
    """
    running = begin.running
    if running is None or begin.blend_ns <= 0:
        return waypoints
    blended = waypoints.copy()
    for row, time_s in enumerate(times_s):
        share = time_s * 1e9 / begin.blend_ns
        instant_ns = begin.time_ns + round(time_s * 1e9)
        if share < 1.0 and instant_ns < running.end_ns and row < len(waypoints) - 1:
            blended[row] += (1.0 - share) * (running.at(instant_ns).positions - waypoints[row])
    return blended


# --- the motion -----------------------------------------------------------------------------


def _shaped(
    begin: Begin,
    waypoints: NDArray,
    times_s: NDArray,
    limits: Limits,
    body: BodyLike,
    notes: list[str],
    may_miss_first: bool,
) -> tuple[Trajectory, NDArray[np.float64], NDArray[np.float64]]:
    """The fastest tried motion that passes every check, when [s] it is at each waypoint that it
    reaches, and when it was meant to be there (of a way cut short: in proportion).

    Raises `ActionError` when none does.
    """
    condition = max(body.condition(waypoint) for waypoint in waypoints)
    singular = singular_share(condition, limits)
    found: list[Violation] = []
    route = _Route(waypoints, times_s, times_s)
    share, order = 1.0, 1
    for attempt in range(ATTEMPTS):
        trajectory, reached_s, route = _in_time(
            begin, route, _slower(limits, share, order), may_miss_first
        )
        if attempt == 0 and singular < 1.0:
            slower = singular
            notes.append(f"at {slower * 100:.0f} % of the speed: near a singularity")
        else:
            previous, found = found, violations(trajectory, limits, body)
            if not found:
                if previous:
                    notes.append(f"at {share * 100:.2g} % of the speed: {previous[0]}")
                _note_delay(trajectory, begin, route.meant_s, notes)
                _note_cut(route, waypoints, notes)
                return trajectory, reached_s, route.meant_s
            slower = 0.95 * min(violation.slower for violation in found)
            order = max(order, *(violation.order for violation in found))
        if slower == 0.0:
            break  # no speed would help
        share *= slower
        route = replace(route, target_s=reached_s / slower)
    raise ActionError("; ".join(str(violation) for violation in found))


@dataclass(frozen=True)
class _Route:
    """What of a chunk is to be carried out."""

    waypoints: NDArray[np.float64]  # (j, n) [rad]
    meant_s: NDArray[np.float64]  # (j,) when the chunk wants it there
    target_s: NDArray[np.float64]  # (j,) and when shaping is to have it there

    def cut(self, start: NDArray, reached_s: NDArray) -> _Route:
        """What is reached in time; if that is nothing, as much of the way from `start` (n,)."""
        count = int(np.searchsorted(reached_s, IN_TIME_S))
        if count:
            return _Route(self.waypoints[:count], self.meant_s[:count], self.target_s[:count])
        share = IN_TIME_S / reached_s[0]
        part = start + share * (self.waypoints[:1] - start)
        return _Route(part, share * self.meant_s[:1], share * self.target_s[:1])


def _in_time(
    begin: Begin, route: _Route, limits: Limits, may_miss_first: bool
) -> tuple[Trajectory, NDArray[np.float64], _Route]:
    """A motion that ends within `shaping.LONGEST_S`, when [s] it is where, and what it carries out.

    Raises `ShapingError` when there is none.
    """
    for _ in range(CUTS):
        try:
            return *shaping.through(
                begin.phase,
                begin.time_ns,
                route.waypoints,
                route.target_s,
                limits,
                may_miss_first,
            ), route
        except shaping.TooLongError as error:
            route, last = route.cut(begin.phase.positions, error.reached_s), error
    raise last


def _slower(limits: Limits, share: float, order: int) -> Limits:
    """What shaping may use so that the motion goes at `share` of its speed.

    Less acceleration, and less jerk, only where those were too much (`order` 2 and 3): an arm in
    motion needs them to become slower.
    """
    return replace(
        limits,
        velocity_fraction=limits.velocity_fraction * share,
        acceleration_rad_s2=limits.acceleration_rad_s2 * (share**2 if order >= 2 else 1.0),
        jerk_rad_s3=limits.jerk_rad_s3 * (share**3 if order >= 3 else 1.0),
    )


def _note_delay(trajectory: Trajectory, begin: Begin, times_s: NDArray, notes: list[str]) -> None:
    late_ms = (trajectory.end_ns - begin.time_ns) / 1e6 - times_s[-1] * 1e3
    if late_ms > 100.0:
        notes.append(f"slowed by {late_ms:.0f} ms to keep speed limits")


def _note_cut(route: _Route, waypoints: NDArray, notes: list[str]) -> None:
    count, poses = len(route.waypoints), len(waypoints)
    if not np.array_equal(route.waypoints[-1], waypoints[count - 1]):
        where = f"on the way to the first of {poses} poses"
    elif count < poses:
        where = f"at pose {count} of {poses}"
    else:
        return
    notes.append(f"ends {where}: more would take longer than {shaping.LONGEST_S:.0f} s")


def _rounded(values: Sequence[float] | NDArray) -> list[float]:
    return np.round(np.asarray(values, dtype=float), 3).tolist()
