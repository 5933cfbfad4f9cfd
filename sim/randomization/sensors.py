"""What a camera and encoders lose: exposure, gamma, blur, noise; bias and noise of the joints."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sim.randomization.draw import Values

REFERENCE_PX = 224  # the image size that a blur is given for


def worsen(image: NDArray[np.uint8], values: Values, rng: np.random.Generator) -> NDArray[np.uint8]:
    """An image (h, w, 3) as the camera of these values (of the axis `sensors`) takes it."""
    light = image.astype(np.float32) / 255.0
    light = np.clip(light * np.float32(values.get("exposure", 1.0)), 0.0, 1.0)
    light **= np.float32(values.get("gamma", 1.0))
    sigma_px = values.get("image_blur_px", 0.0) * image.shape[0] / REFERENCE_PX
    if sigma_px > 0.05:
        light = gaussian_filter(light, (sigma_px, sigma_px, 0.0), mode="nearest", truncate=3.0)
    noise = values.get("image_noise", 0.0) / 255.0
    if noise > 0.0:
        light += np.float32(noise) * rng.standard_normal(light.shape, np.float32)
    return np.round(np.clip(light, 0.0, 1.0) * 255.0).astype(np.uint8)


def misread_joints(
    joint_positions: NDArray, values: Values, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(7,) [rad] as the encoders give them."""
    noise = values.get("joint_noise_rad", 0.0) * rng.standard_normal(len(joint_positions))
    return joint_positions + np.array(values.get("joint_bias_rad", 0.0)) + noise


def misread_gripper(opening: Any, values: Values, rng: np.random.Generator) -> NDArray[np.float64]:
    """(1,) in [0, 1] as the gripper gives it."""
    noise = values.get("gripper_noise", 0.0) * rng.standard_normal(1)
    return np.clip(np.asarray(opening) + noise, 0.0, 1.0)
