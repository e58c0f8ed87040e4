"""Files against the races between making, sending and removing them."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Media
from compat.errors import RequestError
from server.http import replies
from server.storage.artifacts import ArtifactStore

PICTURE = Media("image/png", b"x" * 1000)


async def test_promise_5_a_cancelled_save_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, write = threading.Event(), ArtifactStore._write

    def slow(path: Path, data: bytes) -> None:
        go_on.wait(5)
        write(path, data)

    monkeypatch.setattr(ArtifactStore, "_write", staticmethod(slow))
    saving = asyncio.create_task(ArtifactStore(tmp_path, expire_s=60).save("everyone", PICTURE))
    await asyncio.sleep(0.05)
    saving.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert list(tmp_path.rglob("*.*")) == []


async def test_promise_5_a_file_that_is_removed_before_it_is_sent_is_a_404(tmp_path: Path) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    reply: Any = replies.file(tmp_path / "gone.png", "image/png").to_asgi_response()
    with pytest.raises(RequestError) as gone:
        await reply({"type": "http", "headers": []}, None, send)
    assert gone.value.status == 404
    assert sent == []
