"""create_app: the only place that assembles the server from its parts."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ASGIApp

from adapters import hardware
from adapters.base import Report
from adapters.catalog.catalog import Catalog, ModelEntry
from adapters.loader import fetch as loader
from adapters.memory.estimate import cache_limit, estimate_entry
from adapters.pool.pool import Pool
from adapters.vision.decomposition import Decompositions
from server.background import running
from server.http.auth import ApiKeyMiddleware
from server.http.bodies import BodyReader
from server.http.drain import DrainMiddleware, Lifecycle
from server.http.errors import to_response
from server.http.fast_routes import FastRoutes
from server.http.metrics import Metrics, RequestMiddleware
from server.http.origins import OriginMiddleware
from server.media.references import ReferenceResolver
from server.models.downloads import DownloadManager
from server.models.files import ModelFilesService
from server.outbound.image_fetcher import ImageFetcher
from server.outbound.webhook_client import WebhookClient
from server.responses.items import ResponseItems
from server.responses.service import ResponseService
from server.responses.store import ResponseStore
from server.routes import (
    audio,
    chat,
    completions,
    configurations,
    decisions,
    embeddings,
    files,
    health,
    images,
    models,
    responses,
    scenes,
    speech,
    videos,
)
from server.services import Services
from server.settings import Settings, is_loopback
from server.storage.artifacts import ArtifactStore
from server.storage.database import Database, default_url
from server.storage.files import FileStore
from server.videos.create import VideoCreator
from server.videos.events import JobEvents
from server.videos.files import JobFiles
from server.videos.queue import JobQueue
from server.videos.service import VideoJobs
from server.videos.store import JobStore
from server.videos.webhooks import WebhookSender

ROUTES = [
    health.live,
    health.ready,
    health.metrics,
    models.page,
    models.cached,
    models.retrieve,
    models.act,
    models.remove,
    configurations.defaults,
    configurations.validate,
    chat.create,
    completions.create,
    responses.create,
    responses.count,
    responses.compact,
    responses.retrieve,
    responses.remove,
    responses.cancel,
    responses.input_items,
    decisions.create,
    files.create,
    files.page,
    files.retrieve,
    files.remove,
    files.content,
    embeddings.create,
    audio.transcribe,
    audio.translate,
    audio.detect_language,
    speech.create,
    images.generate,
    images.edit,
    images.vary,
    images.content,
    videos.create,
    videos.create_sequence,
    videos.create_transition,
    videos.create_extension,
    videos.create_edit,
    videos.create_remix,
    videos.create_character,
    videos.retrieve_character,
    videos.page,
    videos.retrieve,
    videos.remove,
    videos.content,
    scenes.validate,
    scenes.compare,
]


def create_pool(settings: Settings, catalog: Catalog) -> Pool:
    """Creates the pool of the models in the settings' profile. None of them is loaded yet.

    Raises:
        ConfigurationError: The profile does not exist.
    """

    async def fetch(name: str, entry: ModelEntry, report: Report) -> Path:
        if not entry.sources:
            return Path()  # a fake model has no files
        return await loader.fetch_entry(name, entry, settings.models_dir, report)

    budgets = hardware.find().budgets(settings.memory_budget_bytes)
    return Pool(
        catalog.models,
        catalog.profile(settings.profile),
        fetch,
        fallback=settings.model_fallback,
        budgets=budgets,
        estimate=estimate_entry,
        cache_limit=cache_limit,
        grace_s=settings.swap_patience_s,
        idle_ttl_s=settings.idle_ttl_s,
    )


def create_jobs(settings: Settings, pool: Pool, database: Database) -> VideoJobs:
    """Creates the video jobs of a data directory. Their queue has its own SQLite database, or shares PostgreSQL."""
    directory = settings.data_dir / "videos"
    url = f"sqlite:///{directory / 'queue.sqlite'}"
    if settings.database_url is not None and settings.database_url.get_secret_value().startswith("postgresql"):
        url = settings.database_url.get_secret_value()
    store = JobStore(
        database,
        expire_s=settings.expire_s,
        max_unfinished=settings.max_video_jobs,
        max_owner_unfinished=settings.max_video_jobs_per_key,
        record_events=settings.webhook_url is not None,
    )
    events = None if settings.webhook_url is None else JobEvents(database)
    deliver = None if events is None else create_webhooks(settings, events).deliver
    return VideoJobs(
        pool,
        store,
        JobFiles(directory),
        lambda server, run_step: JobQueue(url, server, run_step, deliver),
        events,
        max_owner_bytes=settings.max_video_bytes_per_key,
    )


def create_webhooks(settings: Settings, events: JobEvents) -> WebhookSender:
    """Creates the sender of webhooks to the configured URL."""
    assert settings.webhook_url is not None
    assert settings.webhook_secret is not None
    client = WebhookClient(settings.webhook_url, private=settings.webhook_private)
    return WebhookSender(client, settings.webhook_secret.get_secret_value(), events)


def create_app(settings: Settings, pool: Pool, lifecycle: Lifecycle) -> ASGIApp:
    """Creates the whole server as an ASGI application. All models are unloaded at the end of its lifespan."""
    metrics = Metrics()
    url = settings.database_url
    database = Database(default_url(settings.data_dir) if url is None else url.get_secret_value())
    stored = ResponseStore(
        database,
        expire_s=settings.expire_responses_s,
        max_bytes=settings.max_stored_bytes,
        max_owner_bytes=settings.max_stored_bytes_per_key,
    )
    artifacts = ArtifactStore(settings.data_dir / "artifacts", expire_s=settings.expire_s)
    uploaded = FileStore(
        database,
        settings.data_dir / "files",
        expire_s=settings.expire_files_s,
        max_owner_files=settings.max_files_per_key,
        max_owner_bytes=settings.max_file_bytes_per_key,
    )
    references = ReferenceResolver(uploaded, ImageFetcher() if settings.fetch_images else None)
    bodies = BodyReader(
        settings.data_dir / "uploads",
        max_json_bytes=settings.max_json_bytes,
        max_upload_bytes=settings.max_upload_bytes,
        timeout_s=settings.body_timeout_s,
    )
    jobs = create_jobs(settings, pool, database)
    model_files = ModelFilesService(settings.models_dir, pool)
    response_service = ResponseService(
        pool, stored, ResponseItems(database), references, metrics, max_background=settings.max_background_responses
    )
    lifecycle.is_busy = lambda: response_service.is_busy
    services = Services(
        settings=settings,
        pool=pool,
        bodies=bodies,
        artifacts=artifacts,
        jobs=jobs,
        video_creator=VideoCreator(pool, bodies, jobs, model_files, references),
        responses=response_service,
        database=database,
        metrics=metrics,
        model_files=model_files,
        downloads=DownloadManager(),
        files=uploaded,
        references=references,
        decompositions=Decompositions(),
        started=int(time.time()),
    )

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        async with running(services):
            yield

    routes = Litestar(
        ROUTES,
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "lifecycle": Provide(lambda: lifecycle, sync_to_thread=False),
        },
        state=State({"services": services}),
        exception_handlers={Exception: to_response},
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
    )
    guarded = ApiKeyMiddleware(
        FastRoutes(routes, {"/v1/chat/completions": chat.create}),
        (key.get_secret_value() for key in settings.api_keys),
        (key.get_secret_value() for key in settings.admin_keys),
    )
    gated = OriginMiddleware(
        guarded,
        hosts=(settings.host, *settings.allowed_hosts),
        origins=settings.allowed_origins,
        public=not is_loopback(settings.host),
    )
    return RequestMiddleware(
        DrainMiddleware(gated, lifecycle), metrics, refuse_unknown_fields=settings.unknown_fields == "refuse"
    )
