"""Figures for Prometheus. Labels are served models, endpoints and statuses: a bounded number."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from p2pinfer.openai_api.answering.choices import Usage

_FIRST_TOKEN_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120)
_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)
_LAG_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 5)


class Metrics:
    """The figures of one application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "p2pinfer_gateway_requests",
            "Requests that have ended, by HTTP status; 499: the client left.",
            ("endpoint", "model", "status"),
            registry=self._registry,
        )
        self._tokens = Counter(
            "p2pinfer_gateway_tokens",
            "Tokens of prompts, of these the cached ones, and of answers.",
            ("model", "kind"),
            registry=self._registry,
        )
        self._first_token = Histogram(
            "p2pinfer_gateway_first_token_seconds",
            "From a request to the first token of its answer.",
            ("model",),
            buckets=_FIRST_TOKEN_SECONDS,
            registry=self._registry,
        )
        self._seconds = Histogram(
            "p2pinfer_gateway_request_seconds",
            "From a request to the end of its answer.",
            ("endpoint", "model"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._running = Gauge(
            "p2pinfer_gateway_running", "Requests that get tokens.", ("model",), registry=self._registry
        )
        self._waiting = Gauge(
            "p2pinfer_gateway_waiting",
            "Requests that wait for their first token.",
            ("model",),
            registry=self._registry,
        )
        self._lag = Histogram(
            "p2pinfer_gateway_loop_lag_seconds",
            "How late the event loop was, looked at ten times a second.",
            buckets=_LAG_SECONDS,
            registry=self._registry,
        )

    def begun(self, model: str) -> None:
        """A request waits for its first token."""
        self._waiting.labels(model).inc()

    def first_token(self, model: str, seconds: float) -> None:
        """The first token of a request is there."""
        self._waiting.labels(model).dec()
        self._running.labels(model).inc()
        self._first_token.labels(model).observe(seconds)

    def ended(self, endpoint: str, model: str, *, status: int, seconds: float, had_first: bool) -> None:
        """A request that had `begun` has ended, well or not."""
        (self._running if had_first else self._waiting).labels(model).dec()
        self._requests.labels(endpoint, model, str(status)).inc()
        self._seconds.labels(endpoint, model).observe(seconds)

    def count(self, model: str, usage: Usage) -> None:
        """Add tokens."""
        self._tokens.labels(model, "prompt").inc(usage.prompt_tokens)
        self._tokens.labels(model, "cached").inc(usage.cached_tokens)
        self._tokens.labels(model, "completion").inc(usage.completion_tokens)

    def refused(self, endpoint: str, status: int) -> None:
        """A request was refused before it reached a model."""
        self._requests.labels(endpoint, "", str(status)).inc()

    def loop_was_late(self, seconds: float) -> None:
        """The event loop did something so long after it was due."""
        self._lag.observe(seconds)

    def text(self) -> tuple[bytes, str]:
        """The body and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4
