"""Answers to questions as probabilities, read from the model's next-token distribution.

A model may write "yes", "Yes" or " yes"; so each option is a set of token sequences, one for each of its spellings, and
its probability is the sum over the set. Where the first tokens tell all options apart, one step of the model is enough
(`first_tokens`); else the whole sequences are followed (`adapters/text/judge/sequences.py`). The probabilities are
renormalised over the options; what they were together before is the `mass`.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from adapters.base import Judgement, JudgeRequest, Message, Question, TextPart
from adapters.errors import UnsupportedOption

MAX_TOKENS_AT_ONCE = 128
"""vLLM's MAX_LOGPROB_TOKEN_IDS: a question with more spellings is asked in several requests over one prompt."""

Spellings = Sequence[tuple[str, ...]]
"""Of each option, all ways of writing it; its own first."""


def message(request: JudgeRequest, question: Question) -> Message:
    """One user's turn. What questions share comes first, so that the caches of prefixes and images serve them all."""
    options = ", ".join(question.options)
    text = (
        f"\n\nAnswer the question with exactly one of these, and nothing else: {options}\n\nQuestion: {question.text}"
    )
    return Message("user", (*request.content, TextPart(text), *question.content))


def spellings(options: Sequence[str]) -> Spellings:
    """How each option may be written: as it is, in small letters, with a capital; each also behind a space.

    A spelling that is another option's own, or that two options share, is neither's but the one's whose own it is.

    Raises:
        UnsupportedOption: An option says nothing, or two differ by blanks only.
    """
    own = [option.strip() for option in options]
    for text, times in Counter(own).items():
        if not text or times > 1:
            reason = "says nothing" if not text else "is there twice, blanks aside"
            raise UnsupportedOption(f"The option {text!r} {reason}.", param="questions")
    folded = [dict.fromkeys((text, text.lower(), text[:1].upper() + text[1:])) for text in own]
    shared = Counter(text for variants in folded for text in variants)
    kept = [[text for text in variants if text == own[at] or shared[text] == 1] for at, variants in enumerate(folded)]
    return [tuple(space + text for space in ("", " ") for text in variants) for variants in kept]


def first_tokens(options: Spellings, first_token: Callable[[str], int | None]) -> list[list[int]] | None:
    """The tokens with which each option may begin, no token in two of them; None where two begin alike.

    Args:
        options: Their spellings.
        first_token: The id of a text's first token, None where it is a mere space.
    """
    owners: dict[int, int] = {}
    found: list[list[int]] = []
    for index, variants in enumerate(options):
        tokens = {token for token in map(first_token, variants) if token is not None}
        if not tokens or any(owners.setdefault(token, index) != index for token in tokens):
            return None
        found.append(sorted(tokens))
    return found


def answer_tokens(question: Question, first_token: Callable[[str], int | None]) -> list[list[int]]:
    """As `first_tokens`, for those who can follow no sequences.

    Raises:
        UnsupportedOption: Two options begin alike.
    """
    found = first_tokens(spellings(question.options), first_token)
    if found is None:
        raise UnsupportedOption("Two options begin with the same token.", param="questions")
    return found


def chunks(tokens: Iterable[int]) -> list[list[int]]:
    """The tokens, in lists that vLLM takes at once."""
    flat = list(tokens)
    return [flat[at : at + MAX_TOKENS_AT_ONCE] for at in range(0, len(flat), MAX_TOKENS_AT_ONCE)]


def judgement(tokens: Sequence[Sequence[int]], logprobs: Mapping[int, float], temperature: float = 1.0) -> Judgement:
    """Probabilities of the options from the natural logarithms of their first tokens' probabilities."""
    sums = [sum(math.exp(logprobs[token]) for token in option) for option in tokens]
    return weighed([math.log(one) if one > 0 else -math.inf for one in sums], sum(sums), temperature)


def weighed(scores: Sequence[float], mass: float, temperature: float) -> Judgement:
    """Options by their scores: softmax(scores / temperature).

    Args:
        scores: Natural logarithms, up to a constant.
        mass: What the options were together.
        temperature: Of the calibration; above 1 it makes the model less sure (Guo et al. 2017, arXiv:1706.04599).
    """
    highest = max(scores)
    if highest == -math.inf:  # Every one of them underflowed: nothing is known.
        return Judgement(tuple(1 / len(scores) for _ in scores), 0.0)
    weights = [math.exp((score - highest) / temperature) for score in scores]
    return Judgement(tuple(weight / sum(weights) for weight in weights), min(mass, 1.0))
