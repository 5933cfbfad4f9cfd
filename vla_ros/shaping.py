"""From joint waypoints to a motion that keeps speed, acceleration and jerk: Ruckig does the work.

Berscheid and Kroeger 2021, arXiv 2105.04830 (the library MoveIt smooths with). Only its motions
from state to state are used: they are computed here, its waypoints by a service on the internet.
"""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import ruckig
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from policies.interface import ActionError
from vla_ros.limits import LEAST_END_SPEED_RAD_S, Limits
from vla_ros.trajectory import SAMPLE_NS, Phase, Trajectory

# Sampled at 20 ms, the controller's polynomials swing a little beyond the exact motion.
USED_ACCELERATION = 0.8  # of the limits
USED_JERK = 0.8
USED_VELOCITY = 0.98  # of the allowed velocity
PASSING_SHARE = 0.6  # of that acceleration between two waypoints: it begins and ends at none
ROUNDS = 4  # to find speeds that suit the time which the slowest joint needs
LONGER = 1.5  # times as long is the most that a round gives a piece
END_SHARES = np.array([0.5, 0.75, 0.875, 0.9375, 1.0])  # parts of a way to the end of a range
LEAST_CUT_RAD = 0.05  # shorter ways are not cut up
MISS_GAIN_S = 0.1  # that leaving out the first waypoint must gain: an action's time
LONGEST_S = 6.0  # of a motion: another chunk has to come earlier (`chunk_timeout_s` ends at 5 s)
LONGEST_STOP_S = 20.0


class ShapingError(ActionError):
    """No motion within the limits was found."""


class TooLongError(ShapingError):
    """The motion takes longer than `LONGEST_S`: `reached_s` (k,) [s] is when it is where."""

    def __init__(self, reached_s: NDArray[np.float64]) -> None:
        super().__init__(
            f"the motion would take {reached_s[-1]:.0f} s; at most {LONGEST_S:.0f} s expected"
        )
        self.reached_s = reached_s


def through(
    start: Phase,
    start_ns: int,
    waypoints: NDArray[np.float64],
    times_s: NDArray[np.float64],
    limits: Limits,
    may_miss_first: bool = False,
) -> tuple[Trajectory, NDArray[np.float64]]:
    """From `start` through `waypoints` (k, n) [rad], at rest at the last one.

    Waypoint i is reached `times_s[i]` (k,) [s] after `start_ns`, or as soon after as the limits
    allow; what comes later is late by as much. The second result are the times (k,) [s] it takes.
    `may_miss_first`: a first waypoint that the start's speed makes a detour may be left out.
    Raises `TooLongError` for a motion that ends after `LONGEST_S`, `ShapingError` for none at all.
    """
    pieces, reached_s = _fastest(start, waypoints, times_s, limits)
    late_s = reached_s[0] - times_s[0]
    if may_miss_first and len(waypoints) > 1 and late_s > MISS_GAIN_S:
        with suppress(ShapingError):
            others, later_s = _fastest(start, waypoints[1:], times_s[1:], limits)
            if later_s[-1] < reached_s[-1] - MISS_GAIN_S:
                passed_s = later_s[0] * times_s[0] / times_s[1]
                pieces, reached_s = others, np.concatenate([[passed_s], later_s])
    if not reached_s[-1] < LONGEST_S:
        raise TooLongError(reached_s)
    trajectory = _sample(start, start_ns, pieces)
    trajectory.positions[-1] = waypoints[-1]  # to the last digit
    return trajectory, reached_s


