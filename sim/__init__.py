"""Simulated tabletop tasks in MuJoCo; importing this package registers them with Gymnasium."""

from gymnasium.envs.registration import register, registry

from sim.tasks import TASKS

ENV_IDS = tuple(f"VlaRos/{name}-v0" for name in TASKS)

for _name, _task in TASKS.items():
    if f"VlaRos/{_name}-v0" not in registry:
        register(
            id=f"VlaRos/{_name}-v0",
            entry_point="sim.env:TabletopEnv",
            kwargs={"task": _name},
            max_episode_steps=_task.max_steps,
        )
