"""POST /v1/audio/speech."""

from typing import Any

from litestar import Response, post

from adapters.base import VoiceAdapter
from compat.audio import speech
from server.http.byte_stream import byte_stream
from server.http.request import AnyRequest
from server.http.streaming import event_stream
from server.services import Services


@post("/v1/audio/speech", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[Any]:
    """Speaks a text; the audio is sent while it is generated."""
    call = await services.bodies.parsed(request, speech.parse)
    events = services.pool.stream(call.model, VoiceAdapter, lambda adapter: adapter.speak(call.request))
    if call.as_events:
        return await event_stream(request, speech.stream(events))
    return await byte_stream(request, speech.audio_bytes(events), call.request.media_type)
