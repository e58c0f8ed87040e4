"""Rendering a video job: each shot by its model into a clip, then all clips into the video.

Every step may run again: files that exist are not made a second time, so that a killed server continues where it was,
whatever it had recorded.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from adapters.base import GeneratedVideo, Keyframe, Media, Step, VideoAdapter, VideoRequest
from adapters.errors import GenerationFailed
from adapters.pool.pool import Pool
from compat.videos.plan import Plan, Shot
from server.videos import media_process
from server.videos.files import (
    GENERATED_SOUNDTRACK,
    METADATA,
    SOUNDTRACK,
    SPRITESHEET,
    THUMBNAIL,
    VIDEO,
    JobFiles,
    clip,
    clip_audio,
)
from server.videos.tables import Job

log = logging.getLogger(__name__)

Progress = Callable[[int], Any]
"""Takes a job's progress, 0..99; awaited."""


@dataclass(frozen=True, slots=True)
class VideoMetadata:
    """The properties of a generated clip or video."""

    seed: int | None
    width: int
    height: int
    num_frames: int
    fps: int
    generation_ms: float


class VideoRenderer:
    """Makes the files of jobs."""

    def __init__(self, pool: Pool, files: JobFiles) -> None:
        """Takes the models, and where the files are."""
        self._pool = pool
        self._files = files
        self._spritesheets = asyncio.Lock()

    async def render_shot(self, job: Job, index: int, progress: Progress) -> None:
        """Generates the clip of a shot, unless it exists.

        Raises:
            AdapterError: As `VideoAdapter.generate`.
            RequestError: 503, the disk is full.
        """
        plan, job_id = job.plan, job.state.id
        shot = plan.shots[index]
        if shot.request is None or self._files.has(job_id, clip(index)) or self._files.has(job_id, VIDEO):
            return
        request = self._files.with_paths(job_id, shot.request)
        request = replace(request, keyframes=await self._keyframes(job, shot, request))
        generated = [number for number, one in enumerate(plan.shots) if one.request is not None]
        share, before = 99 / len(generated), generated.index(index)

        async with self._pool.lease(job.state.model, VideoAdapter) as adapter:
            await progress(int(before * share))
            async with aclosing(adapter.generate(request)) as events:
                async for event in events:
                    if isinstance(event, Step):
                        await progress(int((before + event.step / event.total) * share))
                    else:
                        await self._save(job, index, event)

    async def assemble(self, job: Job) -> tuple[VideoRequest, float]:
        """Makes the video from the clips, unless it exists.

        Returns:
            The request with the values that were used, and the time that the models took, in ms.

        Raises:
            GenerationFailed: The clips cannot be joined.
            RequestError: 503, the disk is full.
        """
        job_id, files = job.state.id, self._files
        if not files.has(job_id, VIDEO):
            if len(job.plan.shots) == 1 and job.plan.shots[0].num_frames is None:
                await self._use_only_clip(job)
            else:
                await self._join(job)
        await files.remove_clips(job_id)
        made = self._metadata(job_id, METADATA)
        request = replace(
            job.state.request,
            seed=made.seed,
            width=made.width,
            height=made.height,
            num_frames=made.num_frames,
            fps=made.fps,
        )
        return request, made.generation_ms

    async def discard(self, job_id: str) -> None:
        """Removes all files of a failed job."""
        await self._files.remove(job_id)

    async def make_spritesheet(self, job: Job) -> None:
        """Makes the sprite sheet of a finished video, unless it exists.

        Raises:
            GenerationFailed: The video was removed, or cannot be read.
            RequestError: 503, the disk is full.
        """
        job_id, files = job.state.id, self._files
        async with self._spritesheets:
            if not files.has(job_id, SPRITESHEET):
                frames = self._metadata(job_id, METADATA).num_frames
                target = files.path(job_id, SPRITESHEET)
                await media_process.make_spritesheet(files.path(job_id, VIDEO), frames, target)

    async def _save(self, job: Job, index: int, made: GeneratedVideo) -> None:
        required = job.plan.shots[index].num_frames or 0
        if made.num_frames < required:
            raise GenerationFailed(
                f"The model generated only {made.num_frames} of the {required} frames that shot {index} needs."
            )
        metadata = VideoMetadata(made.seed, made.width, made.height, made.num_frames, made.fps, made.generation_ms)
        # The clip comes last: once it exists, so do the other files.
        await self._files.save(job.state.id, f"clip-{index}.png", made.thumbnail.data)
        await self._files.save(job.state.id, f"clip-{index}.json", msgspec.json.encode(metadata))
        if made.soundtrack is not None and not job.plan.sound:
            await self._files.save(job.state.id, clip_audio(index), made.soundtrack.data)
        await self._files.save(job.state.id, clip(index), made.video.data)

    async def _keyframes(self, job: Job, shot: Shot, request: VideoRequest) -> tuple[Keyframe, ...]:
        """The shot's own keyframes, and those that are frames of other shots."""
        keyframes = list(request.keyframes)
        if shot.after is not None:
            last = await self._frame(job, shot.after, last=True)
            keyframes.insert(0, Keyframe(last, 0))
        if shot.before is not None:
            first = await self._frame(job, shot.before, last=False)
            keyframes.append(Keyframe(first, (shot.num_frames or request.num_frames) - 1))
        return tuple(keyframes)

    async def _frame(self, job: Job, index: int, *, last: bool) -> Media:
        job_id, shot, files = job.state.id, job.plan.shots[index], self._files
        if not last:
            return Media("image/png", path=str(files.path(job_id, f"clip-{index}.png")))
        target = files.path(job_id, f"clip-{index}-last.png")
        if not target.is_file():
            frames = shot.num_frames or self._metadata(job_id, f"clip-{index}.json").num_frames
            await media_process.extract_frame(files.path(job_id, clip(index)), frames - 1, target)
        return Media("image/png", path=str(target))

    async def _use_only_clip(self, job: Job) -> None:
        """Makes the only clip the video, with its soundtrack."""
        job_id, files = job.state.id, self._files
        await files.copy(job_id, THUMBNAIL, files.path(job_id, "clip-0.png"))
        await files.copy(job_id, METADATA, files.path(job_id, "clip-0.json"))
        made = self._metadata(job_id, METADATA)
        soundtrack = await self._soundtrack(job, [(0, 0, made.num_frames)])
        if soundtrack is None:
            await files.copy(job_id, VIDEO, files.path(job_id, clip(0)))
            return
        target = files.path(job_id, VIDEO + ".part")
        await media_process.add_soundtrack(files.path(job_id, clip(0)), soundtrack, made.fps, made.num_frames, target)
        await files.finalize(job_id, VIDEO)

    async def _join(self, job: Job) -> None:
        plan, job_id, files = job.plan, job.state.id, self._files
        clips = {
            index: self._metadata(job_id, f"clip-{index}.json")
            for index, shot in enumerate(plan.shots)
            if shot.request is not None
        }
        first_clip = clips[min(clips)]
        shown = [(index, *_span(plan, index, clips.get(index))) for index in plan.order]
        joined = await media_process.join(
            [(files.path(job_id, clip(index)), first, count) for index, first, count in shown],
            job.state.request.fps,
            files.path(job_id, VIDEO + ".part"),
            soundtrack=await self._soundtrack(job, shown),
            size=(first_clip.width, first_clip.height),  # a source video may have another size
        )
        generation_ms = sum(one.generation_ms for one in clips.values())
        metadata = VideoMetadata(
            first_clip.seed, joined.width, joined.height, joined.num_frames, job.state.request.fps, generation_ms
        )
        if files.has(job_id, thumbnail := f"clip-{plan.order[0]}.png"):
            await files.copy(job_id, THUMBNAIL, files.path(job_id, thumbnail))
        else:  # the video starts with an upload
            await media_process.extract_frame(files.path(job_id, VIDEO + ".part"), 0, files.path(job_id, THUMBNAIL))
        await files.save(job_id, METADATA, msgspec.json.encode(metadata))
        await files.finalize(job_id, VIDEO)

    async def _soundtrack(self, job: Job, shown: Sequence[tuple[int, int, int]]) -> Path | None:
        """The soundtrack of the request, else the generated audio of the clips; None without both.

        Args:
            job: The job.
            shown: The number of each shot, its first frame that is used, and the number of frames.
        """
        job_id, files = job.state.id, self._files
        if job.plan.sound:
            return files.path(job_id, SOUNDTRACK)
        candidates = {index: files.path(job_id, clip_audio(index)) for index, _, _ in shown}
        audio = {index: path for index, path in candidates.items() if path.is_file()}
        if not audio:
            return None
        target = files.path(job_id, GENERATED_SOUNDTRACK)
        if not target.is_file():
            pieces = [(audio.get(index), first, count) for index, first, count in shown]
            await media_process.mix_soundtrack(pieces, job.state.request.fps, target)
        return target

    def _metadata(self, job_id: str, name: str) -> VideoMetadata:
        return msgspec.json.decode(self._files.path(job_id, name).read_bytes(), type=VideoMetadata)


def _span(plan: Plan, index: int, made: VideoMetadata | None) -> tuple[int, int]:
    """(first frame, number of frames) of a clip that the video uses."""
    shot = plan.shots[index]
    frames = shot.num_frames or (made.num_frames if made is not None else 0)
    return shot.skip, frames - shot.skip
