"""Decides what of the streams becomes an episode. No ROS; time is an argument.

An episode lasts while an instruction is given: from one that is not empty to the next, or to the
empty one. What it needs to be good data and does not have (images, joint states, time) ends it.
Words that are said within a moment arrive in any order: an episode that has ended waits for the
last one on how it went, which is placed by when it was published.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.episode_files import DatasetError, EpisodeFiles
from sim.kinematics import Kinematics
from vla_ros.recording.commands import Command, RecentCommands
from vla_ros.recording.delays import MAX_CLOCK_OFFSET_NS
from vla_ros.recording.episode import EpisodeInProgress, EpisodeRefusedError, Picture
from vla_ros.recording.joint_history import JointHistory
from vla_ros.recording.outcomes import Ended, whose
from vla_ros.recording.settings import Settings
from vla_ros.recording.stops import Stop
from vla_ros.recording.words import Said
from vla_ros.topics import ARM_COMMAND

RECENT_IMAGES = 32  # per camera
BEHIND_S = 0.3  # messages that waited for longer are named beside what was missing
JOINTS = "joint states"
EMERGENCY_STOP = "emergency stop"
COMMANDS = "commands to the arm"
COMMAND_PATIENCE_S = 2.0  # of an episode without any; then they are missing
JOURNAL = "meta/recording.jsonl"  # a line per episode: outcome as told, ages, repeated images


class Recorder:
    """Feed it what arrives; it appends finished episodes.

    `open_files(shapes)` opens the dataset once every camera has shown the shape of its images.
    What it raises, and the `OSError` of a full disk, passes through; finished episodes stay.
    """

    def __init__(
        self,
        settings: Settings,
        open_files: Callable[[Mapping[str, tuple[int, ...]]], EpisodeFiles],
        on_event: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._settings = settings
        self._open_files = open_files
        self._on_event = on_event
        self._kinematics = Kinematics()
        self._pictures: dict[str, deque[Picture]] = {
            name: deque(maxlen=RECENT_IMAGES) for name in settings.cameras
        }
        self._joints = JointHistory()
        self._arm, self._gripper = RecentCommands(), RecentCommands()
        self._said, self._stop = Said(), Stop()
        self._instructed_ns: int | None = None  # when it was published
        self._pending = False  # an instruction waits for an image to begin with
        self._episode: EpisodeInProgress | None = None
        self._ended: list[Ended] = []  # to be finished when nothing more is said of them
        self._uncommanded = False  # an episode has run without a command, and none came since
        self.files: EpisodeFiles | None = None
        self.recorded = 0
        self.discarded = 0
        self.last = "waiting for an instruction"
        self._remarked = ""  # why an instruction is not recorded; once, however often it is given

    @property
    def recording(self) -> bool:
        return self._episode is not None

    @property
    def instruction(self) -> str:
        """The one in use."""
        return self._said.text

    @property
    def rows(self) -> int:
        """Of the episode in progress."""
        return self._episode.rows if self._episode else 0

    @property
    def missing(self) -> list[str]:
        """The cameras that have shown nothing yet, `JOINTS` when none were told, and `COMMANDS`
        when an episode runs, or ran, without."""
        return [*self._unseen(), *([COMMANDS] if self._uncommanded else [])]

    def _unseen(self) -> list[str]:
        cameras = [name for name, recent in self._pictures.items() if not recent]
        return cameras if self._joints.stamps_ns else [*cameras, JOINTS]

    # --- what arrives -----------------------------------------------------------------------

    def on_instruction(self, text: str, now_ns: int, published_ns: int | None = None) -> None:
        """A new wish ends the episode of the old one; so does the same one that is said anew when
        the old one's outcome is known.

        `now_ns` is when it arrived. `published_ns` None: nothing that was said before is still on
        its way.
        """
        # Simulated time may stand still; by when it was published a text is given anew even then.
        again = self._said.is_again(text, published_ns or now_ns)
        if self._stop.in_force:
            self._instructed_ns = published_ns
            self._begin_after_stop()
            return
        if again:
            if self._pending:
                return
            if not self._said.anew:
                if text and self._episode is None:
                    self._remark(
                        f"{text!r} is only repeated: to be recorded, it must not be given for 2 s "
                        "before, or the empty one be given first"
                    )
                return
            if self._episode is not None and self._episode.success is None:
                self._on_event(
                    f"{text!r} again: the episode goes on until its outcome is told, or another "
                    "instruction or the empty one is given"
                )
                return
        episode, self._episode = self._episode, None
        if episode is not None:
            episode.ended_ns = now_ns
        if published_ns is None:
            self._finish_ended()
            if episode is not None:
                self._finish(episode)
        elif episode is not None:
            self._ended.append(Ended(episode, published_ns))
        self._instructed_ns, self._pending = published_ns, bool(text)

    def on_emergency_stop(self, published_ns: int | None = None) -> None:
        """What the arm does then nobody demonstrates. The next episode begins when the executor
        moves again. One older than the instruction is a latched one, found late."""
        stopped = None if published_ns is None else whose(published_ns, self._ended, None)
        for each in [each for each in self._ended if each.episode is stopped]:
            self._ended.remove(each)
            self._discarded(EMERGENCY_STOP, each.episode)
        if published_ns is not None and published_ns < (self._instructed_ns or 0):
            return
        self._stop.begin()
        if self._pending:
            self._pending = False
            self._say(f"{EMERGENCY_STOP}: no episode begins")
        self._refuse(EMERGENCY_STOP)

    def on_executor(self, state: str) -> None:
        """What it tells on `/executor/state`, 10 times a second: it knows whether a stop counts."""
        if self._stop.on_executor(state):
            self.on_emergency_stop()
        self._begin_after_stop()

    def on_success(self, success: bool, published_ns: int | None = None) -> None:
        """How an episode went; the last word before its end counts.

        `published_ns` tells which, as far as the clocks of those who speak agree; None: the one in
        progress.
        """
        if published_ns is None:
            episode = self._episode
        else:
            episode = whose(published_ns, self._ended, self._episode)
            if episode is None and self._episode is not None:
                self._on_event(
                    f"{'success' if success else 'failure'} counts for nothing: it was told before "
                    f"{self._episode.task!r} was given, by its sender's clock"
                )
        if episode is not None:
            episode.tell(success, published_ns)

    def on_turn(self) -> None:
        """Call it every 0.1 s: what has ended is finished when the words on it have come.

        Raises `OSError`: a full disk.
        """
        for each in self._ended:
            each.turns += 1
        while self._ended and self._ended[0].is_due(self._joints.newest_ns):
            self._finish(self._ended.pop(0).episode)

    def on_behind(self, waited_ns: int) -> None:
        """A message has waited for so long to be heard."""
        if self._episode is not None:
            self._episode.behind_ns = max(self._episode.behind_ns, waited_ns)

    def on_image(self, camera: str, stamp_ns: int, image: NDArray[np.uint8], now_ns: int) -> None:
        """`now_ns` is when it arrived."""
        recent = self._pictures[camera]
        if recent and stamp_ns <= recent[-1].stamp_ns:
            if recent[-1].stamp_ns - stamp_ns < MAX_CLOCK_OFFSET_NS:
                return  # late
            self._refuse(f"camera {camera!r}: its clock was set back")
            recent.clear()
        recent.append(Picture(stamp_ns, image))
        if self._episode is not None:
            self._episode.delays.add(f"images of camera {camera!r}", now_ns - stamp_ns)
        if camera != self._settings.cameras[0]:
            return
        if self._pending:
            self._begin(now_ns)
        elif self._episode is not None:
            self._episode.seen_ns = now_ns
            try:
                self._episode.advance()
                runs_s = self._episode.rows / self._settings.rate_hz
                if runs_s >= COMMAND_PATIENCE_S and not self._episode.arm:
                    self._uncommanded = True
            except EpisodeRefusedError as error:
                self._refuse(str(error))

    def on_joints(self, stamp_ns: int, joints: NDArray[np.float64], now_ns: int) -> None:
        """Measured positions (9,), arm and fingers. Raises what `on_turn` raises."""
        if self._joints.is_of_clock_set_back(stamp_ns):
            self._finish_ended()
            self._refuse(f"{JOINTS}: their clock was set back")
            self._joints.clear()
        if self._episode is not None:
            self._episode.delays.add(JOINTS, now_ns - stamp_ns)
        self._joints.add(stamp_ns, joints)
        if self._episode is None and not self._ended:
            self._joints.forget_old()

    def on_command(
        self,
        gripper: bool,
        points: Sequence[tuple[int, NDArray]],
        start_ns: int,
        now_ns: int,
    ) -> None:
        """A trajectory to the arm or the gripper: ([ns] from start, positions) each.

        `start_ns` 0: from when it arrives.
        """
        if not points:
            return
        if not gripper:
            self._uncommanded = False
        times_ns = np.array([time_ns for time_ns, _ in points], np.int64) + (start_ns or now_ns)
        command = Command(now_ns, times_ns, np.stack([row for _, row in points]))
        (self._gripper if gripper else self._arm).add(command)
        for episode in (*(each.episode for each in self._ended), self._episode):
            if episode is not None:
                episode.on_command(gripper, command)

    def discard(self) -> bool:
        """Throw the episode in progress away. False: there is none."""
        if self._episode is None:
            return False
        self._refuse("on demand")
        return True

    # --- episodes ---------------------------------------------------------------------------

    def _begin_after_stop(self) -> None:
        if self._stop.end(self.instruction):
            self._pending = True
        elif self._stop.in_force and self.instruction:
            self._remark(
                f"{EMERGENCY_STOP}: {self.instruction!r} is recorded when the executor moves again"
            )

    def _begin(self, now_ns: int) -> None:
        if missing := self._unseen():  # commands come with the episode
            self.last = f"waiting for {', '.join(missing)}"
            return
        shapes = {name: recent[-1].image.shape for name, recent in self._pictures.items()}
        if self.files is None:
            self.files = self._open_files(shapes)
        self._pending, self._remarked = False, ""
        first_ns = self._pictures[self._settings.cameras[0]][-1].stamp_ns
        self._episode = EpisodeInProgress(
            self.instruction,
            self._settings.rate_hz,
            self.files.encoder_options,
            self._pictures,
            self._settings.max_gap_s,
            self._instructed_ns,
            (self._arm.standing(first_ns), self._gripper.standing(first_ns)),
        )
        self._episode.seen_ns = now_ns
        self._say(f"recording {self.instruction!r}")

    def _finish_ended(self) -> None:
        while self._ended:
            self._finish(self._ended.pop(0).episode)

    def _finish(self, episode: EpisodeInProgress) -> None:
        if self.files is None:
            return
        try:
            if episode.rows < self._settings.min_rows:
                raise EpisodeRefusedError(
                    f"expected {self._settings.min_rows} rows or more, got {episode.rows}"
                )
            if not episode.arm:
                self._uncommanded = True
                raise EpisodeRefusedError(
                    f"nothing was heard on {ARM_COMMAND}, so what the robot was told is not known "
                    "(a controller of another name? output: twist?)"
                )
            joints = self._joints
            data, entry = episode.finish(joints.stamps_ns, joints.joints, self._kinematics)
            number = self.files.episodes
            self.files.append([data])
        except EpisodeRefusedError as error:
            self._discarded(str(error), episode)
            return
        except (OSError, DatasetError):
            raise
        except Exception as error:  # what a library dislikes of one episode is not the others' end
            self._discarded(f"it cannot be written: {type(error).__name__}: {error}", episode)
            return
        self._note({"episode_index": number, **entry})
        self.recorded += 1
        told = {None: "outcome not told", True: "success", False: "failure"}[episode.success]
        self._say(f"episode {number}: {episode.rows} rows, {told}, {episode.task!r}")

    def _refuse(self, reason: str) -> None:
        episode, self._episode = self._episode, None
        if episode is not None:
            self._discarded(reason, episode)

    def _discarded(self, reason: str, episode: EpisodeInProgress) -> None:
        """What a recorder that is behind lacks may have come: its queues are not endless."""
        self.discarded += 1
        behind_s = episode.behind_ns / 1e9
        behind = f"; the recorder was behind by {behind_s:.1f} s" if behind_s >= BEHIND_S else ""
        self._say(f"episode thrown away: {reason}{behind}")

    def _say(self, text: str) -> None:
        self.last = text
        self._on_event(text)

    def _remark(self, text: str) -> None:
        if text != self._remarked:
            self._remarked = text
            self._on_event(text)

    def _note(self, entry: Mapping[str, object]) -> None:
        assert self.files is not None
        path: Path = self.files.folder / JOURNAL
        with path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def close(self) -> None:
        """Others may open the dataset. What is in progress is thrown away: it was not finished."""
        try:
            self._finish_ended()
        finally:
            self._refuse("recording ended before it did")
            if self.files is not None:
                self.files.close()
                self.files = None
