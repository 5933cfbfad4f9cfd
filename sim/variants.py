"""Changed worlds by name: what a policy trained in the usual one has never seen.

`gymnasium.make("VlaRos/Lift-v0", variant="shifted-camera")`, `--variant` of `vla-ros collect` and
`vla-ros evaluate`. The same seed draws the same episode in every variant. Domain randomization's
presets and files are variants, too: what they change is drawn for every episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sim.randomization import FILE_SUFFIXES, NOMINAL, PRESETS, Domain, load_domain
from sim.randomization.draw import child_seeds
from sim.randomization.episode import begin
from sim.scene import CameraOffset, Scene
from sim.tabletop import Tabletop
from sim.tasks import Episode, Task

STANDARD = "standard"
IDENTIFIED_PREFIX = "identified:"
SETTLE_S = 0.2  # before an episode begins


@dataclass(frozen=True)
class Variant:
    """What differs from the usual world: some in every episode alike, the domain's by draw."""

    about: str
    camera_offset: CameraOffset = CameraOffset()
    domain: Domain = PRESETS[NOMINAL]
    build: Callable[[Scene, bool], Tabletop] = Tabletop  # from a scene, and whether to draw meshes
    check: Callable[[], None] = lambda: None  # raises `RenderingError` if it cannot be drawn here

    def apply(self, scene: Scene) -> Scene:
        """A drawn scene as this variant has it; a camera that is offset already is so by both."""
        here, more = scene.camera_offset, self.camera_offset
        position, rotation_deg = (
            tuple(a + b for a, b in zip(*pair, strict=True))
            for pair in ((here.position, more.position), (here.rotation_deg, more.rotation_deg))
        )
        offset = CameraOffset(position, rotation_deg)  # type: ignore[arg-type]
        return replace(scene, camera_offset=offset)

    def begin(
        self, task: Task, episode: Episode, rng: np.random.Generator, meshes: bool = False
    ) -> tuple[Tabletop, Episode]:
        """The world of a drawn episode, settled, and the episode as it is in that world."""
        episode = replace(episode, scene=self.apply(episode.scene))
        if self.domain:
            world: Tabletop
            world, episode = begin(self.domain, child_seeds(rng), task, episode, meshes)
        else:
            world = self.build(episode.scene, meshes)
        world.reset(np.array(episode.joint_positions))
        world.advance(SETTLE_S)
        world.first_touched = None
        return world, episode


def _stand_in(scene: Scene, meshes: bool) -> Tabletop:
    from sim.sim2real.stand_in import StandIn  # imported by those who want it

    return StandIn(scene, meshes)


def _stand_in_filament(scene: Scene, meshes: bool) -> Tabletop:
    from sim.sim2real.stand_in import StandIn

    return StandIn(scene, meshes, renderer="filament")


def _check_filament() -> None:
    from sim.sim2real.filament import check_available

    check_available()


VARIANTS: dict[str, Variant] = {
    STANDARD: Variant("the usual world"),
    "shifted-camera": Variant(
        "the front camera 8 cm beside its place and turned by 6 degrees",
        # 8 cm to the robot's left; panned back by half of what that takes away, tilted and rolled.
        CameraOffset(position=(0.0, 0.08, 0.0), rotation_deg=(-2.0, 4.0, 4.0)),
    ),
    **{
        name: Variant(f"drawn anew for every episode: {domain.about}", domain=domain)
        for name, domain in PRESETS.items()
        if domain
    },
    "stand-in": Variant("a second world that stands for a real robot", build=_stand_in),
    "stand-in-filament": Variant(
        "the same, drawn with MuJoCo's other renderer; needs Vulkan",
        build=_stand_in_filament,
        check=_check_filament,
    ),
}


def find_variant(name: str, randomization: str = NOMINAL) -> Variant:
    """The variant of that name, or of a YAML file of ranges; with `randomization` on top.

    `identified:FILE.json` is the usual world with the arm of `vla-ros sim2real identify --json`.
    Raises `ValueError` with the choices when there is none, or when the two cannot be combined.
    """
    if name in VARIANTS:
        variant = VARIANTS[name]
    elif name.startswith(IDENTIFIED_PREFIX):
        variant = _identified(Path(name.removeprefix(IDENTIFIED_PREFIX)))
    elif name.endswith(FILE_SUFFIXES):
        variant = Variant(f"ranges of {name}", domain=load_domain(name))
    else:
        choices = ", ".join(f"{known} ({row.about})" for known, row in VARIANTS.items())
        raise ValueError(
            f"variant: expected one of {choices}, a .yaml file of ranges, "
            f"{IDENTIFIED_PREFIX}FILE.json; got {name!r}"
        )
    domain = load_domain(randomization)
    if not domain:
        return variant
    if variant.domain or variant.build is not Tabletop:
        why = "is drawn already" if variant.domain else "has an arm of its own"
        raise ValueError(
            f"randomization: the variant {name!r} {why}; expected nominal with it, "
            f"got {randomization!r}"
        )
    return replace(variant, domain=domain)


def _identified(path: Path) -> Variant:
    from sim.sim2real.identified import read_parameters
    from sim.sim2real.stand_in import ArmTabletop

    parameters = read_parameters(path)
    return Variant(
        "the arm as it was identified",
        build=lambda scene, meshes: ArmTabletop(scene, meshes, parameters),
    )


def variant_file(name: str) -> str:
    """The path in a variant's name, if a file is what it names."""
    return name.removeprefix(IDENTIFIED_PREFIX)


def check_variant(name: str) -> str:
    """`name` if there is such a variant; `ValueError` with the choices otherwise."""
    find_variant(name)
    return name
