"""The tabletop tasks as an environment type of LeRobot: `--env.type=vla_ros`, found through
`--env.discover_packages_path=sim.lerobot_plugin`. That registers our policy type, too.
"""

import policies.lerobot_plugin  # noqa: F401
from sim.lerobot_plugin.configuration import VlaRosEnvConfig

__all__ = ["VlaRosEnvConfig"]
