"""A model hub on this machine: speaks the real one's HTTP, and fails in all the ways that a test asks for.

Run as a program, `python hub.py`, it prints its URL and serves until its standard input ends.
"""

import gzip
import hashlib
import json
import random
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CTRANSLATE2 = struct.pack("<IH", 6, 12) + b"WhisperSpec\0"
"""How weights begin that CTranslate2 wrote."""


def safetensors(tensors: Mapping[str, tuple[str, list[int], bytes]], **changes: Any) -> bytes:
    """A file of tensors by name: type, shape, content. `changes` overwrite the header's entries."""
    header: dict[str, Any] = {}
    body = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    text = json.dumps(header | changes).encode()
    return len(text).to_bytes(8, "little") + text + body


def weights(size: int = 50_000) -> bytes:
    """Safetensors of one tensor, the same for the same size, no two parts of it alike."""
    return safetensors({"w": ("U8", [size], random.Random(size).randbytes(size))})


REPOSITORY = {
    "config.json": b'{"model_type": "tiny"}',
    "model.safetensors": weights(),
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"\x80\x04 a pickle",
    "modeling_evil.py": b"raise SystemExit",
    "original/consolidated.safetensors": b"another format",
    "model.bin": CTRANSLATE2 + b"weights",
    "vocabulary.json": b"[]",
}


@dataclass
class Faults:
    """What goes wrong with downloads of large files; each counts down as it happens where it is a number."""

    tampered: bool = False
    """Another last byte than announced, in all files but JSON."""
    tampered_json: bool = False
    truncate_at: int | None = None
    """Each reply ends after so many bytes, though its headers promise more."""
    statuses: list[int] = field(default_factory=list)
    """Answers to the next requests, one each."""
    redirect: bool = False
    """To another origin ("localhost"), as the real hub sends for large files to its CDN."""
    no_ranges: bool = False
    """Ranges are ignored: 200, and all of it again."""
    wrong_range: bool = False
    """206 with the right length, but of another part."""
    refuse_range: bool = False
    """416 to every range."""
    stalls: int = 0
    """So many replies stop in the middle, and say nothing more."""
    longer: bool = False
    """More bytes than announced."""
    bytes_per_s: float | None = None
    gzip: bool = False
    """Compressed, though nobody asked for that."""
    size: int | None = None
    """What the list says of each file's size."""


class Hub(ThreadingHTTPServer):
    """One repository, org/tiny, at one commit at a time."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes] = REPOSITORY) -> None:
        self.files = dict(files)
        self.commit = COMMIT
        self.old: dict[str, dict[str, bytes]] = {}
        """Files of earlier commits."""
        self.faults = Faults()
        self.gated = False
        """Whether the hub wants to know who asks."""
        self.license = ""
        """As the model card names it."""
        self.asked: list[str] = []
        """Names of files, in the order of requests."""
        self.ranges: list[str] = []
        """Range headers, as they came."""
        self.sent_bytes = 0
        self.authorizations: dict[str, str | None] = {}
        """By the Host that it was sent to."""
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def push(self, files: Mapping[str, bytes], commit: str) -> None:
        """A new commit; the old one stays there, as git's do."""
        self.old[self.commit] = self.files
        self.files, self.commit = dict(files), commit

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server
        hub.authorizations[self.headers["Host"].partition(":")[0]] = self.headers["Authorization"]
        path = self.path.partition("?")[0]
        _, is_file, rest = path.partition("/resolve/")
        commit, _, name = rest.partition("/")
        if hub.gated:
            self._answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif not is_file and path.startswith("/api/models/org/tiny"):
            self._list(path.partition("/revision/")[2] or hub.commit)
        elif is_file and path.startswith(("/org/tiny/", "/cdn/org/tiny/")) and name in self._files(commit):
            hub.asked.append(name)
            self._file(self._files(commit)[name], name, path)
        else:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _files(self, commit: str) -> dict[str, bytes]:
        return self.server.files if commit in (self.server.commit, "main") else self.server.old.get(commit, {})

    def _list(self, revision: str) -> None:
        files = self._files(revision)
        if not files:
            return self._answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        siblings = [
            {
                "rfilename": name,
                "size": self.server.faults.size or len(content),
                "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
                "lfs": None
                if name.endswith((".json", ".py", ".txt"))
                else {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130},
            }
            for name, content in files.items()
        ]
        sha = self.server.commit if revision == "main" else revision
        card = {"cardData": {"license": self.server.license}} if self.server.license else {}
        self._answer(200, json.dumps({"id": "org/tiny", "sha": sha, "siblings": siblings, **card}).encode())
        return None

    def _file(self, content: bytes, name: str, path: str) -> None:
        faults = self.server.faults
        small = name.endswith((".json", ".txt"))
        if faults.statuses and not small:
            return self._answer(faults.statuses.pop(0), b"not now")
        if faults.redirect and not path.startswith("/cdn"):
            return self._answer(302, b"", {"Location": f"http://localhost:{self.server.server_port}/cdn{path}"})
        if faults.gzip:
            return self._answer(200, gzip.compress(content), {"Content-Encoding": "gzip"})
        if (faults.tampered and not small) or (faults.tampered_json and small):
            content = content[:-1] + bytes([content[-1] ^ 1])
        asked = self.headers["Range"]
        if asked:
            self.server.ranges.append(asked)
        if asked and faults.refuse_range:
            return self._answer(416, b"")
        start = 0 if faults.no_ranges or not asked else int(asked.removeprefix("bytes=").partition("-")[0])
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        if start and faults.wrong_range:
            span = {"Content-Range": f"bytes 0-{len(content) - start - 1}/{len(content)}"}
        self._send(content[start:], span, None if small else faults)
        return None

    def _send(self, body: bytes, headers: dict[str, str], faults: Faults | None) -> None:
        extra = b"more" if faults and faults.longer else b""
        self.send_response(206 if headers else 200)
        self.send_header("Content-Length", str(len(body) + len(extra)))
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if faults is None:
            self.wfile.write(body)
            return
        cut = len(body) if faults.truncate_at is None else faults.truncate_at
        if faults.stalls:
            cut = min(cut, len(body) // 2)
        for chunk in _chunks(body[:cut], faults.bytes_per_s):
            self.wfile.write(chunk)
            self.server.sent_bytes += len(chunk)
        self.wfile.write(extra)
        if faults.stalls:
            faults.stalls -= 1
            self.server.closing.wait(30)
        if cut < len(body):
            self.close_connection = True

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for header, value in (headers or {}).items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # The client went away, as clients here do.

    def log_message(self, *_: Any) -> None:
        pass


def _chunks(body: bytes, bytes_per_s: float | None) -> Iterator[bytes]:
    step = len(body) or 1 if bytes_per_s is None else max(1, int(bytes_per_s / 20))
    for start in range(0, len(body), step):
        yield body[start : start + step]
        if bytes_per_s is not None:
            time.sleep(0.05)


@contextmanager
def hub_of(files: Mapping[str, bytes]) -> Iterator[Hub]:
    """A hub whose repository holds these files."""
    with Hub(files) as hub:
        yield hub


if __name__ == "__main__":
    with Hub() as running:
        print(running.url, flush=True)
        sys.stdin.read()
