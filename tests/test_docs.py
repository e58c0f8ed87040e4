"""The pages: their width, their tables, their links, the generated table of settings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.pages import PAGES, ROOT, SPECIFICATION, anchors, blocks, prose

WIDTH = 100
"""Columns of a line, and characters of a table's cell."""
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NOT_WRAPPED = re.compile(r"\||!\[|\s*[-*>]?\s*\S+$")
"""Tables, images, and lines of one word (a long link)."""


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_lines_and_cells_are_short(page: Path) -> None:
    long = [
        f"{page_id(page)}:{number}: {len(line)} columns"
        for number, line in prose(page)
        if len(line) > WIDTH and not NOT_WRAPPED.match(line)
    ]
    for number, line in prose(page):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)] if line.startswith("|") else []
        shown = (LINK.sub(lambda link: link[0].partition("]")[0], cell) for cell in cells)
        long += [f"{page_id(page)}:{number}: a cell of {len(cell)}" for cell in shown if len(cell) > WIDTH]
    long += [
        f"{page_id(page)}:{number}: code of {len(line)} columns"
        for block in blocks(page)
        for number, line in enumerate(block.code.splitlines(), block.line)
        if len(line) > WIDTH
    ]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    text = "\n".join(line for _, line in prose(page))
    broken: list[str] = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
            broken.append(target)
    assert not broken, f"{page_id(page)}: {broken}"


def test_the_index_lists_every_page() -> None:
    folder = ROOT / "docs"
    linked = {
        (index.parent / target.partition("#")[0]).resolve()
        for index in (folder / "README.md", folder / "measurements" / "README.md")
        for target in LINK.findall(index.read_text("utf-8"))
    }
    wanted = {*folder.glob("*.md"), *(folder / "measurements").glob("*.md")} - {folder / "README.md"}
    assert {page.name for page in wanted - linked} == set()
    assert SPECIFICATION in linked


def test_the_table_of_settings_is_fresh() -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/settings_table.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_promise_1_to_45_are_kept_by_tests_with_their_numbers() -> None:
    """What docs/promises.md calls kept, or kept in its first form, has a test; and every promise is in its table."""
    stated: dict[int, str] = {}
    for numbers, state in re.findall(
        r"^\| ([\d, ]+) \|.*\| ([^|]*) \|$", (ROOT / "docs/promises.md").read_text(), re.M
    ):
        stated.update((int(number), str(state)) for number in numbers.split(", "))
    assert sorted(stated) == list(range(1, 46))
    tested: set[int] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r"def test_promise_((?:\d+_(?:and_)?)+)", path.read_text("utf-8")):
            tested.update(map(int, re.findall(r"\d+", name)))
    untested = [number for number, state in stated.items() if number not in tested and state != "open"]
    assert untested == []
