"""Count: put as many cubes on the mat as were asked for, no more, and raise the hand when done.

Without the hand raised a policy that cannot count would pass through the right number on its way
to all of them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.scene import COLORS, Mat, Scene
from sim.tabletop import Tabletop
from sim.tasks import base, checks, skills
from sim.tasks.base import Episode, Task

CUBES = 3
DONE_HEIGHT_M = 0.20  # of the tool; on the way from one cube to the next it stays below
SLOT_OFFSET_M = 0.045  # from the mat's middle along y
PHRASES = (
    "put {count} on the {destination}",
    "place {count} on the {destination}",
    "pick up {count} and put them on the {destination}",
    "move {count} to the {destination}",
)
WORDS = {1: "one cube", 2: "two cubes"}


class Count(Task):
    """ "put two cubes on the green mat"."""

    name = "Count"
    max_steps = 160
    swappable = False

    def __init__(self) -> None:
        self._kinematics = Kinematics()

    def sample(self, rng: np.random.Generator) -> Episode:
        count = int(rng.integers(1, 3))
        colors = [str(color) for color in rng.permutation(list(COLORS))]

        def draw() -> Scene:
            spot = rng.uniform((0.42, -0.13), (0.56, 0.13))
            mat = Mat(colors[CUBES], (float(spot[0]), float(spot[1])), (0.05, 0.085))
            kinds = [("cube", color) for color in colors[:CUBES]]
            items = base.draw_items(rng, kinds, taken=[("mat", spot)])
            return Scene(items, furniture=(mat,))

        scene = base.draw_until_it_fits(draw)
        start = base.draw_start(rng, self._kinematics)
        episode = Episode(
            scene,
            "",
            scene.items[0].name,
            scene.furniture[0].name,
            joint_positions=start,
            count=count,
        )
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        words = base.choose(rng, PHRASES).format(
            count=WORDS[episode.count], destination=episode.destination
        )
        return words if episode.count > 1 else words.replace("put them", "put it")

    def first_touches(self, world: Tabletop, episode: Episode) -> tuple[str, ...]:
        return self.targets(episode)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        on_mat = _on_mat(world, episode)
        return (
            len(on_mat) == episode.count
            and all(checks.stands_on_table(world, name) for name in on_mat)
            and all(checks.let_go(world, name) for name in self.targets(episode))
            and bool(world.ee_position[2] > DONE_HEIGHT_M)
        )

    def target_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        return world.item_position(self._now(world, episode) or episode.target)

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        cube = self._now(world, episode)
        if cube is None:
            return world.item_position(episode.target)
        mat = world.scene.fixture(episode.destination or "")
        others = [name for name in self.targets(episode) if name != cube]
        places = np.array([world.item_position(name)[:2] for name in others])
        spot: NDArray
        if len([name for name in _on_mat(world, episode) if name != cube]) < episode.count:
            slots = np.array(mat.position) + [(0, SLOT_OFFSET_M), (0, -SLOT_OFFSET_M)]  # (2, 2)
            distances = np.linalg.norm(slots[:, None] - places, axis=-1)  # (slots, others)
            spot = slots[distances.min(axis=1).argmax()]
        else:
            spot = skills.free_spot(
                world.item_position(cube)[:2], [*places, np.array(mat.position)]
            )
        return np.array([*spot, world.scene.item(cube).size_m])

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        cube = self._now(world, episode)
        if cube is None:
            return skills.withdraw(world)
        if world.is_held(cube):
            goal = self.goal_position(world, episode)
            return skills.set_down(world, cube, goal[:2], goal[2])
        return base.grasp(world, cube)

    def _now(self, world: Tabletop, episode: Episode) -> str | None:
        """The cube to move next; None when the number is right."""
        cubes, on_mat = self.targets(episode), _on_mat(world, episode)
        for cube in cubes:
            if world.is_held(cube):
                return cube
        if len(on_mat) == episode.count:
            return None
        off_mat = [cube for cube in cubes if cube not in on_mat]
        return off_mat[0] if len(on_mat) < episode.count else on_mat[0]


def _on_mat(world: Tabletop, episode: Episode) -> list[str]:
    """The items whose centre is over the mat, lying on it or held low."""
    mat = world.scene.fixture(episode.destination or "")
    assert isinstance(mat, Mat)
    found = []
    for item in world.scene.items:
        position = world.item_position(item.name)
        inside = np.abs(position[:2] - mat.position) < mat.half_size
        if np.all(inside) and position[2] < 0.04:
            found.append(item.name)
    return found
