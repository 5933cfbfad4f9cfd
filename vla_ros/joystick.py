"""A game controller on `/joy` (`sensor_msgs/Joy`, as `joy_node` publishes it) as commands."""

from __future__ import annotations

import time

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Joy

from vla_ros import topics
from vla_ros.playing import Command
from vla_ros.runtime import SENSOR

# As `joy_node` numbers the axes and buttons of most controllers; an axis is + to the left and up.
LEFT_X, LEFT_Y, RIGHT_X, RIGHT_Y = 0, 1, 3, 4
GRIPPER_BUTTON, QUIT_BUTTON, RESET_BUTTON = 0, 6, 7
DEAD_ZONE = 0.1
QUEUED = 10  # messages that may have come since the last frame
STALE_S = 0.5  # without a message for longer: nothing is wanted


class JoystickNode(Node):
    """The newest message counts; a button counts when it goes down."""

    def __init__(self) -> None:
        super().__init__("imagined_joystick")
        self._message: Joy | None = None
        self._heard_s = 0.0
        self._pressed: set[int] = set()
        self._was_down: set[int] = set()
        self.create_subscription(Joy, topics.JOY, self.on_joy, SENSOR)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)

    def on_joy(self, message: Joy) -> None:
        down = {index for index, value in enumerate(message.buttons) if value}
        self._pressed |= down - self._was_down
        self._was_down = down
        self._message, self._heard_s = message, time.monotonic()

    def read(self) -> Command | None:
        """What is wanted now; None when ROS was shut down."""
        if not rclpy.ok():
            return None
        for _ in range(QUEUED):
            self._executor.spin_once(timeout_sec=0.0)
        pressed, self._pressed = self._pressed, set()
        return Command(
            self._motion(),
            toggle_gripper=GRIPPER_BUTTON in pressed,
            reset=RESET_BUTTON in pressed,
            quit=QUIT_BUTTON in pressed,
        )

    def _motion(self) -> np.ndarray:
        """(6,) in [-1, 1], as the front camera sees it: see `vla_ros.playing.MOTIONS`."""
        motion = np.zeros(6)
        if self._message is None or time.monotonic() - self._heard_s > STALE_S:
            return motion
        axes = np.nan_to_num(np.array(self._message.axes, dtype=float), posinf=0.0, neginf=0.0)
        axes = np.where(np.abs(axes) < DEAD_ZONE, 0.0, np.clip(axes, -1.0, 1.0))
        wanted = ((0, LEFT_Y, -1.0), (1, LEFT_X, -1.0), (2, RIGHT_Y, 1.0), (5, RIGHT_X, 1.0))
        for part, axis, sign in wanted:
            if axis < len(axes):
                motion[part] = sign * axes[axis]
        return motion
