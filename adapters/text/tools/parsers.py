"""Tool calls and reasoning of one model: parsers by name, and the grammars that enforce their form.

The parsers are vLLM's own (https://docs.vllm.ai, "Tool calling" and "Reasoning outputs") and our `plain_json`.

INTERNAL vllm==0.32: `DelegatingParser`, its protocol classes and managers, and the fields of tool parsers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adapters.base import TextRequest
from adapters.errors import ModelLoadFailed, UnsupportedOption
from adapters.text.tools import grammars
from adapters.text.tools.grammars import CallForm
from adapters.text.tools.schemas import enforceable

if TYPE_CHECKING:
    from vllm.parser.abstract_parser import Parser
    from vllm.sampling_params import StructuredOutputsParams

PLAIN_JSON = "plain_json"


class ToolCalling:
    """The parsers of one loaded model."""

    def __init__(
        self, tokenizer: Any, model_config: Any, tool_parser: str | None, reasoning_parser: str | None
    ) -> None:
        """Finds the parsers by name.

        Raises:
            ModelLoadFailed: There is no such parser, or it does not work with this tokenizer.
        """
        self._tokenizer = tokenizer
        self._model_config = model_config
        self.reasons = reasoning_parser is not None
        """Whether the model's reasoning is separated from its answers."""
        self.calls = tool_parser is not None
        """Whether the model can call tools."""
        self._parser = _parser_class(tokenizer, tool_parser, reasoning_parser)
        self._form = self._native_form()

    def check(self, request: TextRequest) -> None:
        """Refuses requests that this model cannot answer.

        Raises:
            UnsupportedOption: They need tools or reasoning, and the model has no parser for it.
        """
        if _callable(request) and not self.calls:
            raise UnsupportedOption(
                "This model cannot call tools: its entry in the configuration has no tool_call_parser. "
                'Leave "tools" out, or set "tool_choice" to "none".',
                param="tools",
            )
        if request.output == "json_schema" and request.schema is None:
            raise UnsupportedOption(
                "An output of type json_schema needs a schema. Send one, or choose json_object.",
                param="response_format",
            )

    def structure(self, request: TextRequest) -> "StructuredOutputsParams | None":
        """The schema or grammar that the engine must enforce, or None.

        Raises:
            UnsupportedOption: Tools and an output format that cannot be combined with this model.
        """
        schema = _output_schema(request)
        if schema is None and not _callable(request):
            return None
        from vllm.sampling_params import StructuredOutputsParams

        if schema is not None and not _callable(request):
            return _json_only(schema, strict=request.strict)
        parallel = request.parallel_tool_calls
        tools = request.tools
        if request.tool_choice not in ("auto", "required"):
            tools = tuple(tool for tool in tools if tool.name == request.tool_choice)
        if request.tool_choice != "auto":
            if self._form is None:
                return _forced_json(request)
            one_of = parallel and request.tool_choice == "required"
            return StructuredOutputsParams(grammar=grammars.forced(self._form, tools, parallel=one_of))
        if schema is not None:
            if self._form is None:
                raise UnsupportedOption(
                    "This model cannot combine optional tools with an output format. Send only one of them, or set "
                    '"tool_choice" to "required" or "none".',
                    param="response_format",
                )
            grammar = grammars.calls_or_json(self._form, tools, schema, parallel=parallel, strict=request.strict)
            return StructuredOutputsParams(grammar=grammar)
        if self._form is not None and any(tool.strict for tool in tools):
            return StructuredOutputsParams(grammar=grammars.calls_or_text(self._form, tools, parallel=parallel))
        return None

    def parses(self, request: TextRequest) -> bool:
        """Whether an answer must be parsed: it may hold reasoning or tool calls."""
        return self._parser is not None and (self.reasons or _callable(request))

    def keeps_special(self, request: TextRequest) -> bool:
        """Whether the parser needs control tokens in the text."""
        found = self.parser(request)
        return found is not None and not found[1].skip_special_tokens

    def parser(self, request: TextRequest) -> "tuple[Parser, Any] | None":
        """A parser for one answer, and the request in the form that it reads; None if answers are plain text."""
        if self._parser is None or not self.parses(request):
            return None
        chat_request = _chat_request(request, native=self._form is not None)
        tools = chat_request.tools if _callable(request) else None
        kwargs = {"chat_template_kwargs": template_arguments(request)}
        parser = self._parser(self._tokenizer, tools, model_config=self._model_config, **kwargs)
        return parser, parser.adjust_request(chat_request)

    def _native_form(self) -> CallForm | None:
        """The form in which the model itself writes calls, if there is a grammar for it."""
        parser = None if self._parser is None else self._parser.tool_parser_cls
        if parser is None:
            return None
        from vllm.tool_parsers.hermes_tool_parser import Hermes2ProToolParser

        if issubclass(parser, Hermes2ProToolParser):
            vocabulary = self._tokenizer.get_vocab()
            ids = [vocabulary.get(tag) for tag in ("<tool_call>", "</tool_call>")]
            if None in ids:
                return None  # written as ordinary text, the tags could be part of any text
            return CallForm(f'<[{ids[0]}]> "\\n"', f'"\\n" <[{ids[1]}]>', marked=True)
        return CallForm("", "", marked=False) if parser.__name__ == "PlainJsonToolParser" else None


