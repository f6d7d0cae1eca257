"""Chinese texts of training: its data, steps, checkpoints and figures, by their English patterns."""

SYSTEM_MESSAGES = {
    "No such file or directory": "没有这个文件或文件夹",
    "Permission denied": "没有权限",
    "Operation not permitted": "不允许此操作",
    "Is a directory": "是文件夹",
    "Not a directory": "不是文件夹",
    "File exists": "文件已存在",
    "Directory not empty": "文件夹不为空",
    "No space left on device": "磁盘空间不足",
    "Disk quota exceeded": "超出磁盘配额",
    "Read-only file system": "文件系统只读",
    "Input/output error": "读写错误",
    "File name too long": "文件名过长",
    "Too many open files": "打开的文件过多",
    "Too many levels of symbolic links": "符号链接层数过多",
    "Invalid argument": "参数无效",
    "Cannot allocate memory": "内存不足",
    "Connection refused": "连接被拒绝",
    "Connection reset by peer": "连接被对方重置",
    "Network is unreachable": "网络不可达",
    "timed out": "超时",
}
"""The operating system's own."""

PROGRESS_MESSAGES = {
    "{}: done in {}": "{}：完成，用时 {}",
    "{}: {} so far": "{}：已用 {}",
    "{}, {} left": "{}，剩余 {}",
    "left {}": "剩余 {}",
    "step": "步",
    "train": "训练",
    "validation": "验证",
    "plan": "计划",
    "{} records": "{} 条记录",
    "{} of {}": "{} / {}",
    "{} of at most {}": "{} / 最多 {}",
    "reading and encoding {}": "读取并编码 {}",
    "loading {}": "加载 {}",
    "loading {}, in {} bits": "以 {1} 位加载 {0}",
    "loading the tower {}": "加载视觉塔 {}",
    "importing transformers": "导入 transformers",
    "downloading {} with pip": "用 pip 下载 {}",
    "importing torch and transformers": "导入 torch 和 transformers",
    "hashing what the run starts from": "计算起始文件的哈希",
    "preparing the optimizer": "准备优化器",
    "moving the model to its device": "把模型移到设备上",
    "trying the largest pack, forward and backward": "用最大的包试算一次前向和反向",
    "looking for cached features of images": "查找已缓存的图片特征",
    "measuring the features of images": "统计图片特征",
    "planning the packs of all steps": "规划每一步的包",
    "forecasting a step": "预估一步",
    "forecasting a step of {}": "预估 {} 的一步",
    "forecasting a change, {} done": "预估改动的效果，已完成 {} 个",
    "{} merged into {}": "把 {} 合并进 {}",
    "finishing this step, then saving; once more stops at once": "完成这一步后保存；再按一次立即停止",
}
"""What is being done."""

