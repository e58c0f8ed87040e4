"""POST /v1/audio/transcriptions."""

from litestar import Response, post

from adapters.base import Media, SpeechAdapter
from compat import audio
from compat.errors import RequestError
from server import replies
from server.forms import Form
from server.services import AnyRequest, Services
from server.streaming import collect


@post("/v1/audio/transcriptions", status_code=200)
async def transcribe(request: AnyRequest, services: Services) -> Response[bytes]:
    """What is said in a sound."""
    async with services.intake.form(request) as form:
        call = audio.parse(form.fields, _sound(form))
        events = services.pool.stream(call.model, SpeechAdapter, lambda adapter: adapter.transcribe(call.request))
        reply = audio.render(call, await collect(request, events))
    return replies.raw(reply.body, reply.media_type)


def _sound(form: Form) -> Media:
    unknown = next((name for name in form.files if name != "file"), None)
    if unknown is not None:
        raise RequestError(f"Unknown parameter: '{unknown}'.", param=unknown, code="unknown_parameter")
    files = form.files.get("file", [])
    if len(files) != 1:
        raise RequestError("Send one sound, as the file 'file' of a multipart form.", param="file")
    return files[0].media()
