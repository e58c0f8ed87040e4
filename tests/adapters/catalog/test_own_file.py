"""Adding a model to the operator's catalog file: the rest of the file stays as it was."""

import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.catalog.catalog import load_catalog
from adapters.catalog.own_file import add_model
from adapters.catalog.yaml_lines import ConfigurationError

ENTRY = {"kind": "text", "backend": "fake-text", "options": {"supports_images": False}}
FILES = {
    "nothing": None,
    "empty": "",
    "comment": "# hi\n",
    "braces": "{}\n",
    "block": "# top\nmodels:\n  # about a\n  a: {kind: text, backend: fake-text}  # x\nprofiles:\n  mine:\n"
    "    models:\n      - a  # first\n      # last\n  other: {models: [a]}\n",
    "headers": "---\n# top\nmodels:\n  # about a\n  a: {kind: text, backend: fake-text}\n\n# --- profiles\nprofiles:\n"
    "  mine:\n    models:\n    - a  # first\n  # the other one\n  other:\n    models: ['a']\n\n  # the end\n",
    "anchors": "x-common: &c {kind: text, backend: fake-text}\nmodels:\n  a: *c\n  d:\n    <<: *c\n"
    "    sources: ['x']\nprofiles:\n  mine: {models: [a], aliases: {\"gpt-4o\": a}}\n",
    "flow": "models: {a: {kind: text, backend: fake-text}}\nprofiles: {mine: {models: [a]}}  # end\n",
    "no line break": "models:\n  a: {kind: text, backend: fake-text}\nprofiles:\n  mine:\n    models:\n    - a",
    "empty sections": "# x\nmodels:\nprofiles: {}\n",
    "wide": "models:\n    a:\n        kind: text\n        backend: fake-text\n\n\n# end\n",
    "comma": "models:\n  a: {kind: text, backend: fake-text}\nprofiles:\n  mine:\n    models: [a,\n      ]\n"
    "    aliases: {gpt-4o: a}\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_model_is_added_and_comments_stay(name: str, tmp_path: Path) -> None:
    path, before = tmp_path / "c.yaml", FILES[name]
    if before is not None:
        path.write_text(before)
    old = yaml.safe_load(before or "") or {}
    for model in ("b", "c", "c"):
        add_model(path, model, ENTRY, "mine")
    text = path.read_text()
    assert [line for line in (before or "").splitlines() if "#" in line and line not in text.splitlines()] in (
        [], ["profiles: {mine: {models: [a]}}  # end"],
    )  # fmt: skip
    new = yaml.safe_load(text)
    assert new["models"] == {**(old.get("models") or {}), "b": ENTRY, "c": ENTRY}
    assert new["profiles"]["mine"]["models"][-2:] == ["b", "c"]
    assert "x-common" in old or load_catalog(path).profile("mine").models[-1] == "c"
    kept = iter(text.splitlines())  # all lines of the file are still there, in this order
    if name not in ("flow", "comma", "empty sections", "braces", "anchors"):
        assert all(line in kept for line in (before or "").splitlines() if line.strip())


@pytest.mark.parametrize("name", ["block", "headers", "wide"])
def test_a_comment_stays_above_what_it_is_about(name: str, tmp_path: Path) -> None:
    path, before = tmp_path / "c.yaml", FILES[name]
    assert before is not None
    path.write_text(before)
    add_model(path, "b", ENTRY, "mine")
    add_model(path, "b", ENTRY, "new")

    def below(text: str) -> dict[str, str]:
        lines = [line for line in text.splitlines() if line.strip()]
        return {one: next_ for one, next_ in pairwise(lines) if one.lstrip().startswith("#")}

    assert {comment: line for comment, line in below(before).items() if "last" not in comment}.items() <= below(
        path.read_text()
    ).items()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models:\n  a: {}\n  a: {}\n", "duplicate key; the first is in line 2"),
        ("models:\n\ta: {}\n", "cannot start any token"),
        ("models: &m\n  a: *m\n", "an alias refers to a value that contains it"),
        ("models:\n  a: *nowhere\n", "undefined alias"),
        ("models: !!python/object/apply:os.system [echo]\n", "could not determine a constructor"),
        ("a: 1\n---\nb: 2\n", "but found another document"),
        ("models: [a]\n", "it is no catalog"),
        ("models: {}\nprofiles: {mine: {models: a}}\n", "it is no catalog"),
        ("just text\n", "it is no catalog"),
        ("profiles:\n  one: {models: &m [a]}\n  mine: {models: *m}\n", "a form that cannot be extended"),
        ("? [a, b]\n: c\n", "a key must be a string"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("%YAML 9.9\n---\na: b\n", "incompatible YAML document"),
        (b"models: \xff\xfe\n", "is not UTF-8"),
        (b"models: {a: \x00}\n", "special characters are not allowed"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "is not UTF-8"),
        (b"# " + b"x" * 10_000_001, "the file is larger than 10,000,000 bytes"),
    ],
)
def test_promise_30_a_hostile_file_is_left_alone(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=message):
        add_model(path, "m", ENTRY, "mine")
    assert path.read_bytes() == before


def test_promise_30_many_aliases_are_not_multiplied(tmp_path: Path) -> None:
    """Ten levels of ten aliases are 10 kB, and a billion values."""
    lines = ["x0: &x0 [a, a, a, a, a, a, a, a, a, a]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 6)]
    path = tmp_path / "c.yaml"
    path.write_text("\n".join([*lines, "models:", "  a: {kind: text, backend: fake-text}", ""]))
    started = time.monotonic()
    try:
        add_model(path, "m", ENTRY, "mine")
    except ConfigurationError:
        pass
    else:
        assert path.stat().st_size < 5000
    assert time.monotonic() - started < 30


def test_a_large_file_is_extended(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    models = "".join(f"  a{n}: {{kind: text, backend: fake-text}}  # {n}\n" for n in range(1000))
    path.write_text(f"models:\n{models}")
    add_model(path, "m", ENTRY, "mine")
    assert models in path.read_text()


def test_a_json_file_stays_json(tmp_path: Path) -> None:
    import json

    path = tmp_path / "c.json"
    path.write_text('{"models": {"a": {"kind": "text", "backend": "fake-text"}}}')
    add_model(path, "b", ENTRY, "mine")
    assert json.loads(path.read_text())["profiles"] == {"mine": {"models": ["b"]}}
    (tmp_path / "e.json").write_text("{}")
    add_model(tmp_path / "e.json", "b", ENTRY, "mine")
    assert json.loads((tmp_path / "e.json").read_text())["models"] == {"b": ENTRY}


def test_another_model_of_that_name_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("models:\n  b: {kind: text, backend: vllm, sources: [x]}\n")
    before = path.read_text()
    with pytest.raises(ConfigurationError, match="it has another model 'b'; choose a name with --name"):
        add_model(path, "b", ENTRY, "mine")
    assert path.read_text() == before


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="ab:-{}[],# \n\t'\"&*!|>", max_size=60))
def test_promise_30_a_file_of_any_form_is_extended_or_left_alone(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_text(text)
        try:
            add_model(path, "m", ENTRY, "mine")
        except ConfigurationError:
            assert path.read_text() == text
        else:
            assert yaml.safe_load(path.read_text())["models"]["m"] == ENTRY