CORPUS_MESSAGES = {
    "{}: left out from step {}: {}": "{}：从第 {} 步起跳过：{}",
    "step {}: {}: {}. The image was readable when the run's data was checked. Repair it and run the same command to "
    "continue from the last checkpoint, or set data.on_bad_image: quarantine": (
        "第 {} 步：{}：{}。训练开始检查数据时这张图片还能读取。请修复后再次运行同一命令，从最近的检查点继续；"
        "或设置 data.on_bad_image: quarantine"
    ),
    "{} of {} records have bad images, more than the {} that data.on_bad_image: quarantine leaves out (one in {}). "
    "Repair the files and run the same command to continue from the last checkpoint": (
        "{1} 条记录中有 {0} 条的图片损坏，超过 data.on_bad_image: quarantine 允许跳过的 {2} 条（每 {3} 条一条）。"
        "请修复文件，再次运行同一命令，从最近的检查点继续"
    ),
    "All {} records were longer than data.max_length": "全部 {} 条记录都超过 data.max_length",
    "{} tokens, data.max_length is {}": "共 {} 个 token，data.max_length 为 {}",
    "Raise data.max_length, shorten the record, or set data.too_long: drop": (
        "请增大 data.max_length、缩短该记录，或设置 data.too_long: drop"
    ),
    "The sources are empty": "数据源为空",
    "{}: no record to train on. {}": "{}：没有可以训练的记录。{}",
    "Records that share an image, an id or all words stay together: add others, or ask for fewer parts": (
        "图片、id 或全部文字相同的记录不能拆开：请补充其他记录，或减少份数"
    ),
    "{} records that stay together in {} group cannot fill {} parts": "{0} 条记录只有 {1} 组，同组不能拆开，不够分成 {2} 份",
    "{} records that stay together in {} groups cannot fill {} parts": "{} 条记录分成 {} 组，同组不能拆开，不够分成 {} 份",
    "{} record cannot fill {} parts": "{} 条记录不够分成 {} 份",
    "{} records cannot fill {} parts": "{} 条记录不够分成 {} 份",
    "Set data.validation: 0, or name data.validation_sources": (
        "请设置 data.validation: 0，或指定 data.validation_sources"
    ),
    "data.validation: {}: all {} samples share {}, and what they share would be in training and validation at once. {}, "
    "or add records with other {}": (
        "data.validation: {}：全部 {} 个样本的{}相同，会同时出现在训练集和验证集中。{}，或补充其他{}的记录"
    ),
    "data.validation: {}: the data is a single sample, which is needed for training. {}": (
        "data.validation: {}：数据只有一个样本，要用于训练。{}"
    ),
    "the same text": "文本",
    "texts": "文本",
    "data.validation: {} holds out {} of {} samples: those that share an image or a text stay together": (
        "data.validation: {0}：{2} 个样本中留出 {1} 个作验证，因为图片或文本相同的样本不能拆开"
    ),
    "step {}: no record is left, all have images that cannot be read. Repair them, or raise train.batch": (
        "第 {} 步：没有剩下任何记录，图片都无法读取。请修复图片，或增大 train.batch"
    ),
    "train.pack_tokens is {}, but a sample has {} tokens. Raise train.pack_tokens or lower data.max_length": (
        "train.pack_tokens 为 {}，但有样本长 {} 个 token。请增大 train.pack_tokens，或减小 data.max_length"
    ),
    "train.pack_images is {}, but a sample has {} images, counting each view of a tiled image. Raise "
    "train.pack_images": (
        "train.pack_images 为 {}，但有样本含 {} 张图片（分块图片的每个视图计为一张）。请增大 train.pack_images"
    ),
    "dropped, too long: {}": "过长，已跳过：{}",
    "train.evaluate.every: {}: the run has {} steps and would be evaluated at its end alone. Set it to {} or less; "
    "`eyegraft eval` evaluates a finished run": (
        "train.evaluate.every：{}：该运行只有 {} 步，只会在结束时评测一次。请设为 {} 或更小；"
        "评测已完成的运行请用 `eyegraft eval`"
    ),
    "data.validation: {}: data.validation_sources are given too, and the records held out would be used for nothing. "
    "Set one of the two": ("data.validation: {}：同时给出了 data.validation_sources，留出的记录将毫无用处。请只设一个"),
    "{}: no supervised token; its loss would be zero. Fix or remove it": (
        "{}：没有参与监督的 token，loss 恒为 0。请改正或删除"
    ),
}
"""Records on their way to a step."""

