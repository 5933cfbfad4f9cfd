"""Which rows a bag's episodes have: where they begin and end, which images, which numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vla_ros.recording.bag_streams import POSE, TEXT, BagStreams, NumberStream
from vla_ros.recording.mapping import TopicMapping
from vla_ros.recording.resample import (
    Series,
    ages_ns,
    hold,
    interpolate,
    interpolate_poses,
    newest,
    rising,
    ticks_ns,
)
from vla_ros.recording.words import REPEATED_NS

# Drivers that are ended together end so far apart at most: then `ros2 launch` ends them by force.
SHUTDOWN_NS = 5_000_000_000
LATE_WORD_NS = 200_000_000  # on how an episode went, after its end; so long the recorder waits, too


@dataclass
class EpisodePlan:
    """One episode; with a reason in `left_out` it does not become data."""

    start_ns: int
    end_ns: int
    task: str = ""
    success: bool | None = None  # as told; None: nobody did
    left_out: str = ""
    trimmed: int = 0  # rows at its ends for which a stream had nothing yet, or nothing any more
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    images: dict[str, NDArray[np.intp]] = field(default_factory=dict)  # feature -> message indices
    skew_ns: dict[str, NDArray[np.int64]] = field(default_factory=dict)  # feature -> (n,)
    number: int | None = None  # in the dataset

    @property
    def rows(self) -> int:
        lengths = [len(column) for column in self.columns.values()]
        return max([*lengths, *(len(indices) for indices in self.images.values())], default=0)


def plan_episodes(streams: BagStreams, mapping: TopicMapping) -> list[EpisodePlan]:
    """The episodes of a bag in order, also those that are left out."""
    return [_plan(streams, mapping, start, end) for start, end in _spans(streams, mapping)]


# --- where episodes begin and end -------------------------------------------------------------


def _spans(streams: BagStreams, mapping: TopicMapping) -> list[tuple[int, int]]:
    reference = _reference_stamps(streams, mapping)
    if not len(reference):
        return []
    # Until the last that was seen or measured: a camera that dies does not end an episode.
    ends = [stamps[-1] for _, stamps in _watched(streams, mapping) if len(stamps)]
    whole = (int(reference[0]), int(max(ends, default=reference[-1])))
    split = mapping.episodes
    if split.by == "gap":
        cuts = np.flatnonzero(np.diff(reference) > split.longer_than_s * 1e9)
        firsts = np.concatenate([[0], cuts + 1])
        lasts = np.concatenate([cuts, [len(reference) - 1]])
        return [(int(reference[a]), int(reference[b])) for a, b in zip(firsts, lasts, strict=True)]
    if split.by == "bag":
        return [whole]
    spans, since, before, heard_ns = [], None, None, 0
    for received_ns, value in streams.words.get(split.topic, []):
        anew = received_ns - heard_ns >= REPEATED_NS
        heard_ns = received_ns
        if value == before and not (
            anew and since is not None and _finished(streams, mapping, since, received_ns)
        ):
            continue
        if since is not None:
            spans.append((since, received_ns))
        since, before = (received_ns if value else None), value
    if since is not None:
        spans.append((since, whole[1]))
    return [(start, end) for start, end in spans if end > start]


def _finished(streams: BagStreams, mapping: TopicMapping, since_ns: int, until_ns: int) -> bool:
    """Whether somebody has told how it went: then the same text, said anew, is the next episode."""
    if streams.arrivals[mapping.episodes.topic].kind != TEXT or not mapping.success:
        return False
    words = streams.words.get(mapping.success.topic, [])
    return any(since_ns <= received_ns <= until_ns for received_ns, _ in words)


def _watched(streams: BagStreams, mapping: TopicMapping) -> list[tuple[str, NDArray[np.int64]]]:
    """When what must keep coming was seen or measured: topic and stamps, rising. Several drivers
    may share a topic."""
    found = []
    for camera in mapping.cameras.values():
        stamps = np.array(streams.arrivals[camera.topic].stamps_ns, np.int64)
        found.append((camera.topic, stamps[rising(stamps)]))
    for feature, sources in mapping.numbers.items():
        for source, part in zip(sources, streams.numbers[feature], strict=True):
            if not part.held:
                found.append((source.topic, part.series.stamps_ns))
    return found


def _reference_stamps(streams: BagStreams, mapping: TopicMapping) -> NDArray[np.int64]:
    """Of the first camera, or of the first numbers."""
    for camera in mapping.cameras.values():
        stamps = np.array(streams.arrivals[camera.topic].stamps_ns, np.int64)
        return stamps[rising(stamps)]
    return next(iter(streams.numbers.values()))[0].series.stamps_ns


# --- what they hold -----------------------------------------------------------------------------


def _plan(streams: BagStreams, mapping: TopicMapping, start_ns: int, end_ns: int) -> EpisodePlan:
    plan = EpisodePlan(start_ns, end_ns)
    plan.task, plan.left_out = _task(streams, mapping, start_ns)
    plan.success = _outcome(streams, mapping, start_ns, end_ns)
    plan.left_out = plan.left_out or _silence(streams, mapping, start_ns, end_ns)
    reference = _reference_stamps(streams, mapping)
    inside = reference[(reference >= start_ns) & (reference <= end_ns)]
    ticks = ticks_ns(int(inside[0]), int(inside[-1]), mapping.rate_hz) if len(inside) else inside
    # With cameras a row's numbers are those at its first image; what is seen must be what is.
    instants = reference[newest(reference, ticks)] if mapping.cameras else ticks
    period_ns = round(1e9 / mapping.rate_hz)
    usable = np.ones(len(ticks), dtype=bool)
    for stream in (each for parts in streams.numbers.values() for each in parts):
        usable &= _covered(stream, instants + period_ns * stream.next_row, mapping.max_gap_s * 1e9)
    for camera in mapping.cameras.values():
        stamps = np.array(streams.arrivals[camera.topic].stamps_ns, np.int64)
        usable &= _shown(stamps, ticks, mapping.max_gap_s * 1e9)
    rows = np.flatnonzero(usable)
    if len(rows):  # what lies between is looked at below
        rows = np.arange(rows[0], rows[-1] + 1)
    unseen_ns = end_ns - int(inside[-1]) if len(inside) else 0  # by the first camera, at its end
    plan.trimmed = len(ticks) + unseen_ns // period_ns - len(rows)
    if len(rows) < mapping.min_rows:
        plan.left_out = plan.left_out or (
            f"expected {mapping.min_rows} rows or more in which every stream has data, "
            f"got {len(rows)}"
        )
        return plan
    _fill(plan, streams, mapping, ticks[rows], instants[rows])
    return plan


def _task(streams: BagStreams, mapping: TopicMapping, start_ns: int) -> tuple[str, str]:
    """The instruction, and a reason to leave the episode out."""
    if mapping.task.text:
        return mapping.task.text, ""
    said = [
        text
        for received_ns, text in streams.words.get(mapping.task.topic, [])
        if received_ns <= start_ns
    ]
    if said and said[-1]:
        return said[-1], ""
    return "", f"no text on {mapping.task.topic} when it begins"


def _outcome(streams: BagStreams, mapping: TopicMapping, start_ns: int, end_ns: int) -> bool | None:
    """The last word within the episode, or the first just after it. None: nobody told.

    What is said just after its beginning may be such a word on the one before.
    """
    if not mapping.success:
        return None
    words = streams.words.get(mapping.success.topic, [])
    within = [value for at_ns, value in words if start_ns + LATE_WORD_NS <= at_ns <= end_ns]
    late = [value for at_ns, value in words if end_ns < at_ns <= end_ns + LATE_WORD_NS]
    told = [*within[-1:], *late[:1]]
    return bool(told[0]) if told else None


def _silence(streams: BagStreams, mapping: TopicMapping, start_ns: int, end_ns: int) -> str:
    """Why an episode lacks its beginning or its end; else empty.

    Where nobody has marked them, drivers are still starting, and do not end at one instant.
    """
    max_gap_ns = mapping.max_gap_s * 1e9
    begin_is_marked = mapping.episodes.by == "topic"
    words = streams.words.get(mapping.episodes.topic, []) if begin_is_marked else []
    end_is_marked = any(received_ns == end_ns for received_ns, _ in words)
    most_ns = {
        "first": max_gap_ns if begin_is_marked else np.inf,
        "last": max_gap_ns if end_is_marked else max(max_gap_ns, SHUTDOWN_NS),
    }
    for topic, stamps in _watched(streams, mapping):
        inside = stamps[(stamps >= start_ns) & (stamps <= end_ns)]
        first_ns, last_ns = (inside[0], inside[-1]) if len(inside) else (end_ns, start_ns)
        silent_ns = {"first": first_ns - start_ns, "last": end_ns - last_ns}
        for where, each_ns in silent_ns.items():
            if each_ns > most_ns[where]:
                return (
                    f"{topic}: nothing for its {where} {each_ns / 1e6:.0f} ms, "
                    f"at most {most_ns[where] / 1e6:.0f} ms expected"
                )
    return ""


def _shown(
    stamps_ns: NDArray[np.int64], ticks: NDArray[np.int64], max_gap_ns: float
) -> NDArray[np.bool_]:
    """Where a camera's newest image is of then."""
    if not len(stamps_ns):
        return np.zeros(len(ticks), dtype=bool)
    stamps_ns = stamps_ns[rising(stamps_ns)]
    return (ticks >= stamps_ns[0]) & (ages_ns(stamps_ns, ticks) <= max_gap_ns)


