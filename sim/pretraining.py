"""Labelled views of random scenes: what simulation knows and demonstrations are slow to teach.

Each view has the front image, and for every image patch which item is seen in it and where that
item is; for several instructions that fit the scene it has the positions of the named things and
the expert's action in that very state. Arm and items are put where demonstrations go (approaching,
about to grasp, holding, pushing) without simulating the way there, so that a view costs one frame.
With domain randomization, light, colors, cameras and sensors are drawn anew for every view; sizes,
table and distractors for every scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import mujoco
import numpy as np
from numpy.typing import NDArray

from policies.openvla.state import DOWN
from sim import robot
from sim.foresight import expert_chunk
from sim.kinematics import Kinematics, displaced
from sim.randomization import NOMINAL, PRESETS, Domain
from sim.randomization.draw import child_seeds, draw
from sim.randomization.wording import reworded
from sim.randomization.world import VISUAL_AXES, RandomizedTabletop
from sim.scene import BASIC_SHAPES, COLORS, Item, Scene
from sim.tabletop import Tabletop
from sim.tasks import CORE_TASKS, Episode, base, push

MAX_ITEMS = 5
VIEWS_PER_SCENE = 12
INSTRUCTIONS_PER_VIEW = 6
PATCH_PX = 28  # of the 224 px image: one patch of a tower that sees it at 112 px
MIN_VISIBLE_PX = 40  # of PATCH_PX ** 2, for a patch to count as showing an item
SCENE_AXES = ("objects", "table", "distractors")
CLASS_NAMES = tuple(f"{color} {shape}" for color in COLORS for shape in BASIC_SHAPES)


@dataclass(frozen=True)
class View:
    """One image with all its labels."""

    image: NDArray[np.uint8]  # (224, 224, 3) RGB, front camera
    ee_position: NDArray[np.float64]  # (3,) [m], base frame
    ee_quaternion: NDArray[np.float64]  # (4,) w, x, y, z
    gripper_opening: float  # [0, 1]
    item_classes: NDArray[np.int64]  # (MAX_ITEMS,) index into CLASS_NAMES, -1 = none
    item_positions: NDArray[np.float64]  # (MAX_ITEMS, 3) [m], base frame
    patch_items: NDArray[np.int64]  # (64,) which item each patch shows, row by row, -1 = none
    caption: str  # what stands on the table
    instructions: tuple[str, ...]  # INSTRUCTIONS_PER_VIEW
    targets: NDArray[np.float64]  # (INSTRUCTIONS_PER_VIEW, 3) [m]
    goals: NDArray[np.float64]  # (INSTRUCTIONS_PER_VIEW, 3) [m]
    actions: NDArray[np.float64]  # (INSTRUCTIONS_PER_VIEW, 7), see `policies.interface`
    later_actions: NDArray[np.float64]  # (INSTRUCTIONS_PER_VIEW, chunk_length - 1, 7)


class ViewSampler:
    """Draws views for ever from a seeded generator.

    With a `chunk_length` above 1 every label has the actions that follow as well (about 3 ms for
    each); the views themselves are the same.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        chunk_length: int = 1,
        domain: Domain = PRESETS[NOMINAL],
    ) -> None:
        self._rng = rng
        self._chunk_length = chunk_length
        self._domain = domain.restricted_to((*VISUAL_AXES, *SCENE_AXES))
        self._wording = domain.restricted_to(("wording",))
        self._tasks = {name: task() for name, task in CORE_TASKS.items()}
        self._kinematics = Kinematics()
        self._renderer: mujoco.Renderer | None = None

    def __iter__(self) -> Iterator[View]:
        while True:
            task = self._tasks[base.choose(self._rng, tuple(self._tasks))]
            world = self._world(task.sample(self._rng).scene)
            segmentation = mujoco.Renderer(world.model, 224, 224)
            segmentation.enable_segmentation_rendering()
            for _ in range(VIEWS_PER_SCENE):
                yield self._view(world, segmentation)
            segmentation.close()
            world.close()

    def _world(self, scene: Scene) -> Tabletop:
        if not self._domain:
            return Tabletop(scene)
        return RandomizedTabletop(scene, self._domain, child_seeds(self._rng))

    def _view(self, world: Tabletop, segmentation: mujoco.Renderer) -> View:
        rng = self._rng
        if isinstance(world, RandomizedTabletop):
            world.redraw(child_seeds(rng))
        items = world.scene.items
        spots = base.draw_until_it_fits(
            lambda: base.draw_spots(rng, [item.shape for item in items])
        )
        scene = replace(
            world.scene,
            items=tuple(
                replace(
                    item,
                    position=(float(spot[0]), float(spot[1])),
                    yaw_rad=float(rng.uniform(-0.4, 0.4)),
                )
                for item, spot in zip(items, spots, strict=True)
            ),
        )
        target = base.choose(rng, [item.name for item in items if not item.is_bowl])
        held = self._place(world, scene, target)
        if isinstance(world, RandomizedTabletop):
            world.scatter_distractors(child_seeds(rng))
        base_position = world.base_position
        labels = [self._label(world, scene, target, held) for _ in range(INSTRUCTIONS_PER_VIEW)]
        classes = np.full(MAX_ITEMS, -1)
        positions = np.zeros((MAX_ITEMS, 3))
        for index, item in enumerate(items):
            classes[index] = CLASS_NAMES.index(item.name)
            positions[index] = world.item_position(item.name) - base_position
        segmentation.update_scene(world.data, "front")
        names = rng.permutation([item.name for item in items])
        return View(
            image=_image(world),
            ee_position=world.ee_position - base_position,
            ee_quaternion=world.ee_rotation.as_quat(canonical=True, scalar_first=True),
            gripper_opening=world.gripper_opening,
            item_classes=classes,
            item_positions=positions,
            patch_items=_patch_items(world, segmentation.render()),
            caption="a " + " and a ".join(names),
            instructions=tuple(label[0] for label in labels),
            targets=np.stack([label[1] for label in labels]) - base_position,
            goals=np.stack([label[2] for label in labels]) - base_position,
            actions=np.stack([label[3][0] for label in labels]),
            later_actions=np.stack([label[3][1:] for label in labels]),
        )

    def _place(self, world: Tabletop, scene: Scene, target: str) -> bool:
        """Put items and arm somewhere a demonstration would pass; whether the target is held."""
        rng = self._rng
        data = world.data
        for item in scene.items:
            _put(world, item, (*item.position, item.height_m))
        item = scene.item(target)
        spot = np.array(item.position)
        kind = rng.choice(["anywhere", "approach", "grasp", "hold", "push"], p=_KIND_SHARES)
        opening = 1.0
        if kind == "anywhere":
            tool = rng.uniform(base.START_LOW - 0.04, base.START_HIGH + 0.02)
            opening = float(rng.choice([0.0, 1.0, rng.uniform()]))
        elif kind == "approach":
            offset = rng.normal(0.0, 0.05, size=2)
            low = base.funnel(float(np.linalg.norm(offset)), item.height_m)
            tool = np.array([*(spot + offset), low + abs(rng.normal(0.0, 0.03))])
        elif kind == "grasp":
            height = item.height_m + rng.choice([rng.normal(0, 0.004), rng.uniform(0, 0.05)])
            tool = np.array([*(spot + rng.normal(0.0, 0.007, size=2)), max(0.012, height)])
            opening = float(rng.choice([1.0, rng.uniform(item.size_m / 0.04 + 0.03, 1.0)]))
        elif kind == "hold":
            bowls = [other for other in scene.items if other.is_bowl]
            if bowls and rng.uniform() < 0.5:
                centre = np.array(base.choose(rng, bowls).position)
                tool = np.array([*(centre + rng.normal(0, 0.03, 2)), rng.uniform(0.07, 0.17)])
            else:
                tool = rng.uniform((0.36, -0.2, 0.02), (0.6, 0.2, 0.24))
                if rng.uniform() < 0.5:  # where fingers have just closed: the rarest of states
                    tool[2] = max(0.016, item.height_m - 0.002) + rng.uniform(-0.004, 0.02)
            opening = (item.size_m - 0.0005) / robot.FINGER_TRAVEL_M
        else:
            along = np.array(push.DIRECTIONS[base.choose(rng, tuple(push.DIRECTIONS))])
            across = np.array([-along[1], along[0]])
            offset = -rng.uniform(0.02, 0.11) * along + rng.normal(0, 0.015) * across
            height = push.PUSH_HEIGHT_M + rng.choice([0.0, abs(rng.normal(0, 0.03))])
            tool = np.array([*(spot + offset), height])
            opening = 0.0
        tilt = rng.normal(0.0, 1.0, size=3) * (0.02, 0.02, rng.choice([0.03, 0.2]))
        joints = robot.HOME_RAD
        for _ in range(2):
            joints, _ = self._kinematics.inverse(
                joints, tool - world.base_position, displaced(DOWN, tilt)
            )
        data.qpos[:7] = joints
        data.qpos[7:9] = opening * robot.FINGER_TRAVEL_M
        world.command_present_pose(base.CLOSED if kind == "hold" else opening)
        mujoco.mj_forward(world.model, data)
        if kind == "hold":
            # The fingers close across y; along x and z the item is where they happened to meet it.
            in_hand = rng.normal(0.0, (0.004, 0.0, 0.004))
            centre = world.ee_position + np.array([*in_hand[:2], abs(in_hand[2])])
            _put(world, replace(item, yaw_rad=float(tilt[2])), centre)
            mujoco.mj_forward(world.model, data)
        return bool(kind == "hold" and world.is_held(target))

    def _label(
        self, world: Tabletop, scene: Scene, target: str, held: bool
    ) -> tuple[str, NDArray, NDArray, NDArray]:
        """An instruction for this view, the positions it speaks of, the expert's actions (k, 7)."""
        rng = self._rng
        bowls = [item.name for item in scene.items if item.is_bowl]
        if not held and rng.uniform() < 0.6:
            target = base.choose(rng, [item.name for item in scene.items if not item.is_bowl])
        choices = ["Lift"]
        if bowls:
            choices.append("PickPlace")
        if not held and scene.item(target).shape != "ball":
            choices.append("Push")
        task = self._tasks[base.choose(rng, choices)]
        episode = Episode(
            scene,
            "",
            target,
            destination=base.choose(rng, bowls) if bowls else None,
            direction=base.choose(rng, tuple(push.DIRECTIONS)),
        )
        instruction = task.instruct(rng, episode)
        if self._wording:
            instruction = reworded(instruction, draw(self._wording, child_seeds(rng)))
        return (
            instruction,
            world.item_position(target),
            task.goal_position(world, episode),
            expert_chunk(world, task, episode, self._kinematics, self._chunk_length),
        )


