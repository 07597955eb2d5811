"""Errors of the lab."""

from __future__ import annotations

from p2pinfer.errors import P2PInferError


class LabError(P2PInferError):
    """The lab can't do a request, or its router has ended."""


class LabUnavailableError(LabError):
    """The lab can't run here at all: tests skip with this message."""
