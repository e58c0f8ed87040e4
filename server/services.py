"""What routes need beside the request: one object, handed to them by Litestar's dependency injection."""

from dataclasses import dataclass

from adapters.pool.pool import Pool
from adapters.vision.decomposition import Decompositions
from server.http.bodies import Intake
from server.http.metrics import Metrics
from server.media.references import References
from server.models.downloads import Downloads
from server.models.files import Store
from server.responses.service import Responses
from server.settings import Settings
from server.storage.artifacts import Artifacts
from server.storage.database import Database
from server.storage.files import Files
from server.videos.create import VideoCreator
from server.videos.service import VideoJobs


@dataclass(frozen=True, slots=True)
class Services:
    """The server's parts."""

    settings: Settings
    pool: Pool
    intake: Intake
    artifacts: Artifacts
    jobs: VideoJobs
    video_creator: VideoCreator
    responses: Responses
    database: Database
    metrics: Metrics
    store: Store
    downloads: Downloads
    files: Files
    references: References
    decompositions: Decompositions
    started: int
    """Unix time."""

    def serves(self, name: str) -> bool:
        """Whether a URL's rest is a served name or an alias, as it stands."""
        name = name.strip("/")
        return name in self.pool.aliases or any(slot.name == name for slot in self.pool.slots)
