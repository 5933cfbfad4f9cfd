"""What holds for all tests."""

import signal

from hypothesis import HealthCheck, settings

import sim  # noqa: F401  (chooses how to draw before anything imports MuJoCo)

# A shell that runs the tests in the background lets them ignore Ctrl-C, and every process they
# start inherits that; the tests of what Ctrl-C does need it to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test depends on the wall clock, and the same commit passes or fails for everybody. Other
# examples: --hypothesis-profile=default.
settings.register_profile(
    "vla_ros", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("vla_ros")
