"""Units and currencies, and how amounts of them are read."""

import re

from adapters.voice import number_words

UNITS = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "µm": "micrometer", "nm": "nanometer",
    "kg": "kilogram", "g": "gram", "mg": "milligram", "µg": "microgram", "lb": "pound", "lbs": "pound", "oz": "ounce",
    "mi": "mile", "ft": "foot", "yd": "yard", "l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter",
    "cl": "centiliter", "dl": "deciliter", "µl": "microliter", "gal": "gallon", "tsp": "teaspoon", "tbsp": "tablespoon",
    "ha": "hectare", "s": "second", "sec": "second", "secs": "second", "ms": "millisecond", "µs": "microsecond",
    "ns": "nanosecond", "h": "hour", "hr": "hour", "hrs": "hour", "min": "minute", "mins": "minute", "yr": "year",
    "yrs": "year", "kb": "kilobyte", "kB": "kilobyte", "KB": "kilobyte", "mb": "megabyte", "MB": "megabyte",
    "gb": "gigabyte", "GB": "gigabyte", "tb": "terabyte", "TB": "terabyte", "PB": "petabyte", "KiB": "kibibyte",
    "MiB": "mebibyte", "GiB": "gibibyte", "TiB": "tebibyte", "Mb": "megabit", "Gb": "gigabit", "kbit": "kilobit",
    "Mbit": "megabit", "Gbit": "gigabit", "kbps": "kilobit per second", "Mbps": "megabit per second",
    "Gbps": "gigabit per second", "hz": "hertz", "Hz": "hertz", "khz": "kilohertz", "kHz": "kilohertz",
    "mhz": "megahertz", "MHz": "megahertz", "ghz": "gigahertz", "GHz": "gigahertz", "w": "watt", "W": "watt",
    "mW": "milliwatt", "kw": "kilowatt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "Wh": "watt hour",
    "kWh": "kilowatt hour", "MWh": "megawatt hour", "mAh": "milliampere hour", "mA": "milliampere", "V": "volt",
    "mV": "millivolt", "kV": "kilovolt", "Ω": "ohm", "kΩ": "kiloohm", "MΩ": "megaohm", "Pa": "pascal",
    "hPa": "hectopascal",
    "kPa": "kilopascal", "psi": "pound per square inch", "dB": "decibel", "kcal": "kilocalorie", "cal": "calorie",
    "kJ": "kilojoule", "hp": "horsepower", "mph": "mile per hour", "kph": "kilometer per hour",
    "kmh": "kilometer per hour", "rpm": "revolution per minute", "fps": "frame per second", "px": "pixel",
    "dpi": "dot per inch",
    "MP": "megapixel", "°C": "degree Celsius", "°F": "degree Fahrenheit", "°K": "degree Kelvin", "°": "degree",
}  # fmt: skip
"""Abbreviations to singular names. A spelling with other capitals has the meaning of the one in small letters."""
_LOWER = {short.lower(): name for short, name in UNITS.items() if short.lower() in UNITS}
_PLURALS = {"foot": "feet", "inch": "inches", "horsepower": "horsepower", "degree": "degrees", "penny": "pence"}
_UNCHANGED = ("hertz", "kilohertz", "megahertz", "gigahertz", "yen", "sen", "won", "yuan", "baht")
PER = {
    "h": "hour", "hr": "hour", "s": "second", "sec": "second", "min": "minute", "d": "day", "day": "day",
    "week": "week",
    "wk": "week", "mo": "month", "month": "month", "yr": "year", "year": "year", "y": "year", "person": "person",
    "user": "user", "hour": "hour", "minute": "minute", "second": "second", "night": "night", "kWh": "kilowatt hour",
    "token": "token", "m²": "square meter", "m³": "cubic meter", "km²": "square kilometer", "s²": "second squared",
    "inch": "inch", "unit": "unit", "item": "item", "piece": "piece", "page": "page", "word": "word", "image": "image",
}  # fmt: skip
PER |= {short: UNITS[short] for short in ("kg", "g", "l", "L", "ml", "dl", "m", "km", "GB", "MB", "lb")}
"""What may follow a slash after a unit or a price."""
UNIT_PATTERN = "|".join(
    map(re.escape, sorted({*UNITS, *_LOWER, *(one.upper() for one in ("km", "kg", "cm", "mm"))}, key=len, reverse=True))
)
PER_PATTERN = "|".join(map(re.escape, sorted(PER, key=len, reverse=True)))

MONEY = {
    "$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "sen"), "₹": ("rupee",
    "paisa"),
    "₩": ("won", "jeon"), "₽": ("ruble", "kopeck"), "₿": ("bitcoin", ""), "₺": ("lira", "kurus"), "₫": ("dong", ""),
    "₪": ("shekel", "agora"), "₴": ("hryvnia", "kopeck"), "฿": ("baht", "satang"),
}  # fmt: skip
CODES = {
    "USD": "dollar", "EUR": "euro", "GBP": "pound", "JPY": "yen", "CHF": "franc", "INR": "rupee",
    "CAD": "Canadian dollar",
    "AUD": "Australian dollar", "CNY": "yuan",
}  # fmt: skip
SCALES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "mm": "million", "MM": "million",
    "mio": "million", "b": "billion", "B": "billion", "bn": "billion", "Bn": "billion", "BN": "billion",
    "t": "trillion",
    "T": "trillion", "tn": "trillion", "hundred": "hundred", "thousand": "thousand", "million": "million",
    "billion": "billion", "trillion": "trillion",
}  # fmt: skip
"""Magnitudes after an amount of money."""


def amount(number: str, unit: str, power: str = "") -> str:
    """A quantity: ("5", "km", "²") is "five square kilometers"."""
    name = UNITS.get(unit) or _LOWER[unit.lower()]
    shaped = {"²": "square ", "³": "cubic "}.get(power, "") + name
    return f"{number_words.spoken_number(number)} {shaped if number == '1' else plural(shaped)}"


def plural(name: str) -> str:
    """The plural of a unit or a currency: "miles per hour", "degrees Celsius", "feet"."""
    head, per, rest = name.partition(" per ")
    words = head.split(" ")
    at = 0 if words[0] == "degree" else -1
    word = words[at]
    if word not in _UNCHANGED:
        words[at] = _PLURALS.get(word) or (word + "es" if word.endswith("x") else word + "s")
    return " ".join(words) + per + rest


def money(symbol: str, number: str, scale: str | None) -> str:
    """An amount of money: ("$", "5", "M") is "five million dollars"."""
    major, minor = MONEY[symbol]
    if scale:
        return f"{number_words.spoken_number(number)} {SCALES[scale]} {plural(major)}"
    whole, _, cents = number.replace(",", "").partition(".")
    if len(cents) not in (0, 2) or len(whole) > number_words.MAX_DIGITS or (cents and not minor):
        return f"{number_words.spoken_number(number)} {plural(major)}"
    units = f"{number_words.cardinal(int(whole or 0))} {major if int(whole or 0) == 1 else plural(major)}"
    if not int(cents or 0):
        return units if whole else f"{units} point {number_words.digits(cents)}"
    subunits = f"{number_words.cardinal(int(cents))} {minor if int(cents) == 1 else plural(minor)}"
    return f"{units} and {subunits}" if int(whole or 0) else subunits
