"""The texts of the service's pages, English and Chinese side by side."""

from llm.i18n.translate import Language

Words = dict[str, tuple[str, str]]

FRAME: Words = {
    "tagline": ("Train and try models that read text and images", "训练并试用能读文字和图片的模型"),
    "skip": ("Skip to the content", "跳到正文"),
    "pages": ("Pages", "页面"),
    "jobs": ("Jobs", "任务"),
    "train": ("Train", "训练"),
    "chat": ("Chat", "对话"),
    "compare": ("Compare", "对比"),
    "runs": ("Runs", "训练"),
    "data": ("Data", "数据"),
    "language": ("Language", "语言"),
    "home": ("Start", "开始"),
    "help": ("Help", "帮助"),
    "theme": ("Theme", "主题"),
    "light": ("Light", "浅色"),
    "dark": ("Dark", "深色"),
    "system": ("Auto", "自动"),
    "light_title": ("Light theme", "浅色主题"),
    "dark_title": ("Dark theme", "深色主题"),
    "system_title": ("The theme of the system", "跟随系统主题"),
    "runs_now": ("Runs now", "正在运行"),
    "memory": ("{} of {} GiB in use", "已用 {0} / {1} GiB"),
    "lost": ("The service does not answer. Trying again...", "服务没有响应，正在重试……"),
    "idle": ("idle", "空闲"),
    "busy": ("{} of {} in use", "槽位占用 {0}/{1}"),
    "queue_length": ("{} waiting", "{} 个在等待"),
    "answering": ("answers being written: {}", "正在生成的回答：{}"),
    "trains": ("training {}", "正在训练 {}"),
    "slots": ("Slots of this service", "本服务的槽位"),
    "copy": ("Copy", "复制"),
    "copied": ("Copied", "已复制"),
    "no": ("No", "不"),
}

TABLE: Words = {
    "caption": ("Training jobs, newest first", "训练任务，新的在前"),
    "name": ("Name", "名称"),
    "state": ("State", "状态"),
    "progress": ("Steps", "步数"),
    "loss": ("Loss", "损失"),
    "left": ("Time left", "剩余时间"),
    "slot": ("Runs on", "运行位置"),
    "submitted": ("Submitted", "提交时间"),
    "new_job": ("New job", "新建任务"),
    "more": ("Show more jobs", "显示更多任务"),
    "empty_title": ("No jobs yet", "还没有任务"),
    "empty_text": (
        "Bring a file of conversations, choose a model, and train it. What you submit here, by the command line or by "
        "the API appears in this list.",
        "准备一个对话数据文件，选择模型，就可以开始训练。在本页面、命令行或 API 提交的任务都会显示在这里。",
    ),
    "empty_button": ("Train a model", "训练模型"),
    "empty_command": ("Or from a terminal:", "或者在终端运行："),
    "loss_line": ("Loss, now {}", "损失，目前 {}"),
    "by_hand": ("started by hand", "手动启动"),
    "order": ("Sort by", "排序"),
    "search": ("Search by name or model", "按名称或模型搜索"),
    "search_short": ("Search...", "搜索……"),
    "show_all": ("All states", "全部状态"),
    "show_open": ("Running and waiting", "训练中和等待中"),
    "show_done": ("Done", "已完成"),
    "show_ended": ("Failed, cancelled, stopped", "失败、取消和停止"),
    "against": ("Compare with its base", "与基础模型对比"),
    "against_of": ("Compare with its base: {}", "将 {} 与基础模型对比"),
    "no_match": ("No job matches.", "没有符合条件的任务。"),
}

# Of runs that eyegraft train has started by itself.
RUN_STATES: Words = {
    "running": ("running", "训练中"),
    "finished": ("done", "已完成"),
    "stopped": ("stopped", "已停止"),
}

RUN: Words = {
    "about": (
        "Started by eyegraft train. The service watches it and does not change it.",
        "由 eyegraft train 启动，本服务只查看，不做更改。",
    ),
    "writer": ("Process", "进程"),
    "began": ("Began", "开始时间"),
    "report": ("Report", "报告"),
    "log": ("Latest lines", "最近的日志"),
}

STATES: Words = {
    "validating": ("checking data", "正在检查数据"),
    "queued": ("waiting", "排队中"),
    "starting": ("starting", "正在启动"),
    "running": ("running", "训练中"),
    "preparing": ("preparing", "准备训练"),
    "pausing": ("pausing", "正在暂停"),
    "paused": ("paused", "已暂停"),
    "cancelling": ("cancelling", "正在取消"),
    "interrupted": ("interrupted", "已中断"),
    "succeeded": ("done", "已完成"),
    "failed": ("failed", "失败"),
    "cancelled": ("cancelled", "已取消"),
}

