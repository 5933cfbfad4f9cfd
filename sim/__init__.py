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


def env_id(name: str) -> str:
    """A task's name in Gymnasium's registry."""
    return f"VlaRos/{name}-v0"


def task_name(env_id: str) -> str:
    """The key of `sim.tasks.TASKS` behind one of `ENV_IDS`."""
    return env_id.removeprefix("VlaRos/").removesuffix("-v0")


ENV_IDS = tuple(env_id(name) for name in TASKS)
CORE_ENV_IDS = tuple(env_id(name) for name in CORE_TASKS)

for _name, _task in TASKS.items():
    if env_id(_name) not in registry:
        register(
            id=env_id(_name),
            entry_point="sim.env:TabletopEnv",
            kwargs={"task": _name},
            max_episode_steps=_task.max_steps,
        )
