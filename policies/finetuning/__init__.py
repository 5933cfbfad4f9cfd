"""Adapting a trained policy to a robot's own demonstrations, in full or with LoRA."""
