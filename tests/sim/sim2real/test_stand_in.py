import ast
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import sim  # noqa: F401  registers the environments
from sim import robot
from sim.compile import TIMESTEP_S, compile_scene
from sim.rendering import RenderingError
from sim.scene import Item, Scene
from sim.sim2real import filament
from sim.sim2real.arm import ArmParameters
from sim.sim2real.stand_in import ArmTabletop, StandIn, StandInSettings
from sim.tabletop import Tabletop
from sim.variants import find_variant

SCENE = Scene(items=(Item("cube", "red", (0.5, 0.1)), Item("bowl", "blue", (0.5, -0.1))))
OTHER_SCENE = Scene(items=(Item("cylinder", "green", (0.55, -0.1)),))


def test_with_nominal_parameters_it_is_the_tabletop():
    worlds = [Tabletop(SCENE), ArmTabletop(SCENE)]
    for world in worlds:
        world.reset(robot.HOME_RAD)
        for _ in range(5):
            world.advance(0.1, world.joint_positions + 0.05, 0.3)
    assert np.array_equal(worlds[0].data.qpos, worlds[1].data.qpos)


def test_a_late_command_moves_the_arm_later():
    parameters = ArmParameters.nominal()
    late = ArmParameters(
        parameters.damping, parameters.friction_loss, parameters.stiffness, latency_s=0.048
    )
    usual, delayed = Tabletop(SCENE), ArmTabletop(SCENE, parameters=late)
    for world in (usual, delayed):
        world.reset(robot.HOME_RAD)
    usual.advance(0.1, robot.HOME_RAD + 0.1)
    delayed.advance(0.048, robot.HOME_RAD + 0.048)
    assert delayed.joint_positions == pytest.approx(robot.HOME_RAD, abs=1e-4)
    delayed.advance(0.052, robot.HOME_RAD + 0.1)
    delayed.advance(12 * TIMESTEP_S)
    assert delayed.joint_positions == pytest.approx(usual.joint_positions, abs=2e-3)
    assert delayed.data.ctrl[:7] == pytest.approx(usual.data.ctrl[:7])  # what is told is in time


def test_the_stand_in_differs_in_what_it_says():
    usual, world = compile_scene(SCENE), StandIn(SCENE)
    settings, model = StandInSettings(), world.model
    cube, hand = model.body("red cube").id, model.body("fr3_hand").id
    factor = settings.item_mass_factor
    assert model.body_mass[cube] == pytest.approx(factor * usual.body_mass[cube])
    assert model.body_mass[hand] == pytest.approx(usual.body_mass[hand] + settings.load_kg)
    # The hand's own weight is compensated as every link's is; the load is not.
    carried = model.body_gravcomp[hand] * model.body_mass[hand]
    assert carried == pytest.approx(settings.gravity_compensated * usual.body_mass[hand])
    assert model.dof_damping[:7] == pytest.approx(settings.arm.damping)
    assert model.body_subtreemass[0] > usual.body_subtreemass[0]  # derived constants follow
    moved = model.camera("front").pos - usual.camera("front").pos
    assert moved == pytest.approx(settings.camera_shift_m)


def test_the_same_episode_has_the_same_noise():
    readings = []
    for _ in range(2):
        world = StandIn(SCENE)
        world.reset(robot.HOME_RAD)
        world.advance(0.3, robot.HOME_RAD + 0.1)
        readings.append([world.joint_positions, world.joint_positions])
    assert np.array_equal(readings[0], readings[1])
    assert not np.array_equal(readings[0][0], readings[0][1])
    other = StandIn(Scene(items=(Item("cube", "green", (0.5, 0.1)),)))
    other.reset(robot.HOME_RAD)
    other.advance(0.3, robot.HOME_RAD + 0.1)
    assert not np.array_equal(other.joint_positions, readings[0][0])


def test_it_is_a_variant_of_every_environment():
    images, targets = [], []
    for variant in ("standard", "stand-in"):
        env = gymnasium.make("VlaRos/Lift-v0", variant=variant, image_size_px=64).unwrapped
        observation, info = env.reset(seed=3)
        images.append(observation["front"].astype(int))
        targets.append(info["target_position"])
        env.close()
    assert targets[0][:2] == pytest.approx(targets[1][:2], abs=1e-3)  # the same episode
    assert 5.0 < np.abs(images[0] - images[1]).mean() < 60.0
    with pytest.raises(ValueError, match="stand-in .* identified:FILE.json; got 'standin'"):
        find_variant("standin")
    with pytest.raises(ValueError, match="nothing.json: cannot be read"):
        find_variant("identified:nothing.json")


def reads_the_stand_in(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            if any("stand_in" in name for name in [*names, str(getattr(node, "module", ""))]):
                return True
    return False


def test_nothing_but_the_table_of_variants_reads_it():
    """A stand-in that training knows stands for nothing."""
    root = Path(__file__).parents[3]
    folders = ("policies", "sim", "world_models", "vla_ros", "benchmarks", "scripts")
    files = [file for folder in folders for file in (root / folder).rglob("*.py")]
    readers = {
        str(file.relative_to(root)) for file in files if reads_the_stand_in(file.read_text())
    }
    assert len(files) > 300
    assert readers == {"sim/variants.py"}
    assert reads_the_stand_in("from sim.sim2real import stand_in")
    assert reads_the_stand_in("def f():\n    import sim.sim2real.stand_in as it")


def test_without_vulkan_filament_says_what_to_install(monkeypatch):
    monkeypatch.setattr(filament, "_problem", lambda: "BlueVK is unable to load entry points.")
    with pytest.raises(RenderingError, match="BlueVK .* apt-get install -y libvulkan1"):
        StandIn(SCENE, renderer="filament")


def needs_filament():
    try:
        filament.check_available()
    except RenderingError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_filament_draws_several_worlds_by_turns():
    """An evaluation keeps the worlds of several tasks; the engine draws one model at a time."""
    needs_filament()
    worlds = [StandIn(scene, renderer="filament") for scene in (SCENE, OTHER_SCENE)]
    pictures = []
    for _ in range(2):
        for world in worlds:
            pictures.append(world._filament.render(world.data, "front", 96, 96).astype(int))
    for world in worlds:
        world.close()
    assert np.abs(pictures[0] - pictures[1]).mean() > 2.0
    for first, again in zip(pictures[:2], pictures[2:], strict=True):
        assert np.abs(again - first).mean() < 1.0  # the engine dithers, differently every time


@pytest.mark.slow
def test_filament_draws_the_same_scene_otherwise():
    needs_filament()
    views = []
    for renderer in ("classic", "filament"):
        world = StandIn(SCENE, renderer=renderer)
        world.reset(robot.HOME_RAD)
        views.append(world.render("front", 96, 96).astype(int))
        world.close()
    assert 3.0 < np.abs(views[0] - views[1]).mean() < 100.0
    # Both see the cube: the reddest spot is at the same place.
    spots = [np.argwhere((v[..., 0] - v[..., 1:].max(axis=-1)) > 40).mean(axis=0) for v in views]
    assert spots[0] == pytest.approx(spots[1], abs=2.0)
