"""The checks behind `vla-ros doctor`. Each returns what it found, or raises what went wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from policies.interface import Observation, Policy
from vla_ros.processes import ROOT

HELLO_TIMEOUT_S = 20.0
CAMERA_DURATION_S = 5.0
LEAST_RECEIVED = 0.9  # share of the images
SETUP = "run `make setup`"
DEFAULT_ROBOT = "fr3"
TRIES = 5  # of a policy


@dataclass(frozen=True)
class Result:
    """What a check found."""

    ok: bool
    text: str
    mend: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


class CheckFailed(Exception):
    """A check that failed, with its mend."""

    def __init__(self, text: str, mend: str) -> None:
        super().__init__(text)
        self.mend = mend


def attempt(check: Callable[[], Result]) -> Result:
    """The check's result; whatever it raises is a failure too."""
    try:
        return check()
    except CheckFailed as error:
        return Result(False, str(error), error.mend)
    except ImportError as error:
        return Result(False, f"{error}", SETUP)
    except Exception as error:  # a doctor must reach the end of the list
        text = " ".join(str(error).split())
        return Result(False, f"{type(error).__name__}: {text}", SETUP)


def check_ros() -> Result:
    """rclpy is there, and two processes hear each other."""
    sent = _exchange("hello", HELLO_TIMEOUT_S)
    return Result(
        True,
        f"rclpy with {os.environ.get('RMW_IMPLEMENTATION')}; two processes met in "
        f"{sent['met_after_s']:.1f} s",
        figures=sent,
    )


def check_cameras() -> Result:
    """640x480 images at 30 Hz from one process to another, with the stack's transport settings."""
    found = _exchange("images", CAMERA_DURATION_S + HELLO_TIMEOUT_S)
    share = found["received"] / max(1, found["sent"])
    text = (
        f"{found['received']} of {found['sent']} images of 640x480 at 30 Hz arrived, "
        f"median {found['median_latency_ms']:.1f} ms"
    )
    mend = (
        "unset FASTDDS_DEFAULT_PROFILES_FILE, FASTDDS_BUILTIN_TRANSPORTS and RMW_IMPLEMENTATION, "
        "so that vla-ros chooses; see that /dev/shm has 64 MB (Docker: --shm-size=256m) and that "
        "the machine is not busy (`uptime`)"
    )
    return Result(share >= LEAST_RECEIVED, text, mend, {**found, "received_share": share})


def check_rendering() -> Result:
    """MuJoCo draws off-screen, and the picture is not black."""
    code = (
        "import json, time; from sim.scene import Item, Scene; from sim.tabletop import Tabletop\n"
        "world = Tabletop(Scene((Item('cube', 'red', (0.5, 0.0)),)))\n"
        "image = world.render('front'); start = time.perf_counter()\n"
        "for _ in range(20): image = world.render('front')\n"
        "rate = 20 / (time.perf_counter() - start)\n"
        "print(json.dumps({'frames_per_s': rate, 'brightest': int(image.max())}))"
    )
    backend = os.environ.get("MUJOCO_GL", "")
    mend = (
        "apt-get install libegl1 libgl1 (or libosmesa6 and MUJOCO_GL=osmesa); `make setup` does it"
    )
    result = subprocess.run(  # of its own: a bad driver crashes or hangs
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if result.returncode:
        last = result.stderr.strip().splitlines()[-1:] or [f"status {result.returncode}"]
        raise CheckFailed(f"MUJOCO_GL={backend}: {last[0]}", mend)
    found = json.loads(result.stdout.splitlines()[-1])
    text = f"MUJOCO_GL={backend}: {found['frames_per_s']:.0f} frames/s of 224x224"
    if found["brightest"] == 0:
        raise CheckFailed(f"{text}, but all black", mend)
    return Result(True, text, figures=found)


def check_torch() -> Result:
    """torch computes, and which device is the fastest."""
    import torch

    value = float((torch.ones(8, 8) @ torch.ones(8, 8))[0, 0])
    if value != 8.0:
        raise CheckFailed(f"torch {torch.__version__} computes 8 = {value}", SETUP)
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    where = f"GPU: {', '.join(gpus)}" if gpus else "no GPU, so policies run on the CPU"
    for index in range(len(gpus)):
        torch.ones(8, device=f"cuda:{index}").sum().item()
    return Result(True, f"torch {torch.__version__}; {where}", figures={"gpus": gpus})


def check_checkpoint(
    policy_name: str, device: str, robot_name: str = DEFAULT_ROBOT, description: str = ""
) -> Result:
    """The policy loads, may move the robot, and acts on a picture from the simulator."""
    import gymnasium

    import sim  # noqa: F401  (registers the environments)
    from policies.factory import load_policy
    from policies.interface import SelfChecking
    from sim.env import to_observation
    from vla_ros.robots import load_robot

    robot = load_robot(robot_name, description)
    start_s = time.perf_counter()
    try:
        policy = load_policy(policy_name, device=device)
    except Exception as error:
        text = " ".join(str(error).split())
        raise CheckFailed(
            f"{policy_name}: {text}",
            "check the name or folder; for the one that ships here: git checkout -- policies",
        ) from error
    try:
        if isinstance(policy, SelfChecking):
            policy.check_fit(robot.limits.tool)
    except Exception as error:
        raise CheckFailed(
            f"{policy_name} on {robot.name}: {' '.join(str(error).split())}",
            "choose another policy, or train one for this robot: vla-ros finetune",
        ) from error
    load_s = time.perf_counter() - start_s
    environment = gymnasium.make("VlaRos/Lift-v0")
    values, _ = environment.reset(seed=0)
    environment.close()
    observation = to_observation(values)
    policy.reset(seed=0)
    chunk = policy.predict_chunk(observation)  # takes longer than the others
    act_ms = float(np.median([_timed_ms(policy, observation) for _ in range(TRIES)]))
    fits = f"fits {robot.name}, " if isinstance(policy, SelfChecking) else ""
    text = f"{policy.name} {fits}loads in {load_s:.1f} s and acts in {act_ms:.0f} ms on {device}"
    figures = {"load_s": load_s, "act_ms": act_ms, "actions": len(chunk.actions)}
    return Result(True, text, figures=figures)


def _timed_ms(policy: Policy, observation: Observation) -> float:
    start_s = time.perf_counter()
    policy.predict_chunk(observation)
    return (time.perf_counter() - start_s) * 1e3


def _exchange(what: str, timeout_s: float) -> dict[str, Any]:
    """Run `vla_ros.transport_check` as sender and receiver; the receiver's findings."""
    command = [sys.executable, "-m", "vla_ros.transport_check"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    receiver = subprocess.Popen(
        [*command, "receive", what],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    sender = subprocess.Popen(
        [*command, "send", what],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        output, errors = receiver.communicate(timeout=timeout_s + 10.0)
    except subprocess.TimeoutExpired:
        raise CheckFailed("two processes did not find each other", _NETWORK_MEND) from None
    finally:
        for process in (receiver, sender):
            if process.poll() is None:
                process.kill()
            process.wait()
    if receiver.returncode:
        last = errors.strip().splitlines()[-1:] or [f"status {receiver.returncode}"]
        mend = SETUP if "Error" in last[0] else _NETWORK_MEND
        raise CheckFailed(last[0], mend)
    return json.loads(output.splitlines()[-1])


_NETWORK_MEND = (
    "allow UDP multicast on the loopback interface (`ip link set lo multicast on`), and see that "
    "no firewall blocks ports 7400 to 33000 on this machine"
)
