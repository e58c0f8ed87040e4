"""The settings of the server: address, keys, access checks, limits.

They come from the command line, `MUYBRIDGE_*` environment variables, and a YAML file.
"""

import base64
import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

WEBHOOK_SECRET_BYTES = 24


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

    model_config = SettingsConfigDict(env_prefix="MUYBRIDGE_", extra="forbid", frozen=True)
    yaml_path: ClassVar[Path | None] = None
    """The configuration file to read, if any. The command sets it before it creates the settings."""

    host: str = "127.0.0.1"
    """Address to listen on. Addresses other than loopback need `api_keys`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Keys that may send requests. Empty: all callers on this machine may."""
    admin_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Keys that may also load, unload, download and remove models. If only `api_keys` are set, no key may."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Allowed names in the Host header, besides those of loopback and the address itself."""
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins ("https://app.example") whose pages may send requests. Pages of this server always may."""

    profile: str = "starter"
    """The profile of the catalog that is served: a set of models."""
    catalog: Path | None = None
    """A YAML file with further models and profiles, which extends the built-in catalog."""
    model_fallback: Literal["off", "kind"] = "off"
    """"kind": requests for an unknown model get the profile's first model of the route's kind. "off": a 404."""
    cache_dir: Path = Path("~/.cache/muybridge")
    """Directory of downloaded models."""
    data_dir: Path = Path("~/.local/share/muybridge")
    """Directory of the database, generated images and videos, and uploads."""
    preload: Annotated[tuple[str, ...], NoDecode] = ()
    """Models to load at the start instead of at their first request."""

    memory_budget_gib: PositiveFloat | None = None
    """GiB that models may use on each GPU, or of RAM without a GPU. None: nine tenths of the free memory."""
    swap_patience_s: Annotated[float, Field(ge=0)] = 5.0
    """How long a model that is in use stays loaded while another one waits for its memory."""
    idle_ttl_s: PositiveFloat | None = None
    """Models that are unused for this long are unloaded. None: only when other models need their memory."""

    unknown_fields: Literal["reject", "ignore"] = "reject"
    """How unknown fields of a request are handled: "reject" is a 400 that names the first one; "ignore" names all of
    them in the reply's header `x-muybridge-ignored-fields`."""
    max_json_bytes: PositiveInt = 32 * 2**20
    """A larger JSON body is a 413. JSON may contain images as base64."""
    max_upload_bytes: PositiveInt = 2**30
    """A larger multipart body is a 413."""
    body_timeout_s: PositiveFloat = 300.0
    """How long a request's body may take to arrive, with pauses of at most 30 s."""
    drain_s: Annotated[float, Field(ge=0)] = 30.0
    """How long running requests may take after SIGTERM."""
    max_video_jobs: PositiveInt = 1000
    """Queued and running videos together; further ones are a 503."""
    max_video_jobs_per_key: PositiveInt = 250
    """Queued and running videos of one key; further ones are a 429."""
    max_video_bytes_per_key: PositiveInt = 4 * 2**30
    """Total size of the images, audio and videos of one key's queued and running videos; beyond it is a 429."""
    webhook_url: str | None = None
    """The https URL that gets a webhook when a video is completed or has failed. None: no webhooks."""
    webhook_secret: SecretStr | None = None
    """The secret that signs webhooks: "whsec_" and the base64 of at least 24 bytes."""
    webhook_private: bool = False
    """Whether `webhook_url` may be http, and may resolve to this machine or a private network."""
    expire_s: PositiveFloat = 24 * 3600.0
    """How long finished videos, and images that were requested as URLs, are kept."""

    database_url: SecretStr | None = None
    """The database: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`. None: SQLite in `data_dir`."""
    expire_responses_s: PositiveFloat = 30 * 24 * 3600.0
    """How long stored responses are kept. A new response extends the time of all responses of its conversation."""
    max_stored_bytes: PositiveInt = 8 * 2**30
    """Total size of all stored responses; beyond it is a 503."""
    max_stored_bytes_per_key: PositiveInt = 2 * 2**30
    """Total size of one key's stored responses; beyond it is a 429."""
    expire_files_s: PositiveFloat = 30 * 24 * 3600.0
    """How long uploaded files are kept when the upload does not set an expiry."""
    max_files_per_key: PositiveInt = 10_000
    """Uploaded files of one key; further ones are a 429."""
    max_file_bytes_per_key: PositiveInt = 2 * 2**30
    """Total size of one key's uploaded files; beyond it is a 429."""
    fetch_images: bool = False
    """Whether the server fetches images by URL, from public addresses only. If not, such URLs are a 400."""
    max_background_responses: PositiveInt = 256
    """Background responses that run at the same time; further ones are a 503."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    @property
    def models_dir(self) -> Path:
        """The directory that holds one folder per downloaded model."""
        return self.cache_dir / "models"

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
        if value is not None and not value.get_secret_value().startswith(("sqlite:///", "postgresql://")):
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
        if cls.yaml_path is None:
            return init_settings, env_settings
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=cls.yaml_path)
