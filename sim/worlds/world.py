"""The adapter: an environment of Gymnasium's registry that shows our `Observation` and takes poses.

Whatever an environment's controller makes of a displacement (a lag, a sag under gravity), the
adapter sends at each of its steps what is left of the way to the wanted pose. So an action of ours
means the same in every world: that far, in the base frame, from the pose that was observed.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from policies.interface import ActionChunk, ActionError, Observation
from sim.worlds.config import WorldConfig
from sim.worlds.mapping import Frame, encode, gripper_opening, tool_pose, upright
from sim.worlds.paths import WorldError, look_up


class World:
    """One environment as `config` describes it. Use `reset`, then `step` until `done`."""

    def __init__(self, config: WorldConfig, cameras: Sequence[str] | None = None) -> None:
        """Import the module, make the environment, compare its action space with the mapping.

        Observations have the images of `cameras`; None: of all that the world has.
        """
        self.config = config
        self.cameras = tuple(config.cameras if cameras is None else cameras)
        missing = [name for name in self.cameras if name not in config.cameras]
        if missing:
            raise WorldError(
                f"cameras: the policy looks at {', '.join(missing)}; this world has "
                f"{', '.join(config.cameras)}"
            )
        self._frame = Frame(config.tool)
        self.env = _make(config)
        self._low, self._high = _bounds(config, self.env.action_space)
        self._values: Any = None
        self._info: dict[str, Any] = {}
        self._opening = 1.0  # commanded last
        self.steps = 0  # of the environment since the reset
        self.success = False
        self.done = True

    def reset(self, seed: int | None = None) -> Observation:
        """Begin the episode of `seed`; the same seed is the same episode if the environment's is.

        Raises `WorldError` for a path that leads nowhere, naming what is there.
        """
        self._values, self._info = self.env.reset(seed=seed)
        self.steps, self.success, self.done = 0, False, False
        observation = self.observe()
        if self.config.success.info is not None and self._info:
            self._succeeded(0.0, False, at_reset=True)
        self._opening = observation.gripper_opening
        position, rotation = self._pose()
        for _ in range(self.config.settle_steps):
            self._send(position, rotation, self._opening)
        self.steps = 0
        return self.observe()

    def observe(self) -> Observation:
        """What the robot knows now."""
        values = self._running()
        position, rotation = self._pose()
        joints = self.config.joints
        return Observation(
            images={name: self._image(name) for name in self.cameras},
            joint_positions=(
                np.zeros(0)
                if joints is None
                else np.asarray(look_up(values, joints, "joints"), np.float64)
            ),
            gripper_opening=gripper_opening(self.config.gripper, values),
            ee_position=position,
            ee_quaternion=rotation.as_quat(canonical=True, scalar_first=True),
            instruction=self._instruction(),
            stamp_ns=round(self.steps / self.config.rate_hz * 1e9),
        )

    def step(self, action: NDArray, dt_s: float = 0.1) -> Observation:
        """Carry out one action (7,), a displacement from the pose there is now, within `dt_s`."""
        chunk = ActionChunk(np.asarray(action, np.float64).reshape(1, -1), 0, dt_s)
        position, rotation = self._pose()
        turn = Rotation.from_euler("xyz", chunk.actions[0, 3:6])
        self.reach(position + chunk.actions[0, :3], turn * rotation, chunk.actions[0, 6], dt_s)
        return self.observe()

    def reach(self, position_m: NDArray, rotation: Rotation, opening: float, dt_s: float) -> None:
        """Go towards a pose in the base frame for `dt_s`, or until the episode is over."""
        for _ in range(self.steps_within(dt_s)):
            if self.done:
                return
            self._send(position_m, rotation, opening)

    def steps_within(self, dt_s: float) -> int:
        """How many of the environment's steps an action takes. Raises `ActionError` for a part."""
        steps = dt_s * self.config.rate_hz
        if round(steps) < 1 or abs(steps - round(steps)) > 0.01 * steps:
            raise ActionError(
                f"dt_s: {self.config.env} takes {self.config.rate_hz:g} steps a second, and an "
                f"action must last a whole number of them; this policy's last {dt_s:g} s"
            )
        return round(steps)

    def close(self) -> None:
        self.env.close()

    def _send(self, position_m: NDArray, rotation: Rotation, opening: float) -> None:
        """One step of the environment towards a pose."""
        here, turned = self._pose()
        turn = (rotation * turned.inv()).as_rotvec()
        action = encode(self.config.action, self._frame, position_m - here, turn, opening)
        action = np.clip(action, self._low, self._high).astype(self.env.action_space.dtype)
        self._values, reward, terminated, truncated, self._info = self.env.step(action)
        self.steps += 1
        self.success = self.success or self._succeeded(float(reward), bool(terminated))
        over = terminated or truncated or self.steps >= self.config.max_steps
        self.done = bool(over or self.success)

    def _image(self, name: str) -> NDArray[np.uint8]:
        source, field = self.config.cameras[name], f"cameras.{name}.path"
        image = (
            self.env.render()
            if source.path is None
            else look_up(self._running(), source.path, field)
        )
        return upright(source, image, field)

    def _pose(self) -> tuple[NDArray[np.float64], Rotation]:
        return tool_pose(self.config.tool, self._running())

    def _succeeded(self, reward: float, terminated: bool, at_reset: bool = False) -> bool:
        source = self.config.success
        if source.reward is not None:
            return reward >= source.reward
        if source.terminated:
            return terminated
        assert source.info is not None  # `SuccessSource` has exactly one
        try:
            return bool(np.all(look_up(self._info, source.info, "success.info")))
        except WorldError:
            if at_reset:  # many environments say it from the first step on
                return False
            raise

    def _instruction(self) -> str:
        source = self.config.instruction
        if source.text is not None:
            return source.text
        if source.attribute is not None:
            try:
                found = self.env.get_wrapper_attr(source.attribute)
            except AttributeError:
                raise WorldError(
                    f"instruction.attribute: {self.config.env} has no {source.attribute!r}"
                ) from None
        elif source.observation is not None:
            found = look_up(self._values, source.observation, "instruction.observation")
        else:
            found = look_up(self._info, str(source.info), "instruction.info")
        if not isinstance(found, str):
            raise WorldError(f"instruction: expected text, got {type(found).__name__}")
        return found

    def _running(self) -> Any:
        if self._values is None:
            raise RuntimeError("call reset() before anything else")
        return self._values


