"""/v1/videos: create in all its ways, list, get, delete, content."""

from typing import Annotated, Any, Literal

from litestar import Response, delete, get, post, route
from litestar.params import Parameter

from compat.errors import RequestError
from compat.videos.replies import POLL_MS, VideoDeleteResponse, no_characters, render, render_list
from server.http import replies
from server.http.replies import READ
from server.http.request import AnyRequest, owner_of
from server.services import Services
from server.storage.artifacts import MEDIA_TYPES

POLL = {"openai-poll-after-ms": str(POLL_MS)}


@post("/v1/videos", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[bytes]:
    """Queues a video of one shot."""
    return replies.json(render(await services.video_creator.shot(request)))


@post("/v1/videos/sequences", status_code=200)
async def create_sequence(request: AnyRequest, services: Services) -> Response[bytes]:
    """Queues a video of several scenes."""
    return replies.json(render(await services.video_creator.sequence(request)))


@post("/v1/videos/transitions", status_code=200)
async def create_transition(request: AnyRequest, services: Services) -> Response[bytes]:
    """Queues a video that leads from one image to another."""
    return replies.json(render(await services.video_creator.transition(request)))


@post("/v1/videos/extensions", status_code=200)
async def create_extension(request: AnyRequest, services: Services) -> Response[bytes]:
    """Queues a video and its continuation."""
    return replies.json(render(await services.video_creator.extension(request)))


@post("/v1/videos/edits", status_code=200)
async def create_edit(request: AnyRequest, services: Services) -> Response[bytes]:
    """Queues a video that is generated again along the frames of another one."""
    return replies.json(render(await services.video_creator.edit(request)))


@post("/v1/videos/characters", status_code=200)
async def create_character() -> Response[bytes]:
    """Not supported: see `no_characters`."""
    raise no_characters()


@get("/v1/videos/characters/{character_id:str}")
async def retrieve_character(character_id: str) -> Response[bytes]:
    """Not supported: see `no_characters`."""
    raise no_characters()


@post("/v1/videos/{video_id:str}/remix", status_code=200)
async def create_remix(request: AnyRequest, services: Services, video_id: str) -> Response[bytes]:
    """Queues a video like another one, with a new prompt."""
    return replies.json(render(await services.video_creator.remix(request, video_id)))


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
    return replies.json(render_list(states, has_more=more))


@get("/v1/videos/{video_id:str}")
async def retrieve(request: AnyRequest, services: Services, video_id: str) -> Response[bytes]:
    """The state of a video."""
    return replies.json(render((await services.jobs.get(owner_of(request), video_id)).state), headers=POLL)


@delete("/v1/videos/{video_id:str}", status_code=200)
async def remove(request: AnyRequest, services: Services, video_id: str) -> Response[bytes]:
    """Deletes a video and its files. A running one is stopped."""
    await services.jobs.delete(owner_of(request), video_id)
    return replies.json(VideoDeleteResponse(id=video_id))


@route("/v1/videos/{video_id:str}/content", http_method=READ)
async def content(
    request: AnyRequest,
    services: Services,
    video_id: str,
    variant: Literal["video", "thumbnail", "spritesheet"] = "video",
) -> Response[Any]:
    """The MP4 of a completed video, its first frame, or an overview of its frames."""
    job = await services.jobs.get(owner_of(request), video_id)
    path = await services.jobs.content(job, variant)
    if path is None:
        raise RequestError(
            f"The video is {job.state.status} and has no content on this server. Read it when its status is completed.",
            code="video_not_ready",
            status=404,
            headers={"x-should-retry": "false"},
        )
    return replies.file(path, MEDIA_TYPES[path.suffix])
