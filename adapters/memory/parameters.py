"""Counts a model's parameters from its config files: arithmetic on shapes, without libraries or weights.

Each function follows the class that loads the checkpoint (named in its docstring); tests compare the counts with those
classes on the meta device. Buffers in some checkpoints are not counted; they are far below 0.1 %.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.memory import parameters_diffusion

Config = Mapping[str, Any]


class UnknownArchitecture(Exception):
    """The parameters of a model of this class cannot be counted."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of a model's parameters."""

    layers: int
    """In the layers, which every quantisation compresses."""
    kept: int = 0
    """In embeddings, output head and vision tower, which engines such as vLLM leave in 16 bit."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.layers + self.kept


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """How weights are stored in memory."""

    bits: int
    group_size: int | None = None
    """Number of weights that share a scale (and a zero point); None: a whole row, whose scale is negligible."""
    group_bits: int = 0
    """Of each group's scale and zero point together."""
    layers_only: bool = False
    """Embeddings, output head and vision tower stay in 16 bit."""

    def bytes_of(self, parameters: Parameters) -> int:
        """Bytes of some parameters."""
        bits = self.bits + (self.group_bits / self.group_size if self.group_size else 0)
        small, wide = (parameters.layers, parameters.kept) if self.layers_only else (parameters.total, 0)
        return round(small * bits / 8) + 2 * wide


FORMATS: Mapping[str, WeightFormat] = {
    "float32": WeightFormat(32),
    "float16": WeightFormat(16),
    "bfloat16": WeightFormat(16),
    # All matrices, as in CTranslate2, and as in the round numbers of model cards.
    "int8": WeightFormat(8),
    "int4": WeightFormat(4, 128, 16 + 4),
    # Methods of vLLM: the layers only. arXiv 2306.00978, 2210.17323, 2305.14314.
    "awq": WeightFormat(4, 128, 16 + 4, layers_only=True),
    "gptq": WeightFormat(4, 128, 16 + 4, layers_only=True),
    "bitsandbytes": WeightFormat(4, 64, 32, layers_only=True),
    "fp8": WeightFormat(8, layers_only=True),
}
"""Formats by their names in configurations."""


def count(config: Config) -> Parameters:
    """The parameters of one model or pipeline component.

    Args:
        config: Its parsed `config.json`, of transformers or of diffusers.

    Raises:
        UnknownArchitecture: Its class is unknown, or its config does not determine its shapes.
    """
    name = class_of(config)
    counter = _COUNTERS.get(name) or _COUNTERS.get(str(config.get("model_type")))
    if counter is None:
        raise UnknownArchitecture(f"the parameters of a {name or 'model without a class'} cannot be counted")
    try:
        return counter(config)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UnknownArchitecture(f"the config of this {name} has a missing or wrong value: {error}") from error


def class_of(config: Config) -> str:
    """The class that a config is for: diffusers' `_class_name` or the first of transformers' `architectures`."""
    architectures = config.get("architectures") or [""]
    return str(config.get("_class_name") or architectures[0])


def text_config(config: Config) -> Config:
    """The config of the language model: a part of a vision model's config, otherwise the config itself."""
    return config.get("text_config") or config


def head_size(config: Config) -> int:
    """Width of one attention head."""
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def kv_heads(config: Config) -> int:
    """Key and value heads; fewer than attention heads with grouped-query attention (arXiv 2305.13245)."""
    return config.get("num_key_value_heads") or config["num_attention_heads"]


def _decoder(config: Config, *, bias: bool = False) -> Parameters:
    """`LlamaForCausalLM` and similar classes (Qwen2, Mistral, Phi-3): gated MLP, RMSNorm, grouped-query attention."""
    hidden, heads, width = config["hidden_size"], config["num_attention_heads"], head_size(config)
    query, key = heads * width, kv_heads(config) * width
    attention = hidden * (query + 2 * key) + query * hidden + ((query + 2 * key) if bias else 0)
    layer = attention + 3 * hidden * config["intermediate_size"] + 2 * hidden
    embedding = config["vocab_size"] * hidden
    tied = config.get("tie_word_embeddings", False)
    return Parameters(config["num_hidden_layers"] * layer + hidden, embedding if tied else 2 * embedding)


def _qwen2(config: Config) -> Parameters:
    return _decoder(config, bias=True)


def _qwen3(config: Config) -> Parameters:
    """`Qwen3ForCausalLM`, and `Qwen3Model` without a head: a norm of queries and one of keys in each layer."""
    found = _decoder(config)
    norms = 2 * head_size(config) * config["num_hidden_layers"]
    headless = class_of(config) == "Qwen3Model"
    kept = config["vocab_size"] * config["hidden_size"] if headless else found.kept
    return Parameters(found.layers + norms, kept)


