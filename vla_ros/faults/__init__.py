"""Breaks the running graph on purpose and watches what the robot is told: the fault campaign."""
