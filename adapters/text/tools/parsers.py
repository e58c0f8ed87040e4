"""How one model calls tools and shows its thoughts: parsers by name, and the grammars that hold it to them.

The parsers are vLLM's own (https://docs.vllm.ai, "Tool calling" and "Reasoning outputs") and `plain_json` of ours.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adapters.base import TextRequest
from adapters.errors import ModelLoadFailed, UnsupportedOption
from adapters.text.tools import grammars
from adapters.text.tools.grammars import CallForm

if TYPE_CHECKING:
    from vllm.parser.abstract_parser import Parser
    from vllm.sampling_params import StructuredOutputsParams

PLAIN_JSON = "plain_json"


class Calling:
    """The parsers of one loaded model."""

    def __init__(
        self, tokenizer: Any, model_config: Any, tool_parser: str | None, reasoning_parser: str | None
    ) -> None:
        """Finds the parsers.

        Raises:
            ModelLoadFailed: vLLM has none of that name, or it cannot be used with this tokenizer.
        """
        self._tokenizer = tokenizer
        self._model_config = model_config
        self.thinks = reasoning_parser is not None
        """Whether the model's thoughts are told apart from its answers."""
        self.calls = tool_parser is not None
        """Whether the model can call tools."""
        self._parser = _parser_class(tokenizer, tool_parser, reasoning_parser)
        self._form = self._native_form()

    def check(self, request: TextRequest) -> None:
        """Refuses what this model cannot do.

        Raises:
            UnsupportedOption: Tools, or thoughts, that it has no parser for.
        """
        if _callable(request) and not self.calls:
            raise UnsupportedOption(
                "This model cannot call tools: its entry in the configuration names no tool_call_parser. "
                'Leave "tools" out, or set "tool_choice" to "none".',
                param="tools",
            )
        if request.reasoning_effort not in (None, "none") and not self.thinks:
            raise UnsupportedOption("This model does not think first.", param="reasoning_effort")
        if request.output == "json_schema" and request.schema is None:
            raise UnsupportedOption("Output by a JSON schema needs the schema.", param="response_format")

    def structure(self, request: TextRequest) -> "StructuredOutputsParams | None":
        """What the engine must hold the answer to; None: nothing.

        Raises:
            UnsupportedOption: Tools and an output format that this model's form of calls does not allow together.
        """
        schema = _output_schema(request)
        if schema is None and not _callable(request):
            return None
        from vllm.sampling_params import StructuredOutputsParams

        if schema is not None and not _callable(request):
            return StructuredOutputsParams(json=dict(schema))
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
                    "With this model, tools that it may choose to call and an output format do not go together.",
                    param="response_format",
                )
            return StructuredOutputsParams(grammar=grammars.calls_or_json(self._form, tools, schema, parallel=parallel))
        if self._form is not None and any(tool.strict for tool in tools):
            return StructuredOutputsParams(grammar=grammars.calls_or_text(self._form, tools, parallel=parallel))
        return None

    def parses(self, request: TextRequest) -> bool:
        """Whether an answer to this must be parsed: it may hold thoughts or calls."""
        return self._parser is not None and (self.thinks or _callable(request))

    def keeps_special(self, request: TextRequest) -> bool:
        """Whether the parser wants to see control tokens in the text."""
        found = self.parser(request)
        return found is not None and not found[1].skip_special_tokens

    def parser(self, request: TextRequest) -> "tuple[Parser, Any] | None":
        """A parser for one answer, and the request in the form that it reads; None where text is all there is."""
        if self._parser is None or not self.parses(request):
            return None
        wire = _wire_request(request, native=self._form is not None)
        tools = wire.tools if _callable(request) else None
        kwargs = {"chat_template_kwargs": template_arguments(request)}
        parser = self._parser(self._tokenizer, tools, model_config=self._model_config, **kwargs)
        return parser, parser.adjust_request(wire)

    def _native_form(self) -> CallForm | None:
        """The form in which the model itself writes calls, where there is a grammar of it."""
        parser = None if self._parser is None else self._parser.tool_parser_cls
        if parser is None:
            return None
        from vllm.tool_parsers.hermes_tool_parser import Hermes2ProToolParser

        if issubclass(parser, Hermes2ProToolParser):
            vocabulary = self._tokenizer.get_vocab()
            ids = [vocabulary.get(tag) for tag in ("<tool_call>", "</tool_call>")]
            if None in ids:
                return None  # As text, free text could hold them.
            return CallForm(f'<[{ids[0]}]> "\\n"', f'"\\n" <[{ids[1]}]>', marked=True)
        return CallForm("", "", marked=False) if parser.__name__ == "PlainJsonToolParser" else None


def check_names(tool_parser: str | None, reasoning_parser: str | None) -> None:
    """Imports the parsers of these names.

    Raises:
        ModelLoadFailed: There is none of that name.
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
            raise ModelLoadFailed(f"There is no {field} of the name {name!r}.") from error


def template_arguments(request: TextRequest) -> dict[str, Any]:
    """What chat templates read of a request beside its messages and tools."""
    if request.reasoning_effort is None:
        return {}
    return {"reasoning_effort": request.reasoning_effort, "enable_thinking": request.reasoning_effort != "none"}


def offered(request: TextRequest) -> list[dict[str, Any]]:
    """The tools that the model may call, as OpenAI writes them, and as chat templates want them."""
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
    from vllm.sampling_params import StructuredOutputsParams
    from vllm.tool_parsers.utils import get_json_schema_from_tools

    wire = _wire_request(request, native=False)
    schema: Any = get_json_schema_from_tools(wire.tool_choice, wire.tools, request.parallel_tool_calls)
    return StructuredOutputsParams(json=schema)


def _wire_request(request: TextRequest, *, native: bool) -> Any:
    """The request as vLLM's parsers read it.

    Args:
        request: Of the seam.
        native: Whether the model writes also forced calls in its own form, and not as vLLM's list of JSON.
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
        raise ModelLoadFailed(f"The model's parsers cannot be used: {error}") from error
    if found is None or found.tool_parser_cls is None or not issubclass(found, DelegatingParser):
        return found
    parser: Any = found.tool_parser_cls
    # Some of vLLM's parsers bring grammars for another backend than the one that is used here.
    fields = {"structural_tag_model": None, "supports_required_and_named": parser.__name__ != "PlainJsonToolParser"}
    without = _subclass(parser, fields)
    return _subclass(found, {"tool_parser_cls": without})


def _subclass(parent: type, fields: dict[str, Any]) -> Any:
    made = type(parent.__name__, (parent,), {})  # Its parents set fields of their own while it is made.
    for name, value in fields.items():
        setattr(made, name, value)
    return made
