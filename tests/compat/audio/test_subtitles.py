"""Subtitles: what any words become, as independent parsers read it."""

import html
import io
from itertools import pairwise

import pytest
import srt as srt_parser
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from adapters.base import Segment, Word
from compat.audio import subtitles


def segment(*words: tuple[float, float, str], text: str | None = None, start: float = 0.0, end: float = 0.0) -> Segment:
    spoken = tuple(Word(start, end, text, 1.0) for start, end, text in words)
    return Segment(
        id=0,
        start=spoken[0].start if spoken else start,
        end=spoken[-1].end if spoken else end,
        text="".join(word.text for word in spoken) if text is None else text,
        tokens=(),
        temperature=0.0,
        avg_logprob=0.0,
        compression_ratio=1.0,
        no_speech_prob=0.0,
        words=spoken,
    )


def evenly(text: str, pace: float = 0.5) -> Segment:
    return segment(*((n * pace, (n + 1) * pace, f" {word}") for n, word in enumerate(text.split())))


TALK = [
    segment((0.0, 0.4, " The"), (0.4, 0.9, " horse"), (0.9, 1.5, " lifted"), (1.5, 2.9, " its feet.")),
    segment((3661.5, 3662.25, " Tom"), (3662.25, 3663.0, " &"), (3663.0, 3664.0, " <Jerry>")),
]


def test_srt() -> None:
    assert subtitles.srt(TALK) == snapshot("""\
1
00:00:00,000 --> 00:00:02,900
The horse lifted its feet.

2
01:01:01,500 --> 01:01:04,000
Tom & <Jerry>

""")


def test_vtt() -> None:
    assert subtitles.vtt(TALK) == snapshot("""\
WEBVTT

00:00:00.000 --> 00:00:02.900
The horse lifted its feet.

01:01:01.500 --> 01:01:04.000
Tom &amp; &lt;Jerry&gt;

""")


def test_silence() -> None:
    assert subtitles.srt([]) == ""
    assert subtitles.vtt([]) == "WEBVTT\n\n"
    assert subtitles.srt([segment(text="  ")]) == ""


@pytest.mark.parametrize(
    ("text", "most", "lines"),
    [
        ("one two three four five six seven eight nine ten", 10, ["one two three four five six seven eight nine ten"]),
        (
            "one two three four five six seven eight nine ten eleven",
            10,
            ["one two three four five", "six seven eight nine ten eleven"],
        ),
        ("a b c d. e f g h.", 6, ["a b c d.", "e f g h."]),
        ("Yes. No. Mr. Smith went home.", 10, ["Yes. No. Mr. Smith went home."]),
        ("a b c d e f g. h i.", 5, ["a b c", "d e f g.", "h i."]),
        ("a b c", 1, ["a", "b", "c"]),
        ('He said "no." Then he left.', 4, ['He said "no."', "Then he left."]),
    ],
)
def test_lines_end_where_sentences_do(text: str, most: int, lines: list[str]) -> None:
    assert [cue.text for cue in subtitles.cues([evenly(text)], most)] == lines


def test_a_long_pause_ends_a_line() -> None:
    spoken = segment((0, 1, " Wait"), (9, 10, " here"))
    assert [(cue.start_ms, cue.end_ms) for cue in subtitles.cues([spoken], 10)] == [(0, 1000), (9000, 10000)]


def test_segments_without_words_are_cut_by_their_letters() -> None:
    spoken = segment(text=" one two three four", start=10.0, end=29.0)
    assert subtitles.cues([spoken], 2) == snapshot(
        [
            subtitles.Cue(start_ms=11000, end_ms=18000, text="one two"),
            subtitles.Cue(start_ms=19000, end_ms=29000, text="three four"),
        ]
    )


def test_languages_without_spaces_keep_none() -> None:
    spoken = segment((0, 1, "馬が"), (1, 2, "走る。"), (2, 3, "速い"))
    assert [cue.text for cue in subtitles.cues([spoken], 10)] == ["馬が走る。速い"]


def test_overlapping_times_are_put_in_order() -> None:
    spoken = [segment((5, 9, " a")), segment((4, 6, " b")), segment((float("nan"), float("inf"), " c"))]
    assert [cue[:2] for cue in subtitles.cues(spoken, 10)] == [(5000, 5001), (5001, 5002), (5002, 5003)]


seconds = st.one_of(st.floats(0, 400_000), st.floats())
texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [" -->", "--->", "00:00:01,000 --> 00:00:02,000", "\n\n2\n", " <b>", "&amp;", " NOTE", "WEBVTT", "1", "."]
    ),
)
talks = st.lists(
    st.one_of(
        st.builds(lambda words: segment(*words), st.lists(st.tuples(seconds, seconds, texts), min_size=1, max_size=30)),
        st.builds(lambda text, start, end: segment(text=text, start=start, end=end), texts, seconds, seconds),
    ),
    max_size=6,
)


@pytest.mark.slow
@given(talks, st.integers(1, 20))
@example([segment((0, 1, " -->"), (1, 2, "\n\n5\n00:00:01,000 --> 00:00:02,000"))], 10)
def test_other_parsers_read_back_every_cue(talk: list[Segment], most: int) -> None:
    cues = subtitles.cues(talk, most)
    assert all(cue.start_ms < cue.end_ms for cue in cues)
    assert all(first.end_ms <= second.start_ms for first, second in pairwise(cues))
    assert all(len(cue.text.splitlines()) == 1 for cue in cues)

    parsed = list(srt_parser.parse(subtitles.srt(talk, max_words_per_line=most), ignore_errors=False))
    assert [line.index for line in parsed] == list(range(1, len(cues) + 1))
    assert [line.content for line in parsed] == [cue.text.replace("-->", "→") for cue in cues]
    assert [round(line.start.total_seconds() * 1000) for line in parsed] == [cue.start_ms for cue in cues]

    text = subtitles.vtt(talk, max_words_per_line=most)
    assert text.encode().decode() == text
    shown = list(webvtt.from_buffer(io.StringIO(text)))
    assert [html.unescape(caption.raw_text) for caption in shown] == [cue.text for cue in cues]
    assert [round(caption.end_in_seconds * 1000) // 1000 for caption in shown] == [cue.end_ms // 1000 for cue in cues]


@given(st.text(alphabet="ab.!? ", min_size=1, max_size=200), st.integers(1, 12))
def test_no_word_is_lost_and_no_line_is_too_long(text: str, most: int) -> None:
    if text.split():
        lines = [cue.text for cue in subtitles.cues([evenly(text)], most)]
        assert " ".join(lines).split() == text.split()
        assert max(len(line.split()) for line in lines) <= most
