"""Text as it is read aloud: numbers, abbreviations, signs, and everything that a keyboard can send."""

import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import UnsupportedOption
from adapters.voice import number_words
from adapters.voice.kokoro import split_phonemes
from adapters.voice.text_normalization import read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It costs $12.50, or £3.", "It costs twelve dollars and fifty cents, or three pounds."),
        ("$1 and $0.05 and $3.5 million", "one dollar and five cents and three point five million dollars."),
        ("At 10:05 a.m., in 1984", "At ten oh five ay em, in nineteen eighty-four."),
        ("from 1905 to 2007, the 1990s and the 80s", "from nineteen oh five to two thousand seven, the nineteen nineties and the eighties."),
        ("3 pm or 12:00 or 7:00 PM", "three pea em or twelve o'clock or seven pea em."),
        ("the 21st of 1,234,567 parts", "the twenty-first of one million two hundred thirty-four thousand five hundred sixty-seven parts."),
        ("-5 °C is 50% of x & y", "minus five degrees Celsius is fifty percent of x and y."),
        ("pi is 3.14, agent 007", "pi is three point one four, agent zero zero seven."),
        ("5 km, 1 kg and 60 km/h", "five kilometers, one kilogram and sixty kilometers per hour."),
        ("pages 10-20", "pages ten to twenty."),
        ("12345678901234567890", "one two three four five six seven eight nine zero one two three four five six seven eight nine zero."),
        ("Mail me@example.com or https://www.example.com/a", "Mail me at example dot com or example dot com slash a."),
        ("e.g. the U.S.A., i.e. home", "for example, the USA, that is, home."),
        ("“Crème brûlée” – naïve", "Creme brulee — naive."),
        ("١٢ and ½", "twelve and one half."),
    ],
)  # fmt: skip
def test_what_is_written_is_said(text: str, said: str) -> None:
    assert " ".join(read(text).sentences) == said


def test_sentences_end_where_they_end() -> None:
    text = "Dr. Smith met J. R. Jones etc. in St. Ives. Why? They talked... No. 5 won!\nA new line"
    assert read(text).sentences == [
        "doctor Smith met J R Jones etcetera in saint Ives.",
        "Why?",
        "They talked…",
        "number five won!",
        "A new line.",
    ]


@pytest.mark.parametrize("text", ["", "   \n\t", "😀🎉", "...!?", "\u200b\ufeff", "—", '"', "\x00\x07"])
def test_where_nothing_can_be_said_it_says_so(text: str) -> None:
    with pytest.raises(UnsupportedOption) as error:
        read(text)
    assert error.value.param == "input"


@pytest.mark.parametrize(("text", "said", "skipped"), [
    ("hello 世界", "hello.", "世界"),
    ("你好 means hello, 你好!", "means hello!", "你好"),
    ("Привет there", "there.", "Привет"),
    ("say مرحبا twice", "say twice.", "مرحبا"),
    ("α, β and π", "alpha, beta and pi.", ""),
    ("Well 😀 done", "Well done.", ""),
])  # fmt: skip
def test_letters_of_another_script_are_left_out_and_named(text: str, said: str, skipped: str) -> None:
    found = read(text)
    assert " ".join(found.sentences) == said
    assert found.skipped == "".join(dict.fromkeys(skipped))


@pytest.mark.parametrize("text", ["Привет", "世界", "مرحبا", "नमस्ते!"])
def test_a_text_in_another_script_alone_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedOption, match="Latin letters") as error:
        read(text)
    assert error.value.param == "input"


TABLE = [
    line.split("\t") for line in (Path(__file__).parents[2] / "data" / "readings.tsv").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize(("text", "said"), TABLE, ids=[text for text, _ in TABLE])
def test_readings_are_those_of_the_table(text: str, said: str) -> None:
    assert " ".join(read(text.replace("\\n", "\n")).sentences) == said


def test_the_table_is_long() -> None:
    assert len(TABLE) >= 200


DIGIT_WORDS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]
NUMBER_WORDS = re.compile(
    r"zero|oh\b|one|two|three|four|five|six|seven|eigh|nine|nint|ten|eleven|twel|thir|fif|fort|twent|hundred|thousand|illion|"
    r"first|second|half|halves|quarter|January|February|March|April|May|June|July|August|September|October|November|December",
    re.I,
)


