"""LeRobot's checkpoints (ACT, Diffusion, ...) as policies of ours; refusals: docs/lerobot.md."""
