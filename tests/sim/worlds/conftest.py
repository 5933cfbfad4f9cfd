"""A tiny environment of somebody else's: a point in another frame, in millimetres, blue first."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from scipy.spatial.transform import Rotation

from sim.worlds import load_world

ENV_ID = "Test/OtherArm-v0"
WORLD = f"""
env: {ENV_ID}
rate_hz: 20
max_steps: 40
cameras:
  front: {{path: pixels.main, flip: [vertical], channels: bgr}}
tool:
  position: state[0:3]
  metres_per_unit: 0.001
  quaternion: state[3:7]
  order: xyzw
  base_position_m: [1.0, 2.0, 0.0]
  base_yaw_deg: 90.0
gripper: {{path: "state[7]", closed: 8.0, open: 0.0}}
action:
  entries: [gripper, y, x, z, zero, yaw]
  metres_per_unit: 0.05
  radians_per_unit: 0.5
  gripper_closed: 1.0
  gripper_open: -1.0
instruction: {{info: task.language}}
success: {{info: done_well}}
"""


class OtherArm(gymnasium.Env):
    """Moves by half of what it is told, like a controller that lags. Success: 5 cm from the start
    along the base's x axis, which is this world's y axis.
    """

    observation_space = spaces.Dict({})
    action_space = spaces.Box(-1.0, 1.0, (6,), np.float32)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode=None, lag=0.5):
        self.render_mode, self.lag = render_mode, lag

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = np.array([1.0, 2.3, 0.2])  # [m]: 0.3 in front of the base
        self.rotation = Rotation.from_quat([1.0, 0.0, 0.0, 0.0])
        self.jaw = 0.0
        self.actions = []
        return self._observe(), {"task": {"language": "push it"}}

    def step(self, action):
        self.actions.append(action.copy())
        gripper, y, x, z, _, yaw = action.astype(float)
        self.position = self.position + self.lag * 0.05 * np.array([x, y, z])
        turn = Rotation.from_rotvec([0.0, 0.0, self.lag * 0.5 * yaw])
        self.rotation = turn * self.rotation
        self.jaw = 4.0 + 4.0 * gripper
        done = bool(self.position[1] > 2.35)
        info = {"task": {"language": "push it"}, "done_well": done}
        return self._observe(), float(done), False, False, info

    def render(self):
        return np.full((4, 6, 3), 7, np.uint8)

    def _observe(self):
        image = np.zeros((4, 6, 3), np.uint8)
        image[0] = (255, 0, 0)  # blue first: the top row, which is the bottom one, is blue
        state = np.concatenate([1000.0 * self.position, self.rotation.as_quat(), [self.jaw]])
        return {"pixels": {"main": image}, "state": state}


@pytest.fixture(autouse=True)
def other_arm():
    """Registers the environment."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(ENV_ID, entry_point=OtherArm)


@pytest.fixture
def world_file(tmp_path):
    """Writes a world's file: the text above with parts replaced."""

    def write(*replacements):
        text = WORLD
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "world.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def world_config(world_file):
    """Reads a world's file: the text above with parts replaced."""
    return lambda *replacements: load_world(world_file(*replacements))
