"""Scenes held against each other and against descriptions, on models whose probabilities are scripted."""

import hashlib
import json
from collections.abc import AsyncGenerator, Callable
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import (
    ImagePart,
    Judgement,
    JudgeRequest,
    JudgeResult,
    Media,
    ModelFiles,
    Outlet,
    Question,
    SceneConsistency,
    TextDelta,
    TextDone,
    TextEvent,
    TextPart,
    TextRequest,
    Usage,
)
from adapters.errors import ContextLengthExceeded, InvalidMedia, UnsupportedOption, WrongModelKind
from adapters.fake.models import FakeOptions, FakeText
from adapters.vision.consistency import ASPECTS, check_consistency, partners
from adapters.vision.decomposition import MAX_ELEMENTS, Decompositions, decompose, elements
from adapters.vision.defaults import SceneDefaults
from adapters.vision.validation import validate_scene


class Scripted(FakeText):
    """Judges by a function of the pictures' bytes and the question; writes what it is told to."""

    def __init__(self, answer: Callable[[list[bytes], Question], float], most: int = 32, written: str = "") -> None:
        super().__init__(FakeOptions())
        self.answer, self.most, self.written = answer, most, written
        self.asked: list[JudgeRequest] = []
        self.requests: list[TextRequest] = []

    async def judge(self, request: JudgeRequest) -> JudgeResult:
        self.asked.append(request)
        images = [part.image.data for part in request.content if isinstance(part, ImagePart)]
        if len(images) > self.most:
            raise ContextLengthExceeded("too many", param="input")
        return JudgeResult(tuple(self._one(images, one) for one in request.questions), Usage(10, 1), 1.0)

    def _one(self, images: list[bytes], question: Question) -> Judgement:
        if question.options == ("yes", "no"):
            yes = self.answer(images, question)
            return Judgement((yes, 1 - yes), 0.9)
        chances = [2.0 if images.count(image) == 1 else 1.0 for image in images]
        return Judgement(tuple(chance / sum(chances) for chance in chances), 0.9)

    async def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        self.requests.append(request)
        for letter in self.written:
            yield TextDelta(letter)
        yield TextDone(Usage(5, 7), 2.0)


def alike(images: list[bytes], question: Question) -> float:
    """The same subject where the bytes are the same; all else is always the same."""
    return 0.95 if len(set(images)) == 1 or "subject" not in question.text else 0.05


def media(*names: str) -> list[Media]:
    return [Media("image/png", name.encode()) for name in names]


def coherent(found: SceneConsistency, threshold: float, count: int) -> None:
    """The analysis says what the fields say."""
    assert found.is_consistent == (found.consistency_score >= threshold) == (not found.inconsistencies)
    assert ("not consistent" in found.analysis) != found.is_consistent
    assert found.consistency_score == min(aspect.probability for aspect in found.aspects)
    for aspect in found.aspects:
        told = found.analysis.partition("Not the same:")
        assert aspect.name in told[0 if aspect.probability >= threshold else 2]
    assert ("does not fit the others" in found.analysis) == (found.odd_frame is not None)
    if found.odd_frame is not None:
        assert f"images[{found.odd_frame}] does not fit" in found.analysis
        assert not found.is_consistent
    if found.odd_probabilities:
        assert sum(found.odd_probabilities) == pytest.approx(1)
        assert len(found.odd_probabilities) == count


