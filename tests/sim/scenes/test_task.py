"""Scene files as tasks: environments, experts, and what has no expert."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import sim
from sim.env import TabletopEnv
from sim.evaluation import Evaluation
from sim.evaluation.episode import run_episode
from sim.policies import ExpertPolicy
from sim.scenes import DescribedTask, find_task
from sim.scenes.fields import PREDICATES
from sim.scenes.predicates import WITHOUT_EXPERT, NoExpertError
from sim.variants import find_variant

EXAMPLES = sorted(Path(__file__).resolve().parents[3].glob("config/scenes/*.yaml"))
NAMES = [file.stem for file in EXAMPLES]
LEFT_OF_BOWL = str(EXAMPLES[NAMES.index("left_of_bowl")])

CUBE = {"kind": "cube", "color": "red", "x_m": [0.45, 0.50], "y_m": [-0.05, 0.0]}
AHEAD = {"x_m": [0.45, 0.55], "y_m": 0.14}
# For each predicate a scene: what else is there, and the predicate's fields.
SCENES = {
    "lifted": ([], {"item": "red cube", "height_m": 0.06}),
    "inside": (
        [{"kind": "bowl", "color": "blue", **AHEAD}],
        {"item": "red cube", "container": "blue bowl"},
    ),
    "on": (
        [{"kind": "cylinder", "color": "blue", **AHEAD}],
        {"item": "red cube", "below": "blue cylinder"},
    ),
    **{
        side: (
            [{"kind": "cylinder", "color": "blue", **AHEAD}],
            {"item": "red cube", "other": "blue cylinder"},
        )
        for side in ("left_of", "right_of", "front_of", "behind")
    },
    "moved": ([], {"item": "red cube", "direction": "left", "distance_m": 0.06}),
    "drawer": (
        [{"kind": "drawer", "color": "blue", "x_m": 0.4, "y_m": 0.15}],
        {"name": "blue drawer", "open": True},
    ),
    "pressed": ([{"kind": "button", "color": "blue", **AHEAD}], {"button": "blue button"}),
    "poured": (
        [
            {"kind": "bowl", "color": "blue", "x_m": 0.5, "y_m": 0.14},
            {"kind": "cup", "color": "red", "x_m": 0.5, "y_m": -0.14},
            {"kind": "beads", "color": "green", "place": {"inside": "red cup"}},
        ],
        {"cup": "red cup", "container": "blue bowl"},
    ),
}


def environment(described, objects, success):
    env = TabletopEnv(LEFT_OF_BOWL, cameras=())
    env.task = DescribedTask(described(objects, success))
    return env


@pytest.mark.parametrize("file", EXAMPLES, ids=NAMES)
def test_the_same_seed_draws_the_same_episode(file):
    task = find_task(str(file))
    episodes = [task.sample(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert episodes[0] == episodes[1] != episodes[2]
    assert "{" not in episodes[0].instruction and episodes[0].target in episodes[0].instruction


def test_gymnasium_makes_it_with_its_time_limit():
    env = gymnasium.make(sim.SCENE_ENV_ID, scene=LEFT_OF_BOWL, cameras=("front",), image_size_px=32)
    values, _ = env.reset(seed=1)
    assert values["front"].shape == (32, 32, 3)
    assert env.observation_space.contains(values)
    limit = env.unwrapped.task.max_steps
    action = np.array([0, 0, 0, 0, 0, 0, 1.0], np.float32)
    outcomes = [env.step(action)[2:4] for _ in range(limit)]
    assert outcomes[-1] == (False, True) and not any(outcome[1] for outcome in outcomes[:-1])
    env.close()


def test_variants_and_the_files_own_camera_add_up(described):
    objects = [CUBE]
    camera = {"position_m": [0.0, 0.02, 0.0], "rotation_deg": [0, 1, 0]}
    description = described(objects, [{"lifted": {"item": "red cube"}}], camera=camera)
    scene = DescribedTask(description).sample(np.random.default_rng(0)).scene
    offset = find_variant("shifted-camera").apply(scene).camera_offset
    assert offset.position == (0.0, 0.10, 0.0) and offset.rotation_deg == (-2.0, 5.0, 4.0)
    env = TabletopEnv(LEFT_OF_BOWL, cameras=(), randomization="hard")
    assert env.reset(seed=0)[1]["randomization"]["domain"] == "hard"


def test_evaluation_knows_scene_files(tmp_path):
    evaluation = Evaluation("expert", (LEFT_OF_BOWL, "VlaRos/Lift-v0"), episodes=1)
    assert list(evaluation.described()["scenes"]) == [LEFT_OF_BOWL]
    assert "scenes" not in Evaluation("expert", ("VlaRos/Lift-v0",)).described()
    with pytest.raises(ValueError, match="scene: cannot read"):
        Evaluation("expert", (str(tmp_path / "none.yaml"),))
    with pytest.raises(ValueError, match="nothing else can be named in .*left_of_bowl.yaml"):
        Evaluation("expert", (LEFT_OF_BOWL,), swap_instruction=True)


def test_an_unknown_task_is_told_the_choices():
    with pytest.raises(ValueError, match="expected one of Lift, .* or a .yaml file of a scene"):
        find_task("Juggle")


def test_every_predicate_has_a_scene_here_or_no_expert():
    assert set(SCENES) | set(WITHOUT_EXPERT) == set(PREDICATES)


@pytest.mark.slow
@pytest.mark.parametrize("predicate", SCENES)
def test_the_expert_of_each_predicate(described, predicate):
    others, values = SCENES[predicate]
    env = environment(described, [*others, CUBE], [{predicate: values}])
    results = [run_episode(env, ExpertPolicy(env), seed) for seed in range(5)]
    assert sum(result.success for result in results) >= 4
    assert all(result.first_touch_fits for result in results)


def test_where_there_is_no_expert_that_is_said(described):
    others = SCENES["inside"][0]
    goal = {"near": {"item": "red cube", "other": "blue bowl", "distance_m": 0.1}}
    env = environment(described, [*others, CUBE], [goal])
    assert env.task.without_expert == ["success[0].near"]
    env.reset(seed=0)
    with pytest.raises(NoExpertError, match=r"success\[0\].near: .* no expert; .* lifted, inside"):
        env.expert_action()


@pytest.mark.slow
@pytest.mark.parametrize("file", EXAMPLES, ids=NAMES)
def test_the_experts_of_the_examples(file):
    env = TabletopEnv(str(file), cameras=())
    results = [run_episode(env, ExpertPolicy(env), seed) for seed in range(100, 120)]
    assert sum(result.success for result in results) >= 19
    assert {result.env_id for result in results} == {str(file)}
