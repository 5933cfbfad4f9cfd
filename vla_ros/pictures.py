"""The demo's video and its plots of paths and latencies. No ROS."""

from __future__ import annotations

import textwrap
from collections.abc import Generator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from policies.interface import ACTION_NAMES
from vla_ros.episodes import EpisodeRecord, Frame

SIDE_PX = 640  # of the camera picture
PANEL_PX = 320  # to its right
HEAD_PX = 80  # above both
BACKGROUND, PANEL, TRACK = (18, 21, 27), (27, 31, 40), (48, 54, 68)
TEXT, DIM = (236, 239, 244), (150, 158, 173)
GREEN, RED, BLUE, ORANGE = (88, 196, 122), (232, 96, 92), (96, 156, 240), (240, 170, 80)
# Full deflection of the bars: displacement [m], turn [rad], gripper opening.
BAR_RANGES = (0.05, 0.05, 0.05, 0.2, 0.2, 0.2, 1.0)
BAR_UNITS = (
    " mm",
    " mm",
    " mm",
    "\N{DEGREE SIGN}",
    "\N{DEGREE SIGN}",
    "\N{DEGREE SIGN}",
    " % open",
)
BAR_SCALES = (1e3, 1e3, 1e3, 180 / np.pi, 180 / np.pi, 180 / np.pi, 1e2)


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Matplotlib brings this font along; no system font is needed."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), size)


