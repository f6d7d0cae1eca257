"""What kind of training a job is, in a few words: text or images, and how the weights are changed."""

from functools import lru_cache
from typing import Any

import yaml

from demo.job_pages.parts.words import Words, text
from llm.i18n.translate import Language
from vlm.service.store.rows import Job

STAGES: Words = {
    "sft": ("text", "文本"),
    "prefer": ("preferences", "偏好"),
    "finetune": ("images", "图片"),
    "pretrain": ("images, projector", "图片，投影器"),
}
METHODS: Words = {
    "lora": ("LoRA", "LoRA"),
    "qlora": ("QLoRA", "QLoRA"),
    "full": ("full", "全量"),
    "frozen": ("language model frozen", "语言模型不训练"),
}


def kind_text(job: Job, lang: Language) -> str:
    """The kind of a job; what is not known before the data is checked is left out."""
    stage, method = kind_of(job)
    known = [text(words, key, lang) for words, key in ((STAGES, stage), (METHODS, method)) if key in words]
    return " · ".join(known)


def kind_of(job: Job) -> tuple[str, str]:
    """Stage and method, from the recipe, or from the request until there is one; empty where unknown."""
    if job.recipe:
        return _kind_of_recipe(job.recipe)
    extension = job.request["x_eyegraft"]
    return str(extension.get("stage") or ""), str(extension.get("recipe", {}).get("tune", {}).get("kind", ""))


@lru_cache(maxsize=2000)
def _kind_of_recipe(recipe: str) -> tuple[str, str]:
    values: dict[str, Any] = yaml.safe_load(recipe)
    return str(values.get("stage", "")), str((values.get("tune") or {}).get("kind", ""))
