"""POST /v1/embeddings."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

from litestar import Response, post

from adapters.base import EmbeddingAdapter, EmbeddingRequest, EmbeddingResult
from adapters.pool.resolve import vendor_kinds
from compat import embeddings
from server.http import replies
from server.http.request import AnyRequest
from server.http.streaming import collect
from server.models.openai_ids import text_of
from server.services import Services


@post("/v1/embeddings", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[bytes]:
    """Computes the embeddings of texts."""
    call = await services.bodies.parsed(request, embeddings.parse)
    slot = services.pool.find(call.model, EmbeddingAdapter)
    model, embedded = slot.name, call.request
    if call.model != model and "embedding" in vendor_kinds(call.model):
        embedded = await asyncio.to_thread(_with_text, embedded)
    events = services.pool.stream(model, EmbeddingAdapter, lambda adapter: _embed(adapter, embedded))
    (result,) = await collect(request, events)
    services.metrics.tokens.labels(model, "read").inc(result.usage.prompt_tokens)
    if embeddings.is_large(call, result):
        return replies.json(await asyncio.to_thread(embeddings.render, call, model, result))
    return replies.json(embeddings.render(call, model, result))


def _with_text(request: EmbeddingRequest) -> EmbeddingRequest:
    """The request with text for token ids of OpenAI's tokenizer, which this model does not have."""
    return replace(request, inputs=tuple(one if isinstance(one, str) else text_of(one) for one in request.inputs))


async def _embed(adapter: EmbeddingAdapter, request: EmbeddingRequest) -> AsyncGenerator[EmbeddingResult]:
    """A stream of one event, so that the pool retries when memory runs out."""
    yield await adapter.embed(request)
