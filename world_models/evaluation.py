"""What a world model is measured by: roll-outs over held-out episodes beside what really came.

Every episode is imagined from its first frame with the actions that were executed. Beside each
figure stands what it is worth: the same with the first frame repeated (nothing moves), and with
the actions of other episodes (a model that ignores actions loses nothing by that).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from world_models.dynamics import Decoding
from world_models.identity import contents_of
from world_models.metrics import area_under_roc, calibration_error, psnr, reliability, ssim
from world_models.model import ImaginationModel
from world_models.probe import Probe, fit_probe, named_classes
from world_models.recordings import Recordings
from world_models.rollout import Rollout, action_blocks, first_context, roll_out
from world_models.sampling import goal_rows

BATCH = 16
PROBE_FRAMES = 6000  # to fit it on, at most
Distance = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float64]]


@dataclass(frozen=True)
class EvaluationConfig:
    """What to measure."""

    horizon: int = 20  # frames ahead, at most
    decoding: Decoding = Decoding()
    seed: int = 0
    class_names: tuple[str, ...] = ()  # of items, as instructions word them; for the probe

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon: expected 1 or more, got {self.horizon}")


def evaluate_world_model(
    model: ImaginationModel,
    training: Recordings | None,
    held_out: Recordings,
    config: EvaluationConfig,
    distance: Distance | None = None,
    on_progress: Callable[[int, int], None] = lambda done, episodes: None,
) -> dict[str, Any]:
    """All figures as plain values; the probe learns on `training` (None: no probe), all else is
    on `held_out`.

    `distance`: of images, `world_models.metrics.TowerDistance`; None: left out.
    """
    stride = model.actions_per_frame
    lengths = np.diff(held_out.starts)
    # A frame at row t is imagined from the actions before it; the outcome of the last actions
    # has no frame.
    horizon = int(min(config.horizon, -(-int(lengths.max()) // stride)))
    probe, probe_figures = _probe(model, training, held_out, config.class_names)
    classes = named_classes(held_out.instructions, config.class_names)
    table = _Table()
    outcomes = _Outcomes(held_out, model.config.discount)
    for start in range(0, held_out.episodes, BATCH):
        episodes = list(range(start, min(start + BATCH, held_out.episodes)))
        context = first_context(held_out, episodes, stride)
        actions = action_blocks(held_out, episodes, horizon, stride)
        real = roll_out(model, context, actions, config.decoding, config.seed)
        others = [(episode + held_out.episodes // 2) % held_out.episodes for episode in episodes]
        swapped = action_blocks(held_out, others, horizon, stride)
        shuffled = roll_out(model, context, swapped, config.decoding, config.seed)
        for ahead in range(1, horizon + 1):
            outcomes.add(episodes, ahead, stride, real)
            rows = np.array([held_out.starts[episode] + ahead * stride for episode in episodes])
            seen = rows < held_out.starts[np.array(episodes) + 1]
            if seen.any():
                _compare(
                    table, ahead, held_out, rows[seen], seen, real, shuffled, context, distance
                )
                chosen = classes[np.array(episodes)[seen]]
                _compare_positions(table, ahead, held_out, rows[seen], seen, real, probe, chosen)
        on_progress(episodes[-1] + 1, held_out.episodes)
    return {
        "kind": model.config.dynamics.kind,
        "decoding": {
            "mode": config.decoding.mode,
            "steps": config.decoding.steps,
            "temperature": config.decoding.temperature,
        },
        "actions_per_frame": stride,
        "rate_hz": model.config.rate_hz,
        "episodes": held_out.episodes,
        "probe": probe_figures,
        "horizons": table.rows(),
        **outcomes.figures(),
    }


class _Table:
    """Figures by horizon, averaged at the end."""

    def __init__(self) -> None:
        self._values: dict[int, dict[str, list[float]]] = {}

    def add(self, ahead: int, name: str, values: NDArray) -> None:
        known = [float(value) for value in np.atleast_1d(values) if np.isfinite(value)]
        self._values.setdefault(ahead, {}).setdefault(name, []).extend(known)

    def rows(self) -> list[dict[str, Any]]:
        """One per horizon: `frames_ahead`, how many frames were compared, the means."""
        return [
            {
                "frames_ahead": ahead,
                "frames": len(figures["state_error"]),
                **{
                    name: float(np.mean(values)) if values else None
                    for name, values in figures.items()
                },
            }
            for ahead, figures in sorted(self._values.items())
        ]


def _compare(table, ahead, held_out, rows, seen, real, shuffled, context, distance) -> None:
    """Pictures and the robot's state, `ahead` frames on, in those episodes that were `seen`."""
    index = ahead - 1
    errors = real.states[index][seen] - held_out.states[rows]
    table.add(ahead, "state_error", np.abs(errors).mean(1))
    table.add(ahead, "tool_error_m", np.linalg.norm(errors[:, :3], axis=1))
    moved = shuffled.states[index][seen] - held_out.states[rows]
    table.add(ahead, "tool_error_m_shuffled_actions", np.linalg.norm(moved[:, :3], axis=1))
    if not real.frames:
        return
    truth, made = held_out.images[rows], real.frames[index][seen]
    frozen, other = context.images[seen, -1], shuffled.frames[index][seen]
    measures = {"psnr_db": psnr, "ssim": ssim}
    if distance is not None:
        measures["tower_distance"] = distance
    for name, measure in measures.items():
        table.add(ahead, name, measure(truth, made))
        table.add(ahead, f"{name}_first_frame_repeated", measure(truth, frozen))
        table.add(ahead, f"{name}_shuffled_actions", measure(truth, other))


