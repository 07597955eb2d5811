"""Keeps libraries from logging into a web program's output. Call it before they are imported."""

from __future__ import annotations

import logging
import os

from p2pinfer.command_line.log.setup import log_to
from p2pinfer.command_line.output import complain


def quiet_libraries(own: str) -> None:
    """Log warnings, of p2pinfer only errors, but of its package `own` everything that is of interest.

    What the swarm can't do is no news for the log: the program's answers say it.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    log_to(complain)
    logging.getLogger("p2pinfer").setLevel(logging.ERROR)
    logging.getLogger(own).setLevel(logging.INFO)
