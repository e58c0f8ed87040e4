"""Pronunciation of unknown words: g2p_en's recurrent network (Apache-2.0), run with numpy."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from adapters.errors import ModelLoadFailed

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CONSONANTS = {
    "B",
    "CH",
    "D",
    "DH",
    "F",
    "G",
    "HH",
    "JH",
    "K",
    "L",
    "M",
    "N",
    "NG",
    "P",
    "R",
    "S",
    "SH",
    "T",
    "TH",
    "V",
}
_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_PHONES = sorted([*_CONSONANTS, "W", "Y", "Z", "ZH", *(vowel + stress for vowel in _VOWELS for stress in "012"), "UW"])
PHONEMES = ("<pad>", "<unk>", "<s>", "</s>", *_PHONES)
"""The network's outputs: CMUdict's symbols (ARPAbet), with stress on vowels."""
_BEGIN, _END, _MAX_PHONES = 2, 3, 20

_IPA = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "W", "AY": "I", "EH": "ɛ", "ER": "ɜɹ", "EY": "A", "IH": "ɪ",
    "IY": "i", "OW": "O", "OY": "Y", "UH": "ʊ", "UW": "u", "B": "b", "CH": "ʧ", "D": "d", "DH": "ð", "F": "f",
    "G": "ɡ", "HH": "h", "JH": "ʤ", "K": "k", "L": "l", "M": "m", "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ", "S": "s",
    "SH": "ʃ", "T": "t", "TH": "θ", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
"""ARPAbet in Kokoro's alphabet, in which diphthongs are capitals."""
_UNSTRESSED = {"AH": "ə", "ER": "əɹ"}
_STRESS = {"1": "ˈ", "2": "ˌ"}


class G2pModel:
    """Grapheme-to-phoneme network. A word takes about a millisecond."""

    def __init__(self, path: Path) -> None:
        """Reads the weights, a numpy archive of arrays.

        Raises:
            ModelLoadFailed: They are missing, damaged, or another network's.
        """
        names = "enc_emb enc_w_ih enc_w_hh enc_b_ih enc_b_hh dec_emb dec_w_ih dec_w_hh dec_b_ih dec_b_hh fc_w fc_b"
        try:
            with (
                path.open("rb") as file,
                np.load(file, allow_pickle=False) as archive,
            ):  # numpy would not close a file that it opened
                self._weights: dict[str, NDArray[Any]] = {name: archive[name] for name in names.split()}
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ModelLoadFailed(f"{path.name} is missing or damaged: its weights cannot be read.") from error
        if self._weights["fc_w"].shape != (len(PHONEMES), 256) or self._weights["enc_emb"].shape != (29, 256):
            raise ModelLoadFailed(f"{path.name} contains the weights of another network.")

    def phonemes(self, word: str) -> str:
        """The phonemes, in Kokoro's alphabet, of a word of at most 40 letters a to z."""
        return "".join(map(_ipa, self._phones(word)))

    def _phones(self, word: str) -> Iterator[str]:
        weights = self._weights
        hidden = np.zeros(256, np.float32)
        for letter in [*(ord(letter) - ord("a") + 3 for letter in word), 2]:  # 0..2: padding, unknown, the end
            hidden = self._step("enc", weights["enc_emb"][letter], hidden)
        phone = _BEGIN
        for _ in range(_MAX_PHONES):
            hidden = self._step("dec", weights["dec_emb"][phone], hidden)
            phone = int((weights["fc_w"] @ hidden + weights["fc_b"]).argmax())
            if phone == _END:
                return
            if phone > _END:
                yield PHONEMES[phone]

    def _step(self, name: str, inputs: "NDArray[Any]", hidden: "NDArray[Any]") -> "NDArray[Any]":
        """A gated recurrent unit (arXiv 1406.1078), gates in the order reset, update, new, as PyTorch stacks them."""
        weights = self._weights
        inner = weights[f"{name}_w_ih"] @ inputs + weights[f"{name}_b_ih"]
        outer = weights[f"{name}_w_hh"] @ hidden + weights[f"{name}_b_hh"]
        reset, update = np.split(1 / (1 + np.exp(-(inner[:512] + outer[:512]))), 2)
        new = np.tanh(inner[512:] + reset * outer[512:])
        return (1 - update) * new + update * hidden


def _ipa(phone: str) -> str:
    vowel, stress = (phone[:-1], phone[-1]) if phone[-1] in "012" else (phone, "")
    if stress == "0" and vowel in _UNSTRESSED:
        return _UNSTRESSED[vowel]
    return _STRESS.get(stress, "") + _IPA[vowel]
