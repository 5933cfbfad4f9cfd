"""Weights in safetensors files, one or many shards: which file holds what, and one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from policies.openvla.config import CheckpointError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.pkl")
FLOATING = ("F64", "F32", "F16", "BF16")  # as safetensors calls them


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files: `model.safetensors`, or the shards its index lists.

    Raises `CheckpointError` when there are none, only pickled ones, or some are missing.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        return _shards(folder)
    refuse_pickled(folder)
    raise CheckpointError(f"{folder}: expected {WEIGHTS} or {INDEX}, found neither")


def refuse_pickled(folder: Path) -> None:
    """Raise `CheckpointError` where, for want of safetensors, pickled weights would be next."""
    pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
    if pickled:
        raise CheckpointError(
            f"{folder}: expected {WEIGHTS}, found only pickled weights ({pickled[0]}), which can "
            "run code and are never loaded; convert them to safetensors first"
        )


def _shards(folder: Path) -> list[Path]:
    index = folder / INDEX
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index}: not a weight index ({error})") from None
    for name in names:
        # Looked at as text: in the hub's cache, files are links that lead out of the folder.
        if not isinstance(name, str) or name in ("", ".", "..") or name != Path(name).name:
            raise CheckpointError(f"{index}: expected files in this folder, got {name!r}")
        if not name.endswith(".safetensors"):
            raise CheckpointError(
                f"{index}: expected safetensors files, got {name!r}; pickled weights can run code "
                "and are never loaded"
            )
    if not names:
        raise CheckpointError(f"{index}: expected a file for each weight, got an empty weight_map")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder}: missing shards {', '.join(missing)}")
    return [folder / name for name in names]


def find_weights(files: Sequence[Path], shapes: Mapping[str, torch.Size]) -> dict[str, Path]:
    """Which file holds which weight, in the files' order; nothing but their headers is read.

    `shapes` are the expected ones by name. Raises `CheckpointError` for a weight that is unknown,
    of another shape or kind of number, or in two files.
    """
    found: dict[str, Path] = {}
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 (not a dictionary)
                    header = file.get_slice(name)
                    _check(path, name, tuple(header.get_shape()), header.get_dtype(), shapes)
                    if name in found:
                        raise CheckpointError(
                            f"{path}: weight {name!r} is in {found[name].name} already"
                        )
                    found[name] = path
        except SafetensorError as error:
            raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from None
    return found


def _check(
    path: Path, name: str, shape: tuple[int, ...], kind: str, shapes: Mapping[str, torch.Size]
) -> None:
    if name not in shapes:
        raise CheckpointError(f"{path}: unknown weight {name!r}")
    if shape != tuple(shapes[name]):
        raise CheckpointError(
            f"{path}: {name!r}: expected shape {tuple(shapes[name])}, got {shape}"
        )
    if kind not in FLOATING:
        raise CheckpointError(
            f"{path}: {name!r}: expected numbers of one of {', '.join(FLOATING)}, got {kind}"
        )


def stored_weights(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight of one file as it is stored, by name."""
    try:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dictionary)
                yield name, file.get_tensor(name)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from None


def read_weight(
    path: Path, name: str, dtype: torch.dtype, device: str | torch.device
) -> torch.Tensor:
    """One weight, copied to where it will stay.

    The file is opened for this weight alone: it is mapped into memory, and what has been read of a
    mapping counts as held until the mapping goes.
    """
    with safe_open(path, "pt") as file:
        weight = file.get_tensor(name).to(device=device, dtype=dtype, copy=True)
    if not torch.isfinite(weight).all():
        raise CheckpointError(f"{path}: {name!r} has numbers that are not finite")
    return weight
