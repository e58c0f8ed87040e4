"""Request ids, timing headers, Prometheus metrics and request logs.

No metric, label or log line contains keys, prompts, answers or file names.
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
from compat.wire import ignored, reply_headers
from server.http.errors import send_error, to_wire_error

log = structlog.get_logger()
UNKNOWN_ROUTE = "unknown"
MAX_LOGGED = 1024
"""Clients and ignored fields that are remembered."""


class Metrics:
    """The server's Prometheus metrics, in their own registry."""

    def __init__(self) -> None:
        """Registers all metrics."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "muybridge_requests", "Finished requests.", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "muybridge_request_seconds",
            "Seconds from the request's head to the last byte of its reply.",
            ["route"],
            buckets=(0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
            registry=self.registry,
        )
        self.first_byte = Histogram(
            "muybridge_first_byte_seconds",
            "Seconds from the request's head to the first byte of the reply's body.",
            ["route"],
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.running = Gauge("muybridge_requests_running", "Requests being answered.", registry=self.registry)
        self.tokens = Counter(
            "muybridge_tokens",
            "Prompt tokens read and completion tokens written.",
            ["model", "direction"],
            registry=self.registry,
        )
        self.models = Gauge(
            "muybridge_model_state",
            "1 for the current state of a model, 0 for all other states.",
            ["model", "state"],
            registry=self.registry,
        )
        self.leases = Gauge(
            "muybridge_model_leases", "Requests that use a model at the moment.", ["model"], registry=self.registry
        )
        self.memory = Gauge(
            "muybridge_model_memory_bytes",
            "Memory that is reserved for a model, and its highest measured use.",
            ["model", "which"],
            registry=self.registry,
        )
        self.videos = Gauge("muybridge_videos", "Video jobs by status.", ["status"], registry=self.registry)
        self._of_request: dict[tuple[str, str, int], tuple[Counter, Histogram, Histogram]] = {}
        self._of_model: dict[str, tuple[Counter, Counter]] = {}

    def count_tokens(self, model: str, read: int, written: int) -> None:
        """Counts a model's tokens.

        Args:
            model: A served name.
            read: Prompt tokens.
            written: Completion tokens of all choices.
        """
        if (counts := self._of_model.get(model)) is None:
            counts = self._of_model[model] = (self.tokens.labels(model, "read"), self.tokens.labels(model, "written"))
        counts[0].inc(read)
        counts[1].inc(written)

    def count_request(self, route: str, method: str, status: int, seconds: float, first_s: float | None) -> None:
        """Counts a finished request.

        Args:
            route: The route's template, not the raw path, which would create unlimited series.
            method: A method of HTTP.
            status: The status of the reply; 0 when nothing was sent.
            seconds: From the head to the last byte.
            first_s: From the head to the first byte of the body; None when there was no body.
        """
        key = (route, method, status)
        if (counts := self._of_request.get(key)) is None:  # a lookup by labels costs more than counting
            requests = self.requests.labels(route, method, str(status))
            counts = (requests, self.seconds.labels(route), self.first_byte.labels(route))
            self._of_request[key] = counts
        requests, whole, first = counts
        requests.inc()
        whole.observe(seconds)
        if first_s is not None:
            first.observe(first_s)


class RequestMiddleware:
    """The outermost ASGI middleware: request ids, timing, metrics, a log line, and replies to uncaught exceptions."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, refuse_unknown_fields: bool = False) -> None:
        """Wraps the whole application.

        Args:
            app: The application.
            metrics: Where requests are counted.
            refuse_unknown_fields: Whether an unknown field is a 400, instead of being ignored and named in a header.
        """
        self._app = app
        self._metrics = metrics
        self._refuse_unknown_fields = refuse_unknown_fields
        self._logged: set[tuple[str, str]] = set()
        """Clients and the ignored fields that were logged for them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles the request, and replies with an error to any exception of the application."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id = f"req_{os.urandom(16).hex()}"
        scope.setdefault("state", {})  # pyright: ignore[reportArgumentType] - not all servers set it
        scope["state"]["request_id"] = request_id
        structlog.contextvars.bind_contextvars(
            request_id=request_id
        )  # each request has its own task, so this affects no other one
        ignored_fields: list[str] = []
        ignored.set(None if self._refuse_unknown_fields else ignored_fields)
        added_headers: dict[str, str] = {}
        reply_headers.set(added_headers)
        started = time.perf_counter()
        reply: dict[str, Any] = {"status": 0, "first": None}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                reply["status"] = message["status"]
                elapsed_ms = (time.perf_counter() - started) * 1000
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                    (b"openai-processing-ms", f"{elapsed_ms:.0f}".encode()),
                    (b"openai-version", b"2020-10-01"),
                ]
                message["headers"].extend((name.encode(), value.encode()) for name, value in added_headers.items())
                if ignored_fields:
                    shown = ",".join(quote(name[:MAX_SHOWN], safe="") for name in ignored_fields)
                    message["headers"].append((b"x-muybridge-ignored", shown.encode()))
                    self._log_ignored(scope, shown)
            elif reply["first"] is None:
                reply["first"] = time.perf_counter() - started
            await send(message)

        method = scope["method"]
        self._metrics.running.inc()
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            shown = to_wire_error(error)
            if not reply["status"]:
                await send_error(send_with_headers, shown)
        finally:
            self._metrics.running.dec()
            route = str(cast(dict[str, Any], scope).get("path_template") or UNKNOWN_ROUTE)
            seconds = time.perf_counter() - started
            self._metrics.count_request(route, method, reply["status"], seconds, reply["first"])
            log.info("request", method=method, route=route, status=reply["status"], ms=round(seconds * 1000, 1))
        return None

    def _log_ignored(self, scope: Scope, names: str) -> None:
        """One line for each client, which is a key and a user agent, and the same ignored fields."""
        agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"").decode("latin-1")[:128]
        client = f"{scope['state'].get('owner', '')} {agent}"
        if (client, names) not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add((client, names))
            log.info("ignored fields", fields=names, user_agent=agent)


def configure_logs(level: str, style: str) -> None:
    """Sets up structured logs on standard error: readable lines ("console") or JSON objects ("json").

    Loggers of the standard library, such as those of engines, use the same renderer. Both renderers escape control
    characters in values, so no request can forge a log line.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks: structlog's default ones show local variables, which contain prompts and keys.
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
