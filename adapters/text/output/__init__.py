"""From engine output to events.

choices          The engine's outputs of one request as events of the seam: text, thoughts, calls, likelihoods
detokenizer      The bytes that each token of a vocabulary stands for, and text from them as tokens come
direct           One plain answer straight from the engine's outputs: no object and no wake-up a token where the ...
engine_requests  Requests to vLLM's engine: checked by vLLM, and not once more where their like was checked before
logprobs         Log-probabilities of tokens from vLLM's form to the seam's, with the bytes that each token stands for
"""