def compose(
    frame: Frame, record: EpisodeRecord, elapsed_s: float, index: int, count: int, done: bool
) -> NDArray[np.uint8]:
    """One frame of the video, (720, 960, 3) uint8 RGB. `index` of `count` episodes, from 1."""
    canvas = Image.new("RGB", (SIDE_PX + PANEL_PX, SIDE_PX + HEAD_PX), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    camera = Image.fromarray(frame.image).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    canvas.paste(camera, (0, HEAD_PX))
    text = f"\N{LEFT DOUBLE QUOTATION MARK}{record.instruction}\N{RIGHT DOUBLE QUOTATION MARK}"
    size = 34
    while size > 16 and draw.textlength(text, _font(size, bold=True)) > SIDE_PX + PANEL_PX - 40:
        size -= 1
    draw.text((20, HEAD_PX / 2), text, TEXT, _font(size, bold=True), anchor="lm")
    _panel(draw, frame, record, elapsed_s, index, count)
    if done:
        label, color = ("success", GREEN) if record.success else ("not done in time", RED)
        _mark(draw, label, color, record.success)
    return np.asarray(canvas)


def _panel(draw, frame: Frame, record: EpisodeRecord, elapsed_s: float, index: int, count: int):
    left, right, top = SIDE_PX, SIDE_PX + PANEL_PX, HEAD_PX
    draw.rectangle((left, top, right, top + SIDE_PX), PANEL)
    draw.text((left + 20, top + 20), record.task, TEXT, _font(26, bold=True))
    draw.text((left + 20, top + 58), f"episode {index} of {count}", DIM, _font(17))
    draw.text((left + 20, top + 82), f"{elapsed_s:.1f} s", DIM, _font(17))
    draw.text((left + 20, top + 132), "action", DIM, _font(17))
    for row, (name, value, full, unit, scale) in enumerate(
        zip(ACTION_NAMES, frame.action, BAR_RANGES, BAR_UNITS, BAR_SCALES, strict=True)
    ):
        y = top + 168 + row * 58
        draw.text((left + 20, y), name, TEXT, _font(17))
        draw.text((right - 20, y), f"{round(value * scale)}{unit}", DIM, _font(16), anchor="ra")
        low, high, bar = left + 20, right - 20, y + 28
        draw.rounded_rectangle((low, bar, high, bar + 10), 5, TRACK)
        if name == "gripper":
            end = low + float(np.clip(value, 0.03, 1)) * (high - low)
            draw.rounded_rectangle((low, bar, end, bar + 10), 5, ORANGE)
            continue
        middle = (low + high) / 2
        end = middle + float(np.clip(value / full, -1, 1)) * (high - low) / 2
        if abs(end - middle) >= 1:
            draw.rectangle((min(middle, end), bar, max(middle, end), bar + 10), BLUE)
        draw.line((middle, bar - 3, middle, bar + 13), DIM, 2)


def _mark(draw, label: str, color: tuple[int, int, int], success: bool) -> None:
    font = _font(24, bold=True)
    width = draw.textlength(label, font) + 74
    x, y = (SIDE_PX - width) / 2, HEAD_PX + SIDE_PX - 74
    draw.rounded_rectangle((x, y, x + width, y + 50), 25, BACKGROUND, color, 3)
    if success:
        draw.line((x + 22, y + 26, x + 30, y + 34, x + 46, y + 16), color, 5, joint="curve")
    else:
        draw.line((x + 24, y + 17, x + 42, y + 35), color, 5)
        draw.line((x + 24, y + 35, x + 42, y + 17), color, 5)
    draw.text((x + 56, y + 25), label, color, font, anchor="lm")


class Video:
    """An mp4 (h264, yuv420p) written frame by frame."""

    def __init__(self, path: Path, rate_hz: float) -> None:
        self._path = path
        self._rate_hz = rate_hz
        self._writer: Generator[None, Any, None] | None = None  # ffmpeg, started by the first frame
        self._count = 0

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Append one frame of `compose`'s size."""
        try:
            if self._writer is None:
                self._writer = self._start()
            self._writer.send(np.ascontiguousarray(picture))
        except OSError as error:
            raise OSError(f"{self._path}: the video cannot be written: {error}") from error
        self._count += 1

    def _start(self) -> Generator[None, Any, None]:
        import imageio_ffmpeg

        writer = imageio_ffmpeg.write_frames(
            str(self._path),
            (SIDE_PX + PANEL_PX, SIDE_PX + HEAD_PX),
            fps=self._rate_hz,
            codec="libx264",
            pix_fmt_out="yuv420p",
            output_params=["-preset", "veryfast", "-crf", "23", "-movflags", "+faststart"],
            macro_block_size=16,
            ffmpeg_log_level="error",
        )
        writer.send(None)
        return writer

    def add_episode(self, record: EpisodeRecord, index: int, count: int, hold: int = 8) -> None:
        """All frames of an episode, and the last for `hold` frames with its outcome."""
        if not record.frames:
            return
        start_ns = record.frames[0].stamp_ns
        for frame in record.frames:
            elapsed_s = (frame.stamp_ns - start_ns) / 1e9
            done = elapsed_s > record.duration_s
            self.add(compose(frame, record, min(elapsed_s, record.duration_s), index, count, done))
        last = compose(record.frames[-1], record, record.duration_s, index, count, True)
        for _ in range(hold):
            self.add(last)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def check(self) -> None:
        """Raise unless the closed file holds every frame: ffmpeg dies quietly on a full disk."""
        import imageio_ffmpeg

        try:
            found, _ = imageio_ffmpeg.count_frames_and_secs(str(self._path))
        except (RuntimeError, OSError):
            found = 0
        if found != self._count:
            raise OSError(
                f"{self._path}: expected {self._count} frames in the video, got {found}; "
                "is the disk full?"
            )


def plot(records: Sequence[EpisodeRecord], path: Path) -> None:
    """Tool paths from above, one panel an episode; below, latencies over time and how often."""
    from matplotlib.figure import Figure  # no pyplot: no display, no global state

    columns = 3 if len(records) <= 9 else 5
    rows = max(1, -(-len(records) // columns))
    figure = Figure(figsize=(3.6 * columns, 2.5 * rows + 3.6), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.5 * rows + 0.6, 3.0))[
        :, 0
    ]
    axes = above.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    dots = None
    for axis, record in zip(axes.flat, records, strict=False):
        dots = _plot_path(axis, record) or dots
    for axis in axes.flat[len(records) :]:
        axis.set_visible(False)
    above.suptitle("Path of the tool from above, base frame; the robot's base lies below", size=11)
    above.supxlabel("y [m], the robot's left on the left", size=9)
    above.supylabel("x [m], away from the robot", size=9)
    if dots is not None:
        axes[0, 0].legend(fontsize=7, loc="lower right")
        above.colorbar(dots, ax=axes, label="height [m]", shrink=0.8, aspect=30)
    over_time, histogram = below.subplots(1, 2)
    _plot_latencies(over_time, histogram, records)
    figure.savefig(path, dpi=110)


def _plot_path(axis, record: EpisodeRecord):
    """One episode's panel; returns the coloured dots, None when there is no path."""
    path = np.array(record.tool_path).reshape(-1, 3)  # (n, 3) [m]
    axis.set_xlim(0.34, -0.34)
    axis.set_ylim(0.28, 0.72)
    axis.set_aspect("equal")
    axis.grid(alpha=0.25)
    mark, color = ("\N{CHECK MARK}", "#2a8f4d") if record.success else ("\N{BALLOT X}", "#c8403c")
    title = textwrap.fill(f"{mark} {record.instruction}", 38)
    axis.set_title(f"{title}  ({record.duration_s:.1f} s)", fontsize=8.5, color=color)
    if len(path) < 2:
        return None
    axis.plot(path[:, 1], path[:, 0], color="0.8", lw=1, zorder=1)
    dots = axis.scatter(path[:, 1], path[:, 0], c=path[:, 2], s=7, vmin=0, vmax=0.3, zorder=2)
    axis.plot(*path[0, 1::-1], "o", mfc="white", mec="black", ms=7, label="start")
    axis.plot(*path[-1, 1::-1], "s", color=color, ms=7, label="end")
    return dots


def _plot_latencies(over_time, histogram, records: Sequence[EpisodeRecord]) -> None:
    latencies_ms = [value for record in records for value in record.latencies_ms]
    start = 0
    for record in records:
        count = len(record.latencies_ms)
        over_time.plot(range(start, start + count), record.latencies_ms, lw=1)
        start += count
    over_time.set(
        xlabel="command, all episodes in order",
        ylabel="camera stamp to command [ms]",
        ylim=(0, None),
    )
    over_time.set_title("Loop latency; one colour an episode", fontsize=9)
    histogram.set(xlabel="camera stamp to command [ms]", ylabel="commands")
    histogram.set_title("How often", fontsize=9)
    if latencies_ms:
        histogram.hist(latencies_ms, bins=40, color="#6c8ebf")
        for percent, style in ((50, "-"), (99, "--")):
            value = float(np.percentile(latencies_ms, percent))
            histogram.axvline(value, color="black", ls=style, label=f"p{percent}: {value:.0f} ms")
        histogram.legend(fontsize=8)
    for axis in (over_time, histogram):
        axis.grid(alpha=0.25)
