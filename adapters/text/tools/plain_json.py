"""A tool parser for models that write calls as bare or fenced JSON, one object per line, and nothing before.

Small Qwen2.5-Coder models do that, whatever their chat template asks for. `parsers.check_names` registers it with vLLM
as `plain_json`, beside vLLM's own parsers.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vllm.entrypoints.generate.base.protocol import (
    DeltaFunctionCall,
    DeltaMessage,
    DeltaToolCall,
    ExtractedToolCallInformation,
)
from vllm.tool_parsers.abstract_tool_parser import ToolParser

from adapters.text.tools.json_scanner import ObjectScanner

NAME = "plain_json"
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"(?P<name>[^"\\]*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')
"""A call up to its arguments."""
_CLOSING = re.compile(r"\s*\}")
_BETWEEN = re.compile(r"(?:\s|```(?:json)?|</?tool_call>|[;,])*")
"""What may come before and between calls."""
_OPENINGS = ("```json", "<tool_call>", "</tool_call>")
_LONGEST_HEAD = 200
"""After this many characters, text that could still become a call counts as text."""


class PlainJsonToolParser(ToolParser):
    """Parses one answer.

    Text that does not start with a call of a known tool is text to its end; after calls, everything else is dropped.
    The first call streams; later calls come whole, so that a call that repeats an earlier one can end the answer.
    """

    supports_required_and_named = False

    def __init__(self, tokenizer: Any, tools: Any = None) -> None:
        """Reads the tools' names, to tell calls from other JSON."""
        super().__init__(tokenizer, tools)
        functions: list[Any] = [getattr(tool, "function", tool) for tool in self.tools]
        self._names = {function.name for function in functions}
        self._at = 0
        self._scanner: ObjectScanner | None = None
        self._is_text = False
        self._calls: list[_Call] = []
        self.enough = False
        """Whether the model has started to repeat itself, so that the answer can end."""

    def extract_tool_calls(self, model_output: str, request: Any) -> ExtractedToolCallInformation:
        """Not used: whole answers are assembled from the stream."""
        raise NotImplementedError

    def extract_tool_calls_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
        request: Any,
    ) -> DeltaMessage | None:
        """What the latest text adds to the answer; None if that is not decided yet."""
        if self._is_text:
            return DeltaMessage(content=delta_text)
        calls = list(self._read(current_text))
        if self._is_text:
            return DeltaMessage(content=current_text)
        return DeltaMessage(tool_calls=calls) if calls else None

    def get_remaining_unstreamed_args(self) -> str:
        """Returns nothing: arguments are sent as they are generated."""
        return ""

    def held_back(self, text: str) -> str:
        """At the end of an answer with this whole text: what was held back, in case it became a call."""
        return "" if self._is_text or self._calls else text

    def _read(self, text: str) -> Iterator[DeltaToolCall]:
        while not self.enough:
            if self._scanner is None:
                if (head := self._head(text)) is None:
                    return
                self._scanner, self._at = ObjectScanner(), head.end()
                self._calls.append(_Call(head["name"]))
                if len(self._calls) == 1:
                    yield _delta(0, head["name"])
            call, index = self._calls[-1], len(self._calls) - 1
            piece = self._scanner.feed(text[self._at :])
            self._at += len(piece)
            call.arguments += piece
            if piece and not index:
                yield _delta(0, arguments=piece)
            if not self._scanner.done:
                return
            if index and not call.sent:
                if any(call.repeats(other) for other in self._calls[:-1]):
                    self.enough = True
                    return
                call.sent = True
                yield _delta(index, call.name, call.arguments)
            closing = _CLOSING.match(text, self._at)
            if closing is None:
                return
            self._at, self._scanner = closing.end(), None

    def _head(self, text: str) -> re.Match[str] | None:
        """The next call, once its start is complete; also decides whether the answer is text."""
        between = _BETWEEN.match(text, self._at)
        start = between.end() if between else self._at
        rest = text[start:]
        if (head := _HEAD.match(text, start)) and head["name"] in self._names:
            return head
        if start - self._at > _LONGEST_HEAD and not self._calls:
            self._is_text = True
            return None
        if not self._calls and any(opening.startswith(text[self._at :].lstrip()) for opening in _OPENINGS):
            return None
        begins_object = rest.startswith("{") and head is None and len(rest) < _LONGEST_HEAD
        if (
            rest
            and not begins_object
            and not self._calls
            and not any(opening.startswith(rest) for opening in _OPENINGS)
        ):
            self._is_text = True
        return None


@dataclass(slots=True)
class _Call:
    name: str
    arguments: str = ""
    sent: bool = False

    def repeats(self, other: "_Call") -> bool:
        try:
            return self.name == other.name and json.loads(self.arguments) == json.loads(other.arguments)
        except ValueError:
            return False


def _delta(index: int, name: str | None = None, arguments: str = "") -> DeltaToolCall:
    new = name is not None
    return DeltaToolCall(
        index=index,
        id="new" if new else None,
        type="function" if new else None,
        function=DeltaFunctionCall(name=name, arguments=arguments),
    )
