"""Questions answered with the model's own probabilities.

first_token  Answers to questions as probabilities, from the model's distribution of the next token
judge        Asks a running engine: which prompts, which tokens, how many requests
sequences    Scores options that start alike by the probabilities of their whole token sequences
"""
