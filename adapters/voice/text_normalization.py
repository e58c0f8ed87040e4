"""Text to the words that are read aloud in English, with punctuation, sentence by sentence.

Independent of phonemes and models. Every pattern takes time linear in the length of the text.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator

from adapters.errors import UnsupportedOption
from adapters.voice import number_words

_ABBREVIATIONS = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor", "st": "saint", "jr": "junior",
    "sr": "senior", "vs": "versus", "etc": "etcetera", "approx": "approximately", "dept": "department",
    "gov": "governor", "gen": "general", "sgt": "sergeant", "capt": "captain", "lt": "lieutenant",
    "col": "colonel", "rev": "reverend", "hon": "honorable", "fig": "figure", "vol": "volume",
    "inc": "incorporated", "ltd": "limited", "co": "company",
    "corp": "corporation", "ave": "avenue", "blvd": "boulevard", "mt": "mount", "ft": "fort",
}  # fmt: skip
"""Abbreviations whose full stop does not end a sentence."""
_CLOSING = frozenset({"etc", "jr", "sr", "inc", "ltd", "co", "corp", "ave", "blvd"})
"""Abbreviations that may end a sentence, if a capital letter follows."""
_UNITS = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "kg": "kilogram", "g": "gram",
    "mg": "milligram", "lb": "pound", "lbs": "pound", "oz": "ounce", "mi": "mile", "ml": "milliliter", "s": "second",
    "ms": "millisecond", "h": "hour", "min": "minute", "kb": "kilobyte", "mb": "megabyte", "gb": "gigabyte",
    "tb": "terabyte", "hz": "hertz", "khz": "kilohertz", "mhz": "megahertz", "ghz": "gigahertz", "w": "watt",
    "kw": "kilowatt", "mph": "mile per hour", "fps": "frame per second", "px": "pixel",
    "km/h": "kilometer per hour", "m/s": "meter per second",
}  # fmt: skip
_MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "sen")}
_SYMBOLS = {
    "&": "and", "%": "percent", "@": "at", "+": "plus", "=": "equals", "×": "times", "÷": "divided by", "°": "degrees",
    "<": "less than", ">": "greater than", "#": "number", "±": "plus or minus", "≈": "about", "≤": "at most",
    "≥": "at least", "≠": "is not", "√": "root", "∞": "infinity", "§": "section", "©": "copyright", "$": "dollar",
    "£": "pound", "€": "euro", "¥": "yen", "¢": "cent", "µ": "micro", "→": "to", "/": "slash", "\\": "backslash",
}  # fmt: skip
_FOLDED = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "th", "þ": "th", "ł": "l", "ı": "i", "ŋ": "ng"}
_QUOTES = str.maketrans(
    {**dict.fromkeys("‘’ʼ`´′", "'"), **dict.fromkeys('"“”„«»″', " "), "–": "—", "―": "—", "−": "-", "⁄": "/"}
)
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def sentences(text: str, *, param: str = "input") -> list[str]:
    """The sentences of a text, each as words with `,.;:!?—…` between them; none is empty.

    Args:
        text: Any text. Emoji and control characters are ignored.
        param: The request's field that an error names.

    Raises:
        UnsupportedOption: The text has letters of a script other than Latin, or nothing that can be spoken.
    """
    found = [sentence for line in _plain(text, param).split("\n") for sentence in _split(_apply_rules(line))]
    if not found:
        raise UnsupportedOption(f"{param} contains nothing that can be spoken. Send words or numbers.", param=param)
    return found


def _plain(text: str, param: str) -> str:
    """The text reduced to Latin letters without diacritics, digits, known symbols and line breaks."""
    kept: list[str] = []
    for character in unicodedata.normalize("NFKC", text.translate(_QUOTES)).translate(_QUOTES):
        if character.isascii():
            kept.append(character if character.isprintable() or character == "\n" else " ")
        elif (low := character.lower()) in _FOLDED:
            kept.append(_FOLDED[low] if character == low else _FOLDED[low].capitalize())
        elif character in "—…\u2028\u2029\x85":
            kept.append(character if character in "—…" else "\n")
        elif character in _SYMBOLS:
            kept.append(character)
        elif unicodedata.category(character)[0] in "LN":
            base = unicodedata.normalize("NFKD", character)[0]
            if unicodedata.category(character)[0] == "N" and (digit := unicodedata.digit(character, None)) is not None:
                base = str(digit)
            if not base.isascii():
                name = unicodedata.name(character, "a letter without a name").lower()
                raise UnsupportedOption(
                    f"This voice reads English text in Latin letters only; {param} contains {name}.", param=param
                )
            kept.append(base)
        elif unicodedata.category(character) != "Mn":
            kept.append(" ")
    return "".join(kept)


def _units(match: re.Match[str]) -> str:
    unit = _UNITS[match[2].lower()]
    first, *rest = unit.split(" ")
    one = match[1] == "1"
    named = unit if one or unit.endswith("hertz") else " ".join([first + "s", *rest])
    return f"{number_words.spoken_number(match[1])} {named}"


def _money(match: re.Match[str]) -> str:
    (major, minor), amount, scale = _MONEY[match[1]], match[2], match[3]
    whole, _, cents = amount.replace(",", "").partition(".")
    if scale or len(cents) not in (0, 2) or len(whole) > number_words.MAX_DIGITS:
        return f"{number_words.spoken_number(amount)} {scale or ''} {_plural_unit(major, 2)}"
    units = f"{number_words.cardinal(int(whole))} {_plural_unit(major, int(whole))}"
    if not int(cents or 0):
        return units
    subunits = f"{number_words.cardinal(int(cents))} {_plural_unit(minor, int(cents))}"
    return f"{units} and {subunits}" if int(whole) else subunits


def _plural_unit(name: str, count: int) -> str:
    return name if count == 1 or name in ("yen", "sen") else "pence" if name == "penny" else name + "s"


def _time(match: re.Match[str]) -> str:
    hours, minutes, half = int(match[1]), int(match[2]), (match[3] or "").lower()
    infix = "" if not minutes and half else "o'clock" if not minutes else ("oh " if minutes < 10 else "")
    words = f"{number_words.cardinal(hours)} {infix}{number_words.cardinal(minutes) if minutes else ''}".strip()
    return f"{words} {'ay' if half == 'a' else 'pea'} em" if half else words


def _abbreviation(match: re.Match[str]) -> str:
    short, after = match[1].lower(), match[2]
    ends = short in _CLOSING and (not after.strip() or after.strip()[0].isupper())
    return _ABBREVIATIONS[short] + ("." if ends else "") + after


def _initials(match: re.Match[str]) -> str:
    return re.sub(r"[.\s]", "", match[0]).upper() + ("." if match[1] is not None else "")


_RULES: tuple[Rule, ...] = (
    (re.compile(r"\s+"), lambda m: " "),  # first, so that no later pattern meets a long run of spaces
    (re.compile(r"https?://(?:www\.)?|\bwww\.(?=\w)", re.I), lambda m: " "),
    (re.compile(r"\be\.g\.,?", re.I), lambda m: "for example,"),
    (re.compile(r"\bi\.e\.,?", re.I), lambda m: "that is,"),
    (re.compile(r"(?<=\d)\s*([ap])\.?m\b\.?", re.I), lambda m: f"{m[1]}m"),
    (re.compile(r"\bNo\. ?(?=\d)"), lambda m: "number "),
    (
        re.compile(rf"\b({'|'.join(_ABBREVIATIONS)})\.(\s{{0,2}}\S?)", re.I),
        _abbreviation,
    ),
    (re.compile(r"\b(?:[A-Za-z]\.){2,}(\s*$)?"), _initials),
    (re.compile(r"\b([A-Z])\.(?= ?[A-Z])"), lambda m: f"{m[1]} "),
    (re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d)?(?:\s?([ap])m\b)?", re.I), _time),
    (re.compile(r"\b(\d{1,2})([ap])m\b", re.I), lambda m: f"{m[1]} {'ay' if m[2] in 'aA' else 'pea'} em"),
    (re.compile(rf"([$£€¥])\s?({_NUMBER})(?:\s(hundred|thousand|million|billion|trillion)\b)?"), _money),
    (re.compile(r"\b(\d{1,15})(?:st|nd|rd|th)\b", re.I), lambda m: number_words.ordinal(int(m[1]))),
    (re.compile(r"\b(1[1-9]\d\d|20\d\d)s\b"), lambda m: number_words.plural(number_words.year(int(m[1])))),
    (re.compile(r"\b([2-9]0)s\b"), lambda m: number_words.plural(number_words.cardinal(int(m[1])))),
    (re.compile(rf"\b({_NUMBER}) ?({'|'.join(sorted(_UNITS, key=len, reverse=True))})\b"), _units),
    (
        re.compile(r"(?<![\d.,$£€¥-])(1[1-9]\d\d|20\d\d)(?![\d%°]|[.,]\d)"),
        lambda m: f" {number_words.year(int(m[1]))} ",
    ),
    (re.compile(r"(?<=\d)\s?[-—]\s?(?=\d)"), lambda m: " to "),
    (re.compile(r"(?:(?<=\s)|^)-(?=\d)"), lambda m: " minus "),
    (re.compile(rf"({_NUMBER})"), lambda m: f" {number_words.spoken_number(m[1])} "),
    (re.compile(r"(?<=\w)\.(?=\w)"), lambda m: " dot "),
    (re.compile(r"(?<=[A-Za-z])/(?=[A-Za-z])"), lambda m: " slash "),
    (re.compile(r"\.{3,}|(?:\. ){2,}\."), lambda m: "…"),
    (re.compile(r"(?<=\s)-{1,3}(?=\s)|--+"), lambda m: "—"),
    (re.compile(r"[()\[\]{}]"), lambda m: ", "),
    (re.compile("[" + re.escape("".join(_SYMBOLS)) + "]"), lambda m: f" {_SYMBOLS[m[0]]} "),
    (re.compile(r"[^A-Za-z0-9'\-,.;:!?—… ]"), lambda m: " "),
    (re.compile(r"\s*([,;:])(?:\s*[,;:])+"), lambda m: m[1]),
    (re.compile(r" ?[,;:](?= ?[.!?…])|^[ ,;:.]+"), lambda m: ""),
    (re.compile(r"\s+([,;:.!?…])"), lambda m: m[1]),
    (re.compile(r"\s+"), lambda m: " "),
)
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
