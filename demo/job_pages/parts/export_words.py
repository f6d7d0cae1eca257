"""The texts of the exports of a job."""

from demo.job_pages.parts.words import Words

EXPORT: Words = {
    "title": ("Exports", "导出"),
    "about": (
        "A folder that other software reads, checked to give the same answers, to download as a tar file.",
        "导出为其他软件可读取的文件夹，经验证回答一致，可打包成 tar 文件下载。",
    ),
    "checkpoint": ("Checkpoint", "检查点"),
    "form": ("Format", "格式"),
    "export": ("Export", "导出"),
    "step": ("Step {}", "第 {} 步"),
    "newest": ("newest", "最新"),
    "best": ("best", "最佳"),
    "state": ("State", "状态"),
    "size": ("Size", "大小"),
    "asked": ("Asked for", "请求时间"),
    "actions": ("Download or remove", "下载或删除"),
    "download": ("Download", "下载"),
    "download_of": ("Download step {} as {}", "下载第 {0} 步的 {1} 导出"),
    "remove": ("Remove", "删除"),
    "remove_of": ("Remove the export of step {} as {}", "删除第 {0} 步的 {1} 导出"),
    "ask_remove": ("Remove this export?", "删除此导出？"),
    "waits": (
        "It begins when no other export is being written and the running jobs leave memory for it.",
        "等前面的导出完成，且运行中的任务留有足够内存时开始。",
    ),
    "writes": ("The model is written, read back and compared.", "正在写入模型，并重新读取、比对。"),
}

EXPORT_STATES: Words = {
    "queued": ("waiting", "等待中"),
    "running": ("exporting", "正在导出"),
    "succeeded": ("done", "已完成"),
    "failed": ("failed", "失败"),
}

FORMATS: Words = {
    "hf": ("Hugging Face folder, {}", "Hugging Face 文件夹，{}"),
    "peft": ("LoRA adapter for peft, {}", "LoRA 适配器（peft），{}"),
    "llava": ("mm_projector.bin for LLaVA, {}", "LLaVA 的 mm_projector.bin，{}"),
    "gguf": ("GGUF for llama.cpp, {}", "llama.cpp 的 GGUF 文件，{}"),
    "ollama": ("GGUF with an Ollama Modelfile, {}", "GGUF 文件和 Ollama 的 Modelfile，{}"),
}
