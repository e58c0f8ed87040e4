"""The engine's outputs of one request as events: text, reasoning, tool calls, log-probabilities."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from adapters.base import FinishReason, TextDelta, TextRequest, TokenLogprob, ToolCall, Usage
from adapters.errors import GenerationFailed, Interrupted, UnsupportedOption
from adapters.text.output.logprobs import Logprobs
from adapters.text.tools.parsers import ToolCalling

if TYPE_CHECKING:
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.parser.abstract_parser import Parser


class Choices:
    """The answers of one request, as their outputs arrive."""

    def __init__(
        self,
        request: TextRequest,
        copies: int,
        prompt_tokens: Sequence[int],
        tool_calling: ToolCalling,
        logprobs: Logprobs,
    ) -> None:
        """Starts without any output.

        Args:
            request: What was asked for.
            copies: How many equal answers each generated one stands for.
            prompt_tokens: The prompt's token ids.
            tool_calling: The model's parsers.
            logprobs: Converts vLLM's log-probabilities.
        """
        self._request = request
        self._copies = range(copies)
        self._prompt_tokens = prompt_tokens
        self._tool_calling = tool_calling
        self._logprobs = logprobs
        self._choices: dict[int, _Choice] = {}
        self.usage = Usage()
        """So far."""

    @property
    def complete(self) -> bool:
        """Whether all answers have ended, even if the engine still generates."""
        generated = self._request.n // len(self._copies)
        return len(self._choices) == generated and all(choice.ended for choice in self._choices.values())

    def events(self, output: "RequestOutput") -> Iterator[TextDelta]:
        """Yields what an output adds to the answers. Raises as `finish_reason`."""
        self.count(output)
        for answer in output.outputs:
            choice = self._choices.get(answer.index)
            if choice is None:
                choice = self._choices[answer.index] = self._new_choice()
            for delta in choice.read(answer):
                usage = self.usage if self._request.continuous_usage else None
                for copy in self._copies:
                    yield replace(delta, index=max(answer.index, copy), usage=usage)
            if choice.ended:
                reasoning_tokens = choice.reasoning_tokens * len(self._copies)
                self.usage = replace(self.usage, reasoning_tokens=self.usage.reasoning_tokens + reasoning_tokens)

    def count(self, output: "RequestOutput", *, generated: bool = True) -> None:
        """Adds an output's tokens to the usage; without `generated`, the prompt's only."""
        tokens = sum(len(answer.token_ids) for answer in output.outputs) if generated else 0
        self.usage = replace(
            self.usage,
            prompt_tokens=len(output.prompt_token_ids or ()),
            completion_tokens=self.usage.completion_tokens + tokens * len(self._copies),
            cached_tokens=max(self.usage.cached_tokens, output.num_cached_tokens or 0),
        )

    def _new_choice(self) -> "_Choice":
        found = self._tool_calling.parser(self._request)
        parser, chat_request = found or (None, None)
        return _Choice(self._request, parser, chat_request, self._prompt_tokens, self._logprobs)


@dataclass(slots=True)
class _Choice:
    """One of the answers."""

    request: TextRequest
    parser: "Parser | None"
    chat_request: Any
    prompt_tokens: Sequence[int]
    logprobs: Logprobs
    ended: bool = False
    reasoning_tokens: int = 0
    _text: str = ""
    _tokens: list[int] | None = None
    _last_call: int = -1
    _unsent_logprobs: tuple[TokenLogprob, ...] = ()

    def read(self, answer: "CompletionOutput") -> Iterator[TextDelta]:
        if self.ended:
            return
        reason = finish_reason(answer.finish_reason, self.request)
        if self.request.logprobs is not None:
            tokens = answer.token_ids
            if reason == "stop" and not isinstance(answer.stop_reason, str):
                tokens = tokens[:-1]  # the token that ends an answer is not part of its text
            self._unsent_logprobs += self.logprobs.positions(tokens, answer.logprobs, self.request.logprobs)
        delta = (
            TextDelta(answer.text)
            if self.parser is None
            else self._parse(self.parser, answer, finished=reason is not None)
        )
        if self.ended:
            reason = "stop"
        self.ended = reason is not None
        if reason == "stop" and self._last_call >= 0 and self.request.tool_choice in ("auto", "required"):
            reason = "tool_calls"  # A call requested by name ends in "stop", as in OpenAI's API.
        if delta.text or delta.reasoning or delta.tool_calls or reason:
            yield replace(delta, finish_reason=reason, logprobs=self._unsent_logprobs)
            self._unsent_logprobs = ()
        if self.ended and self.parser is not None and self._tokens is not None:
            self.reasoning_tokens = self.parser.count_reasoning_tokens(self._tokens)

    def _parse(self, parser: Any, answer: "CompletionOutput", *, finished: bool) -> TextDelta:
        first = self._tokens is None
        self._tokens = [*(self._tokens or ()), *answer.token_ids]
        self._text += answer.text
        found = parser.parse_delta(
            answer.text,
            list(answer.token_ids),
            self.chat_request,
            prompt_token_ids=list(self.prompt_tokens) if first else None,
            finished=finished,
        )
        text = (found.content if found else None) or ""
        calls = tuple(self._calls(found.tool_calls if found else ()))
        tool_parser = parser.tool_parser  # INTERNAL vllm==0.32: ours may hold back text, or end the answer
        if finished and hasattr(tool_parser, "held_back"):
            text += tool_parser.held_back(self._text)
        if getattr(tool_parser, "enough", False):
            self.ended = True
        return TextDelta(text, tool_calls=calls, reasoning=(found.reasoning if found else None) or "")

    def _calls(self, deltas: Sequence[Any]) -> Iterator[ToolCall]:
        for delta in deltas:
            if delta.index > 0 and not self.request.parallel_tool_calls:
                self.ended = True
                return
            function = delta.function
            new = delta.index > self._last_call
            self._last_call = max(self._last_call, delta.index)
            yield ToolCall(
                f"call_{uuid.uuid4().hex[:24]}" if new else "",
                (function.name or "") if function and new else "",
                (function.arguments or "") if function else "",
                delta.index,
            )


def finish_reason(reason: str | None, request: TextRequest) -> FinishReason | None:
    """VLLM's finish reason as OpenAI's.

    Raises:
        Interrupted: The engine aborted the request.
        UnsupportedOption: The engine could not enforce the grammar of the requested output.
        GenerationFailed: The engine failed on the request.
    """
    if reason is None or reason == "stop" or reason == "length":
        return reason
    if reason == "abort":
        raise Interrupted("The engine aborted the request. Send it again.")
    if reason == "error" and request.output != "text":
        raise UnsupportedOption(
            "The engine cannot enforce this output format. Simplify its schema.", param="response_format"
        )
    if reason == "error" and request.tools:
        raise UnsupportedOption(
            "The engine cannot enforce the parameters of these tools. Simplify their schemas.", param="tools"
        )
    raise GenerationFailed("The model's engine failed on this request. The server's log has the cause.")
