"""The parts of the server that routes use: one object, which Litestar injects into them."""

from dataclasses import dataclass

from adapters.pool.pool import Pool
from adapters.vision.decomposition import Decompositions
from server.http.bodies import BodyReader
from server.http.metrics import Metrics
from server.media.references import ReferenceResolver
from server.models.downloads import DownloadManager
from server.models.files import ModelFilesService
from server.responses.service import ResponseService
from server.settings import Settings
from server.storage.artifacts import ArtifactStore
from server.storage.database import Database
from server.storage.files import FileStore
from server.videos.create import VideoCreator
from server.videos.service import VideoJobs


@dataclass(frozen=True, slots=True)
class Services:
    """The server's parts."""

    settings: Settings
    pool: Pool
    bodies: BodyReader
    artifacts: ArtifactStore
    jobs: VideoJobs
    video_creator: VideoCreator
    responses: ResponseService
    database: Database
    metrics: Metrics
    model_files: ModelFilesService
    downloads: DownloadManager
    files: FileStore
    references: ReferenceResolver
    decompositions: Decompositions
    started: int
    """Unix time at which the server started."""

    def is_served(self, name: str) -> bool:
        """Whether the rest of a path is the name or an alias of a served model."""
        name = name.strip("/")
        return name in self.pool.aliases or any(slot.name == name for slot in self.pool.slots)