@pytest.mark.parametrize("count", [3, 4, 5, 8, 9, 10, 11, 16, 32])
@pytest.mark.parametrize("most", [2, 32])
async def test_the_odd_one_out_is_named_among_any_number(count: int, most: int):
    for odd in {0, count // 2, count - 1}:
        names = ["fox"] * count
        names[odd] = "owl"
        found = await check_consistency(Scripted(alike, most), media(*names))
        coherent(found, 0.5, count)
        assert found.odd_frame == odd
        assert [(one.aspect, one.frames) for one in found.inconsistencies] == [("subject", (odd,))]
        assert found.all_at_once == (most == 32)
        assert ("in pairs only" in found.analysis) == (most == 2)
        assert all((one.whole is None) == (most == 2) for one in found.aspects)


@pytest.mark.parametrize("count", [2, 3, 12, 32])
async def test_what_is_the_same_is_consistent(count: int):
    model = Scripted(alike)
    found = await check_consistency(model, media(*["fox"] * count))
    coherent(found, 0.5, count)
    assert found.is_consistent
    assert found.odd_frame is None
    assert found.consistency_score == pytest.approx(0.95)
    assert [aspect.name for aspect in found.aspects] == list(ASPECTS)
    assert found.usage == Usage(10 * len(model.asked), len(model.asked))


class Describing(Scripted):
    """Says of every picture its bytes, and sees what they are."""

    def __init__(self, silent: tuple[str, ...] = ()) -> None:
        super().__init__(lambda images, question: 0.95 if images[0].decode() in question.text else 0.05)
        self.silent = silent

    async def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        self.requests.append(request)
        picture, text = request.messages[0].content
        assert isinstance(picture, ImagePart)
        assert isinstance(text, TextPart)
        name = "the same" if "style" in text.text else picture.image.data.decode()
        if name not in self.silent:
            yield TextDelta(f" {name}.\n")
        yield TextDone(Usage(5, 7), 2.0)

    def _one(self, images: list[bytes], question: Question) -> Judgement:
        return Judgement((0.95, 0.05), 0.9) if "the same" in question.text else super()._one(images, question)


@pytest.mark.parametrize("count", [3, 4, 9, 10, 32])
async def test_descriptions_find_the_odd_one_among_any_number(count: int):
    names = ["fox"] * count
    names[count // 2] = "owl"
    model = Describing()
    found = await check_consistency(model, media(*names), aspects=("subject", "style"), comparison="descriptions")
    coherent(found, 0.5, count)
    assert found.odd_frame == count // 2
    assert [(one.aspect, one.frames) for one in found.inconsistencies] == [("subject", (count // 2,))]
    assert found.descriptions == tuple((name, "the same") for name in names)
    assert f'images[{count // 2}] "owl"' in found.analysis
    assert not found.all_at_once
    assert "fit the model's context" not in found.analysis
    assert all(len([part for part in one.content if isinstance(part, ImagePart)]) == 1 for one in model.asked)
    assert found.usage == Usage(10 * count + 5 * 2 * count, count + 7 * 2 * count)


async def test_of_what_a_model_has_no_words_for_nothing_is_known():
    found = await check_consistency(
        Describing(silent=("fox", "owl")), media("fox", "owl"), aspects=("subject",), comparison="descriptions"
    )
    assert found.pairs[0].probabilities == (0.5,)
    found = await check_consistency(
        Describing(silent=("fox",)), media("fox", "owl"), aspects=("subject",), comparison="descriptions"
    )
    assert found.pairs[0].probabilities == (0.05,)  # What is said of the owl is known not to be true of the fox.
    assert found.descriptions == (("",), ("owl",))


async def test_a_model_that_fails_while_it_describes_fails_the_check():
    class Mute(Describing):
        async def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
            raise InvalidMedia("broken", param="messages")
            yield

    with pytest.raises(InvalidMedia) as caught:
        await check_consistency(Mute(), media("fox", "owl"), comparison="descriptions")
    assert caught.value.param == "images"


async def test_two_that_differ_have_no_odd_one():
    found = await check_consistency(Scripted(alike), media("fox", "owl"), aspects=("subject", "style"))
    coherent(found, 0.5, 2)
    assert (found.odd_frame, found.odd_probabilities) == (None, ())
    assert found.inconsistencies[0].frames == (0, 1)
    assert [(pair.first, pair.second, pair.probabilities) for pair in found.pairs] == [(0, 1, (0.05, 0.95))]


async def test_where_all_differ_nobody_is_odd():
    found = await check_consistency(Scripted(alike), media("fox", "owl", "cat", "dog"))
    coherent(found, 0.5, 4)
    assert found.odd_frame is None
    assert found.inconsistencies[0].frames == (0, 1, 2, 3)


async def test_aspects_are_the_callers():
    model = Scripted(alike)
    await check_consistency(model, media("a", "b", "c"), aspects=("mood", "camera angle"))
    asked = {question.text for request in model.asked for question in request.questions}
    assert asked == {
        "Is the mood the same in all images?",
        "Is the camera angle the same in all images?",
        "Which image does not fit the others?",
        "Do the images show the same mood?",
        "Do the images show the same camera angle?",
    }


@pytest.mark.parametrize("count", range(2, 33))
def test_every_image_has_partners_and_few_pairs_are_judged(count: int):
    pairs = partners(count)
    assert all(first < second for first, second in pairs)
    assert {image for pair in pairs for image in pair} == set(range(count))
    assert len(pairs) == len(set(pairs)) <= 4 * count
    if count <= 9:
        assert pairs == list(combinations(range(count), 2))


async def test_more_than_ten_images_are_numbered_in_digits():
    model = Scripted(alike)
    await check_consistency(model, media(*"abcdefghijk"))
    (which,) = [q for request in model.asked for q in request.questions if q.text.startswith("Which")]
    assert which.options == tuple(map(str, range(1, 12)))


@given(st.integers(2, 12), st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]))
async def test_the_analysis_never_contradicts_the_numbers(count: int, seed: int, threshold: float):
    def chance(images: list[bytes], question: Question) -> float:
        digest = hashlib.sha256(repr((seed, images, question.text)).encode()).digest()
        return digest[0] / 255

    found = await check_consistency(
        Scripted(chance), media(*map(str, range(count))), aspects=("subject", "light"), threshold=threshold
    )
    coherent(found, threshold, count)


async def test_two_images_must_fit():
    with pytest.raises(ContextLengthExceeded) as caught:
        await check_consistency(Scripted(alike, most=1), media("a", "b"))
    assert caught.value.param == "images"


async def test_a_broken_image_ends_all_the_work():
    def broken(images: list[bytes], question: Question) -> float:
        raise InvalidMedia("no picture", param="input")

    with pytest.raises(InvalidMedia) as caught:
        await check_consistency(Scripted(broken), media("a", "b", "c"))
    assert caught.value.param == "images"


async def test_a_model_without_eyes_is_the_wrong_kind():
    blind = await FakeText.load(ModelFiles("fake", "fake-text", "", {"supports_images": False}), lambda _: None)
    with pytest.raises(WrongModelKind):
        await check_consistency(blind, media("a", "b"))


def listing(*items: Any) -> str:
    return json.dumps({"elements": list(items)})


RED_FOX = "A red fox in the forest at night"


async def test_a_model_lists_elements_under_a_schema_at_temperature_zero():
    model = Scripted(alike, written=listing("a fox", "the fox is red", " in the\nforest ", "at night", "A FOX"))
    found = await decompose(model, RED_FOX, "model")
    assert found.elements == ("a fox", "the fox is red", "in the forest", "at night")
    assert (found.method, found.usage) == ("model", Usage(5, 7))
    (request,) = model.requests
    assert (request.temperature, request.output) == (0, "json_schema")
    assert request.schema is not None


@pytest.mark.parametrize(
    "written",
    ["", "no JSON", "[]", "{}", '{"elements": 7}', listing(), listing(7, None), listing("a dragon", "the"),
     listing("fox " * 100), '{"elements": ["a fox"', "[" * 100_000],
)  # fmt: skip
async def test_a_model_that_lists_nothing_of_the_description_is_overruled(written: str):
    found = await decompose(Scripted(alike, written=written), RED_FOX, "model")
    assert (found.elements, found.method) == (elements(RED_FOX), "rule")


async def test_a_model_lists_no_more_than_can_be_judged():
    written = listing(*[f"fox number {number}" for number in range(100)])
    assert len((await decompose(Scripted(alike, written=written), RED_FOX, "model")).elements) == MAX_ELEMENTS


async def test_a_description_is_cut_once():
    known, model = Decompositions(), Scripted(alike, written=listing("a fox"))
    first = await known.of(model, "m", RED_FOX, "model")
    again = await known.of(model, "m", "  A red fox\nin the forest at night ", "model")
    assert (first.elements, again.elements, again.usage) == (("a fox",), ("a fox",), Usage())
    assert len(model.requests) == 1
    await known.of(model, "other", RED_FOX, "model")
    assert len(model.requests) == 2
    assert (await known.of(model, "m", RED_FOX, "rule")).elements == elements(RED_FOX)
    with pytest.raises(UnsupportedOption):
        await known.of(model, "m", "...", "model")
    assert len(model.requests) == 2


async def test_what_cutting_took_is_counted():
    model = Scripted(lambda *_: 0.9, written=listing("a fox", "night"))
    (image,) = media("x")
    found = await validate_scene(model, image, RED_FOX, decomposition=await decompose(model, RED_FOX, "model"))
    assert [element.text for element in found.matched] == ["a fox", "night"]
    assert found.usage == Usage(15, 8)
    assert found.match_score == pytest.approx(0.9)


@pytest.mark.parametrize(
    "wrong", [{"threshold": 2}, {"threshold": "high"}, {"decomposition": "magic"}, {"aspects": []}, {"aspects": [""]}]
)
def test_promise_30_wrong_defaults_are_found_when_the_catalog_is_read(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SceneDefaults.of(wrong)
    assert SceneDefaults.of({"max_tokens": 512}) == SceneDefaults()
