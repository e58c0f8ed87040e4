"""Messages to tokens: chat templates, images, and text that must not be taken for control tokens."""

import asyncio
import json
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from adapters.base import ImagePart, Message, TextPart
from adapters.errors import ContextLengthExceeded, UnsupportedOption
from adapters.text.prompts.control_tokens import Quoted
from adapters.text.prompts.images import Pictures, picture, sides
from adapters.text.prompts.plain_template import PlainTemplate
from adapters.text.prompts.token_cache import Pieces

if TYPE_CHECKING:
    from vllm.inputs import EngineInput
    from vllm.v1.engine.async_llm import AsyncLLM

SHORT_MESSAGES = 8
SHORT_CHARACTERS = 2000


class Prompts:
    """Makes prompts for one running engine."""

    def __init__(self, engine: "AsyncLLM", max_images: int, template: str | None = None) -> None:
        """Reads the tokenizer's control tokens.

        Args:
            engine: It runs.
            max_images: In one request.
            template: A chat template in place of the checkpoint's own.
        """
        self._template = template
        self._renderer = engine.renderer
        self._model = engine.model_config
        self._tokenizer: Any = engine.get_tokenizer()
        self._pieces = Pieces(self._tokenizer)
        self._max_images = max_images
        self._sides = sides(self._model.hf_config)
        self.supports_images: bool = bool(self._model.supports_multimodal_inputs) and "image" in (
            self._renderer.get_mm_processor().info.allowed_mm_limits
        )
        self._control = re.compile("|".join(map(re.escape, self._control_tokens())) or "(?!)")
        self._plain = PlainTemplate(self._tokenizer, self._plain_source())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prompts")  # Fast tokenizers are not for two threads.

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def pictures(self, parts: Iterable[object], *, param: str = "messages", beside: int = 0) -> Pictures:
        """The images among the parts, decoded outside of the loop.

        Args:
            parts: Of the prompt.
            param: The request's field that is to blame.
            beside: How many images the prompt has already.

        Raises:
            UnsupportedOption: The model has no eyes.
            ContextLengthExceeded: There are too many images for it.
            InvalidMedia: One of them cannot be read.
        """
        images = [part for part in parts if isinstance(part, ImagePart)]
        if images and not self.supports_images:
            raise UnsupportedOption("This model has no eyes: it reads text only. Send no images.", param=param)
        if images and len(images) + beside > self._max_images:
            raise ContextLengthExceeded(
                f"This model takes at most {self._max_images} images in one request; there are {len(images) + beside}.",
                param=param,
            )
        return {id(part): await asyncio.to_thread(picture, part, self._sides, param) for part in images}

    async def chat(
        self,
        messages: Sequence[Message],
        pictures: Pictures,
        tools: Sequence[Mapping[str, Any]] = (),
        arguments: Mapping[str, Any] | None = None,
    ) -> "EngineInput":
        """A conversation as the model was trained to read it, with the assistant's turn opened.

        Args:
            messages: The conversation.
            pictures: Its images.
            tools: That the model may call, as OpenAI writes them.
            arguments: What else the chat template may read.

        Raises:
            UnsupportedOption: The model's chat template refuses the messages, or the model has none.
        """
        from vllm.inputs import TokensPrompt, tokens_input

        if _short(messages, tools):  # Sooner done than handed to a thread.
            tokens, data, digests = self._render(messages, pictures, tools, arguments or {})
        else:
            tokens, data, digests = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._render, messages, pictures, tools, arguments or {}
            )
        if not data:
            return tokens_input(tokens)
        from vllm.renderers.params import TokenizeParams

        prompt = TokensPrompt(prompt_token_ids=tokens, multi_modal_data=data, multi_modal_uuids=digests)
        (rendered,) = await self._renderer.render_cmpl_async([prompt], TokenizeParams(max_total_tokens=None))
        return rendered

    async def read(self, messages: Sequence[Message], pictures: Pictures) -> list[list[int]]:
        """The tokens of conversations of one message each, with one stand-in for each image, whatever its size."""

        def work() -> list[list[int]]:
            return [self._render((message,), pictures, (), {})[0] for message in messages]

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @contextmanager
    def undelivered(self, prompt: Any) -> Generator[None]:
        """For what comes between a prompt and its way to the engine: if that fails, its images were never sent.

        vLLM notes at rendering that the engine has them, and would send none when the next request shows them.
        """
        try:
            yield
        except BaseException:
            cache = self._renderer.mm_processor_cache
            for modality, digests in (prompt.get("mm_hashes") or {}).items():
                for digest, item in zip(digests, prompt["mm_kwargs"][modality], strict=True):
                    if cache is not None and item is not None:
                        cache.invalidate(digest)
            raise

    async def plain(self, prompt: str | tuple[int, ...]) -> "EngineInput":
        """A text, or tokens, to be continued as they are; control tokens in it are meant.

        Raises:
            UnsupportedOption: It is empty, or holds ids that are no tokens.
        """
        from vllm.inputs import tokens_input

        if isinstance(prompt, str):
            loop = asyncio.get_running_loop()
            tokens = await loop.run_in_executor(self._thread, lambda: self._tokenizer(prompt)["input_ids"])
        else:
            tokens = list(prompt)
            self._renderer.validate_token_ids(tokens, parameter="prompt")
        if not tokens:
            raise UnsupportedOption("The prompt is empty.", param="prompt")
        return tokens_input(tokens)

    @property
    def chats(self) -> bool:
        """Whether the model has a chat template."""
        return bool(self._template or self._tokenizer.chat_template)

    def text(self, tokens: Sequence[int]) -> str:
        """What the tokens say, control tokens with it."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=False)

    def first_token(self, text: str) -> int | None:
        """The token with which this text begins; None where that would be a mere space."""
        tokens = self._tokenizer.encode(text, add_special_tokens=False)
        return tokens[0] if tokens and self._tokenizer.decode(tokens[:1]).strip() else None

    def spell(self, text: str) -> list[int]:
        """The tokens of a text; control tokens in it are taken for the letters that they are written with."""
        quoted = Quoted(self._control)
        return self._pieces.encode(quoted.split(quoted.quote(text)))

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The tokens with which the model ends an answer."""
        configured = self._model.try_get_generation_config().get("eos_token_id")
        found = [self._tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])]
        return tuple(dict.fromkeys(token for token in found if isinstance(token, int)))

    def _plain_source(self) -> str | None:
        """The chat template, where it takes messages' contents as texts."""
        from vllm.renderers.hf import resolve_chat_template, resolve_chat_template_content_format

        source = resolve_chat_template(self._tokenizer, self._template, None, model_config=self._model)
        if source is None:
            return None
        form = resolve_chat_template_content_format(
            self._template, None, "auto", self._tokenizer, model_config=self._model
        )
        return source if form == "string" else None

    def _control_tokens(self) -> list[str]:
        """What users must not be able to write: the ends of turns, and the stand-ins for images. Longest first."""
        found = {token.content for token in self._tokenizer.added_tokens_decoder.values() if token.special}
        for name in ("image_token_id", "image_token_index", "video_token_id", "video_token_index"):
            token = getattr(self._model.hf_config, name, None)
            if isinstance(token, int) and token < len(self._tokenizer):
                found.add(self._tokenizer.convert_ids_to_tokens(token))
        return sorted(filter(None, found), key=len, reverse=True)

    def _render(
        self,
        messages: Sequence[Message],
        pictures: Pictures,
        tools: Sequence[Mapping[str, Any]],
        arguments: Mapping[str, Any],
    ) -> tuple[list[int], Any, Any]:
        """Token ids, with one stand-in per image; the images and their names by modality, or None."""
        quoted = Quoted(self._control)
        wire: list[Any] = [_wire(message, pictures, quoted) for message in messages]
        text = None if tools or arguments else self._plain.render(wire)
        if text is not None:
            return self._pieces.encode(quoted.split(text)), None, None
        text, data, digests = self._templated(wire, quoted.quote_all(tools) or None, arguments)
        return self._pieces.encode(quoted.split(text)), data, digests

    def _templated(self, wire: list[Any], tools: Any, arguments: Mapping[str, Any]) -> tuple[str, Any, Any]:
        """The conversation as text, by vLLM's whole way."""
        from vllm.exceptions import VLLMValidationError
        from vllm.renderers.chat_utils import ChatTemplateResolutionError, parse_chat_messages
        from vllm.renderers.hf import resolve_chat_template_content_format, safe_apply_chat_template

        try:
            form = resolve_chat_template_content_format(
                self._template, tools, "auto", self._tokenizer, model_config=self._model
            )
            conversation, data, digests = parse_chat_messages(wire, self._model, form)
            text: Any = safe_apply_chat_template(
                self._model,
                self._tokenizer,
                conversation,
                tools=tools,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=True,
                **arguments,
            )
        except ChatTemplateResolutionError as error:
            raise UnsupportedOption(
                "This model has no chat template: it continues text only.", param="messages"
            ) from error
        except (VLLMValidationError, ValueError, TypeError) as error:
            reason = str(error.args[0] if error.args else error)[:500]
            raise UnsupportedOption(
                f"The model's chat template refuses the messages: {reason}", param="messages"
            ) from error
        return text, data, digests


