"""Numbers as English words."""

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
"""Of a number that is read as a whole; longer ones are read digit by digit."""


def cardinal(number: int) -> str:
    """The words of a number below 10**15: 1234 is "one thousand two hundred thirty-four"."""
    for scale, name in _SCALES:
        if number >= scale:
            whole, rest = divmod(number, scale)
            return f"{cardinal(whole)} {name}" + (f" {cardinal(rest)}" if rest else "")
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


def ordinal(number: int) -> str:
    """The ordinal of a number: 21 is "twenty-first"."""
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


def digits(text: str) -> str:
    """The digits one by one: "007" is "zero zero seven"."""
    return " ".join(_ONES[int(digit)] for digit in text)


def spoken_number(text: str) -> str:
    """The words of a number as it is written, such as "1,234.50"."""
    whole, point, decimals = text.replace(",", "").partition(".")
    if not whole:
        return f"point {digits(decimals)}"
    as_digits = len(whole) > MAX_DIGITS or (len(whole) > 1 and whole.startswith("0"))
    words = digits(whole) if as_digits else cardinal(int(whole or "0"))
    return f"{words} point {digits(decimals)}" if point and decimals else words


def plural(words: str) -> str:
    """The plural of a number's words: "nineteen eighties"."""
    return words[:-1] + "ies" if words.endswith("y") else words + ("es" if words.endswith("x") else "s")
