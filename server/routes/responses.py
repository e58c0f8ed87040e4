"""/v1/responses: create, get, delete, cancel, input items, input tokens."""

from typing import Annotated, Any, Literal

from litestar import Response, delete, get, post
from litestar.params import Parameter, QueryParameter

from compat.responses import queries
from compat.responses.request import parse, parse_count
from server.http import replies
from server.http.request import AnyRequest, owner_of
from server.http.streaming import collect, event_stream, until_disconnect
from server.services import Services

Includes = Annotated[list[str] | None, QueryParameter(name="include[]")]


@post("/v1/responses", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[Any]:
    """Creates a response, as one reply, as a stream, or in the background."""
    call = await services.bodies.parsed(request, parse)
    draft = await until_disconnect(request, services.responses.draft(owner_of(request), call))
    if call.background:
        run = await services.responses.start_background(draft)
        return await event_stream(request, run.follow(0)) if call.stream else replies.json(draft.response)
    frames = services.responses.generate(draft)
    if call.stream:
        return await event_stream(request, frames)
    await collect(request, frames)
    return replies.json(draft.response)


@post("/v1/responses/input_tokens", status_code=200)
async def count(request: AnyRequest, services: Services) -> Response[bytes]:
    """Counts the prompt tokens of a request."""
    call = await services.bodies.parsed(request, parse_count)
    tokens = await until_disconnect(request, services.responses.count(owner_of(request), call))
    return replies.json(queries.render_count(tokens))


@post("/v1/responses/compact", status_code=200)
async def compact() -> Response[bytes]:
    """Refuses to compact a conversation: a model here would have to write the summary, which clients can ask for."""
    raise queries.no_compaction()


@get("/v1/responses/{response_id:str}")
async def retrieve(
    request: AnyRequest,
    services: Services,
    response_id: str,
    include: Includes = None,
    stream: bool = False,
    starting_after: Annotated[int | None, Parameter(ge=0)] = None,
    include_obfuscation: bool = False,
) -> Response[Any]:
    """A response in its current state, or its stream once more."""
    queries.check_query(include, stream, starting_after, include_obfuscation)
    if stream:
        following = services.responses.follow(owner_of(request), response_id, starting_after)
        return await event_stream(request, await until_disconnect(request, following))
    found = await services.responses.get(owner_of(request), response_id)
    queries.check_included(found, include)
    return replies.json(found)


@delete("/v1/responses/{response_id:str}", status_code=200)
async def remove(request: AnyRequest, services: Services, response_id: str) -> Response[bytes]:
    """Deletes a response. A running background response is stopped."""
    await services.responses.delete(owner_of(request), response_id)
    return replies.json(queries.render_deleted(response_id))


@post("/v1/responses/{response_id:str}/cancel", status_code=200)
async def cancel(request: AnyRequest, services: Services, response_id: str) -> Response[bytes]:
    """Cancels a background response."""
    return replies.json(await services.responses.cancel(owner_of(request), response_id))


@get("/v1/responses/{response_id:str}/input_items")
async def input_items(
    request: AnyRequest,
    services: Services,
    response_id: str,
    after: str | None = None,
    limit: Annotated[int, Parameter(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    include: Includes = None,
) -> Response[bytes]:
    """A page of a response's input items."""
    shown = queries.parse_include(include)
    found, more = await services.responses.input_items(
        owner_of(request), response_id, after=after, limit=limit, newest_first=order == "desc"
    )
    return replies.json(queries.render_page(found, has_more=more, include=shown))
