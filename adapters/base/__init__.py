"""The contract: one abstract class per kind of model, and the frozen dataclasses of its requests and results.

Requests and results are stdlib dataclasses of numbers, strings, *encoded bytes with their media type*, and tuples of
these: never an array, an open file or a wire object. So an adapter can run in this process, in a child process
(`adapters/process/client.py`) or on another machine without changes. Defaults are those of the interface
specification.

Nothing here imports an engine library or depends on HTTP.

adapter    What all kinds share: a model's files and options, loading, and the base class of adapters
content    Content of messages: text, media and tool calls; and token usage
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
from adapters.base.content import IMAGE_TEXT, ImagePart, Media, Message, Part, Role, TextPart, Tool, ToolCall, Usage
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
from adapters.base.voice import AudioChunk, SynthesisDone, SynthesisRequest, SynthesisStarted, VoiceAdapter, VoiceEvent

__all__ = [
    "IMAGE_TEXT",
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
    "SynthesisStarted",
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
