"""From a form to what is to be filmed: one function for each way to ask for a video."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from adapters.base import Media, VideoAdapter, VideoRequest
from compat import video_continuations, video_sequences, videos
from compat.images import model_of
from compat.video_fields import STEP
from compat.video_plans import Fields, Plan, headline, single
from compat.video_replies import VideoState
from server.forms import Form
from server.jobs_files import FILM, HEARD, SOUND, SOURCE, THUMBNAIL, clip, clip_sound
from server.jobs_inputs import pictures_of, refuse_lack
from server.jobs_receipts import receipt_of
from server.jobs_uploads import Parts, parts_of, sound_of, video_of
from server.pictures import look_at
from server.services import AnyRequest, Services, owner_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """A video to make."""

    parts: Parts
    model: str
    plan: Plan
    prompt: str
    fields: Fields
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


Reader = Callable[[Services, str, Form], Awaitable[Wanted]]
"""Reads a form of an owner's request. Raises `RequestError` 400 or 404, `ModelNotFound`, `WrongModelKind`."""


async def created(request: AnyRequest, services: Services, read: Reader) -> VideoState:
    """The job that a request makes; or has made, when this is its retry."""
    owner = owner_of(request)
    async with services.jobs.doors.through(owner), services.intake.form(request) as form:
        receipt = await receipt_of(request, form)
        if (known := await services.jobs.known(owner, receipt)) is not None:
            return known
        wanted = await read(services, owner, form)
        if wanted.plan.remixed_from is None:  # whose pictures are another job's, and were looked at then
            await look_at(pictures_of(wanted.plan, wanted.fields))
        # What is not here yet, or cannot be read, is not judged: the model itself will refuse, once it is loaded.
        if (can := await services.store.video_inputs(wanted.model)) is not None:
            refuse_lack(wanted.plan, wanted.fields, can)
        told = headline(wanted.plan, wanted.prompt)
        # Models round lengths: a film may become longer than was asked for.
        files = wanted.files | await sound_of(wanted.parts, (told.num_frames + STEP) / told.fps)
        plan = replace(wanted.plan, sound=SOUND in files)
        return await services.jobs.create(owner, wanted.model, plan, told, receipt, files)


async def shot(services: Services, owner: str, form: Form) -> Wanted:
    """One shot of a text, with or without pictures."""
    parts = await parts_of(form, "input_reference")
    slot = services.pool.find(model_of(parts.body), VideoAdapter)
    request = videos.parse(parts.body, parts.pictures.get("input_reference"), slot.entry.defaults)
    return Wanted(parts, slot.name, single(request), request.prompt, videos.fields(parts.body, request))


async def sequence(services: Services, owner: str, form: Form) -> Wanted:
    """Several scenes."""
    parts = await parts_of(form)
    slot = services.pool.find(model_of(parts.body), VideoAdapter)
    plan, fields = video_sequences.parse_sequence(parts.body, slot.entry.defaults)
    prompts = (shot.request.prompt for shot in plan.shots if shot.request is not None and shot.after is None)
    return Wanted(parts, slot.name, plan, " ".join(prompts), fields)


async def transition(services: Services, owner: str, form: Form) -> Wanted:
    """From one picture to another."""
    parts = await parts_of(form, *videos.ENDS)
    slot = services.pool.find(model_of(parts.body), VideoAdapter)
    request = videos.parse_transition(parts.body, parts.pictures, slot.entry.defaults)
    return Wanted(parts, slot.name, single(request), request.prompt, videos.TRANSITION)


async def extension(services: Services, owner: str, form: Form) -> Wanted:
    """A video, and how it goes on."""
    parts = await parts_of(form, source=True)
    source = await _source(services, owner, parts)
    plan, prompt = video_continuations.extend(parts.body, source.made)
    looks = {} if source.look is None else {"clip-0.png": source.look}
    heard = {} if source.heard is None else {clip_sound(0): source.heard}
    files = {clip(0): source.film, **looks, **_heard(source.sound), **heard}
    return Wanted(parts, source.model, plan, prompt, video_continuations.CONTINUED, files)


async def edit(services: Services, owner: str, form: Form) -> Wanted:
    """A video, filmed anew along its own frames."""
    parts = await parts_of(form, source=True)
    source = await _source(services, owner, parts)
    plan, prompt = video_continuations.edit(parts.body, source.made, Media("video/mp4", path=SOURCE))
    files = {SOURCE: source.film, **_heard(source.sound or source.heard)}
    return Wanted(parts, source.model, plan, prompt, video_continuations.CONTINUED, files)


def remix(video_id: str) -> Reader:
    """A video once more, with a new prompt."""

    async def read(services: Services, owner: str, form: Form) -> Wanted:
        parts = await parts_of(form)
        job = await services.jobs.completed(owner, video_id)
        source = services.jobs.with_pictures(job)
        plan, prompt = video_continuations.remix(parts.body, video_id, source, job.state.request)
        kept = {name: services.jobs.place(job, name) for name in (SOURCE, SOUND)}
        files = {name: path for name, path in kept.items() if path is not None}
        if SOURCE in files:
            plan = video_continuations.of_source(plan, Media("video/mp4", path=SOURCE))
        return Wanted(parts, job.state.model, plan, prompt, video_continuations.remixed(plan), files)

    return read


async def _source(services: Services, owner: str, parts: Parts) -> Source:
    """The film that a request names or brings along.

    The model is the one that is asked for, else the one that made it, else the default.
    """
    asked = parts.body.get("model")
    if parts.video is None:
        job = await services.jobs.completed(owner, parts.video_id)
        model = job.state.model if asked is None else services.pool.find(model_of(parts.body), VideoAdapter).name
        film = services.jobs.place(job, FILM)
        assert film is not None
        look, sound, heard = (services.jobs.place(job, name) for name in (THUMBNAIL, SOUND, HEARD))
        return Source(model, job.state.request, film, look, sound, heard)
    slot = services.pool.find(model_of(parts.body), VideoAdapter)
    taken = await video_of(parts, parts.video)
    one = taken.footage
    made = video_continuations.uploaded(one.width, one.height, one.num_frames, one.fps, slot.entry.defaults)
    return Source(slot.name, made, taken.clip, None, taken.sound)


def _heard(sound: Path | None) -> dict[str, Path]:
    return {} if sound is None else {SOUND: sound}
