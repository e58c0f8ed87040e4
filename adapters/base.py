"""THE SEAM: one abstract class per kind of model, and the frozen dataclasses that cross it.

Everything that crosses is a stdlib dataclass of numbers, strings, *encoded bytes with their media type*, and tuples of
these: never an array, an open file or a wire object. So an adapter can live in this process, in a child
(`adapters/process/client.py`) or on another machine without changing. Defaults are those of the seed's C# interfaces.

No library of any backend is imported here, and nothing here knows HTTP.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

from adapters.errors import ModelLoadFailed

Kind = Literal["text", "vision", "embedding", "speech", "voice", "image", "video"]
Role = Literal["system", "developer", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a sound or a video, encoded. Exactly one of `data` and `path` is set."""

    media_type: str
    """As in RFC 2046: "image/png". What the sender claims; `adapters/media.py` believes only the bytes."""
    data: bytes = b""
    """The encoded bytes, for what is small."""
    path: str = ""
    """An absolute path that the server made up, for uploads that were streamed to disk. Never a user's text."""


REFINER = "refiner"
"""The refiner's name in `ModelFiles.parts`."""
LORA = "lora:"
"""What precedes a LoRA's name in `ModelFiles.parts`."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model to load: files that are already on this machine, and how to run them."""

    name: str
    """The served name."""
    backend: str
    """A row of `adapters/registry.py`."""
    path: str
    """Absolute path of the checkpoint's directory."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Validated by the backend's own `Options`."""
    devices: tuple[int, ...] | None = None
    """GPUs that it has been given, as nvidia-smi numbers them; empty: it is to run on the CPU; None: it may choose."""
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Absolute paths of what its entry names beside it: "refiner", a directory, and "lora:NAME", a safetensors file."""


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """One line of progress while a model is made ready."""

    stage: str
    """What happens now: "downloading", "converting", "starting engine"."""
    fraction: float | None = None
    """0..1 of this stage, or None where nobody knows."""
    done_bytes: int | None = None
    """What this stage has fetched or read so far, where it counts bytes."""
    total_bytes: int | None = None
    """What it will have fetched or read in the end."""


Report = Callable[[LoadProgress], None]


class Adapter(ABC):
    """A loaded model. Subclasses add the verbs of their kind; backends implement those.

    A backend is one class with a nested `Options`, one row in `adapters/registry.py` and one in the contract test.
    """

    kind: ClassVar[Kind]

    class Options(BaseModel):
        """What the operator may set for this backend in the configuration; unknown names are refused."""

        model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    @abstractmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """A ready adapter over the model's files.

        Raises:
            ModelLoadFailed: The files are missing, broken or refused, or the backend did not start.
            OutOfMemory: It does not fit.
        """

    @abstractmethod
    async def unload(self) -> None:
        """Gives back all memory and ends all processes of this model. Work in progress ends in `Interrupted`."""

    @property
    def alive(self) -> bool:
        """False once the model can serve no more (its process died) and must be loaded anew."""
        return True

    async def sleep(self) -> bool:
        """Gives back the memory it computes in and keeps what `wake` needs; False where it cannot: nothing is done."""
        return False

    async def wake(self) -> None:
        """Ready again after `sleep`, sooner than a new load would be. Raises as `load`."""
        raise ModelLoadFailed("This model cannot sleep.")

    def memory_bytes(self) -> int | None:
        """What this model holds now, in the memory that it computes in; None where nobody can tell."""
        return None


# --- text, and vision: a language model with eyes --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of a message that is text."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A piece of a message that is an image."""

    image: Media
    detail: Literal["auto", "low", "high"] = "auto"


Part = TextPart | ImagePart


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool, as an assistant's message holds it, or a piece of one while it streams."""

    id: str
    name: str
    arguments: str
    """JSON text. In a stream: the next piece of it, with `id` and `name` filled in the first piece only."""
    index: int = 0
    """Which of the message's parallel calls this is."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask to have called."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON schema of the arguments object."""
    strict: bool = False
    """Whether the arguments must fit the schema also where the model chose freely to call."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    """Of a tool's message: the call that it answers."""
    name: str = ""
    """Who speaks, where several bear one role; chat templates may show it."""
    reasoning: str = ""
    """Of an assistant's message: what it thought before; chat templates may show it."""


