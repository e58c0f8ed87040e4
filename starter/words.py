"""The words of the starter models, and the small real tokenizers made of them.

Every tokenizer here can write any text (bytes or characters are the fallback) but writes these words in one token.
Questions of scene validation are answered by one token, so "yes", "no", digits and letters are among them.
"""

import string
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from math import log

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer, Qwen2Tokenizer, T5Tokenizer

COLOURS = "red orange yellow green blue purple pink brown black white grey gold silver dark light bright pale"
SHAPES = "circle square triangle star ring cross line box ball dot arrow heart moon sun spiral stripe grid"
PLACES = "left right above below behind beside between inside outside front middle top bottom corner centre edge"
SCENERY = "sky sea beach river lake hill mountain forest field road street city village house room window door wall"
THINGS = "tree flower grass rock cloud rain snow fire water boat car train bird cat dog horse fish man woman child"
MOTIONS = "stands sits walks runs jumps flies falls turns rises moves grows shines opens closes fast slow still robot"
CAMERA = "photo picture image video frame scene shot view camera zoom pan close wide drawing painting style background"
ANSWERS = "yes no true false none both match matches matched missing same different one two three four five six seven"
GLUE = (
    "a an the of and or but with without on in at to from by for over under into is are was be has have it its this"
    " that there they he she not very big small large little many few some all each does do what which where who how"
    " answer question describe description show shows see say only word system user assistant please score between"
)
WORLD = (  # What starter.world is made of, and what starter.captions says of it.
    "fox owl boat house robot balloon car rocket forest desert city sea mountains meadow day twilight night clear fog"
    " rain snow foggy rainy snowy misty mist woods trees sandy cactuses town ocean waves high among flowers daylight"
    " daytime during dusk sunset evening weather clouds while flat storybook illustration children book wise friendly"
    " sailing hot air space left right up down drifts drifting slowly turning becomes camera zooms pans moving"
    " subject setting colour time fits well bad low quality blurry following exactly nothing else these odd"
)
WORDS = tuple(
    dict.fromkeys(" ".join((GLUE, ANSWERS, COLOURS, WORLD, SHAPES, PLACES, SCENERY, THINGS, MOTIONS, CAMERA)).split())
)
"""Without repetition, common ones first."""
_BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def _merges(words: Iterable[tuple[str, ...]]) -> list[tuple[str, str]]:
    """Byte pairs to merge, most frequent first, until every word is one piece (https://arxiv.org/abs/1508.07909).

    The trainer of `tokenizers` breaks ties in an order that changes from run to run; here the alphabet decides.
    """
    spellings, found = list(words), list[tuple[str, str]]()
    while counts := Counter(pair for spelling in spellings for pair in pairwise(spelling)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        found.append(best)
        spellings = [_merged(spelling, best) for spelling in spellings]
    return found


def _merged(spelling: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The spelling with every occurrence of the pair made one piece."""
    pieces: list[str] = []
    for piece in spelling:
        # A piece that was merged just now may not take part again: "aaa" is "aa a".
        if pieces and (pieces[-1], piece) == pair:
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return tuple(pieces)


def clip_tokenizer(pad_token: str) -> CLIPTokenizer:
    """A tokenizer for CLIP text encoders, 77 tokens long.

    Args:
        pad_token: SDXL's second text encoder pads with "!", its first with "<|endoftext|>".
    """
    pairs = _merges((*word[:-1], word[-1] + "</w>") for word in WORDS)
    # CLIP's order: bytes, bytes that end a word, merged pieces, then the two markers.
    pieces = [*_BYTES, *(byte + "</w>" for byte in _BYTES), *(left + right for left, right in pairs)]
    pieces = [*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocab, merges=pairs, pad_token=pad_token, model_max_length=77)


def qwen2_tokenizer(special: dict[str, str], max_length: int) -> Qwen2Tokenizer:
    """A tokenizer for Qwen2 language models.

    Args:
        special: Tokens by role ("image_token": "<image>"), added after the byte pairs and the three of Qwen2.
        max_length: The model's context, in tokens.
    """
    # Two options of a question must begin with different tokens, also where they are written " City" and " Forest".
    starts = dict.fromkeys((*WORDS, *(word.capitalize() for word in WORDS), *string.ascii_letters))
    # "Ġ" is how byte-level BPE writes a space: each word as it begins a text, and as it stands within one.
    pairs = _merges(tuple(form) for word in starts for form in (word, "Ġ" + word))
    pieces = [*_BYTES, *dict.fromkeys(left + right for left, right in pairs), "<|endoftext|>", "<|im_start|>"]
    vocab = {piece: number for number, piece in enumerate([*pieces, "<|im_end|>"])}
    return Qwen2Tokenizer(
        vocab=vocab,
        merges=pairs,
        eos_token="<|im_end|>",  # noqa: S106
        extra_special_tokens={"im_start_token": "<|im_start|>", **special},
        model_max_length=max_length,
    )


def t5_tokenizer(max_length: int = 256) -> T5Tokenizer:
    """A tokenizer for T5 encoders: whole words, else single characters, by Zipf's law over the order of `WORDS`."""
    words = [*WORDS, *(word.capitalize() for word in WORDS)]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    vocab += [("▁" + word, -4.0 - log(rank)) for rank, word in enumerate(words, 1)]
    single = {piece for piece, _ in vocab}
    characters = string.ascii_letters + string.digits + string.punctuation
    vocab += [(character, -14.0) for character in characters if character not in single]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=max_length)
