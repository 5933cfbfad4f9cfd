"""Files of an identification: estimates as JSON, intervals as ranges for `sim.randomization`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from sim import robot
from sim.files import write_bytes
from sim.sim2real.arm import JOINTS, ArmParameters, parameter_names
from sim.sim2real.identification import Identification
from sim.sim2real.logs import LogError

# What `sim.randomization` allows, as factors of the nominal value and in ms.
Limits = tuple[float, float]
ALLOWED_GAINS: Limits = (0.02, 10.0)
ALLOWED_FRICTION: Limits = (0.0, 20.0)
ALLOWED_DELAY_MS: Limits = (0.0, 1000.0)


def read_parameters(path: Path) -> ArmParameters:
    """The estimates that `vla-ros sim2real identify --json` wrote."""
    expected = "expected a file of `vla-ros sim2real identify --json`"
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise LogError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise LogError(f"{path}: {expected}, got no JSON: {error}") from None
    if not isinstance(content, dict) or "parameters" not in content:
        raise LogError(f"{path}: {expected}, got no field 'parameters' in it")
    try:
        estimates = {row["name"]: float(row["estimate"]) for row in content["parameters"]}
    except (KeyError, TypeError, ValueError):
        raise LogError(
            f"{path}: {expected}; parameters: not every row has a name and a number as estimate"
        ) from None
    missing = [name for name in parameter_names() if name not in estimates]
    if missing:
        more = " and others" if len(missing) > 2 else ""
        raise LogError(f"{path}: {expected}; parameters: missing {'; '.join(missing[:2])}{more}")
    vector = np.array([estimates[name] for name in parameter_names()])
    try:
        return ArmParameters.from_vector(vector)
    except LogError as error:
        raise LogError(f"{path}: {error}") from None


def write_ranges(path: Path, result: Identification, about: str, preset: str = "nominal") -> None:
    """Write the intervals as a YAML file for `--randomize`, whole or not at all.

    What was not identified (light, surfaces, cameras, ...) is drawn as in `preset`.
    """
    text = yaml.safe_dump(ranges(result, about, preset), sort_keys=False, width=100)
    write_bytes(path, text.encode())


def ranges(result: Identification, about: str, preset: str = "nominal") -> dict[str, Any]:
    """The intervals in the format of `sim.randomization`: factors of the nominal, joint by joint.

    An interval that is not cut off is drawn from as what it is, 95 % of a normal distribution.
    Viscous damping stands with the servos: a servo's damping and its joint's do the same to a
    replay, and the nominal joints have so little that hardly any factor of it would be enough.
    """
    low, high = result.interval
    free = np.isclose(high - low, 2 * result.half_width)  # (22,), not cut off at a bound
    nominal = ArmParameters.nominal()
    servo_damping = np.array([link.damping for link in robot.LINKS], dtype=float)

    def factors(first: int, base: NDArray, offset: NDArray | float, allowed: Limits) -> list[Any]:
        return [
            _range(ends, bool(free[first + joint]), allowed)
            for joint, ends in enumerate(
                zip(
                    (low[first : first + JOINTS] + offset) / base,
                    (high[first : first + JOINTS] + offset) / base,
                    strict=True,
                )
            )
        ]

    damping = factors(0, servo_damping, servo_damping - nominal.damping, ALLOWED_GAINS)
    friction = factors(JOINTS, nominal.friction_loss, 0.0, ALLOWED_FRICTION)
    stiffness = factors(2 * JOINTS, nominal.stiffness, 0.0, ALLOWED_GAINS)
    delay_ms = _range((1e3 * low[-1], 1e3 * high[-1]), bool(free[-1]), ALLOWED_DELAY_MS)
    return {
        "about": about,
        "base": preset,
        "axes": {
            "joints": {"friction": friction},
            "actuators": {"stiffness": stiffness, "damping": damping},
            "latency": {"delay_ms": delay_ms},
        },
    }


def _range(ends: tuple[float, float], free: bool, allowed: Limits) -> dict[str, Any]:
    low, high = np.clip(ends, *allowed)
    return {
        "low": float(f"{low:.6g}"),
        "high": float(f"{high:.6g}"),
        "distribution": "normal" if free and (low, high) == tuple(ends) else "uniform",
    }
