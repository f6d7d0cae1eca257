"""The texts of the Train page, English and Chinese side by side; `plan_words` has those of the plan."""

from demo.job_pages.parts.words import Words

FORM: Words = {
    "title": ("Train a model", "训练模型"),
    "data": ("1. Data", "1. 数据"),
    "model_part": ("2. Model", "2. 模型"),
    "method_part": ("3. Training", "3. 训练方式"),
    "plan_part": ("4. Plan and start", "4. 计划与开始"),
    "request_part": ("The same in writing", "写出来的同一任务"),
    "request_about": (
        "The recipe for eyegraft train, and what this form sends. By the API or the command line it is the same job.",
        "供 eyegraft train 使用的配方，以及本表单提交的内容。通过 API 或命令行提交，得到同样的任务。",
    ),
    "choose": ("Choose...", "请选择……"),
    "none": ("None", "无"),
    "auto": ("automatic", "自动"),
    "file": ("Training data", "训练数据"),
    "file_about": (
        "Conversations as JSONL, JSON, CSV, Parquet or Excel, in any format that training reads, and a zip or tar file "
        "of the images that they name. Several files are trained on together.",
        "JSONL、JSON、CSV、Parquet 或 Excel 格式的对话，支持训练能读取的任何格式；"
        "以及记录所引用图片的 zip 或 tar 压缩包。可以同时使用多个文件。",
    ),
    "limit": ("At most {} a file.", "每个文件最多 {}。"),
    "too_large": ("it has {}; at most {} fit.", "大小为 {}，最多 {}。"),
    "image_file": (
        "An image alone is no training data. Put the images into one zip file, and upload it with the file of records "
        "that names them.",
        "单独的图片不是训练数据。请把图片放进一个 zip 压缩包，与引用这些图片的数据文件一起上传。",
    ),
    "upload": ("Upload files", "上传文件"),
    "or_drop": ("or drop them here", "或拖放到这里"),
    "uploading": ("Uploading {}: {} %", "正在上传 {}：{}%"),
    "uploaded": ("{} is here.", "{} 已上传。"),
    "stored": ("Or one that was uploaded earlier", "或选择以前上传的文件"),
    "leave_out": ("Leave out {}", "去掉 {}"),
    "records": ("Records", "查看记录"),
    "records_of": ("Records of {} as the model reads them", "按模型读取的样子查看 {} 的记录"),
    "validation": ("Validation data", "验证数据"),
    "validation_about": (
        "Records that are not trained on, to see whether the model learns more than its data.",
        "不参与训练的记录，用来判断模型是否只是记住了数据。",
    ),
    "images": ("Images", "图片"),
    "images_about": (
        "A zip or tar file with the images that the records name.",
        "记录中引用的图片的 zip 或 tar 压缩包。",
    ),
    "more_data": ("Validation data and images", "验证数据和图片"),
    "identity": ("No data yet? Teach the model who it is", "还没有数据？教模型认识自己"),
    "identity_about": (
        "Some hundred questions about its name and maker, mixed with ordinary chat so that it still answers other "
        "questions.",
        "几百个关于名字和作者的问题，并混入普通对话，使模型仍能回答其他问题。",
    ),
    "identity_name": ("The assistant's name", "助手的名字"),
    "identity_author": ("Who made it", "作者"),
    "identity_languages": ("Languages", "语言"),
    "identity_make": ("Make this data", "生成数据"),
    "english": ("English", "英语"),
    "chinese": ("Chinese", "中文"),
    "both": ("Chinese and English", "中文和英语"),
    "model": ("Base model", "基础模型"),
    "model_about": ("The model that training starts from.", "训练的起点。"),
    "offered": ("Models of this service", "本服务的模型"),
    "hub": ("From the hub", "来自 Hugging Face"),
    "trained_here": ("Trained here", "在这里训练的模型"),
    "tower": ("Vision tower", "视觉塔"),
    "tower_about": (
        "Gives a text model eyes. A model that was trained with images has one already.",
        "让文本模型能看图片。用图片训练过的模型已经带有视觉塔。",
    ),
    "stage": ("What is trained", "训练内容"),
    "finetune": ("answers, with or without images", "回答（有图片或没有图片）"),
    "pretrain": ("the projector alone, as a first step", "先只训练投影器"),
    "tune-kind": ("Method", "方法"),
    "lora": ("LoRA: small adapters, little memory", "LoRA：小型适配器，内存占用少"),
    "qlora": (
        "QLoRA: the same over a model in 4 bits, for large ones",
        "QLoRA：在 4 位量化的模型上训练适配器，适合大模型",
    ),
    "full": ("Full: every weight, most memory", "全量：训练全部权重，内存占用最多"),
    "train-epochs": ("Epochs", "训练轮数"),
    "train-batch": ("Batch size", "批大小"),
    "optim-lr": ("Learning rate", "学习率"),
    "data-max_length": ("Longest record, tokens", "最长记录（token 数）"),
    "seed": ("Seed", "随机种子"),
    "seed_about": ("The same seed and data give the same run.", "种子和数据相同，训练就相同。"),
    "suffix": ("Name", "名称"),
    "suffix_about": ("Part of the trained model's name.", "训练出的模型名称的一部分。"),
    "engine": ("Runs on", "运行位置"),
    "processes": ("Processes", "进程数"),
    "processes_about": ("One a slot, that is one a GPU.", "每个槽位一个，即每块 GPU 一个。"),
    "all_settings": ("All settings", "全部设置"),
    "all_settings_about": (
        "Every key of a recipe, with what it is when left empty. Only what you fill in is sent.",
        "配方的所有键，括号中或灰色的是留空时的取值。只提交填写过的项。",
    ),
    "find_setting": ("Find a setting", "查找设置"),
    "group_job": ("This job", "本任务"),
    "group_data": ("Data", "数据"),
    "group_model": ("Images and projector", "图片和投影器"),
    "group_tune": ("What is trained, adapters", "训练哪些权重、适配器"),
    "group_optim": ("Optimizer", "优化器"),
    "group_train": ("Training loop", "训练过程"),
    "group_parallel": ("Several processes", "多个进程"),
    "group_track": ("Experiment trackers", "实验跟踪"),
    "as_yaml": ("Recipe", "配方"),
    "as_json": ("JSON", "JSON"),
    "as_curl": ("curl", "curl"),
    "as_python": ("Python", "Python"),
    "as_command": ("Command line", "命令行"),
    "yaml_run": ("# Run: eyegraft train {}", "# 运行：eyegraft train {}"),
    "yaml_folder": ("# in the folder of {}", "# 请在 {} 所在的文件夹中运行"),
    "yaml_unpacked": ("# after {} was unpacked into {}", "# 并先把 {} 解压到 {}"),
    "no_yaml": (
        "# Shown when data and model are chosen\n# and no field is marked.",
        "# 选择了数据和模型，\n# 并且没有标出的项时显示。",
    ),
    "not_submitted": ("This cannot be submitted yet. See the fields that are marked.", "还不能提交，请查看标出的项。"),
}