def _compare_positions(table, ahead, held_out, rows, seen, real, probe, classes) -> None:
    """Where the probe sees the named item in imagined and in real contents."""
    if probe is None:
        return
    imagined = probe.positions(real.contents[ahead - 1][torch.from_numpy(seen)], classes)
    table.add(ahead, "item_error_m", np.linalg.norm(imagined - held_out.targets[rows], axis=1))


def _probe(
    model: ImaginationModel,
    training: Recordings | None,
    held_out: Recordings,
    names: tuple[str, ...],
) -> tuple[Probe | None, dict[str, Any] | None]:
    """A probe learned on training frames, and its error on real held-out frames."""
    if training is None or not names or np.isnan(training.targets).all():
        return None, None
    sizes = model.config.tokenizer.levels if model.config.dynamics.kind == "masked" else None
    stride = max(1, len(training.images) // PROBE_FRAMES)
    rows = np.arange(0, len(training.images), stride)
    found = named_classes(training.instructions, names)[training.episode_of_rows()]
    probe = fit_probe(
        contents_of(model, training.images[rows]), training.targets[rows], found[rows], sizes
    )
    if not probe.weights:
        return None, None
    classes = named_classes(held_out.instructions, names)[held_out.episode_of_rows()]
    seen = probe.positions(contents_of(model, held_out.images), classes)
    errors = np.linalg.norm(seen - held_out.targets, axis=1)
    errors = errors[np.isfinite(errors)]
    constant = np.linalg.norm(held_out.targets - np.nanmean(training.targets, 0), axis=1)
    return probe, {
        "fitted_on_frames": len(rows),
        "classes": len(probe.weights),
        "frames": len(errors),
        "median_error_m": float(np.median(errors)) if len(errors) else None,
        "mean_error_m": float(np.mean(errors)) if len(errors) else None,
        "mean_error_m_constant": float(np.nanmean(constant)),
    }


class _Outcomes:
    """Predicted and true outcomes of imagined steps, up to the end of each episode."""

    def __init__(self, recordings: Recordings, discount: float) -> None:
        self._recordings, self._discount = recordings, discount
        self._goals = goal_rows(recordings)
        self._rows: list[tuple[float, ...]] = []
        self._steps: list[tuple[float, float]] = []  # imagined, real: of episodes that succeed

    def add(self, episodes: list[int], ahead: int, stride: int, rollout: Rollout) -> None:
        recordings = self._recordings
        for index, episode in enumerate(episodes):
            first, last = recordings.starts[episode], recordings.starts[episode + 1]
            before, at = first + (ahead - 1) * stride, first + ahead * stride
            if before >= last:
                continue
            block = slice(int(before), int(min(at, last)))
            steps = max(0.0, self._goals[episode] - at)
            if np.isfinite(steps):
                self._steps.append((float(rollout.steps[ahead - 1][index]), steps))
            self._rows.append(
                (
                    float(rollout.success[ahead - 1][index]),
                    float(recordings.success[block].max()),
                    float(rollout.reward[ahead - 1][index]),
                    float(recordings.rewards[block].sum()),
                    float(rollout.value[ahead - 1][index]),
                    float(self._discount**steps),
                )
            )

    def figures(self) -> dict[str, Any]:
        """Calibration and ranking of success and reward, errors of the value and the steps."""
        table = np.array(self._rows).reshape(-1, 6)
        known = table[np.isfinite(table).all(1)]
        success, done, reward, given, value, discounted = known.T
        steps, left = np.array(self._steps).reshape(-1, 2).T
        return {
            "outcome_steps": len(known),
            "success": {
                "ece": _number(calibration_error(success, done)),
                "auroc": _number(area_under_roc(success, done)),
                "brier": _mean((success - done) ** 2),
                "brier_constant": _mean((done - _center(done)) ** 2),
                "share_true": _mean(done),
                "reliability": reliability(success, done),
            },
            "reward": {
                "ece": _number(calibration_error(reward, given)),
                "mean_absolute_error": _mean(np.abs(reward - given)),
            },
            "value": {
                "mean_absolute_error": _mean(np.abs(value - discounted)),
                "mean_absolute_error_constant": _mean(np.abs(discounted - _center(discounted))),
            },
            "steps_to_goal": {
                "mean_absolute_error": _mean(np.abs(steps - left)),
                "mean_absolute_error_constant": _mean(np.abs(left - _center(left))),
            },
        }


def _center(values: NDArray) -> float:
    """What a constant that knows the data would say."""
    return float(values.mean()) if len(values) else 0.0


def _mean(values: NDArray) -> float | None:
    return float(values.mean()) if len(values) else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
