"""What the operator may set: address, keys, gates, limits. From `MUYBRIDGE_*` variables, a file, or the command."""

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
    """Whether only this machine can reach an address; host names other than "localhost" count as reachable."""
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
    """The configuration file to read, if any; set by the command before it builds the settings."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but loopback needs `api_keys`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Bearer keys that may call. Empty: everyone on this machine may."""
    admin_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """Bearer keys that may also load, unload, download and remove models. Where only `api_keys` are set, nobody may."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Names that a request's Host header may bear, besides loopback's and the address itself."""
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins ("https://app.example") whose pages may post here. Pages of this server itself always may."""

    profile: str = "starter"
    """Which set of models is served: a profile of the catalog."""
    catalog: Path | None = None
    """A YAML file of more models and profiles, laid over the built-in catalog."""
    model_fallback: Literal["off", "kind"] = "off"
    """"kind": an unknown model's name reaches the profile's first model of the route's kind. "off": it is a 404."""
    cache_dir: Path = Path("~/.cache/muybridge")
    """Directory of downloaded models."""
    data_dir: Path = Path("~/.local/share/muybridge")
    """Where finished images and videos, and uploads in progress, are kept."""
    preload: Annotated[tuple[str, ...], NoDecode] = ()
    """Models to load at start instead of on their first request."""

    memory_budget_gib: PositiveFloat | None = None
    """GiB of the models on each GPU; of RAM where there is none. None: nine tenths of what is free on each device."""
    swap_patience_s: Annotated[float, Field(ge=0)] = 5.0
    """A model in use is spared for so long while another waits for its memory."""
    idle_ttl_s: PositiveFloat | None = None
    """Models that were not used for so long are unloaded. None: only when others need their memory."""

    unknown_fields: Literal["reject", "ignore"] = "reject"
    """What becomes of a request's fields that this server does not know: "reject" answers 400 and names the first;
    "ignore" goes on without them and names them in the header `x-muybridge-ignored-fields`."""
    max_json_bytes: PositiveInt = 32 * 2**20
    """A larger JSON body is a 413. Images ride in it as base64."""
    max_upload_bytes: PositiveInt = 2**30
    """A larger multipart body is a 413."""
    body_timeout_s: PositiveFloat = 300.0
    """A request's body must have arrived whole by then, and something of it every 30 s."""
    drain_s: Annotated[float, Field(ge=0)] = 30.0
    """After SIGTERM, running requests have this long to end."""
    max_video_jobs: PositiveInt = 1000
    """Queued and running videos together; one more is a 503."""
    max_video_jobs_per_key: PositiveInt = 250
    """Queued and running videos of one key; one more is a 429."""
    max_video_bytes_per_key: PositiveInt = 4 * 2**30
    """What queued and running videos of one key are made of (pictures, sounds, videos); more is a 429."""
    webhook_url: str | None = None
    """Who is told when a video is completed or has failed: an https URL. None: nobody."""
    webhook_secret: SecretStr | None = None
    """What webhooks are signed with, and verified with there: "whsec_" and base64 of 24 bytes or more."""
    webhook_private: bool = False
    """Whether `webhook_url` may lead to this machine or a private network, and be http."""
    expire_s: PositiveFloat = 24 * 3600.0
    """How long finished videos, and images that were asked for as URLs, are kept."""

    database_url: SecretStr | None = None
    """Where responses are kept: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`. None: in `data_dir`."""
    expire_responses_s: PositiveFloat = 30 * 24 * 3600.0
    """How long stored responses are kept; a conversation that goes on keeps all of its responses."""
    max_stored_bytes: PositiveInt = 8 * 2**30
    """Of all stored responses together; one more is a 503."""
    max_stored_bytes_per_key: PositiveInt = 2 * 2**30
    """Of one key's stored responses; one more is a 429."""
    expire_files_s: PositiveFloat = 30 * 24 * 3600.0
    """How long uploaded files are kept that do not say so themselves."""
    max_files_per_key: PositiveInt = 10_000
    """Uploaded files of one key; one more is a 429."""
    max_file_bytes_per_key: PositiveInt = 2 * 2**30
    """Of one key's uploaded files; one more is a 429."""
    fetch_images: bool = False
    """Whether URLs of images on the web are followed, to public addresses only. Off, they are a 400."""
    max_background_responses: PositiveInt = 256
    """At once; one more is a 503."""

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
            raise ValueError("write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")
        return value

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.webhook_url is None:
            return self
        parts = urlsplit(self.webhook_url)
        if parts.scheme not in (("https", "http") if self.webhook_private else ("https",)) or not parts.hostname:
            raise ValueError("webhook_url must be https://HOST/..., or http with webhook_private")
        if not re.fullmatch("[!-~]{1,2048}", self.webhook_url) or "@" in parts.netloc:
            raise ValueError("webhook_url must be plain ASCII, without credentials")
        secret = "" if self.webhook_secret is None else self.webhook_secret.get_secret_value()
        try:
            long_enough = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) >= WEBHOOK_SECRET_BYTES
        except ValueError:
            long_enough = False
        if not secret.startswith("whsec_") or not long_enough:
            raise ValueError(f"webhook_secret must be whsec_ and base64 of {WEBHOOK_SECRET_BYTES} bytes or more")
        return self

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not is_loopback(self.host) and not (self.api_keys or self.admin_keys):
            raise ValueError(f"host {self.host} can be reached from outside: set api_keys (MUYBRIDGE_API_KEYS) as well")
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
        """The command line wins over the environment, and that over the file."""
        del dotenv_settings, file_secret_settings
        if cls.yaml_path is None:
            return init_settings, env_settings
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=cls.yaml_path)
