"""The forms in which a run can be exported. Imports nothing heavy: the command and the Python API name them."""

from typing import Literal

ExportFormat = Literal["hf", "peft", "llava", "gguf", "ollama"]
ExportDtype = Literal["fp32", "bf16", "q8_0"]
