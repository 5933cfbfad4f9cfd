"""What an expert goes on to do: its next actions in a state, found by simulating them.

Chunked policies learn several actions from one view. A demonstration has them; a view that was only
put together (`sim.pretraining`) gets them here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_DIM
from sim.kinematics import Kinematics
from sim.motion import carry_out
from sim.tabletop import Tabletop
from sim.tasks import Episode, Task


def expert_chunk(
    world: Tabletop, task: Task, episode: Episode, kinematics: Kinematics, length: int
) -> NDArray[np.float64]:
    """(length, 7): the expert's action in this state and those it takes after it.

    It goes on beyond success, as a robot does that is not stopped. `world` is left as it was.
    """
    actions = np.empty((length, ACTION_DIM))
    state = world.snapshot()
    try:
        for index in range(length):
            actions[index] = task.expert(world, episode)
            if index + 1 < length:
                carry_out(world, kinematics, actions[index])
    finally:
        world.restore(state)
    return actions
