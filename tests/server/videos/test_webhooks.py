"""WebhookSender: verified by the SDK, delivered at least once whatever happens to either side, and to public addresses only."""

import contextlib
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from pydantic import ValidationError
from support import postgres
from support.inbox import SECRET, Inbox
from support.servers import Running, serving
from support.videos import film, wait

from server.outbound.webhook_client import WebhookClient
from server.settings import Settings


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


@pytest.mark.slow
def test_promise_33_events_are_verified_by_the_sdk(tmp_path: Path, inbox: Inbox) -> None:
    with serving(tmp_path, **inbox.env()) as running, running.sdk() as client:
        made, failed, deleted = film(client, "x"), film(client, "[fail_after=1]"), film(client, "[delay_ms=50]")
        client.videos.delete(deleted)
        wait(client, failed)
        inbox.until(2)
        assert inbox.kinds() == {made: "video.completed", failed: "video.failed"}
        for headers, body in inbox.taken:
            event = client.webhooks.unwrap(body, headers, secret=SECRET)
            assert (event.object, event.id) == ("event", headers["webhook-id"])
            with pytest.raises(openai.InvalidWebhookSignatureError):
                client.webhooks.unwrap(body + b" ", headers, secret=SECRET)
            with pytest.raises(openai.InvalidWebhookSignatureError):
                client.webhooks.unwrap(body, headers, secret=SECRET.replace("M", "N"))
        time.sleep(2.5)
        assert len(inbox.taken) == 2  # once each, and nothing of what was deleted


@pytest.mark.slow
def test_promise_33_an_event_is_told_again_until_it_is_taken(tmp_path: Path, inbox: Inbox) -> None:
    inbox.answers = [500, 302]
    with serving(tmp_path, **inbox.env()) as running, running.sdk() as client:
        video = film(client, "x")
        wait(client, video)
        inbox.until(3)
        assert len({headers["webhook-id"] for headers, _ in inbox.taken}) == 1
        assert {body for _, body in inbox.taken} == {inbox.taken[0][1]}
        assert running.process.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_promise_33_a_server_that_ends_while_it_tells_tells_it_again(tmp_path: Path, inbox: Inbox, how: str) -> None:
    inbox.hold.clear()
    with serving(tmp_path, **inbox.env()) as running, running.sdk() as client:
        video = film(client, "x")
        wait(client, video)
        inbox.until(1)
        getattr(running.process, how)()
        running.process.wait(30)
    inbox.hold.set()
    with serving(tmp_path, **inbox.env()):
        inbox.until(2)
    assert inbox.kinds() == {video: "video.completed"}
    assert len({headers["webhook-id"] for headers, _ in inbox.taken}) == 1


def test_promise_33_an_end_that_was_noted_is_told_by_the_next_server(tmp_path: Path, inbox: Inbox) -> None:
    """The receiver is away; the server ends; both come back."""
    env = inbox.env()
    inbox.close()
    with serving(tmp_path, **env) as running, running.sdk() as client:
        video = film(client, "x")
        wait(client, video)
    again = Inbox()
    try:
        with serving(tmp_path, **again.env()):
            again.until(1)
        assert again.kinds() == {video: "video.completed"}
    finally:
        again.close()


def test_promise_33_no_private_address_is_called(tmp_path: Path, inbox: Inbox) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "169.254.169.254", "10.0.0.1"):
        receiver = WebhookClient(f"https://{host}:{inbox.port}/")
        with pytest.raises(PermissionError):
            call(receiver)
    assert inbox.taken == []


def call(receiver: WebhookClient) -> int:
    import asyncio

    with asyncio.Runner() as runner:
        return runner.run(receiver.post(b"{}", {}))


def test_promise_33_no_redirect_is_followed_and_no_nonsense_believed(inbox: Inbox) -> None:
    inbox.answers = [307]
    assert call(WebhookClient(f"http://127.0.0.1:{inbox.port}/", private=True)) == 307
    assert len(inbox.taken) == 1
    for answer in (b"", b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000, b"\0" * 1000):
        with answering(answer) as port, pytest.raises(OSError, match=r"answer|reset"):
            call(WebhookClient(f"http://127.0.0.1:{port}/", private=True))
    with answering(None) as port, pytest.raises(TimeoutError):
        call(WebhookClient(f"http://127.0.0.1:{port}/", private=True, timeout_s=0.5))
    with answering(b"") as port, pytest.raises((OSError, ssl.SSLError)):
        call(WebhookClient(f"https://127.0.0.1:{port}/", private=True))


@contextlib.contextmanager
def answering(data: bytes | None) -> Iterator[int]:
    """A server that says this to whoever calls; None: nothing at all."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                if data is None:
                    done.wait(10)
                else:
                    link.recv(65536)
                    with contextlib.suppress(OSError):
                        link.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize(
    "settings",
    [
        {"webhook_url": "https://example.com/x"},
        {"webhook_url": "https://example.com/x", "webhook_secret": "whsec_abc"},
        {"webhook_url": "https://example.com/x", "webhook_secret": "0" * 64},
        {"webhook_url": "http://example.com/x", "webhook_secret": SECRET},
        {"webhook_url": "ftp://example.com/x", "webhook_secret": SECRET, "webhook_private": True},
        {"webhook_url": "https:///x", "webhook_secret": SECRET},
        {"webhook_url": "https://user:word@example.com/x", "webhook_secret": SECRET},
        {"webhook_url": "https://example.com/a b", "webhook_secret": SECRET},
    ],
)
def test_promise_30_a_wrong_receiver_is_refused_at_the_start(settings: dict) -> None:
    with pytest.raises(ValidationError, match="webhook"):
        Settings(**settings)
    assert Settings(webhook_url="https://example.com:8443/x?y=1", webhook_secret=SECRET)  # pyright: ignore


def test_nothing_is_noted_where_nobody_is_to_be_told(client: openai.OpenAI, fake_server: Running) -> None:
    wait(client, film(client, "x"))
    import sqlite3

    with sqlite3.connect(fake_server.log.parent / "data" / "muybridge.sqlite") as database:
        assert database.execute("SELECT count(*) FROM video_events").fetchone() == (0,)


@pytest.mark.slow
@pytest.mark.skipif(postgres.binaries() is None, reason="needs PostgreSQL (Debian: apt-get install postgresql)")
def test_promise_33_the_same_on_postgresql(tmp_path: Path, inbox: Inbox) -> None:
    inbox.answers = [503]
    with tempfile.TemporaryDirectory() as directory, postgres.postgres(Path(directory)) as database:
        env = {**inbox.env(), "MUYBRIDGE_DATABASE_URL": database.url}
        with serving(tmp_path, **env) as running, running.sdk() as client:
            made, failed = film(client, "x"), film(client, "[fail_after=1]")
            assert (wait(client, made), wait(client, failed)) == ("completed", "failed")
            inbox.until(1)
            running.process.kill()
            running.process.wait(20)
        with serving(tmp_path, **env):
            deadline = time.monotonic() + 60
            while len(inbox.kinds()) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    assert inbox.kinds() == {made: "video.completed", failed: "video.failed"}
    for headers, body in inbox.taken:
        assert openai.OpenAI(api_key="x").webhooks.unwrap(body, headers, secret=SECRET)
