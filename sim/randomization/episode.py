"""Begins a randomized episode: its world, and the episode as it is in that world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sim.randomization.domain import Domain
from sim.randomization.placing import Lane
from sim.randomization.wording import reworded
from sim.randomization.world import RandomizedTabletop
from sim.tasks.base import Episode, Task


def begin(
    domain: Domain,
    seeds: np.random.SeedSequence,
    task: Task,
    episode: Episode,
    meshes: bool = False,
) -> tuple[RandomizedTabletop, Episode]:
    """The world that `seeds` draw for `episode`; sizes and words are changed in the episode."""
    world = RandomizedTabletop(episode.scene, domain, seeds, meshes)
    world.reset(np.array(episode.joint_positions))
    episode = replace(
        episode, scene=world.scene, instruction=reworded(episode.instruction, world.draw)
    )
    target = world.item_position(episode.target)
    lane: Lane = (target[:2], task.goal_position(world, episode)[:2])
    world.place_distractors([lane])
    return world, episode