def _make(config: WorldConfig) -> gymnasium.Env:
    if config.module is not None:
        try:
            importlib.import_module(config.module)
        except ModuleNotFoundError as error:
            hint = f"; install it with: {config.install}" if config.install else ""
            raise WorldError(
                f"module: {config.module} needs {error.name!r}, which is not installed{hint}"
            ) from error
    try:
        return gymnasium.make(
            config.env,
            max_episode_steps=config.max_steps + config.settle_steps,
            disable_env_checker=True,
            **_render_mode(config),
            **config.kwargs,
        )
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.NameNotFound) as error:
        raise WorldError(
            f"env: {config.env!r} is not registered after importing {config.module}: {error}"
        ) from error
    except TypeError as error:
        raise WorldError(f"kwargs: {config.env} does not take these: {error}") from error


def _render_mode(config: WorldConfig) -> dict[str, str]:
    drawn = any(source.path is None for source in config.cameras.values())
    return {"render_mode": "rgb_array"} if drawn else {}


def _bounds(
    config: WorldConfig, space: spaces.Space
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the action is clipped to, (n,) each. Raises `WorldError` for another size."""
    wanted = (len(config.action.entries),)
    if not isinstance(space, spaces.Box) or space.shape != wanted:
        raise WorldError(
            f"action.entries: {len(config.action.entries)} given "
            f"({', '.join(config.action.entries)}), but {config.env} takes {space}"
        )
    return space.low.astype(np.float64), space.high.astype(np.float64)
