"""Editing a compiled model equals compiling with the drawn values, and leaves no trace."""

import colorsys
import itertools
from dataclasses import replace
from functools import partial

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sim import robot
from sim.compile import compile_scene
from sim.patterns import pattern
from sim.randomization import AXES, PRESETS, Domain
from sim.randomization.assets import dress
from sim.randomization.draw import draw
from sim.randomization.edits import ModelEditor, movable_bodies, shifted, size_factors
from sim.randomization.world import RandomizedTabletop
from sim.scene import COLORS, Item, Scene, Surface

SCENE = Scene(
    items=(
        Item("cube", "red", (0.42, -0.15), 0.3),
        Item("cylinder", "green", (0.45, 0.0), -0.2),
        Item("ball", "blue", (0.42, 0.15), size_m=0.02),
        Item("bowl", "yellow", (0.56, 0.1)),
    )
)
SURFACED = replace(
    SCENE,
    front_fov_deg=50.0,
    surfaces=(
        Surface("table", "noise", 0.5, 3.0, specular=0.9, reflectance=0.2, friction=0.4),
        Surface("red cube", "checker", 0.6, 2.0, shininess=0.8, friction=0.3, mass_kg=0.2),
        Surface("yellow bowl", mass_kg=0.5),
    ),
)
EDITING_AXES = ("lighting", "textures", "camera", "objects", "table", "joints", "actuators")
EVERY_EDIT = PRESETS["hard"].restricted_to((*EDITING_AXES, "distractors"))


def arrays(model):
    """Every number of a model, by name."""
    found = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    numbers = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    for name in ("ambient", "diffuse", "specular"):
        numbers[f"headlight {name}"] = getattr(model.vis.headlight, name)
    # Left out: meansize, which scales arrows and frames that nobody draws.
    for name in ("extent", "center", "meaninertia", "meanmass"):
        numbers[f"statistic {name}"] = np.atleast_1d(getattr(model.stat, name))
    return numbers


