"""The tiny models of all packages."""

from tests.llm.conftest import tiny_llama
from tests.vlm.conftest import clip, records, root, tiny_llm
from tests.vlm.ready.conftest import family

__all__ = ["clip", "family", "records", "root", "tiny_llama", "tiny_llm"]
