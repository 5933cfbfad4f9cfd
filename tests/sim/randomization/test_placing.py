"""Distractors stand on the table, in nobody's way, or on the floor."""

import mujoco
import numpy as np
import pytest

from sim.env import TabletopEnv
from sim.randomization.assets import DISTRACTOR_PREFIX
from sim.randomization.axes import DISTRACTOR_COLORS
from sim.randomization.placing import GAP_M, LANE_M, _distance
from sim.scene import COLORS


@pytest.mark.parametrize("task", ["Lift", "PickPlace", "Push"])
def test_distractors_keep_clear_and_stay_where_they_are(task):
    env = TabletopEnv(task, cameras=(), randomization="distractors")
    found = 0
    for seed in range(6):
        _, info = env.reset(seed=seed)
        world, episode = env.running()
        lane = (info["target_position"][:2], info["goal_position"][:2])
        values = info["randomization"]["distractors"]
        assert len(values["poses"]) == values["count"]
        for index, pose in enumerate(values["poses"]):
            body = world.model.body(f"{DISTRACTOR_PREFIX}{index}")
            now = world.data.xpos[body.id]
            assert np.linalg.norm(now[:2] - pose[:2]) < 0.01
            if pose[2] < 0:
                continue  # on the floor
            found += 1
            assert now[2] == pytest.approx(pose[2], abs=3e-3)
            assert _distance(np.array(pose[:2]), lane) > LANE_M
            for item in episode.scene.items:
                for geom in np.flatnonzero(
                    world.model.geom_bodyid == world.model.body(item.name).id
                ):
                    distance = mujoco.mj_geomDistance(
                        world.model, world.data, int(body.geomadr[0]), geom, 1.0, None
                    )
                    assert distance > GAP_M - 0.01
        assert not any(DISTRACTOR_PREFIX in name for name in info["items"])
    assert found > 6


def test_a_lane_has_a_run_up():
    lane = (np.array([0.4, 0.0]), np.array([0.5, 0.0]))
    assert _distance(np.array([0.45, 0.1]), lane) == pytest.approx(0.1)
    assert _distance(np.array([0.30, 0.0]), lane) == pytest.approx(0.0)
    assert _distance(np.array([0.6, 0.0]), lane) == pytest.approx(0.1)
    point = (lane[0], lane[0])
    assert _distance(np.array([0.4, 0.2]), point) == pytest.approx(0.2)


def test_no_distractor_has_an_items_color():
    assert not set(DISTRACTOR_COLORS) & set(COLORS)
    for color in DISTRACTOR_COLORS.values():
        assert min(np.linalg.norm(np.subtract(color, other)) for other in COLORS.values()) > 0.3
