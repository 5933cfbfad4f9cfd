import gymnasium
import numpy as np
import pytest

import sim  # noqa: F401  registers the environments
from sim.compile import compile_scene
from sim.evaluation import Evaluation
from sim.randomization import PRESETS
from sim.scene import CameraOffset, Scene, SceneError
from sim.variants import VARIANTS, check_variant, find_variant


def test_the_same_episode_looks_different():
    views, targets = [], []
    for variant in ("standard", "shifted-camera"):
        env = gymnasium.make("VlaRos/Lift-v0", variant=variant, image_size_px=64).unwrapped
        observation, info = env.reset(seed=3)
        views.append(observation)
        targets.append(info["target_position"])
        env.close()
    assert np.array_equal(targets[0], targets[1])
    assert views[0]["instruction"] == views[1]["instruction"]
    assert np.array_equal(views[0]["wrist"], views[1]["wrist"])
    difference = np.abs(views[0]["front"].astype(int) - views[1]["front"])
    assert difference.mean() > 3.0


def test_the_camera_is_8_cm_and_6_degrees_off():
    names = ("standard", "shifted-camera")
    usual, shifted = (compile_scene(VARIANTS[name].apply(Scene(items=()))) for name in names)
    moved = shifted.camera("front").pos - usual.camera("front").pos
    assert np.linalg.norm(moved) == pytest.approx(0.08)
    first, second = usual.camera("front").quat, shifted.camera("front").quat
    angle = 2 * np.arccos(abs(np.dot(first, second)))
    assert np.degrees(angle) == pytest.approx(6.0, abs=1e-3)
    assert np.array_equal(shifted.camera("wrist").pos, usual.camera("wrist").pos)


def test_rotations_are_about_the_cameras_own_axes():
    tilted = compile_scene(Scene(items=(), camera_offset=CameraOffset(rotation_deg=(5.0, 0, 0))))
    usual = compile_scene(Scene(items=()))
    forward = [-model.cam_mat0[model.camera("front").id].reshape(3, 3)[:, 2] for model in
               (usual, tilted)]  # fmt: skip
    assert forward[1][2] > forward[0][2]  # tilted up
    assert np.degrees(np.arccos(forward[0] @ forward[1])) == pytest.approx(5.0)


def test_unknown_variants_are_answered_with_the_choices():
    with pytest.raises(ValueError, match="expected one of standard .* shifted-camera .* got 'far'"):
        gymnasium.make("VlaRos/Lift-v0", variant="far")
    with pytest.raises(ValueError, match="got 'far'"):
        Evaluation("expert", ("VlaRos/Lift-v0",), variant="far")
    with pytest.raises(SceneError, match="position: expected three finite numbers"):
        CameraOffset(position=(0.0, float("nan"), 0.0))


def test_presets_and_files_of_ranges_are_variants(tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text("axes: {latency: {delay_ms: [20, 20]}}")
    for name in ("hard", "lighting", str(path)):
        assert check_variant(name) == name
        env = gymnasium.make("VlaRos/Lift-v0", cameras=(), variant=name).unwrapped
        _, info = env.reset(seed=0)
        assert info["randomization"]["domain"] == name
        assert Evaluation("expert", ("VlaRos/Lift-v0",), variant=name).variant == name
    path.write_text("axes: {latency: {delay_ms: [20, 10]}}")
    with pytest.raises(ValueError, match=r"lab.yaml: latency.delay_ms: low 20 is above high 10"):
        check_variant(str(path))


def test_a_fixed_variant_can_be_randomized_and_a_drawn_one_not_twice():
    variant = find_variant("shifted-camera", "train")
    assert variant.camera_offset == VARIANTS["shifted-camera"].camera_offset
    assert variant.domain is PRESETS["train"]
    with pytest.raises(ValueError, match="the variant 'hard' is drawn already; .* got 'train'"):
        gymnasium.make("VlaRos/Lift-v0", variant="hard", randomization="train")
    with pytest.raises(ValueError, match="randomization: expected one of nominal, train"):
        gymnasium.make("VlaRos/Lift-v0", randomization="easy")
