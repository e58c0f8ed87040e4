# What server/http/multipart.py uses of the `multipart` package. Type checkers find another module first:
# python-multipart, which vLLM brings, installs a package of that name that hands over to this one at run time.
from collections.abc import Generator

class MultipartError(ValueError): ...
class ParserLimitReached(MultipartError): ...

class MultipartSegment:
    name: str
    filename: str | None
    content_type: str | None
    charset: str | None
    size: int

class PushMultipartParser:
    def __init__(
        self,
        boundary: str,
        *,
        content_length: int = ...,
        max_header_size: int = ...,
        max_header_count: int = ...,
        max_segment_size: int | float = ...,
        max_segment_count: int | float = ...,
        header_charset: str = ...,
        strict: bool = ...,
    ) -> None: ...
    def __enter__(self) -> PushMultipartParser: ...
    def __exit__(self, *error: object) -> None: ...
    def parse(self, chunk: bytes) -> Generator[MultipartSegment | bytearray | bytes | None]: ...

def parse_options_header(header: str, options: dict[str, str] | None = None) -> tuple[str, dict[str, str]]: ...
