"""The demo's figures and pictures come from the records, checked by hand."""

import numpy as np
import pytest

from vla_ros.episodes import EpisodeRecord, Frame, summarize
from vla_ros.pictures import Video, compose, plot


def record(success=True, latencies_ms=(), times_s=(), frames=0):
    image = np.full((16, 16, 3), 128, np.uint8)
    return EpisodeRecord(
        number=1,
        task="Lift",
        seed=3,
        instruction="pick up the red cube",
        time_limit_s=12.0,
        success=success,
        duration_s=1.0,
        steps=len(latencies_ms),
        frames=[Frame(index * 10**8, image, np.zeros(7)) for index in range(frames)],
        tool_path=[np.array([0.4 + 0.01 * index, 0.0, 0.2]) for index in range(frames)],
        latencies_ms=list(latencies_ms),
        command_times_s=list(times_s),
    )


def test_the_summary_of_two_episodes():
    records = [record(True, [10.0, 30.0], [0.0, 0.1]), record(False, [20.0], [0.0])]
    summary = summarize(records, "mine")
    assert summary["success_rate"] == 0.5
    assert summary["loop_latency_ms"]["p50"] == 20.0
    assert summary["loop_latency_ms"]["p99"] == 29.8  # 20 + 0.98 * 10
    assert summary["rate_hz"] == 10.0
    assert summary["episodes"][0] == {
        "task": "Lift",
        "instruction": "pick up the red cube",
        "seed": 3,
        "success": True,
        "steps": 2,
        "duration_s": 1.0,
    }


def test_what_was_not_measured_is_null():
    summary = summarize([record()], "mine")
    assert summary["rate_hz"] is None
    assert summary["loop_latency_ms"] == {"p50": None, "p99": None}
    assert summarize([], "mine")["success_rate"] is None


def test_frames_have_the_videos_size_and_the_mark_is_drawn():
    one = record(frames=1)
    plain = compose(one.frames[0], one, 0.5, 1, 2, done=False)
    marked = compose(one.frames[0], one, 0.5, 1, 2, done=True)
    assert plain.shape == (720, 960, 3)
    assert plain.dtype == np.uint8
    assert not np.array_equal(plain, marked)


def test_a_video_holds_every_frame_and_a_truncated_one_is_noticed(tmp_path):
    path = tmp_path / "demo.mp4"
    video = Video(path, rate_hz=10.0)
    video.add_episode(record(frames=3), 1, 1, hold=2)
    video.close()
    video.check()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(OSError, match="expected 5 frames in the video, got 0; is the disk full"):
        video.check()


@pytest.mark.parametrize("count", [0, 1, 6, 12])
def test_any_number_of_episodes_can_be_plotted(tmp_path, count):
    plot([record(frames=5, latencies_ms=[50.0, 60.0])] * count, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
