"""The texts of the page of curves, English and Chinese side by side."""

from demo.job_pages.parts.words import Words

CURVES_PAGE: Words = {
    "title": ("Curves", "曲线"),
    "none_title": ("No runs to compare", "没有要对比的训练"),
    "none_text": (
        "Mark jobs in the table, then press Compare curves; or choose one above.",
        "请在任务列表中勾选任务，然后点击“对比曲线”；也可以在上面选择一个。",
    ),
    "gone": ("Not shown, since they were removed: {}", "未显示，因为已被删除：{}"),
    "add": ("Add this run", "添加该训练"),
    "settings": ("Settings of the curves", "曲线设置"),
    "smoothing": ("Smoothing", "平滑"),
    "log": ("Logarithmic axis", "对数坐标"),
    "reset": ("Show all steps", "显示全部步数"),
    "csv": ("All metrics as CSV", "全部指标（CSV）"),
    "png": ("PNG", "PNG 图片"),
    "png_of": ("{} as PNG", "{} PNG 图片"),
    "help": (
        "Drag over steps to zoom, double-click to show all. With the keyboard: arrows move the cursor, + and - zoom, 0 "
        "shows all.",
        "拖动选择步数范围可放大，双击显示全部。键盘：方向键移动光标，加号与减号键缩放，0 显示全部。",
    ),
    "step_axis": ("Step", "步"),
    "at_step": ("Step {}", "第 {} 步"),
    "no_values": ("No values yet.", "还没有数据。"),
    "no_values_valid_loss": (
        "No values yet. They need validation data: a file of its own, or a share of the training data "
        "(data.validation).",
        "还没有数据。需要验证数据：单独的文件，或训练数据的一部分（data.validation）。",
    ),
    "no_values_evaluation": (
        "No values yet. They need questions to ask while training: train.evaluate in a recipe.",
        "还没有数据。需要在配方中用 train.evaluate 设置训练期间的评测问题。",
    ),
    "reading": ("{}: read to {} %", "{}：已读取 {}%"),
    "not_positive": (
        "Values of 0 and below are not on a logarithmic axis.",
        "对数坐标不显示小于或等于 0 的值。",
    ),
}

VALUES: Words = {
    "caption": ("Last and best values", "最新值与最佳值"),
    "run": ("Run", "训练"),
    "shown": ("Show {}", "显示 {}"),
    "steps": ("Step", "步"),
    "train_loss": ("Training loss", "训练损失"),
    "valid_loss": ("Validation loss", "验证损失"),
    "evaluation": ("Evaluation score", "评测得分"),
    "lr": ("Learning rate", "学习率"),
    "grad_norm": ("Gradient norm", "梯度范数"),
    "tokens_per_s": ("Tokens per second", "每秒 token 数"),
    "memory_gib": ("Memory, GiB", "内存（GiB）"),
    "lowest": ("lowest {} at step {}", "最低 {0}（第 {1} 步）"),
    "highest": ("highest {} at step {}", "最高 {0}（第 {1} 步）"),
}
