"""A streamed transcription: `transcript.text.delta` events, and `transcript.text.done` at the end."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from adapters.base import CandidateToken, Segment, SpeechEvent, TranscriptionDone, TranscriptionInfo
from compat import sse
from compat.audio.replies import (
    TranscriptionLanguage,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    logprobs_of,
)
from compat.audio.transcriptions import TranscriptionCall
from compat.wire import Timings


async def stream(call: TranscriptionCall, events: AsyncGenerator[SpeechEvent]) -> AsyncGenerator[bytes]:
    """One event per segment, then the whole text, then `[DONE]`. The deltas together are the whole text.

    `transcript.text.segment` is never sent: it belongs to speaker diarization.

    Args:
        call: The request.
        events: From `SpeechAdapter.transcribe`.
    """
    text, held, languages = "", "", None
    tokens: list[CandidateToken] = []
    async with aclosing(events):
        async for event in events:
            match event:
                case TranscriptionInfo() if call.languages:
                    languages = [TranscriptionLanguage(event.language)]
                case Segment():
                    piece = held + event.text if text else event.text.lstrip()
                    delta = piece.rstrip()
                    held = piece[len(delta) :]  # a transcription has no space at its end
                    text += delta
                    tokens += event.logprobs
                    if delta:
                        yield sse.frame(
                            TranscriptionTextDeltaEvent(
                                type="transcript.text.delta",
                                delta=delta,
                                logprobs=logprobs_of(event.logprobs) if call.request.logprobs else None,
                            )
                        )
                case TranscriptionDone():
                    yield sse.frame(
                        TranscriptionTextDoneEvent(
                            type="transcript.text.done",
                            text=text,
                            languages=languages,
                            logprobs=logprobs_of(tokens) if call.request.logprobs else None,
                            timings=Timings(generation_ms=round(event.generation_ms, 3)),
                        )
                    )
                case _:
                    pass
    yield sse.DONE
