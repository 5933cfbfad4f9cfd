"""A `Tabletop` of a randomized episode: its edited model, late commands, late and noisy senses.

All times are simulated; nothing here looks at a clock.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim import robot
from sim.compile import compile_scene
from sim.randomization import sensors
from sim.randomization.assets import dress
from sim.randomization.axes import SURFACES
from sim.randomization.domain import Domain
from sim.randomization.draw import draw, stream
from sim.randomization.edits import ModelEditor, movable_bodies, size_factors
from sim.randomization.placing import Lane, free_poses
from sim.scene import Scene
from sim.tabletop import Tabletop

PAST_STATE = mujoco.mjtState.mjSTATE_FULLPHYSICS
VISUAL_AXES = ("lighting", "textures", "camera", "sensors")  # can be drawn again in one scene


@dataclass(frozen=True)
class _Command:
    """What was commanded, and when it arrives, in physics steps."""

    arrival: int
    steps: int  # to reach the target in
    joint_target: NDArray | None  # (7,) [rad]
    gripper: float | None  # [0, 1]


class RandomizedTabletop(Tabletop):
    """The world of one draw. `draw.record()` says what it has."""

    STATE: ClassVar[tuple[str, ...]] = (
        *Tabletop.STATE,
        *("_noise", "_drops", "_jitter", "_sensed", "_pending", "_active", "_now", "_history"),
    )

    def __init__(
        self, scene: Scene, domain: Domain, seeds: np.random.SeedSequence, meshes: bool = False
    ) -> None:
        """Draw from `seeds`, compile once and edit; `self.scene` has the drawn sizes."""
        self._domain = domain
        self._items = [item.name for item in scene.items]
        structure = draw(domain.restricted_to(("textures", "distractors")), seeds)
        model = compile_scene(scene, meshes, partial(dress, draw=structure))
        self.draw = draw(domain, seeds, self._items, movable_bodies(model))
        sizes = size_factors(model, scene, self.draw["objects"].get("size", {}))
        if sizes:
            self.draw = self.draw.having("objects", size=sizes)
        self._compiled_scene = scene
        self._editor = ModelEditor(model)
        self._editor.apply(self.draw, scene)
        self._past_data = mujoco.MjData(model)
        step_ms = 1e3 * model.opt.timestep
        values = self.draw["latency"]
        self._command_steps = round(values.get("delay_ms", 0.0) / step_ms)
        self._jitter_steps = round(values.get("jitter_ms", 0.0) / step_ms)
        seen_steps = round(self.draw["observation"].get("delay_ms", 0.0) / step_ms)
        self._history: deque[NDArray] | None = deque(maxlen=seen_steps + 1) if seen_steps else None
        super().__init__(_resized(scene, sizes), model=model)

    def reset(self, joint_positions: NDArray, gripper_opening: float = 1.0) -> None:
        """As `Tabletop.reset`; noise and jitter begin anew, too."""
        super().reset(joint_positions, gripper_opening)
        self._noise = self.draw.stream("sensors.noise")
        self._drops = self.draw.stream("observation.drops")
        self._jitter = self.draw.stream("latency.jitter")
        self._sensed: dict[str, Any] | None = None
        self._pending: deque[_Command] = deque()
        self._active: _Command | None = None
        self._now = 0  # [physics steps]
        if self._history is not None:
            self._history.clear()
            self._remember()

    def place_distractors(self, lanes: list[Lane]) -> None:
        """Put them on the table, clear of everything and of the lanes. Ends with a reset."""
        values = self.draw["distractors"]
        if not values.get("count"):
            return
        poses = free_poses(self, lanes, self.draw.stream("distractors.poses"))
        self.draw = self.draw.having("distractors", poses=poses)
        self._editor.apply(self.draw, self._compiled_scene)
        self.reset(self.joint_positions)

    def scatter_distractors(self, seeds: np.random.SeedSequence) -> None:
        """Put them on the table for now, clear of everything: in the state, not in the model."""
        if self.draw["distractors"].get("count"):
            free_poses(self, [], stream(seeds, "distractors.poses"))
            mujoco.mj_forward(self.model, self.data)

    def redraw(self, seeds: np.random.SeedSequence) -> None:
        """Draw the axes that only cameras see again; the state of the world stays."""
        visual = draw(self._domain.restricted_to(VISUAL_AXES), seeds, self._items)
        self.draw = replace(self.draw, seeds=seeds, axes={**self.draw.axes, **visual.axes})
        self._editor.apply(self.draw, self._compiled_scene)
        self._noise = self.draw.stream("sensors.noise")
        if "textures" in self.draw:
            self._upload_textures()

    def _upload_textures(self) -> None:
        """To the graphics memory of renderers that exist; later ones take them from the model."""
        for renderer in self._renderers.values():
            # The class has no public way; what renders later makes its own context current.
            renderer._gl_context.make_current()
            for name in SURFACES:
                texture = self.model.tex(name).id
                mujoco.mjr_uploadTexture(self.model, renderer._mjr_context, texture)

    def taken(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image (h, w, 3) that was rendered, as the camera takes it."""
        return sensors.worsen(image, self.draw["sensors"], self._noise)

    # --- commands -----------------------------------------------------------------------------

    def advance(
        self, duration_s: float, joint_target: NDArray | None = None, gripper: float | None = None
    ) -> None:
        """As `Tabletop.advance`; what is commanded takes effect when it has arrived."""
        if "latency" not in self.draw:
            super().advance(duration_s, joint_target, gripper)
            return
        steps = max(1, round(duration_s / self.model.opt.timestep))
        if joint_target is not None or gripper is not None:
            delay = self._command_steps + round(self._jitter.random() * self._jitter_steps)
            earliest = self._pending[-1].arrival if self._pending else 0  # they keep their order
            arrival = max(self._now + delay, earliest)
            self._pending.append(_Command(arrival, steps, joint_target, gripper))
        end = self._now + steps
        while self._now < end:
            while self._pending and self._pending[0].arrival <= self._now:
                self._active = self._pending.popleft()
            self._follow(min([end, *(command.arrival for command in self._pending)]))

    def _follow(self, until: int) -> None:
        """Carry out the active command for some physics steps, at most up to its target."""
        target, gripper = None, None
        if self._active is not None:
            gripper = self._active.gripper
            left = self._active.arrival + self._active.steps - self._now
            if left > 0 and self._active.joint_target is not None:
                until = min(until, self._now + left)
                share = (until - self._now) / left
                target = self._command + share * (self._active.joint_target - self._command)
        steps = until - self._now
        super().advance(steps * self.model.opt.timestep, target, gripper)
        self._now = until

    def _after_step(self) -> None:
        super()._after_step()
        if self._history is not None:
            self._remember()

    # --- senses -------------------------------------------------------------------------------

    def sense(self, measure: Callable[[Tabletop], dict[str, Any]]) -> dict[str, Any]:
        """What `measure` finds in the world as the sensors show it: late, lossy, noisy.

        It must give `joint_positions`, `gripper_opening`, `ee_position` and `ee_quaternion`; every
        (h, w, 3) array is taken for an image.
        """
        lost = self._drops.random() < self.draw["observation"].get("drop", 0.0)
        if not lost or self._sensed is None:
            self._sensed = self._disturbed(measure(self._seen()))
        return {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in self._sensed.items()
        }

    def _remember(self) -> None:
        assert self._history is not None
        state = np.empty(mujoco.mj_stateSize(self.model, PAST_STATE))
        mujoco.mj_getState(self.model, self.data, state, PAST_STATE)
        self._history.append(state)

    def _seen(self) -> Tabletop:
        """This world as it was when what arrives now was measured."""
        if self._history is None:
            return self
        past = copy.copy(self)  # shares the model and the renderers
        past.data = self._past_data
        mujoco.mj_setState(self.model, past.data, self._history[0], PAST_STATE)
        mujoco.mj_forward(self.model, past.data)
        return past

    def _disturbed(self, values: dict[str, Any]) -> dict[str, Any]:
        lost = self.draw["sensors"]
        if not lost:
            return values
        for name, value in values.items():
            if isinstance(value, np.ndarray) and value.ndim == 3:
                values[name] = self.taken(value)
        joints = sensors.misread_joints(values["joint_positions"], lost, self._noise)
        position, rotation = self._tool_pose(joints)
        return values | {
            "joint_positions": joints,
            "ee_position": position,
            "ee_quaternion": rotation.as_quat(canonical=True, scalar_first=True),
            "gripper_opening": sensors.misread_gripper(
                values["gripper_opening"], lost, self._noise
            ),
        }

    def _tool_pose(self, joint_positions: NDArray) -> tuple[NDArray, Rotation]:
        """Of the tool centre point in the base frame: what readings say, not where it is."""
        data = self._past_data
        data.qpos[:7] = joint_positions
        mujoco.mj_kinematics(self.model, data)
        site = data.site(robot.TCP_SITE)
        return site.xpos - self.base_position, Rotation.from_matrix(site.xmat.reshape(3, 3))


def _resized(scene: Scene, factors: dict[str, float]) -> Scene:
    items = tuple(
        replace(item, size_m=item.size_m * factors.get(item.name, 1.0)) for item in scene.items
    )
    return replace(scene, items=items)
