"""A policy at work in a thread of its own: always the newest observation, never a queue.

The thread starts when the policy node is activated and has ended when it is deactivated. No ROS.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from policies.alignment import end_times_ns
from policies.chunks import absolute_poses
from policies.interface import ActionChunk, ActionError, Observation, Policy
from vla_ros.pacing import Pacer
from vla_ros.planning import PoseChunk
from vla_ros.robots import FR3, Gripper
from vla_ros.synchronizer import Snapshot
from vla_ros.texts import said

LONGEST_S = 600.0  # of a chunk
RECENT = 10  # answers whose latency counts
WAIT_S = 0.1  # the thread looks this often whether it should end


class Forward(Protocol):
    """What an observation needs of `sim.kinematics.Kinematics`."""

    def forward(self, joint_positions: NDArray) -> tuple[NDArray, Rotation]: ...


def observe(
    snapshot: Snapshot, instruction: str, kinematics: Forward, gripper: Gripper = FR3.gripper
) -> Observation:
    """The observation of a snapshot whose joints are the arm's, then the gripper's."""
    arm, fingers = np.split(snapshot.joints, [len(snapshot.joints) - len(gripper.joints)])
    position, rotation = kinematics.forward(arm)
    return Observation(
        images=snapshot.images,
        joint_positions=arm,
        gripper_opening=gripper.opening(fingers),
        ee_position=position,
        ee_quaternion=rotation.as_quat(canonical=True, scalar_first=True),
        instruction=instruction,
        stamp_ns=snapshot.stamp_ns,
    )


def to_pose_chunk(chunk: ActionChunk, observation: Observation) -> PoseChunk:
    """What the executor gets: absolute poses. Raises `ActionError` for an unknown frame and for a
    chunk that is longer than any plan."""
    if chunk.frame != "base":
        raise ActionError(f"frame: expected 'base', got {chunk.frame!r}")
    if len(chunk.actions) * chunk.dt_s > LONGEST_S:
        raise ActionError(
            f"dt_s: expected a chunk of {LONGEST_S:g} s or less, "
            f"got {len(chunk.actions)} actions of {chunk.dt_s:g} s"
        )
    positions, rotations, gripper = absolute_poses(chunk, observation)
    return PoseChunk(
        stamp_ns=chunk.stamp_ns,
        times_ns=end_times_ns(len(positions), chunk.dt_s),
        positions=positions,
        quaternions=rotations.as_quat(canonical=True, scalar_first=True),
        gripper=gripper,
    )


class InferenceLoop:
    """Runs `policy` on what `next_observation` returns and gives the chunk to `publish`.

    `next_observation` returns None when there is nothing new; `is_current` says whether an
    observation's instruction still holds when the policy is done with it. `report` gets
    (level, text), level as in diagnostics.
    """

    def __init__(
        self,
        policy: Policy,
        next_observation: Callable[[], Observation | None],
        publish: Callable[[PoseChunk, NDArray], None],
        is_current: Callable[[Observation], bool],
        report: Callable[[str, str], None],
        rate_hz: float,
        margin_s: float | None = None,
    ) -> None:
        """With `margin_s` the next request waits until what is left of the last chunk lasts no
        longer than the slowest of the last answers took, and this margin; without it every
        observation is used, at most `rate_hz`."""
        self._policy = policy
        self._next_observation = next_observation
        self._publish = publish
        self._is_current = is_current
        self._report = report
        self._pacer = Pacer(rate_hz)
        self._wake = threading.Event()
        self._running = threading.Event()
        self._anew = threading.Event()
        self._thread: threading.Thread | None = None
        self._margin_ns = None if margin_s is None else round(margin_s * 1e9)
        self._recent_ms: deque[float] = deque(maxlen=RECENT)
        self._chunk_ns = (0, 0)  # when the last one begins and ends
        self._instruction: str | None = None
        self.latency_ms = 0.0  # of the last prediction
        self.diagnostics: Mapping[str, float] = {}  # what the last chunk says about itself
        self.count = 0  # predictions published

    @property
    def at_work(self) -> bool:
        """Whether there is a thread: also one whose policy has not returned since `stop`."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Not while it is `at_work`: there would be two."""
        self._chunk_ns = (0, 0)
        self._running.set()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Something new may be there."""
        self._wake.set()

    def begin_anew(self) -> None:
        """What the policy has seen so far is of other work, though the instruction may be the same:
        it forgets that before it sees more."""
        self._anew.set()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Publish nothing any more; False when the policy did not return in time."""
        self._running.clear()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.at_work

    def _run(self) -> None:
        while self._running.is_set():
            self._wake.wait(WAIT_S)
            self._wake.clear()
            if self._running.is_set():
                self.step()

    def step(self) -> None:
        """One prediction, if there is something new to see."""
        try:
            if self._anew.is_set():  # before it looks: what is seen then is of the new work
                self._anew.clear()
                self._instruction = None
            observation = self._next_observation()
            if observation is None:
                return
            if not self._pacer.allows(observation.stamp_ns) or not self._is_due(observation):
                return
            self._pacer.take(observation.stamp_ns)
            if observation.instruction != self._instruction:
                self._policy.reset()
                self._instruction = observation.instruction  # not if that raised
            start_s = time.perf_counter()
            chunk = self._policy.predict_chunk(observation)
            self.latency_ms = (time.perf_counter() - start_s) * 1e3
            self._recent_ms.append(self.latency_ms)
            self.diagnostics = dict(chunk.diagnostics)  # the policy may go on writing in its own
            poses = to_pose_chunk(chunk, observation)
            if self._running.is_set() and self._is_current(observation):
                self.count += 1
                self._chunk_ns = (poses.stamp_ns, poses.stamp_ns + int(poses.times_ns[-1]))
                self._publish(poses, chunk.actions)
                self._report("OK", "running")
        except Exception as error:  # a policy may be anybody's code: its failure must not end us
            self._report("ERROR", said(error))

    def _is_due(self, observation: Observation) -> bool:
        """Whether the answer to a later observation could come too late."""
        if self._margin_ns is None or observation.instruction != self._instruction:
            return True
        if not self._recent_ms or observation.stamp_ns < self._chunk_ns[0]:  # the clock went back
            return True
        latest_ns = self._chunk_ns[1] - round(max(self._recent_ms) * 1e6) - self._margin_ns
        return observation.stamp_ns + self._pacer.period_ns > latest_ns
