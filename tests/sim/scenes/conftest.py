"""A small scene file's content, to be changed by a test."""

import copy

import pytest

from sim.scenes.parse import parse

CONTENT = {
    "instruction": "put the {red cube} into the {blue bowl}",
    "objects": [
        {"kind": "bowl", "color": "blue", "x_m": 0.5, "y_m": -0.1},
        {"kind": "cube", "color": "red", "x_m": 0.5, "y_m": 0.1},
    ],
    "success": [{"inside": {"item": "red cube", "container": "blue bowl"}}],
}


@pytest.fixture
def content():
    return copy.deepcopy(CONTENT)


@pytest.fixture
def described(content):
    """described(objects, success, **more) -> Description, with an instruction that fits any."""

    def make(objects, success=None, **more):
        wanted = success or [{"lifted": {"item": objects[-1].get("name", "red cube")}}]
        return parse({"instruction": "do it", "objects": objects, "success": wanted, **more}, "f")

    return make
