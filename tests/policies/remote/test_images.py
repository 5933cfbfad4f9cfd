"""Raw and JPEG images, and what is neither."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from policies.interface import ObservationError
from policies.remote.images import decode_image, encode_jpeg


def test_a_raw_image_is_taken_as_it_is() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert decode_image(image, "k") is image


def test_jpeg_is_close_and_smaller() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=-1)
    data = encode_jpeg(image)
    found = decode_image(data, "k")
    assert found.shape == image.shape
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - image.astype(int)).mean() < 2
    assert len(data) < image.nbytes / 4


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            np.zeros((4, 4, 3), np.float32),
            "expected uint8 of shape (height, width, 3), got float32",
        ),
        (np.zeros((3, 4, 4), np.uint8), "got uint8 of shape (3, 4, 4)"),
        (np.zeros((4, 4), np.uint8), "got uint8 of shape (4, 4)"),
        (np.zeros((0, 4, 3), np.uint8), "1 to 4096 pixels"),
        (np.zeros((1, 5000, 3), np.uint8), "1 to 4096 pixels a side, got 5000 x 1"),
        ("text", "got str"),
        (None, "got NoneType"),
        (b"", "expected a JPEG file"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 50, "expected a JPEG file"),
        (encode_jpeg(np.zeros((64, 64, 3), np.uint8))[:300], "expected a JPEG file"),
        (png(), "expected a JPEG file"),
    ],
)
def test_what_is_no_image_is_refused_by_its_key(value: object, said: str) -> None:
    with pytest.raises(ObservationError) as caught:
        decode_image(value, "observation/image")
    assert str(caught.value).startswith("observation/image: ")
    assert said in str(caught.value)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (5000, 16)).save(buffer, "JPEG")
    with pytest.raises(ObservationError, match="1 to 4096 pixels a side, got 5000 x 16"):
        decode_image(buffer.getvalue(), "k")
