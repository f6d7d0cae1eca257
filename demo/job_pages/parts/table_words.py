"""The texts of the table of jobs beside those of `words`: its sorting, its marks, the disk."""

from demo.job_pages.parts.words import Words

COLUMN: Words = {
    "best": ("Best score", "最佳得分"),
    "speed": ("Speed", "速度"),
    "per_second": ("{} tokens/s", "{} token/秒"),
    "best_loss": ("Lowest validation loss", "最低验证损失"),
    "best_score": ("Highest probe score", "最高探针得分"),
    "probes": ("probes {}", "探针 {}"),
    "sort_by": ("Sort by {}", "按{}排序"),
}

MARKS: Words = {
    "marks": ("Marked jobs", "已选任务"),
    "mark": ("Mark {}", "选择 {}"),
    "marked": ("{} marked", "已选 {} 个"),
    "compare": ("Compare curves", "对比曲线"),
    "clear": ("Clear", "清除"),
    "most": ("At most {} at a time.", "一次最多 {} 个。"),
}

DISK: Words = {
    "full": (
        "The disk of this service is nearly full: {} are free, and it needs {}. Uploads are refused, and a job that "
        "cannot save is paused. Remove jobs, exports or files that are not needed, then resume what is paused.",
        "本服务的磁盘快满了：剩余 {}，至少需要 {}。上传会被拒绝，无法保存的任务会暂停。"
        "请删除不需要的任务、导出或文件，然后继续已暂停的任务。",
    ),
    "finished": ("Jobs that are done", "已完成的任务"),
}