def check_names(tool_parser: str | None, reasoning_parser: str | None) -> None:
    """Imports the parsers of these names.

    Raises:
        ModelLoadFailed: There is no parser of that name.
    """
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager

    ToolParserManager.register_lazy_module(PLAIN_JSON, "adapters.text.tools.plain_json", "PlainJsonToolParser")
    for field, name, find in (
        ("tool_call_parser", tool_parser, ToolParserManager.get_tool_parser),
        ("reasoning_parser", reasoning_parser, ReasoningParserManager.get_reasoning_parser),
    ):
        try:
            _ = name and find(name)
        except (KeyError, ImportError) as error:
            raise ModelLoadFailed(
                f"The option {field} is {name!r}, and there is no such parser. vLLM's documentation lists the names."
            ) from error


def template_arguments(request: TextRequest) -> dict[str, Any]:
    """What chat templates read of a request besides its messages and tools."""
    effort = request.reasoning_effort
    chosen = {} if effort is None else {"reasoning_effort": effort, "enable_thinking": effort != "none"}
    return {**chosen, **request.template_arguments}


def offered(request: TextRequest) -> list[dict[str, Any]]:
    """The tools that the model may call, in OpenAI's form, which chat templates expect."""
    if not _callable(request):
        return []
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters) or {"type": "object", "properties": {}},
            },
        }
        for tool in request.tools
    ]


def _callable(request: TextRequest) -> bool:
    return bool(request.tools) and request.tool_choice != "none"


def _output_schema(request: TextRequest) -> Mapping[str, Any] | None:
    return {"text": None, "json_object": {"type": "object"}, "json_schema": request.schema}[request.output]


def _forced_json(request: TextRequest) -> "StructuredOutputsParams":
    from vllm.tool_parsers.utils import get_json_schema_from_tools

    chat_request = _chat_request(request, native=False)
    schema: Any = get_json_schema_from_tools(chat_request.tool_choice, chat_request.tools, request.parallel_tool_calls)
    return _json_only(schema, strict=any(tool.strict for tool in request.tools))


def _json_only(schema: Mapping[str, Any], *, strict: bool) -> "StructuredOutputsParams":
    from vllm.sampling_params import StructuredOutputsParams

    if (grammar := grammars.json_only(schema, strict=strict)) is not None:
        return StructuredOutputsParams(grammar=grammar)
    return StructuredOutputsParams(json=enforceable(schema, strict=strict))


def _chat_request(request: TextRequest, *, native: bool) -> Any:
    """The request as vLLM's parsers read it.

    Args:
        request: What was asked for.
        native: Whether the model writes forced calls, too, in its own form, and not as vLLM's JSON list.
    """
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    choice: Any = "auto" if native and _callable(request) else request.tool_choice
    if choice not in ("auto", "none", "required"):
        choice = {"type": "function", "function": {"name": choice}}
    return ChatCompletionRequest.model_validate(
        {
            "model": "",
            "messages": [{"role": "user", "content": ""}],
            "tools": offered(request) or None,
            "tool_choice": choice if request.tools else None,
            "parallel_tool_calls": request.parallel_tool_calls,
        }
    )


def _parser_class(tokenizer: Any, tool_parser: str | None, reasoning_parser: str | None) -> "type[Parser] | None":
    from vllm.parser.abstract_parser import DelegatingParser
    from vllm.parser.parser_manager import ParserManager

    try:
        found = ParserManager.get_parser(tool_parser, reasoning_parser, True, tokenizer=tokenizer)
    except (TypeError, KeyError, ValueError, ImportError) as error:
        raise ModelLoadFailed(
            f"The model's tool_call_parser or reasoning_parser does not work with its tokenizer: {error}"
        ) from error
    if found is None or found.tool_parser_cls is None or not issubclass(found, DelegatingParser):
        return found
    parser: Any = found.tool_parser_cls
    # Some of vLLM's parsers have grammars for another backend than the one used here.
    fields = {"structural_tag_model": None, "supports_required_and_named": parser.__name__ != "PlainJsonToolParser"}
    return _subclass(found, {"tool_parser_cls": _subclass(parser, fields)})


def _subclass(parent: type, fields: dict[str, Any]) -> Any:
    created = type(parent.__name__, (parent,), {})  # its base classes set fields while it is created
    for name, value in fields.items():
        setattr(created, name, value)
    return created
