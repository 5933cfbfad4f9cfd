"""A policy that costs nothing: the tool swings to and fro, the fingers open and close, for ever.

What it wants depends on the observation alone, so a restart changes nothing. An instruction that
does not begin with "wander" it does not know.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from policies.interface import ActionChunk, Observation, ObservationError
from policies.openvla.state import DOWN
from sim.kinematics import displacement

WANDER = "wander"
ENDS = np.array([[0.45, -0.18, 0.30], [0.45, 0.18, 0.30]])  # [m], base frame
SWING_NS = 1_200_000_000  # until it turns back
GRIP_NS = 2_000_000_000  # until the fingers change
STEPS, STEP_M, DT_S = 3, 0.025, 0.1
TURN_RAD = 0.2  # at most, back to where the tool points down


class WanderingPolicy:
    name = "wandering"
    cameras: tuple[str, ...] = ("front",)

    def reset(self, seed: int | None = None) -> None:
        """Nothing to forget."""

    def predict_chunk(self, observation: Observation) -> ActionChunk:
        if not observation.instruction.startswith(WANDER):
            raise ObservationError(
                f"instruction: expected it to begin with {WANDER!r}, "
                f"got {observation.instruction[:40]!r}"
            )
        target = ENDS[observation.stamp_ns // SWING_NS % 2]
        opening = float(observation.stamp_ns // GRIP_NS % 2)
        position = np.asarray(observation.ee_position, float)
        actions = []
        for _ in range(STEPS):
            way = target - position
            step = way * min(1.0, STEP_M / max(float(np.linalg.norm(way)), 1e-9))
            position = position + step
            actions.append([*step, 0.0, 0.0, 0.0, opening])
        turned = Rotation.from_quat(observation.ee_quaternion, scalar_first=True)
        actions[0][3:6] = np.clip(displacement(turned, DOWN), -TURN_RAD, TURN_RAD).tolist()
        return ActionChunk(np.array(actions), observation.stamp_ns, dt_s=DT_S)

    def predict_chunks(self, observations: list[Observation]) -> list[ActionChunk]:
        return [self.predict_chunk(observation) for observation in observations]
