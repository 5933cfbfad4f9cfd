"""Many labelled views as arrays on disk, made by several processes from seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policies.openvla.preprocess import resize
from sim.parallel import ordered_map

SHARD_VIEWS = 600


def make_views(
    folder: Path, count: int, seed: int, image_size_px: int, workers: int, chunk_length: int = 1
) -> Iterator[int]:
    """Write `count` views as shards `folder/views-*.npz`; yields how many exist so far.

    Shard i holds views drawn from the generator seeded with (seed, i), whatever the number of
    workers; shards that exist are kept, so an interrupted call goes on where it stopped. Each label
    has `chunk_length` actions.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = range(-(-count // SHARD_VIEWS))
    missing = [shard for shard in shards if not _path(folder, shard).exists()]
    done = (len(shards) - len(missing)) * SHARD_VIEWS
    yield done
    jobs = [(folder, shard, seed, image_size_px, chunk_length) for shard in missing]
    for _ in ordered_map(_make_shard, jobs, workers):
        done += SHARD_VIEWS
        yield done


def load_views(folder: Path) -> dict[str, NDArray]:
    """All shards of a folder, each field of `sim.pretraining.View` stacked on a first axis.

    Images are at the size they were made for. Raises `FileNotFoundError` when there are none and
    `ValueError` when shards have labels of different lengths.
    """
    paths = sorted(folder.glob("views-*.npz"))
    if not paths:
        raise FileNotFoundError(f"{folder}: expected files views-*.npz, found none")
    shards = [np.load(path, allow_pickle=False) for path in paths]
    lengths = {1 + shard["later_actions"].shape[2] for shard in shards}
    if len(lengths) > 1:
        raise ValueError(
            f"{folder}: expected labels of one length in all shards, got {sorted(lengths)} actions"
        )
    return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0].files}


def _path(folder: Path, shard: int) -> Path:
    return folder / f"views-{shard:05d}.npz"


def _make_shard(job: tuple[Path, int, int, int, int]) -> None:
    from sim.pretraining import View, ViewSampler  # renders: only in the process that does

    folder, shard, seed, image_size_px, chunk_length = job
    sampler = ViewSampler(np.random.default_rng((seed, shard)), chunk_length)
    views = list(itertools.islice(iter(sampler), SHARD_VIEWS))
    arrays = {
        field.name: np.stack([getattr(view, field.name) for view in views])
        for field in fields(View)
        if field.name != "image"
    }
    arrays["image"] = np.stack([resize(view.image, image_size_px) for view in views])
    path = _path(folder, shard)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    partial.rename(path)
