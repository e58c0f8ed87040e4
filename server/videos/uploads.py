"""What comes with a request for a video besides words: pictures, a sound, a video; out of its body, made files of ours.

A job outlives its request, and an upload does not. Sounds and videos are decoded before the job is acknowledged, so
that one which cannot be read is a 400.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.base import Media
from compat.errors import RequestError
from compat.media import parse_data_url
from compat.videos.fields import MAX_VIDEO_FRAMES
from server.http.multipart import MAX_PICTURE_BYTES, Form
from server.videos import media_process
from server.videos.files import SOUND
from server.videos.idempotency import fields_of
from server.videos.media_process import Footage

MAX_SOUND_BYTES = 128 * 2**20
MAX_VIDEO_BYTES = 512 * 2**20
MEDIA = {"audio": MAX_SOUND_BYTES, "video": MAX_VIDEO_BYTES}


@dataclass(frozen=True, slots=True)
class Parts:
    """A request, taken apart."""

    body: dict[str, Any]
    """Its fields, but for what is below."""
    pictures: dict[str, Media]
    """Those that came as files, by their fields' names."""
    folder: Path
    """Where files may be made, for as long as the request lasts."""
    audio: Path | None = None
    """A sound of any kind, not looked at yet."""
    video: Path | None = None
    """A video, the same."""
    video_id: str = ""
    """Of the video that is named."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An uploaded video as files of ours."""

    footage: Footage
    clip: Path
    sound: Path | None


async def parts_of(form: Form, *pictures: str, source: bool = False) -> Parts:
    """A request, taken apart.

    Args:
        form: Its body.
        pictures: Fields in which pictures may come as files.
        source: Whether it works on a video, that it names or brings along.

    Raises:
        RequestError: 400, a file in another field, or none or too many videos; 413.
    """
    names = (*pictures, "audio", *(("video",) if source else ()))
    files = {name: uploads for name, uploads in form.files.items() if not _is_empty(name, form)}
    for name, uploads in files.items():
        if name not in names or len(uploads) > 1:
            raise RequestError(
                f"This route takes at most one file each as: {', '.join(names)}; other pictures come as data URLs.",
                param=name,
            )
    # The SDK cannot send a reference: it raises, or sends `video[id]` beside an empty `video`.
    fields = {name: values for name, values in form.fields.items() if name != "video" or any(values) or not source}
    body = dict(fields_of(Form(fields, {}, form.json)))
    shown = {name: files[name][0].media(MAX_PICTURE_BYTES) for name in pictures if name in files}
    found: dict[str, Path] = {}
    for name in MEDIA if source else ("audio",):
        told = body.get(name)
        if name in files:
            if told is not None and not (name == "video" and isinstance(told, Mapping)):
                raise RequestError(f"Send one {name}.", param=name)
            found[name] = Path(files[name][0].media(MEDIA[name]).path)
        elif isinstance(told, str) and (name == "audio" or told[:5].lower() == "data:"):
            kinds = (name,) if name == "video" else ("audio", "video")
            media = parse_data_url(told, param=name, max_bytes=MEDIA[name], kinds=kinds)
            found[name] = form.folder / f"{name}.bin"
            await asyncio.to_thread(found[name].write_bytes, media.data)
            del body[name]
        elif name == "audio" and told is not None:
            raise RequestError("Send audio as a file, or as a data URL.", param=name)
        elif name in body and told is None:
            del body[name]
    video_id = _named(body, "video" in found) if source else ""
    return Parts(body, shown, form.folder, found.get("audio"), found.get("video"), video_id)


async def sound_of(parts: Parts, seconds: float) -> dict[str, Path]:
    """The request's sound as a file of a job, if it brought one.

    Args:
        parts: The request.
        seconds: What lies behind is left out.

    Raises:
        InvalidMedia: It cannot be read.
        RequestError: 503, there is no room for it.
    """
    if parts.audio is None:
        return {}
    target = parts.folder / "sound.m4a"
    await media_process.take_sound(parts.audio, target, max_seconds=seconds, param="audio")
    return {SOUND: target}


async def video_of(parts: Parts, upload: Path) -> Taken:
    """An uploaded video, decoded and written anew; its sound with it. Raises as `sound_of`."""
    clip, sound = parts.folder / "source.mp4", parts.folder / "source.m4a"
    footage = await media_process.take_video(upload, clip, max_frames=MAX_VIDEO_FRAMES, param="video")
    if not footage.has_sound:
        return Taken(footage, clip, None)
    await media_process.take_sound(upload, sound, max_seconds=footage.num_frames / footage.fps, param="video")
    return Taken(footage, clip, sound)


def _is_empty(name: str, form: Form) -> bool:
    return name == "video" and not any(upload.size_bytes for upload in form.files[name])


def _named(body: dict[str, Any], brought: bool) -> str:
    """The id of the video that a request names, in any of the ways in which clients do; "" where it brings one."""
    reference: Any = body.pop("video", None)
    if isinstance(reference, Mapping):
        named: list[Any] = [one for name, one in reference.items() if name == "id"]  # pyright: ignore[reportUnknownVariableType] - JSON
    else:
        named = [reference]
    named = [one for one in (*named, body.pop("video_id", None)) if one is not None]
    if brought and not named:
        return ""
    if len(named) != 1 or brought or not isinstance(named[0], str):
        raise RequestError("Send one video: a file, or its id as video[id] or video_id.", param="video")
    return named[0]
