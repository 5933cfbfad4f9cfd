"""Images in messages of a bag as arrays; raises `PictureError` for what cannot be used."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from policies.remote.images import MAX_SIDE_PX

# Where red, green and blue are among an encoding's channels, and how many there are.
CHANNELS = {
    "rgb8": ((0, 1, 2), 3),
    "bgr8": ((2, 1, 0), 3),
    "rgba8": ((0, 1, 2), 4),
    "bgra8": ((2, 1, 0), 4),
    "mono8": ((0, 0, 0), 1),
}


class PictureError(ValueError):
    """An image that cannot be used; the message says why."""


def decode(message: Any, kind: str) -> NDArray[np.uint8]:
    """(h, w, 3) RGB of a `sensor_msgs/msg/Image` or `CompressedImage`."""
    if kind.endswith("CompressedImage"):
        return _decompress(message)
    if message.encoding not in CHANNELS:
        raise PictureError(
            f"encoding: expected one of {', '.join(CHANNELS)}, got {message.encoding!r}"
        )
    order, channels = CHANNELS[message.encoding]
    height, width, step = message.height, message.width, message.step or channels * message.width
    if 0 in (height, width) or step < channels * width or len(message.data) != height * step:
        raise PictureError(
            f"layout: expected {height} rows of at least {channels * width} bytes, "
            f"got {len(message.data)} bytes in rows of {step}"
        )
    rows = np.frombuffer(bytes(message.data), np.uint8).reshape(height, step)
    image = rows[:, : channels * width].reshape(height, width, channels)
    return np.ascontiguousarray(image[..., order])


def _decompress(message: Any) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(bytes(message.data)), formats=("JPEG", "PNG")) as picture:
            if max(picture.size) > MAX_SIDE_PX:  # a few bytes can stand for gigabytes
                width, height = picture.size
                raise PictureError(
                    f"size: expected at most {MAX_SIDE_PX} pixels a side, got {width} x {height}"
                )
            return np.asarray(picture.convert("RGB"))
    except PictureError:
        raise
    except Exception as error:  # damaged bytes raise whatever they lead to
        raise PictureError(
            f"format {message.format!r}: expected JPEG or PNG that can be decoded: {error}"
        ) from error


def resized(image: NDArray[np.uint8], height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Stretched to a size, smoothly; 0, 0: as it is."""
    if not height_px or image.shape[:2] == (height_px, width_px):
        return image
    picture = Image.fromarray(image).resize((width_px, height_px), Image.Resampling.BILINEAR)
    return np.asarray(picture)
