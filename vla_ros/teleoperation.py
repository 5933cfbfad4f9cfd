"""From an operator's velocities to chunks of absolute tool poses. No ROS; time is an argument.

The wanted pose runs ahead of the measured one by a little at most: an arm that cannot follow (a
limit, an emergency stop) is not yanked when it can again. Without a wish it never moves: an
arm that goes elsewhere then is sent nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vla_ros.planning import PoseChunk

STEPS_NS = np.array([100_000_000, 200_000_000], dtype=np.int64)  # of a chunk, after its stamp
AHEAD_NS = 100_000_000  # further ahead of this machine's clock no stamp is believed
NEVER_NS = -(10**18)
ELSEWHERE = "the arm is not where it should hold: nothing is sent before the next wish to move"


class TeleoperationError(ValueError):
    """What an operator's device sent cannot be followed; the message says why."""


def counts_from_ns(stamp_ns: int, arrived_ns: int, whose: str) -> int:
    """From when a message's age counts, by this machine's clock: its stamp, or when it arrived.

    Never later than it arrived: whoever falls silent is stale in time, whatever the stamps said. A
    stamp of 0 says nothing: not all devices stamp. Raises `TeleoperationError` for one that is more
    than `AHEAD_NS` ahead, which names `whose` clock it is.
    """
    ahead_ns = stamp_ns - arrived_ns
    if ahead_ns > AHEAD_NS:
        raise TeleoperationError(
            f"{whose} clock is {ahead_ns / 1e6:.0f} ms ahead of this machine's"
        )
    return min(stamp_ns or arrived_ns, arrived_ns)


@dataclass(frozen=True)
class TeleoperationLimits:
    """Faster wishes are scaled down, directions stay."""

    speed_m_s: float = 0.25
    turn_rad_s: float = 1.0
    lead_m: float = 0.05  # of the wanted pose before the measured one
    lead_rad: float = 0.3
    twist_timeout_ns: int = 200_000_000  # an older twist counts as none: hold
    joint_timeout_ns: int = 200_000_000  # without joint states for this long nothing is sent
    linger_ns: int = 500_000_000  # after the last input chunks go on for so long, to hold


@dataclass(frozen=True)
class _Tool:
    stamp_ns: int
    position: NDArray[np.float64]  # (3,) [m], base frame
    rotation: Rotation


