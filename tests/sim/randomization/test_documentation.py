"""The page shows the ranges that are used."""

from pathlib import Path

import pytest

from sim.randomization import AXES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "randomization.md"
OPERATIONS = {"add": "+", "scale": "x", "set": "=", "choice": "one of", "chance": "chance"}
DRAWN_FOR = {
    "one": "one",
    "xyz": "3",
    "joints": "7 joints",
    "surfaces": "each surface",
    "items": "each item",
    "bodies": "each body",
    "distractors": "each",
}


def shown(ranges):
    if isinstance(ranges, tuple):
        return "any" if isinstance(ranges[0], str) else f"{ranges[0]:g} to {ranges[1]:g}"
    return f"{ranges:g}"


@pytest.mark.parametrize("axis", AXES)
def test_every_field_has_its_row(axis):
    text = PAGE.read_text()
    for name, field in AXES[axis].fields.items():
        cells = (
            f"`{axis}`",
            f"`{name}`",
            OPERATIONS[field.operation],
            "" if field.unit == "1" else field.unit,
            DRAWN_FOR[field.shape],
            shown(field.train),
            shown(field.hard),
            "log" if field.distribution == "log-uniform" else "",
            field.about,
        )
        assert f"| {' | '.join(cells)} |" in text
