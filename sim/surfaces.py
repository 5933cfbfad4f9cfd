"""Gives what stands there the surfaces that a scene describes (`sim.scene.Surface`).

`sim.compile` calls it once everything is in the description.
"""

from __future__ import annotations

import mujoco
import numpy as np

from sim import items
from sim.patterns import TEXTURE_PX, pattern, tiled
from sim.scene import COLORS, GLOSS, TABLE, Item, Surface


def add_surface(spec: mujoco.MjSpec, surface: Surface) -> None:
    """Change the geoms of the thing, or of the table, that it is of."""
    geoms = _geoms(spec, surface.of)
    if surface.is_seen:
        _paint(spec, [geom for geom in geoms if _is_colored(geom, surface.of)], surface)
    if surface.friction is not None:
        for geom in geoms:
            _roughen(geom, surface.of == TABLE, surface.friction)
    if surface.mass_kg is not None:
        usual_kg = sum(geom.mass for geom in geoms)
        for geom in geoms:
            geom.mass *= surface.mass_kg / usual_kg


def volume_m3(item: Item) -> float:
    """Of the solids an item is made of; where they overlap, of each."""
    spec = mujoco.MjSpec()
    items.add_item(spec, item)
    for geom in spec.body(item.name).geoms:
        geom.mass, geom.density = np.nan, 1000.0
    return float(spec.compile().body(item.name).mass[0]) / 1000.0


def _geoms(spec: mujoco.MjSpec, of: str) -> list[mujoco.MjsGeom]:
    """Of a thing with its fixed parts ("red drawer chest") and grains ("red beads 3")."""
    if of == TABLE:
        return [spec.geom(TABLE)]
    bodies = [body for body in spec.bodies if body.name == of or body.name.startswith(f"{of} ")]
    return [geom for body in bodies for geom in body.geoms]


def _is_colored(geom: mujoco.MjsGeom, of: str) -> bool:
    """Whether it has the thing's color; handles and chests have not."""
    if of == TABLE:
        return True
    color = np.array(COLORS[of.split()[0]], geom.rgba.dtype)
    return np.array_equal(geom.rgba[:3], color)


def _paint(spec: mujoco.MjSpec, geoms: list[mujoco.MjsGeom], surface: Surface) -> None:
    name = f"{surface.of} surface"
    gloss = {key: getattr(surface, key) for key in GLOSS}
    material = spec.add_material(name=name, rgba=geoms[0].rgba, **gloss)
    if surface.pattern != "plain":
        shades = pattern(surface.pattern, surface.contrast)
        if surface.of == TABLE:  # as `sim.randomization.assets` does it
            kind, sides = mujoco.mjtTexture.mjTEXTURE_2D, 1
            material.texrepeat = (surface.repeat, surface.repeat)
        else:  # the same on each side: a flat texture would run down them in streaks
            kind, sides = mujoco.mjtTexture.mjTEXTURE_CUBE, 6
            shades = tiled(shades, surface.repeat)
        texture = spec.add_texture(
            name=name, type=kind, nchannel=3, width=TEXTURE_PX, height=sides * TEXTURE_PX
        )
        texture.data = shades.tobytes() * sides
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    for geom in geoms:
        geom.material = name


def _roughen(geom: mujoco.MjsGeom, is_table: bool, friction: float) -> None:
    if is_table:
        geom.priority = items.TABLE_PRIORITY
        # With it the table's numbers hold alone: those that came of both without, and a ball's.
        geom.friction, geom.condim, geom.solref = (friction, 0.01, 0.004), 6, (0.014, 1.0)
    else:
        geom.priority = items.OWN_PRIORITY
        geom.friction = (friction, *geom.friction[1:])
