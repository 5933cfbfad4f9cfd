"""One episode while it is recorded: images are chosen and encoded at once, numbers at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import av
import numpy as np
from numpy.typing import NDArray

from sim import video
from sim.episode_tables import EpisodeData, outcome_columns, sample_pixels
from sim.following import Trajectory
from sim.kinematics import Kinematics
from vla_ros.recording.arm import ArmStreams, arm_columns
from vla_ros.recording.commands import Command
from vla_ros.recording.delays import Delays
from vla_ros.recording.mapping import image_feature
from vla_ros.recording.resample import Series, rising, ticks_ns


class EpisodeRefusedError(ValueError):
    """An episode that must not become data; the message says why."""


@dataclass(frozen=True)
class Picture:
    """One camera image."""

    stamp_ns: int
    image: NDArray[np.uint8]  # (h, w, 3) RGB


@dataclass
class _Track:
    """One camera's images, a row each."""

    encoder: video.Encoder
    shape: tuple[int, ...]
    stamps_ns: list[int] = field(default_factory=list)
    samples: list[NDArray[np.uint8]] = field(default_factory=list)  # (1, 3, h', w') each
    oldest_ns: int = 0  # how old an image was when its row was taken
    repeated: int = 0

    def take(self, picture: Picture, instant_ns: int) -> None:
        try:
            self.encoder.add(picture.image)
        except av.FFmpegError as error:  # of that size
            raise EpisodeRefusedError(f"images of shape {self.shape}: {error}") from error
        self.samples.append(sample_pixels(picture.image[None]).copy())
        self.repeated += bool(self.stamps_ns) and self.stamps_ns[-1] == picture.stamp_ns
        self.oldest_ns = max(self.oldest_ns, instant_ns - picture.stamp_ns)
        self.stamps_ns.append(picture.stamp_ns)


