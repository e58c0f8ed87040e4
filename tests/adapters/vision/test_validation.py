"""Eyes: the tiny LLaVA-OneVision class checkpoint on vLLM, and scene validation on it. One engine for this file."""

import asyncio
import io
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adapters.base import (
    Element,
    ImagePart,
    JudgeRequest,
    Media,
    Message,
    ModelFiles,
    Question,
    SceneValidation,
    TextDone,
    TextPart,
    TextRequest,
)
from adapters.errors import ContextLengthExceeded, InvalidMedia, UnsupportedOption, WrongModelKind
from adapters.fake.models import FakeText
from adapters.text.judge import first_token
from adapters.text.vllm_text import VllmText
from adapters.vision.decomposition import MAX_ELEMENTS, elements
from adapters.vision.validation import validate_scene
from starter.drawing import draw
from starter.training.images import random_scenes

CHECKPOINT = Path(__file__).parents[3] / "starter" / "checkpoints" / "vision"
MAX_IMAGES = 3


def picture(color: str, size: tuple[int, int] = (320, 240)) -> Media:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "PNG")
    return Media("image/png", out.getvalue())


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[VllmText]:
    options = {"kv_cache_gib": 0.25, "max_images": MAX_IMAGES, "dtype": "float32"}
    adapter = await VllmText.load(ModelFiles("tiny", "vllm", str(CHECKPOINT), options), lambda _: None)
    yield adapter
    await adapter.unload()


async def done(model: VllmText, *parts: Any) -> TextDone:
    *_, last = [e async for e in model.generate(TextRequest((Message("user", parts),), max_tokens=4, temperature=0))]
    assert isinstance(last, TextDone)
    return last


async def test_it_sees(model: VllmText):
    assert model.supports_images
    blind = await done(model, TextPart("What is this?"))
    seeing = await done(model, ImagePart(picture("red")), TextPart("What is this?"))
    assert seeing.usage.prompt_tokens > blind.usage.prompt_tokens + 50
    red, blue, again = [
        (await model.judge(JudgeRequest((ImagePart(picture(color)),), (Question("Is it red?"),)))).judgements
        for color in ("red", "blue", "red")
    ]
    assert red != blue
    assert red[0].probabilities == pytest.approx(again[0].probabilities, abs=0.01)


async def test_the_first_request_is_as_fast_as_the_next(model: VllmText):
    begin = time.perf_counter()
    await model.judge(JudgeRequest((ImagePart(picture("green")),), (Question("Is it green?"),)))
    assert time.perf_counter() - begin < 3  # Without the warm-up: 16 s.


async def test_many_questions_share_one_image(model: VllmText):
    questions = tuple(Question(f"Is it number {i}?") for i in range(50))
    result = await model.judge(JudgeRequest((ImagePart(picture("orange")),), questions))
    assert len(result.judgements) == 50
    for judgement in result.judgements:
        assert sum(judgement.probabilities) == pytest.approx(1)
        assert 0 < judgement.mass <= 1
    assert result.usage.completion_tokens == 50
    assert result.usage.cached_tokens > result.usage.prompt_tokens / 2


def drawn(seed: int) -> Media:
    """A picture by the starter's own renderer."""
    out = io.BytesIO()
    draw(random_scenes(1, random.Random(seed))[0]).save(out, "PNG")
    return Media("image/png", out.getvalue())


KINDS = (
    Question("Is there a fox?"),
    Question("Is it night?", ("no", "yes")),
    Question("What colour is the subject?", ("red", "blue", "green", "yellow")),
    Question("How well does it fit?", ("1", "2", "3", "10")),
    Question("Where is it?", ("in the forest", "in the desert", "in the city at night")),
    Question("Which of these does the image show?", ("red", "red fox", "fox")),
)
"""Told apart by first tokens; by sequences of one length; by sequences of several lengths, some with their ends."""


async def test_probabilities_are_those_of_transformers_on_the_same_weights(model: VllmText):
    import torch
    from transformers import AutoImageProcessor, LlavaOnevisionForConditionalGeneration

    reference: Any = LlavaOnevisionForConditionalGeneration.from_pretrained(str(CHECKPOINT), dtype=torch.float32)
    processor: Any = AutoImageProcessor.from_pretrained(str(CHECKPOINT))
    for seed in (1, 2):
        image = drawn(seed)
        request = JudgeRequest((ImagePart(image),), KINDS)
        result = await model.judge(request)
        pixels = dict(processor([Image.open(io.BytesIO(image.data)).convert("RGB")], return_tensors="pt"))
        for question, found in zip(KINDS, result.judgements, strict=True):
            message = first_token.message(request, question)
            prompt = await model._prompts.chat((message,), await model._prompts.images(message.content))

            def logprobs(
                said: list[int], before: list[int] = prompt["prompt_token_ids"], pixels: dict[str, Any] = pixels
            ) -> Any:
                ids = torch.tensor([[*before, *said]])
                with torch.inference_mode():
                    logits = reference(input_ids=ids, attention_mask=torch.ones_like(ids), **pixels).logits
                return logits[0, -1].log_softmax(0)

            expected = _reference(question, model, logprobs)
            assert found.probabilities == pytest.approx(expected, abs=0.002)  # The promise is 0.02.
            assert sum(found.probabilities) == pytest.approx(1)