@dataclass(frozen=True, slots=True)
class TextRequest:
    """What to write. Either `messages` (chat) or `prompt` (plain continuation) is set."""

    messages: tuple[Message, ...] = ()
    prompt: str | tuple[int, ...] | None = None
    """Text, or token ids."""
    max_tokens: int | None = 1024
    """At most this many new tokens; None: to the end of the context."""
    temperature: float = 0.7
    top_p: float = 0.9
    stop: tuple[str, ...] = ()
    """Generation ends before any of these; they are not part of the text."""
    seed: int | None = None
    n: int = 1
    """How many independent answers."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    """Token id to a bias of -100..100."""
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """"auto", "none", "required", or the name of a tool."""
    parallel_tool_calls: bool = True
    """Whether one answer may hold several calls."""
    output: Literal["text", "json_object", "json_schema"] = "text"
    """What the text must be; with "json_schema", `schema` says more."""
    schema: Mapping[str, Any] | None = None
    logprobs: int | None = None
    """With each token its log-probability and so many (0..20) of the likeliest in its place; None: without."""
    echo: bool = False
    """Plain continuations: the prompt comes first in the text, and with `logprobs` its tokens' too."""
    reasoning_effort: str | None = None
    """"none", "minimal", "low", "medium", "high" or "xhigh", for models that think first; None: the model's own."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's tokens, those that came from the engine's prefix cache."""
    reasoning_tokens: int = 0
    """Of the completion's tokens, those that were thought and not said."""

    def __add__(self, other: "Usage") -> "Usage":
        """Of two pieces of work together."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A token that could stand in one place, and how likely it is there."""

    token: str
    """Its text; where it is a piece of a character, with U+FFFD for what is missing."""
    data: bytes
    """Its bytes, which `token` may not hold whole."""
    logprob: float | None
    """Natural logarithm of its probability; None for a prompt's first token, which nothing precedes."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A written token with its likelihood, and the likeliest tokens of its place."""

    chosen: Likelihood
    top: tuple[Likelihood, ...] = ()
    """As many as were asked for, likeliest first."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of one answer."""

    text: str = ""
    index: int = 0
    """Which of the `n` answers."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    """Set on the last piece of this answer."""
    reasoning: str = ""
    """The next piece of what the model thinks before it answers."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of this piece's tokens, where they were asked for."""


@dataclass(frozen=True, slots=True)
class TextDone:
    """The last event of `TextAdapter.generate`."""

    usage: Usage
    generation_ms: float


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer is one of `options`."""

    text: str
    options: tuple[str, ...] = ("yes", "no")
    content: tuple[Part, ...] = ()
    """What belongs to this question alone, and follows its text."""


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """Questions about shared content; each is answered alone, as if the others had not been asked."""

    content: tuple[Part, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer to one question, from the model's own next-token distribution."""

    probabilities: tuple[float, ...]
    """One per option, in order; they sum to one (renormalised over the options' tokens)."""
    mass: float
    """0..1: how much of the whole distribution fell on the options. Near zero: the model did not mean to answer."""


@dataclass(frozen=True, slots=True)
class JudgeResult:
    """All answers, in the order of the questions."""

    judgements: tuple[Judgement, ...]
    usage: Usage
    generation_ms: float


TextEvent = TextDelta | TextDone


class Outlet:
    """A short cut for the pieces of one plain answer: past the events, as soon as each exists.

    Whoever renders the answer sets `encode` once the answer has begun; whoever sends it sets `send` while nothing else
    is on its way. An adapter may ignore all this and yield every piece as an event.
    """

    __slots__ = ("encode", "send")

    def __init__(self) -> None:
        """Closed."""
        self.encode: Callable[[str], bytes] | None = None
        """A piece of text as it goes out; None: not yet."""
        self.send: Callable[[bytes], bool] | None = None
        """Sends it at once, or says False where it cannot; None: not now."""

    def write(self, text: str) -> bool:
        """Whether the piece has gone out; else it must be yielded as an event, with all that comes before it can."""
        encode, send = self.encode, self.send
        return encode is not None and send is not None and send(encode(text))


