"""The texts of the plan, and of what is foreseen of the data, English and Chinese side by side."""

from demo.job_pages.parts.words import Words

PLAN: Words = {
    "nothing": (
        "Choose data and a model: then it says here whether the job fits, and how long it takes.",
        "选择数据和模型之后，这里会显示任务是否放得下、需要多长时间。",
    ),
    "looking": ("The plan follows when the data has been looked at.", "数据检查完之后开始计划。"),
    "mistakes": ("The plan is made when the marked fields are right.", "改正标出的项之后，开始计划。"),
    "working": (
        "Planning for {:.0f} s: the data is read and a step is forecast...",
        "正在计划，已用 {:.0f} 秒：读取数据，预测一步的内存……",
    ),
    "advising": (
        "Looking for changes that need less memory, for {:.0f} s so far...",
        "正在寻找占用更少内存的改动，已用 {:.0f} 秒……",
    ),
    "least": (
        "The base model alone takes at least {}. What a step takes beside it is being forecast.",
        "仅基础模型至少需要 {}，一步训练另外需要的内存正在预测。",
    ),
    "least_too_large": (
        "It does not fit: the base model alone takes at least {}, of {}",
        "放不下：仅基础模型至少需要 {}，共 {}",
    ),
    "start": ("Start training", "开始训练"),
    "start_refused": (
        "The service would refuse this job: {}. Change what is named above; then it can be started.",
        "服务会拒绝该任务：{}。请先修改上面指出的内容，然后才能开始。",
    ),
    "fits": ("It fits: {} of {}", "放得下：{}，共 {}"),
    "needs": ("It needs {}", "需要 {}"),
    "too_large": ("It does not fit: {} of {}", "放不下：{}，共 {}"),
    "advice": ("Changes that need less memory. A click makes one:", "以下改动占用更少的内存，点击即可采用："),
    "change_fits": ("{}, fits", "{}，放得下"),
    "change_not": ("{}, does not fit", "{}，放不下"),
    "refused": ("The job would be refused: {}", "任务会被拒绝：{}"),
    "steps": ("Steps", "步数"),
    "time": ("Time", "时间"),
    "at_least": ("at least {}", "至少 {}"),
    "unknown_time": ("known once it runs", "运行后可知"),
    "records": ("Records a step", "每步记录数"),
    "packs": ("Packs an epoch", "每轮的包数"),
    "pack_tokens": ("{:,}, {:,} tokens each on average", "{:,}，平均每个 {:,} 个 token"),
    "length": ("Record length", "记录长度"),
    "tokens": ("{:,} tokens in the middle, {:,} at most", "中位数 {:,} 个 token，最长 {:,}"),
    "padding": ("Saved by packing", "打包省去的计算"),
    "supervised": ("Tokens with a loss", "计算损失的 token"),
    "too_long": ("Left out as too long", "因过长而跳过"),
    "sampled": ("From the first {:,} records.", "根据前 {:,} 条记录。"),
    "records_title": ("The first records as the model reads them", "模型读到的前几条记录"),
    "records_about": (
        "Marked text is what the model learns to write; the rest is what it is given.",
        "标出的文字是模型学习写出的内容，其余是给它的输入。",
    ),
    "image_tokens": ("{:,} image tokens", "{:,} 个图片 token"),
}
