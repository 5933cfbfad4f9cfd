"""Generative world models: what the robot's camera will show, and whether the task will be done.

Importing this package registers `VlaRos/Imagined-v0` with Gymnasium.
"""

from gymnasium.envs.registration import register, registry

IMAGINED_ENV_ID = "VlaRos/Imagined-v0"  # gymnasium.make(IMAGINED_ENV_ID, model=DIR, dataset=DIR)
if IMAGINED_ENV_ID not in registry:
    register(id=IMAGINED_ENV_ID, entry_point="world_models.env:make_imagined")
