"""The exceptions of adapters. They do not depend on HTTP.

    AdapterError
    ├── ModelNotFound          no model is served under this name
    ├── WrongModelKind         the model exists, but is of another kind than the request needs
    ├── ModelLoadFailed        its files are missing or not valid, its options are wrong, or its backend did not start
    ├── ModelBusy              its queue is full; a later request may succeed
    ├── CallerBusy             this caller has too many requests at the model; others still have places
    ├── OutOfMemory            it does not fit in the free memory
    ├── InvalidMedia           the image, audio or video of the request cannot be read
    ├── UnsupportedOption      the model or backend does not support an option or its value
    ├── ContextLengthExceeded  prompt and answer do not fit in the model's context
    ├── GenerationFailed       the backend failed on a well-formed request
    └── Interrupted            the model's process died or was stopped, or the call was cancelled

Each adapter translates the exceptions of its library into these, in one context manager. `compat/errors.py` maps every
leaf to a status and a code; a test checks that none is missing.
"""


class AdapterError(Exception):
    """Base class of all exceptions that adapters raise on purpose.

    Args:
        message: One or two sentences for the client. No paths of this machine, no tracebacks.
        param: The name of the wrong request field, if there is one.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        """Stores the message and the field."""
        super().__init__(message)
        self.message = message
        self.param = param


class ModelNotFound(AdapterError):
    """No model is served under this name."""


class WrongModelKind(AdapterError):
    """The model exists, but is of another kind than the request needs."""


class ModelLoadFailed(AdapterError):
    """The model could not be loaded: its files, its options or its backend are at fault."""


class ModelBusy(AdapterError):
    """The model's queue is full. The same request may succeed later."""


class CallerBusy(AdapterError):
    """The caller has too many requests at the model. The same request may succeed later."""


class OutOfMemory(AdapterError):
    """The model or the request does not fit in the memory that is free now."""


class InvalidMedia(AdapterError):
    """An image, audio or video of the request cannot be read, or is larger than allowed."""


class UnsupportedOption(AdapterError):
    """The model or backend does not support an option, or not with this value."""


class ContextLengthExceeded(AdapterError):
    """Prompt and requested answer do not fit in the model's context."""


def context_exceeded(context: int, tokens: int | str, param: str) -> str:
    """The message of `ContextLengthExceeded` for a text. Clients look for its first words, which are OpenAI's."""
    return (
        f"This model's maximum context length is {context} tokens. However, your {param} resulted in {tokens} tokens. "
        f"Please reduce the length of the {param}."
    )


class GenerationFailed(AdapterError):
    """The backend failed on a well-formed request. The log has the cause; the message does not."""


class Interrupted(AdapterError):
    """The model's process died or was stopped, or the call was cancelled."""


def leaves() -> tuple[type[AdapterError], ...]:
    """All exceptions that adapters may raise, for tables that must be complete."""
    return tuple(AdapterError.__subclasses__())
