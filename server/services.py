"""What routes need beside the request: one object, handed to them by Litestar's dependency injection."""

from dataclasses import dataclass

from adapters.pool import Pool
from adapters.vision import Decompositions
from server.artifacts import Artifacts
from server.bodies import Intake
from server.database import Database
from server.downloads import Downloads
from server.files import Files
from server.jobs import VideoJobs
from server.jobs_requests import VideoCreator
from server.metrics import Metrics
from server.references import References
from server.responses import Responses
from server.settings import Settings
from server.store import Store


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