class TextAdapter(Adapter):
    """A language model, with eyes where `sees` is true (kind "vision")."""

    kind: ClassVar[Kind] = "text"

    @property
    @abstractmethod
    def sees(self) -> bool:
        """Whether image parts are understood."""

    @abstractmethod
    def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        """Pieces of the answers as they are written, then one `TextDone`.

        Closing the generator stops the work within a second. Where an outlet is given and open, pieces of plain text
        may leave by it instead, never the first of an answer and never the last.

        Raises:
            ContextLengthExceeded: Prompt and answer do not fit.
            UnsupportedOption: An option of the request cannot be honoured.
            InvalidMedia: An image cannot be read.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """

    @abstractmethod
    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """Probabilities of the answers to each question. Raises as `generate` does."""


@dataclass(frozen=True, slots=True)
class Element:
    """A part of a scene's description, and how probable the model finds it in the picture."""

    text: str
    probability: float
    """0..1."""


@dataclass(frozen=True, slots=True)
class SceneValidation:
    """How well a picture shows what a description says. Made by `adapters/vision/`."""

    is_valid: bool
    """Whether `match_score` reaches the threshold."""
    match_score: float
    """0..1."""
    explanation: str
    """Composed of the facts beside it, never written by the model."""
    matched: tuple[Element, ...]
    """Elements whose probability reaches the threshold, in the description's order."""
    mismatched: tuple[Element, ...]
    """The others."""
    usage: Usage
    generation_ms: float


@dataclass(frozen=True, slots=True)
class AspectConsistency:
    """How probably all of some pictures are the same in one aspect."""

    name: str
    probability: float
    """0..1: the two that follow, together."""
    pairs: float
    """Of the picture that agrees least with the others, compared two by two."""
    whole: float | None
    """Of all pictures at once; None where they were not judged so."""


@dataclass(frozen=True, slots=True)
class PairConsistency:
    """How probably two pictures are the same."""

    first: int
    """From 0."""
    second: int
    probabilities: tuple[float, ...]
    """Of each aspect."""


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """An aspect in which some pictures differ."""

    aspect: str
    probability: float
    """That they are the same in it."""
    frames: tuple[int, ...]
    """The pictures that do not agree with the others; empty where none stands out."""


@dataclass(frozen=True, slots=True)
class SceneConsistency:
    """Whether some pictures belong together. Made by `adapters/vision/`."""

    is_consistent: bool
    """Whether every aspect reaches the threshold."""
    consistency_score: float
    """0..1: the lowest aspect's."""
    analysis: str
    """Composed of the facts beside it, never written by the model."""
    aspects: tuple[AspectConsistency, ...]
    pairs: tuple[PairConsistency, ...]
    inconsistencies: tuple[Inconsistency, ...]
    odd_frame: int | None
    """The picture that does not fit the others, where there is one."""
    odd_probabilities: tuple[float, ...]
    """Of each picture, that it is the odd one; empty for two."""
    all_at_once: bool
    """Whether all pictures were judged together, too; False: they did not fit the context, or were described."""
    descriptions: tuple[tuple[str, ...], ...]
    """Of each picture, what the model says of each aspect; empty where the pictures themselves were compared."""
    usage: Usage
    generation_ms: float


# --- embedding -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to place in the model's space."""

    inputs: tuple[str | tuple[int, ...], ...]
    """Each a text, or its token ids."""
    dimensions: int | None = None
    """Keep so many of each vector's first numbers and normalise again, for models trained for that; None: all."""


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """One vector per input, in order."""

    vectors: tuple[bytes, ...]
    """Each float32 [dimensions], little-endian, of length one."""
    usage: Usage
    generation_ms: float


class EmbeddingAdapter(Adapter):
    """A model that turns texts into vectors."""

    kind: ClassVar[Kind] = "embedding"

    @abstractmethod
    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """The vectors of all inputs.

        Raises:
            ContextLengthExceeded: An input is longer than the model reads.
            UnsupportedOption: `dimensions` that the model cannot give; ids that are no tokens.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """


