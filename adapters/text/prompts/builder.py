"""Messages to token ids: chat templates, images, and users' text without control tokens."""

import asyncio
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from adapters.base import ImagePart, Message
from adapters.errors import ContextLengthExceeded, InvalidMedia, UnsupportedOption
from adapters.text.prompts import images, length
from adapters.text.prompts.control_tokens import ControlTokenEscaper
from adapters.text.prompts.conversation import is_short, openai_message, simpler, with_images_of_users
from adapters.text.prompts.fill_in import FillIn
from adapters.text.prompts.images import PromptImage, PromptImages
from adapters.text.prompts.plain_template import PlainTemplate
from adapters.text.prompts.token_cache import TokenCache

if TYPE_CHECKING:
    from vllm.inputs import EngineInput
    from vllm.v1.engine.async_llm import AsyncLLM


class PromptBuilder:
    """Builds prompts for one running engine."""

    def __init__(self, engine: "AsyncLLM", max_images: int, template: str | None = None) -> None:
        """Reads the tokenizer's control tokens.

        Args:
            engine: The running engine.
            max_images: The most images of one request.
            template: A chat template instead of the checkpoint's own.
        """
        self._template = template
        self._renderer = engine.renderer
        self._model = engine.model_config
        self._tokenizer: Any = engine.get_tokenizer()
        self._token_cache = TokenCache(self._tokenizer)
        self._max_images = max_images
        self._max_sides = images.max_sides(self._model.hf_config)
        self.supports_images: bool = bool(self._model.supports_multimodal_inputs) and "image" in (
            self._renderer.get_mm_processor().info.allowed_mm_limits
        )
        self._control = re.compile("|".join(map(re.escape, self._control_tokens())) or "(?!)")
        self._plain = PlainTemplate(self._tokenizer, self._plain_source())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prompts")  # fast tokenizers are not thread-safe

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def check_length(self, texts: Sequence[str], *, param: str, prompts: int = 1) -> None:
        """Refuses texts far beyond the context before they are rendered and tokenized. See `length.check_length`."""
        context: int = self._model.max_model_len
        if sum(map(len, texts)) > context * prompts * length.LIKELY_CHARACTERS:
            await length.check_length(texts, context, prompts, self._count, param=param)

    async def _count(self, text: str) -> int:
        encode = self._token_cache.encode_once
        return len(await asyncio.get_running_loop().run_in_executor(self._thread, encode, text))

    async def images(self, parts: Iterable[object], *, param: str = "messages", already: int = 0) -> PromptImages:
        """The images among the parts, decoded outside the event loop; without earlier ones that cannot be shown.

        Args:
            parts: Of the prompt's messages.
            param: The request field that errors name.
            already: How many images the prompt has besides these.

        Raises:
            UnsupportedOption: The model does not accept images.
            ContextLengthExceeded: There are more images than one request may have.
            InvalidMedia: An image cannot be decoded.
        """
        found = [part for part in parts if isinstance(part, ImagePart)]
        required = sum(not part.earlier for part in found)
        if required and not self.supports_images:
            raise UnsupportedOption(
                "This model does not accept images. Send text only, or choose a model of kind vision.", param=param
            )
        if required and required + already > self._max_images:
            raise ContextLengthExceeded(
                f"This model accepts at most {self._max_images} images in one request; this one has "
                f"{required + already}.",
                param=param,
            )
        room = self._max_images - already - required if self.supports_images else 0
        earlier = [part for part in found if part.earlier]
        kept = earlier[max(0, len(earlier) - room) :]
        await asyncio.to_thread(images.check_total, [part.image for part in found if not part.earlier], param)
        decoded: dict[int, PromptImage] = {}
        for part in (*kept, *(part for part in found if not part.earlier)):
            try:
                decoded[id(part)] = await asyncio.to_thread(images.decode, part, self._max_sides, param)
            except InvalidMedia:
                if not part.earlier:
                    raise
        return decoded

    async def chat(
        self,
        messages: Sequence[Message],
        images: PromptImages,
        tools: Sequence[Mapping[str, Any]] = (),
        arguments: Mapping[str, Any] | None = None,
    ) -> "EngineInput":
        """A conversation in the form that the model was trained on, up to the start of the assistant's turn.

        Args:
            messages: The conversation.
            images: Its images.
            tools: The tools that the model may call, in OpenAI's form.
            arguments: Further variables of the chat template.

        Raises:
            UnsupportedOption: The model's chat template refuses the messages, or the model has none.
        """
        from vllm.inputs import TokensPrompt, tokens_input

        if is_short(messages, tools):  # faster than handing it to a thread
            tokens, data, digests = self._render(messages, images, tools, arguments or {})
        else:
            tokens, data, digests = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._render, messages, images, tools, arguments or {}
            )
        if not data:
            return tokens_input(tokens)
        from vllm.renderers.params import TokenizeParams

        prompt = TokensPrompt(prompt_token_ids=tokens, multi_modal_data=data, multi_modal_uuids=digests)
        (rendered,) = await self._renderer.render_cmpl_async([prompt], TokenizeParams(max_total_tokens=None))
        return rendered

    async def placeholder_tokens(self, messages: Sequence[Message], images: PromptImages) -> list[list[int]]:
        """The tokens of conversations of one message each, with one placeholder per image, whatever its size."""

        def work() -> list[list[int]]:
            return [self._render((message,), images, (), {})[0] for message in messages]

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @contextmanager
    def undelivered(self, prompt: Any) -> Generator[None]:
        """Wraps the work between building a prompt and sending it; if it fails, the images count as not sent.

        vLLM records at rendering that the engine has the images, and would not send them with the next request.
        """
        try:
            yield
        except BaseException:
            cache = self._renderer.mm_processor_cache  # INTERNAL vllm==0.32: what it believes the engine to have
            for modality, digests in (prompt.get("mm_hashes") or {}).items():
                for digest, item in zip(digests, prompt["mm_kwargs"][modality], strict=True):
                    if cache is not None and item is not None:
                        cache.invalidate(digest)
            raise

    async def plain(self, prompt: str | tuple[int, ...], suffix: str = "") -> "EngineInput":
        """A text or token ids to be continued as they are; control tokens in it count as control tokens.

        Args:
            prompt: What precedes the new text.
            suffix: What follows it; "" for nothing.

        Raises:
            UnsupportedOption: It is empty, has ids outside the vocabulary, or the model does not support a suffix.
        """
        from vllm.inputs import tokens_input

        if isinstance(prompt, str):
            tokens = await self._tokenized(prompt)
        else:
            tokens = list(prompt)
            self._renderer.validate_token_ids(tokens, parameter="prompt")
        if suffix:
            tokens = self.fill_in.prompt(tokens, await self._tokenized(suffix))
        if not tokens:
            raise UnsupportedOption("The prompt is empty. Send at least one token.", param="prompt")
        return tokens_input(tokens)

    async def _tokenized(self, text: str) -> list[int]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: self._tokenizer(text)["input_ids"])

    @cached_property
    def fill_in(self) -> FillIn:
        """The tokens for prompts with a suffix."""
        return FillIn(self._tokenizer)

    @property
    def has_chat_template(self) -> bool:
        """Whether the model has a chat template."""
        return bool(self._template or self._tokenizer.chat_template)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of the tokens, with control tokens."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=False)

    def first_token(self, text: str) -> int | None:
        """The first token of this text; None if that is only a space."""
        tokens = self._tokenizer.encode(text, add_special_tokens=False)
        return tokens[0] if tokens and self._tokenizer.decode(tokens[:1]).strip() else None

    def encode(self, text: str) -> list[int]:
        """The tokens of a text; control tokens in it are read as ordinary text."""
        escaper = ControlTokenEscaper(self._control)
        return self._token_cache.encode(escaper.split(escaper.escape(text)))

    @cached_property
    def end_tokens(self) -> tuple[int, ...]:
        """The tokens that end an answer."""
        configured = self._model.try_get_generation_config().get("eos_token_id")
        found = [self._tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])]
        return tuple(dict.fromkeys(token for token in found if isinstance(token, int)))

    def _plain_source(self) -> str | None:
        """The chat template, if it takes contents as text."""
        # INTERNAL vllm==0.32: how it chooses a template and the form of contents.
        from vllm.renderers.hf import resolve_chat_template, resolve_chat_template_content_format

        source = resolve_chat_template(self._tokenizer, self._template, None, model_config=self._model)
        if source is None:
            return None
        form = resolve_chat_template_content_format(
            self._template, None, "auto", self._tokenizer, model_config=self._model
        )
        return source if form == "string" else None

    def _control_tokens(self) -> list[str]:
        """What users must not be able to write: the ends of turns, and placeholders of images. Longest first."""
        found = {token.content for token in self._tokenizer.added_tokens_decoder.values() if token.special}
        for name in ("image_token_id", "image_token_index", "video_token_id", "video_token_index"):
            token = getattr(self._model.hf_config, name, None)
            if isinstance(token, int) and token < len(self._tokenizer):
                found.add(self._tokenizer.convert_ids_to_tokens(token))
        return sorted(filter(None, found), key=len, reverse=True)

    def _render(
        self,
        messages: Sequence[Message],
        images: PromptImages,
        tools: Sequence[Mapping[str, Any]],
        arguments: Mapping[str, Any],
    ) -> tuple[list[int], Any, Any]:
        """Token ids, with one placeholder per image; the images and their hashes by modality, or None."""
        if images:
            messages = with_images_of_users(messages, images)
        try:
            return self._render_as_given(messages, images, tools, arguments)
        except UnsupportedOption as refused:
            for form in simpler(messages) if self.has_chat_template else ():
                with suppress(UnsupportedOption):
                    return self._render_as_given(form, images, tools, arguments)
            raise refused from refused.__cause__

    def _render_as_given(
        self,
        messages: Sequence[Message],
        images: PromptImages,
        tools: Sequence[Mapping[str, Any]],
        arguments: Mapping[str, Any],
    ) -> tuple[list[int], Any, Any]:
        escaper = ControlTokenEscaper(self._control)
        chat: list[Any] = [openai_message(message, images, escaper) for message in messages]
        text = None if tools or arguments else self._plain.render(chat)
        if text is not None:
            return self._token_cache.encode(escaper.split(text)), None, None
        text, data, digests = self._templated(chat, escaper.escape_all(tools) or None, escaper.escape_all(arguments))
        return self._token_cache.encode(escaper.split(text)), data, digests

    def _templated(self, chat: list[Any], tools: Any, arguments: Mapping[str, Any]) -> tuple[str, Any, Any]:
        """The conversation as text, by vLLM's own renderer."""
        # INTERNAL vllm==0.32: the steps of its renderer, so that escaped text can be split before it is tokenized.
        from vllm.exceptions import VLLMValidationError
        from vllm.renderers.chat_utils import ChatTemplateResolutionError, parse_chat_messages
        from vllm.renderers.hf import resolve_chat_template_content_format, safe_apply_chat_template

        try:
            form = resolve_chat_template_content_format(
                self._template, tools, "auto", self._tokenizer, model_config=self._model
            )
            conversation, data, digests = parse_chat_messages(chat, self._model, form)
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
                "This model has no chat template, so it cannot answer messages. Use /v1/completions with a prompt.",
                param="messages",
            ) from error
        except (VLLMValidationError, ValueError, TypeError, RecursionError) as error:
            reason = str(error.args[0] if error.args else error)[:500]
            raise UnsupportedOption(
                f"The model's chat template refuses the messages: {reason}", param="messages"
            ) from error
        return text, data, digests
