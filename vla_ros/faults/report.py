"""What a campaign found: a row for each fault, a summary, a table by kind. No ROS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from rich.table import Table

from vla_ros.faults.monitor import Measure, worst

GOAL_MS = 100.0  # to hold, after the last input on which the arm may act could have arrived


class Seen(Protocol):
    """What a row counts of a `vla_ros.faults.rig.Watch`."""

    commands: int
    beyond: list[Measure]
    largest_share: float


@dataclass
class Row:
    """What came of one fault."""

    index: int
    kind: str
    target: str  # a node or a stream
    must_hold: bool
    duration_s: float
    parameters: dict[str, Any] = field(default_factory=dict)  # as they were drawn
    held: bool | None = None  # None: it need not have
    hold_ms: float | None = None  # see `timing`
    rest_ms: float | None = None  # until the simulated arm stood still
    commands: int = 0
    violations: int = 0  # commands beyond a limit
    largest_excess: float = 0.0  # as a share of the limit
    worst: str = ""
    largest_share: float = 0.0  # of a limit that any command used
    recovered: bool = False
    recovery_s: float | None = None
    wrong: str = ""  # an answer of the graph that it should not have given
    notes: list[str] = field(default_factory=list)

    def count(self, seen: Seen) -> None:
        """Take over what the monitor saw."""
        self.commands, self.violations = seen.commands, len(seen.beyond)
        self.largest_share = seen.largest_share
        if largest := worst(seen.beyond):
            self.largest_excess, self.worst = largest.excess, str(largest)

    @property
    def failures(self) -> list[str]:
        """Why this fault was not survived as it should be; empty: it was."""
        found = [f"{self.violations} commands beyond a limit"] if self.violations else []
        if self.must_hold and not self.held:
            found.append("did not hold")
        if not self.recovered:
            found.append("did not recover")
        return [*found, self.wrong] if self.wrong else found


def summarize(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """The whole campaign, as it is written to JSON."""
    holds_ms = [row.hold_ms for row in rows if row.must_hold and row.hold_ms is not None]
    recoveries_s = [row.recovery_s for row in rows if row.recovery_s is not None]
    return {
        "seed": seed,
        "faults": len(rows),
        "kinds": len({row.kind for row in rows}),
        "commands": sum(row.commands for row in rows),
        "violations": sum(row.violations for row in rows),
        "largest_excess": max((row.largest_excess for row in rows), default=0.0),
        "largest_share": max((row.largest_share for row in rows), default=0.0),
        "hold_ms_p50": _percentile(holds_ms, 50),
        "hold_ms_p99": _percentile(holds_ms, 99),
        "hold_ms_max": max(holds_ms, default=None),
        "hold_goal_ms": GOAL_MS,
        "holds": len(holds_ms),
        "holds_within_goal": sum(hold_ms <= GOAL_MS for hold_ms in holds_ms),
        "not_held": sum(bool(row.must_hold and not row.held) for row in rows),
        "wrong_answers": sum(bool(row.wrong) for row in rows),
        "not_recovered": sum(not row.recovered for row in rows),
        "recovery_s_p50": _percentile(recoveries_s, 50),
        "recovery_s_max": max(recoveries_s, default=None),
        "rows": [asdict(row) | {"failures": row.failures} for row in rows],
    }


def table(rows: Sequence[Row]) -> Table:
    """A line for each kind, in the order of their first appearance."""
    made = Table(box=None, header_style="bold", width=150)
    for name, justify in (
        ("fault", "left"), ("n", "right"), ("beyond a limit", "right"), ("of a limit", "right"),
        ("held", "right"), ("hold ms", "right"), ("rest ms", "right"), ("recovered", "right"),
        ("s", "right"), ("", "left"),
    ):  # fmt: skip
        made.add_column(name, justify=justify)  # type: ignore[arg-type]
    for kind in dict.fromkeys(row.kind for row in rows):
        chosen = [row for row in rows if row.kind == kind]
        must = [row for row in chosen if row.must_hold]
        notes = sorted(
            {note[:60] for row in chosen for note in (row.worst, row.wrong, *row.notes) if note}
        )
        failed = any(row.failures for row in chosen)
        made.add_row(
            kind,
            str(len(chosen)),
            str(sum(row.violations for row in chosen)),
            f"{100 * max(row.largest_share for row in chosen):.0f} %",
            f"{sum(bool(row.held) for row in must)} of {len(must)}" if must else "",
            _largest(row.hold_ms for row in must),
            _largest(row.rest_ms for row in must),
            f"{sum(row.recovered for row in chosen)} of {len(chosen)}",
            _largest((row.recovery_s for row in chosen), ".1f"),
            "; ".join(notes),
            style="red" if failed else None,
        )
    return made


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None


def _largest(values: Iterable[float | None], form: str = ".0f") -> str:
    known = [value for value in values if value is not None]
    return format(max(known), form) if known else ""
