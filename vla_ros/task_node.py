"""Breaks `/task` into steps, publishes them on `/instruction` one by one, retries what failed.

Whether a step is done arrives on `/task/step_result`: from a success detector, or a person.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_msgs.msg import String

from policies.interface import MAX_INSTRUCTION
from vla_ros import messages, topics
from vla_ros.errors import UserError
from vla_ros.newest import Newest, Place
from vla_ros.runtime import LATCHED, RELIABLE, Parameter, declare, run_node, subscribe_words
from vla_ros.streams import Streams
from vla_ros.task_planning.choose import choose_task_planner
from vla_ros.task_planning.executive import Executive, ExecutiveSettings
from vla_ros.task_planning.step import Step
from vla_ros.texts import shortened

PARAMETERS = (
    Parameter("language_model", "", "http(s)://.../v1 or a model's folder; empty: the grammar"),
    Parameter("model", "", "Name of the server's model"),
    Parameter("scene", [""], "Names of the things on the table, like 'red cube'"),
    Parameter(
        "step_timeout_s", ExecutiveSettings.step_timeout_s, "Then a step failed", 0.1, 3600.0
    ),
    Parameter("attempts", ExecutiveSettings.attempts, "Of a step", 1, 100),
    Parameter("pause_s", ExecutiveSettings.pause_s, "Without instruction between steps", 0.0, 60.0),
)
RATE_HZ = 10.0
DIAGNOSTICS_RATE_HZ = 2.0
MAX_TASK = 10 * MAX_INSTRUCTION  # characters
MAX_REASON = MAX_INSTRUCTION  # characters, whatever a detector has to say
TASKS, RESULTS = "task", "step_result"  # what `/diagnostics` tells the age of


class TaskNode(Node):
    """Planning may take long, so it runs in a thread of its own; all else is one thread."""

    def __init__(self) -> None:
        super().__init__("task_node")
        values = declare(self, PARAMETERS)
        try:
            self._planner = choose_task_planner(values["language_model"], values["model"])
        except ValueError as error:
            raise UserError(f"task_node: {error}") from error
        self._scene = tuple(name for name in values["scene"] if name)
        self._settings = ExecutiveSettings(
            values["step_timeout_s"], values["attempts"], values["pause_s"]
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="task_planning")
        self._planning: Future[tuple[Step, ...]] | None = None
        self._executive: Executive | None = None
        self._task = ""
        self._tasks = Newest()
        self._said = ""
        self._status, self._reason = "waiting", ""
        self._streams = Streams((TASKS, RESULTS))
        self._instruction = self.create_publisher(String, topics.INSTRUCTION, LATCHED)
        self._progress = self.create_publisher(String, topics.TASK_PROGRESS, LATCHED)
        subscribe_words(self, topics.TASK, self._on_task)
        self.create_subscription(String, topics.STEP_RESULT, self._on_result, RELIABLE)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, RELIABLE)
        self.create_timer(1.0 / RATE_HZ, self._on_tick)
        self.create_timer(1.0 / DIAGNOSTICS_RATE_HZ, self._publish_diagnostics)

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_task(self, message: String, info: Mapping[str, Any] | None = None) -> None:
        """A new task ends the old one; the empty string ends it, however old, and begins none.

        `info` tells when it was published; None: now.
        """
        published_ns = 0 if info is None else info["source_timestamp"]
        place = self._tasks.place(message.data, published_ns, time.time_ns())
        if message.data == self._task or place is Place.AGAIN:
            return
        if place is Place.OLDER and message.data:
            self.get_logger().warning(messages.sendable(f"{topics.TASK}: {self._tasks.older}"))
            return
        self._streams.on(TASKS, self._now_ns())
        self._task = message.data
        if self._executive is not None:
            self._executive.stop(self._now_ns())
            self._tell()
        elif self._planning is not None and not self._task.strip():
            self._publish_progress({"status": "stopped", "task": self._task})
        self._executive = self._planning = None
        if len(self._task) > MAX_TASK:
            reason = f"task: expected at most {MAX_TASK} characters, got {len(self._task)}"
            self._refuse(self._task[:MAX_INSTRUCTION], reason)
        elif self._task.strip():
            self._planning = self._thread.submit(self._planner.plan, self._task, self._scene)
            self._publish_progress({"status": "planning", "task": self._task})

    def _on_tick(self) -> None:
        planning = self._planning
        if planning is not None and planning.done():
            self._planning = None
            try:
                steps = planning.result()
                self._executive = Executive(steps, self._settings, self._now_ns())
            except Exception as error:  # a language model may be anybody's code
                self._refuse(self._task, str(error))
                return
            self._tell()
        elif self._executive is not None and self._executive.update(self._now_ns()):
            self._tell()

    def _on_result(self, message: String) -> None:
        """What a detector says of the step at work; of another one it is late and means nothing."""
        executive = self._executive
        try:
            found = json.loads(message.data)
            step, outcome, reason = found["step"], found["outcome"], str(found.get("reason", ""))
            if outcome not in ("done", "failed"):
                raise ValueError(f"outcome: expected done or failed, got {outcome!r}")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            self.get_logger().error(f"{topics.STEP_RESULT}: not a result ({error!r})")
            return
        self._streams.on(RESULTS, self._now_ns())
        if executive is None or step != executive.index:
            return
        if executive.update(self._now_ns(), outcome, reason):
            self._tell()

    def _tell(self) -> None:
        """The instruction of the step at work, and how far things are."""
        executive = self._executive
        if executive is None:
            return
        if executive.instruction != self._said:
            self._said = executive.instruction
            self._instruction.publish(String(data=messages.sendable(self._said)))
        self._publish_progress({"task": self._task, **executive.progress()})
        if executive.status == "failed":
            self.get_logger().error(messages.sendable(executive.reason))

    def _refuse(self, task: str, reason: str) -> None:
        self.get_logger().error(messages.sendable(reason))
        self._publish_progress({"status": "refused", "task": task, "reason": reason})

    def _publish_progress(self, progress: dict) -> None:
        self._status, self._reason = progress["status"], progress.get("reason", "")
        self._progress.publish(String(data=json.dumps(progress)))

    def _publish_diagnostics(self) -> None:
        now_ns, executive, reason = self._now_ns(), self._executive, self._reason[:MAX_REASON]
        failed = self._status in ("refused", "failed")
        about = reason if failed else self._said
        values: dict[str, object] = {
            "status": self._status,
            "task": shortened(self._task),
            "older_task": self._tasks.older,
            "instruction": shortened(self._said),
            "reason": reason,
        }
        if executive is not None:
            values["step"] = executive.index  # as in `/task/progress`
            values["steps"] = len(executive.steps)
            values["attempt"] = executive.attempt
            values["step_age_s"] = f"{executive.age_s(now_ns):.1f}"
        values |= self._streams.values(now_ns)
        level, text = "ERROR" if failed else "OK", ": ".join(filter(None, (self._status, about)))
        self._diagnostics.publish(messages.diagnostics("task_node", level, text, values, now_ns))

    def destroy_node(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        super().destroy_node()


def main() -> None:
    """Entry point of `ros2 run vla_ros task_node`."""
    run_node(TaskNode)


if __name__ == "__main__":
    main()
