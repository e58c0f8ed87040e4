"""Words' times: pauses are left out, numbers are as long as they sound, and no word is empty, whatever the audio."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.base import Word
from adapters.speech.word_alignment import MAX_EARLY_S, RATE, REACH_S, Sound, refined


def audio(*pieces: tuple[float, float]) -> np.ndarray:
    """(seconds, loudness) of noise, one after the other."""
    draw = np.random.default_rng(1)
    return np.concatenate([draw.standard_normal(int(s * RATE)).astype(np.float32) * loud for s, loud in pieces])


def word(start: float, end: float, text: str = " a") -> Word:
    return Word(start, end, text, 0.5)


def test_a_pause_between_two_words_belongs_to_neither() -> None:
    heard = audio((0.5, 0.0), (0.4, 0.1), (0.3, 0.0), (0.4, 0.1), (0.5, 0.0))
    first, second = refined([word(0.3, 1.0), word(1.0, 1.7)], heard)
    assert (first.start, first.end) == (pytest.approx(0.5, abs=0.02), pytest.approx(0.9, abs=0.02))
    assert (second.start, second.end) == (pytest.approx(1.2, abs=0.02), pytest.approx(1.6, abs=0.02))


def test_a_long_pause_that_the_model_gave_to_the_next_word_is_taken_out() -> None:
    heard = audio((0.6, 0.1), (2.0, 0.0), (0.6, 0.1))
    first, second = refined([word(0.0, 0.62), word(0.62, 3.2)], heard)
    assert first.end == pytest.approx(0.6, abs=0.02)
    assert second.start == pytest.approx(2.6, abs=0.02)


def test_silence_shorter_than_a_pause_is_part_of_a_word() -> None:
    heard = audio((0.6, 0.1), (0.05, 0.0), (0.6, 0.1))
    first, second = refined([word(0.0, 0.5), word(0.5, 1.2)], heard)
    assert first.end == second.start


@pytest.mark.parametrize("number", [" 1987", " 65,000", " 120"])
def test_a_number_takes_the_time_of_its_spoken_words(number: str) -> None:
    heard = audio((3.0, 0.1))
    _, of = refined([word(0.5, 1.3, number), word(1.3, 2.5, " of")], heard)
    assert of.start > 1.6
    _, other = refined([word(0.5, 1.3, " one"), word(1.3, 2.5, " of")], heard)
    assert other.start <= 1.3 + MAX_EARLY_S + REACH_S + 0.02


def test_a_number_is_one_word() -> None:
    words = [
        word(0.1, 0.5, " sold"),
        word(0.5, 0.8, " 3"),
        word(0.8, 1.4, ",400"),
        word(1.4, 1.9, " 2"),
        word(1.9, 2, "."),
    ]
    found = refined(words, audio((2.0, 0.1)))
    assert [one.text for one in found] == [" sold", " 3,400", " 2", "."]


def test_a_start_moves_to_the_change_of_the_sound_nearby() -> None:
    draw = np.random.default_rng(2).standard_normal(RATE).astype(np.float32) * 0.1
    tone = 0.1 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE).astype(np.float32)
    _, second = refined([word(0.3, 0.95), word(0.95, 1.5, " photograph")], np.concatenate([tone, draw]))
    assert second.start == pytest.approx(1.0, abs=0.05)


def test_a_minute_of_words_and_pauses_takes_no_second() -> None:
    words = [word(at * 0.2, at * 0.2 + 0.15) for at in range(150)]
    heard = audio(*[(0.1, loud) for _ in range(150) for loud in (0.1, 0.0)])
    begun = time.process_time()
    assert len(refined(words, heard)) == 150
    assert time.process_time() - begun < 1


def test_no_word_starts_before_the_one_before_it_ended() -> None:
    assert refined([word(0.1, 0.5)], audio((1.0, 0.1)), after=0.3)[0].start >= 0.3


times = st.floats(0, 3)


@settings(deadline=None)
@given(
    st.lists(st.tuples(times, times, st.sampled_from([" a", " 1987", ",400", "。", " photographs"])), max_size=8),
    st.lists(st.tuples(st.floats(0.001, 0.5), st.sampled_from([0.0, 1e-4, 0.1, 1.0])), min_size=1, max_size=8),
    times,
)
def test_words_on_any_audio_are_in_order_and_none_is_empty(
    spans: list[tuple[float, float, str]], pieces: list[tuple[float, float]], after: float
) -> None:
    heard = audio((0.02, 0.1), *pieces)
    words = [word(*sorted(span[:2]), span[2]) for span in sorted(spans)]
    found = refined(words, heard, after=after)
    assert "".join(one.text for one in found) == "".join(one.text for one in words)
    ends = [time for one in found for time in (one.start, one.end)]
    assert ends == sorted(ends)
    assert all(one.start < one.end for one in found)
    assert all(type(time) is float for time in ends)
    assert not ends or (ends[0] >= 0 and ends[-1] <= len(heard) / RATE)
    assert not ends or ends[0] >= min(round(after, 3), int(len(heard) / RATE * 1000) / 1000 - len(found) * 0.001) - 1e-6


def test_audio_of_nothing_has_no_pauses() -> None:
    assert Sound(np.zeros(0, np.float32), 0.0).pauses() == []
    assert refined([], np.zeros(0, np.float32)) == ()
