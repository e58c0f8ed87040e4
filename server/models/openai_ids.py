"""Token ids of OpenAI's embedding models as text, which clients such as LangChain send unless they are told not to."""

import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from adapters.errors import UnsupportedOption

ENCODING = "cl100k_base"
"""Of all of OpenAI's embedding models since text-embedding-ada-002."""
FILE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""The name of its table in tiktoken's cache. INTERNAL tiktoken==0.14: the hash of the table's address."""


def text_of(ids: Sequence[int]) -> str:
    """The text of token ids. Reads files: not for the event loop.

    Raises:
        UnsupportedOption: There is no table on this machine, or an id is not in it.
    """
    if find_spec("tiktoken") is None or not _is_cached():
        raise UnsupportedOption(
            "Token ids for this model name are OpenAI's, and the server has no table of them. Send text (in LangChain: "
            f"check_embedding_ctx_length=False), or put tiktoken's {ENCODING} into TIKTOKEN_CACHE_DIR of the server.",
            param="input",
        )
    import tiktoken

    encoding = tiktoken.get_encoding(ENCODING)
    try:
        return encoding.decode(list(ids))
    except (KeyError, OverflowError) as error:
        raise UnsupportedOption(
            f"An input has a token id that is not in OpenAI's {ENCODING}.", param="input"
        ) from error


def _is_cached() -> bool:
    """Whether tiktoken can read the table without the network."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    return (Path(folder or Path(tempfile.gettempdir()) / "data-gym-cache") / FILE).is_file()
