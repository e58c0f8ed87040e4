"""Chat templates for models whose own do not work well, and how an option names one."""

from pathlib import Path

from adapters.errors import ModelLoadFailed

HERE = Path(__file__).parent
MAX_BYTES = 1_000_000


def read(name: str | None) -> str | None:
    """A chat template's text.

    Args:
        name: Name of a template in this folder, without ".jinja", or an absolute path; None: no template.

    Raises:
        ModelLoadFailed: There is no such template, or it is not text.
    """
    if name is None:
        return None
    path = Path(name) if Path(name).is_absolute() else HERE / f"{name}.jinja"
    if not Path(name).is_absolute() and path.parent != HERE:
        raise ModelLoadFailed(f"The option chat_template {name!r} is neither an absolute path nor a known name.")
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(one.stem for one in HERE.glob("*.jinja")))
        raise ModelLoadFailed(
            f"The option chat_template {name!r} names no readable text file. Known names: {known}."
        ) from error