def _covered(
    stream: NumberStream, instants_ns: NDArray[np.int64], max_gap_ns: float
) -> NDArray[np.bool_]:
    """Where there is something to take: of commands the first has come, of measurements there is
    one before and one after, not too far apart."""
    stamps = stream.series.stamps_ns
    covered = instants_ns >= stamps[0]
    if not stream.held:
        covered &= _gaps_ns(stream, instants_ns) <= max_gap_ns
    if stream.linear and not stream.held:
        covered &= instants_ns <= stamps[-1]
    return covered


def _gaps_ns(stream: NumberStream, instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) how long a measurement was silent about each instant."""
    if stream.linear:
        return _steps_ns(stream.series, instants_ns)
    return ages_ns(stream.series.stamps_ns, instants_ns)


def _fill(
    plan: EpisodePlan,
    streams: BagStreams,
    mapping: TopicMapping,
    ticks: NDArray[np.int64],
    instants: NDArray[np.int64],
) -> None:
    period_ns = round(1e9 / mapping.rate_hz)
    gaps: dict[str, int] = {}
    for feature, camera in mapping.cameras.items():
        stamps = np.array(streams.arrivals[camera.topic].stamps_ns, np.int64)
        kept = rising(stamps)
        chosen = newest(stamps[kept], ticks)
        plan.images[feature] = kept[chosen]
        plan.skew_ns[feature] = ticks - stamps[kept][chosen]
        gaps[camera.topic] = int(plan.skew_ns[feature].max())
    for feature, parts in streams.numbers.items():
        columns, skews = [], []
        for part, source in zip(parts, mapping.numbers[feature], strict=True):
            at = instants + period_ns * part.next_row
            columns.append(_sample(part, at))
            skews.append(_nearest_ns(part.series.stamps_ns, at) if part.linear
                         else ages_ns(part.series.stamps_ns, at))  # fmt: skip
            if not part.held:
                gaps[source.topic] = max(gaps.get(source.topic, 0), int(_gaps_ns(part, at).max()))
        plan.columns[feature] = np.hstack(columns).astype(np.float32)
        plan.skew_ns[feature] = np.max(skews, axis=0)
    topic = max(gaps, key=lambda each: gaps[each], default="")
    if topic and gaps[topic] > mapping.max_gap_s * 1e9:
        plan.left_out = plan.left_out or (
            f"{topic}: nothing for {gaps[topic] / 1e6:.0f} ms, "
            f"at most {mapping.max_gap_s * 1e3:.0f} ms expected"
        )


def _sample(stream: NumberStream, instants_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    if not stream.linear:
        return hold(stream.series, instants_ns)
    if stream.kind == POSE:
        return interpolate_poses(stream.series, instants_ns)
    return interpolate(stream.series, instants_ns)


def _nearest_ns(stamps_ns: NDArray[np.int64], instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) to the nearest sample."""
    before = np.maximum(newest(stamps_ns, instants_ns), 0)
    after = np.minimum(before + 1, len(stamps_ns) - 1)
    return np.minimum(
        np.abs(instants_ns - stamps_ns[before]), np.abs(instants_ns - stamps_ns[after])
    )


def _steps_ns(series: Series, instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) time between the two samples around each instant."""
    before = np.maximum(newest(series.stamps_ns, instants_ns), 0)
    after = np.minimum(before + 1, len(series.stamps_ns) - 1)
    return series.stamps_ns[after] - series.stamps_ns[before]
