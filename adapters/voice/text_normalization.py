"""Text to the words that are read aloud in English, with punctuation, sentence by sentence.

Independent of phonemes and models. Every pattern takes time linear in the length of the text.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from adapters.errors import UnsupportedOption
from adapters.voice import number_rules
from adapters.voice.markup import without_markup
from adapters.voice.number_rules import Rule
from adapters.voice.units import MONEY

_ABBREVIATIONS = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor", "st": "saint", "jr": "junior",
    "sr": "senior", "vs": "versus", "etc": "etcetera", "approx": "approximately", "dept": "department",
    "gov": "governor", "gen": "general", "sgt": "sergeant", "capt": "captain", "lt": "lieutenant",
    "col": "colonel", "rev": "reverend", "hon": "honorable", "fig": "figure", "vol": "volume",
    "inc": "incorporated", "ltd": "limited", "co": "company",
    "corp": "corporation", "ave": "avenue", "blvd": "boulevard", "mt": "mount", "ft": "fort", "al": "others",
    "ca": "circa", "cf": "compare", "dist": "district", "est": "established", "ext": "extension",
    "incl": "including", "max": "maximum", "misc": "miscellaneous", "pres": "president", "rep": "representative",
    "sen": "senator", "tel": "telephone", "univ": "university", "viz": "namely", "rd": "road", "bros": "brothers",
}  # fmt: skip
"""Abbreviations whose full stop does not end a sentence."""
_CLOSING = frozenset({"etc", "jr", "sr", "inc", "ltd", "co", "corp", "ave", "blvd", "al", "rd", "bros", "max", "misc"})
"""Abbreviations that may end a sentence, if a capital letter follows."""
_SYMBOLS = {
    "&": "and", "%": "percent", "‰": "per mille", "@": "at", "+": "plus", "=": "equals", "×": "times",
    "÷": "divided by",
    "°": "degrees", "<": "less than", ">": "greater than", "#": "number", "±": "plus or minus", "≈": "about",
    "≤": "at most",
    "≥": "at least", "≠": "is not", "√": "root", "∞": "infinity", "§": "section", "©": "copyright", "®": "registered",
    "™": "trademark", "¢": "cent", "→": "to", "←": "from", "/": "slash", "\\": "backslash", "∑": "sum", "∫": "integral",
    "∆": "delta", "²": "squared", "³": "cubed", "|": ",", "~": "tilde", "^": "caret",
} | {symbol: major for symbol, (major, _) in MONEY.items()}  # fmt: skip
_LETTERS = dict(zip(
    "αβγδεζηθικλμνξοπρσςτυφχψω",
    (
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
        "xi", "omicron", "pi", "rho", "sigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    ),
    strict=True,
))  # fmt: skip
"""Greek letters are spelled: texts in English use them one by one."""
_URL_MARKS = {
    ".": "dot", "/": "slash", "?": "question mark", "=": "equals", "&": "and", "-": "dash", "_": "underscore",
    "#": "hash",
    ":": "colon", "%": "percent", "~": "tilde", "+": "plus", "@": "at", ",": "comma", ";": "semicolon", "!": "",
    "*": "star",
}  # fmt: skip
_FOLDED = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "th", "þ": "th", "ł": "l", "ı": "i", "ŋ": "ng"}
_QUOTES = str.maketrans(
    {
        **dict.fromkeys("‘’ʼ`´′", "'"),
        **dict.fromkeys('"“”„«»″', " "),
        "–": "—",
        "―": "—",
        "−": "-",
        "⁄": "/",
        "。": ".",
        "、": ",",
    }
)
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_GROUPED = re.compile(r"(?<=\d)[\u00a0\u202f\u2009](?=\d{3}(?!\d))")
"""Thin spaces between the digits of one number."""
_KEPT = "²³µΩ°" + "".join(_SYMBOLS)


class Reading(NamedTuple):
    """What is read aloud."""

    sentences: list[str]
    """Each as words with `,.;:!?—…` between them; none is empty."""
    skipped: str
    """Letters of scripts that cannot be read in English, each once, in order."""


def read(text: str, *, param: str = "input") -> Reading:
    """How a text is read aloud.

    Args:
        text: Any text, with or without Markdown. Emoji and control characters are ignored.
        param: The request's field that an error names.

    Raises:
        UnsupportedOption: There is nothing that can be spoken.
    """
    plain, skipped = _plain(text)
    found = [sentence for line in plain.split("\n") for sentence in _split(_apply_rules(line))]
    if not found and skipped:
        name = unicodedata.name(skipped[0], "a letter without a name").lower()
        raise UnsupportedOption(
            f"This voice reads English text in Latin letters only; {param} contains {name}, and nothing else that can "
            "be spoken.",
            param=param,
        )
    if not found:
        raise UnsupportedOption(f"{param} contains nothing that can be spoken. Send words or numbers.", param=param)
    return Reading(found, skipped)


def _plain(text: str) -> tuple[str, str]:
    """The text in Latin letters without diacritics, digits, known symbols and line breaks; and the letters left out."""
    kept: list[str] = []
    skipped: dict[str, None] = {}
    text = without_markup(_GROUPED.sub("", re.sub(r"[\r\u2028\u2029\x85]\n?", "\n", text)))
    for character in _VULGAR.sub(" ", text).translate(_QUOTES):
        if character.isascii() or character in _KEPT:
            kept.append(character if character in "\n" or character.isprintable() else " ")
        else:
            kept.extend(_folded(character, skipped))
    return "".join(kept), "".join(skipped)


def _folded(character: str, skipped: dict[str, None]) -> Iterator[str]:
    """A character in known ones; letters without an English reading are added to `skipped`."""
    for part in unicodedata.normalize("NFKC", character).translate(_QUOTES):
        category, low = unicodedata.category(part), part.lower()
        if part.isascii() or part in _KEPT:
            yield part if part.isprintable() else " "
        elif low in _FOLDED:
            yield _FOLDED[low] if part == low else _FOLDED[low].capitalize()
        elif part in "—…":
            yield part
        elif low in _LETTERS:
            yield "µ" if part == "μ" else f" {_LETTERS[low]} "
        elif (digit := unicodedata.digit(part, None)) is not None:
            yield str(digit)
        elif category[0] in "LN":
            if (base := unicodedata.normalize("NFKD", part)[0]).isascii():
                yield base
            elif category[0] == "N" and (number := unicodedata.numeric(part, None)) is not None and number.is_integer():
                yield f" {int(number)} "
            else:
                skipped.setdefault(part)
                yield " "
        elif category not in ("Mn", "Me", "Cf"):
            yield " "


def _abbreviation(match: re.Match[str]) -> str:
    short, after = match[1].lower(), match[2]
    ends = short in _CLOSING and (not after.strip() or after.strip()[0].isupper())
    return _ABBREVIATIONS[short] + ("." if ends else "") + after


def _address(match: re.Match[str]) -> str:
    """A URL or an e-mail address, sign by sign; a full stop after it ends the sentence."""
    address = re.sub(r"^(?:https?://|ftp://)?(?:www\.)?", "", match[0], flags=re.I).rstrip("/")
    end = address[len(address.rstrip(".,;:!?'")) :]
    address = address[: len(address) - len(end)].rstrip("/")
    words = (f" {_URL_MARKS[one]} " if one in _URL_MARKS else one for one in address)
    return f" {''.join(words)}{end[-1:]} "


def _initials(match: re.Match[str]) -> str:
    return re.sub(r"[.\s]", "", match[0]).upper() + ("." if match[1] is not None else "")


_WORDS: tuple[Rule, ...] = (
    (re.compile(r"\s+"), lambda m: " "),  # first, so that no later pattern meets a long run of spaces
    (re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.(?=\w))[^\s()<>\"]{1,2000}", re.I), _address),
    (re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"), _address),
    (
        re.compile(
            r"(?<![\w.@/-])(?:[A-Za-z][\w-]{0,62}\.){1,4}(?:com|org|net|edu|gov|io|ai|dev|app|co|uk|de|fr|eu)(?:/[^\s()<>]{0,500})?(?![\w@])"
        ),
        _address,
    ),
    (re.compile(r"\be\.g\.,?", re.I), lambda m: "for example,"),
    (re.compile(r"\bi\.e\.,?", re.I), lambda m: "that is,"),
    (re.compile(r"\bet al\.?(?=\W|$)"), lambda m: "and others"),
    (re.compile(r"\bPh\.? ?D\b\.?"), lambda m: "PHD"),
    (re.compile(r"(?<![\w/])w/o(?=[\s,.;:!?)]|$)", re.I), lambda m: "without"),
    (re.compile(r"(?<![\w/])w/ ?(?=\w)", re.I), lambda m: "with "),
    (re.compile(r"(?<![\w/])b/c(?=[\s,.;:!?)]|$)", re.I), lambda m: "because"),
    (re.compile(r"(?<![\w/])[nN]/[aA](?![\w/])"), lambda m: "not applicable"),
    (re.compile(r"\b(?:and/or)\b", re.I), lambda m: "and or"),
    (re.compile(r"\bC\+\+(?!\w)"), lambda m: "C plus plus"),
    (re.compile(r"\b([CF])#(?!\w)"), lambda m: f"{m[1]} sharp"),
    (re.compile(r"(?<![\w&])#(?=[A-Za-z])"), lambda m: "hashtag "),
    (re.compile(r"(?<=\d)\s*([ap])\.?m\b\.?(?=\W|$)", re.I), lambda m: f"{m[1]}m"),
    (re.compile(r"\b(?:No|Nr|no)\. ?(?=\d)|№ ?"), lambda m: "number "),
    (re.compile(r"\bNos\. ?(?=\d)"), lambda m: "numbers "),
    (re.compile(r"(?:(?<=\s)|^|(?<=\())pp\. ?(?=\d)"), lambda m: "pages "),
    (re.compile(r"(?:(?<=\s)|^|(?<=\())p\. ?(?=\d)"), lambda m: "page "),
    (
        re.compile(r"\b([A-Z][a-z]+|\d+(?:st|nd|rd|th)) (St|Dr)\.(?=( [a-z]|,|;|\s*$|\.))"),
        lambda m: f"{m[1]} {'Street' if m[2] == 'St' else 'Drive'}",
    ),
    (
        re.compile(rf"\b({'|'.join(_ABBREVIATIONS)})\.(\s{{0,2}}\S?)", re.I),
        _abbreviation,
    ),
    (re.compile(r"\b(?:[A-Za-z]\.){2,}(\s*$)?"), _initials),
    (re.compile(r"\b([A-Z])\.(?= ?[A-Z])"), lambda m: f"{m[1]} "),
)
_SIGNS: tuple[Rule, ...] = (
    (re.compile(r"(?<=\w) ?\.(?=\w)"), lambda m: " dot "),
    (re.compile(r"(?<=[A-Za-z])/(?=[A-Za-z])"), lambda m: " slash "),
    (re.compile(r"(?<=\w) {0,3}\*{1,3} {0,3}(?=\w)"), lambda m: " times " if "**" not in m[0] else " "),
    (re.compile(r"\.{3,}|(?:\. ){2,}\."), lambda m: "…"),
    (re.compile(r"(?<=\s)-{1,3}(?=\s)|--+"), lambda m: "—"),
    (re.compile(r"[()\[\]{}]"), lambda m: ", "),
    (
        re.compile("[" + re.escape("".join(_SYMBOLS)) + "µΩ]"),
        lambda m: f" {_SYMBOLS.get(m[0]) or {'µ': 'mu', 'Ω': 'omega'}[m[0]]} ",
    ),
    (re.compile(r"[^A-Za-z0-9'\-,.;:!?—… ]"), lambda m: " "),
    (re.compile(r"\s*([,;:])(?:\s*[,;:])+"), lambda m: m[1]),
    (re.compile(r" ?[,;:](?= ?[.!?…])|^[ ,;:.]+"), lambda m: ""),
    (re.compile(r"\s+([,;:.!?…])"), lambda m: m[1]),
    (re.compile(r"(?<=[.!?…])[,;:]"), lambda m: ""),
    (re.compile(r"\s+"), lambda m: " "),
)
_RULES = (*_WORDS, *number_rules.RULES, *_SIGNS)
"""Applied in order."""


def _apply_rules(line: str) -> str:
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return line.strip()


def _split(line: str) -> Iterator[str]:
    """Splits after punctuation that is followed by a space; adds a full stop to a sentence without one."""
    for sentence in re.split(r"(?<=[.!?…])(?<!\s)'?\s+", line):
        if re.search("[A-Za-z]", sentence):
            sentence = sentence.strip()
            yield sentence if sentence[-1] in ".!?…" else sentence.rstrip(",;:—-' ") + "."
