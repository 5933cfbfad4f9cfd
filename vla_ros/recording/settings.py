"""How to record; what is wrong with it is said before anything starts."""

from __future__ import annotations

from dataclasses import dataclass

from vla_ros.recording.mapping import image_feature
from vla_ros.topics import check_cameras


@dataclass(frozen=True)
class Settings:
    """How to record."""

    cameras: tuple[str, ...]  # the first one's images set the instants of the rows
    rate_hz: int = 10
    max_gap_s: float = 0.5  # longer without an image or joint state: the episode is thrown away
    min_rows: int = 5

    def __post_init__(self) -> None:
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError(
                f"cameras: expected at least one, each once, got {', '.join(self.cameras) or None}"
            )
        check_cameras(self.cameras)
        if len(set(map(image_feature, self.cameras))) != len(self.cameras):
            raise ValueError(
                "cameras: expected names that differ in more than / and _, which are one in a "
                f"dataset, got {', '.join(self.cameras)}"
            )
        if not 1 <= self.rate_hz <= 100:
            raise ValueError(f"rate_hz: expected 1 to 100, got {self.rate_hz}")
        if not 0.0 < self.max_gap_s <= 10.0:
            raise ValueError(f"max_gap_s: expected 0 to 10 s, got {self.max_gap_s:g}")
