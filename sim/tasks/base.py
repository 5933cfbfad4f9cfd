"""What every task shares: the episode it draws, placing without overlap, and a servo for experts.

Experts know the simulator's state and are memoryless: the action follows from the present state
alone. They can therefore label any state a learner gets into (DAgger, arXiv 1011.0686).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policies.openvla.state import DOWN
from sim import robot
from sim.kinematics import Kinematics, displaced, displacement
from sim.scene import BOWL_RADIUS_M, COLORS, Item, Scene
from sim.tabletop import Tabletop

MAX_STEP_M = 0.05  # largest displacement an expert asks for in one action
MAX_TURN_RAD = 0.2
TRAVEL_HEIGHT_M = 0.14  # tool height that clears everything on the table
OPEN, CLOSED = 1.0, 0.0
# Of `distance_left`: height in which things are carried past others, what a grasp is worth.
CLEARANCE_M, UNHELD_M = 0.10, 0.05

# Where items stand [m], base frame: x low, x high, y low, y high.
ITEM_AREA = (0.37, 0.60, -0.20, 0.20)
# Where the tool starts [m].
START_LOW = np.array([0.38, -0.16, 0.14])
START_HIGH = np.array([0.56, 0.16, 0.30])
START_TILT_RAD = 0.08  # roll, pitch *U(-1, 1)
START_YAW_RAD = 0.35  # yaw *U(-1, 1)


@dataclass(frozen=True)
class Stage:
    """One part of an instruction: another task's name and what it is about."""

    task: str  # a key of `sim.tasks.TASKS`
    target: str
    destination: str | None = None
    direction: str | None = None


@dataclass(frozen=True)
class Episode:
    """One drawn episode: what there is, what is asked, where the arm starts."""

    scene: Scene
    instruction: str
    target: str  # name of the item the instruction is about
    destination: str | None = None  # where it belongs: a bowl, a mat, another item
    direction: str | None = None  # a key of `push.DIRECTIONS` or `place_relative.RELATIONS`
    joint_positions: tuple[float, ...] = tuple(robot.HOME_RAD)  # (7,) [rad]
    count: int = 1  # how many are asked for
    stages: tuple[Stage, ...] = ()  # of an instruction with several parts, in order

    def at(self, stage: Stage) -> Episode:
        """This episode as if only `stage` had been asked for."""
        return replace(
            self,
            target=stage.target,
            destination=stage.destination,
            direction=stage.direction,
            stages=(),
        )


