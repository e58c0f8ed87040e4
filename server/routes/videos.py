"""/v1/videos: create, list, get, delete, content."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from litestar import Response, delete, get, post
from litestar.params import Parameter

from adapters.base import Media, VideoAdapter
from compat import videos
from compat.errors import RequestError
from compat.images import model_of
from compat.video_plans import headline, single
from server import replies
from server.artifacts import MEDIA_TYPES
from server.forms import Form
from server.jobs_receipts import fields_of, receipt_of
from server.services import AnyRequest, Services, owner_of

POLL = {"openai-poll-after-ms": str(videos.POLL_MS)}


@post("/v1/videos", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[bytes]:
    """A queued video."""
    owner = owner_of(request)
    async with services.intake.form(request) as form:
        receipt = await receipt_of(request, form)
        if (known := await services.jobs.known(owner, receipt)) is not None:
            return replies.json(videos.render(known))
        body = fields_of(form)
        slot = services.pool.find(model_of(body), VideoAdapter)
        wanted = videos.parse(body, _reference(form, body), slot.entry.defaults)
        plan = single(wanted)
        state = await services.jobs.create(owner, slot.name, plan, headline(plan, wanted.prompt), receipt)
    return replies.json(videos.render(state))


def _reference(form: Form, body: Mapping[str, Any]) -> Media | None:
    unknown = next((name for name in form.files if name != "input_reference"), None)
    files = form.files.get("input_reference", [])
    if unknown is not None or len(files) > 1:
        raise RequestError("Send at most one file, as 'input_reference'.", param=unknown or "input_reference")
    if files and "input_reference" in body:
        raise RequestError("Send one input_reference.", param="input_reference")
    # A job outlives its request, and the upload does not: keep the bytes (a picture's, so they are few).
    return files[0].loaded() if files else None


@get("/v1/videos")
async def page(
    request: AnyRequest,
    services: Services,
    after: str | None = None,
    limit: Annotated[int, Parameter(ge=0, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> Response[bytes]:
    """A page of the caller's videos."""
    states, more = await services.jobs.page(owner_of(request), after=after, limit=limit, newest_first=order == "desc")
    return replies.json(videos.render_list(states, has_more=more))


@get("/v1/videos/{video_id:str}")
async def retrieve(request: AnyRequest, services: Services, video_id: str) -> Response[bytes]:
    """A video's state."""
    return replies.json(videos.render((await services.jobs.get(owner_of(request), video_id)).state), headers=POLL)


@delete("/v1/videos/{video_id:str}", status_code=200)
async def remove(request: AnyRequest, services: Services, video_id: str) -> Response[bytes]:
    """Removes a video and its files; a running one is stopped."""
    await services.jobs.delete(owner_of(request), video_id)
    return replies.json(videos.VideoDeleteResponse(id=video_id))


@get("/v1/videos/{video_id:str}/content")
async def content(
    request: AnyRequest, services: Services, video_id: str, variant: Literal["video", "thumbnail"] = "video"
) -> Response[Any]:
    """The MP4 of a finished video, or its first frame."""
    job = await services.jobs.get(owner_of(request), video_id)
    if not (path := services.jobs.path(job, variant)):
        raise RequestError(
            f"The video is {job.state.status}; it has no content here.",
            code="video_not_ready",
            status=404,
            headers={"x-should-retry": "false"},
        )
    return replies.file(Path(path), MEDIA_TYPES[Path(path).suffix])
