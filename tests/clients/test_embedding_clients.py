"""Clients that index documents: each sends long chunks to the alias of an OpenAI model, as its users configure it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.servers import Running, serving
from support.venvs import run_program, venv_with

CHUNKS = 1000
"""Of a document of 900 kB, as Open WebUI cuts it by default."""
LONGEST = 20_000
"""Characters of a chunk that is longer than most embedding models read."""

OPEN_WEBUI = """
import __future__, ast, asyncio, importlib.util, json, logging, pathlib, sys
import aiohttp

NAMES = {"agenerate_openai_batch_embeddings", "generate_embeddings", "get_embedding_function"}
SETTINGS = {  # the defaults of open_webui.env and open_webui.config, but for the last two
    "AIOHTTP_CLIENT_TIMEOUT": 300,
    "AIOHTTP_CLIENT_SESSION_SSL": True,
    "RAG_EMBEDDING_PREFIX_FIELD_NAME": "input_type",
    "ENABLE_FORWARD_USER_INFO_HEADERS": True,
}

# The package as a whole needs a hundred others; these functions need only what is given to them here.
folder = pathlib.Path(importlib.util.find_spec("open_webui").origin).parent
module = ast.parse((folder / "retrieval/utils.py").read_text())
module.body = [part for part in module.body if getattr(part, "name", None) in NAMES]
assert len(module.body) == len(NAMES)
space = SETTINGS | {
    "aiohttp": aiohttp,
    "asyncio": asyncio,
    "log": logging.getLogger(),
    "get_json_bearer_headers": lambda key: {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    "include_user_info_headers": lambda headers, user: headers | {
        "X-OpenWebUI-User-Name": "A%20B", "X-OpenWebUI-User-Email": "a@b.c", "X-OpenWebUI-User-Role": "user"
    },
}
exec(compile(module, "utils.py", "exec", __future__.annotations.compiler_flag), space)
url, batch, texts = sys.argv[1], int(sys.argv[2]), json.loads(sys.stdin.read())
embed = space["get_embedding_function"]("openai", "text-embedding-3-small", None, url, "sk-x", batch)
vectors = asyncio.run(embed(texts, prefix="passage", user=object()))
query = asyncio.run(embed(texts[-1], prefix="query", user=object()))
print(json.dumps([len(vectors), vectors[-1] == query]))
"""
LANGCHAIN = """
import json, sys
from langchain_openai import OpenAIEmbeddings

url, _, texts = sys.argv[1], sys.argv[2], json.loads(sys.stdin.read())
as_ids = OpenAIEmbeddings(base_url=url, api_key="x", model="text-embedding-3-small")  # ids of cl100k_base
as_text = OpenAIEmbeddings(base_url=url, api_key="x", model="text-embedding-3-small", check_embedding_ctx_length=False)
vectors = as_ids.embed_documents(texts[:20])
query = as_ids.embed_query("naïve 中文 😀")
same = vectors == as_text.embed_documents(texts[:20]) and query == as_text.embed_query("naïve 中文 😀")
print(json.dumps([len(vectors), same]))
"""
LLAMA_INDEX = """
import json, sys
from llama_index.embeddings.openai import OpenAIEmbedding

url, _, texts = sys.argv[1], sys.argv[2], json.loads(sys.stdin.read())
model = OpenAIEmbedding(model="text-embedding-3-small", api_base=url, api_key="x")
vectors = model.get_text_embedding_batch(texts)
print(json.dumps([len(vectors), vectors[-1] == model.get_text_embedding(texts[-1])]))
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chunks of a document: 1,000 characters each, and one much longer."""
    chunks = [f"chunk {number} " * 100 for number in range(CHUNKS - 1)]
    path = tmp_path_factory.mktemp("document") / "texts.json"
    path.write_text(json.dumps([*(chunk[:1000] for chunk in chunks), "long " * (LONGEST // 5)]))
    return path


def run(
    program: str, python: Path, running: Running, texts: Path, *, batch: int = 1, table: Path = Path()
) -> tuple[int, bool]:
    """How many vectors a client got, and whether a text has the same vector in all its ways."""
    command = [python, "-c", program, f"{running.url}/v1", str(batch)]
    count, same = json.loads(run_program(command, texts.parent, stdin=texts, TIKTOKEN_CACHE_DIR=str(table)))
    return count, same


@pytest.fixture(scope="module")
def open_webui(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = venv_with(tmp_path_factory.mktemp("webui"), "aiohttp==3.14.4")
    run_program([python, "-m", "pip", "install", "--quiet", "--no-deps", "open-webui==0.12.4"], python.parent)
    return python


@pytest.mark.long
@pytest.mark.parametrize("batch", [1, 100])
def test_open_webui_uploads_a_document(fake_server: Running, open_webui: Path, texts: Path, batch: int) -> None:
    """By its own functions. By default every chunk is a request of its own, all are sent at once, and none again."""
    assert run(OPEN_WEBUI, open_webui, fake_server, texts, batch=batch) == (CHUNKS, True)


@pytest.fixture(scope="module")
def indexing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packages = ["langchain-openai==1.7.4", "llama-index-core==0.14.25", "llama-index-embeddings-openai==0.7.0"]
    return venv_with(tmp_path_factory.mktemp("indexing"), *packages)


@pytest.fixture(scope="module")
def table(indexing: Path) -> Path:
    """The folder of tiktoken's cl100k_base, which LlamaIndex carries."""
    (found,) = indexing.parents[1].glob("lib/*/site-packages/llama_index/core/_static/tiktoken_cache")
    return found


@pytest.fixture(scope="module")
def decoding_server(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of fakes that has OpenAI's table."""
    with serving(tmp_path_factory.mktemp("decoding"), TIKTOKEN_CACHE_DIR=str(table)) as running:
        yield running


@pytest.mark.long
def test_langchain_sends_ids_of_openais_tokenizer(
    decoding_server: Running, indexing: Path, table: Path, texts: Path
) -> None:
    assert run(LANGCHAIN, indexing, decoding_server, texts, table=table) == (20, True)


@pytest.mark.long
def test_llama_index_embeds_a_document(fake_server: Running, indexing: Path, texts: Path) -> None:
    assert run(LLAMA_INDEX, indexing, fake_server, texts) == (CHUNKS, True)
