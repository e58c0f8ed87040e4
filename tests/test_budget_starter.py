"""All five kinds of the starter profile at once, under a budget that does not hold them all.

What "memory before" means here: after each kind has been loaded, used and unloaded once alone, and all of them side by
side for a moment. The first load of a vLLM model makes the server's own process some 400 MB larger, and that stays:
torch, vLLM and transformers are imported, and Python cannot unload modules.

It grew by 1.3, 1.9 and 2.6 % in three runs. Why it grew by 5.8 % before, and what is left: docs/memory.md.
"""

import base64
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from support.servers import ROOT, Running, serving

MINUTES = 2
WARM_UP_S = 30.0
SERVER_GROWTH = 1.05
COME_TO_REST_S = 30.0
"""Within this, what unloaded models have left is given back (`adapters.process.memory_usage.MemoryTrimmer`), on a busy machine as well."""
BUDGET_GIB = 4.2
"""Holds the text model (3.5 GiB) and one of the three small ones, or the vision model (2.2 GiB) and those."""


def held_bytes(running: Running) -> int:
    """Memory of the server and of all its processes that is no file's.

    Pages of libraries count as a process's own (`uss`) or as shared by whoever else on the machine has mapped them.
    """
    server = psutil.Process(running.process.pid)
    held = 0
    for one in (server, *server.children(recursive=True)):
        for line in Path(f"/proc/{one.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Anonymous:", "Swap:")):
                held += int(line.split()[1]) * 1024
    return held


def at_rest(running: Running, goal: float = 0.0) -> int:
    """What is held `COME_TO_REST_S` later, or as soon as it is no more than the goal."""
    until = time.monotonic() + COME_TO_REST_S
    while (held := held_bytes(running)) > goal and time.monotonic() < until:
        time.sleep(0.5)
    return held


def unload_all(running: Running) -> None:
    for model in httpx.get(f"{running.url}/v1/models").json()["data"]:
        assert httpx.post(f"{running.url}/v1/models/{model['id']}/unload", timeout=60).status_code == 200


@pytest.mark.long
def test_promise_15_five_kinds_share_a_budget_of_two_for_minutes(tmp_path: Path) -> None:
    with (
        serving(tmp_path, profile="starter", MUYBRIDGE_MEMORY_BUDGET_GIB=str(BUDGET_GIB)) as running,
        running.sdk(strict=False, timeout=600) as sdk,
    ):
        drawn = sdk.images.generate(prompt="a fox", extra_body={"seed": 1}).data[0].b64_json or ""
        kinds = work(sdk, drawn)
        for one in kinds.values():  # each once, so that what libraries keep for good is there before
            one()
        _, errors = drive(kinds, WARM_UP_S)
        assert not errors, errors
        unload_all(running)
        before = at_rest(running)

        watch = Watch(running)
        served, errors = drive(kinds, MINUTES * 60)
        watch.stop()
        assert not errors, errors
        assert all(served[kind] >= 1 for kind in kinds), served
        assert watch.swaps >= 4, "the budget did not make anybody move"
        assert not watch.broken, watch.broken
        assert watch.most_reserved <= BUDGET_GIB * 2**30

        unload_all(running)
        children = psutil.Process(running.process.pid).children(recursive=True)
        # Python's own helper, which multiprocessing keeps for as long as the server lives.
        assert not [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]
        after = at_rest(running, before * SERVER_GROWTH)
        print(f"{before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after")
        assert after <= before * SERVER_GROWTH, f"{before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after"


def work(sdk: openai.OpenAI, drawn: str) -> dict[str, Callable[[], Any]]:
    """One request of each kind."""

    def chat() -> None:
        reply = sdk.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Name a colour."}], max_completion_tokens=24
        )
        assert reply.choices[0].message.content

    def transcribe() -> None:
        with (ROOT / "examples" / "narration.ogg").open("rb") as sound:
            assert "horse" in sdk.audio.transcriptions.create(model="whisper-1", file=sound).text

    def film() -> None:
        reference = ("k.png", base64.b64decode(drawn))
        video = sdk.videos.create_and_poll(prompt="a fox", model="sora-2", input_reference=reference)
        assert video.status == "completed", video.error

    def validate() -> None:
        body = {"model": "starter-vision", "image": f"data:image/png;base64,{drawn}", "description": "a fox, fog"}
        reply: dict[str, Any] = sdk.post("/scenes/validations", body=body, cast_to=dict[str, Any])
        assert 0 < reply["match_score"] < 1

    def draw() -> None:
        again = sdk.images.generate(prompt="a fox", extra_body={"seed": 1})
        assert again.data[0].b64_json == drawn

    return {"chat": chat, "transcribe": transcribe, "draw": draw, "film": film, "validate": validate}


def drive(kinds: dict[str, Callable[[], Any]], seconds: float) -> tuple[dict[str, int], list[str]]:
    """Every kind over and over, side by side; (requests served by kind, what went wrong)."""
    served, errors = dict.fromkeys(kinds, 0), []
    until = time.monotonic() + seconds

    def repeat(kind: str) -> None:
        while time.monotonic() < until and not errors:
            try:
                kinds[kind]()
                served[kind] += 1
            except Exception as error:  # told below, with the kind
                errors.append(f"{kind}: {error!r}")

    threads = [threading.Thread(target=repeat, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return served, errors


class Watch:
    """Reads the metrics all the time: what is reserved, and in which state leased models are."""

    def __init__(self, running: Running) -> None:
        self.swaps = 0
        self.broken: list[str] = []
        self.most_reserved = 0.0
        self._url = f"{running.url}/metrics"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        before: dict[str, str] = {}
        with httpx.Client(timeout=60) as client:  # how soon it answers is no question here
            while not self._over.wait(0.1):
                states, leases, reserved = read(client.get(self._url).text)
                for model, state in states.items():
                    if leases[model] and state not in ("ready", "draining"):
                        self.broken.append(f"{model} is {state} with {leases[model]} leases")
                    self.swaps += state == "loading" != before.get(model)
                before = states
                self.most_reserved = max(self.most_reserved, reserved)


def read(metrics: str) -> tuple[dict[str, str], dict[str, float], float]:
    """(state by model, leases by model, reserved bytes in all) from the text of /metrics."""
    states, leases, reserved = {}, {}, 0.0
    for line in metrics.splitlines():
        name, _, value = line.rpartition(" ")
        labels = name.split('"')[1::2]
        if name.startswith("muybridge_model_state{") and value == "1.0":
            states[labels[0]] = labels[1]
        elif name.startswith("muybridge_model_leases{"):
            leases[labels[0]] = float(value)
        elif name.startswith("muybridge_model_memory_bytes{") and labels[1] == "reserved":
            reserved += float(value)
    return states, leases, reserved
