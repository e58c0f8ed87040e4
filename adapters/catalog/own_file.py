"""Adds a model to the operator's catalog file, and keeps the rest of the file as it is, comments included."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from adapters.catalog.model_config import write_text
from adapters.catalog.yaml_lines import ConfigurationError, read_located


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
    text = path.read_text("utf-8") if path.is_file() else _HEAD
    if not _has_sections(before or {}, profile):
        raise ConfigurationError(f"{path}: it is no catalog; `muybridge config check {path}` says why")
    wanted = _added(path, before or {}, name, entry, profile)
    try:
        for keys, key, value in _missing(before or {}, name, entry, profile):
            text = _inserted(text, keys, key, value, as_json=path.suffix == ".json")
        done = yaml.safe_load(text) == wanted
    except (yaml.YAMLError, StopIteration, ValueError, TypeError, AttributeError, IndexError):
        done = False
    if not done:
        shown = json.dumps({name: dict(entry)})
        raise ConfigurationError(
            f"{path}: the file has a form that cannot be extended; add this to its models: {shown}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


_HEAD = "# Models of your own, added to the built-in ones (docs/configuration.md).\n"


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


def _missing(
    before: Any, name: str, entry: Mapping[str, Any], profile: str
) -> list[tuple[tuple[str, ...], str | None, Any]]:
    """What must be inserted: (keys of the collection, key of the new value or None for a list's item, the value)."""
    changes: list[tuple[tuple[str, ...], str | None, Any]] = []
    models, profiles = before.get("models"), before.get("profiles")
    if not models:
        changes.append(((), "models", {name: dict(entry)}))
    elif name not in models:
        changes.append((("models",), name, dict(entry)))
    if not profiles:
        changes.append(((), "profiles", {profile: {"models": [name]}}))
    elif not profiles.get(profile):
        changes.append((("profiles",), profile, {"models": [name]}))
    elif name not in profiles[profile]["models"]:
        changes.append((("profiles", profile, "models"), None, name))
    return changes


def _inserted(text: str, keys: tuple[str, ...], key: str | None, value: Any, *, as_json: bool) -> str:
    """The text with one more value in a collection: the first of a mapping, or the last of a list."""
    library: Any = yaml  # its types are incomplete
    node: Any = library.compose(text, yaml.SafeLoader)
    first_line = 0
    for step in keys:
        children: list[tuple[Any, Any]] = node.value
        at = next(number for number, (name, _) in enumerate(children) if name.value == step)
        first_line, node = int(children[at][0].end_mark.line) + 1, children[at][1]
    lines = text.splitlines(keepends=True)
    if node is None or (not keys and not node.value):  # an empty file, or `{}`
        assert key is not None
        comments = "".join(line for line in lines if line.lstrip().startswith("#"))
        return json.dumps({key: value}, indent=2) + "\n" if as_json else comments + _block({key: value}, 0)
    if node.flow_style:
        end = node.end_mark.index - 1
        more = json.dumps(value) if key is None else f"{json.dumps(key)}: {json.dumps(value)}"
        if key is None:
            before = text[:end].rstrip()
            comma = ", " if node.value and not before.endswith(",") else ""
            return before + comma + more + text[len(before) :]
        start = node.start_mark.index + 1
        return text[:start] + more + (", " if node.value else "") + text[start:]
    if not keys:  # A new section at the end; one that is empty (`models:`) is replaced.
        kept = [line for line in lines if line.split("#")[0].rstrip() not in (f"{key}:", f"{key}: {{}}")]
        body = "".join(kept)
        return body + ("" if body.endswith("\n") else "\n") + _block({cast(str, key): value}, 0)
    if key is None:
        last = node.value[-1]
        at = int(last.end_mark.line) + 1
        if at > len(lines) or not lines[at - 1].endswith("\n"):
            lines[-1] += "\n"
        lines.insert(at, f"{' ' * node.start_mark.column}- {json.dumps(value)}\n")
        return "".join(lines)
    lines.insert(first_line, _block({key: value}, node.start_mark.column))
    return "".join(lines)


def _block(value: Mapping[str, Any], column: int) -> str:
    """A mapping in YAML's block style, indented."""
    written = yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=10_000)
    return "".join(" " * column + line for line in written.splitlines(keepends=True))
