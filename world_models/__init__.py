"""Generative world models: what the robot's camera will show, and whether the task will be done."""
