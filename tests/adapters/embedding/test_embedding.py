"""Embeddings on the real MiniLM, on both backends; recipes, token limits and batches on their own."""

import asyncio
import json
import random
import shutil
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.servers import model_path

from adapters.base import EmbeddingRequest, ModelFiles
from adapters.embedding.batching import Batcher, around
from adapters.embedding.recipe import EmbeddingOptions, read_recipe
from adapters.embedding.tokens import Ids, Tokenizer, shortened
from adapters.embedding.transformers_embedding import TransformersEmbedding
from adapters.errors import (
    ContextLengthExceeded,
    GenerationFailed,
    Interrupted,
    ModelBusy,
    ModelLoadFailed,
    UnsupportedOption,
)
from adapters.process.remote import RemoteEmbedding

MODEL = "all-minilm-l6-v2"
NOISE = 2e-6
"""float32: sums of a batch are added in another order than those of one text."""


def nothing(_: object) -> None:
    pass


def numbers(vector: bytes) -> "np.ndarray[Any, np.dtype[np.float32]]":
    return np.frombuffer(vector, "<f4")


@pytest.fixture(scope="module")
async def path() -> Path:
    return await model_path(MODEL)


@pytest.fixture(scope="module")
async def minilm(path: Path) -> AsyncIterator[RemoteEmbedding]:
    adapter = await RemoteEmbedding.load(ModelFiles(MODEL, "transformers-embedding", str(path), {}), nothing)
    yield adapter
    await adapter.unload()


async def embed(adapter: Any, *inputs: Any, **options: Any) -> list[Any]:
    return [numbers(vector) for vector in (await adapter.embed(EmbeddingRequest(inputs, **options))).vectors]


# --- the real model --------------------------------------------------------------------------------------------------


async def test_sentences_that_mean_the_same_are_nearer_than_others(minilm: RemoteEmbedding) -> None:
    pairs = [
        ("A man is eating food.", "Someone is having a meal."),
        ("The horse galloped across the field.", "A stallion ran over the meadow."),
        ("How do I reset my password?", "I forgot my login and need a new one."),
        ("The stock market fell sharply today.", "Shares lost a lot of their value this afternoon."),
        ("It will rain tomorrow.", "The forecast says showers for the next day."),
    ]
    left, right = [np.stack(await embed(minilm, *side)) for side in zip(*pairs, strict=True)]
    likeness = left @ right.T
    assert (likeness.argmax(axis=1) == np.arange(len(pairs))).all()
    assert likeness.diagonal().min() > (likeness - np.eye(len(pairs))).max()


