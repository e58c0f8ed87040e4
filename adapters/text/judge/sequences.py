"""Scores options that start alike by the probabilities of their whole token sequences.

Each token of each spelling is scored after the tokens before it, one level of all sequences at a time. The score of an
option is the logarithm of the sum of its spellings' probabilities; if the options' own spellings differ in length, it
is divided by that length. If one option is a prefix of another ("1" and "10"), every sequence ends with the end of the
answer: otherwise the shorter option could never be less likely.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby

from adapters.base import Judgement
from adapters.errors import UnsupportedOption
from adapters.text.judge.first_token import Spellings, softmax

END = -1
"""In a sequence: any token with which the model ends its answer."""
NEGLIGIBLE = math.log(1e-6)
"""A spelling that is less likely than another of the same option by this factor is dropped."""
MAX_OPTION_TOKENS = 64

Sequences = Sequence[tuple[tuple[int, ...], ...]]
"""The token sequences of each option's spellings, its own first."""
Ask = Callable[[tuple[int, ...], Sequence[int]], Awaitable[Mapping[int, float]]]
"""Returns log-probabilities of tokens (or `END`) after a prefix of the answer."""


def sequences(options: Spellings, encode: Callable[[str], Sequence[int]]) -> Sequences:
    """The token sequences of every spelling.

    Raises:
        UnsupportedOption: An option is too long, or two have the same tokens.
    """
    found = [tuple(dict.fromkeys(tuple(encode(text)) for text in variants)) for variants in options]
    owners: dict[tuple[int, ...], int] = {}
    for index, variants in enumerate(found):
        for one in variants:
            if not 0 < len(one) <= MAX_OPTION_TOKENS:
                raise UnsupportedOption(
                    f"The option {options[index][0][:64]!r} has {len(one)} tokens; if options start alike, each may "
                    f"have 1 to {MAX_OPTION_TOKENS}. Send shorter options.",
                    param="questions",
                )
            if owners.setdefault(one, index) != index:
                raise UnsupportedOption(
                    f"The options {options[owners[one]][0]!r} and {options[index][0]!r} have the same tokens in this "
                    "model. Send options with different texts.",
                    param="questions",
                )
    return [tuple((*one, END) for one in variants) for variants in found] if _nested(owners) else found


def _nested(owners: Mapping[tuple[int, ...], int]) -> bool:
    """Whether a sequence of one option is a prefix of another option's."""
    return any(owners.get(one[:length], index) != index for one, index in owners.items() for length in range(len(one)))


async def score(options: Sequences, ask: Ask, temperature: float = 1.0) -> Judgement:
    """The options' probabilities, from the scores of their sequences.

    Args:
        options: As returned by `sequences`.
        ask: Asks the model; called for many prefixes at the same time.
        temperature: See `softmax`.
    """
    kept: list[dict[tuple[int, ...], float]] = [dict.fromkeys(variants, 0.0) for variants in options]
    for depth in range(max(len(one) for variants in options for one in variants)):
        wanted = sorted({one[: depth + 1] for variants in kept for one in variants if len(one) > depth})
        levels = [(prefix, [one[-1] for one in group]) for prefix, group in groupby(wanted, lambda one: one[:-1])]
        answers = await asyncio.gather(*(ask(prefix, tokens) for prefix, tokens in levels))
        found = {prefix: answer for (prefix, _), answer in zip(levels, answers, strict=True)}
        for index, variants in enumerate(kept):
            grown = {
                one: logprob + found[one[:depth]][one[depth]] if len(one) > depth else logprob
                for one, logprob in variants.items()
            }
            least = max(grown.values()) + NEGLIGIBLE
            kept[index] = {one: logprob for one, logprob in grown.items() if logprob >= least}
    totals = [_log_sum(list(variants.values())) for variants in kept]
    lengths = [len(variants[0]) for variants in options]
    even = len(set(lengths)) == 1
    scores = totals if even else [total / length for total, length in zip(totals, lengths, strict=True)]
    return softmax(scores, sum(map(math.exp, totals)), temperature)


def _log_sum(logprobs: Sequence[float]) -> float:
    highest = max(logprobs)
    if highest == -math.inf:
        return highest
    return highest + math.log(sum(math.exp(one - highest) for one in logprobs))
