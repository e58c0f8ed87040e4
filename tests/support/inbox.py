"""A receiver of webhooks, that answers as it is told."""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


class Inbox:
    """A receiver that answers as it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        """The first statuses; then 200."""
        self.hold = threading.Event()
        self.hold.set()
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                inbox.taken.append(({name.lower(): value for name, value in self.headers.items()}, body))
                inbox.hold.wait(30)
                status = inbox.answers.pop(0) if inbox.answers else 200
                self.send_response(status)
                self.send_header("location", f"http://127.0.0.1:{inbox.port}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def env(self) -> dict[str, str]:
        return {
            "MUYBRIDGE_WEBHOOK_URL": f"http://127.0.0.1:{self.port}/hooks?x=1",
            "MUYBRIDGE_WEBHOOK_SECRET": SECRET,
            "MUYBRIDGE_WEBHOOK_PRIVATE": "true",
        }

    def until(self, count: int, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while len(self.taken) < count:
            assert time.monotonic() < deadline, self.taken
            time.sleep(0.05)

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def kinds(self) -> dict[str, str]:
        """What was told of each video."""
        return {(told := json.loads(body))["data"]["id"]: told["type"] for _, body in self.taken}
