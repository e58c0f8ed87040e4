"""A film as a browser plays it: Debian's Chromium, where there is one."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue

import httpx
import pytest
from support.servers import Running
from support.videos import narration

from server.http.replies import byte_range

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><video id="film" src="/video.mp4" preload="auto"></video><script>
const film = document.getElementById("film"), events = [];
const tell = (end) => fetch("/told", {method: "POST", body: JSON.stringify({
  end, events, width: film.videoWidth, height: film.videoHeight, duration: film.duration, at: film.currentTime,
  frames: film.getVideoPlaybackQuality().totalVideoFrames, heard: film.webkitAudioDecodedByteCount,
  error: film.error && film.error.message,
})});
for (const name of ["loadedmetadata", "canplaythrough", "playing", "seeked"])
  film.addEventListener(name, () => events.push(name));
film.addEventListener("error", () => tell("error"));
film.addEventListener("ended", () => {
  if (events.includes("seeked")) return tell("ended");
  film.addEventListener("seeked", () => film.play(), {once: true});
  film.currentTime = film.duration / 2;
});
film.play().catch((error) => tell(String(error)));
</script>"""


def played(film: bytes, profile: Path) -> dict:
    """What a browser tells of a film that it played, and then from its middle once more.

    It comes from a page's own server: a foreign page may not call ours.
    """
    told: Queue[dict] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/":
                self.send_response(200)
                body, kind = PAGE.encode(), "text/html"
            else:
                span = byte_range(self.headers.get("range", ""), len(film))
                first, last = span or (0, len(film) - 1)
                self.send_response(206 if span else 200)
                self.send_header("accept-ranges", "bytes")
                if span:
                    self.send_header("content-range", f"bytes {first}-{last}/{len(film)}")
                body, kind = film[first : last + 1], "video/mp4"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    pages = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pages.daemon_threads = True
    thread = threading.Thread(target=pages.serve_forever)
    thread.start()
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--mute-audio",
    ]
    options += ["--autoplay-policy=no-user-gesture-required", f"--user-data-dir={profile}"]
    browser = subprocess.Popen(
        ["chromium", *options, f"http://127.0.0.1:{pages.server_address[1]}/"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return told.get(timeout=120)
    except Empty:
        raise AssertionError("the browser told nothing") from None
    finally:
        os.killpg(browser.pid, signal.SIGKILL)  # its helpers, too
        browser.wait()
        pages.shutdown()
        pages.server_close()
        thread.join()


def film(server: Running, path: str = "", files: dict | None = None, **fields: object) -> bytes:
    """A finished film."""
    parts = {name: (None, str(value)) for name, value in {"model": "fake-video", **fields}.items()} | (files or {})
    made = httpx.post(f"{server.url}/v1/videos{path}", files=parts, timeout=60).json()
    deadline = time.monotonic() + 60
    while (video := httpx.get(f"{server.url}/v1/videos/{made['id']}").json())["status"] != "completed":
        assert video["status"] != "failed", video
        assert time.monotonic() < deadline, video
        time.sleep(0.1)
    return httpx.get(f"{server.url}/v1/videos/{made['id']}/content", timeout=60).content


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_a_film_with_its_narration_plays_in_a_browser(fake_server: Running, tmp_path: Path) -> None:
    scenes = [{"scene_number": number, "description": f"scene {number}", "duration_frames": 24} for number in (1, 2)]
    fields = {"scenes": json.dumps(scenes), "transition_frames": 0, "fps": 24, "size": "320x240"}
    made = film(fake_server, "/sequences", {"audio": ("n.mp3", narration(1.5))}, **fields)
    told = played(made, tmp_path / "profile")
    assert told["end"] == "ended", told
    assert (told["width"], told["height"]) == (320, 240)
    assert told["duration"] == pytest.approx(2.0, abs=0.03)
    assert told["frames"] >= 40, told
    assert told["heard"] > 1000, told
    assert {"loadedmetadata", "canplaythrough", "playing", "seeked"} <= set(told["events"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_a_browser_says_so_of_a_film_that_it_cannot_play(fake_server: Running, tmp_path: Path) -> None:
    """The test above can fail: the fake's own film is no H.264."""
    told = played(film(fake_server, prompt="x", size="64x48", num_frames=9), tmp_path / "profile")
    assert told["end"] != "ended"
