"""`muybridge models`: list, pull, verify and remove model files; load and unload models of a running server."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.commands import pull
from server.commands.arguments import Subparsers, add_settings, read_settings
from server.commands.progress import bars, to_json

if TYPE_CHECKING:
    from adapters.catalog.catalog import Catalog, ModelEntry

FILE_SETTINGS = ("catalog", "profile", "cache-dir", "data-dir")
"""Settings that matter for model files."""
REPLY_S = 600.0


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("models", help="list, pull, verify, remove, load and unload models")
    actions = parser.add_subparsers(dest="action", required=True)
    listing = _add(actions, "list", run_list, "list known models, and which of them are downloaded", names="")
    listing.add_argument("--card", type=float, metavar="GB", help="and which fit a GPU of this size, say 12")
    text = "download models, also by repository (org/name); an interrupted download continues where it stopped"
    pull.add_arguments(_add(actions, "pull", pull.run, text, names="+"))
    _add(actions, "verify", run_verify, "verify the checksums of models' files", names="+")
    _add(actions, "remove", run_remove, "remove models' files", names="+")
    for action, text in (("load", "load a model in a running server"), ("unload", "unload it")):
        remote = actions.add_parser(action, help=text)
        remote.add_argument("name")
        remote.add_argument("--url", default=os.environ.get("MUYBRIDGE_URL", "http://127.0.0.1:8000"))
        remote.add_argument("--key", default=os.environ.get("MUYBRIDGE_ADMIN_KEY"), help="or MUYBRIDGE_ADMIN_KEY")
        if action == "load":
            remote.add_argument("--device", choices=("auto", "cuda", "cpu"), help="where it runs (auto: its entry's)")
            remote.add_argument("--compute-type", help="of weights and arithmetic: float16, int8, ...")
        remote.add_argument("--json", action="store_true")
        remote.set_defaults(run=run_remote)


def _add(
    actions: Subparsers, name: str, run: Callable[[argparse.Namespace], int], text: str, *, names: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text)
    if names:
        parser.add_argument("names", nargs=names, metavar="NAME")
    add_settings(parser, FILE_SETTINGS)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(run=run)
    return parser


def run_list(arguments: argparse.Namespace) -> int:
    """Lists known and downloaded models."""
    from adapters.loader.cache import gigabytes, list_cached
    from adapters.memory.cards import recommended_profile

    catalog, models_dir, served = _catalog_and_models(arguments)
    cached = {model.name: model for model in list_cached(models_dir)}
    gib: float | None = arguments.card
    card = _card(catalog, gib) if gib is not None else None
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys((*catalog.models, *cached)):
        entry, local_copy = catalog.models.get(name), cached.get(name)
        rows.append(
            {
                "id": name,
                "kind": entry.kind if entry else None,
                "license": entry.license if entry else None,
                "served": name in served,
                "unusable": entry.unusable or None if entry else None,
                "cached": local_copy is not None,
                "local": entry is not None and local_copy is None and _located(name, entry, models_dir) is not None,
                "size_bytes": local_copy.size_bytes if local_copy else None,
                "downloaded_at": local_copy.downloaded_at if local_copy else None,
                "last_accessed_at": local_copy.last_accessed_at if local_copy else None,
                "source": local_copy.source if local_copy else None,
                "commit": local_copy.commit if local_copy else None,
            }
            | (card(name) if card else {})
        )
    if arguments.json:
        return to_json(rows)
    from rich.console import Console
    from rich.measure import measure_renderables
    from rich.table import Table

    console = Console()
    more = (f"GiB on {arguments.card:g} GB", "fits", "recommended") if card else ()
    table = Table("model", "kind", "licence", "files", *(more or ("last used",)), box=None)
    for row in rows:
        files = gigabytes(row["size_bytes"]) if row["cached"] else "local" if row["local"] else "-"
        files = "cannot be served" if row["unusable"] else files
        name = f"[bold]{row['id']}[/bold] *" if row["served"] else row["id"]
        last = (
            (_gib(row["needed_bytes"]), _yes(row["fits"]), _yes(row["recommended"]))
            if card
            else (_day(row["last_accessed_at"]),)
        )
        table.add_row(name, row["kind"] or "?", row["license"] or "", files, *last)
    if not console.is_terminal:  # one line per model, for grep
        console.width = measure_renderables(console, console.options.update(max_width=1000), [table]).maximum
    console.print(table, "", f"* served by the profile; models are stored in {models_dir}", soft_wrap=True)
    if gib is not None and (profile := recommended_profile(gib)):
        console.print(f"serve the recommended ones: muybridge serve --profile {profile} (sizes are estimates)")
    return 0


def _card(catalog: "Catalog", gib: float) -> "Callable[[str], dict[str, Any]]":
    """What `models list --card` tells of a model."""
    from adapters.catalog.yaml_lines import ConfigurationError
    from adapters.memory import cards

    if not 1 <= gib <= 1024:
        raise ConfigurationError("--card takes the gigabytes of a GPU, from 1 to 1024")
    machine = cards.machine(gib)
    known = cards.gpu_models(catalog)
    profile = catalog.profiles.get(cards.recommended_profile(gib))
    chosen = profile.models if profile else ()

    def told(name: str) -> dict[str, Any]:
        needed = cards.needs(catalog, (name,), machine)[name] if name in known else None
        fits = cards.fits(catalog, name, machine) if name in known else None
        return {"needed_bytes": needed, "fits": fits, "recommended": name in chosen}

    return told


def _gib(size: int | None) -> str:
    return f"{size / 2**30:.1f}" if size else ""


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "-"


def run_verify(arguments: argparse.Namespace) -> int:
    """Verifies the files of models. The exit status is 1 if any is invalid."""
    from dataclasses import asdict

    from adapters.base import LoadProgress
    from adapters.errors import ModelNotFound
    from adapters.loader.verification import verify

    catalog, models_dir, _ = _catalog_and_models(arguments)
    results: list[dict[str, Any]] = []
    for name in arguments.names:
        path = _located(name, catalog.models.get(name), models_dir)
        if path is None:
            pull.known_entry(catalog, name)
            raise ModelNotFound(
                f"The model {name!r} is not downloaded. Download it with `muybridge models pull {name}`."
            )
        with bars(name, quiet=arguments.json) as report:
            found = verify(
                path,
                lambda done, total, tell=report: tell(
                    LoadProgress("verifying", done / total if total else None, done, total)
                ),
            )
        results.append({"id": name, **asdict(found)})
        if not arguments.json:
            print(f"{name}: {'valid' if found.is_valid else 'NOT VALID'}: {found.message}")
            for problem in found.problems[1:]:
                print(f"  {problem}")
    if arguments.json:
        to_json(results)
    return 0 if all(result["is_valid"] for result in results) else 1


def run_remove(arguments: argparse.Namespace) -> int:
    """Removes the files of models."""
    from adapters.loader.cache import delete, gigabytes

    _, models_dir, _ = _catalog_and_models(arguments)
    removed: list[dict[str, Any]] = []
    for name in arguments.names:
        freed = delete(models_dir, name)
        removed.append({"id": name, "freed_bytes": freed})
        if not arguments.json:
            print(f"{name}: removed, {gigabytes(freed)} freed")
    return to_json(removed) if arguments.json else 0


def run_remote(arguments: argparse.Namespace) -> int:
    """Loads or unloads a model of a running server."""
    import urllib.error
    import urllib.request
    from urllib.parse import quote

    base = arguments.url.rstrip("/").removesuffix("/v1")
    if not base.startswith(("http://", "https://")):
        print(f"muybridge: {arguments.url}: the URL must be http://HOST:PORT", file=sys.stderr)
        return 2
    url = f"{base}/v1/models/{quote(arguments.name)}/{arguments.action}"
    headers = {"Authorization": f"Bearer {arguments.key}"} if arguments.key else {}
    fields = {name: getattr(arguments, name, None) for name in ("device", "compute_type")}
    body = {name: value for name, value in fields.items() if value is not None}
    headers |= {"Content-Type": "application/json"} if body else {}
    data = json.dumps(body).encode() if body else b""
    try:
        request = urllib.request.Request(url, data=data, headers=headers, method="POST")  # noqa: S310 - http(s) only
        with urllib.request.urlopen(request, timeout=REPLY_S) as reply:  # noqa: S310
            model = json.load(reply)
    except urllib.error.HTTPError as error:
        print(f"muybridge: {_message(error.read()) or error}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"muybridge: there is no Muybridge server at {base}: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        return to_json(model)
    print(f"{model['id']}: {model['state']}")
    return 0


def _message(body: bytes) -> str:
    """The message of an error envelope; "" if the body is not one."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _catalog_and_models(arguments: argparse.Namespace) -> "tuple[Catalog, Path, tuple[str, ...]]":
    """The catalog, the directory of model files, and the names of the profile's models."""
    from adapters.catalog.catalog import load_catalog

    settings = read_settings(arguments)
    catalog = load_catalog(*settings.catalogs)
    return catalog, settings.models_dir, catalog.profile(settings.profile).models


def _located(name: str, entry: "ModelEntry | None", models_dir: Path) -> Path | None:
    """The path of a model's files, also when the catalog no longer has the model."""
    from adapters.loader.cache import find_cached
    from adapters.loader.fetch import locate

    if entry is not None and entry.sources:
        return locate(name, entry.sources, models_dir)
    found = find_cached(models_dir, name)
    return found.path if found else None


def _day(timestamp: int | None) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(timestamp)) if timestamp else ""
