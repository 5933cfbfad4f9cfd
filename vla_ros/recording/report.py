"""How well a bag's streams fit together: gaps, lateness, skew, and what was left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from vla_ros.recording.arrivals import Arrivals
from vla_ros.recording.bag_streams import BagStreams
from vla_ros.recording.mapping import TopicMapping
from vla_ros.recording.plan import EpisodePlan
from vla_ros.recording.resample import rising


def bag_report(
    streams: BagStreams, plans: list[EpisodePlan], mapping: TopicMapping
) -> dict[str, Any]:
    return {
        "name": streams.name,
        "topics": {
            topic: _topic_report(arrivals, mapping.max_gap_s)
            for topic, arrivals in sorted(streams.arrivals.items())
        },
        "episodes": [_episode_report(plan) for plan in plans],
    }


def _topic_report(arrivals: Arrivals, max_gap_s: float) -> dict[str, Any]:
    """`gaps` are pauses longer than the mapping's `max_gap_s`, `late` messages came after newer
    ones of the same driver.

    `publishers` are those the recorder knew when it began, None if the bag does not say.
    """
    stamps = np.array(arrivals.stamps_ns, np.int64)
    kept = stamps[rising(stamps)]
    steps_ms = np.diff(kept) / 1e6
    found: dict[str, Any] = {
        "type": arrivals.kind,
        "messages": len(stamps),
        "late": arrivals.late,
        "stamped": arrivals.stamped,
        "publishers": arrivals.publishers or None,
        "rate_hz": None,
        "largest_gap_ms": None,
        "gaps": 0,
        "delay_ms": None,  # from stamp to recording: p50, and the largest departure from it
        "jitter_ms": None,
    }
    if len(steps_ms):
        found["rate_hz"] = round(1e3 / float(np.median(steps_ms)), 2)
        found["largest_gap_ms"] = round(float(steps_ms.max()), 1)
        found["gaps"] = int(np.sum(steps_ms > max_gap_s * 1e3))
    if arrivals.stamped:
        delays_ms = np.subtract(arrivals.received_ns, arrivals.stamps_ns) / 1e6
        found["delay_ms"] = round(float(np.median(delays_ms)), 1)
        found["jitter_ms"] = round(float(np.abs(delays_ms - np.median(delays_ms)).max()), 1)
    return found


def _episode_report(plan: EpisodePlan) -> dict[str, Any]:
    """Skew: from a row's instant to the sample taken, or the nearest that was interpolated."""
    return {
        "episode_index": plan.number,
        "rows": 0 if plan.left_out else plan.rows,
        "start_stamp_ns": plan.start_ns,
        "duration_s": round((plan.end_ns - plan.start_ns) / 1e9, 3),
        "task": plan.task,
        "success": plan.success,
        "left_out": plan.left_out or None,
        "trimmed_rows": plan.trimmed,
        "skew_ms": {
            feature: {
                "p50": round(float(np.median(values)) / 1e6, 1),
                "max": round(float(values.max()) / 1e6, 1),
            }
            for feature, values in plan.skew_ns.items()
        },
        "repeated_images": {
            feature: int(np.sum(np.diff(indices) == 0)) for feature, indices in plan.images.items()
        },
    }
