"""Language models, with and without eyes, on vLLM.

engine.py starts and ends vLLM; prompts.py makes tokens of messages; sampling.py and judging.py make vLLM's parameters
of requests; vllm_text.py is the adapter.
"""

from adapters.text.vllm_text import VllmText

__all__ = ["VllmText"]
