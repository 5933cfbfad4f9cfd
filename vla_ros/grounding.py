"""What MuJoCo makes of the actions that a world model imagines: the truth to hold it against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_DIM
from policies.openvla.preprocess import resize
from sim import CORE_ENV_IDS, task_name
from sim.env import TabletopEnv, to_observation
from sim.events import event
from sim.pretraining import CLASS_NAMES
from sim.views import load_views, make_views
from world_models.drift import Reference
from world_models.identity import Labelled, labels_of
from world_models.interface import Context
from world_models.model import ImaginationModel
from world_models.state import context_of

MOTIONS = ("hold", "slow")
SLOW_M = (0.04, 0.06, 0.04)  # how far slow motion goes along x, y and up
SLOW_PERIODS_S = (12.0, 9.0, 7.0)
EVENT_FRAMES = 15  # that are imagined behind an event
SETTLE_S = 0.5  # from the event to the frame that shows it


def labelled_views(
    folder: Path,
    count: int,
    size_px: int,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, count: None,
) -> Labelled:
    """Views with all their items; what the folder lacks of `count` is drawn first."""
    for done in make_views(folder, count, seed, size_px, workers=1):
        on_progress(done, count)
    views = load_views(folder)
    images = np.stack([resize(image, size_px) for image in views["image"][:count]])
    classes, places = views["item_classes"][:count], views["item_positions"][:count]
    names = [[CLASS_NAMES[index] for index in row[row >= 0]] for row in classes]
    there = [where[row >= 0] for where, row in zip(places, classes, strict=True)]
    return Labelled(images, labels_of(names, there, CLASS_NAMES))


def motion_actions(motion: str, steps: int, rate_hz: float, opening: float) -> NDArray[np.float64]:
    """(steps, 7): nothing at all, or slow waves that begin and end where the tool is."""
    actions = np.zeros((steps, ACTION_DIM))
    actions[:, 6] = opening
    if motion == "slow":
        seconds = np.arange(steps + 1)[:, None] / rate_hz
        phase = 2 * np.pi * seconds / np.array(SLOW_PERIODS_S)
        path = np.array(SLOW_M) * np.sin(phase)
        path[:, 2] = SLOW_M[2] * (1 - np.cos(phase[:, 2])) / 2  # never below the start
        actions[:, :3] = np.diff(path, axis=0)
    return actions


def reference(
    model: ImaginationModel, motion: str, starts: int, seconds: float, every_s: float, seed: int
) -> Reference:
    """Resets of the three tasks by turns, and what MuJoCo makes of the motion."""
    stride, rate_hz = model.actions_per_frame, model.config.rate_hz
    frames = max(1, round(seconds * rate_hz / stride))
    every = min(frames, max(1, round(every_s * rate_hz / stride)))
    branches = []
    for start in range(starts):
        name = task_name(CORE_ENV_IDS[start % len(CORE_ENV_IDS)])
        env = TabletopEnv(name, cameras=(model.config.camera,))
        values, info = env.reset(seed=seed + start)
        opening = round(float(values["gripper_opening"][0]))
        actions = motion_actions(motion, frames * stride, rate_hz, opening)
        actions = actions.reshape(frames, stride, ACTION_DIM)
        branches.append(_follow(env, model, info["items"], frames, every, actions))
        env.close()
    return _as_reference(branches, np.arange(0, frames + 1, every))


def event_branches(
    model: ImaginationModel, name: str, starts: int, seed: int
) -> tuple[Reference, Reference]:
    """Episodes of Push without the event and with it, under the same actions: the expert's in the
    world without. They begin half a second behind the event.
    """
    plain: list[_Branch] = []
    changed: list[_Branch] = []
    for start in range(starts):
        env = TabletopEnv("Push", cameras=(model.config.camera,))
        _, info = env.reset(seed=seed + start)
        world, _ = env.running()
        items, before = [info["target"]], world.snapshot()
        env.hold(SETTLE_S)
        plain.append(_follow(env, model, items, EVENT_FRAMES))
        world.restore(before)
        with event(world, name, info["target"], np.random.default_rng((seed, start))):
            env.hold(SETTLE_S)
            actions = plain[-1].actions
            changed.append(_follow(env, model, items, EVENT_FRAMES, actions=actions))
        env.close()
    instants = np.arange(EVENT_FRAMES + 1)
    return _as_reference(plain, instants), _as_reference(changed, instants)


@dataclass(frozen=True)
class _Branch:
    """One way an episode went."""

    actions: NDArray[np.float64]  # (frames, k, 7)
    context: Context  # its first frame
    images: NDArray[np.uint8]  # (t, s, s, 3)
    positions: NDArray[np.float64]  # (t, classes, 3) [m]


def _follow(
    env: TabletopEnv,
    model: ImaginationModel,
    items: list[str],
    frames: int,
    every: int = 1,
    actions: NDArray[np.float64] | None = None,
) -> _Branch:
    """Carry out `actions` (frames, k, 7), without them the expert's; look every so many frames."""
    stride, size = model.actions_per_frame, model.config.tokenizer.image_size_px
    camera = model.config.camera
    world, _ = env.running()
    observation = to_observation(env.observe()[0])
    done, images = [], []
    places: list[NDArray] = []
    for frame in range(frames + 1):
        if frame % every == 0:
            images.append(resize(env.observe()[0][camera], size))
            found = [world.item_position(item) - world.base_position for item in items]
            places.append(np.stack(found))
        for step in range(stride if frame < frames else 0):
            done.append(_expert(env) if actions is None else actions[frame, step])
            env.move(done[-1])
    return _Branch(
        actions=np.stack(done).reshape(frames, stride, ACTION_DIM),
        context=context_of([observation], [], camera, size),
        images=np.stack(images),
        positions=labels_of([items] * len(places), places, CLASS_NAMES),
    )


def _expert(env: TabletopEnv) -> NDArray[np.float64]:
    """Its action; when the task is done it holds still, or it would push on and off the table."""
    action = env.expert_action()
    if env.succeeded():
        action[:6] = 0.0
    return action


def _as_reference(branches: list[_Branch], frames_ahead: NDArray[np.int64]) -> Reference:
    contexts = [each.context for each in branches]
    return Reference(
        frames_ahead=frames_ahead,
        images=np.stack([each.images for each in branches]),
        positions=np.stack([each.positions for each in branches]),
        context=Context(
            np.concatenate([each.images for each in contexts]),
            np.concatenate([each.states for each in contexts]),
            np.concatenate([each.actions for each in contexts]),
            [text for each in contexts for text in each.instructions],
        ),
        actions=np.stack([each.actions for each in branches]),
    )
