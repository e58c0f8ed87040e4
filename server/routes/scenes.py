"""/v1/scenes: checks whether an image shows a description, and whether several images are consistent."""

from collections.abc import Mapping

from litestar import Response, post

from adapters.base import Media, SceneConsistency, SceneValidation, TextAdapter
from adapters.vision.consistency import check_consistency
from adapters.vision.defaults import SceneDefaults
from adapters.vision.validation import validate_scene
from compat import scenes
from compat.errors import RequestError
from compat.wire import flatten
from server.http import replies
from server.http.multipart import MAX_IMAGE_UPLOAD_BYTES, Form
from server.http.request import AnyRequest, owner_of
from server.http.streaming import until_disconnect
from server.media.checks import check_images
from server.services import Services

UPLOAD_LIMITS: Mapping[str, int] = {"image": MAX_IMAGE_UPLOAD_BYTES, "images": MAX_IMAGE_UPLOAD_BYTES}


@post("/v1/scenes/validations", status_code=200)
async def validate(request: AnyRequest, services: Services) -> Response[bytes]:
    """Compares an image with a description: a score, an explanation, and which elements are visible."""
    async with services.bodies.form(request, UPLOAD_LIMITS) as form:
        files = _files(form, "image", 1)
        call = scenes.parse(flatten(form.fields) if form.json is None else form.json, files[0] if files else None)
        slot = services.pool.find(call.model, TextAdapter, kind="vision")
        work = _validated(services, owner_of(request), slot.name, call, SceneDefaults.of(slot.entry.defaults))
        return replies.json(scenes.render(await until_disconnect(request, work), slot.name))


@post("/v1/scenes/consistency", status_code=200)
async def compare(request: AnyRequest, services: Services) -> Response[bytes]:
    """Compares images with each other: a score, an analysis, differences, and the image that does not fit."""
    async with services.bodies.form(request, UPLOAD_LIMITS) as form:
        files = _files(form, "images", scenes.MAX_IMAGES)
        call = scenes.parse_consistency(flatten(form.fields) if form.json is None else form.json, files)
        slot = services.pool.find(call.model, TextAdapter, kind="vision")
        work = _compared(services, owner_of(request), slot.name, call, SceneDefaults.of(slot.entry.defaults))
        return replies.json(scenes.render_consistency(await until_disconnect(request, work), slot.name))


async def _validated(
    services: Services, owner: str, model: str, call: scenes.SceneCall, defaults: SceneDefaults
) -> SceneValidation:
    (image,) = await services.references.resolve_media(owner, [call.image])
    await check_images([(image, "image")])
    threshold = defaults.threshold if call.threshold is None else call.threshold
    async with services.pool.lease(model, TextAdapter) as adapter:
        parts = await services.decompositions.of(adapter, model, call.description, defaults.decomposition)
        return await validate_scene(adapter, image, call.description, threshold=threshold, decomposition=parts)


async def _compared(
    services: Services, owner: str, model: str, call: scenes.ConsistencyCall, defaults: SceneDefaults
) -> SceneConsistency:
    images = await services.references.resolve_media(owner, call.images)
    await check_images((image, f"images[{at}]") for at, image in enumerate(images))
    threshold = defaults.threshold if call.threshold is None else call.threshold
    async with services.pool.lease(model, TextAdapter) as adapter:
        aspects, comparison = call.aspects or defaults.aspects, defaults.comparison
        return await check_consistency(adapter, images, aspects=aspects, threshold=threshold, comparison=comparison)


def _files(form: Form, name: str, most: int) -> list[Media]:
    """The files of a field; its name may end in brackets."""
    unknown = next((one for one in form.files if one not in (name, f"{name}[]")), None)
    files = [*form.files.get(name, []), *form.files.get(f"{name}[]", [])]
    if unknown is not None or len(files) > most:
        raise RequestError(
            f"Invalid '{unknown or name}': send at most {most} file{'s' if most > 1 else ''}, in the field '{name}'.",
            param=unknown or name,
        )
    return [file.media(MAX_IMAGE_UPLOAD_BYTES) for file in files]
