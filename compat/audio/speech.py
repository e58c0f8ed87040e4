"""/v1/audio/speech: OpenAI's schemas, parse and render."""

import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field

from adapters.base import AudioChunk, SynthesisDone, SynthesisRequest, SynthesisStarted, VoiceEvent
from compat import sse
from compat.errors import invalid
from compat.wire import WireReply, WireRequest, add_reply_header, validate

ResponseFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
MEDIA_TYPES: Mapping[
    ResponseFormat, Literal["audio/wav", "audio/mpeg", "audio/ogg", "audio/aac", "audio/flac", "audio/pcm"]
] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
MAX_CHARACTERS = 4096
"""Of `input`, as in OpenAI's API."""

MAX_SKIPPED_SHOWN = 32
"""How many letters that a voice cannot read are named."""

VoiceName = Annotated[str, Field(min_length=1, max_length=64)]


class VoiceID(WireRequest):
    """A voice as an object. The id is its name."""

    id: VoiceName


class SpeechCreateRequest(WireRequest):
    """The body of POST /v1/audio/speech."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    input: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]
    voice: VoiceName | VoiceID
    instructions: Any = None
    """A wish about the tone, which the voices of this server do not follow."""
    response_format: ResponseFormat = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4, allow_inf_nan=False)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"


@dataclass(frozen=True, slots=True)
class SpeechCall:
    """A parsed request."""

    model: str
    request: SynthesisRequest
    as_events: bool
    """Whether the audio is sent as server-sent events instead of raw bytes."""


class SpeechAudioDelta(WireReply, tag_field="type", tag="speech.audio.delta"):
    """The next bytes of the audio, in base64."""

    audio: str


class SpeechUsage(WireReply):
    """The model's input and output tokens."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpeechAudioDone(WireReply, tag_field="type", tag="speech.audio.done"):
    """The end of the audio."""

    usage: SpeechUsage


def parse(body: Mapping[str, Any]) -> SpeechCall:
    """The request behind a JSON body.

    Raises:
        RequestError: A field is unknown, missing, malformed, or not supported here.
    """
    wire = validate(SpeechCreateRequest, body)
    if not wire.input.strip():
        raise invalid("input", "must not be blank")
    voice = wire.voice if isinstance(wire.voice, str) else wire.voice.id
    request = SynthesisRequest(wire.input, voice, wire.speed, MEDIA_TYPES[wire.response_format])
    return SpeechCall(wire.model, request, wire.stream_format == "sse")


async def audio_bytes(events: AsyncGenerator[VoiceEvent]) -> AsyncGenerator[bytes]:
    """The audio's bytes as they are generated."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, AudioChunk):
                yield event.data
            elif isinstance(event, SynthesisStarted):
                _tell_skipped(event)


async def stream(events: AsyncGenerator[VoiceEvent]) -> AsyncGenerator[bytes]:
    """The audio as server-sent events: deltas, then the usage. No `[DONE]` follows."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, AudioChunk):
                yield sse.frame(SpeechAudioDelta(base64.b64encode(event.data).decode()))
            elif isinstance(event, SynthesisStarted):
                _tell_skipped(event)
            else:
                yield sse.frame(SpeechAudioDone(_usage(event)))


def _tell_skipped(event: SynthesisStarted) -> None:
    """Names the letters that are left out in a header; it is sent with the first audio, which comes later."""
    add_reply_header("x-muybridge-skipped", quote(event.skipped[:MAX_SKIPPED_SHOWN], safe=""))


def _usage(done: SynthesisDone) -> SpeechUsage:
    prompt, completion = done.usage.prompt_tokens, done.usage.completion_tokens
    return SpeechUsage(prompt, completion, prompt + completion)
