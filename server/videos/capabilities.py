"""What a model lacks is refused before a job is made of the request, and names the field that asked for it."""

from dataclasses import replace

from adapters.base import Keyframe, Media, VideoRequest
from adapters.video.inputs import VideoInputs, lack
from compat.errors import RequestError
from compat.videos.plan import FieldNames, Plan, Shot

_FRAME = Media("image/png", path="a frame of another shot")


def pictures_of(plan: Plan, fields: FieldNames) -> list[tuple[Media, str]]:
    """The keyframes of all shots, each with the name of its field."""
    return [
        (keyframe.image, name)
        for number, shot in enumerate(plan.shots)
        if shot.request is not None
        for keyframe, name in zip(shot.request.keyframes, fields.images[number], strict=True)
    ]


def refuse_lack(plan: Plan, fields: FieldNames, can: VideoInputs) -> None:
    """Lets through a plan that a model can film.

    Args:
        plan: The shots.
        fields: What the request's fields are called that its pictures came in.
        can: What the model takes.

    Raises:
        RequestError: 400 `unsupported_parameter`, naming the field; `missing_required_parameter`, where the model
            needs a picture that did not come.
    """
    for number, shot in enumerate(plan.shots):
        if shot.request is None:
            continue
        request, names = _whole(shot, shot.request, fields.images[number], fields.joined_by)
        if (found := lack(request, can)) is None:
            continue
        message, code = found.message, "unsupported_parameter"
        if found.what == "first":
            param, code = fields.first[number], "missing_required_parameter"
        elif found.what == "last":
            param = fields.last
            code = "missing_required_parameter" if param == "keyframes" else code
        else:
            param = fields.source if found.what == "video" else names[found.picture]
        if param == "transition_frames":
            lengths = "8k + 1, such as 25, or 0" if can.pictures == "ends" else "0: scenes are then cut hard"
            message += f" Send transition_frames of {lengths}."
        raise RequestError(message, param=param, code=code)


def _whole(
    shot: Shot, request: VideoRequest, names: tuple[str, ...], link: str
) -> tuple[VideoRequest, tuple[str, ...]]:
    """A shot's request with the frames of other shots that it will have, and what all its pictures came in."""
    pictures = request.keyframes
    if shot.after is not None:
        pictures, names = (Keyframe(_FRAME, 0), *pictures), (link, *names)
    if shot.before is not None:
        last = (shot.num_frames or request.num_frames) - 1
        pictures, names = (*pictures, Keyframe(_FRAME, last)), (*names, link)
    return replace(request, keyframes=pictures), names
