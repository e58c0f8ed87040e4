"""From a model's events to a growing response and the frames of its stream, in OpenAI's order.

    created, (queued,) in_progress
      for each output item: output_item.added
          reasoning: content_part.added, reasoning_text.delta ..., reasoning_text.done, content_part.done
          text:      content_part.added, output_text.delta ...,    output_text.done,    content_part.done
          a call:    function_call_arguments.delta ...,            function_call_arguments.done
                     or custom_tool_call_input.delta ...,          custom_tool_call_input.done
      output_item.done
    completed | incomplete | failed

One item is open at a time. No `[DONE]` follows: a stream without the last of these events was interrupted.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from adapters.base import TextDelta, TextDone, TextEvent, TokenLogprob, ToolCall
from compat import sse
from compat.errors import WireError
from compat.logprobs import render_logprobs
from compat.responses.reply import (
    CallItem,
    IncompleteDetails,
    ItemStatus,
    OutputItem,
    ReasoningTextPart,
    Response,
    ResponseContentPartEvent,
    ResponseCustomToolCall,
    ResponseCustomToolCallInputDoneEvent,
    ResponseDeltaEvent,
    ResponseEvent,
    ResponseFunctionCallArgumentsDoneEvent,
    ResponseFunctionToolCall,
    ResponseLifecycleEvent,
    ResponseOutputItemEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
    ResponseReasoningTextDoneEvent,
    ResponseTextDoneEvent,
    render_error,
    render_usage,
)
from compat.responses.tools import Called
from compat.tools import CustomInput
from compat.usage import render_timings
from compat.wire import new_id

OBFUSCATED_LENGTH = 16
"""Deltas are padded to multiples of this number of characters."""


class ResponseWriter:
    """Writes one response. Each method returns the frames that it adds to the stream."""

    def __init__(
        self,
        response: Response,
        *,
        streams: bool,
        obfuscate: bool = False,
        called: Mapping[str, Called] | None = None,
    ) -> None:
        """Starts with an empty response.

        Args:
            response: The initial response; it grows with each event.
            streams: Whether to make frames.
            obfuscate: Whether to pad deltas.
            called: What calls of tools are, by the name that the model uses.
        """
        self.response = response
        self.finished = False
        """Whether the last event of the stream has been written."""
        self._streams = streams
        self._obfuscate = obfuscate
        self._sequence = 0
        self._frames: list[bytes] = []
        self._item: OutputItem | None = None
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._call_index = -1
        self._called = called or {}
        self._custom = CustomInput()
        """Reads the input of the open call of a custom tool."""

    def created(self) -> list[bytes]:
        """The response was created, queued or in progress."""
        self._lifecycle("response.created")
        if self.response.status == "queued":
            self._lifecycle("response.queued")
        return self._take_frames()

    def began(self) -> list[bytes]:
        """The model has started."""
        self.response.status = "in_progress"
        self._lifecycle("response.in_progress")
        return self._take_frames()

    def add(self, event: TextEvent) -> list[bytes]:
        """The next event of `TextAdapter.generate`."""
        if isinstance(event, TextDone):
            self._complete(event)
        else:
            self._grow(event)
        return self._take_frames()

    def fail(self, error: WireError) -> list[bytes]:
        """The model failed. The output so far is kept and marked as incomplete."""
        self.response.error = render_error(error)
        return self._interrupt("failed")

    def cancel(self) -> list[bytes]:
        """The client cancelled. OpenAI has no such event, so `response.failed` is sent, with this status."""
        return self._interrupt("cancelled")

    def ended(self, first: int) -> list[bytes]:
        """The end of the stream of a response whose earlier events are no longer known.

        Args:
            first: The next sequence number; 0 if the stream is read from its start.
        """
        self._sequence = first
        if first == 0:
            self._lifecycle("response.created")
        self._lifecycle("response.failed")
        return self._take_frames()

    def _interrupt(self, status: Any) -> list[bytes]:
        item = self._item
        if item is not None:
            self._fill(item, "incomplete")
            self.response.output.append(item)
            self._item = None
        self.response.status = status
        self._finish("response.failed")
        return self._take_frames()

    def _complete(self, done: TextDone) -> None:
        reason = self.response.incomplete_details
        if self._item is None and not self.response.output and reason is None:
            self._open_message()
        self._close("completed" if reason is None else "incomplete")
        self.response.usage = render_usage(done)
        self.response.timings = render_timings(done)
        self.response.status = "completed" if reason is None else "incomplete"
        self._finish(f"response.{self.response.status}")

    def _grow(self, delta: TextDelta) -> None:
        if delta.reasoning:
            if not isinstance(self._item, ResponseReasoningItem):
                self._close()
                self._open_reasoning()
            self._delta("response.reasoning_text.delta", delta.reasoning)
        if delta.text or (delta.logprobs and isinstance(self._item, ResponseOutputMessage)):
            if not isinstance(self._item, ResponseOutputMessage):
                self._close()
                self._open_message()
            self._logprobs += delta.logprobs
            self._delta("response.output_text.delta", delta.text, delta.logprobs)
        for call in delta.tool_calls:
            if not isinstance(self._item, CallItem) or call.index != self._call_index:
                self._close()
                self._open_call(call)
            if isinstance(self._item, ResponseCustomToolCall):
                self._input_delta(self._custom.feed(call.arguments))
            elif call.arguments:
                self._delta("response.function_call_arguments.delta", call.arguments)
        if delta.finish_reason in ("length", "content_filter"):
            reason = "max_output_tokens" if delta.finish_reason == "length" else "content_filter"
            self.response.incomplete_details = IncompleteDetails(reason)

    def _open_reasoning(self) -> None:
        item = ResponseReasoningItem(id=new_id("rs_"), status="in_progress", content=[], summary=[])
        self._open(item)
        self._part("added", ReasoningTextPart(""))

    def _open_message(self) -> None:
        self._open(ResponseOutputMessage(id=new_id("msg_"), status="in_progress", content=[]))
        self._part("added", ResponseOutputText("", [], []))

    def _open_call(self, call: ToolCall) -> None:
        self._call_index = call.index
        call_id = call.id or new_id("call_")
        if any(isinstance(one, CallItem) and one.call_id == call_id for one in self.response.output):
            call_id = new_id("call_")
        called = self._called.get(call.name, Called(call.name))
        namespace = called.namespace or UNSET
        if called.custom:
            self._custom = CustomInput()
            item = ResponseCustomToolCall(new_id("ctc_"), call_id, called.name, "", "in_progress", namespace)
        else:
            item = ResponseFunctionToolCall(new_id("fc_"), call_id, called.name, "", "in_progress", namespace)
        self._open(item)

    def _input_delta(self, text: str) -> None:
        if text:
            self._delta("response.custom_tool_call_input.delta", text)

    def _open(self, item: OutputItem) -> None:
        self._item, self._texts, self._logprobs = item, [], []
        self._emit(
            ResponseOutputItemEvent, "response.output_item.added", output_index=len(self.response.output), item=item
        )

    def _delta(self, kind: str, delta: str, logprobs: tuple[TokenLogprob, ...] = ()) -> None:
        self._texts.append(delta)
        if not self._streams:
            return
        fields: dict[str, Any] = {"delta": delta}
        if not isinstance(self._item, CallItem):
            fields["content_index"] = 0
        if isinstance(self._item, ResponseOutputMessage):
            fields["logprobs"] = render_logprobs(logprobs)
        if self._obfuscate:
            fields["obfuscation"] = secrets.token_urlsafe(OBFUSCATED_LENGTH)[: -len(delta) % OBFUSCATED_LENGTH]
        self._emit(ResponseDeltaEvent, kind, **self._position(), **fields)

    def _close(self, status: ItemStatus = "completed") -> None:
        item = self._item
        if item is None:
            return
        if isinstance(item, ResponseCustomToolCall):
            self._input_delta(self._custom.rest())
        self._fill(item, status)
        text = "".join(self._texts)
        if isinstance(item, ResponseFunctionToolCall):
            done = "response.function_call_arguments.done"
            self._emit(
                ResponseFunctionCallArgumentsDoneEvent,
                done,
                **self._position(),
                name=item.name,
                arguments=item.arguments,
            )
        elif isinstance(item, ResponseCustomToolCall):
            done = "response.custom_tool_call_input.done"
            self._emit(ResponseCustomToolCallInputDoneEvent, done, **self._position(), input=item.input)
        elif isinstance(item, ResponseReasoningItem):
            done = "response.reasoning_text.done"
            self._emit(ResponseReasoningTextDoneEvent, done, **self._position(), content_index=0, text=text)
            self._part("done", item.content[0])
        else:
            part = item.content[0]
            done = "response.output_text.done"
            self._emit(
                ResponseTextDoneEvent, done, **self._position(), content_index=0, text=text, logprobs=part.logprobs
            )
            self._part("done", part)
        index = len(self.response.output)
        self._emit(ResponseOutputItemEvent, "response.output_item.done", output_index=index, item=item)
        self.response.output.append(item)
        self._item = None

    def _fill(self, item: OutputItem, status: ItemStatus) -> None:
        """Puts the collected text into the open item."""
        text, item.status = "".join(self._texts), status
        if isinstance(item, ResponseFunctionToolCall):
            item.arguments = text
        elif isinstance(item, ResponseCustomToolCall):
            item.input = text
        elif isinstance(item, ResponseReasoningItem):
            item.content = [ReasoningTextPart(text)]
        else:
            item.content = [ResponseOutputText(text, render_logprobs(self._logprobs), [])]

    def _position(self) -> dict[str, Any]:
        assert self._item is not None
        return {"item_id": self._item.id, "output_index": len(self.response.output)}

    def _part(self, what: str, part: ResponseOutputText | ReasoningTextPart) -> None:
        self._emit(
            ResponseContentPartEvent, f"response.content_part.{what}", **self._position(), content_index=0, part=part
        )

    def _lifecycle(self, kind: str) -> None:
        self._emit(ResponseLifecycleEvent, kind, response=self.response)

    def _finish(self, kind: str) -> None:
        self.finished = True
        if self.response.status == "completed":
            self.response.completed_at = int(time.time())
        self._lifecycle(kind)

    def _emit(self, event: type[ResponseEvent], kind: str, **fields: Any) -> None:
        """Encodes immediately, because the objects of the event keep growing."""
        if self._streams:
            made = event(type=kind, sequence_number=self._sequence, **fields)
            self._frames.append(sse.frame(made, event=kind))
        self._sequence += 1

    def _take_frames(self) -> list[bytes]:
        frames, self._frames = self._frames, []
        return frames
