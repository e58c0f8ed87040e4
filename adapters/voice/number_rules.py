"""How numbers in a text are read: dates, times, telephone numbers, money, units, fractions, versions, ranges.

Every pattern takes time linear in the length of a line. They are applied in order; what one of them has turned into
words has no digits for the next.
"""

import re
from collections.abc import Callable

from adapters.voice import number_words, units
from adapters.voice.number_words import cardinal, digits, ordinal, spoken_number, year

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_MONTH = "|".join([*MONTHS, "Jan", "Feb", "Mar", "Apr", "Jun", "Jul", "Aug", "Sept?", "Oct", "Nov", "Dec"])
_FREE = r"(?<![\w.,:/-])"
"""Where a number starts."""
_END = r"(?![\w]|[.,:/-]\w)"
"""Where one ends."""
_SCALE = r"(?:(?:\s(hundred|thousand|million|billion|trillion)|([kKMBT]|bn|Bn|BN|mn|mm|MM|mio|m|b|t|tn))\b)?"
_SYMBOL = "[" + "".join(map(re.escape, units.MONEY)) + "]"
_DASH = r"\s?[-—]\s?"
_MONARCHS = (
    "Alexander|Benedict|Catherine|Charles|Edward|Elizabeth|Ferdinand|Francis|Frederick|George|Gregory|Henry|Innocent|"
    "Ivan|James|Julius|Leo|Leopold|Louis|Ludwig|Mary|Maximilian|Napoleon|Nicholas|Otto|Paul|Peter|Philip|Pius|Ramesses|"
    "Ramses|Richard|Rudolf|Sixtus|Urban|Victor|Wilhelm|William"
)
_ROMAN_HEADS = (
    "Act|Appendix|Article|Book|Chapter|Class|Column|Figure|Grade|Level|Mark|Page|Part|Phase|Scene|Schedule|Section|Stage|"
    "Step|Table|Title|Type|Unit|Volume|War"
)
_ROMAN = r"(?=[IVX])(X{0,3}(?:IX|IV|V?I{0,3}))"
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10}
_PARTS = {2: "half", 4: "quarter"}


def _date(year_: str, month: int, day: int) -> str:
    return f" {MONTHS[month - 1]} {ordinal(day)}, {year(int(year_))} "


def _iso_date(match: re.Match[str]) -> str:
    return _date(match[1], int(match[2]), int(match[3])) + (", " if match[4] else "")


def _slashed_date(match: re.Match[str]) -> str:
    """Month first, as in the United States; day first where that is no month, or between full stops."""
    first, mark, second = int(match[1]), match[2], int(match[3])
    month, day = (second, first) if mark == "." or first > 12 else (first, second)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    return _date(match[4], month, day)


def _full_month(short: str) -> str:
    return next(name for name in MONTHS if name.lower().startswith(short[:3].lower()))


def _month_first(match: re.Match[str]) -> str:
    later = f" to {ordinal(int(match[3]))}" if match[3] else ""
    return f"{_full_month(match[1])} {ordinal(int(match[2]))}{later}"


def _clock(match: re.Match[str]) -> str:
    hours, minutes, seconds, half = int(match[1]), int(match[2]), match[3], (match[4] or "").lower()
    if seconds and not half and hours == 0:
        return f" {_count(hours, 'hour')}, {_count(minutes, 'minute')} and {_seconds(seconds)} "
    infix = "" if not minutes and half else "o'clock" if not minutes else ("oh " if minutes < 10 else "")
    words = f"{cardinal(hours)} {infix}{cardinal(minutes) if minutes else ''}".strip()
    words += f" and {_seconds(seconds)}" if seconds else ""
    return f"{words} {'ay' if half == 'a' else 'pea'} em" if half else words


def _seconds(text: str) -> str:
    whole, point, part = text.partition(".")
    return f"{spoken_number(f'{int(whole)}.{part}')} seconds" if point else _count(int(whole), "second")


def _count(number: int, name: str) -> str:
    return f"{cardinal(number)} {name}{'' if number == 1 else 's'}"


def _groups(match: re.Match[str]) -> str:
    """A telephone or identification number: digit by digit, with a pause between its groups."""
    plus = "plus " if match[0].startswith("+") else ""
    return " " + plus + ", ".join(digits(group) for group in re.findall(r"\d+", match[0])) + " "


