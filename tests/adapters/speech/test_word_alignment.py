"""Words' times: pauses are left out, order is kept, whatever the sound."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.base import Word
from adapters.speech.word_alignment import RATE, Envelope, refined


def sound(*pieces: tuple[float, float]) -> np.ndarray:
    """(seconds, loudness) of noise, one after the other."""
    draw = np.random.default_rng(1)
    return np.concatenate([draw.standard_normal(int(s * RATE)).astype(np.float32) * loud for s, loud in pieces])


def word(start: float, end: float, text: str = " a") -> Word:
    return Word(start, end, text, 0.5)


def test_a_pause_between_two_words_belongs_to_neither() -> None:
    heard = Envelope(sound((0.5, 0.0), (0.4, 0.1), (0.3, 0.0), (0.4, 0.1), (0.5, 0.0)))
    first, second = refined([word(0.3, 1.0), word(1.0, 1.7)], heard)
    assert (first.start, first.end) == (pytest.approx(0.5, abs=0.02), pytest.approx(0.9, abs=0.02))
    assert (second.start, second.end) == (pytest.approx(1.2, abs=0.02), pytest.approx(1.6, abs=0.02))


def test_the_letters_of_the_words_tell_which_pause_is_between_them() -> None:
    short, quiet = (0.12, 0.1), (0.06, 0.0)
    heard = Envelope(sound((0.5, 0.0), short, quiet, (0.5, 0.1), quiet, (0.6, 0.1), (0.5, 0.0)))
    for texts, end in ((" a", " photographed"), 0.62), ((" photographed", " afterwards"), 1.18):
        words = [word(0.5, 0.9, texts[0]), word(0.9, 1.84, texts[1])]  # between the two pauses, half way
        assert refined(words, heard)[0].end == pytest.approx(end, abs=0.02)


def test_a_minute_of_words_and_pauses_takes_no_second() -> None:
    words = [word(at * 0.2, at * 0.2 + 0.15) for at in range(150)]
    heard = Envelope(sound(*[(0.1, loud) for _ in range(150) for loud in (0.1, 0.0)]))
    begun = time.process_time()
    assert len(refined(words, heard)) == 150
    assert time.process_time() - begun < 1


def test_where_there_is_no_pause_whispers_times_stay() -> None:
    words = [word(0.1, 0.5), word(0.5, 0.9)]
    assert refined(words, Envelope(sound((1.0, 0.1)))) == tuple(words)
    assert refined(words, Envelope(np.zeros(RATE, np.float32)))[0].start >= 0


def test_no_word_starts_before_the_one_before_it_ended() -> None:
    assert refined([word(0.1, 0.5)], Envelope(sound((1.0, 0.1))), after=0.3)[0] == word(0.3, 0.5)


times = st.floats(0, 3)


@settings(deadline=None)
@given(
    st.lists(st.tuples(times, times), max_size=8),
    st.lists(st.tuples(st.floats(0.001, 0.5), st.sampled_from([0.0, 1e-4, 0.1, 1.0])), min_size=1, max_size=8),
    times,
)
def test_any_words_on_any_sound_stay_in_order(
    spans: list[tuple[float, float]], pieces: list[tuple[float, float]], after: float
) -> None:
    words = [word(*sorted(span), f" {at}") for at, span in enumerate(sorted(spans))]
    found = refined(words, Envelope(sound(*pieces)), after=after)
    assert [one.text for one in found] == [one.text for one in words]
    ends = [time for one in found for time in (one.start, one.end)]
    assert ends == sorted(ends)
    assert all(type(time) is float for time in ends)
    assert not ends or ends[0] >= round(after, 3)


def test_a_sound_of_nothing_has_no_pauses() -> None:
    assert Envelope(np.zeros(0, np.float32)).pauses(0, 10) == []
    assert refined([], Envelope(np.zeros(0, np.float32))) == ()
