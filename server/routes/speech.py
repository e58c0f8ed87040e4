"""POST /v1/audio/speech."""

from typing import Any

from litestar import Response, post

from adapters.base import VoiceAdapter
from compat import speech_synthesis
from server.byte_streams import byte_stream
from server.http.request import AnyRequest
from server.services import Services
from server.streaming import event_stream


@post("/v1/audio/speech", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[Any]:
    """A text, spoken: sent as it is spoken."""
    call = speech_synthesis.parse(await services.intake.json(request))
    events = services.pool.stream(call.model, VoiceAdapter, lambda adapter: adapter.speak(call.request))
    if call.as_events:
        return await event_stream(request, speech_synthesis.stream(events))
    return await byte_stream(request, speech_synthesis.sound(events), call.request.media_type)
