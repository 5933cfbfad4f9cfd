"""A world's file: what it may say, and how it is told what it must not."""

from pathlib import Path

import pytest

from sim.worlds import WorldError, load_world

FILES = sorted((Path(__file__).parents[3] / "config" / "worlds").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_shipped_files_are_valid(path):
    assert load_world(path).module is not None


def test_a_file_may_build_on_another(tmp_path, world_file):
    base = world_file()
    above = tmp_path / "above.yaml"
    above.write_text('base: world.yaml\ninstruction: {text: "lift it"}\n')
    config = load_world(above)
    assert config.instruction.text == "lift it"
    assert config.tool == load_world(base).tool
    above.write_text("base: nothing.yaml\n")
    with pytest.raises(WorldError, match="base: expected the name of a file"):
        load_world(above)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate_hz: 20", "rate_hz: fast", "rate_hz: expected a number above 0, got 'fast'"),
        ("rate_hz: 20", "rate: 20", "rate: unknown; expected some of env, rate_hz"),
        ("max_steps: 40", "max_steps: 0", "max_steps: expected a whole number of 1 or more"),
        ("channels: bgr", "channels: grb", "cameras.front.channels: expected one of rgb, bgr"),
        ("[vertical]", "[up]", "cameras.front.flip: expected one of vertical, horizontal"),
        ("order: xyzw", "order: wxzy", "tool.order: expected one of wxyz, xyzw"),
        ("  quaternion: state[3:7]\n", "", "tool.quaternion: action.entries has yaw"),
        ("[gripper, y,", "[gripper, y, y,", "action.entries: expected each once"),
        ("[gripper, y,", "[gripper, up,", "action.entries: expected one of x, y, z, roll"),
        ("metres_per_unit: 0.05", "metres_per_unit: 0", "action.metres_per_unit: expected a numb"),
        ("gripper_open: -1.0", "gripper_open: 1.0", "action.closed, open: expected two different"),
        ("state[7]", "state[a]", "gripper.path: expected a path such as"),
        ("info: task.language", "info: a, text: b", "instruction: expected exactly one of text"),
        ("success: {info: done_well}\n", "", "success: missing"),
        ("env: Test/", "env: os:Test/", "env: expected an id such as Name-v0"),
        ("rate_hz", "module: 'os; import x'\nrate_hz", "module: expected a module's name"),
    ],
)
def test_mistakes_are_named(world_config, old, new, message):
    with pytest.raises(WorldError, match=f"world.yaml: {message}"):
        world_config((old, new))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(WorldError, match="cannot read"):
        load_world(tmp_path / "none.yaml")
    path = tmp_path / "list.yaml"
    for text, message in (("- 1", "expected a mapping"), ("a: [", "not YAML")):
        path.write_text(text)
        with pytest.raises(WorldError, match=message):
            load_world(path)