RUN_MESSAGES = {
    "RANK is {}, WORLD_SIZE is {}: start the run with --nproc or with torchrun": (
        "RANK 为 {}，WORLD_SIZE 为 {}：请用 --nproc 或 torchrun 启动"
    ),
    "process {} of {} lost the others: {}. The process that ended first reports the cause; the same command resumes "
    "from the last checkpoint": (
        "{1} 个进程中的第 {0} 个与其他进程失去联系：{2}。原因见最先结束的进程；再次运行同一命令会从最近的检查点继续"
    ),
    "parallel.sequence is {}, which does not divide the {} processes of this run": (
        "parallel.sequence 为 {}，不能整除本次训练的 {} 个进程"
    ),
    "parallel.sequence is {}, which does not divide the LLM's {} attention heads": (
        "parallel.sequence 为 {}，不能整除语言模型的 {} 个注意力头"
    ),
    "parallel.zero needs processes to share: start it with --nproc N (1 is enough) or torchrun": (
        "parallel.zero 需要多进程环境：请用 --nproc N（1 即可）或 torchrun 启动"
    ),
    "optim.name: {} under parallel.zero: {}: ZeRO partitions the optimizer and cannot partition 8-bit blocks. Use "
    "adamw, whose states are partitioned, or zero: 0": (
        "optim.name: {} 与 parallel.zero: {}：ZeRO 要切分优化器，无法切分 8 位分块。请用状态可切分的 adamw，或 zero: 0"
    ),
    "optimizer state: {} and {} more are on one side only. Was the recipe changed?": (
        "优化器状态：{} 以及另外 {} 项只在一边存在。是否改过配方？"
    ),
    "parallel.zero needs DeepSpeed: pip install 'eyegraft[deepspeed]'": (
        "parallel.zero 需要 DeepSpeed：pip install 'eyegraft[deepspeed]'"
    ),
    "deepspeed: {}": "deepspeed：{}",
    "attention: {}": "注意力：{}",
    "{} is not a run folder: config.yaml is missing. Name a folder that a run wrote, such as runs/my-run": (
        "{} 不是训练目录：缺少 config.yaml。请指定训练写出的目录，例如 runs/my-run"
    ),
    "{} holds a run of stage {}; name the folder of a text run (stage: {})": (
        "{} 是 stage 为 {} 的训练；请指定纯文本训练的目录（stage: {}）"
    ),
    "{} holds a run of stage {}; name the folder of a training run": "{} 的 stage 为 {}；请指定训练的目录",
    "from: {}: these runs start from each other. Correct `from` in the config.yaml of one": (
        "from: {}：这些训练互为起点。请改正其中一个 config.yaml 的 `from`"
    ),
    "model.{} is {}, but {} was trained with {}. A run that starts `from` another has the same model section": (
        "model.{} 为 {}，而 {} 训练时为 {}。用 `from` 接着训练时，model 小节必须相同"
    ),
    "step {}: loss {}, gradient norm {}; the weights were not changed. Lower optim.lr, set optim.clip, or look at this "
    "step's records": (
        "第 {} 步：loss 为 {}，梯度范数为 {}；权重没有更新。请减小 optim.lr、设置 optim.clip，或检查这一步的记录"
    ),
    "stopped by {} after step {}; saved{}. Run the same command to go on": (
        "收到 {}，第 {} 步后停止；已保存{}。再次运行同一命令即可继续"
    ),
    "stopped by {} after step {}; saved in {}. Run the same command to go on": (
        "收到 {}，第 {} 步后停止；已保存到 {}。再次运行同一命令即可继续"
    ),
    "step {}: out of memory on a pack of {}; the weights were not changed. Lower train.pack_tokens or data.max_length, "
    "or set train.recompute: true": (
        "第 {} 步：处理 {} 的包时内存不足；权重没有更新。请减小 train.pack_tokens 或 data.max_length，"
        "或设置 train.recompute: true"
    ),
    "tune: nothing trains. Choose full, lora or qlora, or a stage that trains the projector.": (
        "tune：没有可训练的参数。请选择 full、lora 或 qlora，或选择训练投影器的阶段。"
    ),
    "optimizer state of {}: found {}, this run's optimizer ({}) has {}. Was optim.name or the model changed?": (
        "{} 的优化器状态为 {}，而本次的优化器（{}）为 {}。是否改过 optim.name 或模型？"
    ),
    "optim.name: {} needs bitsandbytes: pip install 'eyegraft[quant]'": (
        "optim.name: {} 需要 bitsandbytes：pip install 'eyegraft[quant]'"
    ),
    "optimizer state {} has no parameter in this run. Was the recipe changed?": (
        "优化器状态 {} 在本次训练中没有对应的参数。是否改过配方？"
    ),
    "parameters that train and parameters that should train differ: {}": "实际训练的参数与应训练的参数不一致：{}",
    "the {}'s gradient is zero on the largest pack: nothing would be learned. Do the records hold images, and do "
    "answers follow them?": "{} 在最大的包上梯度为 0，什么也学不到。记录中有图片吗？图片之后有回答吗？",
    "the first loss is {} on the largest pack ({}). Look at these records": (
        "最大的包（{1}）上首次的 loss 为 {0}。请检查这些记录"
    ),
    "{}: finished at step {}; nothing to do": "{}：已在第 {} 步完成，无需再训练",
    "{}: is at step {}, the new plan ends at {}; nothing to do": "{}：已到第 {} 步，新的计划到第 {} 步为止，无需再训练",
    "{}: going on after step {}{}": "{}：从第 {} 步之后继续{}",
    "; as other processes, with other dropout": "；进程数不同，dropout 也不同",
    "{}: going on after step {}; as other processes, with other dropout": (
        "{}：从第 {} 步之后继续；进程数不同，dropout 也不同"
    ),
    "{}: the disk refused: {}. Free space or check the disk and its rights, then run the same command to go on from "
    "the last checkpoint": ("{}：磁盘写入失败：{}。请释放空间或检查磁盘和权限，再运行同一命令从最近的检查点继续"),
    "{} is being trained by {}. Wait for it, stop it, or choose another `out`": (
        "{} 正在由 {} 训练。请等它结束、停止它，或换一个 `out`"
    ),
    "another process": "另一个进程",
    "{} holds a run of another recipe; these lines differ": "{} 中是另一份配方的训练，以下各行不同",
    "Go on with the old recipe ({}), choose another `out`, delete the folder, or add --anyway": (
        "请沿用原来的配方（{}）、换一个 `out`、删除该文件夹，或加上 --anyway"
    ),
    "was: {}": "原来：{}",
    "now: {}": "现在：{}",
    "the same lines in another order": "各行相同，但顺序不同",
    "{}: the run folder cannot be written: {}. Choose another `out`": "{}：无法写入训练目录：{}。请换一个 `out`",
    "{}: the run folder cannot be written: {}. Free space, or choose another `out`": (
        "{}：无法写入训练目录：{}。请释放空间，或换一个 `out`"
    ),
    "{}: cannot be read: {}. Choose another `out`": "{}：无法读取：{}。请换一个 `out`",
    "{} steps, final loss {}": "{} 步，最终 loss {}",
    "{} steps": "{} 步",
    "{}: {}, {} minutes of training; report.json, loss.png, checkpoints/": (
        "{}：{}，训练 {} 分钟；结果见 report.json、loss.png、checkpoints/"
    ),
    "{}: {} steps, final loss {}, {} minutes of training; report.json, loss.png, checkpoints/": (
        "{}：{} 步，最终 loss {}，训练 {} 分钟；结果见 report.json、loss.png、checkpoints/"
    ),
    "probe {} {} -> {}": "探针 {} {} -> {}",
}
"""Runs."""

