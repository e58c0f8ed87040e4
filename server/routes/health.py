"""GET /health, /health/live, /health/ready, /metrics."""

from contextlib import suppress

from litestar import Response, get, route
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from compat.errors import RequestError
from server.http import replies
from server.http.drain import Lifecycle
from server.services import Services

STATES = ("unloaded", "loading", "ready", "draining", "unloading", "failed")


@route("/health/live", http_method=replies.READ)
async def live() -> Response[bytes]:
    """200 while the process runs."""
    return replies.json({"status": "ok"})


@route(["/health", "/health/ready"], http_method=replies.READ)
async def ready(lifecycle: Lifecycle) -> Response[bytes]:
    """200 while new requests are accepted; 503 while the server shuts down. `/health` is its path in vLLM's server."""
    if lifecycle.draining:
        raise RequestError("The server is shutting down and accepts no new requests.", code="draining", status=503)
    return replies.json({"status": "ok"})


@get("/metrics")
async def metrics(services: Services) -> Response[bytes]:
    """The metrics, in Prometheus' text format."""
    metrics = services.metrics
    for slot in services.pool.slots:
        metrics.leases.labels(slot.name).set(slot.leases)
        metrics.memory.labels(slot.name, "reserved").set(slot.reserved_bytes)
        metrics.memory.labels(slot.name, "peak").set(slot.peak_bytes or 0)
        for state in STATES:
            metrics.models.labels(slot.name, state).set(slot.state == state)
    with suppress(RequestError):  # the database fails: the other metrics are still reported
        for status, count in (await services.jobs.count()).items():
            metrics.videos.labels(status).set(count)
    return replies.raw(generate_latest(metrics.registry), CONTENT_TYPE_LATEST)
