"""YAML and JSON files with the line of each key, for error messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

MAX_BYTES = 10_000_000
_PLAIN = {"extra_forbidden": "there is no such key", "missing": "it is missing"}
Key = tuple[int | str, ...]
"""The path of a value in a file: keys of mappings and indices of lists, from the top."""


class ConfigurationError(Exception):
    """A configuration file is not valid; each line of the message has file, line and key."""


class KeyProblem(ValueError):
    """For validators: a problem at a key within the validated value."""

    def __init__(self, message: str, *key: int | str) -> None:
        """Takes the message and the key, relative to the validated value."""
        super().__init__(message)
        self.key: Key = key


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """A file's content, and the line of each key."""

    path: Path
    data: Any
    lines: Mapping[Key, int] = field(default_factory=dict[Key, int])

    def problem(self, key: Sequence[int | str], message: str) -> str:
        """A problem as one line: `file:line: key: message`."""
        found: Key = ()
        shown: list[str] = []
        for part in key:
            # pydantic adds the branch of a union, which is not a key of the file; nor is a missing key.
            if (*found, part) in self.lines:
                found = (*found, part)
                shown.append(str(part))
        if key and (not found or key[-1] != found[-1]) and str(key[-1]).isidentifier():
            shown.append(str(key[-1]))
        line = self.lines.get(found)
        where = f"{self.path}{f':{line}' if line else ''}: {'.'.join(shown) + ': ' if shown else ''}"
        # A key of the file may contain a line break, and this must be one line.
        return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in where + message)

    def error(self, error: ValidationError, prefix: Key = ()) -> ConfigurationError:
        """The problems that pydantic found in the value at `prefix`, one line each."""
        problems = [self.explain(one, prefix) for one in error.errors(include_url=False, include_input=False)]
        return ConfigurationError("\n".join(dict.fromkeys(problems)))

    def explain(self, found: Mapping[str, Any], prefix: Key = ()) -> str:
        """One of the errors that pydantic found in the value at `prefix`, as one line."""
        cause = found.get("ctx", {}).get("error")
        key = (*prefix, *found["loc"], *(cause.key if isinstance(cause, KeyProblem) else ()))
        return self.problem(key, str(cause) if cause else _PLAIN.get(found["type"]) or str(found["msg"]))


def read_located(path: Path) -> LocatedFile:
    """Reads a YAML or JSON file; JSON is a subset of YAML.

    Raises:
        ConfigurationError: It cannot be read, is not YAML, or has a duplicate key or a recursive alias.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError(f"{path}: the file is larger than {MAX_BYTES:,} bytes")
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
        _record_lines(path, node, (), lines, ())
        return LocatedFile(path, loader.construct_document(node) if node is not None else None, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigurationError(f"{path}{f':{mark.line + 1}' if mark else ''}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # a control character, or an invalid date
        raise ConfigurationError(f"{path}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: it is nested too deeply") from None
    finally:
        if loader is not None:
            loader.dispose()


def _record_lines(path: Path, node: Any, key: Key, lines: dict[Key, int], above: tuple[int, ...]) -> None:
    """Records the line of each key below a node."""
    if id(node) in above:
        raise ConfigurationError(f"{path}:{node.start_mark.line + 1}: an alias refers to a value that contains it")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[*key, index] = item.start_mark.line + 1
            _record_lines(path, item, (*key, index), lines, (*above, id(node)))
    elif isinstance(node, yaml.MappingNode):
        for name, item in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                raise ConfigurationError(f"{path}:{line}: a key must be a string")
            if (*key, name.value) in lines:
                dotted = ".".join(map(str, (*key, name.value)))
                raise ConfigurationError(
                    f"{path}:{line}: {dotted}: duplicate key; the first is in line {lines[*key, name.value]}"
                )
            lines[*key, name.value] = line
            _record_lines(path, item, (*key, name.value), lines, (*above, id(node)))
