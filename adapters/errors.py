"""What can go wrong in an adapter, as exceptions that know nothing of HTTP.

    AdapterError
    ├── ModelNotFound          no model is served under that name
    ├── WrongModelKind         the model exists, but cannot do what was asked
    ├── ModelLoadFailed        its files are missing, broken or refused, or its backend did not start
    ├── ModelBusy              its queue is full; later will do
    ├── OutOfMemory            it does not fit beside what runs now
    ├── InvalidMedia           the image, sound or video that came in cannot be read
    ├── UnsupportedOption      this model or backend cannot honour that option or value
    ├── ContextLengthExceeded  prompt and answer do not fit the model's context
    ├── GenerationFailed       the backend failed on a well-formed request
    └── Interrupted            the work was cut short: its process died, was stopped, or was cancelled

Each adapter translates the exceptions of its library into these, in one context manager. `compat/errors.py` maps
every leaf to a status and a code; a test proves that none is missing.
"""


class AdapterError(Exception):
    """The root: catch it to catch everything that an adapter raises on purpose.

    Args:
        message: One or two sentences for the person who sent the request. No paths, no tracebacks.
        param: The name of the request field at fault, when there is one.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """Keeps the message and the field at fault."""
        super().__init__(message)
        self.message = message
        self.param = param


class ModelNotFound(AdapterError):
    """No model is served under that name."""


class WrongModelKind(AdapterError):
    """The model exists, but is of another kind than the request needs."""


class ModelLoadFailed(AdapterError):
    """The model's files or backend could not be made ready."""


class ModelBusy(AdapterError):
    """The model's queue is full. The same request may succeed a little later."""


class OutOfMemory(AdapterError):
    """The model or the request does not fit in the memory that is free now."""


class InvalidMedia(AdapterError):
    """An image, a sound or a video in the request cannot be read, or is larger than allowed."""


class UnsupportedOption(AdapterError):
    """The backend cannot honour an option, or not with that value."""


class ContextLengthExceeded(AdapterError):
    """Prompt and requested answer do not fit in the model's context."""


class GenerationFailed(AdapterError):
    """The backend failed on a well-formed request. The message hides the cause; the log has it."""


class Interrupted(AdapterError):
    """The work was cut short from outside: the model's process died, was stopped, or the call was cancelled."""


def leaves() -> tuple[type[AdapterError], ...]:
    """Every exception that an adapter may raise, for tables that must be complete."""
    return tuple(AdapterError.__subclasses__())