_KIND_SHARES = (0.13, 0.27, 0.2, 0.27, 0.13)


def _image(world: Tabletop) -> NDArray[np.uint8]:
    """(224, 224, 3), as the front camera takes it."""
    image = world.render("front")
    return world.taken(image) if isinstance(world, RandomizedTabletop) else image


def _put(world: Tabletop, item: Item, position) -> None:
    address = world.model.joint(item.name).qposadr[0]
    world.data.qpos[address : address + 3] = position
    half = item.yaw_rad / 2
    world.data.qpos[address + 3 : address + 7] = (np.cos(half), 0.0, 0.0, np.sin(half))


def _patch_items(world: Tabletop, segmentation: NDArray) -> NDArray[np.int64]:
    """(224, 224, 2) geom ids and types -> (64,) the item most seen in each patch, -1 = none."""
    body_of_item = {world.model.body(item.name).id: i for i, item in enumerate(world.scene.items)}
    item_of_geom = np.array(
        [body_of_item.get(int(body), -1) for body in world.model.geom_bodyid] + [-1]
    )
    is_geom = segmentation[..., 1] == int(mujoco.mjtObj.mjOBJ_GEOM)
    items = item_of_geom[np.where(is_geom, segmentation[..., 0], -1)]  # (224, 224)
    side = items.shape[0] // PATCH_PX
    blocks = items.reshape(side, PATCH_PX, side, PATCH_PX).swapaxes(1, 2).reshape(side * side, -1)
    counts = np.stack([(blocks == index).sum(1) for index in range(MAX_ITEMS)], axis=1)
    return np.where(counts.max(1) >= MIN_VISIBLE_PX, counts.argmax(1), -1)
