"""`client.videos`, every method of it, on the starter's LTX-Video.

Strict for single frames of one of OpenAI's four sizes, and not for films of the model's own 128x128, which is none.
"""

import base64
import io

import av
import numpy as np
import openai
import pytest
from PIL import Image
from support.servers import Running
from support.videos import clip, narration, tracks_of

METHOD = {"num_inference_steps": 4, "guidance_scale": 2.0, "negative_prompt": "dark", "seed": 3}


@pytest.fixture(scope="module")
def sdk(starter_server: Running):
    with starter_server.sdk(strict=False, timeout=600) as client:
        yield client


def picture(colour: str) -> str:
    out = io.BytesIO()
    Image.new("RGB", (128, 128), colour).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def made(sdk: openai.OpenAI, video: openai.types.Video) -> tuple[openai.types.Video, bytes, np.ndarray]:
    video = sdk.videos.poll(video.id, poll_interval_ms=200)
    assert video.status == "completed", video
    data = sdk.videos.download_content(video.id).read()
    with av.open(io.BytesIO(data)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(stream)])
    assert len(frames) == video.model_extra["num_frames"]
    assert data.index(b"moov") < data.index(b"mdat")  # it plays while it downloads
    assert sdk.videos.download_content(video.id, variant="thumbnail").read()[:4] == b"\x89PNG"
    sheet = Image.open(io.BytesIO(sdk.videos.download_content(video.id, variant="spritesheet").read()))
    assert sheet.size == (5 * frames.shape[2], -(-min(25, len(frames)) // 5) * frames.shape[1])
    return video, data, frames


def test_every_method_on_a_real_pipeline(sdk: openai.OpenAI) -> None:
    sound = "data:audio/mpeg;base64," + base64.b64encode(narration(3.0)).decode()
    asked = {"num_frames": 17, "fps": 8, "motion_hint": "slow zoom in", "audio": sound, **METHOD}
    frames = [{"frame_index": 0, "image": picture("red")}, {"frame_index": -1, "image": picture("blue")}]
    first = sdk.videos.create(
        model="starter-video", prompt="a red ball", size="128x128", extra_body={**asked, "keyframes": frames}
    )
    first, data, shown = made(sdk, first)
    assert (first.seconds, first.size, first.model_extra["seed"], shown.shape) == (
        "2.12",
        "128x128",
        3,
        (17, 128, 128, 3),
    )
    pictures, heard = tracks_of(data)
    assert 1.9 < heard <= pictures == pytest.approx(17 / 8)

    _, data, remixed = made(sdk, sdk.videos.remix(first.id, prompt="a blue ball"))
    assert remixed.shape == shown.shape
    assert np.abs(remixed.astype(int) - shown).mean() > 0.5
    assert tracks_of(data)[1] == pytest.approx(heard)

    by_id = {"video": {"id": first.id}, "strength": 0.5, **METHOD}
    _, data, edited = made(sdk, sdk.videos.edit(prompt="a green ball", video=b"", extra_body=by_id))
    assert edited.shape == shown.shape
    assert tracks_of(data)[1] == pytest.approx(heard)

    upload = ("mine.webm", clip(10, 12, (100, 60), codec="libvpx-vp9", container="webm", sound_s=0.5))
    extended, data, longer = made(
        sdk,
        sdk.videos.extend(prompt="it rolls on", seconds="1", video=upload, extra_body={"model": "sora-2", **METHOD}),
    )
    assert (len(longer), extended.size, extended.model_extra["fps"]) == (10 + 12, "96x64", 12)
    reds = longer[:, 32, 20, 0].astype(int) - longer[:, 32, 20, 1]
    assert reds[:10].min() > 120  # the upload's own frames, to the last
    assert tracks_of(data)[1] == pytest.approx(0.5, abs=0.06)

    edited, _, anew = made(sdk, sdk.videos.edit(prompt="snow", video=upload, extra_body={"strength": 0.25, **METHOD}))
    assert (len(anew), edited.size) == (10, "96x64")

    ids = [video.id for video in sdk.videos.list(limit=3)]
    assert edited.id == ids[0]
    for video_id in ids:
        assert sdk.videos.delete(video_id).deleted


def test_the_strict_client_drives_every_method_on_a_real_pipeline(starter_server: Running) -> None:
    method = {"num_inference_steps": 1, "guidance_scale": 1.0}
    with starter_server.sdk(timeout=600) as sdk:
        one = {"num_frames": 1, "fps": 1, **method}
        first = sdk.videos.create_and_poll(model="sora-2", prompt="a red fox", size="1024x1792", extra_body=one)
        assert (first.status, first.size, first.seconds) == ("completed", "1024x1792", "1")
        remixed = sdk.videos.remix(first.id, prompt="a blue fox")
        assert remixed.remixed_from_video_id == first.id
        by_id = {"video": {"id": first.id}, **method}
        edited = sdk.videos.edit(prompt="a green fox", video=b"", extra_body={**by_id, "strength": 1.0})
        extended = sdk.videos.extend(prompt="it runs", seconds="1", video=b"", extra_body=by_id)
        ends = [sdk.videos.poll(video.id, poll_interval_ms=500) for video in (remixed, edited, extended)]
        assert [(video.status, video.size, video.error) for video in ends] == [("completed", "1024x1792", None)] * 3
        assert {first.id, *(video.id for video in ends)} <= {video.id for video in sdk.videos.list(limit=10)}
        assert sdk.videos.retrieve(first.id).progress == 100
        assert b"ftyp" in sdk.videos.download_content(first.id).read()[:12]
        for video in (first, *ends):
            assert sdk.videos.delete(video.id).deleted