# What a field takes, said where it does not.
MISTAKES: Words = {
    "file": ("Upload a file or choose one.", "请上传或选择一个文件。"),
    "model": ("Choose a model.", "请选择模型。"),
    "seed": ("A whole number from 0 to 2,147,483,647, or nothing.", "0 到 2147483647 的整数，或留空。"),
    "processes": ("A whole number from 1 to 4,096, or nothing.", "1 到 4096 的整数，或留空。"),
    "suffix": (
        "At most 64 letters of A to Z, digits, dots, dashes and underscores.",
        "最多 64 个字符：英文字母、数字、点、连字符和下划线。",
    ),
    "long": ("At most {:,} characters.", "最多 {:,} 个字符。"),
    "vision_only": (
        "Only runs with images have this. Choose a vision tower, or leave it empty.",
        "只有带图片的训练才有这一项。请选择视觉塔，或留空。",
    ),
}

LOOK: Words = {
    "waiting": ("Waiting to look at the data...", "等待检查数据……"),
    "unpacking": ("Unpacking the images...", "正在解压图片……"),
    "running": ("Looking at the data: {} so far...", "正在检查数据：目前 {}……"),
    "records": ("{:,} records", "{:,} 条记录"),
    "record": ("1 record", "1 条记录"),
    "images": ("{:,} images", "{:,} 张图片"),
    "image": ("1 image", "1 张图片"),
    "answers": ("{:,} answers", "{:,} 个回答"),
    "answer": ("1 answer", "1 个回答"),
    "chinese_share": ("{}% in Chinese, Japanese or Korean", "{}% 为中文、日文或韩文"),
    "all_good": ("All of them can be trained on.", "全部可以用于训练。"),
    "some_bad": (
        "{:,} of them cannot be trained on. The job would be refused.",
        "其中 {:,} 条不能用于训练，任务会被拒绝。",
    ),
    "cut": (
        "Only the first part was looked at; the job checks its data again.",
        "只检查了开头部分；任务开始前会再次检查数据。",
    ),
    "findings": ("{:,} x {}", "{:,} 处{}"),
    "images_failed": ("The images cannot be used: {}", "图片不能使用：{}"),
    "empty_file": (
        "This file has no record. Check that it is the right one and was saved to its end, then upload it again.",
        "文件中没有记录。请确认选对了文件并且已完整保存，然后重新上传。",
    ),
    "failed": ("The look at the data failed: {}", "检查数据失败：{}"),
    "needs_tower": (
        "The records have images and {} reads text only. Choose a vision tower, or a model that was trained with "
        "images.",
        "记录含有图片，而 {} 只读文本。请选择视觉塔，或选择用图片训练过的模型。",
    ),
    "needs_images": (
        "The records name images that are not in them. Upload the archive that holds them.",
        "记录引用了图片文件，请上传包含这些图片的压缩包。",
    ),
    "no_images": (
        "The records name no image, so a tower has nothing to see.",
        "记录中没有图片，视觉塔没有可看的内容。",
    ),
}

HUB: Words = {
    "hub": ("Another model from the hub", "从 Hugging Face 下载其他模型"),
    "hub_about": (
        "Its id, as owner/name. It is downloaded into this service and can be chosen as soon as it is here.",
        "填写模型的 id，格式为“所有者/名称”。模型会下载到本服务，完成后即可选用。",
    ),
    "download": ("Download", "下载"),
    "queued": ("waits: {} of {}", "等待下载：{} / {}"),
    "downloading": ("arriving: {} of {}", "正在下载：{} / {}"),
    "checking": ("{} of {}, being checked", "{} / {}，正在校验"),
    "ready": ("here, {}", "已下载，{}"),
    "failed": ("stopped at {} of {}", "下载中断：{} / {}"),
    "cancelled": ("cancelled at {} of {}", "已取消：{} / {}"),
    "progress": ("Download of {}", "{} 的下载进度"),
    "cancel": ("Cancel", "取消"),
    "again": ("Go on", "继续下载"),
    "delete": ("Delete", "删除"),
    "ask_delete": ("Delete {} from this service?", "从本服务删除 {}？"),
}
