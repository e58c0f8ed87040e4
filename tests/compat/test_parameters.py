"""docs/parameters.md against the SDK's types, our schemas and the server's behaviour."""

import re
from importlib import import_module
from typing import Any

import httpx
import pytest
from support.servers import ROOT, Running

TABLE = (ROOT / "docs/parameters.md").read_text("utf-8")
DECISIONS: dict[str, dict[str, str]] = {
    section.partition("\n")[0]: dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE))
    for section in TABLE.split("\n## ")[1:]
}
SDK = {
    "POST /v1/chat/completions": "chat.completion_create_params:CompletionCreateParamsStreaming",
    "POST /v1/completions": "completion_create_params:CompletionCreateParamsStreaming",
    "POST /v1/responses": "responses.response_create_params:ResponseCreateParamsStreaming",
    "POST /v1/responses/input_tokens": "responses.input_token_count_params:InputTokenCountParams",
    "POST /v1/embeddings": "embedding_create_params:EmbeddingCreateParams",
    "POST /v1/decisions": "decision_create_params:DecisionCreateParams",
    "POST /v1/images/generations": "image_generate_params:ImageGenerateParamsStreaming",
    "POST /v1/images/edits": "image_edit_params:ImageEditParamsStreaming",
    "POST /v1/images/variations": "image_create_variation_params:ImageCreateVariationParams",
    "POST /v1/audio/speech": "audio.speech_create_params:SpeechCreateParams",
    "POST /v1/audio/transcriptions": "audio.transcription_create_params:TranscriptionCreateParamsStreaming",
    "POST /v1/audio/translations": "audio.translation_create_params:TranslationCreateParams",
    "POST /v1/videos": "video_create_params:VideoCreateParams",
    "POST /v1/videos/edits": "video_edit_params:VideoEditParams",
    "POST /v1/videos/extensions": "video_extend_params:VideoExtendParams",
    "POST /v1/videos/{video_id}/remix": "video_remix_params:VideoRemixParams",
    "GET /v1/videos": "video_list_params:VideoListParams",
    "POST /v1/files": "file_create_params:FileCreateParams",
    "GET /v1/files": "file_list_params:FileListParams",
    "GET /v1/responses/{response_id}": "responses.response_retrieve_params:ResponseRetrieveParamsStreaming",
    "GET /v1/responses/{response_id}/input_items": "responses.input_item_list_params:InputItemListParams",
}
"""The parameters of each route in the SDK."""
QUESTION = {"type": "predicate", "instructions": "x"}
BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/chat/completions": {"model": "fake-text", "messages": [{"role": "user", "content": "x"}]},
    "POST /v1/completions": {"model": "fake-text", "prompt": "x"},
    "POST /v1/responses": {"model": "fake-text", "input": "x"},
    "POST /v1/responses/input_tokens": {"model": "fake-text", "input": "x"},
    "POST /v1/embeddings": {"model": "fake-embedding", "input": "x"},
    "POST /v1/decisions": {"model": "fake-text", "input": "x", "questions": [QUESTION]},
    "POST /v1/images/generations": {"model": "fake-image", "prompt": "x", "size": "64x64"},
    "POST /v1/audio/speech": {"model": "fake-voice", "input": "x", "voice": "alloy"},
}
"""A request to each route that takes JSON alone."""
ROWS = [(route, name) for route in BODIES for name in DECISIONS[route]]
MALFORMED = [{"wrong": []}]
NAMED = {"web_search_options"}
"""Wishes for something that this server lacks, which the header names."""


def test_every_parameter_of_the_sdk_is_in_the_table() -> None:
    for route, where in SDK.items():
        module, _, name = where.partition(":")
        found = set[str]()
        for one in getattr(import_module(f"openai.types.{module}"), name).__mro__[:-1] or ():
            found |= set(getattr(one, "__annotations__", ()))
        if not found:
            found = set(getattr(import_module(f"openai.types.{module}"), name).__annotations__)
        assert set(DECISIONS[route]) == found, route


@pytest.mark.parametrize(("route", "name"), ROWS)
def test_the_server_decides_as_the_table_says(fake_server: Running, route: str, name: str) -> None:
    decision, body = DECISIONS[route][name], BODIES[route]
    url = fake_server.url + route.removeprefix("POST ")
    reply = httpx.post(url, json={**body, name: MALFORMED}, timeout=60)
    if decision == "wish":
        assert reply.status_code == 200, reply.text
        assert (name in reply.headers.get("x-muybridge-ignored", "")) == (name in NAMED)
    else:
        assert reply.status_code == 400, reply.text
        assert reply.json()["error"]["param"].startswith(name), reply.text
    if name not in body:
        nothing = httpx.post(url, json={**body, name: None}, timeout=60)
        assert nothing.status_code == 200, nothing.text
        assert "x-muybridge-ignored" not in nothing.headers
