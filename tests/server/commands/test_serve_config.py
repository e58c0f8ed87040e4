"""Wrong settings end the start with one line."""

from pathlib import Path

import pytest
from support.servers import muybridge


@pytest.mark.parametrize(
    "content", [b"port: [1\n", b"- 1\n", b"text", b"\xff\xfe", b"port: 99999\n", b"nope: 1\n", b"api_keys: 5\n"]
)
def test_promise_30_a_wrong_file_of_settings_is_one_line(tmp_path: Path, content: bytes) -> None:
    config = tmp_path / "muybridge.yaml"
    config.write_bytes(content)
    result = muybridge("serve", "--config", str(config))
    assert result.returncode == 2, result.stderr
    assert str(config) in result.stderr
    assert len(result.stderr.splitlines()) == 1
