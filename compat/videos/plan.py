"""What a video job films: shots, and how they become one film. Plain data, kept as JSON beside the job."""

from dataclasses import dataclass, replace

from adapters.base import VideoRequest


@dataclass(frozen=True, slots=True)
class Shot:
    """One call of the model, or a clip that exists already."""

    request: VideoRequest | None
    """None: the clip was there before the job, as its file."""
    num_frames: int | None = None
    """Exactly so many frames from its first on go into the film; None: all that were made."""
    after: int | None = None
    """The shot whose last frame, as the film has it, is this one's first."""
    before: int | None = None
    """The shot whose first frame is this one's last."""
    skip: int = 0
    """Frames at its beginning that the film leaves out, because the film shows them already."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole film."""

    shots: tuple[Shot, ...]
    """In the order in which they are made: a shot names only earlier ones."""
    order: tuple[int, ...] = (0,)
    """In the order in which they are shown."""
    remixed_from: str | None = None
    """The video that this one is a version of."""
    sound: bool = False
    """Whether the film has a sound, kept beside the plan; what the film has no room for is left out."""


def single(request: VideoRequest) -> Plan:
    """A film of one shot, whole."""
    return Plan((Shot(request),))


def headline(plan: Plan, prompt: str) -> VideoRequest:
    """What to tell of a film before it is made: its own prompt, its size, and all its frames; no pictures."""
    first = next(shot.request for shot in plan.shots if shot.request is not None)
    frames = sum(
        (shot.num_frames or (shot.request or first).num_frames) - shot.skip
        for shot in (plan.shots[index] for index in plan.order)
    )
    return replace(first, prompt=prompt, keyframes=(), source=None, num_frames=frames)


@dataclass(frozen=True, slots=True)
class Fields:
    """What the request's fields are called that a plan's pictures and video came in, for errors that name them."""

    pictures: tuple[tuple[str, ...], ...]
    """For each shot, those of its keyframes."""
    first: tuple[str, ...]
    """For each shot, where its first picture is, or would be."""
    last: str = "keyframes"
    """The same of its last one; or whatever has no place for it."""
    links: str = "video"
    """What had shots begin or end with frames of others."""
    source: str = "video"
    """What is filmed anew."""
