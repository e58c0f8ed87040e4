"""The load: clients on raw sockets that keep what they read and look into it when the clock has stopped.

A client does next to nothing while it reads: it remembers when text first came and whether the reply has ended. The
share of a core that the load took is measured with every run (`Run.load_share`): far below 1, it held no one up.
"""

import asyncio
import json
import random
import re
import time
from dataclasses import dataclass, field
from typing import Any

CONTENT = re.compile(rb'"content":\s*"[^"]')
"""Text that is not empty, in a chunk or in a whole reply."""
WORDS = [
    "river",
    "stone",
    "morning",
    "paper",
    "window",
    "garden",
    "letter",
    "bridge",
    "horse",
    "silver",
    "music",
    "winter",
    "engine",
    "market",
]
LETTERS = "abcdefghiklmnoprstuvwyz"
END = b"\r\n0\r\n\r\n"


@dataclass
class Reply:
    """One reply, as it came."""

    prompt: str
    sent: float
    pieces: list[bytes] = field(default_factory=list)
    first: float = 0.0
    """When the first text came; 0 if none did."""

    @property
    def body(self) -> bytes:
        """The reply without its head and without chunks.

        Raises:
            RuntimeError: It is no success.
        """
        head, _, rest = b"".join(self.pieces).partition(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError((head + rest)[:1000].decode(errors="replace"))
        if b"transfer-encoding: chunked" not in head.lower():
            return rest
        body, at = [], 0
        while True:
            end = rest.index(b"\r\n", at)
            size = int(rest[at:end], 16)
            if not size:
                return b"".join(body)
            body.append(rest[end + 2 : end + 2 + size])
            at = end + 4 + size

    def read(self) -> tuple[str, int, int]:
        """(text, tokens as the server counts them, chunks with text)."""
        body = self.body
        if not body.startswith(b"data:"):
            reply = json.loads(body)
            return reply["choices"][0]["message"]["content"], reply["usage"]["completion_tokens"], 1
        events = [line[5:].strip() for line in body.split(b"\n") if line.startswith(b"data:")]
        if events[-1] != b"[DONE]":
            raise RuntimeError(f"a stream did not end well: {events[-1][:500]!r}")
        texts, tokens = [], 0
        for event in map(json.loads, events[:-1]):
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
            texts += [text for choice in event["choices"] if (text := choice["delta"].get("content"))]
        return "".join(texts), tokens, len(texts)


class _Client(asyncio.Protocol):
    """One connection, kept open, one request at a time."""

    def __init__(self) -> None:
        self.transport: Any = None
        self._reply: Reply | None = None
        self._ended: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(RuntimeError(f"the server closed the connection: {exc}"))

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None or self._ended is None:
            return
        reply.pieces.append(data)
        if not reply.first and CONTENT.search(data):
            reply.first = time.perf_counter()
        if len(data) < len(END):
            data = b"".join(reply.pieces[-len(END) :])
        if data.endswith(END) or self._is_whole(reply):
            self._ended.set_result(None)

    def _is_whole(self, reply: Reply) -> bool:
        """Whether a reply that tells its length is there."""
        if len(reply.pieces) > 3:
            return False
        so_far = b"".join(reply.pieces)
        head, _, body = so_far.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return length is not None and len(body) >= int(length[1])

    async def ask(self, prompt: str, request: bytes) -> Reply:
        self._ended = asyncio.get_running_loop().create_future()
        self._reply = reply = Reply(prompt, time.perf_counter())
        self.transport.write(request)
        await self._ended
        return reply


@dataclass
class Run:
    """What came of one run of the load."""

    replies: list[Reply]
    wall_s: float
    load_share: float
    """Of one core, that the load itself took."""

    def __post_init__(self) -> None:
        """Reads the replies."""
        read = [reply.read() for reply in self.replies]
        self.texts: dict[str, str] = {reply.prompt: text for reply, (text, *_) in zip(self.replies, read, strict=True)}
        self.tokens: int = sum(tokens for _, tokens, _ in read)
        self.chunks: int = sum(chunks for *_, chunks in read)

    @property
    def first_text_ms(self) -> list[float]:
        """Milliseconds to the first text, of each reply, in order."""
        return sorted((reply.first - reply.sent) * 1000 for reply in self.replies)


def request(prompt: str, max_tokens: int, *, stream: bool) -> bytes:
    """The bytes of a chat request for the model "front"."""
    body: dict[str, Any] = {
        "model": "front",
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": max_tokens,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    content = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


def _prompt(seed: str) -> str:
    """A short message; those of different seeds have few words in common."""
    chance = random.Random(seed)
    made = ["".join(chance.choices(LETTERS, k=5)) for _ in range(3)]
    return " ".join([*chance.choices(WORDS, k=9), *made]).capitalize() + "?"


async def drive(port: int, *, clients: int, each: int, max_tokens: int, stream: bool = True, salt: str = "") -> Run:
    """Runs `clients` at once, each making `each` requests on one connection, all of different prompts."""
    loop = asyncio.get_running_loop()
    made = [(await loop.create_connection(_Client, "127.0.0.1", port))[1] for _ in range(clients)]
    prompts = [[_prompt(f"{client} {turn} {salt}") for turn in range(each)] for client in range(clients)]
    ready = [[(text, request(text, max_tokens, stream=stream)) for text in own] for own in prompts]

    async def client(protocol: _Client, own: list[tuple[str, bytes]]) -> list[Reply]:
        return [await protocol.ask(*one) for one in own]

    begun, used = time.perf_counter(), time.process_time()
    replies = await asyncio.gather(*map(client, made, ready))
    wall, used = time.perf_counter() - begun, time.process_time() - used
    for protocol in made:
        protocol.transport.close()
    return Run([reply for own in replies for reply in own], wall, used / wall)
