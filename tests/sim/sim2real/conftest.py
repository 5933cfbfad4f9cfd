"""Logs made by hand or by a short run of the simulated arm."""

import numpy as np
import pytest

from sim import robot
from sim.sim2real.logs import Log
from sim.sim2real.recording import Recording, record


def make_log(rows=101, rate_hz=50.0, **changes):
    """An arm that swings by 0.2 rad around home, told so without delay."""
    stamps_s = np.arange(rows) / rate_hz
    swing = 0.2 * np.sin(2 * np.pi * 0.5 * stamps_s)[:, None] * np.ones(7)
    positions = robot.HOME_RAD + swing
    fields = {
        "name": "by hand",
        "stamps_s": stamps_s,
        "joint_positions": positions,
        "command_stamps_s": stamps_s[::5],
        "commands": positions[::5],
    }
    return Log(**{**fields, **changes})


@pytest.fixture
def log_by_hand():
    return make_log


@pytest.fixture(scope="session")
def recorded():
    """`record` with short excitations, kept for the session."""
    kept = {}

    def get(variant="standard", index=0, duration_s=4.0, rate_hz=50.0):
        key = (variant, index, duration_s, rate_hz)
        if key not in kept:
            recording = Recording(variant=variant, duration_s=duration_s, rate_hz=rate_hz)
            kept[key] = record(recording, index)[0]
        return kept[key]

    return get
