"""Playing: keys and scripts to commands, frames under them, terminals, game controllers."""

import os
import re

import numpy as np
import pytest

from vla_ros.errors import UserError
from vla_ros.playing import Command, Script, Speeds, command_of_keys, play
from vla_ros.terminal import Keyboard, Screen, half_blocks
from world_models.checkpoint import load_world_model
from world_models.env import ImaginedEnv
from world_models.state import to_observation


class OneStart:
    def draw(self, rng):
        picture = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        return to_observation(np.r_[np.zeros(6), 1.0, np.zeros(7)], {"front": picture}, "lift it")

    def close(self):
        pass


class Listed:
    """Commands from a list."""

    def __init__(self, *commands):
        self._commands = iter(commands)

    def read(self):
        return next(self._commands, None)


@pytest.fixture(scope="module")
def env(tiny_world_model):
    return ImaginedEnv(load_world_model(tiny_world_model(words=("it", "lift"))), OneStart())


@pytest.fixture
def actions(env, monkeypatch):
    """Those that the environment is given."""
    seen = []
    step = env.step

    def noted(action):
        seen.append(np.array(action))
        return step(action)

    monkeypatch.setattr(env, "step", noted)
    return seen


def test_keys_mean_what_the_camera_sees():
    assert command_of_keys("w").motion.tolist() == [-1, 0, 0, 0, 0, 0]
    assert command_of_keys("dde").motion.tolist() == [0, 1, 1, 0, 0, 0]  # held keys repeat
    assert not command_of_keys("ws?").motion.any()
    assert command_of_keys(" ").toggle_gripper and not command_of_keys("  ").toggle_gripper
    assert command_of_keys("[").brightness < 1 < command_of_keys("]").brightness
    assert command_of_keys("r").reset and command_of_keys("x").quit


def test_a_frame_is_imagined_under_each_command(env, actions):
    shown = []
    source = Listed(command_of_keys("s"), command_of_keys(" "), Command(reset=True), Command())
    played = play(env, source, shown.append, seed=0, speeds=Speeds(0.2))
    assert len(shown) == 5 and played.resets == 1  # the start is shown, too
    assert len(actions) == 3 * env.model.actions_per_frame
    np.testing.assert_allclose(actions[0], [0.02, 0, 0, 0, 0, 0, 1])  # 0.2 m/s at 10 Hz
    assert actions[2][6] == 0.0 and actions[4][6] == 1.0  # closed, and open again at the next start
    assert [frame.info["imagined_frames"] for frame in shown] == [0, 1, 2, 0, 1]
    figures = played.figures()
    assert figures["frames"] == 3 and figures["frames_per_s"] > 0
    assert figures["success_probability_max"] >= figures["success_probability_last"]


def test_an_interrupt_is_an_ordinary_end(env):
    class Interrupted:
        commands = iter([Command()])

        def read(self):
            for command in self.commands:
                return command
            raise KeyboardInterrupt

    assert play(env, Interrupted(), lambda frame: None, seed=0).figures()["frames"] == 1


def test_the_light_is_an_edit_of_the_picture(env):
    shown = []
    play(env, Listed(), shown.append, seed=0)
    edits = []
    edit = env.edit
    env.edit = lambda change: edits.append(change) or edit(change)
    try:
        play(env, Listed(command_of_keys("[[")), shown.append, seed=0)
    finally:
        env.edit = edit
    dark = edits[0](shown[0].picture)
    assert dark.mean() == pytest.approx(0.75**2 * shown[0].picture.mean(), rel=0.02)


def test_frames_come_at_the_rate_asked_for(env):
    ticks = iter(np.arange(0.0, 10.0, 0.01))  # every look at the clock takes 10 ms
    slept = []
    played = play(
        env,
        Listed(*[Command()] * 50),
        lambda frame: None,
        seed=0,
        frame_rate_hz=5.0,
        max_frames=4,
        clock=lambda: float(next(ticks)),
        sleep=slept.append,
    )
    assert played.times_ms == pytest.approx([10.0] * 4)
    assert slept == pytest.approx([0.2 - 0.02] * 4)


def test_scripts(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text("# forward\nwd 2\nspace\n. 3  # wait\nx\n")
    script = Script(path)
    commands = []
    while (command := script.read()) is not None:
        commands.append(command)
    assert len(commands) == 7
    assert commands[0].motion.tolist() == [-1, 1, 0, 0, 0, 0]
    assert commands[2].toggle_gripper and not commands[3].motion.any() and commands[6].quit


@pytest.mark.parametrize("line", ["k", "w many", "w 0", "w 1 2", "jump 3"])
def test_a_script_that_makes_no_sense_is_refused(tmp_path, line):
    path = tmp_path / "keys.txt"
    path.write_text(f"w 1\n{line}\n")
    with pytest.raises(UserError, match=r"keys.txt, line 2: expected keys out of"):
        Script(path)
    with pytest.raises(UserError, match="script: cannot read"):
        Script(tmp_path / "none.txt")


def test_speeds_have_limits():
    with pytest.raises(UserError, match="speed: expected above 0 and at most 0.8, got 3"):
        Speeds(3.0)


def test_a_terminal_gives_keys_as_they_are_pressed_and_is_left_as_it_was():
    import termios

    master, terminal = os.openpty()
    try:
        before = termios.tcgetattr(terminal)
        with Keyboard(terminal) as keyboard:
            assert not keyboard.read().motion.any()
            os.write(master, b"we\x1b[A ")  # an arrow key between them; no return
            command = keyboard.read()
            assert command.motion.tolist() == [-1, 0, 1, 0, 0, 0] and command.toggle_gripper
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(master)
        os.close(terminal)


def test_a_picture_is_half_blocks_of_its_colors():
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    picture[0, 0], picture[1, 0] = (255, 1, 2), (3, 4, 5)
    lines = half_blocks(picture, 4)
    assert len(lines) == 2
    assert lines[0].startswith("\x1b[38;2;255;1;2;48;2;3;4;5m\N{UPPER HALF BLOCK}")


def test_the_screen_fits_the_terminal(env):
    written = []
    screen = Screen(written.append, lambda: os.terminal_size((40, 20)))
    with screen:
        play(env, Listed(Command()), screen.show, seed=0)
    assert written[0].startswith("\x1b[?1049h") and written[-1].endswith("\x1b[?1049l")
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written[2]).split("\r\n")[:-1]
    assert len(lines) < 20 and max(map(len, lines)) <= 40
    assert any("success" in line for line in lines)


@pytest.mark.slow
def test_a_game_controller_drives_it():
    import rclpy
    from sensor_msgs.msg import Joy

    from vla_ros import topics
    from vla_ros.joystick import JoystickNode

    rclpy.init()
    try:
        node = JoystickNode()
        other = rclpy.create_node("stick")
        publisher = other.create_publisher(Joy, topics.JOY, 1)
        message = Joy(axes=[1.0, 0.5, 0.0, 0.05, -1.0], buttons=[1])
        for _ in range(200):
            publisher.publish(message)
            command = node.read()
            if command.motion.any():
                break
        np.testing.assert_allclose(command.motion, [-0.5, -1.0, -1.0, 0, 0, 0])
        assert command.toggle_gripper
        publisher.publish(message)
        assert not node.read().toggle_gripper  # it is still down
        node.on_joy(Joy(axes=[float("nan")], buttons=[]))
        assert not node.read().motion[1:].any()
        other.destroy_node()
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    assert node.read() is None
