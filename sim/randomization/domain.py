"""A domain: which fields of which axes vary, and over which ranges. Presets and YAML files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim import robot
from sim.randomization.axes import AXES, Field
from sim.yaml_file import YamlError, expected_one_of, read_yaml

DISTRIBUTIONS = ("uniform", "log-uniform", "normal")
SPREAD = 3.919928  # [standard deviations] an interval of 95 % of a normal distribution is wide
COMPONENTS = {"xyz": 3, "joints": len(robot.JOINT_NAMES)}  # shapes that take a range for each
NOMINAL = "nominal"
FILE_SUFFIXES = (".yaml", ".yml")


class DomainError(ValueError):
    """A domain that makes no sense; the message names the field, the value and the choices."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    "normal": 95 % of the draws, others are drawn again; the mean is the middle.
    """

    low: float
    high: float
    distribution: str = "uniform"
    integer: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise DomainError(f"expected finite numbers, got {self.low} to {self.high}")
        if self.low > self.high:
            raise DomainError(f"low {self.low:g} is above high {self.high:g}")
        if self.distribution not in DISTRIBUTIONS:
            raise DomainError(
                f"distribution: expected one of {', '.join(DISTRIBUTIONS)}, "
                f"got {self.distribution!r}"
            )
        if self.distribution == "log-uniform" and self.low <= 0.0:
            raise DomainError(f"log-uniform needs a low above 0, got {self.low:g}")
        if self.integer and (self.low % 1 or self.high % 1):
            raise DomainError(f"expected whole numbers, got {self.low:g} to {self.high:g}")

    def draw(self, rng: np.random.Generator) -> float:
        if self.integer:
            return int(rng.integers(int(self.low), int(self.high) + 1))
        if self.distribution == "log-uniform":
            return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        if self.distribution == "normal" and self.high > self.low:
            middle = (self.low + self.high) / 2
            while True:
                value = rng.normal(middle, (self.high - self.low) / SPREAD)
                if self.low <= value <= self.high:
                    return float(value)
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class Choices:
    """One of some words, evenly."""

    options: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> str:
        return self.options[int(rng.integers(len(self.options)))]


@dataclass(frozen=True)
class Chance:
    """True in this share of the episodes."""

    probability: float

    def draw(self, rng: np.random.Generator) -> bool:
        return bool(rng.random() < self.probability)


Ranges = Range | Choices | Chance
# A tuple holds a range for each component of a vector, or for each joint.
FieldRanges = Ranges | tuple[Ranges, ...]


@dataclass(frozen=True)
class Domain:
    """Ranges by axis and field; what is not in it stays nominal."""

    name: str
    about: str
    axes: Mapping[str, Mapping[str, FieldRanges]]

    def __bool__(self) -> bool:
        """Whether anything varies."""
        return bool(self.axes)

    def restricted_to(self, axes: Iterable[str]) -> Domain:
        kept = {name: fields for name, fields in self.axes.items() if name in set(axes)}
        return Domain(self.name, self.about, kept)

    def ranges(self) -> dict[str, dict[str, Any]]:
        """The same in plain words and numbers: what a file of ranges holds under `axes`."""
        return {
            axis: {field: _plain(value) for field, value in fields.items()}
            for axis, fields in self.axes.items()
        }


def load_domain(name: str) -> Domain:
    """The domain of a preset's name, or of a YAML file. Raises `DomainError`."""
    if name in PRESETS:
        return PRESETS[name]
    if not str(name).endswith(FILE_SUFFIXES):
        choices = ", ".join(PRESETS)
        raise DomainError(
            f"randomization: expected one of {choices}, or a .yaml file of ranges; got {name!r}"
        )
    path = Path(name)
    try:
        content = read_yaml(path, "randomization")
    except YamlError as error:
        raise DomainError(str(error)) from error
    try:
        return _from_file(content, str(path))
    except DomainError as error:
        raise DomainError(f"{path}: {error}") from error


def _from_file(content: Any, name: str) -> Domain:
    if not isinstance(content, dict):
        raise DomainError(f"expected a mapping with the keys base and axes, got {content!r}")
    _check_keys("key", content, ("about", "base", "axes"))
    base = content.get("base", NOMINAL)
    if base not in PRESETS:
        raise DomainError(f"base: expected one of {', '.join(PRESETS)}, got {base!r}")
    given = content.get("axes")
    if not isinstance(given, dict):
        raise DomainError(f"axes: expected a mapping of axes, got {given!r}")
    _check_keys("axis", given, AXES)
    axes = {axis: dict(fields) for axis, fields in PRESETS[base].axes.items()}
    for axis, fields in given.items():
        if fields in (None, False):  # switched off; YAML reads the word "off" as False
            axes.pop(axis, None)
            continue
        if not isinstance(fields, dict):
            raise DomainError(f"{axis}: expected a mapping of fields, or off; got {fields!r}")
        _check_keys(f"{axis}: field", fields, AXES[axis].fields)
        for field, value in fields.items():
            row = AXES[axis].fields[field]
            try:
                axes.setdefault(axis, {})[field] = parse(row, value)
            except DomainError as error:
                raise DomainError(f"{axis}.{field}: {error}") from error
    _check_counted(axes)
    return Domain(name, str(content.get("about", f"the ranges of {name}")), axes)


