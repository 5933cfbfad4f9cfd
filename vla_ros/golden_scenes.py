"""Pictures from the simulator for a checkpoint's golden outputs: one scene of every task."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from policies.interface import Observation
from policies.openvla.config import OpenVLAConfig, read_config
from policies.openvla.golden import NearTieError, write_expectations
from policies.openvla.state import observation_state
from policies.openvla.tokens import to_unit
from sim.env import TabletopEnv, to_observation
from sim.scene import CAMERAS
from sim.tasks import CORE_TASKS

LAST_SEED = 20  # scenes are drawn anew for a task in which a token is nearly a tie


def write_from_simulation(folder: Path, device: str = "cpu") -> Path:
    """Write `folder/golden/` from what the checkpoint's camera sees when an episode begins.

    Raises `CheckpointError` for a folder that does not load, `NearTieError` when the checkpoint
    decides too little in every scene of a task.
    """
    config = read_config(folder)
    camera = config.camera if config.camera in CAMERAS else CAMERAS[0]
    tasks = list(CORE_TASKS)
    seeds = [0] * len(tasks)
    while True:
        scenes = [
            first_sight(task, seed, camera, config.image_sizes[0])
            for task, seed in zip(tasks, seeds, strict=True)
        ]
        try:
            return write_expectations(
                folder,
                [scene.images[camera] for scene in scenes],
                [scene.instruction for scene in scenes],
                [unit_state(scene, config) for scene in scenes],
                device,
            )
        except NearTieError as error:
            if seeds[error.index] == LAST_SEED:
                raise
            seeds[error.index] += 1


def first_sight(task: str, seed: int, camera: str, image_size_px: int) -> Observation:
    """What `camera` sees when the task's episode of this seed begins."""
    env = TabletopEnv(task, cameras=(camera,), image_size_px=image_size_px)
    try:
        values, _ = env.reset(seed=seed)
    finally:
        env.close()
    return to_observation(values)


def unit_state(observation: Observation, config: OpenVLAConfig) -> np.ndarray:
    """The state's numbers in [-1, 1], for a model with a state token."""
    state = observation_state(observation)
    if config.proprio is None:
        return state
    return to_unit(state, np.array(config.proprio.q01), np.array(config.proprio.q99))
