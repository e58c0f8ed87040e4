"""From engine output to events.

choices          The engine's outputs of one request as events: text, reasoning, tool calls, log-probabilities
detokenizer      Token ids to bytes, and to text while tokens arrive
direct           One plain answer straight from the engine's outputs: no object and no wake-up per token while the ...
engine_requests  Requests to vLLM's engine, which vLLM validates; a request like an earlier one is not validated again
logprobs         vLLM's log-probabilities as those of the contract, with the bytes of each token
"""