# --- speech ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoiceDetection:
    """Settings of the voice detector; None: the backend's own."""

    threshold: float | None = None
    """0..1: from which probability on something is speech."""
    min_silence_ms: int | None = None
    """Of silence that ends a stretch of speech."""
    padding_ms: int | None = None
    """Of what is kept before speech."""


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """A sound to write down."""

    audio: Media
    language: str | None = None
    """ISO 639-1 code; None: detect it."""
    languages: tuple[str, ...] = ()
    """Codes of which one is to be detected; empty: any."""
    task: Literal["transcribe", "translate"] = "transcribe"
    """"translate" writes English."""
    prompt: str = ""
    """Text that could have come before; guides style and spelling."""
    hotwords: tuple[str, ...] = ()
    beam_size: int = 5
    word_timestamps: bool = True
    vad_filter: bool = False
    """Skip what a voice detector takes for silence."""
    chunked: bool = False
    """Cut the sound where nobody speaks, and write the chunks down side by side, each for itself."""
    voice: VoiceDetection = VoiceDetection()
    """For `vad_filter` and `chunked`."""
    logprobs: bool = False
    """Say how likely each token is."""
    temperature: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Tried in order until the text is good enough."""


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word; times in seconds from the start of the sound."""

    start: float
    end: float
    text: str
    """With its leading space, as the model writes it."""
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech; times in seconds from the start of the sound."""

    id: int
    """From 0."""
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] = ()
    logprobs: tuple[Likelihood, ...] = ()
    """Of the text's tokens, where they were asked for."""


@dataclass(frozen=True, slots=True)
class TranscriptionInfo:
    """The first event of `SpeechAdapter.transcribe`."""

    language: str
    language_probability: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class TranscriptionDone:
    """The last event of `SpeechAdapter.transcribe`."""

    generation_ms: float


@dataclass(frozen=True, slots=True)
class LanguageDetection:
    """Which language is spoken."""

    language: str
    probability: float
    candidates: tuple[tuple[str, float], ...]
    """(ISO 639-1 code, probability), most likely first."""


SpeechEvent = TranscriptionInfo | Segment | TranscriptionDone


class SpeechAdapter(Adapter):
    """A model that writes down speech."""

    kind: ClassVar[Kind] = "speech"

    @abstractmethod
    def transcribe(self, request: TranscriptionRequest) -> AsyncGenerator[SpeechEvent]:
        """One `TranscriptionInfo`, segments as they are decoded, then one `TranscriptionDone`.

        A sound on disk has been read once the first event is there.

        Raises:
            InvalidMedia: The sound cannot be read or is longer than allowed.
            UnsupportedOption: An option cannot be honoured (a language that the model does not know).
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """

    @abstractmethod
    async def detect_language(self, audio: Media) -> LanguageDetection:
        """The language of the first half minute. Raises as `transcribe` does."""


# --- voice -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """A text to say."""

    text: str
    voice: str | None = None
    """One of the adapter's voices; None: its first."""
    speed: float = 1.0
    """0.25..4: how much faster than the voice's own pace."""
    media_type: Literal["audio/wav", "audio/mpeg", "audio/ogg", "audio/aac", "audio/flac", "audio/pcm"] = "audio/wav"
    """"audio/ogg" holds Opus; "audio/pcm" is int16 little-endian, mono, 24 kHz, without a header."""


