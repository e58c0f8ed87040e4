"""From a form to what is to be filmed: one function for each way to ask for a video."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.base import Media, VideoAdapter
from compat import video_sequences, videos
from compat.errors import RequestError
from compat.images import model_of
from compat.video_plans import Plan, headline, single
from compat.videos import VideoState
from server.forms import Form
from server.jobs_receipts import fields_of, receipt_of
from server.services import AnyRequest, Services, owner_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """A video to make."""

    model: str
    plan: Plan
    prompt: str
    source: str | None = None
    """The video whose film is the first shot, where that one exists already."""


Reader = Callable[[Services, str, Form], Awaitable[Wanted]]
"""Reads a form of an owner's request. Raises `RequestError` 400 or 404, `ModelNotFound`, `WrongModelKind`."""


async def created(request: AnyRequest, services: Services, read: Reader) -> VideoState:
    """The job that a request makes; or has made, when this is its retry."""
    owner = owner_of(request)
    async with services.intake.form(request) as form:
        receipt = await receipt_of(request, form)
        if (known := await services.jobs.known(owner, receipt)) is not None:
            return known
        wanted = await read(services, owner, form)
        told = headline(wanted.plan, wanted.prompt)
        return await services.jobs.create(owner, wanted.model, wanted.plan, told, receipt, source=wanted.source)


async def clip(services: Services, owner: str, form: Form) -> Wanted:
    """One shot of a text, with or without pictures."""
    body = fields_of(form)
    slot = services.pool.find(model_of(body), VideoAdapter)
    files = _files(form, "input_reference")
    if files and "input_reference" in body:
        raise RequestError("Send one input_reference.", param="input_reference")
    request = videos.parse(body, files.get("input_reference"), slot.entry.defaults)
    return Wanted(slot.name, single(request), request.prompt)


async def sequence(services: Services, owner: str, form: Form) -> Wanted:
    """Several scenes."""
    _files(form)
    body = fields_of(form)
    slot = services.pool.find(model_of(body), VideoAdapter)
    plan = video_sequences.parse_sequence(body, slot.entry.defaults)
    prompts = (shot.request.prompt for shot in plan.shots if shot.request is not None and shot.after is None)
    return Wanted(slot.name, plan, " ".join(prompts))


async def transition(services: Services, owner: str, form: Form) -> Wanted:
    """From one picture to another."""
    body = fields_of(form)
    slot = services.pool.find(model_of(body), VideoAdapter)
    images = _files(form, *video_sequences.ENDS)
    request = video_sequences.parse_transition(body, images, slot.entry.defaults)
    return Wanted(slot.name, single(request), request.prompt)


async def extension(services: Services, owner: str, form: Form) -> Wanted:
    """A video, and how it goes on."""
    video_id, body = _source(form)
    job = await services.jobs.completed(owner, video_id)
    plan, prompt = video_sequences.extend(body, job.state.request)
    return Wanted(job.state.model, plan, prompt, source=video_id)


def remix(video_id: str) -> Reader:
    """A video once more, with a new prompt."""

    async def read(services: Services, owner: str, form: Form) -> Wanted:
        _files(form)
        job = await services.jobs.completed(owner, video_id)
        source = services.jobs.with_pictures(job)
        plan, prompt = video_sequences.remix(fields_of(form), video_id, source, job.state.request)
        return Wanted(job.state.model, plan, prompt)

    return read


def _source(form: Form) -> tuple[str, dict[str, Any]]:
    """The id of the video that a request names, in any of the ways in which clients do; and the other fields."""
    # The SDK cannot send a reference: it raises, or sends `video[id]` beside an empty `video`.
    for name, uploads in form.files.items():
        if name != "video" or any(upload.size_bytes for upload in uploads):
            raise RequestError(
                "Name a completed video of this server by its id, as video[id] or video_id; files are not taken.",
                param=name,
                code="unsupported_parameter",
            )
    fields = {name: values for name, values in form.fields.items() if name != "video" or any(values)}
    body = dict(fields_of(Form(fields, {}, form.json)))
    reference: Any = body.pop("video", None)
    if isinstance(reference, Mapping):
        named: list[Any] = [one for name, one in reference.items() if name == "id"]  # pyright: ignore[reportUnknownVariableType] - JSON
    else:
        named = [reference]
    named = [one for one in (*named, body.pop("video_id", None)) if one is not None]
    if len(named) != 1 or not isinstance(named[0], str):
        raise RequestError("Name one video, as video[id] or video_id.", param="video")
    return named[0], body


def _files(form: Form, *names: str) -> dict[str, Media]:
    """The pictures that came as files, by their fields' names: no others, and one each."""
    for name, uploads in form.files.items():
        if name not in names or len(uploads) > 1:
            takes = f"at most one file each as: {', '.join(names)}" if names else "no files; send images as data URLs"
            raise RequestError(f"This route takes {takes}.", param=name)
    # A job outlives its request, and the upload does not: keep the bytes (a picture's, so they are few).
    return {name: uploads[0].loaded() for name, uploads in form.files.items()}
