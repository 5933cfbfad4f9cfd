"""Camera images on the wire: raw arrays, which every openpi server takes, or JPEG for ours."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from policies.interface import ObservationError

ENCODINGS = ("raw", "jpeg")
JPEG_QUALITY = 92
MAX_SIDE_PX = 4096  # asked before anything is decompressed


def encode_jpeg(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """(height, width, 3) RGB as a JPEG file, colors at full resolution."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def decode_image(value: Any, name: str) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 RGB of an array or a JPEG file; errors name the key `name`."""
    if isinstance(value, bytes):
        return _decode_jpeg(value, name)
    if not isinstance(value, np.ndarray):
        raise ObservationError(
            f"{name}: expected an image (an array or JPEG bytes), got {type(value).__name__}"
        )
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
        raise ObservationError(
            f"{name}: expected uint8 of shape (height, width, 3), got {value.dtype} of shape "
            f"{value.shape}"
        )
    _check_size(value.shape[1], value.shape[0], name)
    return value


def _decode_jpeg(data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            _check_size(*image.size, name)
            return np.asarray(image.convert("RGB"))
    except ObservationError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ObservationError(f"{name}: expected a JPEG file: {error}") from error


def _check_size(width: int, height: int, name: str) -> None:
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise ObservationError(
            f"{name}: expected an image of 1 to {MAX_SIDE_PX} pixels a side, got {width} x {height}"
        )