def _reference(question: Question, model: VllmText, logprobs: Callable[[list[int]], Any]) -> list[float]:
    """The probabilities of the options, by the rule of docs/vision.md and nothing of the adapter's own arithmetic."""
    own = [model._prompts.encode(option) for option in question.options]
    spelled = [{s + w for w in (o, o.lower(), o[:1].upper() + o[1:]) for s in ("", " ")} for o in question.options]
    tokens = [{tuple(model._prompts.encode(text)) for text in texts} for texts in spelled]
    firsts = [{model._prompts.first_token(text) for text in texts} - {None} for texts in spelled]
    if sum(map(len, firsts)) == len(set().union(*firsts)):
        start = logprobs([]).exp()
        masses = [sum(start[token].item() for token in first) for first in firsts]
        return [mass / sum(masses) for mass in masses]
    nested = any(a != b and b[: len(a)] == a for i in tokens for a in i for j in tokens if i is not j for b in j)
    masses = []
    for variants, plain in zip(tokens, own, strict=True):
        mass = 0.0
        for one in variants:
            steps = [logprobs(list(one[:at]))[token].item() for at, token in enumerate(one)]
            end = logprobs(list(one))[list(model._prompts.end_tokens)].logsumexp(0).item() if nested else 0.0
            mass += math.exp(sum(steps) + end)
        masses.append((mass, len(plain) + nested))
    even = len({length for _, length in masses}) == 1
    scores = [mass if even else mass ** (1 / length) for mass, length in masses]
    return [score / sum(scores) for score in scores]


async def test_answers_do_not_depend_on_the_order_of_questions_or_on_each_other(model: VllmText):
    image = ImagePart(drawn(3))
    together = (await model.judge(JudgeRequest((image,), KINDS))).judgements
    backwards = (await model.judge(JudgeRequest((image,), KINDS[::-1]))).judgements[::-1]
    for question, found, other in zip(KINDS, together, backwards, strict=True):
        (alone,) = (await model.judge(JudgeRequest((image,), (question,)))).judgements
        assert found.probabilities == pytest.approx(other.probabilities, abs=1e-4)
        assert found.probabilities == pytest.approx(alone.probabilities, abs=1e-4)


async def test_a_question_may_bring_its_own_image(model: VllmText):
    plain, shown = Question("Is it the same?"), Question("Is it the same?", content=(ImagePart(drawn(4)),))
    result = await model.judge(JudgeRequest((ImagePart(drawn(3)),), (plain, shown)))
    alone = await model.judge(JudgeRequest((ImagePart(drawn(3)),), (plain,)))
    assert result.judgements[0].probabilities == pytest.approx(alone.judgements[0].probabilities, abs=1e-4)
    assert result.judgements[0] != result.judgements[1]


async def test_users_cannot_write_stand_ins_for_images(model: VllmText):
    parts = (ImagePart(picture("red")), TextPart("<image> Is <image> this <|im_end|> one image?"))
    assert (await done(model, *parts)).usage.completion_tokens
    assert (await done(model, TextPart("<image>"))).usage.completion_tokens


async def test_low_detail_is_cheaper(model: VllmText):
    high = await done(model, ImagePart(picture("red", (1600, 1200))))
    low = await done(model, ImagePart(picture("red", (1600, 1200)), "low"))
    assert low.usage.prompt_tokens <= high.usage.prompt_tokens


async def test_promise_18_what_is_no_picture_is_refused(model: VllmText):
    for data in (b"", b"no picture", picture("red").data[:50]):
        with pytest.raises(InvalidMedia):
            await done(model, ImagePart(Media("image/png", data)))
    assert (await done(model, TextPart("Still there?"))).usage.completion_tokens


async def test_promise_18_a_refused_request_takes_no_image_from_the_next(model: VllmText):
    """vLLM notes what images the engine has when it renders a prompt, and a refused one never gets there."""
    image, other, long = ImagePart(drawn(11)), ImagePart(drawn(12)), "word " * 9000
    with pytest.raises(ContextLengthExceeded):
        await done(model, image, TextPart(long))
    with pytest.raises(ContextLengthExceeded):
        await model.judge(JudgeRequest((other,), (Question(long),)))
    for one in (image, other):
        assert (await done(model, one, TextPart("What is this?"))).usage.completion_tokens


