"""Chinese texts of experiment trackers, by their English patterns."""

TRACK_MESSAGES = {
    "experiment trackers that get the metrics and the answers to probes: tensorboard, wandb, swanlab, mlflow, trackio; "
    "none when empty": ("接收指标和探针回答的实验跟踪工具：tensorboard、wandb、swanlab、mlflow、trackio；为空则没有"),
    "track, a list of trackers": "track，跟踪工具的列表",
    "{} is named twice": "{} 写了两次",
    "track: {} cannot be imported. Run `pip install {}`": "track：无法导入 {}。请运行 `pip install {}`",
    "looking at the trackers": "检查跟踪工具",
    "importing it took more than {} s. Try it by itself, or take it out of `track`": (
        "导入超过 {} 秒。请单独试一试，或从 `track` 中去掉它"
    ),
    "cannot be used: {}. Install it anew, or take it out of `track`": (
        "无法使用：{}。请重新安装，或从 `track` 中去掉它"
    ),
    "track: {}: cannot be used: {}. Install it anew, or take it out of `track`": (
        "track：{}：无法使用：{}。请重新安装，或从 `track` 中去掉它"
    ),
    "no login to Weights & Biases was found. Run `wandb login`, or set WANDB_MODE=offline": (
        "没有找到 Weights & Biases 的登录信息。请运行 `wandb login`，或设置 WANDB_MODE=offline"
    ),
    "no login to SwanLab was found. Run `swanlab login`, or set SWANLAB_MODE=offline": (
        "没有找到 SwanLab 的登录信息。请运行 `swanlab login`，或设置 SWANLAB_MODE=offline"
    ),
    "SWANLAB_MODE=local needs swanboard. Run `pip install swanboard`, or set SWANLAB_MODE=offline": (
        "SWANLAB_MODE=local 需要 swanboard。请运行 `pip install swanboard`，或设置 SWANLAB_MODE=offline"
    ),
    "mlflow {} has no database without {}. Run `pip install mlflow`": (
        "mlflow {} 缺少 {} 时没有数据库。请运行 `pip install mlflow`"
    ),
    "{} is set, but runs are stored on this machine alone. Unset it; `trackio sync` shares them": (
        "设置了 {}，但运行只保存在本机。请取消该变量；可用 `trackio sync` 共享"
    ),
    "handing the last metrics on to {}": "把最后的指标交给 {}",
    "{}: failed: {}. The run does not need it; what is not sent is sent later, or by the same command again. Its "
    "output is in {}": "{}：出错：{}。训练不受影响；没有送出的内容稍后再送，或再次运行同一命令时送出。它的输出在 {}",
    "{}: could not be started: {}. The run does not need it; what is not sent is sent later, or by the same command "
    "again. Its output is in {}": (
        "{}：无法启动：{}。训练不受影响；没有送出的内容稍后再送，或再次运行同一命令时送出。它的输出在 {}"
    ),
    "{}: is still storing the last metrics, for at most {} s more. The run does not need it; what is not sent is sent "
    "later, or by the same command again. Its output is in {}": (
        "{}：仍在保存最后的指标，最多再用 {} 秒。训练不受影响；没有送出的内容稍后再送，或再次运行同一命令时送出。"
        "它的输出在 {}"
    ),
    "could not be started: {}": "无法启动：{}",
    "is still storing the last metrics, for at most {} s more": "仍在保存最后的指标，最多再用 {} 秒",
    "The run does not need it": "训练不受影响",
    "what is not sent is sent later, or by the same command again": "没有送出的内容稍后再送，或再次运行同一命令时送出",
    "Its output is in {}": "它的输出在 {}",
    "not everything was stored within {} s": "没能在 {} 秒内全部保存",
}
