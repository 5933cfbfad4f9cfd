import pytest

from vla_ros.task_planning.executive import Executive, ExecutiveSettings
from vla_ros.task_planning.step import Step, TaskPlanningError

STEPS = (
    Step("open the red drawer", "OpenDrawer", "red drawer"),
    Step("close the red drawer", "CloseDrawer", "red drawer"),
)
SECOND = 1_000_000_000


def begun(**settings) -> Executive:
    return Executive(STEPS, ExecutiveSettings(**settings), now_ns=0)


def test_steps_follow_each_other_with_a_pause_without_instruction():
    executive = begun(pause_s=1.0)
    assert executive.instruction == "open the red drawer"
    assert not executive.update(SECOND)
    assert executive.update(2 * SECOND, "done")
    assert (executive.status, executive.instruction) == ("pausing", "")
    assert not executive.update(int(2.5 * SECOND), "done")  # nothing is at work
    assert executive.update(3 * SECOND)
    assert executive.instruction == "close the red drawer"
    assert executive.update(4 * SECOND, "done")
    assert executive.status == "succeeded" and executive.finished
    assert executive.instruction == ""
    assert not executive.update(5 * SECOND, "failed")


def test_a_failed_step_is_tried_again_and_then_reported():
    executive = begun(attempts=2, pause_s=0.0)
    assert executive.update(SECOND, "failed", "it slipped")
    assert (executive.attempt, executive.reason) == (2, "open the red drawer: it slipped")
    assert executive.update(SECOND)
    assert executive.instruction == "open the red drawer"
    assert executive.update(2 * SECOND, "failed", "it slipped again")
    assert executive.status == "failed" and executive.instruction == ""
    assert executive.progress()["reason"] == "open the red drawer: it slipped again"
    assert executive.progress()["step"] == 0


def test_a_step_that_takes_too_long_has_failed_and_each_attempt_has_its_own_time():
    executive = begun(step_timeout_s=10.0, attempts=2, pause_s=0.0)
    assert not executive.update(10 * SECOND)
    assert executive.update(11 * SECOND)
    assert executive.reason == "open the red drawer: not done after 10 s"
    executive.update(11 * SECOND)
    assert not executive.update(21 * SECOND)
    assert executive.update(21 * SECOND, "done")
    assert executive.index == 1 and executive.attempt == 1 and executive.reason == ""


def test_stopped_is_neither_done_nor_failed():
    executive = begun()
    executive.stop(SECOND)
    assert executive.status == "stopped" and executive.instruction == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step_timeout_s": 0.0}, "step_timeout_s: expected a number above 0"),
        ({"attempts": 0}, "attempts: expected 1 or more"),
        ({"pause_s": -1.0}, "pause_s: expected 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ExecutiveSettings(**settings)
    with pytest.raises(ValueError, match="steps: expected at least one"):
        Executive((), ExecutiveSettings(), 0)


def test_a_step_that_no_policy_would_be_asked_is_none():
    assert len(Step("x" * 500, "Lift").instruction) == 500
    with pytest.raises(TaskPlanningError, match="at most 500 characters, got 501"):
        Step("x" * 501, "Lift")
