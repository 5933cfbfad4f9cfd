"""Measure policies in simulation: success with intervals, under delays, paired, with a report.

`settings` says what to measure, `episode` runs one, `runner` runs all, `summary` adds them up;
`compare` sets two results against each other, `report` draws a page.
"""

from sim.evaluation.episode import EpisodeResult, another_item, run_episode
from sim.evaluation.intervals import wilson_interval
from sim.evaluation.runner import evaluate, evaluate_all, evaluate_kept
from sim.evaluation.settings import Evaluation
from sim.evaluation.summary import summarize
from sim.evaluation.timing import Timing
from sim.files import write_json

__all__ = [
    "EpisodeResult",
    "Evaluation",
    "Timing",
    "another_item",
    "evaluate",
    "evaluate_all",
    "evaluate_kept",
    "run_episode",
    "summarize",
    "wilson_interval",
    "write_json",
]
