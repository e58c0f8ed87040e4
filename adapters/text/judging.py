"""Answers to questions as probabilities, read from the model's next-token distribution.

The options of a question are told apart by their first tokens. A model may write "yes", "Yes" or " yes"; so each option
is a set of tokens, over all its spellings, and its probability is the sum over the set. The sums are renormalised
over the options; what they were together before is the `mass`.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from adapters.base import Judgement, JudgeRequest, Message, Question, TextPart
from adapters.errors import UnsupportedOption

MAX_TOKENS_AT_ONCE = 128
"""vLLM's MAX_LOGPROB_TOKEN_IDS: a question with more spellings is asked in several requests over one prompt."""


def message(request: JudgeRequest, question: Question) -> Message:
    """One user's turn. What questions share comes first, so that the caches of prefixes and images serve them all."""
    options = ", ".join(question.options)
    text = (
        f"\n\nAnswer the question with exactly one of these, and nothing else: {options}\n\nQuestion: {question.text}"
    )
    return Message("user", (*request.content, TextPart(text)))


def answer_tokens(question: Question, first_token: Callable[[str], int | None]) -> list[list[int]]:
    """The tokens with which each option may begin, no token in two of them.

    Args:
        question: With at least two options.
        first_token: The id of a text's first token, None where it says nothing.

    Raises:
        UnsupportedOption: Two options begin alike.
    """
    owners: dict[int, str] = {}
    found: list[list[int]] = []
    for option in question.options:
        starts = {first_token(space + spelling) for spelling in _spellings(option) for space in ("", " ")}
        tokens = {token for token in starts if token is not None}
        if not tokens:
            raise UnsupportedOption(f"The option {option!r} is empty for this model.", param="questions")
        for token in tokens:
            if (other := owners.setdefault(token, option)) is not option:
                raise UnsupportedOption(
                    f"The options {other!r} and {option!r} begin with the same token, so this model's next-token "
                    "distribution cannot tell them apart. Use options that begin differently.",
                    param="questions",
                )
        found.append(sorted(tokens))
    return found


def _spellings(option: str) -> set[str]:
    text = option.strip()
    return {text, text.lower(), text[:1].upper() + text[1:]}


def chunks(tokens: Sequence[Sequence[int]]) -> list[list[int]]:
    """All the tokens, in lists that vLLM takes at once."""
    flat = [token for option in tokens for token in option]
    return [flat[at : at + MAX_TOKENS_AT_ONCE] for at in range(0, len(flat), MAX_TOKENS_AT_ONCE)]


def judgement(tokens: Sequence[Sequence[int]], logprobs: Mapping[int, float]) -> Judgement:
    """Probabilities of the options from the natural logarithms of their tokens' probabilities."""
    sums = [sum(math.exp(logprobs[token]) for token in option) for option in tokens]
    mass = sum(sums)
    if mass <= 0:  # Every one of them underflowed: nothing is known.
        return Judgement(tuple(1 / len(sums) for _ in sums), 0.0)
    return Judgement(tuple(one / mass for one in sums), min(mass, 1.0))
