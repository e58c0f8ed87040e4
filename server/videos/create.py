"""Creating video jobs: from a request's form to a plan of shots."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from adapters.base import Media, VideoAdapter, VideoRequest
from adapters.pool.fair_share import FairSlots
from adapters.pool.pool import Pool
from compat.images.generations import model_of
from compat.videos import continuations, create, sequences
from compat.videos.fields import STEP
from compat.videos.plan import FieldNames, Plan, single, summary
from compat.videos.replies import VideoState
from server.http.bodies import BodyReader
from server.http.multipart import MAX_IMAGE_UPLOAD_BYTES, Form
from server.http.request import AnyRequest, owner_of
from server.http.streaming import until_disconnect
from server.media.checks import check_images
from server.media.references import ReferenceResolver
from server.models.files import ModelFilesService
from server.videos.capabilities import images_of, require_supported
from server.videos.files import GENERATED_SOUNDTRACK, SOUNDTRACK, SOURCE, THUMBNAIL, VIDEO, clip, clip_audio
from server.videos.idempotency import idempotency_key_of
from server.videos.service import VideoJobs
from server.videos.uploads import MAX_BYTES, VideoForm, convert_video, read_form, soundtrack_of

MAX_FORMS = 16
"""Requests whose fields, and the images in them, are in memory at the same time; further ones wait on disk."""
MAX_CALLER_FORMS = 4
"""Those of one caller."""
UPLOAD_LIMITS: Mapping[str, int] = MAX_BYTES | dict.fromkeys(("input_reference", *create.ENDS), MAX_IMAGE_UPLOAD_BYTES)


@dataclass(frozen=True, slots=True)
class VideoCall:
    """A parsed request for a video."""

    form: VideoForm
    model: str
    plan: Plan
    prompt: str
    fields: FieldNames
    files: dict[str, Path] = field(default_factory=dict[str, Path])
    """Files that the video is made of, by their name in the job's folder."""


@dataclass(frozen=True, slots=True)
class Source:
    """A video that another one is made from."""

    model: str
    request: VideoRequest
    """The request that made the video, or would make one like it."""
    video: Path
    thumbnail: Path | None
    """Its first frame, if it exists as a file."""
    soundtrack: Path | None
    """The soundtrack that a client has uploaded for it."""
    generated_soundtrack: Path | None = None
    """The soundtrack that its model has generated, when there is no uploaded one."""


Reader = Callable[[str, Form], Awaitable[VideoCall]]
"""Parses the form of an owner's request. Raises `RequestError` 400 or 404, `ModelNotFound`, `WrongModelKind`."""


