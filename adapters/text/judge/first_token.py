"""Answers to questions as probabilities, from the model's distribution of the next token.

A model may write "yes", "Yes" or " yes". So each option is a set of token sequences, one per spelling, and its
probability is the sum over the set. If the first tokens distinguish all options, one step of the model is enough
(`first_tokens`); otherwise whole sequences are scored (`adapters/text/judge/sequences.py`). The probabilities are
normalised over the options; their sum before that is the `mass`.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from adapters.base import Judgement, JudgeRequest, Message, Question, TextPart
from adapters.errors import UnsupportedOption

MAX_TOKENS_AT_ONCE = 128
"""INTERNAL vllm==0.32: its MAX_LOGPROB_TOKEN_IDS. A question with more spellings takes several requests."""

Spellings = Sequence[tuple[str, ...]]
"""All spellings of each option, its own first."""


def message(request: JudgeRequest, question: Question) -> Message:
    """A user message. What questions share comes first, so that prefix and image caches serve all of them."""
    options = ", ".join(question.options)
    text = (
        f"\n\nAnswer the question with exactly one of these, and nothing else: {options}\n\nQuestion: {question.text}"
    )
    return Message("user", (*request.content, TextPart(text), *question.content))


def spellings(options: Sequence[str]) -> Spellings:
    """How each option may be written: as it is, in lower case, capitalised; each also after a space.

    A spelling that two options share counts for neither, unless it is one option's own text.

    Raises:
        UnsupportedOption: An option is empty, or two differ by white space only.
    """
    own = [option.strip() for option in options]
    for text, times in Counter(own).items():
        if not text or times > 1:
            reason = "is empty" if not text else "appears more than once, apart from white space"
            raise UnsupportedOption(
                f"The option {text!r} {reason}. Send options with different texts.", param="questions"
            )
    folded = [dict.fromkeys((text, text.lower(), text[:1].upper() + text[1:])) for text in own]
    shared = Counter(text for variants in folded for text in variants)
    kept = [[text for text in variants if text == own[at] or shared[text] == 1] for at, variants in enumerate(folded)]
    return [tuple(space + text for space in ("", " ") for text in variants) for variants in kept]


def first_tokens(options: Spellings, first_token: Callable[[str], int | None]) -> list[list[int]] | None:
    """The tokens with which each option may start, no token in two of them; None if two options start alike.

    Args:
        options: Their spellings.
        first_token: Returns the id of a text's first token, None if that is only a space.
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
    """As `first_tokens`, for callers that cannot score sequences.

    Raises:
        UnsupportedOption: Two options start alike.
    """
    found = first_tokens(spellings(question.options), first_token)
    if found is None:
        raise UnsupportedOption(
            "Two options start with the same token. Send options that start differently.", param="questions"
        )
    return found


def chunks(tokens: Iterable[int]) -> list[list[int]]:
    """The tokens in lists that vLLM accepts in one request."""
    flat = list(tokens)
    return [flat[at : at + MAX_TOKENS_AT_ONCE] for at in range(0, len(flat), MAX_TOKENS_AT_ONCE)]


def judgement(tokens: Sequence[Sequence[int]], logprobs: Mapping[int, float], temperature: float = 1.0) -> Judgement:
    """Probabilities of the options from the natural logarithms of their first tokens' probabilities."""
    sums = [sum(math.exp(logprobs[token]) for token in option) for option in tokens]
    return softmax([math.log(one) if one > 0 else -math.inf for one in sums], sum(sums), temperature)


def softmax(scores: Sequence[float], mass: float, temperature: float) -> Judgement:
    """The options' probabilities: the softmax of their scores, divided by a temperature.

    Args:
        scores: Natural logarithms, up to a constant.
        mass: The options' probability together.
        temperature: Of the calibration; above 1, the model is less certain (Guo et al. 2017, arXiv:1706.04599).
    """
    highest = max(scores)
    if highest == -math.inf:  # all underflowed: nothing is known
        return Judgement(tuple(1 / len(scores) for _ in scores), 0.0)
    weights = [math.exp((score - highest) / temperature) for score in scores]
    return Judgement(tuple(weight / sum(weights) for weight in weights), min(mass, 1.0))
