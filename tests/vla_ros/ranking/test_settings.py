"""What can be ranked, and what is refused before anything runs."""

import pytest

from vla_ros.errors import UserError
from vla_ros.ranking.settings import Contestant, Ranking, read_contestant

LIFT, PUSH = "VlaRos/Lift-v0", "VlaRos/Push-v0"


def ranking(*names, **changes):
    contestants = tuple(
        read_contestant(name) for name in names or ("zero", "noisy:1:zero", "steps:2:zero")
    )
    return Ranking(contestants, "model", (LIFT,), **changes)  # fmt: skip


def test_contestants_by_name():
    assert read_contestant("zero") == Contestant("zero", "zero", None)
    assert read_contestant("steps:2:noisy:1.5:openvla-mini") == Contestant(
        "steps:2:noisy:1.5:openvla-mini", "noisy:1.5:openvla-mini", 2
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("steps:0:zero", "expected steps:N:POLICY with a whole number of 1 or more"),
        ("steps:2", "expected steps:N:POLICY"),
        ("steps:-1:zero", "expected steps:N:POLICY"),
        ("noisy:x:zero", "expected noisy:LEVEL:POLICY with a level of 0 cm or more"),
        ("noisy:nan:zero", "expected noisy:LEVEL:POLICY"),
        ("noisy:1:", "expected noisy:LEVEL:POLICY"),
        ("expert", "reads the simulator's true state, which an imagined world has not"),
        ("noisy:1:expert-chunk", "reads the simulator's true state"),
    ],
)
def test_names_that_are_none(name, reason):
    with pytest.raises((UserError, ValueError), match=reason):
        read_contestant(name)


def test_every_episode_is_a_job_and_other_worlds_are_the_first_policys():
    asked = ranking(episodes=2, seed=7, other_variants=("camera",))
    jobs = list(asked.jobs({("zero", LIFT, 8)}))
    assert len({job.key for job in jobs}) == len(jobs) == 3 * 2 + 2
    assert [job.seed for job in jobs[:2]] == [7, 8]
    assert [job.simulate for job in jobs] == [True, False, True, True, True, True, False, False]
    assert {job.key[:2] for job in jobs[-2:]} == {("zero", "camera")}
    assert asked.evaluation(asked.contestants[2], "standard").execute_steps == 2


@pytest.mark.parametrize(
    ("names", "changes", "reason"),
    [
        (("zero", "noisy:1:zero"), {}, "policy: expected 3 or more to rank, got 2"),
        (("zero", "zero", "noisy:1:zero"), {}, "expected each once, got zero more than once"),
        (("zero", "noisy:1:zero", "no-such"), {}, "expected a checkpoint folder or one of"),
        ((), {"threshold": 1.0}, "threshold: expected a number between 0 and 1, got 1.0"),
        ((), {"variant": "moon"}, "variant: expected one of"),
        ((), {"other_variants": ("moon",)}, "variant: expected one of"),
        ((), {"other_variants": ("standard",)}, "standard is the world that is ranked in"),
        ((), {"episodes": 0}, "episodes: expected 1 or more"),
    ],
)
def test_what_cannot_be_ranked(names, changes, reason):
    with pytest.raises((UserError, ValueError), match=reason):
        ranking(*names, **changes)
