"""The table of settings in docs/configuration.md, generated from server/settings.py.

python scripts/settings_table.py            # rewrites the table
python scripts/settings_table.py --check    # exits 1 if the table is stale
"""

import ast
import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any

from server.settings import Settings


def descriptions() -> dict[str, str]:
    """The first sentence of each setting's docstring."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(Settings))).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            words = " ".join(str(text.value.value).split())
            found[field.target.id] = words.split(". ")[0].rstrip(".")
    return found


def shown(value: Any) -> str:
    """A default as the table writes it."""
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int) and value >= 2**20 and value % 2**20 == 0:
        return f"{value // 2**30} GiB" if value % 2**30 == 0 else f"{value // 2**20} MiB"
    if isinstance(value, float) and value % 3600 == 0:
        return f"`{value:.0f}` ({value / 3600:.0f} h)"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def table() -> str:
    """The table in Markdown.

    Raises:
        SystemExit: A setting has no docstring.
    """
    described = descriptions()
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if name not in described:
            raise SystemExit(f"server/settings.py: {name} has no docstring")
        rows.append(f"| `{name}` | {shown(field.default)} | {described[name]} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    from generated_table import main

    sys.exit(main(Path(__file__).name, __doc__ or "", "configuration.md", "settings", table))
