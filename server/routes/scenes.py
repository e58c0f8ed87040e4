"""POST /v1/scenes/validations: does a picture show what a description says?"""

from litestar import Response, post

from adapters.base import Media, SceneValidation, TextAdapter
from adapters.vision import validate_scene
from compat import scenes
from compat.errors import RequestError
from compat.wire import flatten
from server import replies
from server.forms import Form
from server.services import AnyRequest, Services
from server.streaming import until_disconnect


@post("/v1/scenes/validations", status_code=200)
async def validate(request: AnyRequest, services: Services) -> Response[bytes]:
    """A score, an explanation, and which elements of the description are to be seen."""
    async with services.intake.form(request) as form:
        call = scenes.parse(flatten(form.fields) if form.json is None else form.json, _image(form))
        model = services.pool.find(call.model, TextAdapter).name
        validation = await until_disconnect(request, _judge(services, model, call))
    return replies.json(scenes.render(validation, model))


async def _judge(services: Services, model: str, call: scenes.SceneCall) -> SceneValidation:
    async with services.pool.lease(model, TextAdapter) as adapter:
        return await validate_scene(adapter, call.image, call.description, threshold=call.threshold)


def _image(form: Form) -> Media | None:
    unknown = next((name for name in form.files if name != "image"), None)
    files = form.files.get("image", [])
    if unknown is not None or len(files) > 1:
        raise RequestError("Send at most one file, as 'image'.", param=unknown or "image")
    return files[0].loaded() if files else None
