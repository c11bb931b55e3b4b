"""What holds for all tests."""

import signal

from hypothesis import HealthCheck, settings

# Property tests try the same examples each time, however long these take.
# `--hypothesis-profile=thorough` tries ten times as many.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("repeatable"), max_examples=1000)
settings.load_profile("repeatable")

# A shell lets its background jobs ignore Ctrl-C, and these let all that they start: also what a
# test ends with Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