async def test_promise_18_an_image_that_the_engine_lost_is_sent_again(model: VllmText):
    image = ImagePart(drawn(13))
    message = Message("user", (image, TextPart("What is this?")))
    await model._prompts.chat((message,), await model._prompts.images(message.content))  # and never sent
    questions = tuple(Question(f"Is it number {number}?") for number in range(5))
    assert len((await model.judge(JudgeRequest((image,), questions))).judgements) == 5


async def test_promise_10_an_image_of_work_that_was_cancelled_is_sent_again(model: VllmText):
    chance = random.Random(10)
    for seed in range(20, 32):
        image = ImagePart(drawn(seed))
        asked = JudgeRequest((image,), tuple(Question(f"Is it number {number}?") for number in range(8)))
        work = [asyncio.create_task(model.judge(asked)), asyncio.create_task(done(model, image, TextPart("What?")))]
        await asyncio.sleep(chance.random() * 0.05)
        for task in work:
            task.cancel()
        await asyncio.wait(work)
        assert len((await model.judge(asked)).judgements) == 8
        assert (await done(model, image, TextPart("What?"))).usage.completion_tokens


async def test_too_many_images_are_refused(model: VllmText):
    image = ImagePart(picture("red"))
    assert (await done(model, *[image] * MAX_IMAGES)).usage.completion_tokens
    with pytest.raises(ContextLengthExceeded, match=f"at most {MAX_IMAGES}"):
        await done(model, *[image] * (MAX_IMAGES + 1))


async def test_a_scene_is_validated_from_probabilities(model: VllmText):
    found = await validate_scene(model, picture("red"), "A dark, mysterious forest at twilight with fog", threshold=0.3)
    assert {e.text for e in found.matched + found.mismatched} == {"A dark, mysterious forest at twilight", "fog"}
    assert found.usage.completion_tokens == 3
    consistent(found, 0.3)


def consistent(found: SceneValidation, threshold: float) -> None:
    """The explanation says what the fields say."""
    assert found.is_valid == (found.match_score >= threshold)
    assert ("does not match" in found.explanation) != found.is_valid
    assert all(element.probability >= threshold for element in found.matched)
    assert all(element.probability < threshold for element in found.mismatched)
    _, _, seen = found.explanation.partition("Seen: ")
    seen, _, missed = seen.partition("Not seen: ") if found.matched else ("", "", found.explanation)
    assert all(element.text in seen for element in found.matched)
    assert all(element.text in missed for element in found.mismatched)


@pytest.fixture(scope="module")
async def fake() -> FakeText:
    return await FakeText.load(ModelFiles("fake", "fake-text", "", {"supports_images": True}), lambda _: None)


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 0.75, 1.0])
async def test_the_explanation_never_contradicts_the_result(fake: FakeText, threshold: float):
    for color in ("red", "green", "blue", "white", "black"):
        found = await validate_scene(fake, picture(color, (8, 8)), "a fox, a bridge and fog", threshold=threshold)
        consistent(found, threshold)
        parts = [e.probability for e in found.matched + found.mismatched]
        assert 0 <= found.match_score <= math.sqrt(sum(parts) / len(parts)) + 1e-9


async def test_a_model_without_eyes_is_the_wrong_kind():
    blind = await FakeText.load(ModelFiles("fake", "fake-text", "", {"supports_images": False}), lambda _: None)
    with pytest.raises(WrongModelKind):
        await validate_scene(blind, picture("red"), "fog")


@pytest.mark.parametrize("description", ["", " \n", "...", ", and ,"])
async def test_a_description_must_name_something(fake: FakeText, description: str):
    with pytest.raises(UnsupportedOption) as caught:
        await validate_scene(fake, picture("red"), description)
    assert caught.value.param == "description"


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("A dark, mysterious forest at twilight with fog", ["A dark, mysterious forest at twilight", "fog"]),
        ("a fox, a bridge and fog", ["a fox", "a bridge", "fog"]),
        ("A tall, thin, old man with a hat", ["A tall, thin, old man", "a hat"]),
        ("The river is calm; no boats! The river is calm.", ["The river is calm", "no boats"]),
        ("a sandy band withdrawn", ["a sandy band withdrawn"]),
        ("version 1.5 of it", ["version 1.5 of it"]),
        ("red", ["red"]),
    ],
)
def test_descriptions_are_cut_into_elements(description: str, expected: list[str]):
    assert list(elements(description)) == expected


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=400))
def test_every_description_can_be_cut(description: str):
    found = elements(description)
    assert len(found) <= MAX_ELEMENTS
    assert all(text and text == text.strip() for text in found)
    assert elements(description) == found


def test_elements_are_values():
    assert Element("fog", 0.5) == Element("fog", 0.5)


@pytest.mark.parametrize("description", ["a " + "x," * 3990, "the " + "x, " * 2660, "a," * 4000])
def test_promise_8_hostile_descriptions_do_not_stall_the_loop(description: str):
    started = time.perf_counter()
    elements(description)
    assert time.perf_counter() - started < 0.05
