"""The work of a video job: each shot by its model, into a clip; then all clips into the film.

Every step may be done again: what is there as a file already is not made anew, so that a killed server goes on where
it was, whatever of it was written down.
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
from server.videos.files import FACTS, FILM, HEARD, SHEET, SOUND, THUMBNAIL, JobFiles, clip, clip_sound
from server.videos.tables import Job

log = logging.getLogger(__name__)

Progress = Callable[[int], Any]
"""Takes a job's progress, 0..99; awaited."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was really made."""

    seed: int | None
    width: int
    height: int
    num_frames: int
    fps: int
    generation_ms: float


class Films:
    """Makes the files of jobs."""

    def __init__(self, pool: Pool, files: JobFiles) -> None:
        """Takes the models, and where the files go."""
        self._pool = pool
        self._files = files
        self._sheets = asyncio.Lock()

    async def shoot(self, job: Job, index: int, progress: Progress) -> None:
        """Makes a shot's clip, if it is not there yet.

        Raises:
            AdapterError: As `VideoAdapter.generate`.
            RequestError: There is no room for it.
        """
        plan, job_id = job.plan, job.state.id
        shot = plan.shots[index]
        if shot.request is None or self._files.has(job_id, clip(index)) or self._files.has(job_id, FILM):
            return
        own = self._files.found(job_id, shot.request)
        request = replace(own, keyframes=await self._keyframes(job, shot, own))
        asked = [number for number, one in enumerate(plan.shots) if one.request is not None]
        share, before = 99 / len(asked), asked.index(index)

        async with self._pool.lease(job.state.model, VideoAdapter) as adapter:
            await progress(int(before * share))
            async with aclosing(adapter.generate(request)) as events:
                async for event in events:
                    if isinstance(event, Step):
                        await progress(int((before + event.step / event.total) * share))
                    else:
                        await self._keep(job, index, event)

    async def finish(self, job: Job) -> tuple[VideoRequest, float]:
        """Makes the film of the clips, if it is not there yet; returns what was made, and the time that took, in ms.

        Raises:
            GenerationFailed: The clips do not fit together.
            RequestError: There is no room for it.
        """
        job_id, files = job.state.id, self._files
        if not files.has(job_id, FILM):
            if len(job.plan.shots) == 1 and job.plan.shots[0].num_frames is None:
                await self._take_whole(job)
            else:
                await self._join(job)
        await files.tidy(job_id)
        made = self._facts(job_id, FACTS)
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
        """Removes what a job that has failed had made, and was to be made of."""
        await self._files.remove(job_id)

    async def sheet(self, job: Job) -> None:
        """Makes the sheet of a finished film, if it is not there yet.

        Raises:
            GenerationFailed: The film is gone, or cannot be read.
            RequestError: There is no room for it.
        """
        job_id, files = job.state.id, self._files
        async with self._sheets:
            if not files.has(job_id, SHEET):
                frames = self._facts(job_id, FACTS).num_frames
                await media_process.sheet(files.place(job_id, FILM), frames, files.place(job_id, SHEET))

    async def _keep(self, job: Job, index: int, made: GeneratedVideo) -> None:
        wanted = job.plan.shots[index].num_frames or 0
        if made.num_frames < wanted:
            raise GenerationFailed(f"The model made {made.num_frames} frames of the {wanted} that shot {index} needs.")
        facts = Facts(made.seed, made.width, made.height, made.num_frames, made.fps, made.generation_ms)
        # The clip comes last: once it is there, so is the rest.
        await self._files.save(job.state.id, f"clip-{index}.png", made.thumbnail.data)
        await self._files.save(job.state.id, f"clip-{index}.json", msgspec.json.encode(facts))
        if made.soundtrack is not None and not job.plan.sound:
            await self._files.save(job.state.id, clip_sound(index), made.soundtrack.data)
        await self._files.save(job.state.id, clip(index), made.video.data)

    async def _keyframes(self, job: Job, shot: Shot, request: VideoRequest) -> tuple[Keyframe, ...]:
        """The shot's own pictures, and those that are frames of other shots."""
        own = list(request.keyframes)
        if shot.after is not None:
            last = await self._frame(job, shot.after, last=True)
            own.insert(0, Keyframe(last, 0))
        if shot.before is not None:
            first = await self._frame(job, shot.before, last=False)
            own.append(Keyframe(first, (shot.num_frames or request.num_frames) - 1))
        return tuple(own)

    async def _frame(self, job: Job, index: int, *, last: bool) -> Media:
        job_id, shot = job.state.id, job.plan.shots[index]
        if not last:
            return Media("image/png", path=str(self._files.place(job_id, f"clip-{index}.png")))
        name = f"clip-{index}-last.png"
        if not self._files.has(job_id, name):
            frames = shot.num_frames or self._facts(job_id, f"clip-{index}.json").num_frames
            await media_process.cut(self._files.place(job_id, clip(index)), frames - 1, self._files.place(job_id, name))
        return Media("image/png", path=str(self._files.place(job_id, name)))

    async def _take_whole(self, job: Job) -> None:
        """The only clip as the film, with its sound."""
        job_id, files = job.state.id, self._files
        await files.copy(job_id, THUMBNAIL, files.place(job_id, "clip-0.png"))
        await files.copy(job_id, FACTS, files.place(job_id, "clip-0.json"))
        made = self._facts(job_id, FACTS)
        sound = await self._sound(job, [(0, 0, made.num_frames)])
        if sound is None:
            await files.copy(job_id, FILM, files.place(job_id, clip(0)))
            return
        target = files.place(job_id, FILM + ".part")
        await media_process.dub(files.place(job_id, clip(0)), sound, made.fps, made.num_frames, target)
        await files.settle(job_id, FILM)

    async def _join(self, job: Job) -> None:
        plan, job_id, files = job.plan, job.state.id, self._files
        facts = {
            index: self._facts(job_id, f"clip-{index}.json")
            for index, shot in enumerate(plan.shots)
            if shot.request is not None
        }
        made_first = facts[min(facts)]
        shown = [(index, *_span(plan, index, facts.get(index))) for index in plan.order]
        spans = [(files.place(job_id, clip(index)), first, count) for index, first, count in shown]
        made = await media_process.join(
            spans,
            job.state.request.fps,
            files.place(job_id, FILM + ".part"),
            sound=await self._sound(job, shown),
            size=(made_first.width, made_first.height),  # what was there before the job may have another
        )
        spent = sum(one.generation_ms for one in facts.values())
        total = Facts(made_first.seed, made.width, made.height, made.num_frames, job.state.request.fps, spent)
        if files.has(job_id, look := f"clip-{plan.order[0]}.png"):
            await files.copy(job_id, THUMBNAIL, files.place(job_id, look))
        else:  # of an upload
            await media_process.cut(files.place(job_id, FILM + ".part"), 0, files.place(job_id, THUMBNAIL))
        await files.save(job_id, FACTS, msgspec.json.encode(total))
        await files.settle(job_id, FILM)

    async def _sound(self, job: Job, shown: Sequence[tuple[int, int, int]]) -> Path | None:
        """What is heard: what the request brought, else what the models made; None: nothing.

        Args:
            job: The job.
            shown: Number of the shot, its first frame that is shown, and how many.
        """
        job_id, files = job.state.id, self._files
        if job.plan.sound:
            return files.place(job_id, SOUND)
        made = {index: files.place(job_id, clip_sound(index)) for index, _, _ in shown}
        heard = {index: path for index, path in made.items() if path.is_file()}
        if not heard:
            return None
        track = files.place(job_id, HEARD)
        if not files.has(job_id, HEARD):
            pieces = [(heard.get(index), first, count) for index, first, count in shown]
            await media_process.mix(pieces, job.state.request.fps, track)
        return track

    def _facts(self, job_id: str, name: str) -> Facts:
        return msgspec.json.decode(self._files.place(job_id, name).read_bytes(), type=Facts)


def _span(plan: Plan, index: int, made: Facts | None) -> tuple[int, int]:
    """(first frame, number of frames) of a clip that the film shows."""
    shot = plan.shots[index]
    frames = shot.num_frames or (made.num_frames if made is not None else 0)
    return shot.skip, frames - shot.skip