def _fastest(
    start: Phase, waypoints: NDArray, times_s: NDArray, limits: Limits
) -> tuple[list[ruckig.Trajectory], NDArray[np.float64]]:
    """The pieces of the fastest motion found, and when (k,) [s] each of them ends.

    All joints reach a waypoint together. One that must turn there needs longer than was wanted, and
    the others, at speeds meant for the shorter time, would run past it and come back for a run-up.
    So the speeds are chosen anew for longer times, until they suit.
    """
    waypoints, times_s, rows = _with_points_near_ends(start, waypoints, times_s, limits)
    wanted_s = np.maximum(np.diff(times_s, prepend=0.0), 1e-3)
    pieces, took_s = _rounds(start, waypoints, wanted_s, wanted_s, limits)
    if not took_s.sum() < LONGEST_S:  # from times so much too short, no few rounds lead there
        moves = np.diff(np.vstack([start.positions, waypoints]), axis=0)
        low, high = limits.velocity_bounds_rad_s(waypoints)
        bounds = np.maximum(np.where(moves < 0, -low, high), LEAST_END_SPEED_RAD_S / 10)
        least_s = np.abs(moves / (USED_VELOCITY * bounds)).max(axis=1)
        first_s = np.maximum(wanted_s, least_s)
        with suppress(ShapingError):
            others, later_s = _rounds(start, waypoints, wanted_s, first_s, limits)
            if later_s.sum() < took_s.sum():
                pieces, took_s = others, later_s
    return pieces, np.cumsum(took_s)[rows]


