"""YAML and JSON files whose every key remembers its line, so that what is wrong with them can be pointed at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

MAX_BYTES = 10_000_000
_PLAIN = {"extra_forbidden": "there is no such key", "missing": "it is missing"}
Key = tuple[int | str, ...]
"""Where a value lies in a file: names of mappings and numbers in lists, from the top."""


class ConfigurationError(Exception):
    """A configuration file is wrong; each line of the message names file, line and key."""


class Misplaced(ValueError):
    """For validators: a value is wrong, and the key at fault lies within what is validated."""

    def __init__(self, message: str, *key: int | str) -> None:
        """The message, and where the fault is."""
        super().__init__(message)
        self.key: Key = key


@dataclass(frozen=True, slots=True)
class Located:
    """A file's content, and the lines of its keys."""

    path: Path
    data: Any
    lines: Mapping[Key, int] = field(default_factory=dict[Key, int])

    def problem(self, key: Sequence[int | str], message: str) -> str:
        """A line for people: `file:line: key: message`."""
        found: Key = ()
        shown: list[str] = []
        for part in key:
            # A union's branch, which pydantic puts into the key, is no key of the file; a missing key is not either.
            if (*found, part) in self.lines:
                found = (*found, part)
                shown.append(str(part))
        if key and (not found or key[-1] != found[-1]) and str(key[-1]).isidentifier():
            shown.append(str(key[-1]))
        line = self.lines.get(found)
        where = f"{self.path}{f':{line}' if line else ''}: {'.'.join(shown) + ': ' if shown else ''}"
        # A name of the file's may hold a line break, and this is one line.
        return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in where + message)

    def error(self, error: ValidationError, prefix: Key = ()) -> ConfigurationError:
        """What pydantic found wrong with the value at `prefix`, a line for each fault."""
        problems: list[str] = []
        for one in error.errors(include_url=False, include_input=False):
            cause = one.get("ctx", {}).get("error")
            key = (*prefix, *one["loc"], *(cause.key if isinstance(cause, Misplaced) else ()))
            message = (
                str(cause) if cause else "there is no such key" if one["type"] == "extra_forbidden" else one["msg"]
            )
            problems.append(self.problem(key, "it is missing" if one["type"] == "missing" else message))
        return ConfigurationError("\n".join(dict.fromkeys(problems)))


def read_located(path: Path) -> Located:
    """A YAML or JSON file's content; JSON is read as the YAML that it is.

    Raises:
        ConfigurationError: It cannot be read, is no YAML, has a key twice, or holds itself.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError(f"{path}: the file has more than {MAX_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: byte {error.start} is not UTF-8") from None
    lines: dict[Key, int] = {}
    loader: Any = None
    try:
        loader = yaml.SafeLoader(text)
        node: Any = loader.get_single_node()
        _mark(path, node, (), lines, ())
        return Located(path, loader.construct_document(node) if node is not None else None, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigurationError(f"{path}{f':{mark.line + 1}' if mark else ''}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # a control character; a date that there is not
        raise ConfigurationError(f"{path}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: it is nested too deeply") from None
    finally:
        if loader is not None:
            loader.dispose()


def _mark(path: Path, node: Any, key: Key, lines: dict[Key, int], above: tuple[int, ...]) -> None:
    """Notes the line of each key below a node."""
    if id(node) in above:
        raise ConfigurationError(f"{path}:{node.start_mark.line + 1}: an alias refers to what it is part of")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[*key, index] = item.start_mark.line + 1
            _mark(path, item, (*key, index), lines, (*above, id(node)))
    elif isinstance(node, yaml.MappingNode):
        for name, item in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                raise ConfigurationError(f"{path}:{line}: a key must be a name")
            if (*key, name.value) in lines:
                dotted = ".".join(map(str, (*key, name.value)))
                raise ConfigurationError(
                    f"{path}:{line}: {dotted}: the key is there already, in line {lines[*key, name.value]}"
                )
            lines[*key, name.value] = line
            _mark(path, item, (*key, name.value), lines, (*above, id(node)))
