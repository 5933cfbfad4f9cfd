"""Policies in other people's worlds: any Gymnasium environment with an image and a 7-number action.

`config` describes an environment, `mapping` turns its numbers into ours and back, `world` runs it,
`evaluation` measures policies in it. `libero` registers LIBERO's tasks with Gymnasium.
"""

from sim.worlds.config import WorldConfig, load_world
from sim.worlds.paths import WorldError
from sim.worlds.world import World

__all__ = ["World", "WorldConfig", "WorldError", "load_world"]
