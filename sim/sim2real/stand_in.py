"""A second simulated world that stands for a real robot where none is at hand.

Other joints and servos, an unknown load, late commands, noisy encoders, other objects, cameras,
light and lens. Its values were chosen once, before any policy was measured in it, and nothing that
trains a policy reads them: whoever trains on this world has no robot left to test on.
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Literal

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sim import robot
from sim.compile import TIMESTEP_S
from sim.scene import Scene
from sim.sim2real.arm import JOINTS, ArmParameters
from sim.sim2real.filament import FilamentCamera
from sim.tabletop import Tabletop

Renderer = Literal["classic", "filament"]
JITTER_STEPS = 25  # physics steps for which a drawn delay holds


@dataclass(frozen=True)
class StandInSettings:
    """How the stand-in differs from the usual world."""

    arm: ArmParameters = ArmParameters(
        damping=np.array([15.0, 12.0, 10.0, 10.0, 4.0, 3.5, 2.5]),
        friction_loss=np.array([2.6, 3.1, 2.2, 2.4, 1.5, 1.1, 0.8]),
        stiffness=np.array([3900.0, 4300.0, 3300.0, 3100.0, 1400.0, 1300.0, 1150.0]),
        latency_s=0.048,
    )
    # What identification does not know of: it must show as a gap that stays.
    servo_damping_factor: float = 1.08
    armature_factor: float = 1.2
    gravity_compensated: float = 0.97  # of each link's weight
    load_kg: float = 0.12  # a camera on the hand, say; not compensated
    jitter_s: float = 0.008  # largest extra delay
    encoder_noise_rad: float = 0.0003  # standard deviation of a reading
    item_mass_factor: float = 1.4
    item_friction_factor: float = 0.85
    # What the policy sees.
    camera_shift_m: tuple[float, float, float] = (0.006, -0.008, 0.005)
    fovy_shift_deg: float = 0.8
    light_direction: tuple[float, float, float] = (0.35, -0.45, -1.0)
    light_rgb: tuple[float, float, float] = (0.62, 0.56, 0.47)  # a warm lamp
    table_rgb_factor: tuple[float, float, float] = (0.86, 0.92, 1.05)
    item_rgb_factor: float = 0.88
    gamma: float = 0.85
    blur_px: float = 0.5  # standard deviation
    image_noise: float = 0.012  # standard deviation, images from 0 to 1


class ArmTabletop(Tabletop):
    """The tabletop with other joints and servos, told everything late: an identified simulation."""

    STATE: ClassVar[tuple[str, ...]] = (*Tabletop.STATE, "_told")

    def __init__(
        self, scene: Scene, meshes: bool = False, parameters: ArmParameters | None = None
    ) -> None:
        parameters = parameters or ArmParameters.nominal()
        self._delay_steps = round(parameters.latency_s / TIMESTEP_S)
        super().__init__(scene, meshes)
        parameters.apply_to(self.model)

    def reset(self, joint_positions: NDArray, gripper_opening: float = 1.0) -> None:
        super().reset(joint_positions, gripper_opening)
        told = self.data.ctrl.copy()
        self._told = deque([told] * (self._longest_delay_steps + 1), self._longest_delay_steps + 1)

    @property
    def _longest_delay_steps(self) -> int:
        return self._delay_steps

    def _step(self) -> None:
        wanted = self.data.ctrl.copy()
        self._told.append(wanted)
        self.data.ctrl[:] = self._told[-1 - self._present_delay_steps()]
        super()._step()
        self.data.ctrl[:] = wanted

    def _present_delay_steps(self) -> int:
        return self._delay_steps


class StandIn(ArmTabletop):
    """The world that stands for a robot. The same episode has the same noise, bit for bit."""

    STATE: ClassVar[tuple[str, ...]] = (*ArmTabletop.STATE, "_rng", "_steps", "_extra_steps")

    def __init__(
        self,
        scene: Scene,
        meshes: bool = False,
        renderer: Renderer = "classic",
        settings: StandInSettings = StandInSettings(),
    ) -> None:
        self._settings = settings
        self._jitter_steps = round(settings.jitter_s / TIMESTEP_S)
        super().__init__(scene, meshes, settings.arm)
        _change_physics(self.model, settings)
        _change_looks(self.model, settings)
        mujoco.mj_setConst(self.model, self.data)  # constants that follow from the masses
        self._filament = FilamentCamera(self.model) if renderer == "filament" else None
        self.reset(robot.HOME_RAD)

    def reset(self, joint_positions: NDArray, gripper_opening: float = 1.0) -> None:
        layout = repr((self.scene, np.asarray(joint_positions).tolist())).encode()
        # From the episode, not from a counter: workers see episodes in any order.
        self._rng = np.random.default_rng([zlib.crc32(layout), 0x5EA1])
        self._steps = self._extra_steps = 0
        super().reset(joint_positions, gripper_opening)

    @property
    def _longest_delay_steps(self) -> int:
        return self._delay_steps + self._jitter_steps

    def _present_delay_steps(self) -> int:
        if self._steps % JITTER_STEPS == 0:
            self._extra_steps = int(self._rng.integers(self._jitter_steps + 1))
        self._steps += 1
        return self._delay_steps + self._extra_steps

    @property
    def joint_positions(self) -> NDArray:
        """(7,) [rad], as noisy encoders read them: another number at every reading."""
        noise = self._settings.encoder_noise_rad * self._rng.standard_normal(JOINTS)
        return super().joint_positions + noise

    def render(self, camera: str, height: int = 224, width: int = 224) -> NDArray[np.uint8]:
        if self._filament is None:
            image = super().render(camera, height, width)
        else:
            image = self._filament.render(self.data, camera, height, width)
        return self._through_the_lens(image)

    def close(self) -> None:
        super().close()
        if self._filament is not None:
            self._filament.close()
            self._filament = None

    def _through_the_lens(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        settings = self._settings
        values = (image / 255.0) ** settings.gamma
        values = gaussian_filter(values, (settings.blur_px, settings.blur_px, 0))
        values += settings.image_noise * self._rng.standard_normal(values.shape)
        return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _change_physics(model: mujoco.MjModel, settings: StandInSettings) -> None:
    model.actuator_biasprm[:JOINTS, 2] *= settings.servo_damping_factor
    model.dof_armature[:JOINTS] *= settings.armature_factor
    model.body_gravcomp[:] *= settings.gravity_compensated
    hand = model.body("fr3_hand").id
    model.body_gravcomp[hand] *= model.body_mass[hand] / (model.body_mass[hand] + settings.load_kg)
    model.body_mass[hand] += settings.load_kg
    free = [body for body in range(model.nbody) if _moves_freely(model, body)]
    model.body_mass[free] *= settings.item_mass_factor
    model.body_inertia[free] *= settings.item_mass_factor
    on_item = np.isin(model.geom_bodyid, free)
    model.geom_friction[on_item, 0] *= settings.item_friction_factor


def _change_looks(model: mujoco.MjModel, settings: StandInSettings) -> None:
    front = model.camera("front").id
    model.cam_pos[front] += settings.camera_shift_m
    model.cam_fovy[front] += settings.fovy_shift_deg
    direction = np.array(settings.light_direction)
    model.light_dir[:] = direction / np.linalg.norm(direction)
    model.light_diffuse[:] = settings.light_rgb
    model.geom_rgba[model.geom("table").id, :3] *= settings.table_rgb_factor
    on_item = [_moves_freely(model, body) for body in model.geom_bodyid]
    model.geom_rgba[on_item, :3] *= settings.item_rgb_factor


def _moves_freely(model: mujoco.MjModel, body: int) -> bool:
    joint = model.body_jntadr[body]
    return joint >= 0 and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE
