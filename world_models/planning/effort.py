"""How much can be imagined in the time left: measured costs, a clock that is passed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from world_models.planning.settings import PlannerSettings

Clock = Callable[[], int]  # [ns], rising
MARGIN = 1.2  # of predicted times: a computer has other things to do
SLOWER, FASTER = 1.0, 0.3  # weight of a measurement above, below what was expected
FORGOTTEN = 0.1  # share of the times, whenever they left no time to measure again
LATE = 0.005  # share of decisions that may be late in the long run
STEP = 0.02  # of the reserve, after one that was
LEAST_RESERVE, MOST_RESERVE = 0.05, 0.5  # of a deadline: a computer stops for a moment


class OutOfTime(Exception):
    """The next step would not be done before the deadline."""


class Budget:
    """The time of one decision."""

    def __init__(self, clock: Clock, limit_ms: float | None, reserve: float = 0.0) -> None:
        """`reserve` is the share of the limit that is not planned with."""
        self._clock = clock
        self._begin_ns = clock()
        self._limit_ns = None if limit_ms is None else round(limit_ms * 1e6)
        self._planned_ns = float("inf") if limit_ms is None else (1.0 - reserve) * limit_ms * 1e6

    @property
    def spent_ns(self) -> int:
        return self._clock() - self._begin_ns

    @property
    def left_ns(self) -> float:
        """Until the deadline, or rather its reserve; infinite without one."""
        return self._planned_ns - self.spent_ns

    @property
    def missed(self) -> bool:
        return self._limit_ns is not None and self.spent_ns > self._limit_ns


class Reserve:
    """The share of a deadline that is not planned with, so that few decisions are late anywhere.

    Adaptive conformal inference (Gibbs and Candes, arXiv 2106.00170, eq. 2): a late decision raises
    the share by `STEP` (1 - `LATE`), one in time lowers it by `STEP` `LATE`. So in the long run a
    share of `LATE` is late at most, however times are distributed, while the most still helps.
    """

    def __init__(self) -> None:
        self.share = LEAST_RESERVE

    def note(self, late: bool) -> None:
        """A decision was late, or was not."""
        share = self.share + STEP * (late - LATE)
        self.share = min(MOST_RESERVE, max(LEAST_RESERVE, share))


class Costs:
    """Time of imagining a frame, by rows times decoding steps.

    Between two sizes that were measured a line; above the largest in proportion to it, below the
    smallest the same: both rather too long than too short. A time that was longer than expected
    counts at once, a shorter one slowly.
    """

    def __init__(self) -> None:
        self._frame_ns: dict[int, float] = {}  # units -> time
        self.begin_ns = 0.0  # of taking in what is seen, the last time

    def known(self, rows: int, decode_steps: int) -> bool:
        """Whether a frame of exactly so many has been measured."""
        return rows * decode_steps in self._frame_ns

    def record(self, rows: int, decode_steps: int, frame_ns: float) -> None:
        """A frame of so many rows took so long."""
        units = rows * decode_steps
        before = self._frame_ns.get(units, frame_ns)
        weight = SLOWER if frame_ns > before else FASTER
        self._frame_ns[units] = before + weight * (frame_ns - before)

    def forget(self) -> None:
        """Nothing fitted: one slow moment must not end planning for good."""
        self.begin_ns *= 1.0 - FORGOTTEN
        self._frame_ns = {
            units: time_ns * (1.0 - FORGOTTEN) for units, time_ns in self._frame_ns.items()
        }

    def frame_ns(self, rows: int, decode_steps: int) -> float:
        """How long a frame will take, with a margin; 0 while nothing has been measured."""
        if not self._frame_ns:
            return 0.0
        units = rows * decode_steps
        sizes = sorted(self._frame_ns)
        times = np.maximum.accumulate([self._frame_ns[size] for size in sizes])
        if units > sizes[-1]:
            return MARGIN * times[-1] * units / sizes[-1]
        return MARGIN * float(np.interp(units, sizes, times))

    def most_rows(self, decode_steps: int, frame_ns: float, limit: int) -> int:
        """The most rows, up to `limit`, whose frame takes no longer than this."""
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            if self.frame_ns(middle, decode_steps) <= frame_ns:
                low = middle
            else:
                high = middle - 1
        return low


@dataclass(frozen=True)
class Effort:
    """What a decision may cost."""

    frames: int  # imagined ahead
    rounds: int
    final_steps: int  # of decoding the finalists once more; 0: they are not


def least_search_ns(settings: PlannerSettings, costs: Costs) -> float:
    """Time of the smallest search: `min_candidates` over `min_frames`."""
    frame_ns = costs.frame_ns(settings.min_candidates, settings.search_steps)
    return settings.min_frames * frame_ns


def choose_effort(
    settings: PlannerSettings,
    costs: Costs,
    left_ns: float,
    rounds: int,
    final_steps: int,
    rows: int | None = None,
) -> Effort | None:
    """The most that fits: first the rounds go, then judging once more, then the horizon.

    None: not even `rows` (None: `min_candidates`) over `min_frames` fit.
    """
    if left_ns == float("inf"):
        return Effort(settings.horizon_frames, rounds, final_steps)
    least_ns = costs.frame_ns(rows or settings.min_candidates, settings.search_steps)
    for frames in range(settings.horizon_frames, settings.min_frames - 1, -1):
        for steps in dict.fromkeys((final_steps, 0)):
            finals_ns = frames * costs.frame_ns(settings.finalists, steps) if steps else 0.0
            left = left_ns - finals_ns
            fitting = rounds if least_ns == 0 else int(min(rounds, left / (frames * least_ns)))
            if left > 0 and fitting >= 1:
                return Effort(frames, fitting, steps)
    return None
