"""One session whose rows are independent texts, and the thread that sends its steps and takes the answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from p2pinfer.client.batching.named_prefix import named_prefix
from p2pinfer.client.batching.row import Part, Row, RowStep
from p2pinfer.client.batching.row_job import CLOSED, RouteEvent, RowJob
from p2pinfer.client.batching.row_table import RowTable
from p2pinfer.client.batching.session_environment import SessionEnvironment
from p2pinfer.client.chain.chain import Chain, HopWays
from p2pinfer.client.chain.hop import Hop
from p2pinfer.client.chain.session_shape import SessionShape
from p2pinfer.client.failover.step_pipeline import StepPipeline, StepRequest
from p2pinfer.client.failover.unbroken_chain import UnbrokenChain
from p2pinfer.errors import HopFailedError, P2PInferError, RefusedError, UsageError
from p2pinfer.model.engine.base import Hidden
from p2pinfer.threads import tell
from p2pinfer.wire.prefix_steps import Feed
from p2pinfer.wire.step_kind import StepKind
from p2pinfer.wire.steps import Outputs, RowChunk

logger = logging.getLogger(__name__)


class RowSession:
    """Grows the texts of its jobs until `close`. All methods are for the loop that submits jobs.

    A job whose text doesn't fit a row any more is handed to `on_outgrown`, one that gives way to
    `on_gave_way`, all whose session can't be opened to `on_unopened`; one whose route can't be mended gets
    the error. `on_room` is called when a job has ended here, whatever its end.
    """

    def __init__(
        self,
        environment: SessionEnvironment,
        shape: SessionShape,
        *,
        opening_seconds: float | None,
        on_room: Callable[[RowSession], None],
        on_outgrown: Callable[[RowJob], None],
        on_gave_way: Callable[[RowJob], None],
        on_unopened: Callable[[RowSession, Sequence[RowJob], Exception], None],
    ) -> None:
        """`opening_seconds` is how long to wait for servers; None: with all patience."""
        self.shape = shape
        self.jobs: dict[RowJob, None] = {}
        """Those that were submitted, and have not ended here, in this order."""
        self.is_opening = False
        """True while the first jobs wait until servers have taken the session."""
        self.has_failed = False
        """True from an error on that ended its jobs: take another session."""
        self.is_leaving = False
        """True from `leave` on: it takes no more jobs."""
        self.unused_since = environment.loop.time()
        """When the last job ended."""
        self._was_opened_once = False
        self._environment = environment
        self._opening_seconds = opening_seconds
        self._on_room = on_room
        self._on_outgrown = on_outgrown
        self._on_gave_way = on_gave_way
        self._on_unopened = on_unopened
        self._network = environment.network
        index = None if environment.prefixes is None else environment.prefixes.index
        self._table = RowTable(shape.rows, index=index, reuses=environment.reuses)
        self._table_lock = threading.Lock()  # the event loop of the network reads what the rows hold
        self._turn = threading.Lock()
        self._unbroken = UnbrokenChain(
            self._network,
            environment.manifest,
            environment.patience,
            embed=self._embed,
            held=self._held,
            turn=self._turn,
        )
        self._pipeline: StepPipeline[RowStep] = StepPipeline(self._network, self._unbroken)
        self._inbox: queue.SimpleQueue[RowJob | None] = queue.SimpleQueue()
        self._is_closing = False
        self._known_hops: list[Hop] = []
        self._last_answer = 0.0
        self._told: dict[RowJob, None] = {}
        self._thread = threading.Thread(target=self._run_forever, name="p2pinfer-texts", daemon=True)
        self._thread.start()

    @property
    def submitted(self) -> int:
        """How many jobs there are."""
        return len(self.jobs)

    @property
    def free_rows(self) -> int:
        """Rows for more jobs."""
        is_open = not (self._is_closing or self.has_failed or self.is_leaving)
        return self.shape.rows - self.submitted if is_open else 0

    def cached(self, job: RowJob) -> int:
        """How many leading tokens of a text its servers have in some row, or are about to have."""
        with self._table_lock:
            return self._table.cached(job.tokens, job.scope)

    def submit(self, job: RowJob) -> None:
        """Let the job's text grow in a free row."""
        self.jobs[job] = None
        self.is_opening = not self._was_opened_once and not self.has_failed
        self._inbox.put(job)

    def leave(self) -> None:
        """Let all jobs give way, soon: what they have is kept at the hops if it can be."""
        self.is_leaving = True
        for job in self.jobs:
            job.gives_way = True

    @property
    def hops(self) -> list[Hop]:
        """The present route; empty before the first step."""
        return [hop for hop, _ in self.reached_hops]

    @property
    def reached_hops(self) -> list[tuple[Hop, HopWays]]:
        """The present route, and how its hops are reached."""
        chain = self._unbroken.chain
        return [(hop, chain.ways_to(hop)) for hop in chain.hops] if chain is not None else []

    def close(self) -> None:
        """End it, and free the servers' caches, soon. Its jobs get a UsageError."""
        self._is_closing = True
        self._inbox.put(None)
        self._network.call_soon(partial(self._unbroken.interrupt, UsageError(CLOSED)))

    # The session's thread.

    def _run_forever(self) -> None:
        while not self._is_closing:
            try:
                self._accept(wait=not self._table.active)
                if not self._table.active or self._is_closing:
                    continue
                self._take_turn()
                try:
                    self._look_at_idle_hops()
                    while (self._table.active or self._table.is_keeping) and not self._is_closing:
                        self._go_on()
                        self._accept(wait=False)
                finally:
                    self._turn.release()
            except (Exception, asyncio.CancelledError) as error:  # whoever waits has to be told, always
                if not isinstance(error, P2PInferError | asyncio.CancelledError):
                    logger.exception("a session's thread has failed")
                self._fail(error if isinstance(error, Exception) else UsageError(CLOSED))
        self._fail(UsageError(CLOSED))

    def _take_turn(self) -> None:
        if not self._turn.acquire(blocking=False):  # the idle session's hops are being switched
            self._network.run(self._unbroken.handover.finish_switch())
            self._turn.acquire()
        self._last_answer = self._network.now()

    def _look_at_idle_hops(self) -> None:
        chain = self._unbroken.chain
        if chain is not None and any(hop.failure is not None for hop in chain.hops):
            self._drop()  # an idle session has ended: what it held isn't worth a replay
        elif chain is not None and chain.hops is not self._known_hops:
            self._known_hops = chain.hops  # what happened while nobody waited is no news
            self._send_again()

    def _accept(self, *, wait: bool) -> None:
        """Take new jobs, if need be after waiting for one; drop those that nobody waits for."""
        while True:
            try:
                job = self._inbox.get(block=wait)
            except queue.Empty:
                break
            if job is None:
                return
            with self._table_lock:
                self._table.begin(job)
            wait = False
        for row in self._table.active:
            if row.job is None:
                continue
            if row.job.is_cancelled:
                self._end_job(row)
            elif row.job.gives_way:
                self._give_way(row, row.job)
        self._deliver()

    def _go_on(self) -> None:
        """Send what can be sent, and take one answer."""
        chain = self._unbroken.chain or self._open()
        try:
            handover = self._unbroken.handover
            if handover.has_successor and not self._pipeline:
                self._network.run(handover.switch())
                self._send_again()  # what nobody waited for any more, and new hops have not got
            while not handover.has_successor and (step := self._next_step(chain)) is not None:
                self._send(chain, step)
            if self._pipeline:
                self._take(chain)
        except (HopFailedError, RefusedError) as error:
            if not self._table.active:
                self._drop()  # what nobody waits for isn't worth a replay
                return
            self._pipeline.forget()
            self._send_again()
            self._network.run(self._unbroken.recover(error))

    def _open(self) -> Chain:
        chain = self._network.run(self._unbroken.open(self.shape, seconds=self._opening_seconds))
        self._known_hops = chain.hops
        self._tell(self._was_opened)
        return chain

    def _next_step(self, chain: Chain) -> RowStep | None:
        under_way = self._pipeline.notes
        return self._table.next_step(
            depth=len(chain.hops),
            decodes=sum(step.kind is StepKind.DECODE for step in under_way),
            prompt_tokens=sum(step.prompt_tokens for step in under_way),
            max_tokens=chain.max_step_tokens,
        )

    def _send(self, chain: Chain, step: RowStep) -> None:
        if step.kind is StepKind.FORK:
            self._table.sent(step)
            self._pipeline.fork(chain, step.forks, step)
            return
        if not step.kind.brings_hidden:
            self._send_prefix(chain, step)
            return
        tokens = [part.row.tokens[part.start : part.end] for part in step.parts]
        hidden = self._embed([token for some in tokens for token in some])  # all at once: it is cheaper
        chunks, start = [], 0
        for part, some in zip(step.parts, tokens, strict=True):
            chunks.append(RowChunk(part.row.index, part.start, hidden[start : start + len(some)]))
            start += len(some)
        request = StepRequest(
            kind=step.kind,
            chunks=chunks,
            outputs=Outputs.LAST if step.is_answered else Outputs.NONE,
            answered_tokens=len(step.parts) if step.is_answered else 0,
        )
        self._table.sent(step)
        self._pipeline.send(chain, request, step)

    def _send_prefix(self, chain: Chain, step: RowStep) -> None:
        """Send a KEEP, RECALL or FEED step."""
        self._table.sent(step)
        if step.feed is not None:
            part = step.parts[0]
            feed = Feed(part.row.index, part.start, part.end, step.feed.hop)
            self._pipeline.feed(chain, feed, step)
            return
        prefixes = self._environment.prefixes
        assert prefixes is not None, "a table without an index keeps nothing"
        self._pipeline.prefix(chain, step.kind, named_prefix(step, prefixes.names, chain.hops), step)

    def _take(self, chain: Chain) -> None:
        step, hidden, lacking = self._pipeline.take(chain)
        now = self._network.now()
        self._note_replaced(chain, now - self._last_answer)
        self._last_answer = now
        with self._table_lock:
            valid = set(self._table.answered(step, lacking))
        growing = [(index, part) for index, part in enumerate(step.parts) if part in valid and part.is_last]
        if growing:
            self._grow(hidden[[index for index, _ in growing]], [part for _, part in growing])
        self._deliver()

    def _grow(self, hidden: Hidden, parts: Sequence[Part]) -> None:
        """Let the texts go on whose next scores are there."""
        scores = self._environment.ends.logits(hidden)
        for part, logits in zip(parts, scores, strict=True):
            row, job = part.row, part.row.job
            if job is None or job.is_cancelled:
                continue
            try:
                token = job.continuation.advance(logits)
            except Exception as error:  # noqa: BLE001  the text's own fault, and not that of its neighbours
                job.error = error
                token = None
            self._told[job] = None
            if token is None:
                job.has_ended = True
                self._end_job(row)
                continue
            job.tokens.append(token)
            if len(job.tokens) > self.shape.max_tokens:
                self._tell(self._on_outgrown, job)  # first: it goes on before others get its row
                self._end_job(row)
            else:
                row.tokens.append(token)

    def _end_job(self, row: Row) -> None:
        job = row.job
        with self._table_lock:
            self._table.end(row)
        if job is not None:
            self._tell(self._job_ended, job)

    def _give_way(self, row: Row, job: RowJob) -> None:
        """Let the job go on later: what its row holds stays there, for as long as nobody needs it."""
        self._end_job(row)
        self._tell(self._on_gave_way, job)

    def _note_replaced(self, chain: Chain, seconds: float) -> None:
        """Tell the texts if other servers have come into the route since the last answer."""
        if chain.hops is self._known_hops:
            return
        before = [hop.peer_id for hop in self._known_hops]
        now = [hop.peer_id for hop in chain.hops]
        self._known_hops = chain.hops
        if before == now:
            return
        left = tuple(peer for peer in before if peer not in now)
        joined = tuple(peer for peer in now if peer not in before)
        for row in self._table.active:
            if (job := row.job) is not None:
                job.replaced.append(
                    RouteEvent(left=left, joined=joined, seconds=seconds, after_tokens=job.new_tokens)
                )

    def _fail(self, error: Exception) -> None:
        """Tell every job, and begin anew."""
        was_closing = self._is_closing  # a session that has failed is closed as well, when its jobs are gone
        was_open = self._unbroken.chain is not None and bool(self._unbroken.chain.hops)
        self.has_failed = True
        rows = self._table.active
        jobs = [row.job for row in rows if row.job is not None]
        came_later = []
        while not self._inbox.empty():
            if (job := self._inbox.get()) is not None:
                came_later.append(job)
        # What becomes of the jobs is decided before others get the rows that they leave.
        jobs += came_later
        if was_open or was_closing:
            for job in jobs:
                job.error, job.has_ended = error, True
                self._told[job] = None
        elif jobs:
            self._tell(self._on_unopened, self, jobs, error)
        for row in rows:
            self._end_job(row)
        for job in came_later:
            self._tell(self._job_ended, job)
        self._deliver()
        self._drop()

    def _drop(self) -> None:
        self._pipeline.forget()
        with self._table_lock:
            self._table.forget()
        if self._network.is_running:  # else the servers free their memory when the lease ends
            with contextlib.suppress(P2PInferError):  # closed meanwhile: its end closes the chain as well
                self._network.run(self._unbroken.close())

    def _send_again(self) -> None:
        with self._table_lock:
            self._table.send_again()

    def _deliver(self) -> None:
        """Tell the loop of all jobs with news, at once: a call of its own for each would cost more."""
        if self._told:
            jobs, self._told = list(self._told), {}
            self._tell(_tell_jobs, jobs)

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        tell(self._environment.loop, callback, *arguments)

    def _embed(self, tokens: Sequence[int]) -> Hidden:
        return self._environment.ends.embed(np.asarray(tokens, dtype=np.int64))

    def _held(self) -> list[list[int]]:
        with self._table_lock:
            return self._table.held()

    # In the loop again.

    def _was_opened(self) -> None:
        self.is_opening, self._was_opened_once = False, True
        self._on_room(self)

    def _job_ended(self, job: RowJob) -> None:
        del self.jobs[job]
        self.unused_since = self._environment.loop.time()
        # If all were cancelled before servers were asked, it is opened when the next one comes.
        self.is_opening = self.is_opening and not self.has_failed and self.submitted > 0
        self._on_room(self)


def _tell_jobs(jobs: Sequence[RowJob]) -> None:
    for job in jobs:
        job.on_news()
