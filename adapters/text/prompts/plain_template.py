"""Plain conversations by the model's chat template alone.

vLLM and transformers look for tools, images, roles and arguments around it, each time; that costs several times what
the template does. A conversation of nothing but texts needs none of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

ROLES = frozenset({"system", "user", "assistant"})
PLAIN = frozenset({"role", "content"})


class PlainTemplate:
    """One model's template for conversations of texts."""

    def __init__(self, tokenizer: Any, source: str | None) -> None:
        """Compiles it, as transformers does and with transformers' sandbox.

        Args:
            tokenizer: Whose special tokens the template may name.
            source: The template; None where the model has none, or wants its messages in another form.
        """
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
        """The text that opens the assistant's turn; None where it takes more than the template, or where that refuses.

        Args:
            messages: In OpenAI's form.
        """
        if self._template is None or not all(map(_plain, messages)):
            return None
        try:  # As `Template.render`, which would put its names together anew.
            context = self._template.new_context({**self._names, "messages": messages}, shared=True)
            return "".join(self._template.root_render_func(context))
        except (TemplateError, ValueError, TypeError):
            return None  # The long way says what is wrong.


def _plain(message: Mapping[str, Any]) -> bool:
    return message.keys() <= PLAIN and message["role"] in ROLES and isinstance(message["content"], str)
