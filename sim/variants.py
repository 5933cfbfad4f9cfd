"""Changed worlds by name: what a policy trained in the usual one has never seen.

`gymnasium.make("VlaRos/Lift-v0", variant="shifted-camera")`, `--variant` of `vla-ros collect` and
`vla-ros evaluate`. The same seed draws the same episode in every variant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sim.scene import CameraOffset, Scene
from sim.tabletop import Tabletop

STANDARD = "standard"
IDENTIFIED_PREFIX = "identified:"


@dataclass(frozen=True)
class Variant:
    """What differs from the usual world, in every episode alike."""

    about: str
    camera_offset: CameraOffset = CameraOffset()
    build: Callable[[Scene, bool], Tabletop] = Tabletop  # from a scene, and whether to draw meshes

    def apply(self, scene: Scene) -> Scene:
        """A drawn scene as this variant has it."""
        return replace(scene, camera_offset=self.camera_offset)


def _stand_in(scene: Scene, meshes: bool) -> Tabletop:
    from sim.sim2real.stand_in import StandIn  # imported by those who want it

    return StandIn(scene, meshes)


def _stand_in_filament(scene: Scene, meshes: bool) -> Tabletop:
    from sim.sim2real.stand_in import StandIn

    return StandIn(scene, meshes, renderer="filament")


VARIANTS: dict[str, Variant] = {
    STANDARD: Variant("the usual world"),
    "shifted-camera": Variant(
        "the front camera 8 cm beside its place and turned by 6 degrees",
        # 8 cm to the robot's left; panned back by half of what that takes away, tilted and rolled.
        CameraOffset(position=(0.0, 0.08, 0.0), rotation_deg=(-2.0, 4.0, 4.0)),
    ),
    "stand-in": Variant("a second world that stands for a real robot", build=_stand_in),
    "stand-in-filament": Variant(
        "the same, drawn with MuJoCo's other renderer; needs Vulkan", build=_stand_in_filament
    ),
}


def find_variant(name: str) -> Variant:
    """The variant called `name`; `ValueError` with the choices if there is none.

    `identified:FILE.json` is the usual world with the arm of `vla-ros sim2real identify --json`.
    """
    if name.startswith(IDENTIFIED_PREFIX):
        from sim.sim2real.identified import read_parameters
        from sim.sim2real.stand_in import ArmTabletop

        parameters = read_parameters(Path(name.removeprefix(IDENTIFIED_PREFIX)))
        return Variant(
            "the arm as it was identified",
            build=lambda scene, meshes: ArmTabletop(scene, meshes, parameters),
        )
    if name not in VARIANTS:
        choices = ", ".join(f"{known} ({variant.about})" for known, variant in VARIANTS.items())
        raise ValueError(
            f"variant: expected one of {choices}, {IDENTIFIED_PREFIX}FILE.json; got {name!r}"
        )
    return VARIANTS[name]


def check_variant(name: str) -> str:
    """`name` if there is such a variant; `ValueError` with the choices otherwise."""
    find_variant(name)
    return name
