"""What tests of videos share: a look into an MP4, films and sounds to send, and what lies in a server's directory."""

import io
import multiprocessing
import subprocess
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import openai

from adapters.base import GeneratedVideo, Step, VideoAdapter, VideoRequest

SIZE = "1280x720"  # one of the four that the SDK's strict mode knows


def frames_of(mp4: Path) -> tuple[int, int, int]:
    """(width, height, frames) of a film, every frame decoded."""
    with av.open(str(mp4), format="mp4") as container:
        stream = container.streams.video[0]
        return stream.width, stream.height, sum(1 for _ in container.decode(stream))


def pixels_of(video: GeneratedVideo) -> np.ndarray:
    """uint8 [frames, height, width, 3] of what a model made."""
    with av.open(io.BytesIO(video.video.data)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


async def generated(model: VideoAdapter, request: VideoRequest) -> GeneratedVideo:
    """What a model makes of a request, each of its steps told on the way."""
    *steps, video = [event async for event in model.generate(request)]
    assert steps == [Step(number, len(steps)) for number in range(1, len(steps) + 1)]
    assert isinstance(video, GeneratedVideo)
    return video


def probed(mp4: Path) -> tuple[int, str]:
    """(frames, complaints) of a film as ffprobe decodes it: a reader that shares no code of ours, and no build of PyAV.

    Raises:
        FileNotFoundError: There is no ffprobe on this machine.
    """
    count = ["-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
    done = subprocess.run(["ffprobe", "-v", "error", *count, mp4], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return int(done.stdout), done.stderr


def tracks_of(mp4: bytes) -> tuple[float, float | None]:
    """(seconds of the pictures, of the sound) of a film; None: it is mute. Every packet is decoded."""
    with av.open(io.BytesIO(mp4), format="mp4") as container:
        for _ in container.decode(container.streams.video[0]):
            pass
        seconds = [
            float(stream.duration * stream.time_base) for stream in (*container.streams.video, *container.streams.audio)
        ]
    with av.open(io.BytesIO(mp4), format="mp4") as container:
        if container.streams.audio:
            assert container.streams.audio[0].codec_context.name == "aac"
            assert sum(frame.samples for frame in container.decode(container.streams.audio[0])) > 0
    return seconds[0], seconds[1] if len(seconds) > 1 else None


def clip(
    frames: int = 24,
    rate: Fraction | int = 24,
    size: tuple[int, int] = (64, 48),
    *,
    codec: str = "libx264",
    container: str = "mp4",
    sound_s: float = 0.0,
    rotation: int = 0,
) -> bytes:
    """A film whose left half is red, and whose right half becomes greener from frame to frame."""
    if codec == "libsvtav1" and not multiprocessing.parent_process():
        # As root it makes the whole process that it runs in a real-time one, and all that this starts later: a test
        # that computes would then hold up the machine.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
            return apart.submit(
                clip, frames, rate, size, codec=codec, container=container, sound_s=sound_s, rotation=rotation
            ).result()
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        track = (
            file.add_stream("aac" if container == "mp4" else "libopus", rate=48_000, layout="mono") if sound_s else None
        )
        for number in range(frames):
            pixels = np.zeros((size[1], size[0], 3), np.uint8)
            pixels[:, : size[0] // 2] = (200, 0, 0)
            pixels[:, size[0] // 2 :] = (0, 40 + min(200, number * 4), 0)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, 1 / Fraction(rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if track is not None:
            file.mux(track.encode(_sine(sound_s)))
            file.mux(track.encode(None))
    return out.getvalue()


def narration(seconds: float, container: str = "mp3", codec: str = "libmp3lame") -> bytes:
    """A sound."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        track = file.add_stream(codec, rate=48_000, layout="mono")
        file.mux(track.encode(_sine(seconds)))
        file.mux(track.encode(None))
    return out.getvalue()


def _sine(seconds: float) -> av.AudioFrame:
    times = np.arange(int(48_000 * seconds)) / 48_000
    wave = (np.sin(2 * np.pi * 440 * times) * 10_000).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
    return frame


def folders(tmp_path: Path) -> dict[str, list[str]]:
    """The files of each video of a server."""
    directory = tmp_path / "data" / "videos"
    return {
        folder.name: sorted(path.name for path in folder.iterdir()) for folder in directory.iterdir() if folder.is_dir()
    }


def film(client: openai.OpenAI, prompt: str = "x", **extra: object) -> str:
    """The id of a new video of the fake."""
    return client.videos.create(model="fake-video", prompt=prompt, size=SIZE, extra_body=extra or None).id


def wait(client: openai.OpenAI, video_id: str) -> str:
    """The status that a video ends in."""
    return client.videos.poll(video_id, poll_interval_ms=50).status
