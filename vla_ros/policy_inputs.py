"""What arrives for a policy, brought together to observations. No ROS; time is an argument."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from policies.interface import MAX_INSTRUCTION
from vla_ros.executor_state import State
from vla_ros.newest import Newest, Place
from vla_ros.still_pictures import StillPictures
from vla_ros.streams import Streams
from vla_ros.synchronizer import Snapshot, StreamError, Synchronizer

JOINTS, EXECUTOR = "joint_states", "executor_node"  # what is watched besides the cameras
EXECUTOR_SILENT_NS = 1_000_000_000  # an executor that was heard is gone when silent for longer
NOTHING_HEARD = Streams((JOINTS, EXECUTOR))


class PolicyInputs:
    """Filled by callbacks in one thread, emptied by the policy's in another.

    A stamp of 0 counts as the moment of arrival: not all drivers stamp.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        tolerance_s: float,
        max_age_s: float,
        still_picture_s: float = 0.0,
    ) -> None:
        self._lock = threading.Lock()
        self._synchronizer = Synchronizer(cameras, round(tolerance_s * 1e9), round(max_age_s * 1e9))
        self._stills = StillPictures(round(still_picture_s * 1e9))
        self.streams = Streams((*cameras, JOINTS, EXECUTOR))
        self.instruction = ""
        self._refusal = ""  # why there is none
        self._interrupted = False  # the executor has ended the work and waits for an instruction
        self._executor = ""  # who it is; empty: it has not told
        self._instructions = Newest()
        self._used_stamp_ns = 0

    def add_image(self, camera: str, stamp_ns: int, image: NDArray[np.uint8], now_ns: int) -> None:
        with self._lock:
            self.streams.on(camera, now_ns)
            self._synchronizer.add_image(camera, stamp_ns or now_ns, image)

    def add_joints(self, stamp_ns: int, joints: NDArray[np.float64], now_ns: int) -> None:
        """The arm's, then the gripper's (n,)."""
        with self._lock:
            self.streams.on(JOINTS, now_ns)
            self._synchronizer.add_joints(stamp_ns or now_ns, joints)

    @property
    def older_instruction(self) -> str:
        """One that does not count, as somebody has given another since; in words."""
        return self._instructions.older

    def on_instruction(
        self, text: str, published_ns: int | None = None, now_ns: int | None = None
    ) -> bool:
        """The one that was published last counts, not the one that arrives last.

        Both times are of the wall clock; `published_ns` None: it is the newest. A text that is too
        long to be one ends the work, as the empty one does. Returns whether other work begins, be
        it with the same text: after the empty one, and after an executor was stopped or started.
        """
        if published_ns is not None and (
            self._instructions.place(text, published_ns, now_ns or published_ns) is not Place.NEWEST
        ):
            return False
        refusal = ""
        if len(text) > MAX_INSTRUCTION:
            refusal = (
                f"instruction: expected at most {MAX_INSTRUCTION} characters, got {len(text)}; "
                "nothing is asked of the policy"
            )
        text = "" if refusal else text
        with self._lock:
            other = self._interrupted or text != self.instruction
            self.instruction, self._refusal, self._interrupted = text, refusal, False
        return other

    def on_executor(self, now_ns: int, state: str = "") -> None:
        """It is alive; `state` is what it tells.

        One that waits has just been started, if it was never heard before. Later it may only miss
        the joints for a moment, and goes on with the same work.
        """
        with self._lock:
            first = self.streams.age_ns(EXECUTOR, now_ns) is None
            self.streams.on(EXECUTOR, now_ns)
            self._interrupted |= state == State.STOPPED or (first and state == State.WAITING)

    def on_executor_presence(self, identity: str) -> None:
        """Who the executor is: another one than before works on nothing that was said before it.

        Two at once move nothing (`rivals.py`), and whichever stays waits for an instruction.
        """
        with self._lock:
            self._interrupted |= bool(self._executor) and identity != self._executor
            self._executor = identity

    def newest(
        self, now_ns: int, report: Callable[[str, str], None]
    ) -> tuple[Snapshot, str] | None:
        """What belongs together and was not taken yet, with the instruction; None: nothing to do.

        `report` gets (level, text), level as in diagnostics, where there is a reason to tell.
        """
        with self._lock:
            if self._refusal:
                report("ERROR", self._refusal)
                return None
            if not self.instruction:
                report("OK", "the instruction is empty: nothing to do")
                return None
            silent_ns = self.streams.age_ns(EXECUTOR, now_ns)
            if silent_ns is not None and silent_ns > EXECUTOR_SILENT_NS:
                report("ERROR", "executor_node is silent: nothing is asked of the policy")
                return None
            try:
                snapshot = self._synchronizer.newest(now_ns)
            except StreamError as error:
                report("ERROR", str(error))
                return None
            if snapshot.stamp_ns == self._used_stamp_ns:
                return None
            self._used_stamp_ns = snapshot.stamp_ns
            problem = self._stills.problem(snapshot)
            if problem:
                report("ERROR", problem)
                return None
            return snapshot, self.instruction
