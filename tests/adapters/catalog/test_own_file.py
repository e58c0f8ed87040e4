"""Adding a model to the operator's catalog file: the rest of the file stays as it was."""

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
    assert load_catalog(path).profile("mine").models[-1] == "c"


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
