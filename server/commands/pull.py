"""`muybridge models pull`: downloads models of the catalog, and any other model by its repository on a model hub."""

import argparse
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from server.commands.arguments import read_catalog_to_extend
from server.commands.progress import bars, to_json

if TYPE_CHECKING:
    from adapters.catalog.catalog import Catalog, ModelEntry
    from adapters.catalog.sources import HubSource
    from adapters.loader.repository import Repository
    from server.settings import Settings

PROFILE = "mine"
"""The profile that serves pulled models, unless the configured one is in the operator's catalog."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what only this command takes."""
    parser.add_argument("--name", help="of a repository's model, for requests; default: from the repository's name")
    parser.add_argument("--revision", help="of a repository: a commit, tag or branch; default: its newest commit")
    parser.add_argument("--yes", action="store_true", help="do not ask before a repository is downloaded")
    parser.add_argument("--dry-run", action="store_true", help="show what would be downloaded, and write nothing")


def run(arguments: argparse.Namespace) -> int:
    """Downloads models.

    Raises:
        ConfigurationError: An argument does not fit.
        AdapterError: A model is unknown, cannot be served, or cannot be downloaded.
    """
    import asyncio

    from adapters.catalog.yaml_lines import ConfigurationError
    from adapters.loader import fetch

    settings, catalog = read_catalog_to_extend(arguments)
    repositories = [name for name in arguments.names if _is_repository(name, catalog)]
    if (arguments.name or arguments.revision) and len(arguments.names) != 1:
        raise ConfigurationError("--name and --revision are for one repository; pull the others separately")
    if (arguments.name or arguments.revision) and not repositories:
        raise ConfigurationError("--name and --revision are for repositories, as org/name")
    pulled: list[dict[str, Any]] = []
    for given in arguments.names:
        if given in repositories:
            pulled += _pull_repository(given, arguments, settings, catalog)
            continue
        entry = known_entry(catalog, given)
        if arguments.dry_run:
            pulled.append({"id": given, "sources": [str(source) for source in entry.sources]})
            _say(arguments, f"{given}: would be downloaded from {' or '.join(map(str, entry.sources))}")
            continue
        with bars(given, quiet=arguments.json) as report:
            path = asyncio.run(fetch.fetch_entry(given, entry, settings.models_dir, report, to_load=False))
        pulled.append({"id": given, "path": str(path)})
        _say(arguments, f"{given}: {path}")
    return to_json(pulled) if arguments.json else 0


def _is_repository(name: str, catalog: "Catalog") -> bool:
    return name not in catalog.models and ("/" in name or name.startswith("hf:"))


def _pull_repository(
    given: str, arguments: argparse.Namespace, settings: "Settings", catalog: "Catalog"
) -> list[dict[str, Any]]:
    """Downloads a repository's model and adds it to the operator's catalog. Nothing is added if it cannot be served."""
    import asyncio

    from adapters.catalog.catalog import ModelEntry
    from adapters.catalog.own_file import add_model
    from adapters.catalog.yaml_lines import ConfigurationError
    from adapters.loader import fetch, repository
    from adapters.loader.cache import directory_of, partial_download
    from adapters.loader.hub_plan import unfinished_commit

    source = parsed_source(given, arguments.revision)
    known = next((name for name, one in catalog.models.items() if _has(one, source)), None)
    name: str = arguments.name or known or default_name(source)
    taken = catalog.models.get(name)
    if taken is not None and not _has(taken, source):
        raise ConfigurationError(f"there is another model {name!r} in the catalog; choose a name with --name")
    if taken is not None:
        entry, found = taken, None
    else:
        work = partial_download(directory_of(settings.models_dir, name), "hub")
        if source.revision is None and (commit := unfinished_commit(work, source.repo)):
            source = source.model_copy(update={"revision": commit})
        found = asyncio.run(repository.inspect(source))
        entry = ModelEntry.model_validate(written_entry(found))
        _say(arguments, describe(name, found))
    told = {"id": name} | (summary(found) if found else {})
    if arguments.dry_run:
        return [told]
    if found and not (arguments.yes or arguments.json) and sys.stdin.isatty() and not _confirmed():
        return []
    with bars(name, quiet=arguments.json) as report:
        path = asyncio.run(fetch.fetch_entry(name, entry, settings.models_dir, report, to_load=False))
    _say(arguments, f"{name}: {path}")
    if found:
        own = settings.own_catalog
        profile = settings.profile if _names_profile(own, settings.profile) else PROFILE
        add_model(own, name, written_entry(found), profile)
        _say(arguments, f"added to {own}; serve it with: muybridge serve --profile {profile}")
        told |= {"catalog": str(own), "profile": profile}
    return [told | {"path": str(path)}]