async def test_vectors_are_those_of_the_models_card(minilm: RemoteEmbedding, path: Path) -> None:
    """transformers called by hand, as the card of all-MiniLM-L6-v2 has it: mean over the mask, then length one."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = [
        "This is an example sentence",
        "Each sentence is converted",
        "x",
        "Zebras [SEP]arate? Naïve café, 中文 😀.",
    ]
    tokenizer = AutoTokenizer.from_pretrained(path)
    network = AutoModel.from_pretrained(path).eval()
    batch = tokenizer(texts[:3], padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        hidden = network(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    wanted = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()
    found = await embed(minilm, *texts)
    assert np.abs(np.stack(found[:3]) - wanted).max() < NOISE
    assert np.linalg.norm(found[3]) == pytest.approx(1, abs=1e-6)


async def test_a_result_does_not_depend_on_its_company(minilm: RemoteEmbedding) -> None:
    draw = random.Random(7)
    words = ["horse", "moon", "run", "quickly", "the", "of", "boat", "blue", "seven", "unbelievable"]
    texts = [" ".join(draw.choices(words, k=draw.choice([1, 2, 5, 20, 60, 200]))) for _ in range(60)]
    alone = [(await embed(minilm, text))[0] for text in texts]
    together = await embed(minilm, *texts)
    crowd = await asyncio.gather(*(embed(minilm, text) for text in texts))
    for index in range(len(texts)):
        assert np.abs(together[index] - alone[index]).max() < NOISE
        assert np.abs(crowd[index][0] - alone[index]).max() < NOISE


async def test_length_is_what_the_checkpoint_says(minilm: RemoteEmbedding) -> None:
    result = await minilm.embed(EmbeddingRequest(("word " * 254,)))
    assert result.usage.prompt_tokens == 256  # with [CLS] and [SEP]; its tokenizer.json would have cut at 128
    with pytest.raises(
        ContextLengthExceeded, match=r"maximum context length is 256 tokens per input; input 1 .* has 257"
    ):
        await minilm.embed(EmbeddingRequest(("x", "word " * 255), truncate="none"))
    with pytest.raises(ContextLengthExceeded, match="300,000"):
        await minilm.embed(EmbeddingRequest(("word " * 200_000, "word " * 200_000)))


async def test_longer_inputs_are_the_mean_of_their_windows(minilm: RemoteEmbedding) -> None:
    """Open WebUI sends chunks of 1,000 characters, which may have more tokens than MiniLM reads."""
    words = [f"word{number}" for number in range(130)]
    long = " ".join(words)
    result = await minilm.embed(EmbeddingRequest((long, "x")))
    assert result.usage.prompt_tokens > 256 + 2
    whole, _ = await embed(minilm, long, "x")
    assert abs(float(whole @ whole) - 1) < 1e-5
    halves = await embed(minilm, " ".join(words[:65]), " ".join(words[65:]))
    assert all(float(whole @ half) > 0.9 for half in halves)
    start = await minilm.embed(EmbeddingRequest((long,), truncate="end"))
    assert start.usage.prompt_tokens == 256
    changed = await minilm.embed(EmbeddingRequest((long + " something else entirely",), truncate="end"))
    assert changed.vectors == start.vectors
    assert (await minilm.embed(EmbeddingRequest((long,), truncate="start"))).vectors != start.vectors


async def test_token_ids_are_read_as_they_stand(minilm: RemoteEmbedding, path: Path) -> None:
    ids = tuple(Tokenizer(path, read_recipe(path, EmbeddingOptions()))._tokenizer.encode("hello world").ids)
    text, same, bare = await embed(minilm, "hello world", ids, ids[1:-1])
    assert np.abs(text - same).max() < NOISE
    assert 0.5 < float(text @ bare) < 0.999  # without [CLS] and [SEP] it is another sequence
    with pytest.raises(UnsupportedOption, match="token id 30522; this model's token ids are 0 to 30521"):
        await minilm.embed(EmbeddingRequest(((30_521,), (5, 30_522))))


async def test_dimensions_need_a_model_that_was_trained_for_them(minilm: RemoteEmbedding) -> None:
    assert len((await embed(minilm, "x", dimensions=384))[0]) == 384
    with pytest.raises(UnsupportedOption, match="384") as refused:
        await minilm.embed(EmbeddingRequest(("x",), dimensions=128))
    assert refused.value.param == "dimensions"


async def test_one_large_request_does_not_hold_up_small_ones(minilm: RemoteEmbedding) -> None:
    large = asyncio.create_task(minilm.embed(EmbeddingRequest(("word " * 250,) * 200)))
    await asyncio.sleep(0.2)
    for _ in range(3):
        await minilm.embed(EmbeddingRequest(("a short one",)))
    assert not large.done()
    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    await asyncio.wait_for(minilm.embed(EmbeddingRequest(("again",))), 20)


@pytest.fixture(scope="module")
async def vllm(path: Path) -> AsyncIterator[RemoteEmbedding]:
    adapter = await RemoteEmbedding.load(ModelFiles(MODEL, "vllm-embedding", str(path), {}), nothing)
    yield adapter
    await adapter.unload()


async def test_vllm_gives_the_same_vectors(minilm: RemoteEmbedding, vllm: RemoteEmbedding) -> None:
    texts = ["A man is eating food.", "x", "word " * 250, "[SEP] and [MASK] are text", "Naïve café, 中文 😀."]
    for pooling in (texts, [(101, 7592, 102), (5,)]):
        for one, other in zip(await embed(minilm, *pooling), await embed(vllm, *pooling), strict=True):
            assert float(one @ other) >= 0.9999
    crowd = await asyncio.gather(*(embed(vllm, text) for text in texts * 6))
    assert float(crowd[0][0] @ crowd[5][0]) >= 0.9999
    for long in ("word " * 300, "A man is eating food. " * 100):
        (one,), (other,) = await embed(minilm, long), await embed(vllm, long)
        assert float(one @ other) >= 0.9999
    big = asyncio.create_task(vllm.embed(EmbeddingRequest(("word " * 250,) * 100)))
    await asyncio.sleep(0.3)
    big.cancel()
    assert len((await embed(vllm, "after a cancel"))[0]) == 384


async def test_promise_1_a_model_whose_engine_dies_is_not_alive(vllm: RemoteEmbedding) -> None:
    """The last test of `vllm`: it is gone after this."""
    import psutil

    below = psutil.Process(vllm.worker.pid).children(recursive=True)
    engines = [one for one in below if "resource_tracker" not in " ".join(one.cmdline())]
    assert engines
    for engine in engines:
        engine.kill()
    with pytest.raises(Interrupted):
        await vllm.embed(EmbeddingRequest(("x",)))
    for _ in range(100):
        if not vllm.alive:
            break
        await asyncio.sleep(0.1)
    assert not vllm.alive


# --- recipes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(path: Path, tmp_path: Path) -> Path:
    target = tmp_path / "model"
    shutil.copytree(path, target, ignore=shutil.ignore_patterns("*.safetensors"))
    (target / "model.safetensors").symlink_to(path / "model.safetensors")
    return target


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def modules(*names: str) -> list[dict[str, str]]:
    return [{"type": f"sentence_transformers.models.{name}", "path": f"{at}_{name}" if at else ""} for at, name in enumerate(names)]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({"pooling_mode_mean_tokens": True, "word_embedding_dimension": 384}, "mean"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": ["cls"]}, "cls"),
        ({"pooling_mode_max_tokens": True}, None),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, None),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, None),
        ({"pooling_mode_mean_tokens": True, "include_prompt": False}, None),
        ({}, None),
    ],
)
def test_pooling_is_what_the_module_says(copy: Path, config: Any, pooling: str | None) -> None:
    write(copy / "1_Pooling" / "config.json", config)
    if pooling is None:
        with pytest.raises(ModelLoadFailed, match="pooling"):
            read_recipe(copy, EmbeddingOptions())
    else:
        assert read_recipe(copy, EmbeddingOptions()).pooling == pooling


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("modules.json", modules("Transformer", "Pooling", "Dense"), "Dense"),
        ("modules.json", modules("Transformer"), "0 pooling modules"),
        ("modules.json", [{"type": "a.Pooling", "path": "../1_Pooling"}], "not supported"),
        ("modules.json", [{"type": "a.Transformer", "path": "0_Transformer"}], "not supported"),
        ("modules.json", [5], "missing or wrong value"),
        ("modules.json", {"a": 1}, "missing or wrong value"),
        ("config.json", {"model_type": "bert"}, "hidden_size"),
        ("config.json", [1], "missing or wrong value"),
        ("sentence_bert_config.json", {"max_seq_length": -4}, "how many tokens"),
        ("sentence_bert_config.json", {"max_seq_length": "many"}, "missing or wrong value"),
        ("sentence_bert_config.json", "text", "missing or wrong value"),
        ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "missing or wrong value"),
    ],
)
def test_what_is_not_understood_is_refused(copy: Path, name: str, content: Any, message: str) -> None:
    write(copy / name, content)
    with pytest.raises(ModelLoadFailed, match=message):
        read_recipe(copy, EmbeddingOptions())


def test_damaged_and_missing_files(copy: Path) -> None:
    (copy / "modules.json").write_text("[" * 100_000)
    with pytest.raises(ModelLoadFailed, match=r"modules\.json"):
        read_recipe(copy, EmbeddingOptions())
    (copy / "modules.json").unlink()
    with pytest.raises(ModelLoadFailed, match="Set the option `pooling`"):
        read_recipe(copy, EmbeddingOptions())
    recipe = read_recipe(copy, EmbeddingOptions(pooling="cls"))
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelLoadFailed, match=r"tokenizer\.json"):
        Tokenizer(copy, recipe)


def test_lengths_sizes_and_prompts(copy: Path) -> None:
    assert read_recipe(copy, EmbeddingOptions(max_tokens=512)).max_tokens == 512
    with pytest.raises(ModelLoadFailed, match="positions for 512"):
        read_recipe(copy, EmbeddingOptions(max_tokens=513))
    assert read_recipe(copy, EmbeddingOptions(matryoshka=True)).sizes is None
    assert read_recipe(copy, EmbeddingOptions(matryoshka=(256, 64))).sizes == (64, 256)
    with pytest.raises(ModelLoadFailed, match="384"):
        read_recipe(copy, EmbeddingOptions(matryoshka=(385,)))
    (copy / "sentence_bert_config.json").unlink()
    assert read_recipe(copy, EmbeddingOptions()).max_tokens == 512
    config = json.loads((copy / "config.json").read_text())
    write(copy / "config.json", config | {"model_type": "roberta", "pad_token_id": 1, "max_position_embeddings": 514})
    write(copy / "tokenizer_config.json", {"model_max_length": 10**30})
    assert read_recipe(copy, EmbeddingOptions()).max_tokens == 512
    write(copy / "config.json", config | {"matryoshka_dimensions": [128, 384]})
    assert read_recipe(copy, EmbeddingOptions()).sizes == (128, 384)
    write(copy / "config_sentence_transformers.json", {"prompts": {"q": "query: "}, "default_prompt_name": "q"})
    assert read_recipe(copy, EmbeddingOptions()).prompt == "query: "


@pytest.mark.parametrize("pooling", ["cls", "last"])
async def test_other_poolings_and_matryoshka_work(copy: Path, pooling: str) -> None:
    options = {"pooling": pooling, "matryoshka": True, "dtype": "bfloat16", "threads": 1, "max_batch_tokens": 16}
    adapter = await TransformersEmbedding.load(ModelFiles("m", "transformers-embedding", str(copy), options), nothing)
    try:
        texts = ["one", "two words", "three words here and more", "a"]
        together = await embed(adapter, *texts)
        for text, vector in zip(texts, together, strict=True):
            assert float((await embed(adapter, text))[0] @ vector) > 0.999  # bfloat16
            cut = (await embed(adapter, text, dimensions=32))[0]
            assert len(cut) == 32
            assert np.linalg.norm(cut) == pytest.approx(1, abs=1e-5)
    finally:
        await adapter.unload()
    with pytest.raises(Interrupted):
        await embed(adapter, "x")


async def test_promise_17_pickled_weights_are_not_read(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(ModelLoadFailed):
        await TransformersEmbedding.load(ModelFiles("m", "transformers-embedding", str(copy), {}), nothing)


# --- batches ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.data(), st.integers(1, 2000))
def test_a_batch_keeps_to_its_budget(lengths: list[int], data: st.DataObject, budget: int) -> None:
    lengths.sort()
    at = data.draw(st.integers(0, len(lengths) - 1))
    low, high = around(lengths, at, budget)
    assert 0 <= low <= at < high <= len(lengths)
    assert high - low == 1 or (high - low) * lengths[high - 1] <= budget


class Recorded:
    """A model that returns what it reads, and remembers its batches."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.batches: list[list[Ids]] = []
        self._delay_s = delay_s

    def __call__(self, batch: list[Ids]) -> list[bytes]:
        import time

        self.batches.append(batch)
        time.sleep(self._delay_s)
        if any(666 in ids for ids in batch):
            raise GenerationFailed("It does not like 666.")
        return [struct.pack(f"<{len(ids)}f", *ids) for ids in batch]


