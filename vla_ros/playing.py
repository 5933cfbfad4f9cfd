"""Driving an imagined robot by hand: what is pressed, what it means, what came of it.

No terminal and no ROS: `vla_ros.terminal` and `vla_ros.joystick` are sources of commands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vla_ros.errors import UserError
from world_models.env import ImaginedEnv
from world_models.timing import frame_figures

# Key -> (axis of the action, direction), as the front camera sees it: it looks at the robot, so
# that its right is the base's +y, and what comes nearer goes along +x.
MOTIONS = {
    "w": (0, -1.0),
    "s": (0, 1.0),
    "a": (1, -1.0),
    "d": (1, 1.0),
    "e": (2, 1.0),
    "q": (2, -1.0),
    "j": (5, 1.0),
    "l": (5, -1.0),
}
GRIPPER_KEY, RESET_KEY, QUIT_KEY, DARKER_KEY, LIGHTER_KEY = " ", "r", "x", "[", "]"
KEYS = {*MOTIONS, GRIPPER_KEY, RESET_KEY, QUIT_KEY, DARKER_KEY, LIGHTER_KEY}
HELP = "wasd: as seen  eq: up, down  jl: turn  space: gripper  []: light  r: again  x: end"
LIGHT_STEP = 0.75  # of the brightness, per press
SCRIPT_WORDS = {"space": GRIPPER_KEY, ".": ""}


@dataclass(frozen=True)
class Command:
    """What is wanted for one frame."""

    motion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(6))  # [-1, 1] each
    toggle_gripper: bool = False
    brightness: float = 1.0  # of the light, times what it is
    reset: bool = False
    quit: bool = False


class Source(Protocol):
    """Where commands come from."""

    def read(self) -> Command | None:
        """What is wanted now; None: there is no more."""


def command_of_keys(keys: str) -> Command:
    """All keys that were pressed since the last frame; unknown ones mean nothing."""
    motion = np.zeros(6)
    for key in set(keys) & set(MOTIONS):
        axis, sign = MOTIONS[key]
        motion[axis] += sign
    return Command(
        motion,
        toggle_gripper=keys.count(GRIPPER_KEY) % 2 == 1,
        brightness=LIGHT_STEP ** (keys.count(DARKER_KEY) - keys.count(LIGHTER_KEY)),
        reset=RESET_KEY in keys,
        quit=QUIT_KEY in keys,
    )


class Script:
    """Commands from a text: on each line keys (`wd`, `space`, `.` for none) and how many frames."""

    def __init__(self, path: Path) -> None:
        """Raises `UserError` naming the line that makes no sense."""
        try:
            lines = path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"script: cannot read {path}: {error}") from error
        self._commands = iter(list(_parsed(lines, path)))

    def read(self) -> Command | None:
        return next(self._commands, None)


def _parsed(lines: Iterable[str], path: Path) -> Iterator[Command]:
    for number, line in enumerate(lines, start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        keys = SCRIPT_WORDS.get(words[0], words[0])
        count = words[1] if len(words) == 2 else "1"
        if len(words) > 2 or not set(keys) <= KEYS or not count.isdecimal() or int(count) < 1:
            raise UserError(
                f"script: {path}, line {number}: expected keys out of {''.join(sorted(MOTIONS))}, "
                f"{RESET_KEY}, {QUIT_KEY}, [, ], or space, or ., and a number of frames, "
                f"got {line.strip()!r}"
            )
        for _ in range(int(count)):
            yield command_of_keys(keys)


@dataclass(frozen=True)
class Speeds:
    """How fast a key moves the arm."""

    tool_m_s: float = 0.15
    turn_rad_s: float = 0.8

    def __post_init__(self) -> None:
        for name, value, most in (("speed", self.tool_m_s, 0.8), ("turn", self.turn_rad_s, 4.0)):
            if not 0 < value <= most:
                raise UserError(f"{name}: expected above 0 and at most {most}, got {value}")


@dataclass(frozen=True)
class Shown:
    """One frame as it is shown."""

    picture: NDArray[np.uint8]  # (s, s, 3)
    info: dict[str, Any]  # of the environment
    frames_per_s: float  # that this machine could imagine, from the last ones; 0: none yet
    position: NDArray[np.float64]  # (3,) [m] of the tool
    opening: float  # of the gripper, wanted
    instruction: str


@dataclass
class Played:
    """What a session came to."""

    times_ms: list[float] = field(default_factory=list)  # that imagining each frame took
    success_probabilities: list[float] = field(default_factory=list)
    resets: int = 0

    def figures(self) -> dict[str, Any]:
        """As plain values."""
        success = self.success_probabilities
        none = dict.fromkeys(("frames_per_s", "frame_ms_p50", "frame_ms_p95"))
        return {
            "frames": len(self.times_ms),
            "resets": self.resets,
            **(frame_figures(self.times_ms) if self.times_ms else none),
            "success_probability_last": success[-1] if success else None,
            "success_probability_max": max(success, default=None),
        }


def play(
    env: ImaginedEnv,
    source: Source,
    show: Callable[[Shown], None],
    seed: int,
    options: dict[str, Any] | None = None,
    speeds: Speeds = Speeds(),
    frame_rate_hz: float = 0.0,
    max_frames: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Played:
    """Imagine frame after frame under the source's commands, until it ends.

    `frame_rate_hz`: at most so many a second; 0: as fast as it can. Success ends nothing: a player
    may want to go on. Ctrl-C is an ordinary end.
    """
    played = Played()
    values, info = env.reset(seed=seed, options=options)
    opening = round(float(values["gripper_opening"][0]))
    show(_shown(env, values, info, played, opening))
    try:
        while max_frames is None or len(played.times_ms) < max_frames:
            begin = clock()
            command = source.read()
            if command is None or command.quit:
                break
            if command.reset:
                values, info = env.reset(options=options)
                opening = round(float(values["gripper_opening"][0]))
                played.resets += 1
            else:
                opening = 1 - opening if command.toggle_gripper else opening
                values, info = _step(env, command, opening, speeds)
                played.times_ms.append((clock() - begin) * 1e3)
                played.success_probabilities.append(info["success_probability"])
            show(_shown(env, values, info, played, opening))
            if frame_rate_hz > 0:
                sleep(max(0.0, begin + 1 / frame_rate_hz - clock()))
    except KeyboardInterrupt:  # Ctrl-C ends it as well as the key does: what was recorded is kept
        pass
    return played


def _step(
    env: ImaginedEnv, command: Command, opening: float, speeds: Speeds
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One frame on: the same action for all of its control steps."""
    if command.brightness != 1.0:
        env.edit(lambda picture: brightened(picture, command.brightness))
    per_second = np.array([speeds.tool_m_s] * 3 + [speeds.turn_rad_s] * 3)
    action = np.append(command.motion * per_second / env.model.config.rate_hz, opening)
    for _ in range(env.model.actions_per_frame):
        values, _, _, _, info = env.step(action)
    return values, info


def brightened(picture: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """A picture as if all its light were `factor` times as bright."""
    return np.clip(np.round(picture * factor), 0, 255).astype(np.uint8)


def _shown(env, values, info, played: Played, opening: float) -> Shown:
    recent = played.times_ms[-10:]
    return Shown(
        picture=values[env.model.config.camera],
        info=info,
        frames_per_s=1e3 / float(np.mean(recent)) if recent else 0.0,
        position=values["ee_position"],
        opening=opening,
        instruction=values["instruction"],
    )
