"""What is wrong with a checkpoint folder."""


class CheckpointError(ValueError):
    """A checkpoint folder that cannot be used; the message says what was expected."""
