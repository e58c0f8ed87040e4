"""Media that come with a video request: images, audio, a video. Audio and video are converted to known formats.

A job outlives its request, and uploads do not. Audio and video are decoded before the job is created, so that
unreadable media are a 400.
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
from server.http.multipart import MAX_IMAGE_UPLOAD_BYTES, Form
from server.videos import media_process
from server.videos.files import SOUNDTRACK
from server.videos.idempotency import fields_of
from server.videos.media_process import ClipInfo

MAX_BYTES = {"audio": 128 * 2**20, "video": 512 * 2**20}
"""The largest upload of each kind."""


@dataclass(frozen=True, slots=True)
class VideoForm:
    """The fields and media of a video request."""

    body: dict[str, Any]
    """The fields, without those below."""
    images: dict[str, Media]
    """Images that were uploaded as files, by field name."""
    folder: Path
    """Where files may be written; removed when the request ends."""
    audio: Path | None = None
    """An undecoded audio or video file."""
    video: Path | None = None
    """An undecoded video file."""
    video_id: str = ""
    """The id of the source video, if the request names one."""


@dataclass(frozen=True, slots=True)
class UploadedVideo:
    """An uploaded video after its conversion."""

    info: ClipInfo
    clip: Path
    soundtrack: Path | None


async def read_form(form: Form, *image_fields: str, source: bool = False) -> VideoForm:
    """Splits a request into its fields and its media.

    Args:
        form: The request's body.
        image_fields: Fields that accept an image as a file.
        source: Whether the request needs a source video, as an id or as an upload.

    Raises:
        RequestError: 400, a file in another field, or not exactly one source video; 413.
    """
    names = (*image_fields, "audio", *(("video",) if source else ()))
    files = {name: uploads for name, uploads in form.files.items() if not _is_empty_video(name, form)}
    for name, uploads in files.items():
        if name not in names or len(uploads) > 1:
            raise RequestError(
                f"Invalid '{name}': this route accepts at most one file for each of these fields: {', '.join(names)}. "
                "Send other images as data URLs.",
                param=name,
            )
    # The SDK cannot send a reference to a video: it raises, or sends `video[id]` beside an empty `video`.
    fields = {name: values for name, values in form.fields.items() if name != "video" or any(values) or not source}
    body = dict(fields_of(Form(fields, {}, form.json)))
    images = {name: files[name][0].media(MAX_IMAGE_UPLOAD_BYTES) for name in image_fields if name in files}
    media: dict[str, Path] = {}
    for name in MAX_BYTES if source else ("audio",):
        value = body.get(name)
        if name in files:
            if value is not None and not (name == "video" and isinstance(value, Mapping)):
                raise RequestError(
                    f"Invalid '{name}': it was sent twice, as a file and as a field. Send it once.", param=name
                )
            media[name] = Path(files[name][0].media(MAX_BYTES[name]).path)
        elif isinstance(value, str) and (name == "audio" or value[:5].lower() == "data:"):
            kinds = (name,) if name == "video" else ("audio", "video")
            decoded = parse_data_url(value, param=name, max_bytes=MAX_BYTES[name], kinds=kinds)
            media[name] = form.folder / f"{name}.bin"
            await asyncio.to_thread(media[name].write_bytes, decoded.data)
            del body[name]
        elif name == "audio" and value is not None:
            raise RequestError("Invalid 'audio': send a file, or a data URL as a string.", param=name)
        elif name in body and value is None:
            del body[name]
    video_id = _video_id(body, "video" in media) if source else ""
    return VideoForm(body, images, form.folder, media.get("audio"), media.get("video"), video_id)


async def soundtrack_of(form: VideoForm, seconds: float) -> dict[str, Path]:
    """Converts the request's audio into a soundtrack: the file by its name in a job's folder; {} without audio.

    Args:
        form: The request.
        seconds: The longest soundtrack; the rest of the audio is dropped.

    Raises:
        InvalidMedia: The audio cannot be decoded.
        RequestError: 503, the disk is full.
    """
    if form.audio is None:
        return {}
    target = form.folder / "sound.m4a"
    await media_process.convert_audio(form.audio, target, max_seconds=seconds, param="audio")
    return {SOUNDTRACK: target}


async def convert_video(form: VideoForm, upload: Path) -> UploadedVideo:
    """Converts an uploaded video and its soundtrack. Raises as `soundtrack_of`."""
    clip, soundtrack = form.folder / "source.mp4", form.folder / "source.m4a"
    info = await media_process.convert_video(upload, clip, max_frames=MAX_VIDEO_FRAMES, param="video")
    if not info.has_audio:
        return UploadedVideo(info, clip, None)
    await media_process.convert_audio(upload, soundtrack, max_seconds=info.num_frames / info.fps, param="video")
    return UploadedVideo(info, clip, soundtrack)


def _is_empty_video(name: str, form: Form) -> bool:
    return name == "video" and not any(upload.size_bytes for upload in form.files[name])


def _video_id(body: dict[str, Any], uploaded: bool) -> str:
    """Takes the id of the source video out of the fields, in any form that clients use; "" when one was uploaded."""
    reference: Any = body.pop("video", None)
    if isinstance(reference, Mapping):
        ids: list[Any] = [value for name, value in reference.items() if name == "id"]  # pyright: ignore[reportUnknownVariableType] - JSON
    else:
        ids = [reference]
    ids = [value for value in (*ids, body.pop("video_id", None)) if value is not None]
    if uploaded and not ids:
        return ""
    if len(ids) != 1 or uploaded or not isinstance(ids[0], str):
        raise RequestError(
            "Invalid 'video': send exactly one source video, as a file or by its id in video[id] or video_id.",
            param="video",
        )
    return ids[0]
