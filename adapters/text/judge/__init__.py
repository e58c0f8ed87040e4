"""Questions answered with the model's own probabilities.

first_token  Answers to questions as probabilities, read from the model's next-token distribution
judge        Questions put to a running engine: which prompts, which tokens, how many requests
sequences    Options that begin alike, told apart by the probabilities of their whole token sequences
"""