def parsed_source(given: str, revision: str | None) -> "HubSource":
    """The repository that an argument names: `org/name`, `org/name@revision`, `org/name/file.gguf`.

    Raises:
        ConfigurationError: It names none.
    """
    from pydantic import ValidationError

    from adapters.catalog.sources import HubSource, parse_source
    from adapters.catalog.yaml_lines import ConfigurationError

    try:
        source = parse_source(f"hf://{given.removeprefix('hf://')}")
        if revision and isinstance(source, HubSource):
            source = parse_source(str(source.model_copy(update={"revision": revision})))
        if isinstance(source, HubSource):
            return source
        raise ValueError("write org/name")
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
    except ValueError as error:
        why = str(error)
    shown = given if given.isprintable() else ascii(given)
    raise ConfigurationError(f"{shown[:120]}: {why}")


def _names_profile(own: Path, profile: str) -> bool:
    """Whether the operator's own file has this profile."""
    from adapters.catalog.yaml_lines import read_located

    data: dict[str, Any] = (read_located(own).data if own.is_file() else None) or {}
    profiles: dict[str, Any] = data.get("profiles") or {}
    return profile in profiles


def known_entry(catalog: "Catalog", name: str) -> "ModelEntry":
    """A model of the catalog that has files.

    Raises:
        AdapterError: There is no such model, it has no files, or it cannot be loaded.
    """
    from adapters.errors import ModelLoadFailed, ModelNotFound

    entry = catalog.models.get(name)
    if entry is None:
        raise ModelNotFound(f"There is no model {name!r} in the catalog. List all models with `muybridge models list`.")
    if not entry.sources:
        raise ModelNotFound(f"The model {name!r} has no files to download or verify.")
    if entry.unusable:
        raise ModelLoadFailed(f"The model {name!r} cannot be loaded here: {entry.unusable}.")
    return entry


def _has(entry: "ModelEntry", source: "HubSource") -> bool:
    """Whether a catalog entry is of this repository, and at this revision if one is asked for."""
    return any(
        getattr(one, "repo", None) == source.repo
        and getattr(one, "file", None) == source.file
        and source.revision in (None, getattr(one, "revision", None))
        for one in entry.sources
    )


def default_name(source: "HubSource") -> str:
    """The name of a repository's model: the repository's or the file's, in small letters."""
    return (PurePosixPath(source.file).stem if source.file else source.repo.rpartition("/")[2]).lower()


def written_entry(found: "Repository") -> dict[str, Any]:
    """The catalog entry of a repository's model, as it is written in a file."""
    entry: dict[str, Any] = {"kind": found.kind, "backend": found.backend}
    if found.license:
        entry["license"] = found.license[:100]
    entry["description"] = f"{found.source.repo} of the model hub."
    entry["sources"] = [str(found.source)]
    if found.options:
        entry["options"] = dict(found.options)
    if found.source.file is None and found.weights_bytes:
        entry["weights_bytes"] = found.weights_bytes
    return entry


def summary(found: "Repository") -> dict[str, Any]:
    """What is known of a model before its download."""
    from adapters.catalog.catalog import ModelEntry
    from adapters.memory.estimate import estimate_entry

    needed = estimate_entry(ModelEntry.model_validate(written_entry(found)), configs=found.configs)
    return {
        "source": str(found.source),
        "kind": found.kind,
        "backend": found.backend,
        "license": found.license,
        "files": found.files,
        "download_bytes": found.download_bytes,
        "estimated_memory_bytes": needed or None,
    }


def describe(name: str, found: "Repository") -> str:
    """The same for people."""
    from adapters.loader.cache import gigabytes

    needed = summary(found)["estimated_memory_bytes"]
    memory = f"about {needed / 2**30:.1f} GiB of memory" if needed else "memory unknown until then"
    return (
        f"{name}: {found.source}\n"
        f"  kind {found.kind}, backend {found.backend}, licence: {found.license or 'not named in its model card'}\n"
        f"  {found.files} files, {gigabytes(found.download_bytes)} to download, {memory}"
    )


def _confirmed() -> bool:
    return input("Download it? [Y/n] ").strip().lower() in ("", "y", "yes")


def _say(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.json:
        print(text)
