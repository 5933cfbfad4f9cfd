"""Action statistics: quantiles per dataset, stored in the checkpoint's `norm_stats`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_NAMES, ToolLimits, UnfitPolicyError
from policies.openvla.config import CheckpointError
from policies.openvla.tokens import from_unit, to_unit

SLACK = 1.001  # a limit may be reached
WHOSE = "Was it trained on data of this robot (unnorm_key, where there are several)?"


@dataclass(frozen=True)
class ActionStatistics:
    """Quantiles q01 and q99 of each action dimension; where `mask` is false values pass as is."""

    q01: NDArray[np.float64]  # (n,)
    q99: NDArray[np.float64]  # (n,)
    mask: NDArray[np.bool_]  # (n,)
    key: str  # the dataset's name

    @classmethod
    def from_norm_stats(
        cls, norm_stats: dict[str, Any], key: str | None, action_dim: int = 7
    ) -> ActionStatistics:
        """Pick a dataset's statistics; without `key` there must be exactly one dataset."""
        if not norm_stats:
            raise CheckpointError(
                "norm_stats: expected the action statistics of a data set, which unnorm_key "
                "names, found none"
            )
        if key is None:
            if len(norm_stats) != 1:
                raise CheckpointError(
                    "unnorm_key: the checkpoint has statistics of several datasets, choose one of "
                    f"{', '.join(sorted(norm_stats))}"
                )
            key = next(iter(norm_stats))
        if key not in norm_stats:
            raise CheckpointError(
                f"unnorm_key: expected one of {', '.join(sorted(norm_stats))}, got {key!r}"
            )
        try:
            values = norm_stats[key]["action"]
            low, high = np.asarray(values["q01"], float), np.asarray(values["q99"], float)
            mask = np.asarray(values.get("mask", np.ones_like(low)), dtype=bool)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"norm_stats[{key!r}]: expected action.q01 and q99: {error}"
            ) from None
        if not low.shape == high.shape == mask.shape == (action_dim,):
            raise CheckpointError(
                f"norm_stats[{key!r}]: expected {action_dim} numbers per action, got "
                f"q01 {low.shape}, q99 {high.shape}, mask {mask.shape}"
            )
        if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high)) and np.all(high >= low)):
            raise CheckpointError(f"norm_stats[{key!r}]: expected finite q01 <= q99")
        return cls(low, high, mask, key)

    def normalize(self, actions: NDArray) -> NDArray[np.float64]:
        """(..., n) actions to [-1, 1]."""
        return np.where(self.mask, to_unit(actions, self.q01, self.q99), actions)

    def unnormalize(self, values: NDArray) -> NDArray[np.float64]:
        """(..., n) values in [-1, 1] to actions."""
        return np.where(self.mask, from_unit(values, self.q01, self.q99), values)

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with any number in here."""
        numbers = [self.q01.tolist(), self.q99.tolist(), self.mask.tolist()]
        return hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:12]


def check_statistics(statistics: ActionStatistics, rate_hz: float, limits: ToolLimits) -> None:
    """The actions that the statistics stand for are ones this robot carries out."""
    # Where `mask` is false, the network's numbers, from -1 to 1, are the action.
    low = np.where(statistics.mask, statistics.q01, -1.0)
    high = np.where(statistics.mask, statistics.q99, 1.0)
    farthest = np.maximum(np.abs(low), np.abs(high))
    for axis, name in enumerate(ACTION_NAMES[:6]):
        step = float(farthest[axis])
        moves = axis < 3
        unit, limit = ("m", limits.speed_m_s) if moves else ("rad", limits.turn_rad_s)
        about = f"statistics of {statistics.key!r}: {name}: a step of {step:.3g} {unit}"
        if not step * rate_hz <= limit * SLACK:  # nan is no speed either
            raise UnfitPolicyError(
                f"{about} at {rate_hz:g} actions/s is {step * rate_hz:.3g} {unit}/s; the "
                f"controller allows {limit:.3g} {unit}/s. {WHOSE}"
            )
        if moves and not step <= limits.step_m * SLACK:
            raise UnfitPolicyError(
                f"{about}; the controller allows {limits.step_m:.3g} m between two actions. {WHOSE}"
            )


def action_norm_stats(actions: NDArray, transitions: int, episodes: int) -> dict[str, Any]:
    """The `norm_stats` entry of a dataset's (n, 7) actions; the gripper passes unchanged."""
    actions = np.asarray(actions, dtype=np.float64)
    return {
        "action": {
            "q01": np.quantile(actions, 0.01, axis=0).tolist(),
            "q99": np.quantile(actions, 0.99, axis=0).tolist(),
            "mean": actions.mean(axis=0).tolist(),
            "std": actions.std(axis=0).tolist(),
            "min": actions.min(axis=0).tolist(),
            "max": actions.max(axis=0).tolist(),
            "mask": [True] * (actions.shape[1] - 1) + [False],
        },
        "num_transitions": transitions,
        "num_trajectories": episodes,
    }
