"""The Franka FR3 with its hand, drawn from primitives: published kinematics, limits and masses.

Kinematics, joint limits, velocities and efforts: `franka_description`, `robots/fr3/`
(`kinematics.yaml`, `joint_limits.yaml`, `inertials.yaml`), also at
https://frankarobotics.github.io/docs/robot_specifications.html. The gains are ours: a firm,
critically damped position servo with gravity compensated, as the robot's own controller does.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

JOINT_NAMES = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_JOINT_NAMES = ("fr3_finger_joint1", "fr3_finger_joint2")
BASE_BODY = "fr3_link0"
TCP_SITE = "tcp"
FINGER_BODIES = ("fr3_leftfinger", "fr3_rightfinger")

POSITION_LOWER_RAD = np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159])
POSITION_UPPER_RAD = np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159])
VELOCITY_LIMIT_RAD_S = np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
EFFORT_LIMIT_NM = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])

# Bent over the table: tool centre point near (0.45, 0, 0.25) m, pointing down.
HOME_RAD = np.array([0.0, -0.1848, 0.0, -2.4967, 0.0, 2.3119, 0.7854])

FINGER_TRAVEL_M = 0.04  # each finger; the opening between the pads is twice that
FINGER_EFFORT_N = 25.0  # of each finger, simulated
GRIPPER_SPEED_LIMIT_M_S = 0.15  # each finger; Franka Hand: 50 mm/s commanded, faster here as servo
TCP_OFFSET_M = 0.1034  # from the hand's flange to between the finger tips


@dataclass(frozen=True)
class Link:
    """One link of the arm: where its joint stands in the parent, and its inertia."""

    position: tuple[float, float, float]  # [m], joint frame in the parent link's frame
    quaternion: tuple[float, float, float, float]  # w, x, y, z (normalized by the compiler)
    mass_kg: float
    centre_of_mass: tuple[float, float, float]  # [m], link frame
    inertia_quaternion: tuple[float, float, float, float]
    principal_inertia: tuple[float, float, float]  # [kg m^2]
    armature: float  # [kg m^2], rotor inertia seen at the joint
    friction_nm: float  # [N m], dry friction
    stiffness: float  # [N m/rad], position servo
    damping: float  # [N m s/rad], position servo


LINKS = (
    Link(
        (0, 0, 0.333),
        (1, 0, 0, 0),
        2.92747,
        (4.128e-07, -0.0181251, -0.0386036),
        (0.998098, -0.0605364, 0.00380499, 0.0110109),
        (0.0239286, 0.0227246, 0.00610634),
        0.195,
        1.137,
        6000,
        250,
    ),
    Link(
        (0, 0, 0),
        (1, -1, 0, 0),
        2.93554,
        (0.00318289, -0.0743222, 0.00881461),
        (0.502599, 0.584437, -0.465998, 0.434366),
        (0.0629567, 0.0411924, 0.0246371),
        0.195,
        1.137,
        6000,
        250,
    ),
    Link(
        (0, -0.316, 0),
        (1, 1, 0, 0),
        2.2449,
        (0.0407016, -0.00482006, -0.0289731),
        (0.921025, -0.244161, 0.155272, 0.260745),
        (0.0267409, 0.0189869, 0.0171587),
        0.195,
        1.137,
        5000,
        180,
    ),
    Link(
        (0.0825, 0, 0),
        (1, 1, 0, 0),
        2.6156,
        (-0.0459101, 0.0630493, -0.00851879),
        (0.438018, 0.803311, 0.00937812, 0.403414),
        (0.05139, 0.0372717, 0.0160047),
        0.195,
        1.137,
        5000,
        180,
    ),
    Link(
        (-0.0825, 0.384, 0),
        (1, -1, 0, 0),
        2.32712,
        (-0.00160396, 0.0292536, -0.0972966),
        (0.919031, 0.125604, 0.0751531, -0.366003),
        (0.0579335, 0.0449144, 0.0130634),
        0.074,
        0.763,
        2000,
        60,
    ),
    Link(
        (0, 0, 0),
        (1, 1, 0, 0),
        1.81704,
        (0.0597131, -0.0410295, -0.0101693),
        (0.621301, 0.552665, 0.510011, 0.220081),
        (0.0175039, 0.0161123, 0.00193529),
        0.074,
        0.44,
        2000,
        60,
    ),
    Link(
        (0.088, 0, 0),
        (1, 1, 0, 0),
        0.627143,
        (0.00452258, 0.00862619, -0.0161633),
        (0.727579, 0.0978688, -0.24906, 0.63168),
        (0.000223836, 0.000223642, 5.64132e-07),
        0.074,
        0.248,
        2000,
        60,
    ),
)
HAND_MASS_KG = 0.6544  # `franka_description`, `end_effectors/franka_hand/inertials.yaml`
FINGER_MASS_KG = 0.0291

WHITE = (0.92, 0.92, 0.92, 1.0)
GREY = (0.45, 0.45, 0.48, 1.0)
BLACK = (0.12, 0.12, 0.13, 1.0)

# Robot geoms touch the world (contype 1) but not each other: adjacent primitives overlap.
ROBOT_CONTYPE = 2
WORLD_CONTYPE = 1
WORLD_CONAFFINITY = WORLD_CONTYPE | ROBOT_CONTYPE

# Drawn capsules per link: (from, to, radius), in the link's frame [m].
_CAPSULES: tuple[tuple[tuple[tuple[float, ...], tuple[float, ...], float], ...], ...] = (
    (((0, 0, -0.19), (0, 0, -0.03), 0.062), ((0, -0.06, 0), (0, 0.06, 0), 0.06)),
    (((0, -0.19, 0), (0, -0.05, 0), 0.058),),
    (((0, 0, -0.06), (0.04, 0, -0.02), 0.055), ((0.0825, 0, -0.05), (0.0825, 0, 0.05), 0.055)),
    (((-0.05, 0.06, 0), (-0.0825, 0.12, 0), 0.052),),
    (((0, 0, -0.23), (0, 0.06, -0.12), 0.045), ((0, 0.07, -0.1), (0, 0.03, 0), 0.045)),
    (((0, 0, -0.03), (0, 0, 0.03), 0.05), ((0.03, 0, 0), (0.088, 0, 0), 0.04)),
    (((0, 0, 0.01), (0, 0, 0.09), 0.042),),
)


def add_arm(spec: mujoco.MjSpec) -> mujoco.MjsBody:
    """Add the FR3 and its hand to `spec`, base at the world's origin; returns the hand body."""
    spec.compiler.degree = False
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    body = spec.worldbody.add_body(name=BASE_BODY)
    _capsule(body, (-0.04, 0, 0.05), (0, 0, 0.08), 0.07, WHITE)
    for index, link in enumerate(LINKS):
        body = body.add_body(
            name=f"fr3_link{index + 1}",
            pos=link.position,
            quat=link.quaternion,
            mass=link.mass_kg,
            ipos=link.centre_of_mass,
            iquat=link.inertia_quaternion,
            inertia=link.principal_inertia,
            explicitinertial=True,
            gravcomp=1.0,
        )
        body.add_joint(
            name=JOINT_NAMES[index],
            axis=(0, 0, 1),
            range=(POSITION_LOWER_RAD[index], POSITION_UPPER_RAD[index]),
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            armature=link.armature,
            frictionloss=link.friction_nm,
            damping=0.21,
        )
        for start, end, radius in _CAPSULES[index]:
            _capsule(body, start, end, radius, GREY if index in (1, 3, 5) else WHITE)
        _position_servo(
            spec,
            JOINT_NAMES[index],
            (POSITION_LOWER_RAD[index], POSITION_UPPER_RAD[index]),
            EFFORT_LIMIT_NM[index],
            link.stiffness,
            link.damping,
        )
    return _add_hand(spec, body)


