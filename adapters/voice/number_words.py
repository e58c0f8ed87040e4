"""Numbers in English words, as they are said."""

# fmt: off
_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
# fmt: on
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MAX_DIGITS = 15
"""Of a number that is said as one; longer ones are said digit by digit."""


def cardinal(number: int) -> str:
    """The number, below 10**15: 1234 is "one thousand two hundred thirty-four"."""
    for scale, name in _SCALES:
        if number >= scale:
            whole, rest = divmod(number, scale)
            return f"{cardinal(whole)} {name}" + (f" {cardinal(rest)}" if rest else "")
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


def ordinal(number: int) -> str:
    """Its place in a row: 21 is "twenty-first"."""
    words = cardinal(number)
    at = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[at:]
    return words[:at] + (_ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th"))


def year(number: int) -> str:
    """A year of four digits: 1984 is "nineteen eighty-four", 2007 "two thousand seven"."""
    century, rest = divmod(number, 100)
    if century % 10 == 0 and rest < 10:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def one_by_one(text: str) -> str:
    """Each digit by itself: "007" is "zero zero seven"."""
    return " ".join(_ONES[int(digit)] for digit in text)


def written(text: str) -> str:
    """What a run of digits means, with commas between thousands and a decimal point perhaps: "1,234.50"."""
    whole, point, decimals = text.replace(",", "").partition(".")
    plain = len(whole) > MAX_DIGITS or (len(whole) > 1 and whole.startswith("0"))
    said = one_by_one(whole) if plain else cardinal(int(whole or "0"))
    return f"{said} point {one_by_one(decimals)}" if point and decimals else said


def plural(words: str) -> str:
    """Of a number's words: "nineteen eighties"."""
    return words[:-1] + "ies" if words.endswith("y") else words + ("es" if words.endswith("x") else "s")
