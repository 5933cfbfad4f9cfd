"""The task node in this process: steps, progress, results, retries, over real topics."""

import json
import os
import time

import pytest

from vla_ros import topics


@pytest.fixture(scope="module")
def ros():
    import rclpy

    from vla_ros.graph import shared_environment
    from vla_ros.processes import private_environment

    before = dict(os.environ)
    os.environ.update({**shared_environment(), **private_environment()})
    rclpy.init(
        args=[
            "--ros-args", "-p", "scene:=[red cube, blue bowl, red drawer]", "-p", "pause_s:=0.0",
        ],
        signal_handler_options=rclpy.SignalHandlerOptions.NO,
    )  # fmt: skip
    yield rclpy
    rclpy.try_shutdown()
    os.environ.clear()
    os.environ.update(before)


class Desk:
    """Somebody who gives tasks and says how steps went."""

    def __init__(self, ros):
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from std_msgs.msg import String

        from vla_ros.runtime import LATCHED, RELIABLE
        from vla_ros.task_node import TaskNode

        self._text = String
        self.node, self.desk = TaskNode(), ros.create_node("desk")
        self.instructions, self.progress, self.health = [], [], []
        self._task = self.desk.create_publisher(String, topics.TASK, LATCHED)
        self._result = self.desk.create_publisher(String, topics.STEP_RESULT, RELIABLE)
        self.desk.create_subscription(
            String, topics.INSTRUCTION, lambda m: self.instructions.append(m.data), LATCHED
        )
        self.desk.create_subscription(
            String,
            topics.TASK_PROGRESS,
            lambda m: self.progress.append(json.loads(m.data)),
            LATCHED,
        )
        self.desk.create_subscription(
            DiagnosticArray, topics.DIAGNOSTICS, lambda m: self.health.extend(m.status), RELIABLE
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._executor.add_node(self.desk)
        self.until(lambda: self._result.get_subscription_count() > 0)

    def until(self, condition, timeout_s=60.0):
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, (self.instructions, self.progress[-1:])
            self._executor.spin_once(timeout_sec=0.05)

    def give(self, task):
        self._task.publish(self._text(data=task))

    def say(self, step, outcome, reason=""):
        text = json.dumps({"step": step, "outcome": outcome, "reason": reason})
        self._result.publish(self._text(data=text))

    def hears(self, instruction):
        self.until(lambda: self.instructions[-1:] == [instruction])

    def sees(self, status):
        self.until(lambda: self.progress and self.progress[-1]["status"] == status)

    def close(self):
        for node in (self.node, self.desk):
            self._executor.remove_node(node)
            node.destroy_node()


@pytest.fixture
def desk(ros):
    found = Desk(ros)
    yield found
    found.close()


def test_a_long_task_becomes_instructions_one_by_one(desk):
    desk.give("clear the table, then close the drawer")
    desk.hears("put the red cube into the blue bowl")
    desk.say(1, "done")  # of another step: late, or early, and not believed
    desk.say(0, "failed", "it slipped")
    desk.until(lambda: desk.progress[-1].get("attempt") == 2)
    assert desk.progress[-1]["reason"] == "put the red cube into the blue bowl: it slipped"
    desk.hears("put the red cube into the blue bowl")
    desk.say(0, "done")
    desk.hears("close the red drawer")
    desk.say(1, "done")
    desk.sees("succeeded")
    desk.hears("")


def test_a_step_that_fails_again_is_reported_and_the_robot_holds(desk):
    desk.give("close the drawer and lift the cube")
    desk.hears("close the red drawer")
    desk.say(0, "failed", "stuck")
    desk.until(lambda: desk.progress[-1].get("attempt") == 2)
    desk.hears("close the red drawer")
    desk.say(0, "failed", "still stuck")
    desk.sees("failed")
    assert desk.progress[-1]["reason"] == "close the red drawer: still stuck"
    desk.hears("")


def test_what_cannot_be_planned_is_refused_and_an_empty_task_stops(desk):
    desk.give("juggle")
    desk.sees("refused")
    assert "cannot read 'juggle'" in desk.progress[-1]["reason"]
    desk.give("lift the cube")
    desk.hears("lift the red cube")
    desk.give("")
    desk.sees("stopped")
    desk.hears("")


def test_the_task_given_last_counts_not_the_one_heard_last(desk):
    desk.give("lift the cube")
    desk.hears("lift the red cube")
    older = {"source_timestamp": time.time_ns() - 60_000_000_000}
    desk.node._on_task(desk._text(data="close the drawer"), older)
    assert desk.progress[-1]["task"] == "lift the cube"
    assert desk.instructions[-1] == "lift the red cube"
    desk.node._on_task(desk._text(data=""), {"source_timestamp": older["source_timestamp"] + 1})
    desk.sees("stopped")  # a stop counts whatever its age
    desk.hears("")


def test_what_is_too_long_to_be_a_task_is_refused_before_it_is_planned(desk):
    desk.give("lift the cube, then " * 50_000)
    desk.sees("refused")
    assert desk.progress[-1]["reason"] == "task: expected at most 5000 characters, got 1000000"
    assert len(desk.progress[-1]["task"]) == 500
    assert desk.node._planning is None


def figures(status):
    return {each.key: each.value for each in status.values}


def test_the_diagnostics_say_what_task_which_step_and_how_old(desk):
    from vla_ros import messages

    desk.until(lambda: desk.health)
    values = figures(desk.health[-1])
    assert (values["status"], values["task_age_ms"], values["step_result_age_ms"]) == (
        "waiting", "never", "never",
    )  # fmt: skip
    desk.give("clear the table, then close the drawer")
    desk.hears("put the red cube into the blue bowl")
    desk.say(0, "done")
    desk.hears("close the red drawer")
    desk.health.clear()
    desk.until(lambda: desk.health)
    (status,) = desk.health
    assert (status.name, status.level) == ("task_node", messages.LEVELS["OK"])
    assert status.message == "running: close the red drawer"
    values = figures(status)
    assert values["task"] == "'clear the table, then close the drawer'"
    assert (values["step"], values["steps"], values["attempt"]) == ("1", "2", "1")
    assert float(values["step_age_s"]) >= 0
    assert float(values["step_result_age_ms"]) >= 0
    desk.give("juggle")
    desk.sees("refused")
    desk.health.clear()
    desk.until(lambda: desk.health)
    assert desk.health[-1].level == messages.LEVELS["ERROR"]
    assert "refused: " in desk.health[-1].message
    assert "cannot read 'juggle'" in desk.health[-1].message


def test_a_task_that_is_withdrawn_while_it_is_planned_is_not_said_to_be_planned(desk):
    from concurrent.futures import Future

    desk.node._task, desk.node._planning = "lift the cube", Future()
    desk.node._on_task(desk._text(data=""))
    assert desk.node._planning is None
    desk.sees("stopped")