def _is_phone(match: re.Match[str]) -> str:
    return _groups(match) if sum(map(str.isdigit, match[0])) >= 7 else match[0]


def _money(match: re.Match[str]) -> str:
    per = f" per {units.PER[match[5]]}" if match[5] else ""
    return f" {units.money(match[1], match[2], match[3] or match[4])}{per} "


def _money_range(match: re.Match[str]) -> str:
    scale = match[3] or match[5]
    shown = f" {units.SCALES[scale]}" if scale else ""
    return f" {spoken_number(match[2])} to {spoken_number(match[4])}{shown} {units.plural(units.MONEY[match[1]][0])} "


def _coded_money(match: re.Match[str]) -> str:
    name = units.CODES[match[2]]
    return f"{spoken_number(match[1])} {name if match[1] == '1' else units.plural(name)}"


def _amount(match: re.Match[str]) -> str:
    number, unit, power, per = match[1], match[2], match[3] or "", match[4]
    return f"{units.amount(number, unit, power)}{f' per {units.PER[per]}' if per else ''}"


def _amount_range(match: re.Match[str]) -> str:
    """The unit of "5-10 km" belongs to both numbers."""
    return f"{spoken_number(match[1])} to {match[2]}"


def _version(match: re.Match[str]) -> str:
    parts = match[2].split(".")
    point = " dot " if len(parts) == 4 and not match[1] else " point "
    return f"{'version ' if match[1] else ''}{point.join(spoken_number(part) for part in parts)} "


def _fraction(match: re.Match[str]) -> str:
    whole, above, below = match[1], int(match[2]), int(match[3])
    if whole:
        return f"{spoken_number(whole)} and {_parts(above, below)}"
    if below == 0 or (match[2], match[3]) == ("9", "11") or above >= below or below > 100:
        between = " out of " if above == below and above < 20 else " slash " if below > 100 or below == 0 else " "
        return f"{spoken_number(match[2])}{between}{spoken_number(match[3])}"
    return _parts(above, below)


def _parts(above: int, below: int) -> str:
    if below < 2:
        return f"{cardinal(above)} slash {cardinal(below)}"
    name = _PARTS.get(below) or ordinal(below)
    if above == 1:
        return f"one {name}"
    return f"{cardinal(above)} {'halves' if below == 2 else name + 's'}"


def _roman(text: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in text]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))


def _screen(match: re.Match[str]) -> str:
    """A size such as "1920x1080", or a product such as "3 × 4"."""
    product = "×" in match[0] and min(len(match[1]), len(match[2])) < 3
    return (" times " if product else " by ").join(spoken_number(part) for part in match.groups() if part)


def _range(match: re.Match[str]) -> str:
    first, mark, second = match.groups()
    down = mark == " - " and len(first) <= 15 and len(second) <= 15 and int(first) > int(second)
    return f"{first}{' minus ' if down else ' to '}"


def _power(match: re.Match[str]) -> str:
    minus = "minus " if match[2] else ""
    return f"{spoken_number(match[1])} to the power of {minus}{spoken_number(match[3])}"


def _scientific(match: re.Match[str]) -> str:
    minus = "minus " if match[2] == "-" else ""
    return f"{spoken_number(match[1])} times ten to the power of {minus}{spoken_number(match[3])}"