def _with_points_near_ends(
    start: Phase, waypoints: NDArray, times_s: NDArray, limits: Limits
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Points (m, n) on the straight lines between the waypoints (k, n), when each is wanted (m,),
    and which of them (k,) are the waypoints.

    A piece is as slow as its end allows (`_slow_to_ends`). One that leads near the end of a joint's
    range is cut up, each part half as long as the one before, so that only the last is that slow.
    """
    path, ends_s = np.vstack([start.positions, waypoints]), np.concatenate([[0.0], times_s])
    rows = np.arange(len(waypoints))
    low, high = limits.velocity_bounds_rad_s(path)
    moves = np.diff(path, axis=0)
    before = np.where(moves < 0, -low[:-1], high[:-1])
    after = np.where(moves < 0, -low[1:], high[1:])
    slows = np.any((np.abs(moves) > LEAST_CUT_RAD) & (after < 0.5 * before), axis=1)
    if not slows.any():
        return waypoints, times_s, rows
    shares = [END_SHARES if each else np.ones(1) for each in slows]
    points = [path[row] + shares[row][:, None] * moves[row] for row in rows]
    instants_s = [ends_s[row] + shares[row] * np.diff(ends_s)[row] for row in rows]
    ends = np.cumsum([len(part) for part in shares]) - 1
    return np.concatenate(points), np.concatenate(instants_s), ends


def _rounds(
    start: Phase, waypoints: NDArray, wanted_s: NDArray, durations_s: NDArray, limits: Limits
) -> tuple[list[ruckig.Trajectory], NDArray[np.float64]]:
    """The fastest pieces of a few rounds that begin with `durations_s` (k,), and how long each is.

    Raises `ShapingError` when the first round finds none.
    """
    pieces: list[ruckig.Trajectory] = []
    fastest_s: NDArray[np.float64] = np.full(len(wanted_s), np.inf)
    for _ in range(ROUNDS):
        speeds = passing_velocities(start, waypoints, durations_s, limits)
        try:
            tried = _pieces(start, waypoints, wanted_s, speeds, limits)
        except ShapingError:
            if not pieces:
                raise
            break
        took_s = np.array([piece.duration for piece in tried])
        if took_s.sum() < fastest_s.sum():
            pieces, fastest_s = tried, took_s
        if np.all(took_s <= 1.02 * durations_s + 1e-3):
            break
        longer_s = np.maximum(LONGER * durations_s, durations_s + 0.02)
        durations_s = np.maximum(durations_s, np.minimum(took_s, longer_s))
    return pieces, fastest_s


def _pieces(
    start: Phase, waypoints: NDArray, durations_s: NDArray, speeds: NDArray, limits: Limits
) -> list[ruckig.Trajectory]:
    """From waypoint to waypoint, each (n,) passed at its speed (n,) [rad/s]."""
    pieces, phase = [], start
    for waypoint, speed, duration_s in zip(waypoints, speeds, durations_s, strict=True):
        request = _request(phase, limits)
        _slow_to_ends(request, np.stack([phase.positions, waypoint]), limits)
        request.target_position, request.target_velocity = waypoint, speed
        request.target_acceleration = np.zeros(limits.joints)
        request.minimum_duration = float(duration_s)
        try:
            piece = _solve(request, limits.joints)
        except ShapingError:  # some speeds at the end have no numerical solution; rest always has
            request.target_velocity = np.zeros(limits.joints)
            request.minimum_duration = None
            piece = _solve(request, limits.joints)
        pieces.append(piece)
        phase = _phase(piece, piece.duration)
    return pieces


def stop(start: Phase, start_ns: int, limits: Limits) -> Trajectory:
    """Every joint to rest as fast as the limits allow, each for itself."""
    request = _request(start, limits)
    request.control_interface = ruckig.ControlInterface.Velocity
    request.synchronization = ruckig.Synchronization.No
    request.target_velocity = request.target_acceleration = np.zeros(limits.joints)
    piece = _solve(request, limits.joints)
    if not piece.duration < LONGEST_STOP_S:
        raise ShapingError(
            f"braking would take {piece.duration:.0f} s; at most {LONGEST_STOP_S:.0f} s expected"
        )
    return _sample(start, start_ns, [piece])


def standing(joints: NDArray[np.float64], start_ns: int, reach_ns: int = 0) -> Trajectory:
    """Stay at `joints` (n,) [rad]; the controller may take `reach_ns` to be there."""
    rows = 2 + math.ceil(reach_ns / SAMPLE_NS)
    still = np.tile(np.asarray(joints, dtype=float), (rows, 1))
    rest = np.zeros_like(still)
    return Trajectory(start_ns, still, rest, rest, reach_ns, known=reach_ns == 0)


def creeping(
    start: Phase,
    joints: NDArray[np.float64],
    start_ns: int,
    limits: Limits,
    least_ns: int = 0,
    known: bool = True,
) -> Trajectory:
    """To `joints` (n,) [rad] by one point: what a controller makes of it that stands at `start`.

    It takes `least_ns`, or longer if the limits want it. `known`: whether it does stand there.
    """
    took_ns = max(reach_ns(start, joints, limits), least_ns)
    rows = 1 + max(1, math.ceil(took_ns / SAMPLE_NS))
    unsent_ns = (rows - 1) * SAMPLE_NS
    way = CubicHermiteSpline(
        [0.0, unsent_ns / 1e9],
        np.stack([start.positions, joints]),
        np.stack([start.velocities, np.zeros_like(start.velocities)]),
    )
    times_s = np.arange(rows) * (SAMPLE_NS / 1e9)
    positions, velocities, accelerations = (way(times_s, order) for order in range(3))
    positions[-1] = joints  # to the last digit
    velocities[-1] = accelerations[-1] = 0.0
    return Trajectory(start_ns, positions, velocities, accelerations, unsent_ns, known)


def reach_ns(start: Phase, joints: NDArray[np.float64], limits: Limits) -> int:
    """How long a controller that stands at `start` should take to `joints` (n,) [rad]: its cubic
    polynomial, from rest to rest, then keeps speed, acceleration and jerk."""
    way = np.abs(joints - start.positions)
    times_s = (
        1.5 * way / limits.allowed_velocity_rad_s,
        np.sqrt(6 * way / limits.acceleration_rad_s2),
        np.cbrt(12 * way / limits.jerk_rad_s3),
    )
    return round(float(np.max(times_s)) * 1e9)


def passing_velocities(
    start: Phase, waypoints: NDArray, durations_s: NDArray, limits: Limits
) -> NDArray[np.float64]:
    """Speeds (k, n) [rad/s] at the waypoints, such that the way there needs no run-up.

    The slope between the neighbours, none at a joint's turning points, at most 1.5 times either
    side's (Fritsch and Carlson 1980 allow 3), and what the distance to the waypoint before allows
    to gain and the one to the next allows to lose: v^2 <= u^2 + 2 a d.
    """
    path = np.vstack([start.positions, waypoints])  # (k + 1, n)
    moves, spans_s = np.diff(path, axis=0), np.maximum(durations_s, 1e-3)[:, None]
    slopes = moves / spans_s  # (k, n)
    speeds = np.zeros_like(waypoints)
    before, after = slopes[:-1], slopes[1:]
    middle = (path[2:] - path[:-2]) / (spans_s[:-1] + spans_s[1:])
    most = 1.5 * np.minimum(np.abs(before), np.abs(after))
    low, high = limits.velocity_bounds_rad_s(waypoints[:-1])
    low, high = np.maximum(-most, USED_VELOCITY * low), np.minimum(most, USED_VELOCITY * high)
    speeds[:-1] = np.where(before * after > 0, np.clip(middle, low, high), 0.0)
    gains = 2 * PASSING_SHARE * USED_ACCELERATION * limits.acceleration_rad_s2 * np.abs(moves)
    reached = np.where(start.velocities * moves[0] > 0, start.velocities, 0.0)
    for row in range(len(speeds)):
        most = np.sqrt(reached**2 + gains[row])
        reached = speeds[row] = np.clip(speeds[row], -most, most)
    for row in range(len(speeds) - 2, -1, -1):
        most = np.sqrt(speeds[row + 1] ** 2 + gains[row + 1])
        speeds[row] = np.clip(speeds[row], -most, most)
    return speeds


def _request(phase: Phase, limits: Limits) -> ruckig.InputParameter:
    request = ruckig.InputParameter(limits.joints)
    request.current_position = phase.positions
    request.current_velocity = phase.velocities
    request.current_acceleration = phase.accelerations
    request.max_velocity = USED_VELOCITY * limits.allowed_velocity_rad_s
    request.max_acceleration = USED_ACCELERATION * np.asarray(limits.acceleration_rad_s2)
    request.max_jerk = USED_JERK * np.asarray(limits.jerk_rad_s3)
    return request


def _slow_to_ends(request: ruckig.InputParameter, way: NDArray, limits: Limits) -> None:
    """No faster in either direction than is allowed at both ends of a `way` (2, n) [rad]."""
    low, high = limits.velocity_bounds_rad_s(way)
    least = limits.velocity_fraction * LEAST_END_SPEED_RAD_S  # else it could not move away, too
    request.min_velocity = USED_VELOCITY * np.minimum(low.max(axis=0), -least)
    request.max_velocity = USED_VELOCITY * np.maximum(high.min(axis=0), least)


def _solve(request: ruckig.InputParameter, joints: int) -> ruckig.Trajectory:
    solution = ruckig.Trajectory(joints)
    try:
        result = ruckig.Ruckig(joints).calculate(request, solution)
    except (ruckig.RuckigError, ValueError) as error:  # ValueError: results it has no name for
        raise ShapingError(f"no motion within the limits: {' '.join(str(error).split())}") from None
    if result not in (ruckig.Result.Working, ruckig.Result.Finished):
        raise ShapingError(f"no motion within the limits: {result}")
    return solution


def _phase(solution: ruckig.Trajectory, time_s: float) -> Phase:
    return Phase(*(np.array(values) for values in solution.at_time(time_s)))


def _sample(start: Phase, start_ns: int, pieces: list[ruckig.Trajectory]) -> Trajectory:
    ends_s = np.cumsum([piece.duration for piece in pieces])
    last = max(1, math.ceil(ends_s[-1] / (SAMPLE_NS / 1e9) - 1e-6))
    phases = [start]
    for row in range(1, last + 1):
        time_s = row * SAMPLE_NS / 1e9
        piece = min(int(np.searchsorted(ends_s, time_s)), len(pieces) - 1)
        begun_s = ends_s[piece] - pieces[piece].duration
        phases.append(_phase(pieces[piece], min(time_s - begun_s, pieces[piece].duration)))
    end = Phase.at_rest(phases[-1].positions)
    phases[-1] = end
    return Trajectory(
        start_ns,
        np.stack([phase.positions for phase in phases]),
        np.stack([phase.velocities for phase in phases]),
        np.stack([phase.accelerations for phase in phases]),
    )
