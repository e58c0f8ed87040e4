"""The contract: one abstract class per kind of model, and the frozen dataclasses that cross it.

Everything that crosses is a stdlib dataclass of numbers, strings, *encoded bytes with their media type*, and tuples of
these: never an array, an open file or a wire object. So an adapter can live in this process, in a child process
(`adapters/process/client.py`) or on another machine without changing. Defaults are those of the interface
specification.

No library of any backend is imported here, and nothing here knows HTTP.

adapter    What every kind of model shares: its files, its loading, and the base class of all adapters
content    What messages hold: text, media, tool calls; and how much of it was used
text       Language models: requests, events, and the adapter's class
judging    Questions that a language model answers with the probabilities of their options
scenes     Results of scene validation and of consistency checks
embedding  Embedding models: texts to vectors
speech     Speech recognition: audio to text
voice      Speech synthesis: text to audio
image      Image models: requests, events, and the adapter's class
video      Video models: requests, events, and the adapter's class
"""

from adapters.base.adapter import LORA, REFINER, Adapter, Kind, LoadProgress, ModelFiles, Report
from adapters.base.content import ImagePart, Media, Message, Part, Role, TextPart, Tool, ToolCall, Usage
from adapters.base.embedding import EmbeddingAdapter, EmbeddingRequest, EmbeddingResult
from adapters.base.image import (
    GeneratedImage,
    ImageAdapter,
    ImageDone,
    ImageEvent,
    ImageRequest,
    Lora,
    PartialImage,
    Step,
)
from adapters.base.judging import Judgement, JudgeRequest, JudgeResult, Question
from adapters.base.scenes import (
    AspectConsistency,
    Element,
    Inconsistency,
    PairConsistency,
    SceneConsistency,
    SceneValidation,
)
from adapters.base.speech import (
    LanguageDetection,
    Segment,
    SpeechAdapter,
    SpeechEvent,
    TranscriptionDone,
    TranscriptionInfo,
    TranscriptionRequest,
    VoiceDetection,
    Word,
)
from adapters.base.text import (
    CandidateToken,
    FinishReason,
    Outlet,
    TextAdapter,
    TextDelta,
    TextDone,
    TextEvent,
    TextRequest,
    TokenLogprob,
)
from adapters.base.video import GeneratedVideo, Keyframe, VideoAdapter, VideoEvent, VideoRequest
from adapters.base.voice import AudioChunk, SynthesisDone, SynthesisRequest, VoiceAdapter, VoiceEvent

__all__ = [
    "LORA",
    "REFINER",
    "Adapter",
    "AspectConsistency",
    "AudioChunk",
    "CandidateToken",
    "Element",
    "EmbeddingAdapter",
    "EmbeddingRequest",
    "EmbeddingResult",
    "FinishReason",
    "GeneratedImage",
    "GeneratedVideo",
    "ImageAdapter",
    "ImageDone",
    "ImageEvent",
    "ImagePart",
    "ImageRequest",
    "Inconsistency",
    "JudgeRequest",
    "JudgeResult",
    "Judgement",
    "Keyframe",
    "Kind",
    "LanguageDetection",
    "LoadProgress",
    "Lora",
    "Media",
    "Message",
    "ModelFiles",
    "Outlet",
    "PairConsistency",
    "Part",
    "PartialImage",
    "Question",
    "Report",
    "Role",
    "SceneConsistency",
    "SceneValidation",
    "Segment",
    "SpeechAdapter",
    "SpeechEvent",
    "Step",
    "SynthesisDone",
    "SynthesisRequest",
    "TextAdapter",
    "TextDelta",
    "TextDone",
    "TextEvent",
    "TextPart",
    "TextRequest",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "TranscriptionDone",
    "TranscriptionInfo",
    "TranscriptionRequest",
    "Usage",
    "VideoAdapter",
    "VideoEvent",
    "VideoRequest",
    "VoiceAdapter",
    "VoiceDetection",
    "VoiceEvent",
    "Word",
]
