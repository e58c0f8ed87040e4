"""Creating video jobs: from a request's form to a plan of shots."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from adapters.base import Media, VideoAdapter, VideoRequest
from adapters.pool.pool import Pool
from compat.images.generations import model_of
from compat.videos import continuations, create, sequences
from compat.videos.fields import STEP
from compat.videos.plan import FieldNames, Plan, single, summary
from compat.videos.replies import VideoState
from server.http.bodies import Intake
from server.http.multipart import Form
from server.http.request import AnyRequest, owner_of
from server.media.check import look_at
from server.models.files import Store
from server.videos.capabilities import pictures_of, refuse_lack
from server.videos.files import FILM, HEARD, SOUND, SOURCE, THUMBNAIL, clip, clip_sound
from server.videos.idempotency import receipt_of
from server.videos.service import VideoJobs
from server.videos.uploads import Parts, parts_of, sound_of, video_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """A video to make."""

    parts: Parts
    model: str
    plan: Plan
    prompt: str
    fields: FieldNames
    files: dict[str, Path] = field(default_factory=dict[str, Path])
    """What it is made of, by its name in the job's folder."""


@dataclass(frozen=True, slots=True)
class Source:
    """A film that another is made of."""

    model: str
    made: VideoRequest
    """As if a model had been asked for it."""
    film: Path
    look: Path | None
    """Its first frame, where that is at hand."""
    sound: Path | None
    """What the client brought to be heard."""
    heard: Path | None = None
    """What its model has made to be heard, where that is not so."""


Reader = Callable[[str, Form], Awaitable[Wanted]]
"""Reads a form of an owner's request. Raises `RequestError` 400 or 404, `ModelNotFound`, `WrongModelKind`."""


