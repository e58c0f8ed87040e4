"""English words to phonemes in Kokoro's alphabet: misaki's dictionaries, regular endings, and `g2p_model`.

The dictionaries (Apache-2.0) are part of the model's files. Word classes are not analysed: a homograph has its default
pronunciation.
"""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from adapters.errors import ModelLoadFailed
from adapters.voice.g2p_model import G2pModel

Accent = Literal["us", "gb"]
VOWELS = frozenset("AIOQWYaeiouæɐɑɒɔəɚɛɜɨɪʊʌᵊᵻ")
_SIBILANTS = frozenset("szʃʒʧʤ")
_VOICELESS = frozenset("ptkfθ")
_WORDS = re.compile(r"[A-Za-z][A-Za-z']*|[,.;:!?—…]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ADDED = {"etcetera": "ɛtsˈɛtəɹə", "US": "jˌuˈɛs"}
"""Words that the dictionaries lack, or pronounce in an unusual way."""
MAX_LETTERS = 40
"""Of one word; longer ones are split."""


class Lexicon:
    """The pronunciation of English, in one accent."""

    def __init__(self, directory: Path, accent: Accent) -> None:
        """Reads the dictionaries `{accent}_gold.json` and `{accent}_silver.json`, and `checkpoint20.npz`.

        Raises:
            ModelLoadFailed: A file is missing or damaged.
        """
        self._words: dict[str, str] = {}
        for name in (
            f"{accent}_silver.json",
            f"{accent}_gold.json",
        ):  # the second is more reliable, and takes precedence
            self._words |= _dictionary(directory / name)
        self._words |= _ADDED
        self._g2p = G2pModel(directory / "checkpoint20.npz")
        self.word = lru_cache(20_000)(self._word)
        """The phonemes of a word, without context."""

    def phonemes(self, sentence: str) -> str:
        """The phonemes and punctuation of a sentence from `text_normalization`."""
        tokens = _WORDS.findall(sentence.replace("-", " "))
        reverse: list[str] = []
        for token in reversed(tokens):  # the next word determines the pronunciation of an article
            if not token[0].isalpha():
                reverse.append(token)
                continue
            following = next((phone for phone in (reverse[-1] if reverse else "") if phone not in " ˈˌ"), "")
            reverse.append(" " + (_weak(token, following) or self._spoken(token)))
        return "".join(reversed(reverse)).strip()

    def _spoken(self, token: str) -> str:
        words = filter(None, _CAMEL.split(token))
        short = [word[at : at + MAX_LETTERS] for word in words for at in range(0, len(word), MAX_LETTERS)]
        return " ".join(filter(None, map(self.word, short)))

    def _word(self, word: str) -> str:
        bare = word.strip("'")
        if not bare:
            return ""
        for form in dict.fromkeys((word, bare, bare.lower(), bare.capitalize())):
            if bare.isupper() and len(bare) > 1 and form != bare and self._is_initials(bare):
                break
            if known := self._words.get(form):
                return known
        if bare.isupper() and self._is_initials(bare):
            return self._initials(bare)
        low = bare.lower()
        return self._with_ending(low) or self._g2p.phonemes(re.sub("[^a-z]", "", low))

    def _is_initials(self, word: str) -> bool:
        """Whether a word in capitals is spelled out: "FBI", but not "STOP"."""
        low = word.lower()
        return len(word) < 6 and (low not in self._words or (len(word) < 3 and word not in self._words))

    def _initials(self, letters: str) -> str:
        named = [self._words.get(letter, "") for letter in letters if letter.isalpha()]
        weak = [name.replace("ˈ", "ˌ") for name in named[:-1]]
        return "".join([*weak, named[-1] if "ˈ" in named[-1] else _stressed(named[-1])]) if named else ""

    def _with_ending(self, word: str) -> str:
        """A regular form of a known word: possessive, plural or third person, past, -ing."""
        if word.endswith("'s") or (word.endswith("s") and len(word) > 3):
            stems = (
                (word[:-2],)
                if word.endswith("'s")
                else (word[:-1], word[:-2], word[:-3] + "y" if word.endswith("ies") else "")
            )
            return next((_plural(stem) for stem in map(self._stem, stems) if stem), "")
        if word.endswith("s'"):
            return self.word(word[:-1])
        if word.endswith("ed") and len(word) > 4:
            stems = (word[:-1], word[:-2], _undoubled(word[:-2]), word[:-3] + "y" if word.endswith("ied") else "")
            return next((_past(stem) for stem in map(self._stem, stems) if stem), "")
        if word.endswith("ing") and len(word) > 5:
            stems = (word[:-3], word[:-3] + "e", _undoubled(word[:-3]))
            return next((stem + "ɪŋ" for stem in map(self._stem, stems) if stem), "")
        return ""

    def _stem(self, word: str) -> str:
        return (self._words.get(word) or self._words.get(word.capitalize()) or "") if len(word) > 1 else ""


def _undoubled(word: str) -> str:
    return word[:-1] if len(word) > 2 and word[-1] == word[-2] else ""


def _plural(stem: str) -> str:
    last = stem[-1]
    return stem + ("ᵻz" if last in _SIBILANTS else "s" if last in _VOICELESS else "z")


def _past(stem: str) -> str:
    last = stem[-1]
    return stem + ("ᵻd" if last in "td" else "t" if last in _VOICELESS or last in "sʃʧ" else "d")


def _stressed(phonemes: str) -> str:
    """The phonemes with the main stress on the first vowel."""
    at = next((at for at, phone in enumerate(phonemes) if phone in VOWELS), None)
    return phonemes if at is None else phonemes[:at].rstrip("ˌ") + "ˈ" + phonemes[at:]


def _weak(word: str, following: str) -> str:
    """The unstressed pronunciation of function words; "" for all other words."""
    before_vowel = following in VOWELS
    low = word.lower()
    if low == "a":
        return "ɐ" if word == "a" or following.isalpha() else ""
    if low == "an":
        return "ən"
    if low == "the":
        return "ði" if before_vowel else "ðə"
    if low == "to":
        return "tʊ" if before_vowel else "tə" if following.isalpha() else "tu"
    if word == "I":
        return "ˌI"
    return ""


def _dictionary(path: Path) -> dict[str, str]:
    try:
        entries: dict[str, Any] = json.loads(path.read_text("utf-8"))
        found = {word: entry if isinstance(entry, str) else entry.get("DEFAULT") for word, entry in entries.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelLoadFailed(f"The dictionary {path.name} is missing or damaged.") from error
    return {word: phonemes for word, phonemes in found.items() if isinstance(phonemes, str)}
