"""Things that happen to a simulated world: what imagination is held against when it is prompted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from sim.tabletop import Tabletop

EVENTS = ("push", "friction", "light")
PUSH_SPEED_M_S = 1.0  # a cube slides about 6 cm
PUSH_TOWARDS = (0.47, 0.0)  # [m] the middle of the table: nothing falls off it
PUSH_SPREAD_RAD = 0.5  # of the direction
SLIPPERY = 0.1  # of the friction that was
DIM = 0.35  # of the light that was


@contextmanager
def event(world: Tabletop, name: str, item: str, rng: np.random.Generator) -> Iterator[None]:
    """Within the context the event has happened: `item` was hit, it and the table have become
    slippery, or the light was turned down.

    Afterwards the world's model is what it was; its state is what came of it.
    """
    if name not in EVENTS:
        raise ValueError(f"event: expected one of {', '.join(EVENTS)}, got {name!r}")
    model = world.model
    friction, diffuse = model.geom_friction.copy(), model.light_diffuse.copy()
    headlight = {part: getattr(model.vis.headlight, part).copy() for part in ("ambient", "diffuse")}
    if name == "push":
        _push(world, item, rng)
    elif name == "friction":
        # MuJoCo takes the greater of two: both have to be slippery.
        body = model.body(item).id
        model.geom_friction[model.geom_bodyid == body, 0] *= SLIPPERY
        model.geom("table").friction[0] *= SLIPPERY
    else:
        model.light_diffuse *= DIM
        for part, value in headlight.items():
            getattr(model.vis.headlight, part)[:] = DIM * value
    try:
        yield
    finally:
        model.geom_friction[:], model.light_diffuse[:] = friction, diffuse
        for part, value in headlight.items():
            getattr(model.vis.headlight, part)[:] = value


def _push(world: Tabletop, item: str, rng: np.random.Generator) -> None:
    way = np.array(PUSH_TOWARDS) - world.item_position(item)[:2]
    angle = np.arctan2(way[1], way[0]) + rng.uniform(-PUSH_SPREAD_RAD, PUSH_SPREAD_RAD)
    address = int(world.model.joint(item).dofadr[0])
    world.data.qvel[address : address + 2] = PUSH_SPEED_M_S * np.array(
        [np.cos(angle), np.sin(angle)]
    )
