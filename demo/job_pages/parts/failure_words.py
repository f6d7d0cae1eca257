"""Why a job failed, in the few words of a row, and what to do about it: by the code of its error."""

from demo.job_pages.parts.words import Words, text
from llm.i18n.translate import Language
from vlm.service.store.rows import JobError

OTHER = "other"  # a code of a later version

REASON: Words = {
    "invalid_training_file": ("data cannot be trained on", "数据不能用于训练"),
    "invalid_validation_file": ("validation data is faulty", "验证数据有误"),
    "invalid_archive": ("images cannot be unpacked", "图片压缩包无法解压"),
    "invalid_recipe": ("settings are refused", "设置有误"),
    "invalid_model": ("model cannot be trained", "模型不能训练"),
    "file_not_found": ("a file is gone", "文件已不存在"),
    "does_not_fit": ("needs more memory", "内存不够"),
    "validation_failed": ("check did not end", "检查没有完成"),
    "training_failed": ("training ended with an error", "训练出错"),
    "interrupted": ("interrupted again and again", "反复中断"),
    "run_folder_lost": ("run folder is gone", "训练目录已丢失"),
    OTHER: ("see its page", "见任务页面"),
}

WHAT_TO_DO: Words = {
    "invalid_training_file": (
        "Mend that line in the file and upload it again, then train with the form below.",
        "请修改文件中的这一行并重新上传，再用下面的表单训练。",
    ),
    "invalid_validation_file": (
        "Mend that line in the validation file and upload it again, or train without it.",
        "请修改验证文件中的这一行并重新上传，也可以不用验证文件。",
    ),
    "invalid_archive": (
        "Pack the images again: plain files below the folder that is packed, without links and paths that lead out "
        "of it.",
        "请重新打包图片：只放该文件夹下的普通文件，不要包含链接，也不要包含指向文件夹以外的路径。",
    ),
    "invalid_recipe": (
        "Change the setting that is named above; the form shows what each one takes.",
        "请修改上面指出的设置，表单会说明每一项可以填什么。",
    ),
    "invalid_model": ("Choose another model, or a vision tower for images.", "请选择其他模型；有图片时请选择视觉塔。"),
    "file_not_found": ("Upload the file again and train with the new one.", "请重新上传文件，再用新文件训练。"),
    "does_not_fit": (
        "Open the form: it shows changes that fit, and a click makes one.",
        "请打开表单：其中列出了能放下的改动，点击即可采用。",
    ),
    "validation_failed": (
        "The machine may have been short of memory. Train again; if it fails again, split the file.",
        "可能是机器内存不足。请再次训练；如果仍然失败，请拆分文件。",
    ),
    "training_failed": (
        "The end of the log below names the cause. Change what it names and train again.",
        "下面日志的末尾给出了原因。请修改相应的设置，然后再次训练。",
    ),
    "interrupted": (
        "Look for what ends the processes: memory that other programs take, a time limit, a restart. Then train again.",
        "请查明是什么结束了进程：其他程序占用内存、时间限制或机器重启。然后再次训练。",
    ),
    "run_folder_lost": ("Its checkpoints are deleted. Train again from the beginning.", "检查点已被删除，请从头训练。"),
    OTHER: ("Change what the message names and train again.", "请修改上面指出的内容，然后再次训练。"),
}

FAILURE: Words = {
    "what": ("What to do:", "怎么办："),
    "code": ("Code of the error", "错误代码"),
    "form": ("Change it and train again", "修改后再次训练"),
    "log": ("The last lines of its log", "日志的最后几行"),
    "more_log": ("More of the log", "更多日志"),
    "why_paused": ("Why it is paused", "暂停的原因"),
}


def reason_text(error: JobError, lang: Language) -> str:
    """The error in a few words."""
    return text(REASON, error.code if error.code in REASON else OTHER, lang)


def what_to_do(error: JobError, lang: Language) -> str:
    """What helps against an error, in a sentence or two."""
    return text(WHAT_TO_DO, error.code if error.code in WHAT_TO_DO else OTHER, lang)
