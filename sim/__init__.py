"""Simulated tabletop tasks in MuJoCo; importing this package registers them with Gymnasium."""

from sim.rendering import choose_backend, explain

choose_backend()
try:
    import mujoco  # noqa: F401  opens the display of the chosen backend
except (ImportError, AttributeError, RuntimeError) as error:
    if isinstance(error, ModuleNotFoundError) and error.name == "mujoco":
        raise
    raise explain(error) from error

from gymnasium.envs.registration import register, registry  # noqa: E402

from sim.tasks import CORE_TASKS, TASKS  # noqa: E402

ENV_IDS = tuple(f"VlaRos/{name}-v0" for name in TASKS)
CORE_ENV_IDS = tuple(f"VlaRos/{name}-v0" for name in CORE_TASKS)

for _name, _task in TASKS.items():
    if f"VlaRos/{_name}-v0" not in registry:
        register(
            id=f"VlaRos/{_name}-v0",
            entry_point="sim.env:TabletopEnv",
            kwargs={"task": _name},
            max_episode_steps=_task.max_steps,
        )
