"""The texts of the first page and of the help, English and Chinese side by side."""

from demo.job_pages.parts.words import Words

HOME: Words = {
    "title": ("From your data to a model you can talk to", "从数据到可以对话的模型"),
    "data": ("1. Bring data", "1. 准备数据"),
    "data_about": (
        "A file of conversations, with images if you like. It is checked before anything is trained.",
        "一个对话数据文件，可以带图片。训练之前会先检查。",
    ),
    "data_open": ("Upload a file", "上传文件"),
    "data_done": ("Look at your data", "查看数据"),
    "train": ("2. Train", "2. 训练"),
    "train_about": ("Choose a base model; the rest has defaults.", "选择基础模型，其余都有默认值。"),
    "train_open": ("Train a model", "训练模型"),
    "train_done": ("Train another model", "再训练一个模型"),
    "watch": ("3. Watch", "3. 观察"),
    "watch_about": ("Curves, checkpoints and the time that is left.", "曲线、检查点和剩余时间。"),
    "watch_open": ("See the jobs", "查看任务"),
    "watch_done": ("See the jobs", "查看任务"),
    "chat": ("4. Chat and compare", "4. 对话和对比"),
    "chat_about": ("Ask your model, beside the one it began as.", "向模型提问，并与训练前的模型对比。"),
    "chat_open": ("Chat with a base model", "与基础模型对话"),
    "chat_done": ("Chat with your model", "与您的模型对话"),
    "done": ("done", "已完成"),
    "running": ("under way", "进行中"),
    "next": ("next", "下一步"),
    "newest": ("Newest work", "最近的工作"),
    "all": ("All jobs", "全部任务"),
}

HELP: Words = {
    "title": ("Help", "帮助"),
    "pages": ("The pages", "各个页面"),
    "home_about": ("The road from data to a chat, and the newest work.", "从数据到对话的步骤，以及最近的工作。"),
    "jobs_about": (
        "Every job and run, newest first. Open one for curves, checkpoints, log, and to pause, resume or cancel it.",
        "所有任务和运行，新的在前。打开后可以查看曲线、检查点和日志，也可以暂停、继续或取消。",
    ),
    "train_about": (
        "A file and a base model become a job. The form shows the same request as JSON, curl, Python and a command.",
        "由数据文件和基础模型创建任务。表单同时给出对应的 JSON、curl、Python 和命令行请求。",
    ),
    "chat_about": (
        "A conversation with a base model, a model that is trained, or one of its checkpoints, with images where the "
        "model reads them.",
        "与基础模型、训练好的模型或它的某个检查点对话，支持图片的模型可以发送图片。",
    ),
    "compare_about": (
        "One question to two models side by side, and a fixed set of probe questions to both.",
        "同一个问题同时问两个模型，也可以对两个模型运行一组固定的探针问题。",
    ),
    "runs_about": (
        "The runs in the folder of `eyegraft web`, while they train and later: curves, report, sample answers, log.",
        "`eyegraft web` 所用文件夹中的运行：训练期间和训练之后的曲线、报告、示例回答和日志。",
    ),
    "data_about": (
        "Records as the model reads them, and the check of a complete file with the fix for each finding.",
        "按模型读取的样子查看记录，或检查整个文件并给出每个问题的修复方法。",
    ),
    "keyboard": ("Keyboard", "键盘"),
    "key_tab": ("Next link, field or button; with Shift the one before", "下一个链接、输入框或按钮，加 Shift 为上一个"),
    "key_enter": (
        "Follow a link, press a button, send a question (Shift+Enter: a new line)",
        "打开链接、按下按钮、发送问题（Shift+Enter 换行）",
    ),
    "key_space": ("Choose in a list or tick a box", "在列表中选择或勾选"),
    "key_escape": ("Close a question without doing anything", "关闭确认框，不做任何操作"),
    "docs": ("Documentation", "文档"),
    "docs_about": (
        "It is in the folder docs of the source code, which an installed package does not have: "
        "docs/tutorials/service.md begins with an empty service, docs/how-to has one page a task, docs/reference has "
        "every key.",
        "文档在源代码的 docs 目录中，安装包里不包含：docs/tutorials/service.zh.md 从空的服务开始，"
        "docs/how-to 每个任务一页，docs/reference 列出全部字段。",
    ),
    "docs_command": ("On the command line, every command explains itself:", "命令行中每个命令都有说明："),
    "api": ("The API of this service, for programs:", "本服务面向程序的 API："),
}
