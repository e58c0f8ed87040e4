"""Requests that no well-behaved client can send."""

import json
import socket
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


def send(port: int, request: bytes, *, timeout: float = 10) -> Reply:
    """Sends bytes and reads the reply to the end of the connection, or of its announced length."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(request)
        received = b""
        while data := connection.recv(65536):
            received += data
            head, found, body = received.partition(b"\r\n\r\n")
            if found:
                lines = [line.decode("latin-1").partition(": ") for line in head.split(b"\r\n")[1:]]
                headers = {name.lower(): value for name, _, value in lines}
                if len(body) >= int(headers.get("content-length", "-1")) >= 0:
                    return Reply(int(head.split()[1]), headers, body)
    raise ConnectionError(f"the server closed the connection after {received[:200]!r}")


def post(port: int, path: str, body: bytes, *headers: str, host: str = "127.0.0.1", timeout: float = 10) -> Reply:
    """POSTs a body under exactly these headers, besides Host and Content-Length."""
    head = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", *headers]
    return send(port, "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body, timeout=timeout)


JSON = "Content-Type: application/json"
