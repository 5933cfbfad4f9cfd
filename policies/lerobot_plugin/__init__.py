"""OpenVLA as a policy type of LeRobot: `--policy.discover_packages_path=policies.lerobot_plugin`.

LeRobot imports this package, finds the type `openvla` registered, and from the name of the
configuration's module those of the network (`modeling_openvla`) and of the processors
(`processor_openvla`).
"""

from policies.lerobot_plugin.configuration_openvla import OpenVLALeRobotConfig

__all__ = ["OpenVLALeRobotConfig"]
