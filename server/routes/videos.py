"""/v1/videos: create, list, get, delete, content."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from litestar import Response, delete, get, post
from litestar.params import Parameter

from adapters.base import Media, VideoAdapter
from compat import videos
from compat.errors import RequestError
from compat.images import model_of
from compat.wire import flatten
from server import replies
from server.artifacts import MEDIA_TYPES
from server.forms import Form
from server.services import AnyRequest, Services, owner_of

POLL = {"openai-poll-after-ms": str(videos.POLL_MS)}


@post("/v1/videos", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[bytes]:
    """A queued video."""
    async with services.intake.form(request) as form:
        body = flatten(form.fields) if form.json is None else form.json
        slot = services.pool.find(model_of(body), VideoAdapter)
        wanted = videos.parse(body, _reference(form, body), slot.entry.defaults)
    return replies.json(videos.render(services.jobs.create(owner_of(request), slot.name, wanted)))


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
    states, more = services.jobs.page(owner_of(request), after=after, limit=limit, newest_first=order == "desc")
    return replies.json(videos.render_list(states, has_more=more))


@get("/v1/videos/{video_id:str}")
async def retrieve(request: AnyRequest, services: Services, video_id: str) -> Response[bytes]:
    """A video's state."""
    return replies.json(videos.render(services.jobs.get(owner_of(request), video_id).state), headers=POLL)


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
    job = services.jobs.get(owner_of(request), video_id)
    path = services.artifacts.path(job.files.get(variant, ""))
    if job.state.status != "completed" or path is None:
        raise RequestError(
            f"The video is {job.state.status}; it has no content yet.",
            code="video_not_ready",
            status=404,
            headers={"x-should-retry": "false"},
        )
    return replies.file(path, MEDIA_TYPES[path.suffix])
