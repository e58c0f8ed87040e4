"""The word list of CONTRIBUTING.md: no page, comment, docstring or message uses a word of it.

python tests/test_words.py               # everything
python tests/test_words.py docs server   # these folders and files
"""

import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # as a script, and for pre-commit

from support.pages import PAGES, ROOT, prose

CODE = ("server", "compat", "adapters", "examples")
ROW = re.compile(r"^\| (`.+`) \| [^|]+ \|$", re.M)
TEXT_TOKENS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@cache
def words() -> re.Pattern[str]:
    """The words and phrases in the first column of the list, between its two comments."""
    _, _, rest = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("<!-- words -->")
    listed = [
        word for row in ROW.findall(rest.partition("<!-- /words -->")[0]) for word in re.findall("`([^`]+)`", row)
    ]
    assert len(listed) >= 20, "CONTRIBUTING.md has no word list"
    alternatives = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in sorted(listed, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])", re.I)


def texts_of_page(page: Path) -> Iterator[tuple[int, str]]:
    """Prose without code spans, URLs and link targets, and without the word list itself."""
    listed = False
    for number, line in prose(page):
        listed = (listed or "<!-- words -->" in line) and "<!-- /words -->" not in line
        if not listed:
            yield number, re.sub(r"`[^`]*`|\]\([^)]*\)|https?://\S+", " ", line)


def texts_of_code(path: Path) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and string literals, line by line, without code in backticks."""
    source = path.read_text("utf-8")
    if path.suffix != ".py":
        comments = ((number, line.partition("#")[2]) for number, line in enumerate(source.splitlines(), 1))
        yield from ((number, re.sub("`[^`]*`", " ", text)) for number, text in comments)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in TEXT_TOKENS:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, re.sub("`[^`]*`", " ", line)


def hits(path: Path) -> list[str]:
    """Where a file uses a word of the list."""
    texts = texts_of_page(path) if path.suffix == ".md" else texts_of_code(path)
    shown = path.relative_to(ROOT)
    return [f"{shown}:{number}: {found[0]!r}" for number, text in texts for found in words().finditer(text)]


def code_of(folder: Path) -> list[Path]:
    """Python and YAML files of a folder."""
    return sorted(path for suffix in ("py", "yaml") for path in folder.rglob(f"*.{suffix}"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages(page: Path) -> None:
    found = hits(page)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", CODE)
def test_code(folder: str) -> None:
    found = [hit for path in code_of(ROOT / folder) for hit in hits(path)]
    assert not found, "\n".join(found)


def test_the_checker_reads_comments_strings_and_prose(tmp_path: Path) -> None:
    code = '"""Anew."""\nx = 1  # whoever\ny = f"footage {x}"\nfilm = `whence`\n'.replace(
        "film = `whence`", 'z = "`film`"'
    )
    (source := tmp_path / "a.py").write_text(code)
    (page := tmp_path / "a.md").write_text("Done anew.\n\n```\nanew\n```\n`anew` and [a](anew.md)\n")
    found = [word[0] for _, text in texts_of_code(source) for word in words().finditer(text)]
    assert found == ["Anew", "whoever", "footage"]
    assert [number for number, text in texts_of_page(page) if words().search(text)] == [1]


def main(names: list[str]) -> int:
    """Prints every hit, and their number per folder."""
    paths = [ROOT / name for name in names] or [*PAGES, *(ROOT / folder for folder in CODE)]
    files = [
        file
        for path in paths
        for file in (sorted([*code_of(path), *(set(PAGES) & {*path.rglob("*.md")})]) if path.is_dir() else [path])
        if file.suffix != ".md" or file.resolve() in PAGES
    ]
    found = [hit for file in files for hit in hits(file.resolve())]
    print(*found, sep="\n")
    for folder, number in Counter(hit.partition("/")[0].partition(":")[0] for hit in found).items():
        print(f"{folder}: {number}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
