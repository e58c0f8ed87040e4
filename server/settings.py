"""The settings of the server: address, keys, access checks, limits.

They come from the command line, `MUYBRIDGE_*` environment variables, and a YAML file.
"""

import base64
import ipaddress
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

WEBHOOK_SECRET_BYTES = 24
PREFIX = "MUYBRIDGE_"
OTHER_VARIABLES = frozenset({"CONFIG", "URL", "ADMIN_KEY", "LIFELINE", "START_FAILURE"})
"""Environment variables that are no settings, without `PREFIX`: of commands, and between processes."""
SERVICE_LINKS = re.compile(r"SERVICE_(HOST|PORT\w*)|PORT_\d+_(TCP|UDP)\w*")
"""What Kubernetes sets in every container where a service is called "muybridge"."""
CATALOG_SECTIONS = frozenset({"models", "profiles"})
"""Keys of a configuration file that are no settings."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. Host names besides "localhost" count as reachable by others."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Settings(BaseSettings):
    """The server's settings. Lists are comma-separated in the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)
    config_path: ClassVar[Path | None] = None
    """The configuration file, if any. The command sets it, and `file_values`, before it creates the settings."""
    file_values: ClassVar[Mapping[str, Any]] = {}
    """The settings in that file."""

    host: str = "127.0.0.1"
    """Address to listen on. Addresses other than loopback need `api_keys`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on. 0: any that is free; the log says which."""
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Bearer keys that may call the API. Empty: every program on this machine may."""
    admin_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Bearer keys that may also load, unload, download and remove models. If only `api_keys` are set, no key may."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Host names that requests may use, besides loopback and `host` itself."""
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Web origins ("https://app.example") whose pages may call. Pages of this server always may."""

    profile: str = "starter"
    """The profile of the catalog to serve."""
    catalog: Path | None = None
    """A YAML file of your own models and profiles, added to the built-in catalog. None: `models.yaml` in `data_dir`, if
    there is one."""
    model_fallback: Literal["off", "vendor", "kind"] = "vendor"
    """Unknown model names that get the default of the kind: `off`, other vendors' (`vendor`), all (`kind`). Such names
    are `gpt-5` and `claude-opus`. All others are a 404."""
    cache_dir: Path = Path("~/.cache/muybridge")
    """Folder of downloaded models."""
    data_dir: Path = Path("~/.local/share/muybridge")
    """Folder of generated images and videos, uploads, and the database."""
    preload: Annotated[tuple[str, ...], NoDecode] = ()
    """Models to load at the start instead of at their first request."""

    memory_budget_gib: PositiveFloat | None = None
    """Memory for models, in GiB: on each GPU, or in RAM without a GPU. None: nine tenths of what is free at start."""
    swap_patience_s: Annotated[float, Field(ge=0)] = 5.0
    """Seconds that a model in use is kept while another model waits for its memory."""
    idle_ttl_s: PositiveFloat | None = None
    """Seconds without a request after which a model is unloaded. None: only when others need the memory."""

    unknown_fields: Literal["accept", "refuse"] = "accept"
    """Unknown fields of a request: `accept` lists them in a response header, `refuse` answers 400. The header is
    `x-muybridge-ignored`."""
    max_json_bytes: PositiveInt = 32 * 2**20
    """Largest JSON body; a larger one is a 413. Images in base64 count."""
    max_upload_bytes: PositiveInt = 2**30
    """Largest multipart body; a larger one is a 413."""
    body_timeout_s: PositiveFloat = 300.0
    """Seconds in which the whole body must arrive. At least one byte must arrive every 30 s."""
    drain_s: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that running requests have to finish after SIGTERM."""
    max_video_jobs: PositiveInt = 1000
    """Largest number of queued and running videos; one more is a 503."""
    max_video_jobs_per_key: PositiveInt = 250
    """The same for one key; one more is a 429."""
    max_video_bytes_per_key: PositiveInt = 4 * 2**30
    """Largest total of the inputs of one key's unfinished videos; more is a 429. Images, audio and videos count."""
    webhook_url: str | None = None
    """The https URL that receives an event when a video is completed or failed."""
    webhook_secret: SecretStr | None = None
    """Key that signs webhooks: "whsec_" and base64 of 24 bytes or more."""
    webhook_private: bool = False
    """Whether `webhook_url` may be http and may lead to this machine or a private network."""
    expire_s: PositiveFloat = 24 * 3600.0
    """Seconds that finished videos, and images requested as URLs, are kept."""

    database_url: SecretStr | None = None
    """`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`. None: SQLite in `data_dir`."""
    expire_responses_s: PositiveFloat = 30 * 24 * 3600.0
    """Seconds that stored responses are kept. A conversation that continues keeps all of its responses."""
    max_stored_bytes: PositiveInt = 8 * 2**30
    """Largest total of stored responses; one more is a 503."""
    max_stored_bytes_per_key: PositiveInt = 2 * 2**30
    """The same for one key; one more is a 429."""
    expire_files_s: PositiveFloat = 30 * 24 * 3600.0
    """Seconds that uploaded files are kept, if the upload does not say otherwise."""
    max_files_per_key: PositiveInt = 10_000
    """Largest number of uploaded files of one key; one more is a 429."""
    max_file_bytes_per_key: PositiveInt = 2 * 2**30
    """Largest total of the uploaded files of one key; one more is a 429."""
    fetch_images: bool = False
    """Whether image URLs of requests are fetched, from public addresses only. Off: they are a 400."""
    max_background_responses: PositiveInt = 256
    """Largest number of background responses at a time; one more is a 503."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug`, `info`, `warning` or `error`."""
    log_format: Literal["console", "json"] = "console"
    """`console` for people, `json` for programs."""

    @property
    def memory_budget_bytes(self) -> int | None:
        """`memory_budget_gib` in bytes."""
        return None if self.memory_budget_gib is None else int(self.memory_budget_gib * 2**30)

    @property
    def models_dir(self) -> Path:
        """The directory that holds one folder per downloaded model."""
        return self.cache_dir / "models"

    @property
    def own_catalog(self) -> Path:
        """The operator's catalog, whether it exists or not; `muybridge models pull` writes to it."""
        return self.catalog or self.data_dir / "models.yaml"

    @property
    def catalogs(self) -> tuple[Path | None, Path | None]:
        """The operator's catalog and the configuration file: arguments of `adapters.catalog.catalog.load_catalog`."""
        return self.own_catalog if self.catalog or self.own_catalog.is_file() else None, self.config_path

    @field_validator("api_keys", "admin_keys", "allowed_hosts", "allowed_origins", "preload", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("cache_dir", "data_dir", mode="after")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("database_url", mode="after")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"sqlite:///.|postgresql://.", value.get_secret_value()):
            raise ValueError("must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")
        return value

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.webhook_url is None:
            return self
        parts = urlsplit(self.webhook_url)
        if parts.scheme not in (("https", "http") if self.webhook_private else ("https",)) or not parts.hostname:
            raise ValueError("webhook_url must be https://HOST/..., or http://HOST/... with webhook_private: true")
        if not re.fullmatch("[!-~]{1,2048}", self.webhook_url) or "@" in parts.netloc:
            raise ValueError(
                "webhook_url must be printable ASCII without spaces and credentials, of at most 2048 characters"
            )
        secret = "" if self.webhook_secret is None else self.webhook_secret.get_secret_value()
        try:
            long_enough = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) >= WEBHOOK_SECRET_BYTES
        except ValueError:
            long_enough = False
        if not secret.startswith("whsec_") or not long_enough:
            raise ValueError(
                f"webhook_secret must be whsec_ followed by the base64 of at least {WEBHOOK_SECRET_BYTES} bytes"
            )
        return self

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not is_loopback(self.host) and not (self.api_keys or self.admin_keys):
            raise ValueError(f"host {self.host} is reachable by other machines: set api_keys (MUYBRIDGE_API_KEYS) too")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line overrides the environment, which overrides the file."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(cls.file_values))


def misspelt(variables: Iterable[str]) -> list[str]:
    """Environment variables that look like settings but are not, as one sentence each."""
    fields = [name.upper() for name in Settings.model_fields]
    found: list[str] = []
    for variable in sorted(variables):
        name = variable.upper().removeprefix(PREFIX)
        known = not variable.upper().startswith(PREFIX) or name in fields or name in OTHER_VARIABLES
        if known or SERVICE_LINKS.fullmatch(name):
            continue
        near = get_close_matches(name[:256], fields, n=1, cutoff=0)[0]
        found.append(f"{variable}: there is no such setting; the nearest is {PREFIX}{near}")
    return found