@dataclass(frozen=True, slots=True)
class SpokenPiece:
    """The next bytes of the sound; all pieces together are one file of the media type that was asked for."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SynthesisDone:
    """The last event of `VoiceAdapter.speak`."""

    duration_s: float
    """Of the sound."""
    generation_ms: float
    usage: Usage = Usage()
    """Units of writing that the model read, and units of sound that it made; how large one is, the model says."""


VoiceEvent = SpokenPiece | SynthesisDone


class VoiceAdapter(Adapter):
    """A model that speaks."""

    kind: ClassVar[Kind] = "voice"

    @abstractmethod
    def speak(self, request: SynthesisRequest) -> AsyncGenerator[VoiceEvent]:
        """The sound, piece by piece as it is spoken, then one `SynthesisDone`. Closing the generator stops the work.

        Raises:
            UnsupportedOption: A voice that the model does not have.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """


# --- image -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lora:
    """A small set of weights laid over a model's own for one request (arXiv 2106.09685)."""

    name: str
    """One of those that the model's entry names."""
    scale: float = 1.0
    """How strongly; 0 is not at all, below 0 is away from it."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A picture to draw; with `source`, a picture to draw anew."""

    prompt: str
    negative_prompt: str = ""
    width: int | None = 1024
    """Pixels; None: as wide as `source`, as nearly as the model can."""
    height: int | None = 1024
    """Pixels; None: as `width`."""
    num_inference_steps: int | None = 30
    """None: the pipeline's own number."""
    guidance_scale: float | None = 7.5
    """None: the pipeline's own."""
    true_cfg_scale: float | None = None
    """For models whose `guidance_scale` is trained in: how far away from the negative prompt. None: not at all."""
    seed: int | None = None
    """0..2**32-1 of the first image; the others follow by one. None: drawn at random and reported."""
    n: int = 1
    media_type: Literal["image/png", "image/jpeg", "image/webp"] = "image/png"
    quality: int | None = None
    """0..100 of JPEG and WebP; None: what looks like the original."""
    scheduler: str = ""
    """One of the sampling methods that the model takes; "": its own."""
    loras: tuple[Lora, ...] = ()
    refiner_steps: int = 0
    """So many further steps by the model's refiner, which takes over the latents; 0: none."""
    partial_images: int = 0
    """How many previews of each image are wanted, spread evenly over the steps."""
    source: Media | None = None
    """The picture that is drawn anew."""
    mask: Media | None = None
    """Of the source's size: only where it is fully transparent is anything drawn; the rest stays as it is."""
    strength: float = 0.8
    """0..1: how much of the source is given up; 1 draws as if it were not there."""


@dataclass(frozen=True, slots=True)
class Step:
    """A denoising step is done."""

    step: int
    """1..total."""
    total: int


@dataclass(frozen=True, slots=True)
class PartialImage:
    """A preview of a picture that is being drawn: its running latents, decoded."""

    index: int
    """Of the picture, 0..n-1."""
    partial_index: int
    """Of the preview, from 0."""
    image: Media


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A finished picture."""

    index: int
    """0..n-1."""
    image: Media
    seed: int
    """Alone, with n = 1, this seed gives the same picture."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageDone:
    """The last event of `ImageAdapter.generate`."""

    generation_ms: float


ImageEvent = Step | PartialImage | GeneratedImage | ImageDone


class ImageAdapter(Adapter):
    """A model that draws."""

    kind: ClassVar[Kind] = "image"

    @abstractmethod
    def generate(self, request: ImageRequest) -> AsyncGenerator[ImageEvent]:
        """Steps with previews among them, then the pictures, then one `ImageDone`.

        Closing the generator stops within one step. Pictures may come while others are still drawn, in their order.

        Raises:
            UnsupportedOption: A size or another option that the model cannot do.
            InvalidMedia: The source or the mask cannot be read.
            OutOfMemory: The request does not fit.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """


# --- video -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A picture that the video must show at one of its frames."""

    image: Media
    frame_index: int = 0
    """From 0; negative counts from the end."""
    strength: float = 1.0
    """0..1: 1 shows the picture as it is."""


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """A video to make."""

    prompt: str
    negative_prompt: str = ""
    keyframes: tuple[Keyframe, ...] = ()
    num_frames: int = 121
    fps: int = 24
    width: int = 768
    """Pixels."""
    height: int = 512
    """Pixels."""
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    seed: int | None = None
    """0..2**32-1. None: drawn at random and reported."""
    source: Media | None = None
    """An MP4 of the server's own making that is filmed anew, from its first frame on; `num_frames` says how many."""
    strength: float = 0.8
    """0..1: how much of the source is given up; 1 films as if it were not there."""


@dataclass(frozen=True, slots=True)
class GeneratedVideo:
    """The finished video, and what was really made: models round sizes and lengths."""

    video: Media
    """MP4, H.264, yuv420p."""
    thumbnail: Media
    """The first frame."""
    seed: int
    width: int
    height: int
    num_frames: int
    fps: int
    generation_ms: float
    sound: Media | None = None
    """What is heard with it from the first frame on, in a format that transcriptions take; None: the model is mute."""


VideoEvent = Step | GeneratedVideo


class VideoAdapter(Adapter):
    """A model that films."""

    kind: ClassVar[Kind] = "video"

    @abstractmethod
    def generate(self, request: VideoRequest) -> AsyncGenerator[VideoEvent]:
        """Steps, then the video. Closing the generator stops within one step. Raises as `ImageAdapter.generate`."""
