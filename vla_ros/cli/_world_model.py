"""What `vla-ros world-model`'s subcommands share: options, loading, tables, frames side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from policies.factory import check_device
from policies.openvla.errors import CheckpointError
from vla_ros.cli._output import check_writable
from vla_ros.errors import UserError
from world_models.checkpoint import (
    load_world_model,
    read_world_model_config,
    world_model_folder,
)
from world_models.config import WorldModelConfig
from world_models.dynamics import Decoding
from world_models.model import ImaginationModel
from world_models.recordings import Recordings, join, read_kept, read_recordings, split_all
from world_models.rollout import action_blocks, first_context, roll_out

KEPT = "recordings"  # subfolder of a world model with decoded datasets
SHOWN_PX = 256  # side of a frame in `imagine`'s video


Model = Annotated[Path, typer.Option("--model", help="A world model's name or folder.")]
Datasets = Annotated[
    list[Path], typer.Option("--dataset", help="A LeRobotDataset folder; repeat it for several.")
]
HeldOut = Annotated[
    float | None,
    typer.Option(
        "--held-out",
        min=0.0,
        max=1.0,
        help="Last share of each dataset's episodes to look at (a probe is fitted on the rest); "
        "1 for data never trained on, without a probe.",
        show_default="what training held out",
    ),
]
DecodeSteps = Annotated[int, typer.Option(min=1, help="Passes per imagined frame.")]


def read_config(folder: Path) -> WorldModelConfig:
    """Of a world model. Raises `UserError` for a folder that is none."""
    try:
        return read_world_model_config(folder)
    except CheckpointError as error:
        raise UserError(str(error)) from error


def load(folder: Path, device: str) -> ImaginationModel:
    """A world model. Raises `UserError` for a folder that is none."""
    check_device(device)
    try:
        return load_world_model(folder, device)
    except CheckpointError as error:
        raise UserError(str(error)) from error


def episodes_of(
    model: ImaginationModel, folder: Path, datasets: list[Path], share: float | None
) -> tuple[Recordings | None, Recordings]:
    """(the others, to fit a probe on; held-out ones) of the datasets, as the model sees them."""
    size, camera = model.config.tokenizer.image_size_px, model.config.camera
    keep = world_model_folder(folder) / KEPT  # where training kept them
    read = [
        read_kept(each, camera, size, keep)
        if keep.is_dir()
        else read_recordings(each, camera, size)
        for each in datasets
    ]
    for each, recordings in zip(datasets, read, strict=True):
        if recordings.rate_hz != model.config.rate_hz:
            raise UserError(
                f"{each}: expected {model.config.rate_hz:g} Hz as in training, "
                f"got {recordings.rate_hz:g}"
            )
        if recordings.robot != model.config.robot:
            raise UserError(
                f"{each}: expected the robot {model.config.robot!r}, got {recordings.robot!r}"
            )
    share = model.config.validation_share if share is None else share
    if share == 1.0:
        return None, join(read)
    return split_all(read, share)


def describe(recordings: Recordings) -> str:
    """How many episodes, and how they ended."""
    ends = recordings.starts[1:]
    success = np.array(
        [
            recordings.success[first:last].max()
            for first, last in zip(recordings.starts[:-1], ends, strict=True)
        ]
    )
    text = f"{recordings.episodes} episodes, {len(recordings.images)} frames; "
    text += f"{int((success == 1).sum())} succeeded, {int((success == 0).sum())} failed"
    unknown = int(np.isnan(success).sum())
    return f"{text}, {unknown} with unknown end" if unknown else text


def side_by_side(
    model: ImaginationModel, recordings: Recordings, episode: int, decoding: Decoding, seed: int
) -> NDArray[np.uint8]:
    """(n, h, w, 3): real above, imagined below, the predicted success as a bar."""
    stride = model.actions_per_frame
    first = int(recordings.starts[episode])
    count = -(-recordings.length(episode) // stride)  # the last actions' frame was not recorded
    context = first_context(recordings, [episode], stride)
    actions = action_blocks(recordings, [episode], count, stride)
    rollout = roll_out(model, context, actions, decoding, seed)
    made = [context.images[0, 0], *(frames[0] for frames in rollout.frames)]
    success = [0.0, *(float(values[0]) for values in rollout.success)]
    shown = []
    for ahead, (imagined, probability) in enumerate(zip(made, success, strict=True)):
        row = min(first + ahead * stride, int(recordings.starts[episode + 1]) - 1)
        shown.append(
            np.concatenate([enlarged(recordings.images[row]), with_bar(imagined, probability)])
        )
    return np.stack(shown)


def with_bar(frame: NDArray[np.uint8], probability: float) -> NDArray[np.uint8]:
    """A frame at the size of a video's, and below it the predicted success as a bar."""
    bar = np.full((SHOWN_PX // 16, SHOWN_PX, 3), 40, dtype=np.uint8)
    bar[:, : round(SHOWN_PX * probability)] = (88, 196, 122)
    return np.concatenate([enlarged(frame), bar])


def enlarged(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(s, s, 3) -> (SHOWN_PX, SHOWN_PX, 3)."""
    picture = Image.fromarray(frame).resize((SHOWN_PX, SHOWN_PX), Image.Resampling.NEAREST)
    return np.asarray(picture)


def check_picture(path: Path | None) -> None:
    """Raise `UserError` when a plot cannot be written there. None: none is to be written."""
    if path is not None and path.suffix != ".png":
        raise UserError(f"plot: expected a file ending in .png, got {path}")
    check_writable(path, "plot")


def show(result: dict[str, Any]) -> None:
    """The most telling figures; the JSON file has them all."""
    console = Console(highlight=False)
    table = Table(title="imagined from the first frame; in brackets: the first frame repeated")
    names = ("psnr_db", "ssim", "tower_distance")
    headings = (
        "ahead",
        "frames",
        "PSNR [dB]",
        "SSIM",
        "tower",
        "item [cm]",
        "tool [cm]",
        "shuffled",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in result["horizons"]:
        cells = [str(row["frames_ahead"]), str(row["frames"])]
        for name in names:
            frozen = _text(row.get(f"{name}_first_frame_repeated"))
            cells.append(f"{_text(row.get(name))} ({frozen})")
        cells += [_text(row.get(name), 100) for name in ("item_error_m", "tool_error_m")]
        cells.append(_text(row.get("psnr_db_shuffled_actions")))
        table.add_row(*cells)
    console.print(table)
    if result["probe"]:
        error = result["probe"]["median_error_m"]
        console.print(f"linear probe on real frames: median error {_text(error, 100)} cm")
    success, reward = result["success"], result["reward"]
    console.print(
        f"success: ECE {_text(success['ece'])}, AUROC {_text(success['auroc'])}, "
        f"Brier {_text(success['brier'])} (constant {_text(success['brier_constant'])}); "
        f"reward: ECE {_text(reward['ece'])}"
    )
    for row in result.get("decodings", []):
        latencies = ", ".join(
            f"{name.removesuffix('_p50_ms').replace('_', ' ')}: {value:.1f} ms "
            f"(p95 {row[name.replace('p50', 'p95')]:.1f})"
            for name, value in row.items()
            if name.endswith("p50_ms")
        )
        fidelity = f", PSNR {_text(row.get('psnr_db'))} dB" if "psnr_db" in row else ""
        if "batch_1_speedup" in row:
            fidelity += f", {_text(row['batch_1_speedup'])} times as fast as token by token"
        console.print(f"{row['mode']} in {row['steps']}: {latencies}{fidelity}")


def _text(value: float | None, factor: float = 1.0) -> str:
    return "-" if value is None else f"{value * factor:.3g}"
