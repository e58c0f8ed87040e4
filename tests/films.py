"""What tests of videos share: a look into an MP4, and what lies in a server's directory of videos."""

from pathlib import Path

import av
import openai

SIZE = "1280x720"  # one of the four that the SDK's strict mode knows


def frames_of(mp4: Path) -> tuple[int, int, int]:
    """(width, height, frames) of a film, every frame decoded."""
    with av.open(str(mp4), format="mp4") as container:
        stream = container.streams.video[0]
        return stream.width, stream.height, sum(1 for _ in container.decode(stream))


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