def _short(messages: Sequence[Message], tools: Sequence[object]) -> bool:
    """Whether a conversation is rendered and read in a few tenths of a millisecond."""
    if tools or len(messages) > SHORT_MESSAGES:
        return False
    left = SHORT_CHARACTERS
    for message in messages:
        for part in message.content:
            if isinstance(part, ImagePart):
                return False
            left -= len(part.text)
    return left >= 0


def _wire(message: Message, pictures: Pictures, quoted: Quoted) -> dict[str, Any]:
    """The message as vLLM takes it: OpenAI's form, with decoded images in it."""
    content: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, TextPart):
            content.append({"type": "text", "text": quoted.quote(part.text)})
        else:
            picture = pictures[id(part)]
            content.append({"type": "image_pil", "image_pil": picture.image, "uuid": picture.digest})
    wire: dict[str, Any] = {"role": message.role, "content": content}
    if message.name:
        wire["name"] = quoted.quote(message.name)
    if message.reasoning:
        wire["reasoning"] = quoted.quote(message.reasoning)
    if len(content) == 1 and content[0]["type"] == "text":
        wire["content"] = content[0]["text"]
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": quoted.quote(call.name), "arguments": quoted.quote(_object(call.arguments))},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _object(arguments: str) -> str:
    """The arguments, if they are the JSON object that templates expect."""
    try:
        fine = isinstance(json.loads(arguments or "{}"), dict)
    except (ValueError, RecursionError):
        fine = False
    if not fine:
        raise UnsupportedOption("The arguments of a tool call must be a JSON object.", param="messages")
    return arguments or "{}"
