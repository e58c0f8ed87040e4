"""The vision checkpoint behind the seam, on transformers: what it says is judged by the product's own logic.

The server runs it on vLLM. Here all questions about a picture go through it at once, and no engine has to start.
"""

import time
from collections.abc import AsyncGenerator
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
    Report,
    TextAdapter,
    TextEvent,
    TextRequest,
    Usage,
)
from adapters.errors import UnsupportedOption
from adapters.media.images import open_image, to_rgb
from adapters.text.judging import answer_tokens, judgement
from starter.questions import Asked, judged
from starter.training.packing import Sample, image_features, logits, pack
from starter.training.pictures import to_tensor
from starter.vision import IMAGE_SIZE, tokenizer


class Eyes(TextAdapter):
    """Judges; it does not write."""

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
    def sees(self) -> bool:
        """It does."""
        return True

    async def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        """See the class."""
        raise UnsupportedOption("The evaluation's model judges only.", param="messages")
        yield

    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """See `TextAdapter.judge`."""
        begun = time.monotonic()
        images = [to_rgb(open_image(part.image)) for part in request.content if isinstance(part, ImagePart)]
        pixels = to_tensor(image.resize((IMAGE_SIZE, IMAGE_SIZE)) for image in images)
        asked: list[Asked] = [judged(question, question.options[0]) for question in request.questions]
        packed = pack([Sample(len(images), asked)], self._tokenizer)
        with torch.no_grad():
            found, where = logits(self.model, packed, image_features(self.model, pixels))
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

    def _first(self, text: str) -> int | None:
        ids = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids[0] if ids else None
