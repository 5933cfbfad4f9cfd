"""The Foxglove layout shows topics that exist, and every panel it configures."""

import json
import re
from pathlib import Path

from sim.scene import CAMERAS
from vla_ros import topics

LAYOUT = Path(__file__).resolve().parents[3] / "config" / "foxglove_layout.json"


def panels(tree):
    if isinstance(tree, str):
        return [tree]
    return panels(tree["first"]) + panels(tree["second"])


def test_every_panel_is_placed_and_every_topic_is_one_of_ours():
    layout = json.loads(LAYOUT.read_text())
    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])
    known = {value for name, value in vars(topics).items() if name.isupper()}
    known |= {topics.image_topic(camera) for camera in CAMERAS}
    used = set(re.findall(r'"(/[a-z_/]+)', LAYOUT.read_text()))
    assert used - known == set()
    assert {topics.IMAGINED, topics.EMERGENCY_STOP, topics.DIAGNOSTICS} <= used
