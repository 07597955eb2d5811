"""Sets the duty of the computing thread as the owner's limits ask for. What to set is decided in duty.py."""

from __future__ import annotations

from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.verdict import Limits
from p2pinfer.server.housekeeping.consumption import Drawn
from p2pinfer.server.housekeeping.duty import Machine, Measured, decide_duty
from p2pinfer.server.housekeeping.ready_server import ReadyServer
from p2pinfer.server.machine.processors import processors


class DutyControl:
    """Holds the limits during one serving period."""

    def __init__(self, threads: int | None) -> None:
        """`threads` of the engine; None: as many as there are processors."""
        self.trouble: str | None = None
        """Why the power cap isn't held; None: it is held, or there is none."""
        self._threads = threads
        self._capped_duty: float | None = None
        self._busy_seconds = 0.0  # of the engine, up to the last call

    def hold(self, server: ReadyServer, limits: Limits, policy: Policy, drawn: Drawn) -> None:
        """Set the duty anew. A change is announced: clients count on the speed that the record names."""
        runner = server.runner
        busy, self._busy_seconds = runner.busy_seconds - self._busy_seconds, runner.busy_seconds
        number = processors()
        machine = Machine(
            processors=number,
            threads=self._threads or number,
            idle_watts=policy.idle_watts,
            watts_per_core=policy.watts_per_core,
        )
        measured = Measured(seconds=drawn.seconds, watts=drawn.watts, busy_seconds=busy)
        decision = decide_duty(self._capped_duty, limits, machine, measured)
        self._capped_duty, self.trouble = decision.capped_duty, decision.trouble
        if decision.duty != runner.duty:
            runner.set_duty(decision.duty)
            server.announce_soon()
