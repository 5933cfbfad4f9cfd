"""Many labelled views as arrays on disk, made by several processes from seeds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policies.openvla.preprocess import resize
from sim.parallel import ordered_map
from sim.randomization import NOMINAL, Domain, load_domain

SHARD_VIEWS = 600
RANGES_FILE = "randomization.json"  # the ranges that the views of a folder were drawn from


def make_views(
    folder: Path,
    count: int,
    seed: int,
    image_size_px: int,
    workers: int,
    chunk_length: int = 1,
    randomization: str = NOMINAL,
) -> Iterator[int]:
    """Write `count` views as shards `folder/views-*.npz`; yields how many exist so far.

    Shard i holds views drawn from the generator seeded with (seed, i), whatever the number of
    workers; shards that exist are kept, so an interrupted call goes on where it stopped. Each label
    has `chunk_length` actions. Raises `ValueError` for a folder whose views were drawn from other
    ranges than `randomization` has.
    """
    domain = load_domain(randomization)  # what cannot be read leaves no folder behind
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, domain)
    shards = range(-(-count // SHARD_VIEWS))
    missing = [shard for shard in shards if not _path(folder, shard).exists()]
    done = (len(shards) - len(missing)) * SHARD_VIEWS
    yield done
    jobs = [(folder, shard, seed, image_size_px, chunk_length, randomization) for shard in missing]
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


def _claim(folder: Path, domain: Domain) -> None:
    """Note the ranges of a folder, so that no call mixes others in."""
    path = folder / RANGES_FILE
    stored = json.loads(path.read_text()) if path.exists() else {}
    if stored != domain.ranges() and (path.exists() or any(folder.glob("views-*.npz"))):
        raise ValueError(
            f"randomization: {folder} holds views that were drawn from other ranges than "
            f"{domain.name}; choose another folder"
        )
    if domain:
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(domain.ranges(), indent=1) + "\n")
        partial.rename(path)


def _make_shard(job: tuple[Path, int, int, int, int, str]) -> None:
    from sim.pretraining import View, ViewSampler  # renders: only in the process that does

    folder, shard, seed, image_size_px, chunk_length, randomization = job
    rng = np.random.default_rng((seed, shard))
    sampler = ViewSampler(rng, chunk_length, load_domain(randomization))
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