CHECKPOINT_MESSAGES = {
    "{}: no checkpoint {}; there are: {}": "{}：没有检查点 {}；现有：{}",
    "{}: no checkpoint is intact": "{}：没有完好的检查点",
    "Delete {} to begin anew": "删除 {} 可从头开始",
    "{} names {}, which is gone; going on from {}": "{} 所指的 {} 已不存在；从 {} 继续",
    "none of the checkpoints, though {} names {}": "没有任何检查点，但 {} 指向 {}",
    "{}: found {}. Bring one back, or delete {} to begin anew": "{}：{}。请恢复一个检查点，或删除 {} 以从头开始",
    "{}: found none of the checkpoints, though {} names {}. Bring one back, or delete {} to begin anew": (
        "{}：没有任何检查点，但 {} 指向 {}。请恢复一个检查点，或删除 {} 以从头开始"
    ),
    "{}: was stopped before its first checkpoint was complete; beginning at step 1": (
        "{}：上次在第一个检查点完成之前停止；从第 1 步开始"
    ),
    "{}: the run folder was deleted or emptied while it was trained; nothing more is written there. Train again": (
        "{}：训练期间运行文件夹被删除或清空；不再向其中写入。请重新训练"
    ),
    "{}: the checkpoint could not be written: {}. Free space or check the rights, then run the same command to go on "
    "from the checkpoint before": ("{}：无法写入检查点：{}。请释放空间或检查权限，再运行同一命令从上一个检查点继续"),
    "it does not count towards train.keep": "它不计入 train.keep",
    "{}: an old checkpoint could not be deleted, {}": "{}：无法删除旧检查点，{}",
    "set aside as {}; going on from {}": "已改名为 {}；从 {} 继续",
    "{}: cannot be written: {}. Check the rights and the free space": "{}：无法写入：{}。请检查权限和剩余空间",
    "Choose another checkpoint; training again sets this one aside": "请换一个检查点；再次训练会把它放到一边",
    "it takes {} MiB, {} MiB are free": "需要 {} MiB，剩余 {} MiB",
    "{}: holds step {}; the folder was renamed. {}": "{}：内容是第 {} 步的，文件夹被改过名。{}",
    "{}: changed since it was written, it names too few files. {}": "{}：写出之后被改动，列出的文件不全。{}",
    "{}: missing or changed since it was written. {}": "{}：缺失，或写出之后被改动。{}",
    "{}: cannot be read: {}. {}": "{}：无法读取：{}。{}",
    "weight {} {} has no place in this model. Was the recipe's model changed?": (
        "权重 {} {} 在该模型中没有位置。是否改过配方中的模型？"
    ),
    "{}: is no part of the checkpoint, {} does not name it. {}": "{}：不属于该检查点，{} 没有列出它。{}",
    "{}: {} is missing; the checkpoint is incomplete. {}": "{}：缺少 {}；检查点不完整。{}",
    "{}: changed since it was written. {}": "{}：写出之后被改动。{}",
    "the steps to come would not be the ones that were planned. Bring it back, choose another `out`, or add --anyway to "
    "go on": "接下来的步骤将与原计划不同。请恢复原状、换一个 `out`，或加上 --anyway 继续",
    "{}: {} is no part of this run any more: {}": "{}：{} 已不属于本次训练：{}",
    "{}: the recipe changed since it was written": "{}：写出之后配方有改动",
    "{}: cannot be read: {}. Bring it back, or choose another `out`": "{}：无法读取：{}。请恢复该文件，或换一个 `out`",
    "{}: cannot be read: {}. Bring it back, or name another model": "{}：无法读取：{}。请恢复该文件，或换一个模型",
    "{}: cannot be written: {}. Choose another `out` or data.cache": "{}：无法写入：{}。请换一个 `out` 或 data.cache",
    "the training data": "训练数据",
    ", or another version of Eyegraft encoded its records to other ids": "，或其他版本的 Eyegraft 把记录编码成了不同的 id",
    "{}: {} changed since the run began ({} then, {} now){}: {}": "{}：训练开始后 {} 有改动（当时 {}，现在 {}）{}：{}",
    "{}: {} changed since the run began ({} then, {} now): {}": "{}：训练开始后 {} 有改动（当时 {}，现在 {}）：{}",
    "{}: its recipe is of another version ({}): {}": "{}：其配方属于其他版本（{}）：{}",
    "Remove the damaged lines, or the file: only curves and reports are made from it": (
        "请删除损坏的行或整个文件：它只用于画曲线和写报告"
    ),
    "{}: holds {} bytes of the {} that the checkpoint counts; older metrics are lost": (
        "{0}：检查点记有 {2} 字节，现有 {1} 字节；较早的指标已丢失"
    ),
    "a line of more than {} bytes is not of metrics": "超过 {} 字节的行不是指标",
    "{}:{}: a line of more than {} bytes is not of metrics. {}": "{}:{}：超过 {} 字节的行不是指标。{}",
    "{}:{}: is not a line of metrics: {}. {}": "{}:{}：不是指标行：{}。{}",
    "{}: holds no figures by name. Train again to have it written": "{}：其中没有按名称记录的数值。请重新训练以生成",
    "{}: cannot be read: {}. Train again to have it written": "{}：无法读取：{}。请重新训练以生成",
}
"""Checkpoints, their provenance, metrics and reports."""

CHART_MESSAGES = {
    "training": "训练",
    "optimizer step": "步数",
    "loss per target": "每个监督 token 的 loss",
    "learning rate": "学习率",
    "length": "长度",
    "packs of an epoch": "一轮中的包",
    "questions and answers of a record": "每条记录的问答数",
    "share of all answers": "占全部回答的比例",
    "tokens of a pack": "每个包的 token 数",
    "tokens of a record": "每条记录的 token 数",
    "characters of a record": "每条记录的字符数",
    "packs": "包数",
    "median": "中位数",
    "answer {}": "回答 {}",
}
"""Charts."""

TRAINING_MESSAGES = (
    SYSTEM_MESSAGES | PROGRESS_MESSAGES | CORPUS_MESSAGES | RUN_MESSAGES | CHECKPOINT_MESSAGES | CHART_MESSAGES
)
