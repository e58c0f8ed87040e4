"""GET /v1/models, health and metrics."""

import httpx
import openai
import pytest
from support.servers import Running


def test_models_are_listed_with_kind_and_aliases(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    kinds = ("text", "vision", "embedding", "speech", "voice", "image", "video")
    assert list(models) == [f"fake-{kind}" for kind in kinds]
    assert models["fake-text"].model_extra["kind"] == "text"
    assert "gpt-4o" in models["fake-text"].model_extra["aliases"]
    assert client.models.retrieve("gpt-4o").id == "fake-text"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("org/unknown")


def test_metrics_and_unknown_routes(fake_server: Running) -> None:
    text = httpx.get(f"{fake_server.url}/metrics").text
    assert 'muybridge_requests_total{method="GET",route="/v1/models",status="200"}' in text
    reply = httpx.get(f"{fake_server.url}/secret-path-0123")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_url")
    assert "secret-path-0123" not in httpx.get(f"{fake_server.url}/metrics").text
    assert httpx.delete(f"{fake_server.url}/v1/models").status_code == 405


def test_every_reply_bears_openais_headers(fake_server: Running) -> None:
    for path in ("/v1/models", "/nothing", "/health/live"):
        headers = httpx.get(fake_server.url + path).headers
        assert headers["x-request-id"].startswith("req_")
        assert int(headers["openai-processing-ms"]) >= 0
        assert "server" not in headers
