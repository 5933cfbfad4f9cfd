"""Changed worlds by name: what a policy trained in the usual one has never seen.

`gymnasium.make("VlaRos/Lift-v0", variant="shifted-camera")`, `--variant` of `vla-ros collect` and
`vla-ros evaluate`. The same seed draws the same episode in every variant. Domain randomization's
presets and files are variants, too: what they change is drawn for every episode.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sim.randomization import FILE_SUFFIXES, NOMINAL, PRESETS, Domain, load_domain
from sim.scene import CameraOffset, Scene

STANDARD = "standard"


@dataclass(frozen=True)
class Variant:
    """What differs from the usual world: some in every episode alike, the domain's by draw."""

    about: str
    camera_offset: CameraOffset = CameraOffset()
    domain: Domain = PRESETS[NOMINAL]

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
    **{
        name: Variant(f"drawn anew for every episode: {domain.about}", domain=domain)
        for name, domain in PRESETS.items()
        if domain
    },
}


def find_variant(name: str, randomization: str = NOMINAL) -> Variant:
    """The variant of that name, or of a YAML file of ranges; with `randomization` on top.

    Raises `ValueError` with the choices when there is none, or when both are drawn.
    """
    if name in VARIANTS:
        variant = VARIANTS[name]
    elif str(name).endswith(FILE_SUFFIXES):
        variant = Variant(f"ranges of {name}", domain=load_domain(name))
    else:
        choices = ", ".join(f"{known} ({row.about})" for known, row in VARIANTS.items())
        raise ValueError(
            f"variant: expected one of {choices}, or a .yaml file of ranges; got {name!r}"
        )
    domain = load_domain(randomization)
    if not domain:
        return variant
    if variant.domain:
        raise ValueError(
            f"randomization: the variant {name!r} is drawn already; expected nominal with it, "
            f"got {randomization!r}"
        )
    return replace(variant, domain=domain)


def check_variant(name: str) -> str:
    """`name` if there is such a variant; `ValueError` with the choices otherwise."""
    find_variant(name)
    return name