def _add_hand(spec: mujoco.MjSpec, flange: mujoco.MjsBody) -> mujoco.MjsBody:
    """The parallel gripper: its fingers slide along the hand's y axis."""
    half_angle = -np.pi / 8  # the hand is mounted at -45 degrees
    hand = flange.add_body(
        name="fr3_hand",
        pos=(0, 0, 0.107),
        quat=(np.cos(half_angle), 0, 0, np.sin(half_angle)),
        mass=HAND_MASS_KG,
        ipos=(-0.0000376, 0.0119128, 0.0207260),
        inertia=(0.00186, 0.00030, 0.00174),
        explicitinertial=True,
        gravcomp=1.0,
    )
    _box(hand, (0, 0, 0.03), (0.022, 0.10, 0.03), BLACK)
    hand.add_site(name=TCP_SITE, pos=(0, 0, TCP_OFFSET_M), size=(0.005, 0.005, 0.005), group=4)
    for name, joint, sign in zip(FINGER_BODIES, FINGER_JOINT_NAMES, (1, -1), strict=True):
        finger = hand.add_body(
            name=name,
            pos=(0, 0, 0.0584),
            mass=FINGER_MASS_KG,
            ipos=(0, sign * 0.0152850, 0.0219675),
            inertia=(8.49e-6, 8.53e-6, 1.77e-6),
            explicitinertial=True,
            gravcomp=1.0,
        )
        finger.add_joint(
            name=joint,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=(0, sign, 0),
            range=(0.0, FINGER_TRAVEL_M),
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            armature=0.1,
            damping=5.0,
        )
        # The pad's inner face stands at y = 0 when the finger is closed.
        pad = _box(finger, (0, sign * 0.006, 0.033), (0.011, 0.006, 0.021), GREY)
        pad.friction = (1.6, 0.02, 0.0005)
        pad.condim = 4
        pad.solref = (0.008, 1.0)
        _position_servo(spec, joint, (0.0, FINGER_TRAVEL_M), FINGER_EFFORT_N, 600.0, 40.0)
    return hand


def _position_servo(
    spec: mujoco.MjSpec,
    joint: str,
    control_range: tuple[float, float],
    effort_limit: float,
    stiffness: float,
    damping: float,
) -> None:
    actuator = spec.add_actuator(
        name=joint,
        target=joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        ctrllimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        ctrlrange=control_range,
        forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        forcerange=(-effort_limit, effort_limit),
    )
    actuator.set_to_position(kp=stiffness, kv=damping)


def _capsule(body, start, end, radius, rgba):
    return body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=(*start, *end),
        size=(radius, 0, 0),
        rgba=rgba,
        contype=ROBOT_CONTYPE,
        conaffinity=0,
    )


def _box(body, centre, half_size, rgba):
    return body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=centre,
        size=half_size,
        rgba=rgba,
        contype=ROBOT_CONTYPE,
        conaffinity=0,
    )