class Teleoperation:
    """Feed it what arrives; `step` returns what the executor gets, at a steady rate."""

    def __init__(self, limits: TeleoperationLimits | None = None) -> None:
        self._limits = limits or TeleoperationLimits()
        self._tool: _Tool | None = None
        self._opening = 1.0
        self._opening_told = False
        self._velocity = np.zeros(6)  # [m/s], [rad/s], base frame
        self._twist_ns = NEVER_NS
        self._inputs_ns = {"twist": NEVER_NS, "gripper": NEVER_NS}  # when they were last used
        self._wanted: tuple[NDArray, Rotation] | None = None
        self._stepped_ns = 0
        self.state = "waiting for joint states"

    def on_tool(self, position: NDArray, rotation: Rotation, opening: float, stamp_ns: int) -> None:
        """The measured pose in the base frame and the gripper's opening, when measured.

        `stamp_ns` as `counts_from_ns` gives it.
        """
        self._tool = _Tool(stamp_ns, np.asarray(position, float), rotation)
        if not self._opening_told:
            self._opening = float(np.clip(opening, 0.0, 1.0))  # stays as it is

    def on_twist(self, linear: NDArray, angular: NDArray, stamp_ns: int, now_ns: int) -> None:
        """Wanted velocities (3,) [m/s] and (3,) [rad/s] in the base frame; `now_ns`: it arrives.

        Raises `TeleoperationError` for what cannot be followed; no earlier wish is, then.
        """
        velocity = np.concatenate([linear, angular]).astype(float)
        self._twist_ns = NEVER_NS
        if not np.all(np.isfinite(velocity)):
            raise TeleoperationError(f"twist: expected finite numbers, got {velocity.tolist()}")
        twist_ns = counts_from_ns(stamp_ns, now_ns, "twist: the operator's")
        for part, limit in (
            (slice(0, 3), self._limits.speed_m_s),
            (slice(3, 6), self._limits.turn_rad_s),
        ):
            size = float(np.linalg.norm(velocity[part]))
            if size > limit:
                velocity[part] *= limit / size
        self._velocity = velocity
        self._twist_ns = self._inputs_ns["twist"] = twist_ns

    def on_gripper(self, opening: float, stamp_ns: int) -> None:
        """Wanted opening, 0 = closed, 1 = open; clipped."""
        if not np.isfinite(opening):
            raise TeleoperationError(f"gripper: expected a finite number, got {opening}")
        self._opening, self._opening_told = float(np.clip(opening, 0.0, 1.0)), True
        self._inputs_ns["gripper"] = stamp_ns

    def step(self, now_ns: int) -> PoseChunk | None:
        """The chunk to send now; None: nothing, so that the executor holds."""
        tool, limits = self._tool, self._limits
        if tool is None or not _fresh(tool.stamp_ns, now_ns, limits.joint_timeout_ns):
            self._wanted, self.state = None, "waiting for joint states"
            return None
        if not any(_fresh(each, now_ns, limits.linger_ns) for each in self._inputs_ns.values()):
            self._wanted, self.state = None, "no input: nothing is sent"
            return None
        wishes = _fresh(self._twist_ns, now_ns, limits.twist_timeout_ns)
        velocity = self._velocity if wishes else np.zeros(6)
        moving = bool(np.any(velocity))
        if not moving and self._elsewhere(tool):
            # Led after the arm, the pose would lead the arm in turn: it would run away.
            self._wanted, self.state = None, ELSEWHERE
            return None
        if self._wanted is None or (not moving and self.state == "moving"):
            self._wanted = (tool.position, tool.rotation)  # to hold means: where it is
            self._stepped_ns = now_ns
        self.state = "moving" if moving else "holding"
        period_s = min(0.1, max(0.0, (now_ns - self._stepped_ns) / 1e9))
        self._stepped_ns = now_ns
        position, rotation = _moved(self._wanted, velocity, period_s)
        wanted = self._wanted = self._near(position, rotation, tool)
        ahead_s = (tool.stamp_ns + STEPS_NS - now_ns) / 1e9
        poses = [_moved(wanted, velocity, max(0.0, each)) for each in ahead_s]
        return PoseChunk(
            stamp_ns=tool.stamp_ns,
            times_ns=STEPS_NS,
            positions=np.stack([each for each, _ in poses]),
            quaternions=np.stack(
                [each.as_quat(canonical=True, scalar_first=True) for _, each in poses]
            ),
            gripper=np.full(len(STEPS_NS), self._opening),
        )

    def _elsewhere(self, tool: _Tool) -> bool:
        """Whether an arm that was to hold is further from there than the pose may lead it."""
        if self._wanted is None or self.state != "holding":
            return self.state == ELSEWHERE
        position, rotation = self._wanted
        away_m = float(np.linalg.norm(position - tool.position))
        away_rad = float((rotation * tool.rotation.inv()).magnitude())
        return away_m > self._limits.lead_m or away_rad > self._limits.lead_rad

    def _near(self, position: NDArray, rotation: Rotation, tool: _Tool) -> tuple[NDArray, Rotation]:
        lead = position - tool.position
        distance = float(np.linalg.norm(lead))
        if distance > self._limits.lead_m:
            position = tool.position + lead * self._limits.lead_m / distance
        turn = (rotation * tool.rotation.inv()).as_rotvec()
        angle = float(np.linalg.norm(turn))
        if angle > self._limits.lead_rad:
            rotation = Rotation.from_rotvec(turn * self._limits.lead_rad / angle) * tool.rotation
        return position, rotation


def _fresh(since_ns: int, now_ns: int, timeout_ns: int) -> bool:
    """What lies in the future was heard before the clock was set back: it is not."""
    return 0 <= now_ns - since_ns <= timeout_ns


def _moved(
    pose: tuple[NDArray, Rotation], velocity: NDArray, duration_s: float
) -> tuple[NDArray, Rotation]:
    turn = Rotation.from_rotvec(velocity[3:] * duration_s)
    return pose[0] + velocity[:3] * duration_s, turn * pose[1]
