"""What arrives becomes one observation, once, and reasons to have none are told."""

import numpy as np
import pytest

from vla_ros.policy_inputs import EXECUTOR, PolicyInputs

MS = 1_000_000
NOW_NS = 10**15
IMAGE = np.zeros((2, 2, 3), np.uint8)


@pytest.fixture
def it():
    inputs = PolicyInputs(("front",), tolerance_s=0.05, max_age_s=0.5)
    inputs.add_joints(NOW_NS - 10 * MS, np.arange(9.0), NOW_NS)
    inputs.add_image("front", NOW_NS, IMAGE, NOW_NS)
    inputs.on_instruction("go")
    return inputs


def test_a_snapshot_is_taken_once_with_the_instruction(it):
    reports = []
    snapshot, instruction = it.newest(NOW_NS, lambda *report: reports.append(report))
    assert (snapshot.stamp_ns, instruction) == (NOW_NS - 10 * MS, "go")
    assert snapshot.images["front"] is IMAGE
    assert it.newest(NOW_NS, lambda *report: reports.append(report)) is None
    assert reports == []


@pytest.mark.parametrize(
    ("change", "now_ms", "report"),
    [
        (lambda it: it.on_instruction(""), 0, ("OK", "the instruction is empty: nothing to do")),
        (lambda it: it.on_executor(NOW_NS - 1001 * MS), 0, ("ERROR", "executor_node is silent")),
        (lambda it: None, 600, ("ERROR", "camera 'front': stale")),
    ],
)
def test_reasons_to_do_nothing_are_told(it, change, now_ms, report):
    change(it)
    reports = []
    assert it.newest(NOW_NS + now_ms * MS, lambda *each: reports.append(each)) is None
    assert reports[0][0] == report[0]
    assert reports[0][1].startswith(report[1])


def test_an_executor_that_was_never_heard_may_be_another(it):
    assert it.streams.age_ns(EXECUTOR, NOW_NS) is None
    assert it.newest(NOW_NS, lambda *report: None) is not None


def test_a_text_too_long_to_be_an_instruction_ends_the_work_and_is_said(it):
    reports = []
    it.on_instruction("move " * 200_000)
    assert it.newest(NOW_NS, lambda *report: reports.append(report)) is None
    assert it.instruction == ""
    assert reports == [
        (
            "ERROR",
            "instruction: expected at most 500 characters, got 1000000; "
            "nothing is asked of the policy",
        )
    ]
    it.on_instruction("x" * 500)
    assert it.newest(NOW_NS, lambda *report: None)[1] == "x" * 500


def test_what_is_not_stamped_counts_from_its_arrival():
    inputs = PolicyInputs(("front",), tolerance_s=0.05, max_age_s=0.5)
    inputs.on_instruction("go")
    inputs.add_joints(0, np.arange(9.0), NOW_NS - 10 * MS)
    inputs.add_image("front", 0, IMAGE, NOW_NS)
    snapshot, _ = inputs.newest(NOW_NS, lambda *report: None)
    assert snapshot.stamp_ns == NOW_NS - 10 * MS
    reports = []
    assert inputs.newest(NOW_NS + 600 * MS, lambda *each: reports.append(each)) is None
    assert reports == [
        ("ERROR", "camera 'front': stale, the newest is 600 ms old; at most 500 ms expected")
    ]


def test_the_instruction_that_was_published_last_counts_not_the_one_that_arrives_last(it):
    it.on_instruction("B", NOW_NS - 1000 * MS, NOW_NS)
    it.on_instruction("A", NOW_NS - 2000 * MS, NOW_NS)  # of a publisher that was found later
    assert it.instruction == "B"
    assert it.older_instruction.startswith("'A' was published 1.0 s before the one that counts")
    it.on_instruction("", NOW_NS, NOW_NS)
    assert (it.instruction, it.older_instruction) == ("", "")


def test_a_camera_that_hangs_is_said_and_nothing_is_asked():
    inputs = PolicyInputs(("front",), tolerance_s=0.05, max_age_s=0.5, still_picture_s=0.5)
    inputs.on_instruction("go")
    reports, asked = [], 0
    for index in range(20):
        now_ns = NOW_NS + index * 100 * MS
        inputs.add_joints(now_ns, np.full(9, 0.02 * index), now_ns)
        inputs.add_image("front", now_ns, IMAGE, now_ns)
        asked += inputs.newest(now_ns, lambda *each: reports.append(each)) is not None
    assert asked == 5
    assert {level for level, _ in reports} == {"ERROR"}
    assert reports[0][1].startswith("camera 'front': the same picture for 0.5 s")
    inputs.add_joints(now_ns + MS, np.full(9, 0.4), now_ns + MS)
    inputs.add_image("front", now_ns + MS, IMAGE + 1, now_ns + MS)
    assert inputs.newest(now_ns + MS, lambda *each: None) is not None


def test_who_instructs_again_after_an_end_or_a_stop_wants_other_work(it):
    assert not it.on_instruction("go")  # said again, as by `ros2 topic pub --rate 1`
    assert it.on_instruction("come")
    assert it.on_instruction("")
    assert it.on_instruction("come")
    it.on_executor(NOW_NS, "moving")
    it.on_executor(NOW_NS, "holding")
    assert not it.on_instruction("come")
    it.on_executor(NOW_NS, "stopped")
    it.on_executor(NOW_NS, "holding")  # as it is after a reset
    assert it.on_instruction("come")
    assert not it.on_instruction("come")


def test_a_gap_of_the_joint_states_is_no_other_work(it):
    for state in ("moving", "waiting", "holding", "moving"):
        it.on_executor(NOW_NS, state)
    assert not it.on_instruction("go")


@pytest.mark.parametrize("state", ["waiting", "holding", "moving"])
def test_a_policy_that_comes_later_takes_only_an_executor_that_waits_for_a_new_one(it, state):
    it.on_executor_presence("one")
    it.on_executor(NOW_NS, state)
    assert it.on_instruction("go") == (state == "waiting")
    it.on_executor(NOW_NS, state)
    it.on_executor_presence("one")
    assert not it.on_instruction("go")


@pytest.mark.parametrize("heard", [["two"], ["two", "one", "two", "one"]])
def test_another_executor_or_two_of_which_one_stays_begin_other_work(it, heard):
    """Started anew, without a second of silence; or each heard ten times a second for a while."""
    it.on_executor_presence("one")
    it.on_executor(NOW_NS, "moving")
    assert not it.on_instruction("go")
    for identity in heard:
        it.on_executor_presence(identity)
    it.on_executor(NOW_NS, "waiting")
    assert it.on_instruction("go")
    it.on_executor_presence(heard[-1])
    it.on_executor(NOW_NS, "waiting")  # it has not moved yet
    assert not it.on_instruction("go")


def test_an_older_instruction_begins_no_other_work(it):
    assert it.on_instruction("B", NOW_NS - 1000 * MS, NOW_NS)
    assert not it.on_instruction("A", NOW_NS - 2000 * MS, NOW_NS)
