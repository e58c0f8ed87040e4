"""English words to phonemes, in Kokoro's alphabet: misaki's dictionaries, regular endings, and a network for the rest.

The dictionaries are data that a package carries (Apache-2.0); this reads them. Which word class a homograph is in is
not analysed: its usual reading is taken.
"""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from adapters.errors import ModelLoadFailed
from adapters.voice.g2p_model import Speller

Accent = Literal["us", "gb"]
VOWELS = frozenset("AIOQWYaeiouæɐɑɒɔəɚɛɜɨɪʊʌᵊᵻ")
_HISSES = frozenset("szʃʒʧʤ")
_VOICELESS = frozenset("ptkfθ")
_WORDS = re.compile(r"[A-Za-z][A-Za-z']*|[,.;:!?—…]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ADDED = {"etcetera": "ɛtsˈɛtəɹə", "US": "jˌuˈɛs"}
"""What the dictionaries lack, or read otherwise than a text means it."""
MAX_LETTERS = 40
"""Of one word; what follows is another."""


class Lexicon:
    """The pronunciation of English, in one accent."""

    def __init__(self, directory: Path, accent: Accent) -> None:
        """Reads the dictionaries `{accent}_gold.json` and `{accent}_silver.json`, and `checkpoint20.npz`.

        Raises:
            ModelLoadFailed: A file is missing or damaged.
        """
        self._words: dict[str, str] = {}
        for name in (f"{accent}_silver.json", f"{accent}_gold.json"):  # the second is the better one, and wins
            self._words |= _dictionary(directory / name)
        self._words |= _ADDED
        self._speller = Speller(directory / "checkpoint20.npz")
        self.word = lru_cache(20_000)(self._word)
        """A word's phonemes, wherever it stands."""

    def phonemes(self, sentence: str) -> str:
        """A sentence of `adapters/voice/text_normalization.py`, with its punctuation."""
        tokens = _WORDS.findall(sentence.replace("-", " "))
        said: list[str] = []
        for token in reversed(tokens):  # what an article sounds like, the next word decides
            if not token[0].isalpha():
                said.append(token)
                continue
            following = next((sound for sound in (said[-1] if said else "") if sound not in " ˈˌ"), "")
            said.append(" " + (_weak(token, following) or self._spoken(token)))
        return "".join(reversed(said)).strip()

    def _spoken(self, token: str) -> str:
        parts = [part for part in _CAMEL.split(token) if part]
        pieces = [part[at : at + MAX_LETTERS] for part in parts for at in range(0, len(part), MAX_LETTERS)]
        return " ".join(filter(None, map(self.word, pieces)))

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
        return self._with_ending(low) or self._speller.phonemes(re.sub("[^a-z]", "", low))

    def _is_initials(self, word: str) -> bool:
        """Whether capitals are letters to be named: "FBI", but not "STOP"."""
        low = word.lower()
        return len(word) < 6 and (low not in self._words or (len(word) < 3 and word not in self._words))

    def _initials(self, letters: str) -> str:
        named = [self._words.get(letter, "") for letter in letters if letter.isalpha()]
        weak = [name.replace("ˈ", "ˌ") for name in named[:-1]]
        return "".join([*weak, named[-1] if "ˈ" in named[-1] else _stressed(named[-1])]) if named else ""

    def _with_ending(self, word: str) -> str:
        """A regular form of a word that is known: possessive, plural or third person, past, -ing."""
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
    return stem + ("ᵻz" if last in _HISSES else "s" if last in _VOICELESS else "z")


def _past(stem: str) -> str:
    last = stem[-1]
    return stem + ("ᵻd" if last in "td" else "t" if last in _VOICELESS or last in "sʃʧ" else "d")


def _stressed(phonemes: str) -> str:
    """With a main stress on its first vowel, where it has none."""
    at = next((at for at, sound in enumerate(phonemes) if sound in VOWELS), None)
    return phonemes if at is None else phonemes[:at].rstrip("ˌ") + "ˈ" + phonemes[at:]


def _weak(word: str, following: str) -> str:
    """Little words as they are said between others; "" for all the rest."""
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
        read = {word: said if isinstance(said, str) else said.get("DEFAULT") for word, said in entries.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelLoadFailed(f"{path.name} is no dictionary that can be read") from error
    return {word: said for word, said in read.items() if isinstance(said, str)}
