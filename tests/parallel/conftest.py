"""The tiny models of both packages."""

from tests.llm.conftest import tiny_llama
from tests.vlm.conftest import clip, records, root, tiny_llm

__all__ = ["clip", "records", "root", "tiny_llama", "tiny_llm"]
