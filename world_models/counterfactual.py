"""Prompted events: does imagination, shown what happened, go where the world really went?

An event reaches the model as a changed frame: nothing else it is conditioned on could carry it. So
what does not show (friction) cannot be prompted, and `imagined_effect_db` says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from world_models.drift import Imagination, Reference
from world_models.identity import IdentityProbe, known_positions
from world_models.metrics import psnr


def event_figures(
    factual: Reference,
    counterfactual: Reference,
    unprompted: Imagination,
    prompted: Imagination,
    probe: IdentityProbe,
) -> list[dict[str, Any]]:
    """One row per instant, of the same actions in four worlds: simulated and imagined, each
    without the event and with it.

    `psnr_db_prompted` and `_unprompted` are of imagination beside the simulated world with the
    event, `_without_event` is what the model can do where nothing happened. An effect is the PSNR
    between a world with the event and one without: less means a larger effect. Positions are those
    of the items that the references name.
    """
    rows = []
    named = known_positions(counterfactual.positions)  # (b, t, classes)
    for index, ahead in enumerate(counterfactual.frames_ahead):
        truth, usual = counterfactual.images[:, index], factual.images[:, index]
        shown, blind = prompted.images[:, index], unprompted.images[:, index]
        row: dict[str, Any] = {
            "frames_ahead": int(ahead),
            "effect_db": float(psnr(truth, usual).mean()),
            "imagined_effect_db": float(psnr(shown, blind).mean()),
            "psnr_db_prompted": float(psnr(truth, shown).mean()),
            "psnr_db_unprompted": float(psnr(truth, blind).mean()),
            "psnr_db_without_event": float(psnr(usual, blind).mean()),
        }
        where = counterfactual.positions[:, index]
        row["item_moved_m"] = _distance(where, factual.positions[:, index])
        for name, imagined in (("prompted", prompted), ("unprompted", unprompted)):
            found = probe.positions(imagined.contents[:, index], named[:, index])
            row[f"item_error_m_{name}"] = _distance(found, where)
        rows.append(row)
    return rows


def _distance(first: np.ndarray, second: np.ndarray) -> float | None:
    """Median over what is known of both: a few items may roll far."""
    distances = np.linalg.norm(first - second, axis=-1)
    known = distances[np.isfinite(distances)]
    return float(np.median(known)) if len(known) else None
