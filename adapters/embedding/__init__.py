"""Texts to vectors, two backends: transformers (torch alone, starts in seconds) and vLLM's pooling engine.

recipe       what the checkpoint says of itself: pooling, length, prompt
tokens       requests to token ids, within limits; vectors cut to the wanted size
batching     which sequences are computed together (transformers only: vLLM has its own scheduler)
"""

from adapters.embedding.transformers_embedding import TransformersEmbedding
from adapters.embedding.vllm_embedding import VllmEmbedding

__all__ = ["TransformersEmbedding", "VllmEmbedding"]