class Task(ABC):
    """A task draws episodes, recognises success and knows how to act."""

    name: str
    max_steps: int  # at 10 Hz
    swappable = True  # whether something else of the same scene can be named instead

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Episode:
        """Draw an episode."""

    @abstractmethod
    def success(self, world: Tabletop, episode: Episode) -> bool:
        """Whether what was asked has been done."""

    @abstractmethod
    def expert(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        """The action (7,) an expert takes in this state; see `policies.interface.ActionChunk`."""

    @abstractmethod
    def goal_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        """(3,) [m]: where the target should end, given where it is now."""

    @abstractmethod
    def instruct(self, rng: np.random.Generator, episode: Episode) -> str:
        """Word an instruction for what `episode` names."""

    def targets(self, episode: Episode) -> tuple[str, ...]:
        """What an instruction for this scene could be about, the present target included."""
        return tuple(item.name for item in episode.scene.items if not item.is_bowl)

    def first_touches(self, world: Tabletop, episode: Episode) -> tuple[str, ...]:
        """What may be touched first by someone who has understood the instruction."""
        return (episode.target,)

    def target_position(self, world: Tabletop, episode: Episode) -> NDArray[np.float64]:
        """(3,) [m]: where that is now which has to be moved next."""
        return world.item_position(episode.target)

    def distance_left(self, world: Tabletop, episode: Episode) -> float:
        """[m], falling as the work gets on: the tool's way to what is to be moved, and its to its
        goal, both from above; nothing when the task is done. A planner's aim (`sim.oracle`).
        """
        target, goal = self.target_position(world, episode), self.goal_position(world, episode)
        left = way_from_above(target, goal)
        items = {item.name: item for item in world.scene.items}
        near = min(items, key=lambda name: np.linalg.norm(world.item_position(name) - target),
                   default=None)  # fmt: skip
        if near is not None and world.is_held(near):
            return left
        return left + UNHELD_M + way_from_above(world.ee_position, target)

    def retarget(self, rng: np.random.Generator, episode: Episode, target: str) -> Episode:
        """The same scene with something else named in the instruction."""
        if not self.swappable:
            raise ValueError(f"target: {self.name}'s instruction cannot be about anything else")
        choices = self.targets(episode)
        if target not in choices:
            if target not in episode.scene.names:
                episode.scene.item(target)  # says so
            raise ValueError(f"target: expected one of {', '.join(choices)}, got {target!r}")
        changed = replace(episode, target=target)
        return replace(changed, instruction=self.instruct(rng, changed))


def way_from_above(position: NDArray, goal: NDArray, room_m: float = 0.02) -> float:
    """[m] from `position` to `goal`, both (3,), for what must not bump into things on its way.

    Farther than `room_m` beside the goal it counts from `CLEARANCE_M` above it, as in a funnel.
    """
    beside = float(np.hypot(*(position[:2] - goal[:2])))
    height = goal[2] + min(CLEARANCE_M, 2.5 * max(0.0, beside - room_m))
    return float(np.hypot(beside, position[2] - height))


def choose(rng: np.random.Generator, options):
    """One of `options`, evenly."""
    return options[int(rng.integers(len(options)))]


def draw_scene(
    rng: np.random.Generator,
    shapes: tuple[str, ...],
    bowls: int,
    area: tuple[float, float, float, float] = ITEM_AREA,
) -> Scene:
    """Items of the given shapes in different colours, then bowls, none overlapping."""
    item_colors = rng.permutation(list(COLORS))[: len(shapes)]
    bowl_colors = rng.permutation(list(COLORS))[:bowls]
    kinds = [*zip(shapes, item_colors, strict=True), *(("bowl", color) for color in bowl_colors)]
    return Scene(items=draw_items(rng, kinds, area))


def draw_items(
    rng: np.random.Generator,
    kinds: Sequence[tuple[str, str]],
    area: tuple[float, float, float, float] = ITEM_AREA,
    taken: Sequence[tuple[str, NDArray]] = (),
) -> tuple[Item, ...]:
    """Items of these shapes and colors, clear of each other and of what is `taken`."""
    spots = draw_spots(rng, [shape for shape, _ in kinds], area, taken)
    return tuple(
        Item(
            shape=shape,  # type: ignore[arg-type]
            color=str(color),
            position=(float(spot[0]), float(spot[1])),
            yaw_rad=float(rng.uniform(-0.4, 0.4)),
            size_m=float(rng.uniform(0.020, 0.024)),
        )
        for (shape, color), spot in zip(kinds, spots, strict=True)
    )


def draw_spots(
    rng: np.random.Generator,
    shapes: Sequence[str],
    area: tuple[float, float, float, float] = ITEM_AREA,
    taken: Sequence[tuple[str, NDArray]] = (),
) -> list[NDArray]:
    """Where items of these shapes can stand, (2,) [m] each; may raise `CrowdedError`.

    `taken` are the shapes ("mat", "button" and the like, too) and places of what stands already.
    """
    # Bowls stand last in a scene and are placed first, or they find no room.
    placed = list(taken)
    for shape in reversed(shapes):
        placed.append((shape, _free_spot(rng, shape, placed, area)))
    return [spot for _, spot in reversed(placed[len(taken) :])]


def _clearance(first: str, second: str) -> float:
    """[m] between centres, so that the open gripper (0.12 m wide) fits around an item."""
    return room_radius(first) + room_radius(second)


def room_radius(shape: str) -> float:
    """[m] round its centre that something needs on the table, half the gripper's room included."""
    return _RADIUS_M.get(shape, 0.05)


_RADIUS_M = {"bowl": BOWL_RADIUS_M + 0.015, "mat": 0.10, "button": 0.06, "brush": 0.075}


def _free_spot(rng, shape, placed, area) -> NDArray:
    for _ in range(1000):
        spot = rng.uniform((area[0], area[2]), (area[1], area[3]))
        if all(
            np.linalg.norm(spot - other) > _clearance(shape, other_shape)
            for other_shape, other in placed
        ):
            return spot
    # Crowded: begin again with the next draws; the caller's generator keeps this reproducible.
    raise CrowdedError


class CrowdedError(RuntimeError):
    """The items drawn so far leave no room for the next."""


def draw_until_it_fits(draw):
    """Call `draw` until it does not raise `CrowdedError`."""
    while True:
        try:
            return draw()
        except CrowdedError:
            continue


def draw_start(rng: np.random.Generator, kinematics: Kinematics) -> tuple[float, ...]:
    """Joint angles (7,) [rad] of a tool pose drawn over the table, pointing roughly down."""
    position = rng.uniform(START_LOW, START_HIGH)
    tilt = rng.uniform(-1, 1, size=3) * (START_TILT_RAD, START_TILT_RAD, START_YAW_RAD)
    joints = robot.HOME_RAD
    for _ in range(5):
        joints, _ = kinematics.inverse(joints, position, displaced(DOWN, tilt))
    return tuple(float(angle) for angle in joints)


def servo(world: Tabletop, position: NDArray, gripper: float) -> NDArray[np.float64]:
    """The action (7,) towards a tool position [m] with the fingers pointing down."""
    step = np.asarray(position) - world.ee_position
    length = np.linalg.norm(step)
    if length > MAX_STEP_M:
        step *= MAX_STEP_M / length
    turn = np.clip(displacement(world.ee_rotation, DOWN), -MAX_TURN_RAD, MAX_TURN_RAD)
    return np.concatenate([step, turn, [gripper]])


def funnel(distance: float, floor: float, radius: float = 0.012) -> float:
    """Tool height [m] on approach: `floor` within `radius` of the spot, rising with distance."""
    return float(min(TRAVEL_HEIGHT_M, floor + 2.5 * max(0.0, distance - radius)))


def grasp(world: Tabletop, target: str, above_centre_m: float = -0.002) -> NDArray[np.float64]:
    """The action (7,) that approaches `target` from above and closes on it."""
    item = world.item_position(target)
    tool = world.ee_position
    distance = float(np.linalg.norm(item[:2] - tool[:2]))
    grasp_height = max(0.016, float(item[2]) + above_centre_m)
    # Fingers that have begun to close go on, unless they are clearly beside the item.
    begun = world.gripper_opening < 0.95
    reach, reach_height = (0.018, 0.016) if begun else (0.014, 0.012)
    if distance < reach and abs(tool[2] - grasp_height) < reach_height:
        return servo(world, np.array([*item[:2], grasp_height]), CLOSED)
    # An item below the fingers would be pushed down by a closed hand: open on the way.
    if world.gripper_opening < 0.7 and tool[2] < 0.06 and distance < 0.05:
        return servo(world, np.array([*tool[:2], tool[2] + 0.01]), OPEN)
    height = funnel(distance, grasp_height)
    if tool[2] < height - 0.03:  # too low for where it is: rise before moving sideways
        return servo(world, np.array([*(0.7 * tool[:2] + 0.3 * item[:2]), height]), OPEN)
    return servo(world, np.array([*item[:2], height]), OPEN)
