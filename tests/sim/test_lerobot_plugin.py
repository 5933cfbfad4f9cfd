"""The tabletop as LeRobot sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lerobot.configs import PreTrainedConfig
from lerobot.configs.parser import load_plugin
from lerobot.envs.configs import EnvConfig
from lerobot.envs.factory import make_env
from lerobot.envs.utils import NEW_ROLLOUT_OPTION, env_to_policy_features, preprocess_observation

from sim.env import TabletopEnv
from sim.lerobot_plugin.configuration import VlaRosEnvConfig
from sim.lerobot_plugin.env import LeRobotTabletop
from sim.tasks import TASKS

SCENE = str(Path(__file__).parents[2] / "config/scenes/left_of_bowl.yaml")


def test_lerobot_finds_it_by_its_package_and_our_policy_with_it():
    load_plugin("sim.lerobot_plugin")
    assert EnvConfig.get_choice_class("vla_ros") is VlaRosEnvConfig
    assert "openvla" in PreTrainedConfig.get_known_choices()


def test_features_are_those_of_the_datasets():
    features = env_to_policy_features(VlaRosEnvConfig(task="Lift-v0", image_size_px=112))
    assert {name: tuple(feature.shape) for name, feature in features.items()} == {
        "action": (7,),
        "observation.state": (8,),
        "observation.joint_positions": (7,),
        "observation.images.front": (3, 112, 112),
        "observation.images.wrist": (3, 112, 112),
    }


def test_tasks_by_name():
    assert VlaRosEnvConfig().task_names() == tuple(TASKS)
    assert VlaRosEnvConfig(task="Lift-v0,Push").task_names() == ("Lift", "Push")
    assert VlaRosEnvConfig(task=SCENE).task_names() == (SCENE,)
    with pytest.raises(ValueError, match="cannot read nowhere.yaml"):
        VlaRosEnvConfig(task="nowhere.yaml")
    with pytest.raises(ValueError, match="expected all or some of Lift-v0, .* got 'Fly-v0'"):
        VlaRosEnvConfig(task="Fly-v0")
    with pytest.raises(ValueError, match="acts at 10 Hz only"):
        VlaRosEnvConfig(fps=30)


def test_a_scene_file_is_a_task_of_the_files_name():
    envs = VlaRosEnvConfig(task=SCENE).create_envs(n_envs=1)
    assert list(envs) == ["left_of_bowl"]
    env = envs["left_of_bowl"][0]
    env.reset(seed=[0])
    assert "red cube" in env.call("task_description")[0]
    env.close()


def test_the_same_seed_is_the_same_episode():
    ours, theirs = TabletopEnv("Lift"), LeRobotTabletop("Lift")
    values, _ = ours.reset(seed=5)
    observation, _ = theirs.reset(seed=5, options={NEW_ROLLOUT_OPTION: True})
    action = np.array([0.02, 0.0, -0.01, 0.0, 0.0, 0.1, 1.0], np.float32)
    for _ in range(3):
        np.testing.assert_array_equal(observation["pixels"]["front"], values["front"])
        np.testing.assert_array_equal(observation["pixels"]["wrist"], values["wrist"])
        np.testing.assert_array_equal(observation["agent_pos"][:3], values["ee_position"])
        np.testing.assert_array_equal(observation["joint_positions"], values["joint_positions"])
        assert theirs.task_description == values["instruction"]
        assert theirs.observation_space.contains(observation)
        values, *_ = ours.step(action)
        observation, *_ = theirs.step(action)
    ours.close()
    theirs.close()


def test_what_was_drawn_is_told():
    ours, theirs = (cls("Lift", (), randomization="hard") for cls in (TabletopEnv, LeRobotTabletop))
    _, expected = ours.reset(seed=5)
    _, info = theirs.reset(seed=5)
    assert info["randomization"] == expected["randomization"]
    assert info["randomization"]["domain"] == "hard"
    ours.close()
    theirs.close()


def test_a_vector_takes_what_was_drawn_with_and_without_seeds():
    config = VlaRosEnvConfig(task="Lift-v0", cameras=[], randomization="hard")
    for seeds in (None, [3, 4]):
        vector = make_env(config, n_envs=2)["Lift-v0"][0]
        _, info = vector.reset(seed=seeds)
        assert list(info["randomization"]["domain"]) == ["hard", "hard"]
        first, second = info["randomization"]["lighting"]["brightness"]
        assert first != second
        vector.close()


def test_images_are_scaled():
    env = LeRobotTabletop("Push", cameras=("front",), image_size_px=56)
    observation, _ = env.reset(seed=1)
    assert observation["pixels"]["front"].shape == (56, 56, 3)
    assert env.observation_space.contains(observation)
    env.close()


def test_a_rollout_ends_at_success_and_at_the_time_limit():
    """The expert's, whose actions LeRobot would get from a policy."""
    config = VlaRosEnvConfig(task="Push-v0", cameras=[])
    vector = make_env(config, n_envs=2)["Push-v0"][0]
    vector.reset(seed=[3, 4], options={NEW_ROLLOUT_OPTION: True})
    limit = vector.call("_max_episode_steps")[0]
    successes, ended = np.zeros(2, bool), np.zeros(2, bool)
    for step in range(limit):
        expert = vector.envs[0].unwrapped._env.expert_action() if not ended[0] else np.zeros(7)
        actions = np.stack([expert, np.zeros(7)]).astype(np.float32)
        _, _, terminated, truncated, info = vector.step(actions)
        if "final_info" in info:
            successes |= np.asarray(info["final_info"]["is_success"], bool)
        ended |= terminated | truncated
        assert ended[0] or step < limit - 1
    assert successes.tolist() == [True, False]
    assert ended.all()
    vector.close()


def test_observations_pass_lerobots_own_conversion():
    vector = make_env(VlaRosEnvConfig(task="Lift-v0", cameras=["front"]), n_envs=1)["Lift-v0"][0]
    observation, _ = vector.reset(seed=[1])
    batch = preprocess_observation(observation)
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "observation.images.front": (1, 3, 224, 224),
        "observation.state": (1, 8),
        "observation.joint_positions": (1, 7),
    }
    vector.close()
