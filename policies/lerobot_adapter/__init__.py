"""Any LeRobot checkpoint (ACT, Diffusion, SmolVLA, ...) as one of our policies."""
