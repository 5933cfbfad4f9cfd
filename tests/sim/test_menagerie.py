"""The arm with Menagerie's meshes: the errors, and the loading from a folder of the same layout."""

import sys
import types

import numpy as np
import pytest

from sim.env import TabletopEnv
from sim.menagerie import HIDDEN_GROUP, VISUAL_GROUP, MeshError

# A tetrahedron with edges of 0.3 m.
MESH = """v 0 0 0
v 0.3 0 0
v 0 0.3 0
v 0 0 0.3
f 1 3 2
f 1 2 4
f 1 4 3
f 2 3 4
"""
ARM = """<mujoco model="fr3">
  <compiler angle="radian" meshdir="assets"/>
  <default>
    <default class="fr3">
      <default class="visual">
        <geom type="mesh" group="2" contype="0" conaffinity="0"/>
      </default>
      <default class="collision"><geom type="mesh" group="3" mass="0"/></default>
    </default>
  </default>
  <asset>
    <material name="red" rgba="1 0.07 0.04 1"/>
    <mesh file="link1.obj"/>
    <mesh name="link1_coll" file="link1.obj"/>
  </asset>
  <worldbody>
    <body name="base" childclass="fr3">
      <body name="fr3_link0">
        <body name="fr3_link1" pos="0 0 0.333">
          <inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>
          <joint name="fr3_joint1" axis="0 0 1"/>
          <geom mesh="link1_coll" class="collision"/>
          <geom mesh="link1" material="red" class="visual"/>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


class MenagerieError(Exception):
    """As in the package."""


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A stand-in for `mujoco_menagerie` whose one model lies in `tmp_path`."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "link1.obj").write_text(MESH)
    (tmp_path / "fr3.xml").write_text(ARM)
    entry = types.SimpleNamespace(default_model="fr3", xml=lambda name: tmp_path / f"{name}.xml")
    module = types.ModuleType("mujoco_menagerie")
    module.MenagerieError = MenagerieError
    module.get = lambda name: entry
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", module)
    return module


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", None)
    with pytest.raises(MeshError, match="not installed: pip install mujoco-menagerie"):
        TabletopEnv("Lift", cameras=(), meshes=True).reset(seed=0)


def test_without_a_connection_the_error_names_the_way_out(package):
    def get(name):
        raise MenagerieError("no route to host")

    package.get = get
    with pytest.raises(
        MeshError, match="no route to host; connect to the internet once, or set ME"
    ):
        TabletopEnv("Lift", cameras=(), meshes=True).reset(seed=0)


def test_a_missing_mesh_is_named(package, tmp_path):
    (tmp_path / "assets" / "link1.obj").unlink()
    with pytest.raises(MeshError, match="link1.obj is missing"):
        TabletopEnv("Lift", cameras=(), meshes=True).reset(seed=0)


def test_meshes_change_what_is_seen_and_nothing_else(package):
    images, joints = [], []
    for meshes in (False, True):
        env = TabletopEnv("Lift", cameras=("front",), image_size_px=96, meshes=meshes)
        values, _ = env.reset(seed=0)
        images.append(values["front"])
        for _ in range(5):
            env.move(env.expert_action())
        world, _ = env.running()
        joints.append(world.joint_positions)
        groups = {
            int(group)
            for body, group in zip(world.model.geom_bodyid, world.model.geom_group, strict=True)
            if world.model.body(body).name == "fr3_link1"
        }
        assert groups == ({VISUAL_GROUP, HIDDEN_GROUP} if meshes else {0})
        env.close()
    assert not np.array_equal(*images)
    np.testing.assert_array_equal(*joints)
