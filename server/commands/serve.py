"""`muybridge serve`."""

import argparse
import gc
import os
import resource
from typing import TYPE_CHECKING

from server.commands.arguments import Subparsers, add_settings, read_catalog, read_settings

if TYPE_CHECKING:
    from server.settings import Settings


GC_THRESHOLDS = (10_000, 3, 30)
"""New objects before Python's garbage collector runs. At Python's default of 700, a few concurrent requests trigger it
all the time without any garbage, which is a tenth of the cost of a short answer. Of its young generations it looks at
40,000 objects at most, which takes 10 ms; while it runs, nothing else does."""


DESCRIPTORS = 65_536


def register(subparsers: Subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("serve", help="serve the models of a profile")
    add_settings(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serves until a signal stops it."""
    import uvloop

    from adapters.process import compile_caches
    from adapters.process.memory_usage import keep_one_heap
    from server.http.metrics import configure_logs

    keep_one_heap()
    raise_descriptor_limit()
    gc.set_threshold(*GC_THRESHOLDS)
    settings = read_settings(arguments)
    os.environ["PYTHONSAFEPATH"] = "1"  # vLLM starts `python -m`, which would look into the current directory first
    os.environ["MUYBRIDGE_LOG_LEVEL"] = settings.log_level  # the models' processes use the same level
    os.environ.update(compile_caches.variables(settings.cache_dir))
    configure_logs(settings.log_level, settings.log_format)
    uvloop.run(serve(settings))
    return 0


def raise_descriptor_limit() -> None:
    """Raises the soft limit of open files: each connection is one, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve(settings: "Settings") -> None:
    """Serves the profile's models until a signal stops it.

    Raises:
        ConfigurationError: A port, folder, profile or file of the settings cannot be used.
    """
    from adapters.catalog.catalog import ConfigurationError
    from server.app import create_app, create_pool
    from server.http.drain import Lifecycle
    from server.http.metrics import log
    from server.http.server import bind, listen

    lifecycle = Lifecycle()
    try:
        app = create_app(settings, create_pool(settings, read_catalog(settings)), lifecycle)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or settings.data_dir}: {error.strerror}") from None
    try:
        port = bind(settings)
    except OSError as error:
        raise ConfigurationError(f"{settings.host} port {settings.port}: {error.strerror}") from None
    log.info("serving", url=f"http://{settings.host}:{port.getsockname()[1]}/v1", profile=settings.profile)
    await listen(app, port, settings, lifecycle)
