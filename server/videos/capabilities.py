"""Checks a plan against what its model supports, so that an unsupported request is a 400 and no job is created."""

from dataclasses import replace

from adapters.base import Keyframe, Media, VideoRequest
from adapters.video.inputs import VideoInputs, find_unsupported
from compat.errors import RequestError
from compat.videos.plan import Fields, Plan, Shot

_FRAME = Media("image/png", path="a frame of another shot")


def images_of(plan: Plan, fields: Fields) -> list[tuple[Media, str]]:
    """The keyframe images of all shots, each with the name of its field."""
    return [
        (keyframe.image, name)
        for number, shot in enumerate(plan.shots)
        if shot.request is not None
        for keyframe, name in zip(shot.request.keyframes, fields.pictures[number], strict=True)
    ]


def require_supported(plan: Plan, fields: Fields, inputs: VideoInputs) -> None:
    """Requires that a model supports all shots of a plan.

    Args:
        plan: The shots.
        fields: Names of the request's fields that the images came from.
        inputs: What the model accepts.

    Raises:
        RequestError: 400 `unsupported_parameter` that names the field; 400 `missing_required_parameter`, when the model
            needs an image that the request does not have.
    """
    for number, shot in enumerate(plan.shots):
        if shot.request is None:
            continue
        request, names = _with_linked_frames(shot, shot.request, fields.pictures[number], fields.links)
        if (found := find_unsupported(request, inputs)) is None:
            continue
        message, code = found.message, "unsupported_parameter"
        if found.input == "first_frame":
            param, code = fields.first[number], "missing_required_parameter"
        elif found.input == "last_frame":
            param = fields.last
            code = "missing_required_parameter" if param == "keyframes" else code
        else:
            param = fields.source if found.input == "video" else names[found.keyframe]
        if param == "transition_frames":
            both = inputs.keyframes == "first_and_last"
            lengths = "8k + 1, such as 25, or 0" if both else "0, which joins scenes by a hard cut"
            message += f" Send transition_frames of {lengths}."
        raise RequestError(message, param=param, code=code)


def _with_linked_frames(
    shot: Shot, request: VideoRequest, names: tuple[str, ...], link: str
) -> tuple[VideoRequest, tuple[str, ...]]:
    """A shot's request with the frames that it will take from other shots, and the field name of each keyframe."""
    keyframes = request.keyframes
    if shot.after is not None:
        keyframes, names = (Keyframe(_FRAME, 0), *keyframes), (link, *names)
    if shot.before is not None:
        last = (shot.num_frames or request.num_frames) - 1
        keyframes, names = (*keyframes, Keyframe(_FRAME, last)), (*names, link)
    return replace(request, keyframes=keyframes), names