RULES: tuple[Rule, ...] = (
    # Dates and times.
    (
        re.compile(
            rf"(?<=\d:[0-5]\d){_DASH}(?=\d)|(?<=[ap]m){_DASH}(?=\d)|(?<=\d){_DASH}(?=\d{{1,2}}(?::\d\d)?[ap]m\b)", re.I
        ),
        lambda m: " to ",
    ),
    (
        re.compile(r"(?<![\w/-])([12]\d{3})([-/.])(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?:(T)(?=\d)|(?![\d/-]))"),
        lambda m: _date(m[1], int(m[3]), int(m[4])) + (", " if m[5] else ""),
    ),
    (re.compile(r"(?<![\w/.-])(\d{1,2})([/.])(\d{1,2})\2([12]\d{3})(?![\d/-])"), _slashed_date),
    (
        re.compile(r"(?<![\w/-])([12]\d{3})-(0[1-9])(?![\d/-])"),
        lambda m: f" {MONTHS[int(m[2]) - 1]} {year(int(m[1]))} ",
    ),
    (
        re.compile(rf"\b({_MONTH})\.? (\d{{1,2}})(?:st|nd|rd|th)?(?:{_DASH}(\d{{1,2}}))?(?![\d:.]\d|\d|%)\b"),
        _month_first,
    ),
    (
        re.compile(rf"\b(?:the )?(\d{{1,2}})(?:st|nd|rd|th)?\.? ({_MONTH})\b\.?"),
        lambda m: f"the {ordinal(int(m[1]))} of {_full_month(m[2])}",
    ),
    (
        re.compile(
            r"(?<![\d:])([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d{0,5}[1-9])?))?(?:\.0+)?(?![\d:])(?:\s?([ap])m\b)?(?:Z\b)?",
            re.I,
        ),
        _clock,
    ),
    (
        re.compile(r"\b(\d{1,2})([ap])m\b", re.I),
        lambda m: f"{cardinal(int(m[1]))} {'ay' if m[2] in 'aA' else 'pea'} em",
    ),
    (re.compile(r"(?<![\d:])(\d+):(\d+)(?![\d:])"), lambda m: f"{spoken_number(m[1])} to {spoken_number(m[2])}"),
    # Numbers that are read digit by digit.
    (re.compile(r"(?<![\w.,+-])\d{1,3}(?:(?: \d{3}){2,}|(?: 000)+)(?![\w-])"), lambda m: m[0].replace(" ", "")),
    (re.compile(r"\b(call|dial|phone|number is) (\d{3})\b(?![,.]\d)", re.I), lambda m: f"{m[1]} {digits(m[2])}"),
    (re.compile(r"(?<![\w+])\+\d{1,3}(?:[ .-]?\(\d{1,5}\)|[ .-]?\d{1,5}){1,7}(?!\w)"), _is_phone),
    (re.compile(r"(?<![\w.+-])(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[ .-]\d{4}(?![\w-])"), _groups),
    (re.compile(r"(?<![\w.+-])\d{3} \d{3} \d{4}(?![\w-])"), _groups),
    (re.compile(r"(?<![\w.,-])\d{3}-\d{4}(?![\w-])"), _groups),
    (re.compile(r"(?<![\w.-])\d+(?:-\d+){2,}(?![\w-])"), _groups),
    # Money.
    (
        re.compile(
            rf"({_SYMBOL})\s?({NUMBER})([kKMBT]|bn|m)?{_DASH}(?:{_SYMBOL})?\s?({NUMBER})(?:\s?(million|billion|thousand|[kKMBT]|bn|m)\b)?"
        ),
        _money_range,
    ),
    (re.compile(rf"(?<=[\w.])(?:-|—| - | — )(?={_SYMBOL}\s?\d)"), lambda m: " to "),
    (re.compile(r"\b(?:US|CA|AU|A|C)(?=\$\s?\d)"), lambda m: ""),
    (re.compile(r"\bRs\.? ?(?=\d)"), lambda m: "₹"),
    (re.compile(rf"(?:(?<=\s)|^|(?<=\())-(?={_SYMBOL}\s?\d)"), lambda m: "minus "),
    (re.compile(rf"({_SYMBOL})\s?({NUMBER}){_SCALE}(?:\s?/\s?({units.PER_PATTERN})\b)?"), _money),
    (
        re.compile(rf"(?<![\d.,])({NUMBER})\s?(?:([kKMBT]|bn|m)\s?)?([€£₹₩₽₿¥])"),
        lambda m: units.money(m[3], m[1], m[2]),
    ),
    (
        re.compile(r"\b(\d+)\s?¢"),
        lambda m: f"{cardinal(int(m[1]))} cent{'' if m[1] == '1' else 's'}" if len(m[1]) < 15 else m[0],
    ),
    (re.compile(rf"\b({NUMBER}) ?({'|'.join(units.CODES)})\b"), _coded_money),
    (
        re.compile(rf"\b({'|'.join(units.CODES)}) ?({NUMBER})\b"),
        lambda m: f"{spoken_number(m[2])} {units.plural(units.CODES[m[1]])}",
    ),
    (re.compile(r"(?:(?<=[\s(=<>≤≥+*/×÷,;:\[])|^)-(?=\.?\d)"), lambda m: " minus "),
    # Versions, sizes, fractions, powers.
    (re.compile(r"(?<![\w.])([vV])\.? ?(\d+(?:\.\d+)*)(?![\d.]*\d)(?:-(?=[A-Za-z]))?"), _version),
    (re.compile(r"(?<![\w.])()(\d+(?:\.\d+){2,})(?!\w)"), _version),
    (re.compile(r"(?<![\w.])(\d+) ?[x×] ?(\d+)(?: ?[x×] ?(\d+))?(?![\w.])"), _screen),
    (re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[x×](?=\s|$|[,;.!?])"), lambda m: f"{spoken_number(m[1])} times"),
    (
        re.compile(r"(?<![\w./])(\d{1,3})/(\d{1,3})(?= stars?\b)"),
        lambda m: f"{spoken_number(m[1])} out of {spoken_number(m[2])}",
    ),
    (re.compile(r"(?<![\w./])(?:(\d+) )?(\d{1,3})/(\d{1,3})(?![\w/]|\.\d)"), _fraction),
    (re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s?\^\s?(-?)(\d+)"), _power),
    (re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)[eE]([+-]?)(\d{1,3})(?!\w)"), _scientific),
    (re.compile(r"(?<![\w.])([48])K\b"), lambda m: f"{cardinal(int(m[1]))} K"),
    (re.compile(rf"(?<![\w.,])({NUMBER})([kKMB]|bn)\b"), lambda m: f"{spoken_number(m[1])} {units.SCALES[m[2]]}"),
    (
        re.compile(r"(?<![\w.])(\d+)' ?(\d{1,2})(?:''|\"|(?=\W|$))"),
        lambda m: f"{spoken_number(m[1])} feet {spoken_number(m[2])} inches",
    ),
    # Ordinals, decades, Roman numerals.
    (re.compile(r"\b(\d{1,15})(?:st|nd|rd|th)\b", re.I), lambda m: ordinal(int(m[1]))),
    (re.compile(r"\b(1[1-9]\d\d|20\d\d)'?s\b"), lambda m: number_words.plural(year(int(m[1])))),
    (re.compile(r"(?:(?<=\s)|^)'?([2-9]0)'?s\b"), lambda m: number_words.plural(cardinal(int(m[1])))),
    (
        re.compile(r"(?:(?<=\s)|^)'(\d\d)\b"),
        lambda m: spoken_number(m[1]) if m[1][0] != "0" else f"oh {digits(m[1][1])}",
    ),
    (re.compile(rf"\b({_MONARCHS}) {_ROMAN}\b(?!')"), lambda m: f"{m[1]} the {ordinal(_roman(m[2]))}"),
    (re.compile(rf"\b({_ROMAN_HEADS}) {_ROMAN}\b(?!')", re.I), lambda m: f"{m[1]} {cardinal(_roman(m[2].upper()))}"),
    (
        re.compile(
            rf"\b(?!(?:The|An|In|On|At|By|Her|His|My|Our|And|Or)\b)([A-Z][a-z]+) (?=[IVX]{{2}}){_ROMAN}(?![\w'])"
        ),
        lambda m: f"{m[1]} {cardinal(_roman(m[2]))}",
    ),
    # Units, ranges, years, and all other numbers.
    (
        re.compile(rf"(?<![\w.,])({NUMBER}){_DASH}(?=(?:{NUMBER})\s?(?:{units.UNIT_PATTERN}|%))"),
        lambda m: f"{spoken_number(m[1])} to ",
    ),
    (
        re.compile(rf"(?<![A-Za-z])({NUMBER})[ -]?({units.UNIT_PATTERN})([²³]?)(?:/({units.PER_PATTERN}))?(?![\w²³])"),
        _amount,
    ),
    (re.compile(r"(?<!\d)(\d+)(\s?[-—]\s?)(?=(\d+))"), _range),
    (re.compile(r"(?<=[\d%])\s?[-—]\s?(?=\d)"), lambda m: " to "),
    (re.compile(r"(?<=[A-Za-z])-(?=\d)|(?<=\d)-(?=[A-Za-z])"), lambda m: " "),
    (
        re.compile(r"(?<![\d.,-])(1[1-9]\d\d|20\d\d)(?![\d%°]|[.,]\d)"),
        lambda m: f" {year(int(m[1]))} ",
    ),
    (re.compile(r"(?:(?<=[\s(])|^)~(?=\s?\d)"), lambda m: "about "),
    (re.compile(rf"(?<!\d)({NUMBER})"), lambda m: f" {spoken_number(m[1])} "),
    (re.compile(r"(\d+)"), lambda m: f" {digits(m[1])} "),
)
"""Applied in order."""
