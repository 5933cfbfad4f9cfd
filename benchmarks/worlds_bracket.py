"""What a controller that knows the true state reaches in other people's worlds, through our action.

An upper bound for `vla-ros evaluate --world`: if it succeeds, seven numbers of ours are enough for
the task and the mapping in `config/worlds/` is right. SO-101: the package's own controller. LIBERO:
a pick and place written here, for the first task of libero_spatial.

    python benchmarks/worlds_bracket.py so101 --episodes 20 --json FILE
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.interface import ActionChunk, Observation, Policy
from sim.evaluation import write_json
from sim.worlds import World, load_world
from sim.worlds.evaluation import WorldEvaluation, run_episode, summarize

FOLDER = Path(__file__).parents[1] / "config" / "worlds"
STEP_M = 0.03  # the most per action and axis


class SO101Expert:
    """`lerobot_env_so101.scripted.pick_place`, its four numbers as our seven."""

    name = "scripted"
    cameras: tuple[str, ...] = ()

    def __init__(self, world: World) -> None:
        from lerobot_env_so101.scripted.pick_place import PickPlaceController

        self._world = world
        self._scale_m = float(world.config.kwargs["action_scale"])
        self._controller = PickPlaceController(self._scale_m)

    def reset(self, seed: int | None = None) -> None:
        self._controller.reset()

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        env: Any = self._world.env.unwrapped
        block = env.data.sensor("block_pos").data
        theirs = self._controller.act(env.ik_point_pos, block, env.goal_pos)
        action = np.array([*(theirs[:3] * self._scale_m), 0.0, 0.0, 0.0, theirs[3]])
        return ActionChunk(action[None], observation.stamp_ns, 0.1)  # (1, 7)


class LiberoExpert:
    """Takes the black bowl by its rim and puts it on the plate. Waypoints, one after the other."""

    name = "scripted"
    cameras: tuple[str, ...] = ()
    RIM_M = np.array([0.0, -0.05, 0.0])  # from the bowl's middle to where the fingers close

    def __init__(self, world: World) -> None:
        self._world = world

    def reset(self, seed: int | None = None) -> None:
        self._stage, self._waited = 0, 0
        bowl, plate = self._place("akita_black_bowl_1_main"), self._place("plate_1_main")
        up, grasp = np.array([0.0, 0.0, 0.15]), np.array([0.0, 0.0, 0.035])
        take, put = bowl + self.RIM_M, plate + self.RIM_M
        # Where to go, how open to be, and how many actions to wait there.
        self._plan = [
            (take + up, 1.0, 0),
            (take + grasp, 1.0, 2),
            (take + grasp, 0.0, 6),
            (take + up, 0.0, 0),
            (put + up, 0.0, 0),
            (put + grasp + [0.0, 0.0, 0.03], 0.0, 2),
            (put + grasp + [0.0, 0.0, 0.03], 1.0, 6),
            (put + up, 1.0, 0),
        ]

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        goal, opening, wait = self._plan[self._stage]
        left = goal - observation.ee_position
        if np.linalg.norm(left) < 0.015 or self._waited:
            self._waited += 1
            if self._waited > wait and self._stage < len(self._plan) - 1:
                self._stage, self._waited = self._stage + 1, 0
        action = np.array([*np.clip(left, -STEP_M, STEP_M), 0.0, 0.0, 0.0, opening])
        return ActionChunk(action[None], observation.stamp_ns, 0.1)  # (1, 7)

    def _place(self, body: str) -> NDArray[np.float64]:
        """(3,) [m] in the base frame."""
        env: Any = self._world.env.unwrapped
        data = env._env.env.sim.data
        return data.get_body_xpos(body) - np.array(self._world.config.tool.base_position_m)


EXPERTS: dict[str, Callable[[World], Policy]] = {"so101": SO101Expert, "libero": LiberoExpert}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("world", choices=EXPERTS)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    config = load_world(FOLDER / f"{arguments.world}.yaml")
    world = World(config, cameras=())
    expert = EXPERTS[arguments.world](world)
    results = []
    for seed in range(arguments.seed, arguments.seed + arguments.episodes):
        results.append(run_episode(world, expert, seed))
        print(f"seed {seed}: {results[-1].outcome} after {results[-1].steps} steps", flush=True)
    world.close()
    # "zero" stands for a policy that needs no checkpoint; the name below is the true one.
    settings = WorldEvaluation("zero", config, arguments.episodes, arguments.seed)
    summary = {**summarize(settings, results), "policy": expert.name}
    print(json.dumps({key: value for key, value in summary.items() if key != "rows"}, indent=1))
    if arguments.json is not None:
        write_json(arguments.json, summary)


if __name__ == "__main__":
    main()