def parse(field: Field, value: Any) -> FieldRanges:
    """A range as a file has it: `[low, high]`, a mapping, words, a share; or one per component."""
    if field.operation == "chance":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise DomainError(f"expected a share from 0 to 1, got {value!r}")
        return Chance(float(value))
    if field.operation == "choice":
        words = [value] if isinstance(value, str) else value
        unknown = set(map(str, words)) - set(field.choices) if isinstance(words, list) else {value}
        if unknown or not words:
            raise DomainError(f"expected some of {', '.join(field.choices)}, got {value!r}")
        return Choices(tuple(words))
    components = COMPONENTS.get(field.shape)
    if components and isinstance(value, list) and any(isinstance(v, list | dict) for v in value):
        if len(value) != components:
            raise DomainError(f"expected one range, or {components}; got {len(value)}")
        return tuple(_parse_range(field, part) for part in value)
    return _parse_range(field, value)


def _parse_range(field: Field, value: Any) -> Range:
    distribution = None
    if isinstance(value, dict):
        _check_keys("key", value, ("low", "high", "distribution", "unit"))
        unit = str(value.get("unit", field.unit))
        if unit != field.unit:
            raise DomainError(f"unit: expected {field.unit!r}, got {unit!r}")
        distribution = value.get("distribution")
        value = [value.get("low"), value.get("high")]
    numbers = isinstance(value, list) and [
        number
        for number in value
        if isinstance(number, int | float) and not isinstance(number, bool)
    ]
    if not numbers or len(value) != 2 or len(numbers) != 2:
        raise DomainError(f"expected [low, high] in {_unit(field)}, got {value!r}")
    low, high = float(numbers[0]), float(numbers[1])
    if distribution is None:  # a range that begins at zero has no logarithm
        distribution = field.distribution if low > 0.0 else "uniform"
    chosen = Range(low, high, distribution, field.integer)
    if chosen.low < field.allowed[0] or chosen.high > field.allowed[1]:
        raise DomainError(
            f"expected {field.allowed[0]:g} to {field.allowed[1]:g} in {_unit(field)}, "
            f"got {chosen.low:g} to {chosen.high:g}"
        )
    return chosen


def _unit(field: Field) -> str:
    return "plain numbers" if field.unit == "1" else field.unit


def _check_counted(axes: Mapping[str, Mapping[str, FieldRanges]]) -> None:
    if "distractors" in axes and set(axes["distractors"]) != set(AXES["distractors"].fields):
        missing = set(AXES["distractors"].fields) - set(axes["distractors"])
        raise DomainError(
            f"distractors: {', '.join(sorted(missing))} missing; give all of "
            f"{', '.join(AXES['distractors'].fields)}, or start from base: train"
        )


def _check_keys(kind: str, given: Mapping, known: Iterable[str]) -> None:
    for key in given:
        if key not in known:
            raise DomainError(f"{kind}: {expected_one_of(known, key)}")


def _plain(value: FieldRanges) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Choices):
        return list(value.options)
    if isinstance(value, Chance):
        return value.probability
    return {"low": value.low, "high": value.high, "distribution": value.distribution}


def _preset(level: str, axes: Iterable[str]) -> dict[str, dict[str, FieldRanges]]:
    chosen: dict[str, dict[str, FieldRanges]] = {}
    for axis in axes:
        for name, field in AXES[axis].fields.items():
            given = getattr(field, level)
            value = list(given) if isinstance(given, tuple) else given
            chosen.setdefault(axis, {})[name] = parse(field, value)
    return chosen


PRESETS: dict[str, Domain] = {
    NOMINAL: Domain(NOMINAL, "nothing varies", {}),
    "train": Domain("train", "every axis, moderately", _preset("train", AXES)),
    "hard": Domain("hard", "every axis, widely", _preset("hard", AXES)),
    # How far one axis alone reaches: its wide ranges.
    **{axis: Domain(axis, row.about, _preset("hard", [axis])) for axis, row in AXES.items()},
}
