"""What a robot's description must have before an arm is moved by it; beside `sim.arm_model`."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import mujoco
import numpy as np

from sim.arm_model import ArmModel, ArmModelError

NEAR = 1e-6  # [m], and of a rotation matrix
PRIMITIVES = ("box", "cylinder", "sphere")  # of a URDF
MEND = (
    "give its links <collision> shapes (box, cylinder, sphere), for meshes of a URDF are not read"
)


def check_chain(arm: ArmModel, model: mujoco.MjModel) -> None:
    """Every joint from the base to the tool is the arm's, else what is planned is not what moves.

    Raises `ArmModelError`.
    """
    kind, index = arm.tool_frame(model)
    body = int(model.site_bodyid[index]) if kind == "site" else index
    chain: list[str] = []
    while body:
        first = int(model.body_jntadr[body])
        joints = range(first, first + int(model.body_jntnum[body]))
        chain = [model.joint(joint).name for joint in joints] + chain
        body = int(model.body_parentid[body])
    if left_out := [name for name in chain if name not in arm.joint_names]:
        raise ArmModelError(
            f"joints: expected every joint from the base to {arm.tool!r}, "
            f"{', '.join(chain)}, got none of the name {', '.join(left_out)}"
        )


def base_frames(model: mujoco.MjModel, text: str = "") -> list[str]:
    """Bodies that stand where the description's root does, turned as it is. MuJoCo's world is one,
    unless `text` is a URDF without such a link."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    at_root = [
        model.body(body).name
        for body in range(model.nbody)
        if model.body_weldid[body] == 0
        and np.abs(data.xpos[body]).max() < NEAR
        and np.abs(data.xmat[body].reshape(3, 3) - np.eye(3)).max() < NEAR
    ]
    links = {link.get("name") for link in _links(text)} if text else set()
    return [name for name in at_root if name in links or not links]


def unseen_links(text: str) -> list[str]:
    """Links of a URDF that are drawn and have no shape that collisions are seen with."""
    unseen = []
    for link in _links(text):
        shapes = link.findall("collision/geometry/*")
        drawn = link.find("visual") is not None or shapes
        if drawn and not any(shape.tag in PRIMITIVES for shape in shapes):
            unseen.append(link.get("name", ""))
    return unseen


def sees(model: mujoco.MjModel) -> bool:
    """Whether any part that moves has a shape."""
    return bool(np.any(model.body_weldid[model.geom_bodyid] != 0))


def _links(text: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(text)
    return root.findall("link") if root.tag == "robot" else []
