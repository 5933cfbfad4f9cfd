"""Changed worlds by name: what a policy trained in the usual one has never seen.

`gymnasium.make("VlaRos/Lift-v0", variant="shifted-camera")`, `--variant` of `vla-ros collect` and
`vla-ros evaluate`. The same seed draws the same episode in every variant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sim.scene import CameraOffset, Scene

STANDARD = "standard"


@dataclass(frozen=True)
class Variant:
    """What differs from the usual world, in every episode alike."""

    about: str
    camera_offset: CameraOffset = CameraOffset()

    def apply(self, scene: Scene) -> Scene:
        """A drawn scene as this variant has it."""
        return replace(scene, camera_offset=self.camera_offset)


VARIANTS: dict[str, Variant] = {
    STANDARD: Variant("the usual world"),
    "shifted-camera": Variant(
        "the front camera 8 cm beside its place and turned by 6 degrees",
        # 8 cm to the robot's left; panned back by half of what that takes away, tilted and rolled.
        CameraOffset(position=(0.0, 0.08, 0.0), rotation_deg=(-2.0, 4.0, 4.0)),
    ),
}


def check_variant(name: str) -> str:
    """`name` if there is such a variant; `ValueError` with the choices otherwise."""
    if name not in VARIANTS:
        choices = ", ".join(f"{known} ({variant.about})" for known, variant in VARIANTS.items())
        raise ValueError(f"variant: expected one of {choices}; got {name!r}")
    return name
