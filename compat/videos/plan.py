"""The plan of a video job: shots, and how they are joined. Stored as JSON in the job's row, under these names."""

from dataclasses import dataclass, replace

from adapters.base import VideoRequest


@dataclass(frozen=True, slots=True)
class Shot:
    """One call of the model, or an existing clip."""

    request: VideoRequest | None
    """None for an existing clip, a file of the job."""
    num_frames: int | None = None
    """How many frames the video uses, from the first; None for all."""
    after: int | None = None
    """The shot whose last used frame is this one's first."""
    before: int | None = None
    """The shot whose first frame is this one's last."""
    skip: int = 0
    """Frames at the start that the video leaves out, because the previous shot ends with them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole video."""

    shots: tuple[Shot, ...]
    """In the order of generation: a shot refers only to earlier ones."""
    order: tuple[int, ...] = (0,)
    """The shots in the order of the video."""
    remixed_from: str | None = None
    """The id of the video that this one is a remix of."""
    sound: bool = False
    """Whether the job has a soundtrack file, cut to the length of the video."""


def single(request: VideoRequest) -> Plan:
    """A video of one complete shot."""
    return Plan((Shot(request),))


def summary(plan: Plan, prompt: str) -> VideoRequest:
    """The whole video as one request: its prompt, its size and all its frames, without images."""
    first = next(shot.request for shot in plan.shots if shot.request is not None)
    frames = sum(
        (shot.num_frames or (shot.request or first).num_frames) - shot.skip
        for shot in (plan.shots[index] for index in plan.order)
    )
    return replace(first, prompt=prompt, keyframes=(), source=None, num_frames=frames)


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The request's fields with a plan's images and video, for errors."""

    images: tuple[tuple[str, ...], ...]
    """For each shot, the fields of its keyframes."""
    first: tuple[str, ...]
    """For each shot, the field of its first image, even if it was not sent."""
    last: str = "keyframes"
    """The field of a shot's last image."""
    joined_by: str = "video"
    """The field because of which shots start or end with frames of others."""
    source: str = "video"
    """The field of the video that is edited."""
