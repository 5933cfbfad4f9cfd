"""Files of an identification: estimates as JSON, intervals as ranges for `sim.randomization`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sim.sim2real.arm import JOINTS, ArmParameters, parameter_names
from sim.sim2real.identification import Identification
from sim.sim2real.logs import LogError

# What `sim.randomization` allows as factors of the nominal value.
ALLOWED_FACTORS = {"damping": (0.0, 100.0), "friction": (0.0, 20.0), "stiffness": (0.02, 10.0)}


def read_parameters(path: Path) -> ArmParameters:
    """The estimates that `vla-ros sim2real identify --json` wrote."""
    expected = "expected a file of `vla-ros sim2real identify --json`"
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise LogError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise LogError(f"{path}: {expected}, got no JSON: {error}") from None
    try:
        estimates = {row["name"]: float(row["estimate"]) for row in content["parameters"]}
        vector = np.array([estimates[name] for name in parameter_names()])
    except (KeyError, TypeError, ValueError) as error:
        raise LogError(f"{path}: {expected}; parameters: {error!r}") from None
    try:
        return ArmParameters.from_vector(vector)
    except LogError as error:
        raise LogError(f"{path}: {error}") from None


def write_ranges(path: Path, result: Identification, about: str) -> None:
    """Write the intervals as a YAML file for `--randomization`, whole or not at all."""
    text = yaml.safe_dump(ranges(result, about), sort_keys=False, width=100)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def ranges(result: Identification, about: str) -> dict[str, Any]:
    """The intervals in the format of `sim.randomization`: factors of the nominal, joint by joint.

    An interval that is not cut off is drawn from as what it is, 95 % of a normal distribution.
    """
    low, high = result.interval
    nominal = ArmParameters.nominal().to_vector()
    free = np.isclose(high - low, 2 * result.half_width)  # (22,), not cut off at a bound
    blocks = [slice(0, JOINTS), slice(JOINTS, 2 * JOINTS), slice(2 * JOINTS, 3 * JOINTS)]
    damping, friction, stiffness = (
        [
            _range(low[i] / nominal[i], high[i] / nominal[i], bool(free[i]), ALLOWED_FACTORS[name])
            for i in range(block.start, block.stop)
        ]
        for name, block in zip(ALLOWED_FACTORS, blocks, strict=True)
    )
    latency = _range(1e3 * low[-1], 1e3 * high[-1], bool(free[-1]), (0.0, 1000.0))
    return {
        "about": about,
        "base": "nominal",
        "axes": {
            "joints": {"damping": damping, "friction": friction},
            "actuators": {"stiffness": stiffness},
            "latency": {"delay_ms": latency},
        },
    }


def _range(low: float, high: float, free: bool, allowed: tuple[float, float]) -> dict[str, Any]:
    inside = allowed[0] <= low and high <= allowed[1]
    low, high = np.clip([low, high], *allowed)
    return {
        "low": float(f"{low:.6g}"),
        "high": float(f"{high:.6g}"),
        "distribution": "normal" if free and inside else "uniform",
    }