MEANINGS: Words = {
    "validating": (
        "The data is being read and the memory planned. Then the job waits for a slot.",
        "正在读取数据并估算内存，随后任务进入队列。",
    ),
    "queued": (
        "Everything is checked. The job starts as soon as a slot is free.",
        "检查已通过，有空闲槽位时立即开始。",
    ),
    "starting": ("The trainer is loading the model.", "训练程序正在加载模型。"),
    "running": ("The model is being trained.", "模型正在训练。"),
    "preparing": (
        "No step is done yet: the trainer loads the model and tries the largest pack. On a CPU this takes minutes.",
        "还没有完成任何一步：训练程序正在加载模型，并试跑最大的数据包。在 CPU 上需要几分钟。",
    ),
    "pausing": (
        "The running step is finished and saved; then the slot is free.",
        "正在完成并保存当前这一步，随后释放槽位。",
    ),
    "paused": (
        "The job holds no slot. Resume it to go on exactly where it stopped.",
        "任务不占用槽位，恢复后会从停下的地方精确继续。",
    ),
    "cancelling": (
        "The running step is finished and saved; then the job ends.",
        "正在完成并保存当前这一步，随后任务结束。",
    ),
    "interrupted": (
        "The machine or the trainer went down. The job starts again by itself from its last checkpoint.",
        "机器或训练程序中断，任务会从最后一个检查点自动继续。",
    ),
    "succeeded": ("The model is trained. Try it in a chat.", "模型已训练完成，可以在对话中试用。"),
    "failed": ("The job could not be finished. What was saved is still there.", "任务未能完成，已保存的内容仍然保留。"),
    "cancelled": ("The job was ended. What was saved is still there.", "任务已结束，已保存的内容仍然保留。"),
}

VIEW: Words = {
    "all_jobs": ("All jobs", "全部任务"),
    "so_far": (" {} so far.", "已用 {}。"),
    "pause": ("Pause", "暂停"),
    "resume": ("Resume", "继续"),
    "cancel": ("Cancel", "取消任务"),
    "remove": ("Remove", "删除"),
    "chat": ("Chat", "对话"),
    "chat_with": ("Chat with step {}", "与第 {} 步对话"),
    "against": ("Compare with its base", "与基础模型对比"),
    "compare_step": ("Compare step {} with its base", "将第 {} 步与基础模型对比"),
    "again": ("Train again", "再次训练"),
    "alike": ("New job like this", "新建类似任务"),
    "ask_remove": (
        "Remove this job with its checkpoints, its model and its log? This cannot be undone.",
        "删除该任务及其检查点、模型和日志？此操作无法撤销。",
    ),
    "ask_cancel": (
        "Cancel this job for good? What was saved stays, but the job cannot be resumed. Pause lets it go on later.",
        "确定取消该任务？已保存的内容会保留，但任务不能再继续。如果以后还要继续训练，请用“暂停”。",
    ),
    "keep": ("Keep it", "保留"),
    "why": ("Why it failed", "失败原因"),
    "why_before": ("Why it cannot be trained", "无法训练的原因"),
    "facts": ("About this job", "任务信息"),
    "model": ("Base model", "基础模型"),
    "kind": ("Kind", "类型"),
    "trained": ("Trained model", "训练出的模型"),
    "steps": ("Steps", "步数"),
    "left": ("Time left", "剩余时间"),
    "place": ("Runs on", "运行位置"),
    "submitted": ("Submitted", "提交时间"),
    "took": ("Took", "用时"),
    "tokens": ("Trained tokens", "训练 token 数"),
    "data": ("Data", "数据"),
    "validation": ("Validation data", "验证数据"),
    "images": ("Images", "图片"),
    "seed": ("Seed", "随机种子"),
    "curves": ("Curves", "曲线"),
    "drawing": ("Drawing...", "正在绘制……"),
    "no_curves": ("The curves begin with the first step.", "第一步之后显示曲线。"),
    "never_curves": ("There are none: no step was done.", "没有曲线：任务没有完成任何一步。"),
    "never_checkpoints": ("None was saved.", "没有保存检查点。"),
    "never_recipe": (
        "There is none: the job ended before its data was checked.",
        "没有配方：任务在数据检查完之前就已结束。",
    ),
    "overlay": ("Large, and over those of other jobs", "放大，并与其他任务对比"),
    "csv": ("Metrics as CSV", "指标（CSV）"),
    "recipe": ("Recipe", "配方"),
    "recipe_file": ("Recipe as YAML", "配方（YAML）"),
    "request": ("Request", "请求"),
    "no_recipe": ("The recipe is made when the data is checked.", "数据检查之后生成配方。"),
    "checkpoints": ("Checkpoints", "检查点"),
    "no_checkpoints": ("None is saved yet.", "还没有保存检查点。"),
    "step": ("Step", "步"),
    "train_loss": ("Training loss", "训练损失"),
    "valid_loss": ("Validation loss", "验证损失"),
    "saved": ("Saved", "保存时间"),
    "best": ("best", "最佳"),
    "gone": ("deleted since", "已被删除"),
    "events": ("Events", "事件"),
    "log": ("Log of the trainer", "训练程序的日志"),
    "log_above": ("It is above, at the reason of the failure.", "见上方的失败原因。"),
    "no_log": ("Nothing is written yet.", "还没有内容。"),
    "unknown_title": ("There is no such job", "没有这个任务"),
    "unknown_text": ("It may have been removed.", "它可能已被删除。"),
}

