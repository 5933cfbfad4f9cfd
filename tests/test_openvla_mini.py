"""The checkpoint that ships: it loads, it looks, it listens, it succeeds more often than not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from policies.factory import CHECKPOINTS, load_policy, shipped_policies
from sim import CORE_ENV_IDS
from sim.env import TabletopEnv, to_observation
from sim.evaluation import Evaluation, evaluate

FOLDER = CHECKPOINTS / "openvla-mini"


@pytest.fixture(scope="module")
def policy():
    return load_policy("openvla-mini")


@pytest.fixture(scope="module")
def observation():
    env = TabletopEnv("Lift", cameras=("front",))
    values, _ = env.reset(seed=3)
    env.close()
    return to_observation(values)


def test_ships_within_20_mb_and_with_a_card():
    assert "openvla-mini" in shipped_policies()
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 20 * 2**20
    card = (FOLDER / "README.md").read_text()
    assert all(word in card for word in ("data", "steps", "success"))


def test_looks_and_listens(policy, observation):
    policy.predict_chunk(observation)
    named = dict(policy.grounding)
    black = {"front": np.zeros_like(observation.images["front"])}
    policy.predict_chunk(replace(observation, images=black))
    assert policy.grounding != named
    first = policy.predict_chunk(observation).actions
    push = replace(observation, instruction="push the red cube to the left")
    assert not np.array_equal(policy.predict_chunk(push).actions, first)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", CORE_ENV_IDS)
def test_succeeds_more_often_than_not(env_id):
    result = evaluate(Evaluation("openvla-mini", (env_id,), episodes=10, seed=2000))
    assert result["success_rate"] >= 0.5


@pytest.mark.slow
def test_blind_it_does_not_succeed():
    result = evaluate(
        Evaluation("openvla-mini", CORE_ENV_IDS[:1], episodes=8, seed=2000, blackout=True)
    )
    assert result["success_rate"] <= 0.25
