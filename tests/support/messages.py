"""The file with all messages that clients can see, and what fills it: `tests/data/messages.txt`."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from adapters import errors

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "data" / "messages.txt"
WRITE = "MUYBRIDGE_WRITE_MESSAGES"
INTRODUCTION = f"""\
All error messages that clients can see. Written by the tests that check it; after a change of messages, run
    {WRITE}=1 python -m pytest tests/compat/test_messages.py
and read the difference.
"""
# Where the message stands among the arguments of a call that makes an error.
_MESSAGE_AT = {"RequestError": 0, "invalid": 1, "ValueError": 0, **{one.__name__: 0 for one in errors.leaves()}}


def check_section(title: str, lines: list[str]) -> None:
    """Compares a section of the file with what it should contain; replaces it instead where `WRITE` is set."""
    sections = _read()
    if os.environ.get(WRITE):
        sections[title] = lines
        text = "".join(
            f"\n## {name}\n\n" + "".join(f"{line}\n" for line in sections[name]) for name in sorted(sections)
        )
        FILE.write_text(INTRODUCTION + text)
    assert sections.get(title) == lines, f"tests/data/messages.txt is out of date: run with {WRITE}=1"


def _read() -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    if FILE.exists():
        for section in FILE.read_text().split("\n## ")[1:]:
            title, _, body = section.partition("\n\n")
            sections[title] = body.rstrip("\n").split("\n")
    return sections


def literals(folder: str) -> list[str]:
    """One line for each error that a module of a folder makes: the module, what makes it, and the message."""
    return sorted(
        {
            f"{path.relative_to(ROOT)} {line}"
            for path in (ROOT / folder).rglob("*.py")
            for line in _made(ast.parse(path.read_text()), only_requests=folder != "compat")
        }
    )


def _made(tree: ast.Module, *, only_requests: bool) -> Iterator[str]:
    """Errors of a module. Outside `compat/`, where validators raise it, a `ValueError` is nothing that clients see."""
    local: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            local.setdefault(node.targets[0].id, []).append(node.value)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name not in _MESSAGE_AT or (only_requests and name == "ValueError"):
            continue
        given = next((one.value for one in node.keywords if one.arg in ("message", "reason")), None)
        if given is None and len(node.args) > _MESSAGE_AT[name]:
            given = node.args[_MESSAGE_AT[name]]
        if given is not None:
            for value in _values(given, local):
                yield f"{name}: {value}"


def _values(node: ast.expr, local: dict[str, list[ast.expr]]) -> Iterator[str]:
    """The texts that an expression can have; what is not literal is shown as `{expression}`."""
    match node:
        case ast.IfExp():
            yield from _values(node.body, local)
            yield from _values(node.orelse, local)
        case ast.Name() if any(
            isinstance(one, ast.Constant | ast.JoinedStr | ast.IfExp) for one in local.get(node.id, ())
        ):
            for one in local[node.id]:
                if isinstance(one, ast.Constant | ast.JoinedStr | ast.IfExp):
                    yield from _values(one, {})
        case ast.Constant():
            yield str(node.value)
        case ast.JoinedStr():
            yield "".join(
                str(one.value) if isinstance(one, ast.Constant) else ast.unparse(one).strip("f'\"")
                for one in node.values
            )
        case _:
            yield f"{{{ast.unparse(node)}}}"
