"""What a campaign says about itself: failures are counted, and none is left out."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from vla_ros.faults.monitor import Measure
from vla_ros.faults.report import Row, summarize, table


def row(**changes):
    values = {
        "index": 0, "kind": "drop chunks", "target": "chunks", "must_hold": True,
        "duration_s": 1.0, "held": True, "hold_ms": 20.0, "recovered": True, "recovery_s": 0.5,
    }  # fmt: skip
    return Row(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "failures"),
    [
        ({}, []),
        ({"must_hold": False, "held": None}, []),
        ({"held": False}, ["did not hold"]),
        ({"held": None}, ["did not hold"]),
        ({"recovered": False}, ["did not recover"]),
        ({"wrong": "cleanup was accepted"}, ["cleanup was accepted"]),
        ({"violations": 2}, ["2 commands beyond a limit"]),
        ({"violations": 1, "held": False, "recovered": False},
         ["1 commands beyond a limit", "did not hold", "did not recover"]),
    ],
)  # fmt: skip
def test_failures(changes, failures):
    assert row(**changes).failures == failures


def test_a_row_counts_what_the_monitor_saw():
    it = row()
    beyond = [Measure("tool speed", 1.2, 1.0), Measure("joint jerk", 900.0, 500.0)]
    it.count(SimpleNamespace(commands=40, beyond=beyond, largest_share=1.8))
    assert (it.commands, it.violations, it.worst) == (40, 2, "joint jerk: 900, at most 500")
    assert it.largest_excess == pytest.approx(0.8)


def test_the_summary_has_every_row_and_the_issues_keys():
    rows = [
        row(
            hold_ms=float(ms) + 20 * (ms > 97),
            kind=f"kind {ms % 3}",
            commands=10,
            violations=int(ms == 7),
        )
        for ms in range(100)
    ]
    rows.append(row(must_hold=False, hold_ms=5000.0))  # need not hold, so it does not count
    summary = summarize(rows, seed=4)
    assert summary["faults"] == len(summary["rows"]) == 101
    assert summary["kinds"] == 4
    assert summary["violations"] == 1
    assert summary["hold_ms_p99"] == pytest.approx(118.01)
    assert (summary["holds_within_goal"], summary["holds"]) == (98, 100)
    assert summary["commands"] == 1000
    assert summary["rows"][7]["failures"] == ["1 commands beyond a limit"]
    assert summarize([], 0)["hold_ms_p99"] is None


def test_the_table_has_a_line_for_each_kind_and_marks_what_failed():
    console = Console(width=160, record=True)
    console.print(table([row(), row(hold_ms=70.0), row(kind="kill sim_node", recovered=False)]))
    lines = [line.split() for line in console.export_text().splitlines()]
    drop = next(line for line in lines if line[:2] == ["drop", "chunks"])
    assert drop[2:] == ["2", "0", "0", "%", "2", "of", "2", "70", "2", "of", "2", "0.5"]
    kill = next(line for line in lines if line[:2] == ["kill", "sim_node"])
    assert "0 of 1" in " ".join(kill)
