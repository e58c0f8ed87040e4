"""Language models, with and without eyes, on vLLM.

engine.py starts and ends vLLM; prompts.py makes tokens of messages; sampling.py makes vLLM's parameters of requests;
judge.py asks questions, by judging.py and sequences.py; vllm_text.py is the adapter.
"""

from adapters.text.vllm_text import VllmText

__all__ = ["VllmText"]
