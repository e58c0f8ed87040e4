"""The starter's vision checkpoint as a `TextAdapter` on transformers, for the evaluation.

The server runs it on vLLM. Here, all questions about an image are one batch, and no engine is needed.
"""

import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from transformers import LlavaOnevisionForConditionalGeneration

from adapters.base import (
    ImagePart,
    JudgeRequest,
    JudgeResult,
    ModelFiles,
    Outlet,
    Part,
    Report,
    TextAdapter,
    TextDelta,
    TextDone,
    TextEvent,
    TextPart,
    TextRequest,
    Usage,
)
from adapters.errors import UnsupportedOption
from adapters.media.decode_image import open_image, to_rgb
from adapters.text.judge.first_token import answer_tokens, judgement
from starter.questions import LabelledQuestion, judged
from starter.training.images import to_tensor
from starter.training.packing import Sample, image_features, logits, pack
from starter.vision import IMAGE_SIZE, tokenizer

MAX_TOKENS = 48
"""Default maximum number of tokens of an answer."""


class StarterVision(TextAdapter):
    """Judges, and says a few words of images."""

    def __init__(self, checkpoint: Path) -> None:
        """Loads a checkpoint in float32."""
        self._tokenizer: Any = tokenizer()
        self.model: Any = LlavaOnevisionForConditionalGeneration.from_pretrained(
            str(checkpoint), local_files_only=True, dtype=torch.float32
        ).eval()

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """See `Adapter.load`."""
        return cls(Path(model.path))

    async def unload(self) -> None:
        """Nothing to give back: the evaluation ends with its process."""

    @property
    def supports_images(self) -> bool:
        """It does."""
        return True

    async def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        """See `TextAdapter.generate`; one user's turn with images, and the most probable words to it."""
        (turn,) = request.messages
        features = self._features(turn.content)
        asked = "".join(part.text for part in turn.content if isinstance(part, TextPart))
        written, usage, begun = "", Usage(), time.monotonic()
        end = self._tokenizer.convert_tokens_to_ids("<|im_end|>")
        for count in range(1, (request.max_tokens or MAX_TOKENS) + 1):
            packed = pack([Sample(len(features), [LabelledQuestion(asked, written)])], self._tokenizer)
            usage = Usage(packed.tokens.numel(), count)
            with torch.no_grad():
                token = int(logits(self.model, packed, features)[0][-1].argmax())
            if token == end:
                break
            yield TextDelta(piece := self._tokenizer.decode([token]))
            written += piece
        yield TextDone(usage, (time.monotonic() - begun) * 1000)

    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """See `TextAdapter.judge`."""
        begun = time.monotonic()
        features = self._features(request.content)
        asked: list[LabelledQuestion] = [judged(question, question.options[0]) for question in request.questions]
        packed = pack([Sample(len(features), asked)], self._tokenizer)
        with torch.no_grad():
            found, where = logits(self.model, packed, features)
        # Every answer is one token long and followed by the end of the turn: the first of each two places is meant.
        firsts = packed.weights[where] == 1.0
        logprobs = found[firsts].float().log_softmax(-1)
        if len(logprobs) != len(asked):
            raise UnsupportedOption("An option is not one token of this model.", param="questions")
        judgements = []
        for question, row in zip(request.questions, logprobs, strict=True):
            tokens = answer_tokens(question, self._first)
            judgements.append(judgement(tokens, {token: row[token].item() for option in tokens for token in option}))
        usage = Usage(packed.tokens.numel(), len(asked))
        return JudgeResult(tuple(judgements), usage, (time.monotonic() - begun) * 1000)

    def _features(self, content: Sequence[Part]) -> torch.Tensor:
        """Of the images: [images, tokens, width]."""
        images = [to_rgb(open_image(part.image)) for part in content if isinstance(part, ImagePart)]
        with torch.no_grad():
            return image_features(self.model, to_tensor(image.resize((IMAGE_SIZE, IMAGE_SIZE)) for image in images))

    def _first(self, text: str) -> int | None:
        ids = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids[0] if ids else None
