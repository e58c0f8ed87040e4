"""Language models, with or without images, on vLLM.

chat_templates  Chat templates for models whose own do not work well, and how an option names one
judge           Questions answered with the model's own probabilities
options         What the operator may set for a language model on vLLM, and the engine's arguments
output          From engine output to events
prompts         From messages to token ids
sampling        A request as vLLM's sampling parameters; what vLLM cannot do is refused here, never dropped
tools           Tool calls: grammars and parsers
vllm_text       The adapter over vLLM: generate and judge
"""
