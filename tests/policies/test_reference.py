"""Our OpenVLA against numbers from the original implementation (see the fixture's README)."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.openvla.verify import verify

FOLDER = Path(__file__).parents[1] / "fixtures" / "openvla_reference"


@pytest.fixture(scope="module")
def report():
    return verify(FOLDER)


@pytest.mark.parametrize(
    ("name", "times", "tolerance"),
    [
        ("pixel values", 4, 1e-5),
        ("patch features", 4, 1e-4),
        ("projection", 4, 1e-4),
        ("logits", 4, 1e-4),
        ("greedy tokens", 4, 0),
        ("action bridge_orig", 4, 1e-9),
        ("action panda_sim", 4, 1e-9),
        ("training loss", 1, 1e-4),
        ("gradient norms", 5, 1e-3),
        ("token table", 2, 0),
        ("decoded numbers", 1, 1e-12),
        ("parameters", 1, 0),
    ],
)
def test_equals_the_original(report, name, times, tolerance):
    figures = [figure for figure in report.figures if figure.name == name]
    assert len(figures) == times
    for figure in figures:
        assert figure.deviation <= tolerance, str(figure)
        assert figure.tolerance == tolerance


def test_nothing_the_original_computed_is_left_out(report):
    assert report.not_checked == ()
    assert report.ok
