"""The simulated robot and its table: what a real arm and its cameras would answer to.

`Tabletop` takes joint commands and returns measurements and images. It knows nothing of tasks,
actions or ROS; `sim.env` and `vla_ros.sim_node` both drive it.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from sim import furniture, robot
from sim.compile import compile_scene
from sim.rendering import explain
from sim.scene import CAMERAS, Scene, SceneError

# A jump of the command is ramped at this share of the velocity limits; catching up goes beyond it.
COMMAND_SPEED_FRACTION = 0.7
# The servo damps the speed's difference from the command's, as trajectory controllers do: force =
# stiffness (command - position) + damping (command's speed - speed). Without, the arm would trail.
LEAD_S = np.array([link.damping / link.stiffness for link in robot.LINKS])  # (7,)


class Tabletop:
    """One compiled scene with its state. All poses are in the base frame."""

    def __init__(self, scene: Scene, meshes: bool = False) -> None:
        self.scene = scene
        self.model = compile_scene(scene, meshes)
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

    # --- commands ---------------------------------------------------------------------------

    def advance(
        self, duration_s: float, joint_target: NDArray | None = None, gripper: float | None = None
    ) -> None:
        """Simulate `duration_s`, moving the commanded joints evenly to `joint_target` (7,) [rad].

        The command's speed is limited to a share of the joints' limits; `gripper` is the wanted
        opening [0, 1]. What is None stays as it was commanded.
        """
        steps = max(1, round(duration_s / self.model.opt.timestep))
        increment = np.zeros(7)
        if joint_target is not None:
            target = np.clip(joint_target, robot.POSITION_LOWER_RAD, robot.POSITION_UPPER_RAD)
            limit = COMMAND_SPEED_FRACTION * robot.VELOCITY_LIMIT_RAD_S * self.model.opt.timestep
            increment = np.clip((target - self._command) / steps, -limit, limit)
        finger_target = (
            self.data.ctrl[7]
            if gripper is None
            else np.clip(gripper, 0.0, 1.0) * robot.FINGER_TRAVEL_M
        )
        lead = LEAD_S * increment / self.model.opt.timestep  # (7,) [rad]
        finger_step = robot.GRIPPER_SPEED_LIMIT_M_S * self.model.opt.timestep
        for _ in range(steps):
            self._command += increment
            self.data.ctrl[:7] = self._command + lead
            difference = finger_target - self.data.ctrl[7]
            self.data.ctrl[7:9] += np.clip(difference, -finger_step, finger_step)
            mujoco.mj_step(self.model, self.data)
            if self.first_touched is None:
                self._note_first_touch()
        self.data.ctrl[:7] = self._command  # what the servos are told to hold from here on

    def _note_first_touch(self) -> None:
        for geoms in self.data.contact.geom[: self.data.ncon]:
            on_robot = self._robot_geoms[geoms]
            if on_robot[0] == on_robot[1]:
                continue
            other = geoms[1] if on_robot[0] else geoms[0]
            name = self._item_of_body.get(int(self.model.geom_bodyid[other]))
            if name is not None:
                self.first_touched = name
                return

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
        return float(np.clip(self.data.qpos[7:9].mean() / robot.FINGER_TRAVEL_M, 0.0, 1.0))

    @property
    def ee_position(self) -> NDArray:
        """(3,) [m], tool centre point."""
        return self.data.site_xpos[self._tcp].copy()

    @property
    def ee_rotation(self) -> Rotation:
        return Rotation.from_matrix(self.data.site_xmat[self._tcp].reshape(3, 3))

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
