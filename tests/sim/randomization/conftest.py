"""Chooses how to render before a test module imports MuJoCo, which settles it."""

import sim  # noqa: F401
