"""Chat templates for models whose own do not work well, and how an option names one."""

from pathlib import Path

from adapters.errors import ModelLoadFailed

TEMPLATES = Path(__file__).parent / "templates"
MAX_BYTES = 1_000_000


def read(name: str | None) -> str | None:
    """A chat template's text.

    Args:
        name: Of a template in `adapters/text/templates/`, without ".jinja", or an absolute path; None for none.

    Raises:
        ModelLoadFailed: There is no such template, or it is not text.
    """
    if name is None:
        return None
    path = Path(name) if Path(name).is_absolute() else TEMPLATES / f"{name}.jinja"
    if not Path(name).is_absolute() and path.parent != TEMPLATES:
        raise ModelLoadFailed(f"The option chat_template {name!r} is neither an absolute path nor a known name.")
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(sorted(one.stem for one in TEMPLATES.glob("*.jinja")))
        raise ModelLoadFailed(
            f"The option chat_template {name!r} names no readable text file. Known names: {known}."
        ) from error
