"""Request ids, timing headers, Prometheus metrics and logs: what the operator sees of a request.

Never in a metric, a label or a log line: keys, prompts, answers, file names.
"""

import logging
import os
import sys
import time
from typing import Any, cast
from urllib.parse import quote

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from compat.validation import MAX_SHOWN
from compat.wire import ignored
from server.http.errors import as_wire, send_error

log = structlog.get_logger()
UNKNOWN_ROUTE = "unknown"


class Metrics:
    """The server's Prometheus metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Registers all of them."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "muybridge_requests", "Finished requests.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "muybridge_request_seconds",
            "From the request's head to the last byte of its reply.",
            ["route"],
            buckets=(0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
            registry=self.registry,
        )
        self.first_byte = Histogram(
            "muybridge_first_byte_seconds",
            "From the request's head to the first byte of its reply's body.",
            ["route"],
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.running = Gauge("muybridge_requests_running", "Requests being answered.", registry=self.registry)
        self.tokens = Counter(
            "muybridge_tokens", "Tokens read and written.", ["model", "direction"], registry=self.registry
        )
        self.models = Gauge(
            "muybridge_model_state", "1 for the state that a model is in.", ["model", "state"], registry=self.registry
        )
        self.leases = Gauge(
            "muybridge_model_leases", "Requests that use a model now.", ["model"], registry=self.registry
        )
        self.memory = Gauge(
            "muybridge_model_memory_bytes",
            "What a model has reserved, and the most that it was seen to hold.",
            ["model", "which"],
            registry=self.registry,
        )
        self.videos = Gauge("muybridge_videos", "Video jobs by status.", ["status"], registry=self.registry)
        self._of_request: dict[tuple[str, str, int], tuple[Counter, Histogram, Histogram]] = {}
        self._of_model: dict[str, tuple[Counter, Counter]] = {}

    def wrote(self, model: str, read: int, written: int) -> None:
        """Counts a model's tokens.

        Args:
            model: A served name.
            read: Of the prompt.
            written: Of all answers.
        """
        if (counts := self._of_model.get(model)) is None:
            counts = self._of_model[model] = (self.tokens.labels(model, "read"), self.tokens.labels(model, "written"))
        counts[0].inc(read)
        counts[1].inc(written)

    def finished(self, route: str, method: str, status: int, seconds: float, first_s: float | None) -> None:
        """Counts a request.

        Args:
            route: Its template, never the raw path: ids and attackers' strings would make endless series.
            method: One that HTTP knows.
            status: 0 where nothing was sent.
            seconds: From the head to the last byte.
            first_s: From the head to the first byte of the body; None where there was none.
        """
        key = (route, method, status)
        if (counts := self._of_request.get(key)) is None:  # Finding them by their labels costs more than counting.
            requests = self.requests.labels(route, method, str(status))
            counts = (requests, self.seconds.labels(route), self.first_byte.labels(route))
            self._of_request[key] = counts
        requests, whole, first = counts
        requests.inc()
        whole.observe(seconds)
        if first_s is not None:
            first.observe(first_s)


class RequestLog:
    """The outermost ASGI middleware: gives each request its id, times it, counts it, and catches what nobody caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, ignore_unknown_fields: bool = False) -> None:
        """Wraps the whole app.

        Args:
            app: Everything else.
            metrics: Where it counts.
            ignore_unknown_fields: Whether fields that are unknown are passed over, and named in a header.
        """
        self._app = app
        self._metrics = metrics
        self._ignore_unknown_fields = ignore_unknown_fields

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request, whatever happens behind."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id = f"req_{os.urandom(16).hex()}"
        scope.setdefault("state", {})  # pyright: ignore[reportArgumentType] - not every server sets it
        scope["state"]["request_id"] = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)  # in this request's own task, so for it alone
        passed_over: list[str] = []
        ignored.set(passed_over if self._ignore_unknown_fields else None)
        begun = time.perf_counter()
        reply: dict[str, Any] = {"status": 0, "first": None}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply["status"] = message["status"]
                elapsed_ms = (time.perf_counter() - begun) * 1000
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                    (b"openai-processing-ms", f"{elapsed_ms:.0f}".encode()),
                    (b"openai-version", b"2020-10-01"),
                ]
                if passed_over:
                    shown = ",".join(quote(name[:MAX_SHOWN], safe="") for name in passed_over)
                    message["headers"].append((b"x-muybridge-ignored-fields", shown.encode()))
            elif reply["first"] is None:
                reply["first"] = time.perf_counter() - begun
            await send(message)

        method = scope["method"]
        self._metrics.running.inc()
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            shown = as_wire(error)
            if not reply["status"]:
                await send_error(send_with_headers, shown)
        finally:
            self._metrics.running.dec()
            route = str(cast(dict[str, Any], scope).get("path_template") or UNKNOWN_ROUTE)
            seconds = time.perf_counter() - begun
            self._metrics.finished(route, method, reply["status"], seconds, reply["first"])
            log.info("request", method=method, route=route, status=reply["status"], ms=round(seconds * 1000, 1))
        return None


def configure_logs(level: str, style: str) -> None:
    """Structured logs on standard error: lines for people ("console") or JSON objects ("json").

    Standard-library loggers (the engines') come out through the same renderer. Control characters in values are
    escaped by both renderers, so no request can forge a line.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks: the renderer's own show local variables, which hold prompts and keys.
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    renderer: Any = structlog.processors.JSONRenderer() if style == "json" else console
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    formatting: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if style == "json":
        formatting.append(structlog.processors.format_exc_info)
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[*formatting, renderer])
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