def answer(ids: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(ids)}f", *ids)


async def test_what_comes_while_the_model_is_busy_is_one_batch() -> None:
    model = Recorded(0.1)
    batcher = Batcher(model, max_batch_tokens=1000)
    first = asyncio.create_task(batcher.embed([[1]]))
    await asyncio.sleep(0.03)
    others = [asyncio.create_task(batcher.embed([[index], [index] * 3])) for index in range(32)]
    assert await first == [answer([1])]
    for index, task in enumerate(others):
        assert await task == [answer([index]), answer([index] * 3)]
    assert [len(batch) for batch in model.batches] == [1, 64]
    await batcher.close()


async def test_requests_take_turns_whatever_their_size() -> None:
    model = Recorded(0.01)
    batcher = Batcher(model, max_batch_tokens=100)
    large = asyncio.create_task(batcher.embed([[2] * 50] * 100))
    await asyncio.sleep(0.005)
    small = await batcher.embed([[3]])
    assert small == [answer([3])]
    assert len(model.batches) <= 4
    assert not large.done()
    assert await large == [answer([2] * 50)] * 100
    await batcher.close()


async def test_a_cancelled_request_leaves_the_queue_and_a_failing_one_takes_no_other_along() -> None:
    model = Recorded(0.02)
    batcher = Batcher(model, max_batch_tokens=20)
    gone = asyncio.create_task(batcher.embed([[7] * 10] * 50))
    await asyncio.sleep(0.03)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    before = len(model.batches)
    bad = asyncio.create_task(batcher.embed([[666] * 10] * 6))
    assert await batcher.embed([[1] * 20]) == [answer([1] * 20)]
    with pytest.raises(GenerationFailed):
        await bad
    assert len(model.batches) - before <= 3
    assert await batcher.embed([[4]]) == [answer([4])]
    await batcher.close()


async def test_promise_11_the_queue_is_bounded_and_closing_ends_it() -> None:
    model = Recorded(0.3)
    batcher = Batcher(model, max_batch_tokens=2048)
    waiting = [asyncio.create_task(batcher.embed([[1] * 250] * 1200)) for _ in range(4)]
    await asyncio.sleep(0.1)
    assert sum(task.done() for task in waiting) == 1
    with pytest.raises(ModelBusy):
        await next(task for task in waiting if task.done())
    await batcher.close()
    for task in waiting:
        with pytest.raises((Interrupted, ModelBusy)):
            await task
    with pytest.raises(Interrupted):
        await batcher.embed([[1]])


def test_a_cut_vector_has_length_one_again() -> None:
    cut = numbers(shortened(struct.pack("<4f", 0.5, 0.5, 0.5, 0.5), 2))
    assert cut.tolist() == pytest.approx([0.5**0.5] * 2)
    assert numbers(shortened(struct.pack("<3f", 0.0, 0.0, 1.0), 2)).tolist() == [0.0, 0.0]  # and not NaN