@given(st.text(alphabet="0123456789 ab.,:;/-+$€%°µx²()'#*_vkMKmst\n—", min_size=1, max_size=60))
def test_no_number_is_left_out(text: str) -> None:
    runs = len(re.findall(r"\d+", text))
    try:
        said = " ".join(read(text).sentences)
    except UnsupportedOption:
        assert runs == 0
        return
    assert not re.search(r"\d", said)
    assert bool(NUMBER_WORDS.search(said)) or runs == 0


@given(
    st.integers(0, 10**18),
    st.sampled_from(["", "$", "€", "#", "-", "v", "("]),
    st.sampled_from(["", "%", " km", "M", "th", "°", ")", "!", "k"]),
)
def test_every_digit_of_a_number_is_said(number: int, before: str, after: str) -> None:
    """A number has as many digits as its words say: all of a long one, one by one."""
    said = " ".join(read(f"It is {before}{number}{after} here").sentences)
    assert said.startswith("It is")
    assert said.endswith("here.")
    words = re.findall(r"[a-z]+", said.lower())
    if number >= 10**15:
        assert sum(word in DIGIT_WORDS[:10] for word in words) >= len(str(number))
    else:
        assert (
            not (set(re.findall(r"[a-z]+", number_words.cardinal(number))) - set(words))
            or number < 2100
            or after == "th"
        )


@given(st.text(max_size=300))
def test_whatever_comes_the_rest_is_letters_and_pauses(text: str) -> None:
    try:
        found = read(text).sentences
    except UnsupportedOption:
        return
    assert found
    for sentence in found:
        assert set(sentence) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ' -,.;:!?—…")
        assert any(letter.isalpha() for letter in sentence)


@pytest.mark.parametrize(
    "unit",
    [
        ",",
        " ",
        ".",
        "a.",
        "1,111",
        "1",
        "-",
        "$1",
        "a ,",
        "e.g.",
        "1:11",
        "!? ",
        "(",
        "A.\n",
        "*a",
        "**",
        "[a](",
        "[",
        "|",
        "1/",
        "1-",
        "+1 ",
        "www.",
        "a@",
        "_a",
        "`",
        "<b",
        "&#",
        "'9",
        "1x",
        "IV ",
        "#",
        "1 000 ",
        "世",
        "http://a",
    ],
)
def test_no_text_takes_longer_than_its_length_allows(unit: str) -> None:
    text = (unit * 4096)[:4095] + "x"
    started = time.process_time()
    read(text)
    assert time.process_time() - started < 1


@pytest.mark.slow
def test_mixed_nonsense_of_full_length_is_read_in_time() -> None:
    chance = random.Random(6)
    for _ in range(20):
        text = "x" + "".join(chance.choices("aA1.,:;-!?$%&/() '\n€", k=4095))
        started = time.process_time()
        read(text)
        assert time.process_time() - started < 2


@given(st.integers(0, 10**15 - 1))
def test_every_number_has_words(number: int) -> None:
    words = number_words.cardinal(number)
    assert words
    assert not words.startswith((" ", "-"))
    assert "  " not in words
    assert number_words.ordinal(number).endswith(("st", "nd", "rd", "th"))


@given(st.text(alphabet="ab ,.;", max_size=400), st.integers(5, 60))
def test_a_long_sentence_is_cut_and_nothing_of_it_lost(text: str, limit: int) -> None:
    chunks = list(split_phonemes(text, limit))
    assert all(0 < len(chunk) <= limit + 1 for chunk in chunks)
    assert "".join(chunks).replace(" ", "") == text.replace(" ", "")
