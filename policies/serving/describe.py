"""What a server says about its policy when a robot connects."""

from __future__ import annotations

from typing import Any

from policies.interface import Policy, SelfChecking, ToolLimits
from policies.openvla.statistics import ActionStatistics
from policies.remote.table import KeyTable
from policies.remote.welcome import Welcome
from policies.serving.fingerprint import fingerprint

# The robot's limits are the robot's question, answered there from the statistics.
NO_LIMITS = ToolLimits(float("inf"), float("inf"), float("inf"))


def check_policy(policy: Policy) -> None:
    """Everything about its gate but the limits. Raises `UnfitPolicyError`."""
    if isinstance(policy, SelfChecking):
        policy.check_fit(NO_LIMITS)


def describe(policy: Policy, table: KeyTable) -> Welcome:
    """The welcome of a policy that `check_policy` has passed; reads its checkpoint's files again.

    Raises `TableError` for a table that lacks what the policy looks at.
    """
    cameras = tuple(policy.cameras)
    table.check_readable(cameras)
    rate_hz = getattr(policy, "rate_hz", None)
    if rate_hz is None:
        rate_hz = getattr(getattr(policy, "config", None), "rate_hz", None)
    folder = getattr(policy, "folder", None)  # one without is told by its name alone
    return Welcome(
        policy=policy.name,
        cameras=cameras,
        table=table,
        checked=True,
        rate_hz=None if rate_hz is None else float(rate_hz),
        statistics=_statistics(policy),
        checkpoint="" if folder is None else fingerprint(folder),
    )


def remembers(policy: Policy) -> bool:
    """Whether what it does depends on what it saw before, so that only one robot can use it.

    A policy that answers several robots at once (`predict_chunks`) cannot.
    """
    return not hasattr(policy, "predict_chunks")


def _statistics(policy: Policy) -> dict[str, Any] | None:
    statistics = getattr(policy, "statistics", None)
    if not isinstance(statistics, ActionStatistics):
        return None
    return {
        "key": statistics.key,
        "q01": statistics.q01.tolist(),
        "q99": statistics.q99.tolist(),
        "mask": statistics.mask.tolist(),
    }
