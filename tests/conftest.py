"""What holds for the whole suite."""

import os
import signal
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# Started in the background of a shell script, the suite inherits an ignored Ctrl-C and would hand that on to every program
# it starts, so that tests of Ctrl-C wait for ever. A handler of our own becomes the default again in those programs.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, not about the property. CI tries the same examples every
# time, so that a change is judged by what it changed; everywhere else new ones are tried.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture
def usual_logging() -> Iterator[None]:
    """For tests that listen to the log: as nobody has configured it, whatever ran before in this process."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)
