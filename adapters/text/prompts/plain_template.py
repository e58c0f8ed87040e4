"""Renders plain conversations with the model's chat template alone.

vLLM and transformers look for tools, images, roles and arguments each time, which takes several times as long as the
template itself. A conversation of texts only needs none of that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

ROLES = frozenset({"system", "user", "assistant"})
PLAIN = frozenset({"role", "content"})


class PlainTemplate:
    """One model's chat template, for conversations of texts only."""

    def __init__(self, tokenizer: Any, source: str | None) -> None:
        """Compiles the template as transformers does, in its sandbox.

        Args:
            tokenizer: Has the special tokens that the template may use.
            source: The template; None if the model has none, or needs contents in another form than text.
        """
        # INTERNAL transformers==5.19: the compiler with its sandbox and filters; there is no public one.
        from transformers.utils.chat_template_utils import _compile_jinja_template

        compile_template: Any = _compile_jinja_template
        self._template: Any = compile_template(source) if source else None
        self._names: Mapping[str, Any] = {
            **(self._template.globals if self._template else {}),
            **tokenizer.special_tokens_map,
            "tools": None,
            "documents": None,
            "add_generation_prompt": True,
        }

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str | None:
        """The prompt up to the start of the assistant's turn; None if the template alone is not enough, or refuses.

        Args:
            messages: In OpenAI's form.
        """
        if self._template is None or not all(map(_plain, messages)):
            return None
        try:  # INTERNAL jinja2==3.1: as `Template.render`, which would copy all names each time.
            context = self._template.new_context({**self._names, "messages": messages}, shared=True)
            return "".join(self._template.root_render_func(context))
        except (TemplateError, ValueError, TypeError):
            return None  # vLLM's own renderer then reports the error.


def _plain(message: Mapping[str, Any]) -> bool:
    return message.keys() <= PLAIN and message["role"] in ROLES and isinstance(message["content"], str)
