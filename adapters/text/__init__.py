"""Language models, with or without images, on vLLM.

chat_templates  Chat templates for models whose own do not serve them well, and how an option names one
errors          vLLM's exceptions as ours
judge           Questions answered with the model's own probabilities
output          From engine output to events
prompts         From messages to token ids
sampling        A request of the seam as vLLM's sampling parameters; what vLLM cannot do is refused here, never dropped
tools           Tool calls: grammars and parsers
vllm_text       The adapter over vLLM: generate and judge
"""