class EpisodeInProgress:
    """Rows are taken at a fixed rate, from the newest image of the first camera on.

    `pictures` are the cameras' recent images, which the caller keeps filling; of each the newest
    that is not after a row's instant is taken. State and action are those at the instant of the
    first camera's image. `since_ns` is when its instruction was published, None: unknown.
    `before` is what the arm and the gripper were told before it began, oldest first.
    """

    def __init__(
        self,
        task: str,
        rate_hz: int,
        options: Mapping[str, str],
        pictures: Mapping[str, deque[Picture]],
        max_gap_s: float,
        since_ns: int | None = None,
        before: tuple[Sequence[Command], Sequence[Command]] = ((), ()),
    ) -> None:
        self.task = task
        self.since_ns = since_ns
        self.success: bool | None = None  # as told
        self._told_ns = 0
        self.delays = Delays()
        self.seen_ns = 0  # when the last image of the first camera arrived
        self.ended_ns: int | None = None  # when what ended it arrived
        self.behind_ns = 0  # longest that a message has waited for the recorder
        self._before = (list(before[0]), list(before[1]))
        self.arm: list[Command] = []  # told since it began
        self.gripper: list[Command] = []
        self._rate_hz = rate_hz
        self._pictures = pictures
        self._reference = next(iter(pictures))
        self._max_gap_ns = round(max_gap_s * 1e9)
        self.first_ns = pictures[self._reference][-1].stamp_ns
        self._tracks = {}
        for name, recent in pictures.items():
            shape = recent[-1].image.shape
            self._tracks[name] = _Track(video.Encoder(shape[0], shape[1], rate_hz, options), shape)
        self.rows = 0

    def tell(self, success: bool, published_ns: int | None = None) -> None:
        """How it went; what was said last counts, whatever the order of arrival. None: now."""
        if published_ns is None or published_ns >= self._told_ns:
            self.success, self._told_ns = success, published_ns or self._told_ns

    def on_command(self, gripper: bool, command: Command) -> None:
        """What the arm, or the gripper, was told; it may have come before the first image."""
        now = self.gripper if gripper else self.arm
        early = command.arrived_ns < self.first_ns
        (self._before[gripper] if early else now).append(command)

    @property
    def last_ns(self) -> int:
        """The instant of the last row so far."""
        stamps_ns = self._tracks[self._reference].stamps_ns
        return stamps_ns[-1] if stamps_ns else self.first_ns

    def advance(self) -> None:
        """Take the rows before the newest image of the first camera.

        Raises `EpisodeRefusedError` when a camera has nothing recent enough to show.
        """
        until_ns = self._pictures[self._reference][-1].stamp_ns
        period_ns = round(1e9 / self._rate_hz)
        # A stamp from far in the future would mean billions of rows; a few tell of the gap.
        enough_ns = self.first_ns + (self.rows + 2) * period_ns + self._max_gap_ns
        until_ns = min(until_ns, enough_ns)
        for instant_ns in ticks_ns(self.first_ns, until_ns, self._rate_hz)[self.rows :]:
            for name, track in self._tracks.items():
                track.take(self._choose(name, int(instant_ns), track.shape), int(instant_ns))
            self.rows += 1

    def _choose(self, name: str, instant_ns: int, shape: tuple[int, ...]) -> Picture:
        before = [each for each in self._pictures[name] if each.stamp_ns <= instant_ns]
        if not before or instant_ns - before[-1].stamp_ns > self._max_gap_ns:
            raise EpisodeRefusedError(
                f"camera {name!r}: no image for more than {self._max_gap_ns / 1e6:.0f} ms "
                f"in row {self.rows}"
            )
        if before[-1].image.shape != shape:
            raise EpisodeRefusedError(
                f"camera {name!r}: expected images of shape {shape}, "
                f"got {before[-1].image.shape} in row {self.rows}"
            )
        return before[-1]

    def finish(
        self, stamps_ns: list[int], joints: list[NDArray], kinematics: Kinematics
    ) -> tuple[EpisodeData, dict[str, object]]:
        """The episode, and how well its streams matched. `joints` (9,) each, as they came.

        Raises `EpisodeRefusedError` when there are no rows, images or joint states are missing, or
        its streams have two clocks.
        """
        if reason := self.delays.two_clocks:
            raise EpisodeRefusedError(reason)
        self._check_seen_to_the_end()
        videos = {image_feature(name): t.encoder.finish() for name, t in self._tracks.items()}
        if not self.rows:
            raise EpisodeRefusedError("it ended before the first row")
        instants_ns = np.array(self._tracks[self._reference].stamps_ns, dtype=np.int64)
        series, gap_ns = self._joint_series(stamps_ns, joints, instants_ns)
        streams = ArmStreams(
            self.first_ns,
            series,
            self._trajectories([*self._before[0], *self.arm]),
            self._trajectories([*self._before[1], *self.gripper]),
        )
        columns = arm_columns(streams, instants_ns, 1.0 / self._rate_hz, kinematics)
        data = EpisodeData(
            task=self.task,
            columns={**columns, **outcome_columns(bool(self.success), self.rows)},
            videos=videos,
            pixels={
                image_feature(name): np.concatenate(t.samples) for name, t in self._tracks.items()
            },
        )
        return data, {
            "task": self.task,
            "rows": self.rows,
            "success": self.success,
            "start_stamp_ns": self.first_ns,
            "image_age_ms": {n: round(t.oldest_ns / 1e6, 1) for n, t in self._tracks.items()},
            "repeated_images": {name: t.repeated for name, t in self._tracks.items()},
            "joint_gap_ms": round(gap_ns / 1e6, 1),
        }

    def _check_seen_to_the_end(self) -> None:
        """Rows come with the first camera's images: without any there would be just none."""
        if self.ended_ns is None:
            return
        silent_ns = self.ended_ns - self.seen_ns
        if silent_ns > self._max_gap_ns:
            raise EpisodeRefusedError(
                f"camera {self._reference!r}: no image in its last {silent_ns / 1e6:.0f} ms; "
                f"at most {self._max_gap_ns / 1e6:.0f} ms expected"
            )

    def _joint_series(
        self, stamps_ns: list[int], joints: list[NDArray], instants_ns: NDArray[np.int64]
    ) -> tuple[Series, int]:
        """Joint states around the episode's instants, and the longest time without one."""
        kept = rising(np.array(stamps_ns, dtype=np.int64))
        times = np.array(stamps_ns, dtype=np.int64)[kept]
        first = max(0, int(np.searchsorted(times, instants_ns[0], side="right")) - 1)
        last = int(np.searchsorted(times, instants_ns[-1], side="left")) + 1
        times, rows = times[first:last], kept[first:last]
        edges = np.concatenate([instants_ns[:1], times, instants_ns[-1:]])
        gap_ns = int(np.abs(np.diff(edges)).max())
        if not len(times) or gap_ns > self._max_gap_ns:
            raise EpisodeRefusedError(
                f"no joint states for {gap_ns / 1e6:.0f} ms; "
                f"at most {self._max_gap_ns / 1e6:.0f} ms expected"
            )
        return Series(times, np.stack([joints[row] for row in rows])), gap_ns

    def _trajectories(self, commands: list[Command]) -> list[Trajectory]:
        first_ns = self.first_ns
        return [
            Trajectory(
                (each.arrived_ns - first_ns) / 1e9,
                (each.times_ns - first_ns) / 1e9,
                each.positions,
            )
            for each in commands
        ]
