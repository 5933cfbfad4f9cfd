"""The executor in simulated time: success, jerk and rest of a policy behind it, at given latencies.

The very code of the nodes but without ROS and without a clock: an image every 0.1 s, one inference
at a time, whose chunk arrives so many milliseconds after its image; limits, blending, soft start,
and the simulated joint_trajectory_controller. So its figures do not depend on the machine's load.

    python benchmarks/executor.py --episodes 20 --latency-ms 100 --latency-ms 400 --json FILE
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from policies.factory import DEFAULT_POLICY, load_policy
from policies.interface import ActionChunk, Observation, Policy
from sim import robot
from sim.evaluation import wilson_interval
from sim.evaluation.smoothness import Smoothness
from sim.foresight import expert_chunk
from sim.kinematics import Kinematics
from sim.motion import CONTROL_RATE_HZ
from sim.tasks import CORE_TASKS
from vla_ros.body import Body
from vla_ros.command import Command
from vla_ros.execution import Execution, Hold, Pace
from vla_ros.inference import observe, to_pose_chunk
from vla_ros.limits import FR3_LIMITS, Limits
from vla_ros.planning import Motion, PoseChunk
from vla_ros.points import Points, arm_points, gripper_points, held_gripper_points
from vla_ros.simulation import TICK_NS, Simulation
from vla_ros.synchronizer import Snapshot

EXPERT, EXPERT_STEPS = "expert-chunk", 8
IMAGE_NS = 100_000_000
START_NS = 10**12


class Lockstep:
    """One episode: robot, executor and policy, tick by tick."""

    def __init__(
        self,
        policy: Policy | None,
        body: Body,
        latency_ms: float,
        pace: Pace,
        limits: Limits = FR3_LIMITS,
    ) -> None:
        self._policy = policy  # None: the scripted expert
        self._kinematics = Kinematics()
        self._body = body
        self._latency_ns = round(latency_ms * 1e6)
        self._pace = pace
        self._limits = limits
        self._simulation: Simulation | None = None

    def run(self, task: str, seed: int) -> dict[str, Any]:
        """Let the policy act until success or time is up."""
        self.now_ns = START_NS
        self._simulation = simulation = Simulation(task, seed, self.now_ns)
        execution = Execution(
            self._body,
            self._limits,
            lambda command: self._send(command, execution.command),
            pace=self._pace,
        )
        execution.on_joints(simulation.measure().positions[:7], self.now_ns)
        execution.on_instruction(simulation.episode.instruction, self.now_ns)
        if self._policy is not None:
            self._policy.reset(seed=seed)
        arriving: tuple[int, PoseChunk] | None = None
        next_image_ns = self.now_ns + TICK_NS
        smoothness, resting, ticks = Smoothness(), 0, 0
        with smoothness.watching(simulation.world):
            while simulation.success_time_s is None and not self._over():
                self.now_ns += TICK_NS
                simulation.advance_to(self.now_ns)
                execution.on_joints(simulation.measure().positions[:7], self.now_ns)
                execution.tick(self.now_ns)
                ticks += 1
                resting += not np.any(np.abs(simulation.measure().velocities[:7]) > 0.01)
                if arriving is not None and self.now_ns >= arriving[0]:
                    execution.on_chunk(arriving[1], self.now_ns)
                    arriving = None
                if self.now_ns >= next_image_ns and arriving is None:
                    next_image_ns = self.now_ns + IMAGE_NS
                    arriving = (self.now_ns + self._latency_ns, self._look())
        simulation.close()
        return {
            "task": task,
            "seed": seed,
            "success": simulation.success_time_s is not None,
            "time_s": round(simulation.time_s, 3),
            "jerk_rad_s3": smoothness.jerk_rad_s3,
            "resting_share": resting / ticks,
            "accepted": execution.accepted,
            "limited": execution.limited,
            "refused": execution.refused,
            "reason": execution.reason,
        }

    def _over(self) -> bool:
        assert self._simulation is not None
        return self._simulation.time_s > 0.1 * self._simulation.task.max_steps

    def _look(self) -> PoseChunk:
        assert self._simulation is not None
        simulation = self._simulation
        cameras = () if self._policy is None else self._policy.cameras
        images = {name: simulation.world.render(name) for name in cameras}
        snapshot = Snapshot(self.now_ns, images, simulation.measure().positions)
        observation = observe(snapshot, simulation.episode.instruction, self._body)
        return to_pose_chunk(self._decide(observation), observation)

    def _decide(self, observation: Observation) -> ActionChunk:
        if self._policy is not None:
            return self._policy.predict_chunk(observation)
        assert self._simulation is not None
        world, observer = self._simulation.world, self._simulation.world.observer
        world.observer = None  # what the expert plays through is no motion of the arm
        actions = expert_chunk(
            world, self._simulation.task, self._simulation.episode, self._kinematics, EXPERT_STEPS
        )
        world.observer = observer
        return ActionChunk(actions, observation.stamp_ns, 1.0 / CONTROL_RATE_HZ)

    def _send(self, command: Motion | Hold, so_far: Command) -> None:
        assert self._simulation is not None
        arm = arm_points(command.trajectory, self.now_ns, so_far)
        self._follow(self._simulation.arm, robot.JOINT_NAMES, arm, slice(0, 7))
        gripper: Points | None = None
        if isinstance(command, Motion):
            gripper = gripper_points(command, self.now_ns)
        elif command.opening is not None:
            gripper = held_gripper_points(command.opening)
        if gripper is not None:
            fingers = np.repeat(gripper.positions * robot.FINGER_TRAVEL_M, 2, axis=1)
            self._simulation.gripper.accept(
                robot.FINGER_JOINT_NAMES,
                list(zip(gripper.times_ns.tolist(), fingers, strict=True)),
                0,
                self.now_ns,
                self._simulation.commanded[7:],
            )

    def _follow(self, follower, names, points, which: slice) -> None:
        assert self._simulation is not None
        follower.accept(
            names,
            list(zip(points.times_ns.tolist(), points.positions, strict=True)),
            0,
            self.now_ns,
            self._simulation.commanded[which],
            points.velocities,
        )


def summary(rows: list[dict[str, Any]], latency_ms: float) -> dict[str, Any]:
    """Over episodes."""
    count = sum(row["success"] for row in rows)
    low, high = wilson_interval(count, len(rows))
    times_s = [row["time_s"] for row in rows if row["success"]]
    return {
        "latency_ms": latency_ms,
        "episodes": len(rows),
        "success_rate": count / len(rows),
        "wilson_low": low,
        "wilson_high": high,
        "mean_time_of_successes_s": float(np.mean(times_s)) if times_s else None,
        **{
            name: float(np.mean([row[name] for row in rows]))
            for name in ("jerk_rad_s3", "resting_share", "accepted", "limited", "refused")
        },
        "rows": rows,
    }


def main(
    policy: Annotated[
        str, typer.Option(help=f"A policy that ships here, a folder, or {EXPERT}.")
    ] = (DEFAULT_POLICY),
    task: Annotated[list[str], typer.Option(help="Give several times.")] = list(CORE_TASKS),  # noqa: B006
    episodes: Annotated[int, typer.Option(min=1, help="Of each task.")] = 20,
    seed: Annotated[int, typer.Option(min=0)] = 1000,
    latency_ms: Annotated[list[float], typer.Option(min=0.0, max=1000.0)] = [100.0],  # noqa: B006
    blend_s: Annotated[float, typer.Option(min=0.0, max=2.0)] = Pace.blend_ns / 1e9,
    soft_start_s: Annotated[float, typer.Option(min=0.0, max=30.0)] = Pace.soft_start_s,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Run every task and latency; print a line for each latency."""
    network = None if policy == EXPERT else load_policy(policy)
    body = Body()
    pace = Pace(soft_start_s=soft_start_s, blend_ns=round(blend_s * 1e9))
    results = []
    for latency in latency_ms:
        lockstep = Lockstep(network, body, latency, pace)
        rows = [lockstep.run(name, seed + i) for name in task for i in range(episodes)]
        results.append(summary(rows, latency))
        print({name: value for name, value in results[-1].items() if name != "rows"}, flush=True)
        if json_file is not None:
            json_file.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    typer.run(main)
