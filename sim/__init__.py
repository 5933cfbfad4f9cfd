"""Simulated tabletop tasks in MuJoCo; importing this package registers them with Gymnasium."""

from collections.abc import Sequence

from sim.rendering import choose_backend, explain

choose_backend()
try:
    import mujoco  # noqa: F401  opens the display of the chosen backend
except (ImportError, AttributeError, RuntimeError) as error:
    if isinstance(error, ModuleNotFoundError) and error.name == "mujoco":
        raise
    raise explain(error) from error

from gymnasium.envs.registration import register, registry  # noqa: E402

from sim.scenes import is_scene_file, read_description  # noqa: E402
from sim.tasks import CORE_TASKS, TASKS  # noqa: E402


def env_id(name: str) -> str:
    """A task's name in Gymnasium's registry; a scene file's path stays as it is."""
    return name if is_scene_file(name) else f"VlaRos/{name}-v0"


def task_name(env_id: str) -> str:
    """What `sim.scenes.find_task` takes, for one of `ENV_IDS` or a scene file."""
    return env_id.removeprefix("VlaRos/").removesuffix("-v0")


def check_env_ids(env_ids: Sequence[str]) -> None:
    """Raises `ValueError` unless each is one of `ENV_IDS` or a scene file that makes sense."""
    unknown = [env_id for env_id in env_ids if env_id not in ENV_IDS and not is_scene_file(env_id)]
    if unknown or not env_ids:
        raise ValueError(
            f"env: expected some of {', '.join(ENV_IDS)}, or .yaml files of scenes; "
            f"got {', '.join(unknown) or 'none'}"
        )
    for env_id in filter(is_scene_file, env_ids):
        read_description(env_id)


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

SCENE_ENV_ID = env_id("Scene")  # gymnasium.make(SCENE_ENV_ID, scene="file.yaml")
if SCENE_ENV_ID not in registry:
    register(id=SCENE_ENV_ID, entry_point="sim.env:make_scene")
