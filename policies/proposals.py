"""Several chunks from one policy: its own answer, and samples of what it might have answered.

A token policy is sampled at a temperature. A policy that regresses has one answer and no spread, so
noise stands in: correlated over time (iCEM, arXiv 2008.06389, section 3.1) and as wide as the chunk
itself varies, at least `NOISE`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from policies.interface import ACTION_DIM, ActionChunk, ActionError, Observation, Policy

# Standard deviation of an action's noise: x, y, z [m], roll, pitch, yaw [rad], gripper.
NOISE = (0.012, 0.012, 0.012, 0.01, 0.01, 0.03, 0.15)
LIFT_M, LIFT_ACTIONS = 0.03, 4  # of a recovery: so far an action, so many of them
NOISE_EXPONENT = 2.0  # of the power spectrum, 1/f^x: 0 is white
TEMPERATURE = 1.0


@runtime_checkable
class SamplingPolicy(Protocol):
    """A policy with a distribution of its own."""

    can_sample: bool  # whether this one does: not every checkpoint of a kind has one

    def sample_chunks(
        self, observation: Observation, count: int, temperature: float, seed: int
    ) -> NDArray[np.float64]:
        """(count, k, 7) actions, drawn."""


def check_plannable(chunk: ActionChunk) -> None:
    """Raise `ActionError` for chunks that imagination cannot continue."""
    if chunk.mode != "delta" or chunk.frame != "base":
        raise ActionError(
            "actions: expected a policy whose actions are displacements in the base frame, got "
            f"mode {chunk.mode!r} in the frame {chunk.frame!r}"
        )


def sample_around(
    policy: Policy,
    observation: Observation,
    chunk: ActionChunk,
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(count, k, 7): samples of `policy` beside its answer `chunk`."""
    if isinstance(policy, SamplingPolicy) and policy.can_sample:
        seed = int(rng.integers(2**31))
        return policy.sample_chunks(observation, count, TEMPERATURE, seed)
    actions = np.asarray(chunk.actions, dtype=np.float64)
    spread = np.maximum(actions.std(axis=0), NOISE)  # (7,)
    return actions + spread * colored_noise(rng, count, len(actions))


def colored_noise(
    rng: np.random.Generator, count: int, steps: int, exponent: float = NOISE_EXPONENT
) -> NDArray[np.float64]:
    """(count, steps, 7) of variance 1, its power spectrum falling with 1/f^`exponent`.

    Timmer and Koenig 1995, "On generating power law noise": independent normal Fourier
    coefficients scaled by f^(-exponent/2), as iCEM has it. The lowest frequency is not left out, or
    a chunk could not be displaced as a whole.
    """
    if steps == 1:
        return rng.standard_normal((count, 1, ACTION_DIM))
    frequencies = np.fft.rfftfreq(steps)
    frequencies[0] = frequencies[1]
    scale = frequencies ** (-exponent / 2)
    real, imaginary = rng.standard_normal((2, count, ACTION_DIM, len(scale))) * scale
    imaginary[..., 0] = 0.0  # the mean is a real number,
    real[..., 0] *= np.sqrt(2)
    if steps % 2 == 0:  # and so is the highest frequency
        imaginary[..., -1] = 0.0
        real[..., -1] *= np.sqrt(2)
    # Each frequency's share of the variance, so that the sum is 1 for every number of steps.
    power = 4 * np.sum(scale[1:] ** 2) + 2 * scale[0] ** 2
    if steps % 2 == 0:
        power -= 2 * scale[-1] ** 2
    noise = np.fft.irfft(real + 1j * imaginary, steps, axis=-1)
    return np.swapaxes(noise * steps / np.sqrt(power), 1, 2)  # (count, steps, 7)


def recoveries(chunk: NDArray[np.float64], gripper: float) -> NDArray[np.float64]:
    """(4, k, 7): what a policy that is stuck might do instead of its `chunk` (k, 7).

    The chunk with its fingers open, and closed, all along; straight up with the fingers as they
    were told last (`gripper`), and open. Opening is a decision and no displacement: a policy whose
    answers waver about it never opens, and noise seldom gets from 0 to 1.
    """
    found = np.stack([chunk, chunk, np.zeros_like(chunk), np.zeros_like(chunk)]).astype(np.float64)
    found[2:, :LIFT_ACTIONS, 2] = LIFT_M
    for row, opening in enumerate((1.0, 0.0, gripper, 1.0)):
        found[row, :, 6] = opening
    return found
