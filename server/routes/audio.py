"""POST /v1/audio/transcriptions, /v1/audio/translations and /v1/audio/language_detections."""

from typing import Any

from litestar import Response, post

from adapters.base import LanguageDetection, Media, SpeechAdapter
from compat.audio import languages, stream, transcriptions
from compat.errors import RequestError
from compat.wire import refuse_or_ignore
from server.http import replies
from server.http.multipart import Form
from server.http.request import AnyRequest
from server.http.streaming import collect, event_stream, until_disconnect
from server.services import Services


@post("/v1/audio/transcriptions", status_code=200)
async def transcribe(request: AnyRequest, services: Services) -> Response[Any]:
    """Transcribes audio, as one reply or as a stream."""
    async with services.bodies.form(request) as form:
        call = transcriptions.parse(form.fields, _audio(form))
        events = services.pool.stream(call.model, SpeechAdapter, lambda adapter: adapter.transcribe(call.request))
        if call.stream:  # the audio has been read when the first frame is there, so the upload may be removed
            return await event_stream(request, stream.stream(call, events))
        reply = transcriptions.render(call, await collect(request, events))
    return replies.raw(reply.body, reply.media_type)


@post("/v1/audio/translations", status_code=200)
async def translate(request: AnyRequest, services: Services) -> Response[bytes]:
    """Translates spoken audio into English text."""
    async with services.bodies.form(request) as form:
        call = transcriptions.parse_translation(form.fields, _audio(form))
        events = services.pool.stream(call.model, SpeechAdapter, lambda adapter: adapter.transcribe(call.request))
        reply = transcriptions.render(call, await collect(request, events))
    return replies.raw(reply.body, reply.media_type)


@post("/v1/audio/language_detections", status_code=200)
async def detect_language(request: AnyRequest, services: Services) -> Response[bytes]:
    """Detects the spoken language."""
    async with services.bodies.form(request) as form:
        model, audio = languages.parse(form.fields), _audio(form)
        found = await until_disconnect(request, _detect(services, model, audio))
    return replies.json(languages.render(found))


async def _detect(services: Services, model: str, audio: Media) -> LanguageDetection:
    async with services.pool.lease(model, SpeechAdapter) as adapter:
        return await adapter.detect_language(audio)


def _audio(form: Form) -> Media:
    for name in form.files:
        if name != "file":
            refuse_or_ignore(name)
    files = form.files.get("file", [])
    if len(files) != 1:
        raise RequestError(
            "Invalid 'file': send exactly one audio file, as the field 'file' of a multipart form.", param="file"
        )
    return files[0].media()
