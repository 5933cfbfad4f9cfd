"""Compressed images of a bag: what they unfold to is looked at first."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from policies.remote.images import MAX_SIDE_PX
from vla_ros.recording.pictures import PictureError, decode

KIND = "sensor_msgs/msg/CompressedImage"


def compressed(width, height, kind="PNG"):
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, kind)
    return SimpleNamespace(format="png", data=np.frombuffer(buffer.getvalue(), np.uint8))


@pytest.mark.parametrize("size", [(MAX_SIDE_PX + 1, 1), (1, MAX_SIDE_PX + 1)])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decompressed(size, monkeypatch):
    message = compressed(*size)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decompressed"))
    with pytest.raises(PictureError, match="at most 4096 pixels a side, got") as caught:
        decode(message, KIND)
    assert f"{size[0]} x {size[1]}" in str(caught.value)


def test_as_many_as_may_be_are_taken_and_damage_is_said():
    assert decode(compressed(MAX_SIDE_PX, 2), KIND).shape == (2, MAX_SIDE_PX, 3)
    broken = SimpleNamespace(format="png", data=np.zeros(10, np.uint8))
    with pytest.raises(PictureError, match="expected JPEG or PNG that can be decoded"):
        decode(broken, KIND)
