"""Adds a model to the operator's catalog file, and keeps the rest of the file as it is, comments included."""

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from adapters.catalog.model_config import write_text
from adapters.catalog.yaml_lines import ConfigurationError, read_located

_HEAD = "# Models of your own, added to the built-in ones (docs/configuration.md).\n"
_COMMENT = re.compile(r"(?:^|\s)(#[^\n]*\S)")
"""Also text that looks like one: all of it must be there afterwards."""


def add_model(path: Path, name: str, entry: Mapping[str, Any], profile: str) -> None:
    """Adds a model to a catalog file, and to one of its profiles. The file and the profile are created if need be.

    Args:
        path: The catalog, YAML or JSON.
        name: Of the model. An entry of this name is kept, and must equal `entry`.
        entry: The model's entry, as it is written in a catalog.
        profile: The profile that will serve the model, as its last one.

    Raises:
        ConfigurationError: The file cannot be read or written, has another model of this name, or has a form that
            cannot be extended.
    """
    before: Any = read_located(path).data if path.is_file() else {}
    if not _has_sections(before or {}, profile):
        raise ConfigurationError(f"{path}: it is no catalog; `muybridge config check {path}` says why")
    wanted = _added(path, before or {}, name, entry, profile)
    text = ""
    try:
        if path.suffix == ".json":
            text = json.dumps(wanted, indent=2, ensure_ascii=False) + "\n"
            done = True
        else:
            old = path.read_text("utf-8") if before else _comments(path)
            text = _extended(old, name, entry, profile)
            done = yaml.safe_load(text) == wanted and all(one in text for one in _COMMENT.findall(old))
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        done = False
    if not done:  # for example, the list of models is an alias of another profile's
        shown = json.dumps({name: dict(entry)})
        raise ConfigurationError(
            f"{path}: the file has a form that cannot be extended; add this to its models: {shown}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _has_sections(before: Any, profile: str) -> bool:
    """Whether a file's content has the shape of a catalog, as far as it is extended."""
    if not isinstance(before, dict):
        return False
    sections = cast(dict[str, Any], before)
    models: Any = sections.get("models") or {}
    profiles: Any = sections.get("profiles") or {}
    if not (isinstance(models, dict) and isinstance(profiles, dict)):
        return False
    one: Any = cast(dict[str, Any], profiles).get(profile) or {"models": []}
    return isinstance(one, dict) and isinstance(cast(dict[str, Any], one).get("models"), list)


def _added(path: Path, before: Any, name: str, entry: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """What the file must contain afterwards."""
    models: dict[str, Any] = before.get("models") or {}
    profiles: dict[str, Any] = before.get("profiles") or {}
    if models.get(name, entry) != entry:
        raise ConfigurationError(f"{path}: it has another model {name!r}; choose a name with --name")
    old: dict[str, Any] = profiles.get(profile) or {"models": []}
    served: list[Any] = [*old["models"], *([] if name in old["models"] else [name])]
    return {
        **before,
        "models": {**models, name: dict(entry)},
        "profiles": {**profiles, profile: {**old, "models": served}},
    }


def _comments(path: Path) -> str:
    """What is kept of a file without content."""
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.is_file() else [_HEAD]
    return "".join(line for line in lines if line.lstrip().startswith("#"))


def _extended(text: str, name: str, entry: Mapping[str, Any], profile: str) -> str:
    """The text of a YAML file with the model and the profile."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import YAMLError

    library: Any = YAML(typ="rt")
    library.preserve_quotes, library.width = True, 10_000
    library.explicit_start = text.startswith("---")
    indent, offset = _indentation(text)
    library.indent(mapping=indent, sequence=offset + 2, offset=offset)
    try:
        document: Any = library.load(text) or CommentedMap()
        for section in ("models", "profiles"):
            if not document.get(section):
                document[section] = CommentedMap()
        _put_first(document, "models", name, dict(entry))
        if not document["profiles"].get(profile):
            document["profiles"].pop(profile, None)
            _put_first(document, "profiles", profile, {"models": []})
        _append(document["profiles"][profile]["models"], name)
        written = io.StringIO()
        library.dump(document, written)
    except YAMLError as error:
        raise ValueError(str(error)) from error
    return (text if not document.ca.comment and _is_only_comments(text) else "") + written.getvalue()


def _is_only_comments(text: str) -> bool:
    return all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines())


def _indentation(text: str) -> tuple[int, int]:
    """How far the file indents keys, and the dashes of lists, from the key above."""
    nested = re.search(r"^[\w-]+:[^\n]*\n(?:[ ]*(?:#[^\n]*)?\n)*([ ]+)[^ #\n-]", text, re.MULTILINE)
    dashes = re.search(r"^([ ]*)[\w-]+:[ ]*(?:#[^\n]*)?\n(?:[ ]*(?:#[^\n]*)?\n)*([ ]*)- ", text, re.MULTILINE)
    offset = len(dashes[2]) - len(dashes[1]) if dashes else 0
    return len(nested[1]) if nested else 2, max(offset, 0)


def _put_first(document: Any, name: str, key: str, value: Any) -> None:
    """Adds a key to a section before all others: what follows the last one may be a comment on the next section."""
    section = document[name]
    if key in section:
        return
    first = next(iter(section), None)
    section.insert(0, key, value)
    above = document.ca.items.get(name, [None] * 4)[3]
    if above and first is not None:  # comments on the key that was the first
        document.ca.items[name][3] = None
        if section.ca.comment:
            section.ca.comment[1] = None
        section.ca.items.setdefault(first, [None] * 4)[1] = above


def _append(items: Any, value: str) -> None:
    """Adds an item after all others, and before the comment on what follows the list."""
    if value in items:
        return
    last = len(items) - 1
    items.append(value)
    token = (items.ca.items.get(last) or [None])[0] if hasattr(items, "ca") else None
    if token is not None:
        end_of_line, line_break, below = token.value.partition("\n")
        if below.strip():
            token.value = end_of_line + line_break
            items.ca.items[last + 1] = [type(token)("\n" + below, token.start_mark, None), None, None, None]
