"""Options that begin alike, told apart by the probabilities of their whole token sequences.

Each token of each spelling is looked up behind those before it, one level of all sequences at a time. The score of an
option is the logarithm of the sum of its spellings' probabilities; where the options' own spellings differ in length,
it is divided by that length. Where one option is the beginning of another ("1" and "10"), every sequence has the end
of the answer as its last token: else the shorter could never be the less likely.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby

from adapters.base import Judgement
from adapters.errors import UnsupportedOption
from adapters.text.judge.first_token import Spellings, weighed

END = -1
"""Stands in a sequence for the tokens with which a model ends its answer."""
NEGLIGIBLE = math.log(1e-6)
"""A spelling that is so much less likely than another of the same option is followed no further."""
MAX_OPTION_TOKENS = 64

Sequences = Sequence[tuple[tuple[int, ...], ...]]
"""Of each option, the tokens of its spellings; its own first."""
Ask = Callable[[tuple[int, ...], Sequence[int]], Awaitable[Mapping[int, float]]]
"""Log-probabilities of tokens (or `END`) behind some others, which stand at the beginning of the answer."""


def sequences(options: Spellings, encode: Callable[[str], Sequence[int]]) -> Sequences:
    """The tokens of every spelling.

    Raises:
        UnsupportedOption: An option is too long, or two are the same to this model.
    """
    found = [tuple(dict.fromkeys(tuple(encode(text)) for text in variants)) for variants in options]
    owners: dict[tuple[int, ...], int] = {}
    for index, variants in enumerate(found):
        for one in variants:
            if not 0 < len(one) <= MAX_OPTION_TOKENS:
                raise UnsupportedOption(
                    f"The option {options[index][0][:64]!r} has {len(one)} tokens; where options begin alike, "
                    f"each may have 1 to {MAX_OPTION_TOKENS}.",
                    param="questions",
                )
            if owners.setdefault(one, index) != index:
                raise UnsupportedOption(
                    f"To this model {options[owners[one]][0]!r} and {options[index][0]!r} are the same.",
                    param="questions",
                )
    return [tuple((*one, END) for one in variants) for variants in found] if _nested(owners) else found


def _nested(owners: Mapping[tuple[int, ...], int]) -> bool:
    """Whether a sequence of one option is the beginning of another option's."""
    return any(owners.get(one[:length], index) != index for one, index in owners.items() for length in range(len(one)))


async def follow(options: Sequences, ask: Ask, temperature: float = 1.0) -> Judgement:
    """The options' probabilities, by all that is asked about their sequences.

    Args:
        options: As `sequences` gives them.
        ask: Of the model; called for many beginnings at the same time.
        temperature: See `weighed`.
    """
    likely: list[dict[tuple[int, ...], float]] = [dict.fromkeys(variants, 0.0) for variants in options]
    for depth in range(max(len(one) for variants in options for one in variants)):
        wanted = sorted({one[: depth + 1] for variants in likely for one in variants if len(one) > depth})
        levels = [(prefix, [one[-1] for one in group]) for prefix, group in groupby(wanted, lambda one: one[:-1])]
        answers = await asyncio.gather(*(ask(prefix, tokens) for prefix, tokens in levels))
        found = {prefix: answer for (prefix, _), answer in zip(levels, answers, strict=True)}
        for index, variants in enumerate(likely):
            grown = {
                one: logprob + found[one[:depth]][one[depth]] if len(one) > depth else logprob
                for one, logprob in variants.items()
            }
            least = max(grown.values()) + NEGLIGIBLE
            likely[index] = {one: logprob for one, logprob in grown.items() if logprob >= least}
    totals = [_log_sum(list(variants.values())) for variants in likely]
    lengths = [len(variants[0]) for variants in options]
    even = len(set(lengths)) == 1
    scores = totals if even else [total / length for total, length in zip(totals, lengths, strict=True)]
    return weighed(scores, sum(map(math.exp, totals)), temperature)


def _log_sum(logprobs: Sequence[float]) -> float:
    highest = max(logprobs)
    if highest == -math.inf:
        return highest
    return highest + math.log(sum(math.exp(one - highest) for one in logprobs))
