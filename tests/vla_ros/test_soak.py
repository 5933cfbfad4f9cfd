"""The soak's comparison with fresh graphs: one start that fails does not end it."""

import pytest

pytest.importorskip("rclpy")

from benchmarks import soak
from vla_ros.faults.campaign import GraphError


def starts(monkeypatch, *outcomes):
    left = list(outcomes)

    def start_fresh(_rate_hz):
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(soak, "start_fresh", start_fresh)


def test_a_fresh_graph_that_fails_once_is_noted_and_started_again(monkeypatch):
    failures: list[str] = []
    starts(monkeypatch, GraphError("hung"), (40.0, []))
    assert soak.measure_fresh(30.0, failures) == (40.0, [])
    assert failures == ["hung"]


def test_one_that_fails_twice_ends_the_comparison(monkeypatch):
    failures: list[str] = []
    starts(monkeypatch, GraphError("hung"), GraphError("hung again"))
    with pytest.raises(GraphError, match="again"):
        soak.measure_fresh(30.0, failures)
    assert failures == ["hung"]