def assert_equal(model, other, exactly=False):
    ours, theirs = arrays(model), arrays(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        if exactly or ours[name].dtype.kind not in "f":
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
        else:
            # Rounding: MuJoCo keeps colors and volumes in 32 bits, and finds inertias by turning.
            tolerance = 1e-6 if ours[name].dtype == np.float32 else 1e-9
            np.testing.assert_allclose(
                ours[name], theirs[name], rtol=tolerance, atol=tolerance, err_msg=name
            )


def describe(spec: mujoco.MjSpec, values, structure) -> None:
    """The oracle: writes drawn values into the description of a scene, before it is compiled.

    It shares nothing with `sim.randomization.edits`. Sizes are in the scene already.
    """
    dress(spec, structure)
    light = values["lighting"]
    tint = np.array(light.get("tint", [1, 1, 1]))
    for lamp in spec.lights:
        lamp.dir = np.array(lamp.dir) / 1.0
        usual = lamp.dir / np.linalg.norm(lamp.dir)
        lamp.dir = usual + light.get("direction", [0, 0, 0])
        lamp.diffuse = lamp.diffuse * light.get("brightness", 1.0) * tint
        lamp.castshadow = light.get("shadows", lamp.castshadow)
    for name in ("ambient", "diffuse"):
        usual = getattr(spec.visual.headlight, name)
        setattr(spec.visual.headlight, name, usual * light.get("ambient", 1.0) * tint)
    geoms = {geom.name: geom for geom in spec.geoms if geom.name}
    textures = values["textures"]
    for surface in ("table", "floor", "backdrop") if textures else ():
        rgb = colorsys.hsv_to_rgb(
            *(textures[f"surface_{part}"][surface] for part in ("hue", "saturation", "value"))
        )
        geoms[surface].rgba = [*rgb, 1.0]
        spec.material(surface).texrepeat = [textures["repeat"][surface]] * 2
        shades = pattern(
            textures["pattern"][surface],
            textures["contrast"][surface],
            values.stream(f"textures.{surface}"),
        )
        spec.texture(surface).data = shades.tobytes()
    for item in SCENE.items if textures else ():
        h, s, v = colorsys.rgb_to_hsv(*COLORS[item.color])
        rgb = colorsys.hsv_to_rgb(
            (h + textures["item_hue_deg"][item.name] / 360) % 1,
            min(1.0, s * textures["item_saturation"][item.name]),
            min(1.0, v * textures["item_value"][item.name]),
        )
        for geom in spec.body(item.name).geoms:
            geom.rgba = [*rgb, 1.0]
    cameras = {camera.name: camera for camera in spec.cameras}
    view = values["camera"]
    for camera, prefix in ((cameras["front"], ""), (cameras["wrist"], "wrist_")) if view else ():
        camera.pos = camera.pos + view[f"{prefix}position_m"]
        if camera.name == "front":
            right, up = np.array(camera.alt.xyaxes).reshape(2, 3)
            axes = np.stack([right, up, np.cross(right, up)], axis=1)
            usual = Rotation.from_matrix(axes)
        else:
            usual = Rotation.from_quat(camera.quat, scalar_first=True)
        turned = usual * Rotation.from_rotvec(view[f"{prefix}rotation_deg"], degrees=True)
        camera.alt.type = mujoco.mjtOrientation.mjORIENTATION_XYAXES
        camera.alt.xyaxes = turned.as_matrix()[:, :2].T.flatten()
    if view:
        cameras["front"].fovy += view["fov_deg"]
    objects = values["objects"]
    for name, factor in objects.get("mass", {}).items():
        for geom in spec.body(name).geoms:
            geom.mass *= factor
    for name, factor in objects.get("friction", {}).items():
        for geom in spec.body(name).geoms:
            scale_friction(geom, factor)
    scale_friction(geoms["table"], objects.get("table_friction", 1.0))
    for finger in robot.FINGER_BODIES:
        for geom in spec.body(finger).geoms:
            scale_friction(geom, objects.get("finger_friction", 1.0))
    height_m = values["table"].get("height_m", 0.0)
    spec.body(robot.BASE_BODY).pos = spec.body(robot.BASE_BODY).pos - [0, 0, height_m]
    cameras["front"].pos = cameras["front"].pos - [0, 0, height_m]
    for index, name in enumerate(robot.JOINT_NAMES):
        joint = spec.joint(name)
        joint.damping = joint.damping * values["joints"].get("damping", np.ones(7))[index]
        joint.frictionloss *= values["joints"].get("friction", np.ones(7))[index]
        servo, gains = spec.actuator(name), values["actuators"]
        stiffness = gains.get("stiffness", np.ones(7))[index]
        damping = gains.get("damping", np.ones(7))[index]
        servo.set_to_position(
            kp=robot.LINKS[index].stiffness * stiffness, kv=robot.LINKS[index].damping * damping
        )
    for name in robot.FINGER_JOINT_NAMES:
        factor = values["actuators"].get("gripper", 1.0)
        servo = spec.actuator(name)
        servo.set_to_position(kp=servo.gainprm[0] * factor, kv=-servo.biasprm[2] * factor)
    for index, pose in enumerate(values["distractors"].get("poses", ())):
        body = spec.body(f"distractor-{index}")
        body.pos, body.quat = pose[:3], pose[3:]


def scale_friction(geom, factor):
    friction = np.array(geom.friction)
    friction[0] *= factor
    geom.friction = friction


def edited_and_fresh(domain, seed, scene=SCENE):
    world = RandomizedTabletop(scene, domain, np.random.SeedSequence(seed))
    world.place_distractors([])
    structure = draw(domain.restricted_to(("textures", "distractors")), world.draw.seeds)
    fresh = compile_scene(
        world.scene, dress=partial(describe, values=world.draw, structure=structure)
    )
    return world, fresh


@pytest.mark.parametrize("scene", [SCENE, SURFACED], ids=["usual", "surfaced"])
@pytest.mark.parametrize("axis", [*EDITING_AXES, "distractors"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_edit_of_each_axis_equals_a_fresh_compilation(axis, seed, scene):
    world, fresh = edited_and_fresh(PRESETS[axis], seed, scene)
    assert_equal(world.model, fresh)
    nominal = compile_scene(scene)
    ours, theirs = arrays(world.model), arrays(nominal)
    assert any(
        ours[name].shape != theirs[name].shape or not np.array_equal(ours[name], theirs[name])
        for name in theirs
    ), "nothing was changed at all"


@pytest.mark.parametrize("scene", [SCENE, SURFACED], ids=["usual", "surfaced"])
@pytest.mark.parametrize("seed", range(5))
def test_all_edits_together_equal_a_fresh_compilation(seed, scene):
    world, fresh = edited_and_fresh(EVERY_EDIT, seed, scene)
    assert_equal(world.model, fresh)


def test_what_is_not_drawn_of_the_tables_surface_stays_the_scenes():
    fields = ("item_hue_deg", "surface_hue")
    axes = {"textures": {name: PRESETS["hard"].axes["textures"][name] for name in fields}}
    model = RandomizedTabletop(SURFACED, Domain("some", "", axes), np.random.SeedSequence(0)).model
    shades = pattern("noise", 0.5).reshape(-1)
    start = int(model.tex("table").adr[0])
    np.testing.assert_array_equal(model.tex_data[start : start + shades.size], shades)
    drawn = model.mat("table")
    assert list(drawn.texrepeat) == [3.0, 3.0]
    assert (drawn.specular[0], drawn.reflectance[0]) == pytest.approx((0.9, 0.2))
    cube = model.mat(int(model.geom_matid[model.body("red cube").geomadr[0]]))
    assert cube.name == "red cube surface" and cube.shininess[0] == pytest.approx(0.8)


def test_an_edited_model_moves_as_a_fresh_one():
    # Without distractors: an ellipsoid on a table rocks, which magnifies the last digit.
    world, fresh = edited_and_fresh(EVERY_EDIT.restricted_to(EDITING_AXES), 4)
    motions = []
    for model in (world.model, fresh, compile_scene(SCENE)):
        data = mujoco.MjData(model)
        data.qpos[:7], data.ctrl[:7] = robot.HOME_RAD, robot.HOME_RAD + 0.1
        mujoco.mj_step(model, data, 200)
        motions.append(data.qpos.copy())
    # Four corners on a table: the last digit decides which of them carries, a few micrometres.
    np.testing.assert_allclose(motions[0], motions[1], atol=1e-4)
    assert np.abs(motions[0] - motions[2]).max() > 1e-3


def test_a_hundred_draws_leave_no_drift():
    seeds = [np.random.SeedSequence(seed) for seed in range(100)]
    domain = PRESETS["hard"].restricted_to(EDITING_AXES)
    structure = draw(domain, seeds[0])

    def compiled():
        return compile_scene(SCENE, dress=partial(dress, draw=structure))

    model = compiled()
    editor = ModelEditor(model)

    def drawn(seed):
        values = draw(domain, seed, [item.name for item in SCENE.items], movable_bodies(model))
        return values.having("objects", size=size_factors(model, SCENE, values["objects"]["size"]))

    for seed in seeds:
        editor.apply(drawn(seed), SCENE)
    # The hundredth draw is what it would have been as the first.
    alone = compiled()
    ModelEditor(alone).apply(drawn(seeds[-1]), SCENE)
    assert_equal(model, alone, exactly=True)
    editor.restore()
    assert_equal(model, compiled(), exactly=True)


def test_colors_stay_true_to_their_words():
    """At every corner of the wide ranges an item's hue is nearest to that of its own word."""
    hues = {name: colorsys.rgb_to_hsv(*rgb)[0] for name, rgb in COLORS.items()}
    fields = AXES["textures"].fields
    corners = itertools.product(
        *(fields[f"item_{part}"].hard for part in ("hue_deg", "saturation", "value"))
    )
    for corner, (name, rgb) in itertools.product(corners, COLORS.items()):
        hue, saturation, value = colorsys.rgb_to_hsv(*shifted(rgb, *corner))
        apart = {other: abs((hue - theirs + 0.5) % 1 - 0.5) for other, theirs in hues.items()}
        assert min(apart, key=lambda other: apart[other]) == name
        assert saturation > 0.5 and value > 0.45


def test_items_that_stand_on_each_other_grow_alike():
    model = compile_scene(SCENE)
    drawn = {"red cube": 1.1, "green cylinder": 0.9, "blue ball": 0.8, "yellow bowl": 1.2}
    bowl_left_out = {name: drawn[name] for name in list(drawn)[:3]}
    assert size_factors(model, SCENE, drawn) == bowl_left_out
    model.body("blue ball").pos[2] += 0.044  # on top of something
    assert set(size_factors(model, SCENE, drawn).values()) == {1.1}


def test_every_axis_is_an_edit_or_acts_elsewhere():
    elsewhere = {"sensors", "latency", "observation", "wording", "distractors"}
    assert elsewhere | set(EDITING_AXES) == set(AXES)
