"""The numbers of one episode, drawn from its seed.

Every field has a stream of its own, so that a seed draws the same light in `lighting` as in `hard`,
and a range that a file adds leaves the draws of the others alone.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sim.randomization.axes import AXES, MAX_DISTRACTORS, SURFACES
from sim.randomization.domain import COMPONENTS, Domain, FieldRanges

Values = Mapping[str, Any]  # field -> number, word, list of them, or mapping from names to them


@dataclass(frozen=True)
class Draw:
    """What one episode has in place of the nominal world."""

    domain: str
    seeds: np.random.SeedSequence
    axes: Mapping[str, Values] = field(default_factory=dict)

    def __getitem__(self, axis: str) -> Values:
        """The values of an axis; empty where nothing of it varies."""
        return self.axes.get(axis, {})

    def __contains__(self, axis: str) -> bool:
        return axis in self.axes

    def stream(self, name: str) -> np.random.Generator:
        """A generator of its own for what is drawn along the way, such as noise."""
        return stream(self.seeds, name)

    def having(self, axis: str, **values: Any) -> Draw:
        """With more values in one axis."""
        return replace(self, axes={**self.axes, axis: {**self[axis], **values}})

    def record(self) -> dict[str, Any]:
        """Plain numbers and words for `info` and datasets, the caller's to change.

        With `entropy` and `spawn_key` the noise of every step can be drawn again, too.
        """
        return {
            "domain": self.domain,
            "entropy": self.seeds.entropy,
            "spawn_key": list(self.seeds.spawn_key),
            **copy.deepcopy(dict(self.axes)),
        }


def child_seeds(rng: np.random.Generator) -> np.random.SeedSequence:
    """Seeds that follow from a generator's own and leave what it draws next as it was."""
    seeds = rng.bit_generator.seed_seq
    return seeds.spawn(1)[0]  # type: ignore[attr-defined]


def stream(seeds: np.random.SeedSequence, name: str) -> np.random.Generator:
    """A generator for one purpose, whatever else is drawn."""
    key = (*seeds.spawn_key, zlib.crc32(name.encode()))
    return np.random.default_rng(np.random.SeedSequence(seeds.entropy, spawn_key=key))


def draw(
    domain: Domain,
    seeds: np.random.SeedSequence,
    items: Sequence[str] = (),
    bodies: Sequence[str] = (),
) -> Draw:
    """Draw every field of `domain`; `items` and `bodies` are the names of what there is."""
    names = {"surfaces": SURFACES, "items": items, "bodies": bodies}
    axes: dict[str, dict[str, Any]] = {}
    for axis, fields in domain.axes.items():
        axes[axis] = {}
        for name, ranges in fields.items():
            rng = stream(seeds, f"{axis}.{name}")
            shape = AXES[axis].fields[name].shape
            if shape in names:
                axes[axis][name] = {key: _draw(ranges, rng) for key in names[shape]}
            elif shape == "one":
                axes[axis][name] = _draw(ranges, rng)
            else:
                count = COMPONENTS.get(shape, MAX_DISTRACTORS)
                axes[axis][name] = [_draw(ranges, rng, index) for index in range(count)]
    if "distractors" in axes:
        chosen = axes["distractors"]
        for name in ("size_m", "shape", "color"):
            chosen[name] = chosen[name][: chosen["count"]]
    return Draw(domain.name, seeds, axes)


def _draw(ranges: FieldRanges, rng: np.random.Generator, index: int = 0) -> Any:
    return (ranges[index] if isinstance(ranges, tuple) else ranges).draw(rng)
