"""POST /v1/embeddings."""

import asyncio
from collections.abc import AsyncGenerator

from litestar import Response, post

from adapters.base import EmbeddingAdapter, EmbeddingRequest, EmbeddingResult
from compat import embeddings
from server.http import replies
from server.http.request import AnyRequest
from server.http.streaming import collect
from server.services import Services


@post("/v1/embeddings", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[bytes]:
    """Computes the embeddings of texts."""
    call = await services.bodies.parsed(request, embeddings.parse)
    model = services.pool.find(call.model, EmbeddingAdapter).name
    events = services.pool.stream(model, EmbeddingAdapter, lambda adapter: _embed(adapter, call.request))
    (result,) = await collect(request, events)
    services.metrics.tokens.labels(model, "read").inc(result.usage.prompt_tokens)
    if embeddings.is_large(call, result):
        return replies.json(await asyncio.to_thread(embeddings.render, call, model, result))
    return replies.json(embeddings.render(call, model, result))


async def _embed(adapter: EmbeddingAdapter, request: EmbeddingRequest) -> AsyncGenerator[EmbeddingResult]:
    """A stream of one event, so that the pool retries when memory runs out."""
    yield await adapter.embed(request)
