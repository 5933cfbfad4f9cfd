"""A folder with a page to look at: how often, how far, how fast, and videos of what went wrong.

`index.html` refers to nothing outside its folder. Videos are kept as the episodes finish: the first
failures of every environment and condition, and one success.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from sim.evaluation import plots
from sim.evaluation.episode import EpisodeResult
from sim.evaluation.page import Film, render_page
from sim.evaluation.settings import Evaluation
from sim.evaluation.summary import condition_label
from sim.evaluation.work import Done
from sim.files import write_bytes

PAGE = "index.html"
FAILURES_KEPT = 6  # videos for every environment and condition
SUCCESSES_KEPT = 1


class ReportError(ValueError):
    """A folder that a report cannot go to."""


class Report:
    """Give it every episode, then the summary."""

    def __init__(self, folder: Path, evaluations: Sequence[Evaluation]) -> None:
        self._folder = folder
        self._evaluations = evaluations
        self._results: list[EpisodeResult] = []
        self._kept: Counter[tuple[int, str, bool]] = Counter()
        self._films: list[Film] = []

    @classmethod
    def begin(cls, folder: Path, evaluations: Sequence[Evaluation], keep: bool = False) -> Report:
        """A report in a folder that is empty, or with `keep` has an interrupted one's videos.

        The folder is made with the first episode. Raises `ReportError` for one that cannot be.
        """
        try:
            if folder.exists() and not keep and any(folder.iterdir()):
                raise ReportError(f"report: {folder} is not empty; choose another or remove it")
            missing = [each for each in (folder, *folder.parents) if not each.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            for each in missing:
                each.rmdir()
        except OSError as error:
            raise ReportError(f"report: cannot write {folder}: {error.strerror or error}") from None
        return cls(folder, evaluations)

    def add(self, done: Done) -> None:
        """One more episode, with its video unless an interrupted run has left it here."""
        result = done.result
        self._results.append(result)
        kind = (done.condition, result.env_id, result.success)
        if self._kept[kind] >= (SUCCESSES_KEPT if result.success else FAILURES_KEPT):
            return
        task = result.env_id.split("/")[-1]
        name = f"videos/{done.condition}_{task}_{result.seed}"
        film = Film(f"{name}.mp4", f"{name}.png", done.condition, result)
        if done.mp4 is not None and done.last_frame is not None:
            write_bytes(self._folder / film.video, done.mp4)
            write_bytes(self._folder / film.poster, _png(done.last_frame))
        elif not (self._folder / film.video).exists():
            return
        self._kept[kind] += 1
        self._films.append(film)

    def write(self, summary: dict[str, Any]) -> Path:
        """Draw the plots and the page; returns its path."""
        labels = [condition_label(evaluation) for evaluation in self._evaluations]
        figures = {
            "steps": plots.steps(self._results),
            "latency": plots.latencies(self._results),
            "delays": plots.delays(summary),
        }
        shown = {}
        for name, png in figures.items():
            if png is not None:
                shown[name] = f"plots/{name}.png"
                write_bytes(self._folder / shown[name], png)
        page = self._folder / PAGE
        write_bytes(page, render_page(summary, labels, self._films, shown).encode())
        return page


def _png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()
