"""What holds for all tests."""

import signal

# A shell that runs the tests in the background lets them ignore Ctrl-C, and every process they
# start inherits that; the tests of what Ctrl-C does need it to arrive.
signal.signal(signal.SIGINT, signal.default_int_handler)