# Of the curves; `described`: name, first value, its step, last value, its step.
CURVES: Words = {
    "loss": ("Loss", "损失"),
    "lr": ("Learning rate", "学习率"),
    "tokens_per_s": ("Tokens per second", "每秒 token 数"),
    "memory_gib": ("Memory, GiB", "内存（GiB）"),
    "training": ("training", "训练"),
    "validation": ("validation", "验证"),
    "described": ("{}: {} at step {}, {} at step {}", "{0}：第 {2} 步为 {1}，第 {4} 步为 {3}"),
}

WEBHOOKS: Words = {
    "title": ("Webhooks", "Webhook 通知"),
    "empty": ("No webhooks. They are added by the API.", "还没有 webhook，可通过 API 添加。"),
    "on": ("on", "已启用"),
    "off": ("switched off", "已停用"),
    "waiting": ("waiting", "等待发送"),
    "delivered": ("delivered", "已送达"),
    "given_up": ("given up", "已放弃"),
    "newest": ("Newest event", "最新事件"),
    "of_job": ("job {}: {}, {}", "任务 {}：{}，{}"),
    "error": ("Last error", "最近的错误"),
    "resend": ("Send again what was given up", "重新发送已放弃的通知"),
    "switch_on": ("Switch on", "启用"),
}

CHAT: Words = {
    "loading": ("{} is being loaded. This takes some seconds...", "正在加载{}页面，需要几秒钟……"),
    "missing": (
        "Chat, Compare and Data need gradio: pip install 'eyegraft[web]', then start the service again.",
        "对话、对比和数据页面需要 gradio：请运行 pip install 'eyegraft[web]'，然后重新启动服务。",
    ),
}

TIMES: Words = {
    "now": ("just now", "刚刚"),
    "seconds": ("{} s", "{} 秒"),
    "minutes_seconds": ("{} min {} s", "{} 分 {} 秒"),
    "minutes": ("{} min", "{} 分钟"),
    "hour": ("{} h", "{} 小时"),
    "day": ("{} d", "{} 天"),
    "hours": ("{} h {} min", "{} 小时 {} 分"),
    "days": ("{} d {} h", "{} 天 {} 小时"),
    "ago": ("{} ago", "{}前"),
    "under_a_minute": ("under a minute", "不到一分钟"),
    "at_least": ("at least {}", "至少 {}"),
    "later": ("known after the first steps", "完成前几步后可知"),
}


def text(words: Words, key: str, lang: Language, *values: object) -> str:
    """A text in a language with its values filled in."""
    return words[key][lang == "zh"].format(*values)


def span(seconds: float, lang: Language) -> str:
    """A length of time in one or two units: `5 min`, `2 h 5 min`, `3 d 4 h`."""
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if not minutes:
        return text(TIMES, "under_a_minute", lang)
    if not hours:
        return text(TIMES, "minutes", lang, minutes)
    if hours < 24:
        return text(TIMES, "hours", lang, hours, rest)
    return text(TIMES, "days", lang, *divmod(hours, 24))


def elapsed(seconds: int, lang: Language) -> str:
    """A time that is being watched, to the second below an hour."""
    if seconds < 60:
        return text(TIMES, "seconds", lang, seconds)
    return text(TIMES, "minutes_seconds", lang, *divmod(seconds, 60)) if seconds < 3600 else span(seconds, lang)


def least(seconds: float | None, lang: Language) -> str:
    """A time that only a plan knows, before a step was measured: nothing shorter than a minute is promised."""
    if seconds is None or round(seconds / 60) < 1:
        return text(TIMES, "later", lang)
    return text(TIMES, "at_least", lang, span(seconds, lang))


def ago(seconds: float, lang: Language) -> str:
    """How long something is past, in one unit."""
    if seconds < 60:
        return text(TIMES, "now", lang)
    unit, size = ("day", 86_400) if seconds >= 86_400 else ("hour", 3600) if seconds >= 3600 else ("minutes", 60)
    return text(TIMES, "ago", lang, text(TIMES, unit, lang, int(seconds // size)))
