"""Names of topics and services, in one place; remap them in a launch file, not here."""

import re
from collections.abc import Iterable

JOINT_STATES = "/joint_states"
ARM_COMMAND = "/joint_trajectory_controller/joint_trajectory"
GRIPPER_COMMAND = "/gripper_controller/joint_trajectory"
TWIST_COMMAND = "/servo_node/delta_twist_cmds"  # MoveIt Servo
INSTRUCTION = "/instruction"  # latched; the empty string means: stop and hold
ACTION_CHUNK = "/policy/action_chunk"
GRIPPER_CHUNK = "/policy/gripper_chunk"
EMERGENCY_STOP = "/emergency_stop"
EXECUTOR_RESET = "/executor/reset"
EXECUTOR_STATE = "/executor/state"  # its heartbeat: on every change, and 10 times a second
EXECUTOR_PRESENCE = "/executor/presence"  # who it is: two executors must not move one arm
POLICY_STATE = "/policy/state"  # the policy node's heartbeat
LOOP_LATENCY = "/executor/latency_ms"  # of each motion: camera stamp to command
TASK = "/task"  # a long instruction for `task_node`; the empty string means: stop
TASK_PROGRESS = "/task/progress"  # JSON, latched
STEP_RESULT = "/task/step_result"  # JSON: {"step": 0, "outcome": "done" or "failed", "reason": ""}
DIAGNOSTICS = "/diagnostics"
IMAGINED = "/policy/imagined/image_raw"  # what a world model expects to see
TELEOP_TWIST = "/teleop/twist"  # of the tool, in the base frame
TELEOP_GRIPPER = "/teleop/gripper"  # wanted opening: 0 = closed, 1 = open
JOY = "/joy"  # a game controller, for `vla-ros world-model play --joy`
EPISODE_SUCCESS = "/episode/success"  # how the recorded episode went, told before it ends
RECORDER_DISCARD = "/recorder/discard"  # throws the episode in progress away
EPISODE_STATUS = "/sim/episode_status"
SIM_PARAMETERS = "/sim_node/set_parameters"
NEXT_EPISODE = "/sim_node/next_episode"

BASE_FRAME = "base"
IMAGINED_FRAME = "imagined"
TOOL_NAME = "tcp"
GRIPPER_OPENING = "gripper_opening"  # the "joint" of a gripper chunk: 0 = closed, 1 = open


CAMERA = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
MAX_CAMERA = 200  # characters; of a whole topic 247


def check_cameras(names: Iterable[str]) -> None:
    """Raise `ValueError` for a name that cannot stand in a topic."""
    for name in names:
        if not CAMERA.fullmatch(name) or "__" in name or len(name) > MAX_CAMERA:
            raise ValueError(
                "cameras: expected names as in /NAME/image_raw (letters, digits, single _ and /), "
                f"got {name[:MAX_CAMERA]!r}"
            )


def image_topic(camera: str) -> str:
    return f"/{camera}/image_raw"


def camera_info_topic(camera: str) -> str:
    return f"/{camera}/camera_info"
