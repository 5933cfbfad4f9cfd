"""The simulated robot and its table: what a real arm and its cameras would answer to.

`Tabletop` takes joint commands and returns measurements and images. It knows nothing of tasks,
actions or ROS; `sim.env` and `vla_ros.sim_node` both drive it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim import furniture, quaternions, robot
from sim.compile import compile_scene
from sim.quaternions import Quaternion
from sim.rendering import explain
from sim.scene import CAMERAS, Scene, SceneError

# A jump of the command is ramped at this share of the velocity limits; catching up goes beyond it.
COMMAND_SPEED_FRACTION = 0.7
# The servo damps the speed's difference from the command's, as trajectory controllers do: force =
# stiffness (command - position) + damping (command's speed - speed). Without, the arm would trail.
LEAD_S = np.array([link.damping / link.stiffness for link in robot.LINKS])  # (7,)


@dataclass(frozen=True)
class Snapshot:
    """Everything a `Tabletop`'s future depends on, to go back to it."""

    data: mujoco.MjData
    attributes: dict[str, Any]  # those in `Tabletop.STATE`


class Tabletop:
    """One compiled scene with its state.

    Poses are in the table's frame, whose z = 0 is the table's top. It is the base frame but where
    `sim.randomization` sets the table higher or lower: `base_position` says where the base is.
    """

    STATE: ClassVar[tuple[str, ...]] = ("_command", "first_touched")  # that MuJoCo does not keep

    def __init__(
        self, scene: Scene, meshes: bool = False, model: mujoco.MjModel | None = None
    ) -> None:
        """`model` is `scene` compiled, changed by `sim.randomization`."""
        self.scene = scene
        self.model = compile_scene(scene, meshes) if model is None else model
        self.data = mujoco.MjData(self.model)
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}
        self._bodies = {
            part.name: self.model.body(part.name).id for part in (*scene.items, *scene.furniture)
        }  # name -> body id
        self._grains = {
            heap.name: [self.model.body(name).id for name in heap.grain_names]
            for heap in scene.grains
        }  # name -> body ids
        self._item_of_body = {body: name for name, body in self._bodies.items()}
        self._robot_geoms = self.model.geom_contype == robot.ROBOT_CONTYPE
        fingers = [self.model.body(name).id for name in robot.FINGER_BODIES]
        self._finger_of_geom = {
            geom: fingers.index(body)
            for geom, body in enumerate(self.model.geom_bodyid)
            if body in fingers
        }
        self._tcp = self.model.site(robot.TCP_SITE).id
        self.base_position = self.model.body(robot.BASE_BODY).pos.copy()  # (3,) [m]
        self._untouching = b""  # pairs of geoms in contact, none of them the robot's and an item's
        self.observer: Callable[[], None] | None = None  # is called after every physics step
        self.reset(robot.HOME_RAD)

    def reset(self, joint_positions: NDArray, gripper_opening: float = 1.0) -> None:
        """Put the arm at `joint_positions` (7,) [rad], the items where the scene has them."""
        mujoco.mj_resetData(self.model, self.data)
        finger = gripper_opening * robot.FINGER_TRAVEL_M
        self.data.qpos[:7] = joint_positions
        self.data.qpos[7:9] = finger
        for fixture in self.scene.furniture:
            furniture.put_at_start(self.model, self.data, fixture)
        self._command = np.array(joint_positions, dtype=np.float64)  # (7,) [rad]
        self.data.ctrl[:7] = self._command
        self.data.ctrl[7:9] = finger
        mujoco.mj_forward(self.model, self.data)
        self.first_touched: str | None = None  # the first item that the robot touched

    def snapshot(self) -> Snapshot:
        """The present state; `restore` goes back to it, bit for bit."""
        attributes = {name: getattr(self, name) for name in self.STATE}
        return Snapshot(copy.copy(self.data), copy.deepcopy(attributes))

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a state of this world."""
        # All of it: poses and contacts are those of the step before, not what a fresh `mj_forward`
        # would make of the positions.
        mujoco.mj_copyData(self.data, self.model, snapshot.data)
        for name, value in copy.deepcopy(snapshot.attributes).items():
            setattr(self, name, value)

    def fork(self) -> Self:
        """This world as it is now, to go its own way; model and renderers are shared."""
        other = copy.copy(self)
        other.data = copy.copy(self.data)
        for name in self.STATE:
            setattr(other, name, copy.deepcopy(getattr(self, name)))
        return other

    # --- commands ---------------------------------------------------------------------------

    def command_present_pose(self, gripper: float) -> None:
        """Tell the servos to stay where the arm is now, at rest, and the fingers to go on."""
        self._command = self.joint_positions
        self.data.qvel[:] = 0.0
        self.data.ctrl[:7] = self._command
        self.data.ctrl[7:9] = gripper * robot.FINGER_TRAVEL_M

    def advance(
        self, duration_s: float, joint_target: NDArray | None = None, gripper: float | None = None
    ) -> None:
        """Simulate `duration_s`, moving the commanded joints evenly to `joint_target` (7,) [rad].

        The command's speed is limited to a share of the joints' limits; `gripper` is the wanted
        opening [0, 1]. What is None stays as it was commanded.
        """
        timestep = self.model.opt.timestep
        steps = max(1, round(duration_s / timestep))
        increment = np.zeros(7)
        if joint_target is not None:
            target = np.asarray(joint_target).clip(
                robot.POSITION_LOWER_RAD, robot.POSITION_UPPER_RAD
            )
            limit = COMMAND_SPEED_FRACTION * robot.VELOCITY_LIMIT_RAD_S * timestep
            increment = ((target - self._command) / steps).clip(-limit, limit)
        lead = LEAD_S * increment / timestep  # (7,) [rad]
        finger_step = robot.GRIPPER_SPEED_LIMIT_M_S * timestep
        commands = np.full((steps + 1, 7), increment)
        commands[0] = self._command
        np.add.accumulate(commands, out=commands)  # (steps + 1, 7) [rad]
        leading = commands + lead
        # Python's own numbers and a view: NumPy's calls would take longer than the physics.
        control = self.data.ctrl
        finger = finger_goal = float(control[7])
        if gripper is not None:
            finger_goal = min(max(float(gripper), 0.0), 1.0) * robot.FINGER_TRAVEL_M
        for command in leading[1:]:
            control[:7] = command
            if finger != finger_goal:
                finger += min(max(finger_goal - finger, -finger_step), finger_step)
                control[7:9] = finger
            self._step()
            self._after_step()
        self._command = commands[-1].copy()
        control[:7] = self._command  # what the servos are told to hold from here on

    def _after_step(self) -> None:
        if self.first_touched is None:
            self._note_first_touch()
        if self.observer is not None:
            self.observer()

    def _step(self) -> None:
        """One step of physics under `data.ctrl`; `sim.sim2real` lets it come late."""
        mujoco.mj_step(self.model, self.data)

    def _note_first_touch(self) -> None:
        geoms = self.data.contact.geom[: self.data.ncon]  # (n, 2)
        pairs = geoms.tobytes()
        if pairs == self._untouching:
            return
        on_robot = self._robot_geoms[geoms]
        for row in np.flatnonzero(on_robot[:, 0] != on_robot[:, 1]):
            other = geoms[row, 1] if on_robot[row, 0] else geoms[row, 0]
            name = self._item_of_body.get(int(self.model.geom_bodyid[other]))
            if name is not None:
                self.first_touched = name
                return
        self._untouching = pairs

    # --- measurements -----------------------------------------------------------------------

    @property
    def time_s(self) -> float:
        return float(self.data.time)

    @property
    def joint_positions(self) -> NDArray:
        """(7,) [rad]."""
        return self.data.qpos[:7].copy()

    @property
    def joint_velocities(self) -> NDArray:
        """(7,) [rad/s]."""
        return self.data.qvel[:7].copy()

    @property
    def finger_positions(self) -> NDArray:
        """(2,) [m], travel of each finger from closed."""
        return self.data.qpos[7:9].copy()

    @property
    def gripper_opening(self) -> float:
        """[0, 1], 0 = closed."""
        left, right = self.data.qpos[7:9].tolist()
        return min(max((left + right) / 2 / robot.FINGER_TRAVEL_M, 0.0), 1.0)

    @property
    def ee_position(self) -> NDArray:
        """(3,) [m], tool centre point."""
        return self.data.site_xpos[self._tcp].copy()

    @property
    def ee_rotation(self) -> Rotation:
        return Rotation.from_matrix(self.data.site_xmat[self._tcp].reshape(3, 3))

    @property
    def ee_quaternion(self) -> Quaternion:
        """`ee_rotation` for the control loop, to which SciPy's checks are dear."""
        return quaternions.from_matrix(self.data.site_xmat[self._tcp])

    def item_position(self, name: str) -> NDArray:
        """(3,) [m], centre of an item (bowl: its base), a handle, a cap, the middle of grains."""
        if name in self._grains:
            return self.grain_positions(name).mean(axis=0)
        return self.data.xpos[self._body(name)].copy()

    def item_rotation(self, name: str) -> Rotation:
        return Rotation.from_matrix(self.data.xmat[self._body(name)].reshape(3, 3))

    def grain_positions(self, name: str) -> NDArray:
        """(count, 3) [m], centres of the grains of a heap."""
        self.scene.heap(name)
        return self.data.xpos[self._grains[name]].copy()

    def travel(self, name: str) -> float:
        """[m]: how far a drawer is open, a button pressed."""
        self.scene.fixture(name)
        return float(self.data.qpos[self.model.joint(name).qposadr[0]])

    def item_speed(self, name: str) -> float:
        """[m/s]."""
        joint = self.model.joint(name)
        return float(np.linalg.norm(self.data.qvel[joint.dofadr[0] : joint.dofadr[0] + 3]))

    def is_touching(self, first: str, second: str) -> bool:
        """Whether two items, or an item and a piece of furniture, touch each other."""
        wanted = {self._body(first), self._body(second)}
        bodies = self.model.geom_bodyid[self.data.contact.geom[: self.data.ncon]]  # (contacts, 2)
        return any({int(one), int(other)} == wanted for one, other in bodies)

    def is_touched(self, name: str) -> bool:
        """Whether the robot touches it."""
        body = self._body(name)
        geoms = self.data.contact.geom[: self.data.ncon]  # (contacts, 2)
        here = self.model.geom_bodyid[geoms] == body
        return bool(np.any(here & self._robot_geoms[geoms][:, ::-1]))

    def is_held(self, name: str) -> bool:
        """Whether both fingers touch the item."""
        body = self._body(name)
        touching = set()
        for first, second in self.data.contact.geom[: self.data.ncon]:
            for finger, other in ((first, second), (second, first)):
                if finger in self._finger_of_geom and self.model.geom_bodyid[other] == body:
                    touching.add(self._finger_of_geom[finger])
        return len(touching) == 2

    def _body(self, name: str) -> int:
        """The body of an item or the moving part of furniture; `SceneError` for other names."""
        if name not in self._bodies:
            raise SceneError(f"item {name!r} is not in this scene; it has {list(self._bodies)}")
        return self._bodies[name]

    # --- images -----------------------------------------------------------------------------

    def render(self, camera: str, height: int = 224, width: int = 224) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 RGB from one of `sim.scene.CAMERAS`.

        Raises `sim.rendering.RenderingError` where nothing can be drawn off screen.
        """
        if camera not in CAMERAS:
            raise ValueError(f"camera: expected one of {', '.join(CAMERAS)}, got {camera!r}")
        renderer = self._renderers.get((height, width))
        if renderer is None:
            try:
                renderer = mujoco.Renderer(self.model, height, width)
            except (ImportError, AttributeError, RuntimeError, mujoco.FatalError) as error:
                raise explain(error) from error
            self._renderers[(height, width)] = renderer
        renderer.update_scene(self.data, camera)
        return renderer.render()

    def close(self) -> None:
        """Free the graphics memory."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
