"""The simulated robot behind the topics begins the episodes that Gymnasium's environments begin."""

from pathlib import Path

import numpy as np
import pytest

from sim.env import TabletopEnv
from vla_ros.simulation import Simulation

SCENE = str(Path(__file__).parents[2] / "config/scenes/one_cube.yaml")


@pytest.mark.parametrize(
    ("task", "variant"),
    [("Lift", "standard"), (SCENE, "standard"), ("Push", "shifted-camera"), ("Lift", "camera")],
)
def test_it_begins_as_the_environment_does(task, variant):
    simulation = Simulation(task, 5, now_ns=0, variant=variant)
    env = TabletopEnv(task, cameras=("front",), variant=variant)
    values, _ = env.reset(seed=5)
    assert simulation.episode == env.episode
    np.testing.assert_array_equal(simulation.measure().positions[:7], values["joint_positions"])
    np.testing.assert_array_equal(simulation.picture("front", 224), values["front"])
    simulation.close()
    env.close()


def test_sensors_worsen_its_pictures_and_real_time_keeps_its_own_delays():
    simulation = Simulation("Lift", 5, now_ns=0, variant="hard")
    draw = simulation.world.draw
    assert draw["sensors"]["image_noise"] > 0.0
    assert "latency" not in draw and "observation" not in draw
    true = simulation.world.render("front", 64, 64).astype(float)
    assert np.abs(simulation.picture("front", 64) - true).mean() > 1.0
    simulation.close()


def test_what_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"variant: expected one of .* got 'moon'"):
        Simulation("Lift", 0, now_ns=0, variant="moon")
    with pytest.raises(ValueError, match=r"task: expected one of .* got 'Juggle'"):
        Simulation("Juggle", 0, now_ns=0)
