"""The tabletop tasks as an environment type of LeRobot: `--env.type=vla_ros`, found through
`--env.discover_packages_path=sim.lerobot_plugin`.
"""

from sim.lerobot_plugin.configuration import VlaRosEnvConfig

__all__ = ["VlaRosEnvConfig"]