class VideoCreator:
    """Makes video jobs from requests: one method for each way to ask for a video.

    Each method returns the job that the request makes, or has made, when the request is a retry. Each raises
    `RequestError` 400 or 404, `ModelNotFound` or `WrongModelKind`.
    """

    def __init__(self, pool: Pool, intake: Intake, jobs: VideoJobs, store: Store) -> None:
        """Takes the parts of the server that a creation needs."""
        self._pool = pool
        self._intake = intake
        self._jobs = jobs
        self._store = store

    async def shot(self, request: AnyRequest) -> VideoState:
        """One shot from a prompt, with or without images."""
        return await self._create(request, self._read_shot)

    async def sequence(self, request: AnyRequest) -> VideoState:
        """Several scenes."""
        return await self._create(request, self._read_sequence)

    async def transition(self, request: AnyRequest) -> VideoState:
        """From one image to another."""
        return await self._create(request, self._read_transition)

    async def extension(self, request: AnyRequest) -> VideoState:
        """A video and its continuation."""
        return await self._create(request, self._read_extension)

    async def edit(self, request: AnyRequest) -> VideoState:
        """A video, generated again along its own frames."""
        return await self._create(request, self._read_edit)

    async def remix(self, request: AnyRequest, video_id: str) -> VideoState:
        """A video once more, with a new prompt."""
        return await self._create(request, partial(self._read_remix, video_id))

    async def _create(self, request: AnyRequest, read: Reader) -> VideoState:
        owner = owner_of(request)
        async with self._jobs.doors.through(owner), self._intake.form(request) as form:
            receipt = await receipt_of(request, form)
            if (known := await self._jobs.known(owner, receipt)) is not None:
                return known
            wanted = await read(owner, form)
            if wanted.plan.remixed_from is None:  # else the images are another job's, and were checked then
                await look_at(pictures_of(wanted.plan, wanted.fields))
            # A model that is not downloaded yet, or whose config cannot be read, is not checked here.
            if (can := await self._store.video_inputs(wanted.model)) is not None:
                refuse_lack(wanted.plan, wanted.fields, can)
            told = summary(wanted.plan, wanted.prompt)
            # Models round lengths: a video may become longer than was asked for.
            files = wanted.files | await sound_of(wanted.parts, (told.num_frames + STEP) / told.fps)
            plan = replace(wanted.plan, sound=SOUND in files)
            return await self._jobs.create(owner, wanted.model, plan, told, receipt, files)

    async def _read_shot(self, owner: str, form: Form) -> Wanted:
        parts = await parts_of(form, "input_reference")
        slot = self._pool.find(model_of(parts.body), VideoAdapter)
        request = create.parse(parts.body, parts.pictures.get("input_reference"), slot.entry.defaults)
        return Wanted(parts, slot.name, single(request), request.prompt, create.fields(parts.body, request))

    async def _read_sequence(self, owner: str, form: Form) -> Wanted:
        parts = await parts_of(form)
        slot = self._pool.find(model_of(parts.body), VideoAdapter)
        plan, fields = sequences.parse_sequence(parts.body, slot.entry.defaults)
        prompts = (shot.request.prompt for shot in plan.shots if shot.request is not None and shot.after is None)
        return Wanted(parts, slot.name, plan, " ".join(prompts), fields)

    async def _read_transition(self, owner: str, form: Form) -> Wanted:
        parts = await parts_of(form, *create.ENDS)
        slot = self._pool.find(model_of(parts.body), VideoAdapter)
        request = create.parse_transition(parts.body, parts.pictures, slot.entry.defaults)
        return Wanted(parts, slot.name, single(request), request.prompt, create.TRANSITION)

    async def _read_extension(self, owner: str, form: Form) -> Wanted:
        parts = await parts_of(form, source=True)
        source = await self._source(owner, parts)
        plan, prompt = continuations.extend(parts.body, source.made)
        looks = {} if source.look is None else {"clip-0.png": source.look}
        heard = {} if source.heard is None else {clip_sound(0): source.heard}
        files = {clip(0): source.film, **looks, **_heard(source.sound), **heard}
        return Wanted(parts, source.model, plan, prompt, continuations.CONTINUED, files)

    async def _read_edit(self, owner: str, form: Form) -> Wanted:
        parts = await parts_of(form, source=True)
        source = await self._source(owner, parts)
        plan, prompt = continuations.edit(parts.body, source.made, Media("video/mp4", path=SOURCE))
        files = {SOURCE: source.film, **_heard(source.sound or source.heard)}
        return Wanted(parts, source.model, plan, prompt, continuations.CONTINUED, files)

    async def _read_remix(self, video_id: str, owner: str, form: Form) -> Wanted:
        parts = await parts_of(form)
        job = await self._jobs.completed(owner, video_id)
        source = self._jobs.with_pictures(job)
        plan, prompt = continuations.remix(parts.body, video_id, source, job.state.request)
        kept = {name: self._jobs.place(job, name) for name in (SOURCE, SOUND)}
        files = {name: path for name, path in kept.items() if path is not None}
        if SOURCE in files:
            plan = continuations.with_source(plan, Media("video/mp4", path=SOURCE))
        return Wanted(parts, job.state.model, plan, prompt, continuations.remix_fields(plan), files)

    async def _source(self, owner: str, parts: Parts) -> Source:
        """The video that a request names or uploads.

        The model is the requested one, else the one that made the video, else the default.
        """
        asked = parts.body.get("model")
        if parts.video is None:
            job = await self._jobs.completed(owner, parts.video_id)
            model = job.state.model if asked is None else self._pool.find(model_of(parts.body), VideoAdapter).name
            film = self._jobs.place(job, FILM)
            assert film is not None
            look, sound, heard = (self._jobs.place(job, name) for name in (THUMBNAIL, SOUND, HEARD))
            return Source(model, job.state.request, film, look, sound, heard)
        slot = self._pool.find(model_of(parts.body), VideoAdapter)
        taken = await video_of(parts, parts.video)
        one = taken.footage
        made = continuations.request_of_upload(one.width, one.height, one.num_frames, one.fps, slot.entry.defaults)
        return Source(slot.name, made, taken.clip, None, taken.sound)


def _heard(sound: Path | None) -> dict[str, Path]:
    return {} if sound is None else {SOUND: sound}
