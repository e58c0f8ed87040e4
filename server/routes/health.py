"""GET /health/live, /health/ready, /metrics."""

from contextlib import suppress

from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from compat.errors import RequestError
from server.http import replies
from server.http.drain import Lifecycle
from server.services import Services

STATES = ("unloaded", "loading", "ready", "draining", "unloading", "failed")


@get("/health/live")
async def live() -> Response[bytes]:
    """200 while the process answers at all."""
    return replies.json({"status": "ok"})


@get("/health/ready")
async def ready(lifecycle: Lifecycle) -> Response[bytes]:
    """200 while new requests are welcome; 503 while the server drains."""
    if lifecycle.draining:
        raise RequestError("The server is shutting down.", code="draining", status=503)
    return replies.json({"status": "ok"})


@get("/metrics")
async def metrics(services: Services) -> Response[bytes]:
    """The metrics, as Prometheus reads them."""
    known = services.metrics
    for slot in services.pool.slots:
        known.leases.labels(slot.name).set(slot.leases)
        known.memory.labels(slot.name, "reserved").set(slot.reserved_bytes)
        known.memory.labels(slot.name, "peak").set(slot.peak_bytes or 0)
        for state in STATES:
            known.models.labels(slot.name, state).set(slot.state == state)
    with suppress(RequestError):  # the database fails: the other metrics say so
        for status, count in (await services.jobs.count()).items():
            known.videos.labels(status).set(count)
    return replies.raw(generate_latest(known.registry), CONTENT_TYPE_LATEST)
