"""What the operator may set for a language model on vLLM, and how vLLM is told."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from adapters.engines.vllm_settings import EngineOptions
from adapters.errors import ModelLoadFailed

RESERVED = frozenset({
    "messages", "conversation", "tools", "documents", "tokenize", "chat_template", "add_generation_prompt",
})  # fmt: skip
"""Variables of chat templates that no request may set: the conversation, the tools and the template itself."""


def _is_free(name: str) -> str:
    if name in RESERVED or not name.isidentifier():
        raise ValueError(f"{name!r} is not a variable that requests may set")
    return name


TemplateVariable = Annotated[str, AfterValidator(_is_free)]


class TextOptions(EngineOptions):
    """What the operator may set for a language model on vLLM."""

    max_model_len: int | None = Field(None, ge=16)
    """Tokens of prompt and answer together; None: the model's own limit, or what the cache can hold if that is less."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Of weights and activations; "auto": as in the checkpoint."""
    max_num_seqs: int | None = Field(None, ge=1, le=1024)
    """Answers that are generated at the same time; more wait. None: 32 on a CPU, 256 on a GPU."""
    sleep: bool = False
    """On a GPU: make room for other models by sleeping (weights wait in RAM) instead of unloading. Needs CUDA."""
    chat_template: str | None = None
    """A Jinja template to use for conversations instead of the checkpoint's: an absolute path, or the name of one in
    `adapters/text/templates/`."""
    template_variables: tuple[TemplateVariable, ...] = ("enable_thinking", "thinking")
    """Variables of the chat template that requests may set by `chat_template_kwargs`."""
    tool_call_parser: str | None = None
    """The parser of the model's tool calls: one of vLLM's ("hermes", "llama3_json", ...) or "plain_json". None: the
    model cannot call tools."""
    reasoning_parser: str | None = None
    """The parser that separates the model's reasoning from its answer: one of vLLM's ("qwen3", "deepseek_r1", ...).
    None: the model does not reason first."""
    max_images: int = Field(8, ge=1, le=64)
    """Images in one request, for models that accept images."""
    image_cache_gib: float = Field(0.25, ge=0)
    """For prepared images that come again, once in the server and once in the engine; for models that accept images."""


def engine_arguments(options: TextOptions, cpu: bool) -> dict[str, Any]:
    """Arguments of vLLM's `AsyncEngineArgs` for a language model.

    Raises:
        ModelLoadFailed: An option needs a GPU.
    """
    from vllm.config import StructuredOutputsConfig

    if cpu and options.sleep:
        raise ModelLoadFailed("The option sleep needs a GPU. Leave it out: on a CPU models are unloaded instead.")
    return {
        "dtype": options.dtype,
        "max_model_len": options.max_model_len or -1,  # -1: as long as model and cache allow.
        "max_num_seqs": options.max_num_seqs or (32 if cpu else 256),
        "enable_prefix_caching": True,
        "enable_sleep_mode": options.sleep,
        # vLLM's 128 on a CPU is more tokens than most prompts have: nothing would be cached.
        "block_size": 32 if cpu else None,
        "limit_mm_per_prompt": {"image": options.max_images, "video": 0, "audio": 0},
        "mm_processor_cache_gb": options.image_cache_gib,
        # "guidance" refuses what it cannot enforce, before the engine sees it; "auto" would drop some of it. The layout
        # of JSON is part of each grammar (`adapters/text/tools/schemas.py`).
        "structured_outputs_config": StructuredOutputsConfig(
            backend="guidance", reasoning_parser=options.reasoning_parser or ""
        ),
    }
