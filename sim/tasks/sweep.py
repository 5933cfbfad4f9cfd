"""Sweep: push a heap of crumbs onto a mat with a brush."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.kinematics import Kinematics
from sim.scene import BRUSH_GRIP_HEIGHT_M, COLORS, GRAIN_RADIUS_M, Grains, Item, Mat, Scene
from sim.tabletop import Tabletop
from sim.tasks import base
from sim.tasks.base import Episode, Task

CRUMBS = 8
SHARE = 0.75  # of the crumbs that must lie on the mat
SWEEP_STEP_M = 0.03
LIFTED_M = 0.04  # the brush carried over crumbs
HOVER_M = 0.003  # of the brush above the table while it sweeps: pressed down, it would tip
BRUSH_HALF_DEPTH_M = 0.02
CRUMB_M = GRAIN_RADIUS_M["crumbs"]

PHRASES = (
    "sweep the {target} onto the {destination}",
    "brush the {target} onto the {destination}",
    "use the brush to sweep the {target} onto the {destination}",
    "wipe the {target} onto the {destination}",
)


class Sweep(Task):
    """ "sweep the yellow crumbs onto the red mat": there are two heaps, each before a mat."""

    name = "Sweep"
    max_steps = 120

    def __init__(self) -> None:
        self._kinematics = Kinematics()

    def sample(self, rng: np.random.Generator) -> Episode:
        mat_colors, crumb_colors = (
            [str(color) for color in rng.permutation(list(COLORS))[:2]] for _ in range(2)
        )
        sides = rng.permutation([1.0, -1.0])
        mats, heaps = [], []
        for side, mat_color, crumb_color in zip(sides, mat_colors, crumb_colors, strict=True):
            lane = float(side * rng.uniform(0.095, 0.115))
            mats.append(Mat(mat_color, (float(rng.uniform(0.57, 0.59)), lane), (0.05, 0.075)))
            spot = (float(rng.uniform(0.46, 0.48)), lane + float(rng.uniform(-0.015, 0.015)))
            turn = float(rng.uniform(-np.pi, np.pi))
            heaps.append(Grains("crumbs", crumb_color, spot, CRUMBS, 0.04, yaw_rad=turn))
        brush = Item(
            "brush",
            base.choose(rng, tuple(COLORS)),
            (float(rng.uniform(0.375, 0.395)), float(rng.uniform(-0.12, 0.12))),
            yaw_rad=float(rng.uniform(-0.15, 0.15)),
        )
        start = base.draw_start(rng, self._kinematics)
        scene = Scene((brush,), furniture=tuple(mats), grains=tuple(heaps))
        episode = Episode(scene, "", heaps[0].name, joint_positions=start)
        return replace(episode, instruction=self.instruct(rng, episode))

    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        return base.choose(rng, PHRASES).format(
            target=episode.target, destination=_mat(episode).name
        )

    def targets(self, episode: Episode) -> tuple[str, ...]:
        return tuple(heap.name for heap in episode.scene.grains)

    def first_touches(self, world: Tabletop, episode: Episode) -> tuple[str, ...]:
        return (_brush(episode),)

    def success(self, world: Tabletop, episode: Episode) -> bool:
        return bool(_swept(world, episode).mean() >= SHARE)

    def target_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        brush = _brush(episode)
        return world.item_position(episode.target if world.is_held(brush) else brush)

    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        return np.array([*_mat(episode).position, 0.0])

    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        name = _brush(episode)
        if not world.is_held(name):
            return base.grasp(world, name, above_centre_m=0.002)
        crumbs = world.grain_positions(episode.target)[:, :2]
        left = crumbs[~_swept(world, episode)] if not self.success(world, episode) else crumbs
        brush, tool = world.item_position(name), world.ee_position
        lane = float(np.clip(left[:, 1].mean(), *_lane(episode)))
        edge = float(left[:, 0].min()) - CRUMB_M * np.sqrt(2)  # the nearest crumb's near side
        behind = edge - BRUSH_HALF_DEPTH_M - 0.018
        lifted = brush[2] - BRUSH_GRIP_HEIGHT_M
        # The lane behind the crumbs, in which the brush may be down; once down it may touch them.
        ahead = brush[0] - behind
        overshoot = max(0.0, ahead - (0.008 if lifted > 0.015 else 0.032), -ahead - 0.04)
        distance = float(np.hypot(overshoot, max(0.0, abs(brush[1] - lane) - 0.012)))
        if distance < 0.003 and lifted < 0.012:
            step = np.array([SWEEP_STEP_M, lane - brush[1], HOVER_M - lifted])
            return base.servo(world, tool + step, base.CLOSED)
        height = min(LIFTED_M, HOVER_M + 2.5 * max(0.0, distance - 0.003))
        if lifted < height - 0.02:  # too low for where it is: rise before moving sideways
            return base.servo(world, tool + (0, 0, height - lifted), base.CLOSED)
        step = np.array([behind - brush[0], lane - brush[1], height - lifted])
        return base.servo(world, tool + step, base.CLOSED)


def _brush(episode: Episode) -> str:
    return episode.scene.items[0].name


def _mat(episode: Episode) -> Mat:
    """The mat before which the crumbs that are asked for lie."""
    scene = episode.scene
    mat = scene.furniture[scene.grains.index(scene.heap(episode.target))]
    assert isinstance(mat, Mat)
    return mat


def _lane(episode: Episode) -> tuple[float, float]:
    """Where the brush's middle may be along y, lest it sweeps beside the mat [m]."""
    mat = _mat(episode)
    return mat.position[1] - 0.03, mat.position[1] + 0.03


def _swept(world: Tabletop, episode: Episode) -> NDArray[np.bool_]:
    """(crumbs,) which of them lie on the mat."""
    mat = _mat(episode)
    positions = world.grain_positions(episode.target)
    inside = np.all(np.abs(positions[:, :2] - mat.position) < mat.half_size, axis=1)
    return inside & (positions[:, 2] < 0.03)