def _vit(config: Config, *, class_token: bool) -> int:
    """A vision tower: `SiglipVisionModel` without its pooling head, or `CLIPVisionModel` with its class token."""
    hidden, patch = config["hidden_size"], config["patch_size"]
    patches = (config["image_size"] // patch) ** 2
    embedding = 3 * patch * patch * hidden + (patches + class_token) * hidden
    embedding += hidden + 2 * hidden if class_token else hidden  # a token and a first norm, or the convolution's bias
    return embedding + config["num_hidden_layers"] * _block(hidden, config["intermediate_size"]) + 2 * hidden


def _block(hidden: int, inner: int) -> int:
    """A transformer layer with biases everywhere and two LayerNorms, as in CLIP, SigLIP and Whisper."""
    return 4 * (hidden * hidden + hidden) + 2 * hidden * inner + hidden + inner + 4 * hidden


def _llava_onevision(config: Config) -> Parameters:
    """`LlavaOnevisionForConditionalGeneration`: SigLIP, a projector of two layers, and a language model."""
    text, vision = config["text_config"], config["vision_config"]
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))
    words = count({**text, "architectures": None, "tie_word_embeddings": tied})
    into, out = vision["hidden_size"], text["hidden_size"]
    projector = into * out + out + out * out + out + out  # and the newline between rows of patches
    return Parameters(words.layers, words.kept + _vit(vision, class_token=False) + projector)


def _phi3_v(config: Config) -> Parameters:
    """`Phi3VForCausalLM`: Phi-3 mini and CLIP ViT-L/14 at 336 pixels, whose shape its config only names."""
    if config["img_processor"]["model_name"] != "openai/clip-vit-large-patch14-336":
        raise ValueError("img_processor.model_name")
    words, hidden = _decoder(config), config["hidden_size"]
    clip = {
        "hidden_size": 1024,
        "patch_size": 14,
        "image_size": 336,
        "num_hidden_layers": 24,
        "intermediate_size": 4096,
    }
    joined = 4 * config["img_processor"]["image_dim_out"]  # two by two patches become one token
    projector = joined * hidden + hidden + hidden * hidden + hidden + 2 * joined  # and two learnt separators
    return Parameters(words.layers, words.kept + _vit(clip, class_token=True) + projector)


def _whisper(config: Config) -> Parameters:
    """`WhisperForConditionalGeneration`; the output head is the embedding. Keys have no bias."""
    hidden, positions = config["d_model"], config["max_source_positions"] + config["max_target_positions"]
    attention = 4 * hidden * hidden + 3 * hidden
    encoder = attention + 2 * hidden * config["encoder_ffn_dim"] + config["encoder_ffn_dim"] + 5 * hidden
    decoder = 2 * attention + 2 * hidden * config["decoder_ffn_dim"] + config["decoder_ffn_dim"] + 7 * hidden
    convolutions = 3 * config["num_mel_bins"] * hidden + hidden + 3 * hidden * hidden + hidden
    layers = config["encoder_layers"] * encoder + config["decoder_layers"] * decoder + convolutions + 4 * hidden
    return Parameters(layers + positions * hidden, config["vocab_size"] * hidden)


def _bert(config: Config) -> Parameters:
    """`BertModel`, with the pooler that its checkpoints carry."""
    hidden = config["hidden_size"]
    layers = config["num_hidden_layers"] * _block(hidden, config["intermediate_size"]) + hidden * hidden + hidden
    rows = config["vocab_size"] + config["max_position_embeddings"] + config["type_vocab_size"] + 2
    return Parameters(layers, rows * hidden)


def _clip_text(config: Config) -> Parameters:
    """`CLIPTextModel`, and `CLIPTextModelWithProjection`."""
    hidden = config["hidden_size"]
    layers = config["num_hidden_layers"] * _block(hidden, config["intermediate_size"]) + 2 * hidden
    if class_of(config) == "CLIPTextModelWithProjection":
        layers += hidden * config["projection_dim"]
    return Parameters(layers, (config["vocab_size"] + config["max_position_embeddings"]) * hidden)


def _t5_encoder(config: Config) -> Parameters:
    """`T5EncoderModel`: no biases; the first layer's relative positions serve all (arXiv 1910.10683)."""
    hidden, inner = config["d_model"], config["num_heads"] * config["d_kv"]
    gated = str(config.get("feed_forward_proj", "relu")).startswith("gated")
    layer = 4 * hidden * inner + (3 if gated else 2) * hidden * config["d_ff"] + 2 * hidden
    positions = config.get("relative_attention_num_buckets", 32) * config["num_heads"]
    return Parameters(config["num_layers"] * layer + positions + hidden, config["vocab_size"] * hidden)


def _of_layers(counted: Callable[[Config], int]) -> Callable[[Config], Parameters]:
    return lambda config: Parameters(counted(config))


_COUNTERS: dict[str, Callable[[Config], Parameters]] = {
    "LlamaForCausalLM": _decoder,
    "llama": _decoder,
    "MistralForCausalLM": _decoder,
    "mistral": _decoder,
    "Phi3ForCausalLM": _decoder,
    "Qwen2ForCausalLM": _qwen2,
    "qwen2": _qwen2,
    "Qwen3ForCausalLM": _qwen3,
    "Qwen3Model": _qwen3,
    "LlavaOnevisionForConditionalGeneration": _llava_onevision,
    "Phi3VForCausalLM": _phi3_v,
    "WhisperForConditionalGeneration": _whisper,
    "BertModel": _bert,
    "CLIPTextModel": _clip_text,
    "CLIPTextModelWithProjection": _clip_text,
    "T5EncoderModel": _t5_encoder,
    "UNet2DConditionModel": _of_layers(parameters_diffusion.unet),
    "AutoencoderKL": _of_layers(parameters_diffusion.autoencoder),
    "LTXVideoTransformer3DModel": _of_layers(parameters_diffusion.ltx_transformer),
    "AutoencoderKLLTXVideo": _of_layers(parameters_diffusion.ltx_autoencoder),
}