class VideoCreator:
    """Creates video jobs from requests: one method for each way to ask for a video.

    Each method returns the job that the request creates, or has created before, when the request is a retry. Each
    raises `RequestError` 400 or 404, `ModelNotFound` or `WrongModelKind`.
    """

    def __init__(
        self,
        pool: Pool,
        bodies: BodyReader,
        jobs: VideoJobs,
        model_files: ModelFilesService,
        references: ReferenceResolver,
    ) -> None:
        """Takes the parts of the server that a creation needs."""
        self._pool = pool
        self._bodies = bodies
        self._jobs = jobs
        self._model_files = model_files
        self._reading = FairSlots(MAX_FORMS, per_caller=MAX_CALLER_FORMS)
        self._references = references

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
        async with self._bodies.form(request, UPLOAD_LIMITS, self._reading) as form:
            key = await idempotency_key_of(request, form)
            if (known := await self._jobs.find(owner, key)) is not None:
                return known
            # A client that leaves frees its slot and the decoder. Once the job is being stored, it is created.
            call = await until_disconnect(request, self._prepare(owner, form, read))
            shown = summary(call.plan, call.prompt)
            return await self._jobs.create(owner, call.model, call.plan, shown, key, call.files)

    async def _prepare(self, owner: str, form: Form, read: Reader) -> VideoCall:
        """Parses and checks a request, and converts its uploads."""
        call = await read(owner, form)
        if call.plan.remixed_from is None:  # else the images are another job's, and were checked then
            await check_images(images_of(call.plan, call.fields))
        # A model that is not downloaded yet, or whose config cannot be read, is not checked here.
        if (inputs := await self._model_files.video_inputs(call.model)) is not None:
            require_supported(call.plan, call.fields, inputs)
        shown = summary(call.plan, call.prompt)
        # Models round lengths up, so a video may become longer than requested.
        files = call.files | await soundtrack_of(call.form, (shown.num_frames + STEP) / shown.fps)
        return replace(call, plan=replace(call.plan, sound=SOUNDTRACK in files), files=files)

    async def _read_shot(self, owner: str, form: Form) -> VideoCall:
        parsed = await read_form(form, "input_reference")
        slot = self._pool.find(model_of(parsed.body), VideoAdapter)
        request = create.parse(parsed.body, parsed.images.get("input_reference"), slot.entry.defaults)
        images = await self._references.resolve_media(owner, [keyframe.image for keyframe in request.keyframes])
        keyframes = tuple(replace(one, image=image) for one, image in zip(request.keyframes, images, strict=True))
        request = replace(request, keyframes=keyframes)
        return VideoCall(parsed, slot.name, single(request), request.prompt, create.fields(parsed.body, request))

    async def _read_sequence(self, owner: str, form: Form) -> VideoCall:
        parsed = await read_form(form)
        slot = self._pool.find(model_of(parsed.body), VideoAdapter)
        plan, fields = sequences.parse_sequence(parsed.body, slot.entry.defaults)
        prompts = (shot.request.prompt for shot in plan.shots if shot.request is not None and shot.after is None)
        return VideoCall(parsed, slot.name, plan, " ".join(prompts), fields)

    async def _read_transition(self, owner: str, form: Form) -> VideoCall:
        parsed = await read_form(form, *create.ENDS)
        slot = self._pool.find(model_of(parsed.body), VideoAdapter)
        request = create.parse_transition(parsed.body, parsed.images, slot.entry.defaults)
        return VideoCall(parsed, slot.name, single(request), request.prompt, create.TRANSITION)

    async def _read_extension(self, owner: str, form: Form) -> VideoCall:
        parsed = await read_form(form, source=True)
        source = await self._source(owner, parsed)
        plan, prompt = continuations.extend(parsed.body, source.request)
        files = _present(
            {
                clip(0): source.video,
                "clip-0.png": source.thumbnail,
                SOUNDTRACK: source.soundtrack,
                clip_audio(0): source.generated_soundtrack,
            }
        )
        return VideoCall(parsed, source.model, plan, prompt, continuations.CONTINUED, files)

    async def _read_edit(self, owner: str, form: Form) -> VideoCall:
        parsed = await read_form(form, source=True)
        source = await self._source(owner, parsed)
        plan, prompt = continuations.edit(parsed.body, source.request, Media("video/mp4", path=SOURCE))
        files = _present({SOURCE: source.video, SOUNDTRACK: source.soundtrack or source.generated_soundtrack})
        return VideoCall(parsed, source.model, plan, prompt, continuations.CONTINUED, files)

    async def _read_remix(self, video_id: str, owner: str, form: Form) -> VideoCall:
        parsed = await read_form(form)
        job = await self._jobs.completed(owner, video_id)
        source = self._jobs.with_image_paths(job)
        plan, prompt = continuations.remix(parsed.body, video_id, source, job.state.request)
        files = _present({name: self._jobs.path(job, name) for name in (SOURCE, SOUNDTRACK)})
        if SOURCE in files:
            plan = continuations.with_source(plan, Media("video/mp4", path=SOURCE))
        return VideoCall(parsed, job.state.model, plan, prompt, continuations.remix_fields(plan), files)

    async def _source(self, owner: str, form: VideoForm) -> Source:
        """The video that a request names or uploads.

        The model is the requested one, else the one that made the video, else the default.
        """
        requested = form.body.get("model")
        if form.video is None:
            job = await self._jobs.completed(owner, form.video_id)
            model = job.state.model if requested is None else self._pool.find(model_of(form.body), VideoAdapter).name
            names = (VIDEO, THUMBNAIL, SOUNDTRACK, GENERATED_SOUNDTRACK)
            video, thumbnail, soundtrack, generated = (self._jobs.path(job, name) for name in names)
            assert video is not None
            return Source(model, job.state.request, video, thumbnail, soundtrack, generated)
        slot = self._pool.find(model_of(form.body), VideoAdapter)
        upload = await convert_video(form, form.video)
        info = upload.info
        request = continuations.request_of_upload(
            info.width, info.height, info.num_frames, info.fps, slot.entry.defaults
        )
        return Source(slot.name, request, upload.clip, None, upload.soundtrack)


def _present(files: dict[str, Path | None]) -> dict[str, Path]:
    return {name: path for name, path in files.items() if path is not None}
