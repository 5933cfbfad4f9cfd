"""A minute of imagination: does the model still know what stands on the table?

Futures are imagined far beyond the context a model was trained with, beside what really came of
the same actions. Every figure stands beside the same figure for real frames, which is what the
probe can do, and beside what a constant gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from world_models.dynamics import Decoding
from world_models.identity import IdentityProbe, agreement, contents_of, known_positions
from world_models.interface import Context
from world_models.metrics import psnr, ssim
from world_models.model import ImaginationModel


@dataclass(frozen=True)
class Reference:
    """What really came: b episodes at t instants, the first of them the start."""

    frames_ahead: NDArray[np.int64]  # (t,) 0 first
    images: NDArray[np.uint8]  # (b, t, s, s, 3)
    positions: NDArray[np.float64]  # (b, t, classes, 3) [m]; nan: not there
    context: Context  # b situations of one frame: the first
    actions: NDArray[np.float64]  # (b, frames, k, 7)

    def __post_init__(self) -> None:
        if self.frames_ahead[0] != 0 or np.any(np.diff(self.frames_ahead) < 1):
            raise ValueError(f"frames_ahead: expected 0 and then more, got {self.frames_ahead}")
        if self.frames_ahead[-1] > self.actions.shape[1]:
            raise ValueError(
                f"frames_ahead: expected at most {self.actions.shape[1]}, as many as there are "
                f"actions, got {self.frames_ahead[-1]}"
            )


@dataclass(frozen=True)
class Imagination:
    """What was imagined at a reference's instants."""

    images: NDArray[np.uint8]  # (b, t, s, s, 3)
    contents: torch.Tensor  # (b, t, places, d)
    change: NDArray[np.float64]  # (t,) mean difference between frames that follow, [0, 1]


def imagine_on(
    model: ImaginationModel, reference: Reference, decoding: Decoding, seed: int
) -> Imagination:
    """Imagine the reference's actions from its first frames."""
    generator = torch.Generator().manual_seed(seed)
    latent = model.encode(reference.context)
    pictures = model.decode(latent)
    images, contents, change = [pictures], [latent.contents.cpu()], [0.0]
    for frame in range(int(reference.frames_ahead[-1])):
        latent = model.next(latent, reference.actions[:, frame], decoding, generator)
        wanted = frame + 1 in reference.frames_ahead
        if not wanted and frame + 2 not in reference.frames_ahead:
            continue
        before, pictures = pictures, model.decode(latent)
        if wanted:
            images.append(pictures)
            contents.append(latent.contents.cpu())
            step = pictures.astype(np.float64) - before
            change.append(float(np.abs(step).mean() / 255))
    return Imagination(np.stack(images, 1), torch.stack(contents, 1), np.array(change))


def drift_figures(
    reference: Reference, imagined: Imagination, probe: IdentityProbe, real: torch.Tensor
) -> list[dict[str, Any]]:
    """One row per instant. `real` (b, t, places, d): the contents of the reference's frames."""
    true = known_positions(reference.positions)  # (b, t, classes)
    first = probe.present(imagined.contents[:, 0])
    rows = []
    for index, ahead in enumerate(reference.frames_ahead):
        truth, made = reference.images[:, index], imagined.images[:, index]
        row: dict[str, Any] = {"frames_ahead": int(ahead)}
        everything = np.ones_like(true[:, index])  # what guessing blindly gives
        row["identity_f1_constant"] = agreement(everything, true[:, index])["f1"]
        for name, contents in (("imagined", imagined.contents), ("real", real)):
            found = probe.present(contents[:, index])
            row |= {
                f"identity_{figure}_{name}": value
                for figure, value in agreement(found, true[:, index]).items()
            }
            row[f"identity_f1_to_start_{name}"] = agreement(found, first)["f1"]
            places = probe.positions(contents[:, index], true[:, index])
            errors = np.linalg.norm(places - reference.positions[:, index], axis=-1)
            known = errors[np.isfinite(errors)]
            row[f"item_error_m_{name}"] = float(known.mean()) if len(known) else None
        frozen = reference.images[:, 0]
        for name, measure in (("psnr_db", psnr), ("ssim", ssim)):
            row[name] = float(measure(truth, made).mean())
            row[f"{name}_first_frame_repeated"] = float(measure(truth, frozen).mean())
        row["change_imagined"] = float(imagined.change[index])
        row["contrast_imagined"] = float(made.std(axis=(1, 2)).mean() / 255)
        row["contrast_real"] = float(truth.std(axis=(1, 2)).mean() / 255)
        rows.append(row)
    return rows


def measure_drift(
    model: ImaginationModel,
    reference: Reference,
    probe: IdentityProbe,
    decoding: Decoding,
    seed: int,
) -> dict[str, Any]:
    """Curves, and the least that was left of them behind the start."""
    imagined = imagine_on(model, reference, decoding, seed)
    shape = reference.images.shape
    real = contents_of(model, reference.images.reshape(-1, *shape[2:])).unflatten(0, shape[:2])
    rows = drift_figures(reference, imagined, probe, real)
    period_s = model.actions_per_frame / model.config.rate_hz
    for row in rows:
        row["seconds"] = row["frames_ahead"] * period_s
    last = rows[-1]
    return {
        "starts": len(reference.images),
        "seconds": last["seconds"],
        "identity_f1_at_start": rows[0]["identity_f1_imagined"],
        "identity_f1_at_end": last["identity_f1_imagined"],
        "identity_f1_constant": last["identity_f1_constant"],
        "identity_f1_real_at_end": last["identity_f1_real"],
        "item_error_m_at_end": last["item_error_m_imagined"],
        "item_error_m_real_at_end": last["item_error_m_real"],
        "curve": rows,
    }
