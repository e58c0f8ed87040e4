"""The engine's outputs of one request as events of the seam: text, thoughts, calls, likelihoods."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from adapters.base import FinishReason, TextDelta, TextRequest, TokenLogprob, ToolCall, Usage
from adapters.errors import GenerationFailed, Interrupted, UnsupportedOption
from adapters.text.output.logprobs import Likelihoods
from adapters.text.tools.parsers import Calling

if TYPE_CHECKING:
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.parser.abstract_parser import Parser


class Answers:
    """Folds the outputs of one request."""

    def __init__(
        self, request: TextRequest, copies: int, prompt_tokens: Sequence[int], calling: Calling, likely: Likelihoods
    ) -> None:
        """Nothing read yet.

        Args:
            request: As it came.
            copies: How many equal answers each written one stands for.
            prompt_tokens: As the engine reads them.
            calling: The model's parsers.
            likely: The model's vocabulary.
        """
        self._request = request
        self._copies = range(copies)
        self._prompt_tokens = prompt_tokens
        self._calling = calling
        self._likely = likely
        self._readers: dict[int, _Reader] = {}
        self.usage = Usage()
        """So far."""

    @property
    def complete(self) -> bool:
        """Whether all answers have ended, though the engine may go on."""
        written = self._request.n // len(self._copies)
        return len(self._readers) == written and all(reader.ended for reader in self._readers.values())

    def events(self, output: "RequestOutput") -> Iterator[TextDelta]:
        """What an output adds to the answers.

        Raises:
            Interrupted: The engine gave the request up.
            UnsupportedOption: The engine could not follow the grammar of the wanted output.
            GenerationFailed: The engine failed on it.
        """
        self.count(output)
        for answer in output.outputs:
            reader = self._readers.get(answer.index)
            if reader is None:
                reader = self._readers[answer.index] = self._reader()
            for delta in reader.read(answer):
                for copy in self._copies:
                    yield replace(delta, index=max(answer.index, copy))
            if reader.ended:
                thought = reader.reasoning_tokens * len(self._copies)
                self.usage = replace(self.usage, reasoning_tokens=self.usage.reasoning_tokens + thought)

    def count(self, output: "RequestOutput", *, written: bool = True) -> None:
        """Adds an output's tokens to the usage; without `written`, the prompt's only."""
        tokens = sum(len(answer.token_ids) for answer in output.outputs) if written else 0
        self.usage = replace(
            self.usage,
            prompt_tokens=len(output.prompt_token_ids or ()),
            completion_tokens=self.usage.completion_tokens + tokens * len(self._copies),
            cached_tokens=max(self.usage.cached_tokens, output.num_cached_tokens or 0),
        )

    def _reader(self) -> "_Reader":
        found = self._calling.parser(self._request)
        parser, wire = found or (None, None)
        return _Reader(self._request, parser, wire, self._prompt_tokens, self._likely)


@dataclass(slots=True)
class _Reader:
    """One of the answers."""

    request: TextRequest
    parser: "Parser | None"
    wire: Any
    prompt_tokens: Sequence[int]
    likely: Likelihoods
    ended: bool = False
    reasoning_tokens: int = 0
    _text: str = ""
    _tokens: list[int] | None = None
    _called: int = -1
    _logprobs: tuple[TokenLogprob, ...] = ()

    def read(self, answer: "CompletionOutput") -> Iterator[TextDelta]:
        if self.ended:
            return
        reason = finish_reason(answer.finish_reason, self.request)
        if self.request.logprobs is not None:
            self._logprobs += self.likely.positions(answer.token_ids, answer.logprobs, self.request.logprobs)
        delta = (
            TextDelta(answer.text)
            if self.parser is None
            else self._parse(self.parser, answer, finished=reason is not None)
        )
        if self.ended:
            reason = "stop"
        self.ended = reason is not None
        if reason == "stop" and self._called >= 0 and self.request.tool_choice in ("auto", "required"):
            reason = "tool_calls"  # A call that was asked for by name ends in "stop", as OpenAI has it.
        if delta.text or delta.reasoning or delta.tool_calls or reason:
            yield replace(delta, finish_reason=reason, logprobs=self._logprobs)
            self._logprobs = ()
        if self.ended and self.parser is not None and self._tokens is not None:
            self.reasoning_tokens = self.parser.count_reasoning_tokens(self._tokens)

    def _parse(self, parser: Any, answer: "CompletionOutput", *, finished: bool) -> TextDelta:
        first = self._tokens is None
        self._tokens = [*(self._tokens or ()), *answer.token_ids]
        self._text += answer.text
        found = parser.parse_delta(
            answer.text,
            list(answer.token_ids),
            self.wire,
            prompt_token_ids=list(self.prompt_tokens) if first else None,
            finished=finished,
        )
        text = (found.content if found else None) or ""
        calls = tuple(self._calls(found.tool_calls if found else ()))
        tool_parser = parser.tool_parser
        if finished and hasattr(tool_parser, "held_back"):
            text += tool_parser.held_back(self._text)
        if getattr(tool_parser, "enough", False):
            self.ended = True
        return TextDelta(text, tool_calls=calls, reasoning=(found.reasoning if found else None) or "")

    def _calls(self, pieces: Sequence[Any]) -> Iterator[ToolCall]:
        for piece in pieces:
            if piece.index > 0 and not self.request.parallel_tool_calls:
                self.ended = True
                return
            function = piece.function
            new = piece.index > self._called
            self._called = max(self._called, piece.index)
            yield ToolCall(
                f"call_{uuid.uuid4().hex[:24]}" if new else "",
                (function.name or "") if function and new else "",
                (function.arguments or "") if function else "",
                piece.index,
            )


def finish_reason(reason: str | None, request: TextRequest) -> FinishReason | None:
    """OpenAI's word for vLLM's.

    Raises:
        Interrupted: The engine gave the request up.
        UnsupportedOption: The engine could not follow the grammar of the wanted output.
        GenerationFailed: The engine failed on it.
    """
    if reason is None or reason == "stop" or reason == "length":
        return reason
    if reason == "abort":
        raise Interrupted("The request was cut short by the engine.")
    if reason == "error" and request.output != "text":
        raise UnsupportedOption("The engine cannot enforce this output format.", param="response_format")
    if reason == "error" and request.tools:
        raise UnsupportedOption("The engine cannot enforce the parameters of these tools.", param="tools")
    raise GenerationFailed("The model's engine failed on this request.")
