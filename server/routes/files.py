"""/v1/files: upload, list, get, delete, content."""

from typing import Annotated, Any, Literal

from litestar import Response, delete, get, post, route
from litestar.params import Parameter

from compat import files
from compat.errors import RequestError
from compat.media import MAX_IMAGE_BYTES
from compat.wire import flatten
from server.http import replies
from server.http.multipart import Form, Upload
from server.http.replies import READ
from server.http.request import AnyRequest, owner_of
from server.services import Services


@post("/v1/files", status_code=200)
async def create(request: AnyRequest, services: Services) -> Response[bytes]:
    """Stores an upload, for later requests."""
    async with services.bodies.form(request, {"file": MAX_IMAGE_BYTES}) as form:
        upload = _file(form)
        wire = files.parse(flatten(form.fields))
        expires = None if wire.expires_after is None else float(wire.expires_after.seconds)
        return replies.json(files.render(await services.files.add(owner_of(request), upload, wire.purpose, expires)))


@get("/v1/files")
async def page(
    request: AnyRequest,
    services: Services,
    after: str | None = None,
    limit: Annotated[int, Parameter(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> Response[bytes]:
    """A page of the caller's files."""
    found, more = await services.files.page(
        owner_of(request), after=after, limit=limit, purpose=purpose, newest_first=order == "desc"
    )
    return replies.json(files.render_page(found, has_more=more))


@get("/v1/files/{file_id:str}")
async def retrieve(request: AnyRequest, services: Services, file_id: str) -> Response[bytes]:
    """A file's metadata."""
    return replies.json(files.render(await services.files.get(owner_of(request), file_id)))


@delete("/v1/files/{file_id:str}", status_code=200)
async def remove(request: AnyRequest, services: Services, file_id: str) -> Response[bytes]:
    """Removes a file."""
    await services.files.delete(owner_of(request), file_id)
    return replies.json(files.FileDeleted(file_id))


@route("/v1/files/{file_id:str}/content", http_method=READ)
async def content(request: AnyRequest, services: Services, file_id: str) -> Response[Any]:
    """A file's bytes."""
    file = await services.files.get(owner_of(request), file_id)
    return replies.file(services.files.path(file), "application/octet-stream")


def _file(form: Form) -> Upload:
    unknown = next((name for name in form.files if name != "file"), None)
    uploads = form.files.get("file", [])
    if unknown is not None or len(uploads) != 1:
        raise RequestError(
            "Invalid 'file': send exactly one file, as the field 'file' of a multipart form.", param=unknown or "file"
        )
    return uploads[0]
