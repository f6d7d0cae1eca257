"""The texts of the Train page, English and Chinese side by side."""

from demo.job_pages.parts.words import Words

FORM: Words = {
    "title": ("Train a model", "训练模型"),
    "data": ("1. Data", "1. 数据"),
    "model_part": ("2. Model", "2. 模型"),
    "method_part": ("3. Training", "3. 训练方式"),
    "request_part": ("The request", "请求"),
    "request_about": (
        "What this form sends. The same by the API or the command line is the same job.",
        "本表单提交的内容。通过 API 或命令行提交同样的请求，得到同样的任务。",
    ),
    "submit": ("Start training", "开始训练"),
    "choose": ("Choose...", "请选择……"),
    "none": ("None", "无"),
    "auto": ("automatic", "自动"),
    "file": ("Training data", "训练数据"),
    "file_about": (
        "Conversations as JSONL, JSON, CSV, Parquet or Excel, in any format that training reads.",
        "JSONL、JSON、CSV、Parquet 或 Excel 格式的对话，支持训练能读取的任何格式。",
    ),
    "upload": ("Upload a file", "上传文件"),
    "or_drop": ("or drop it here", "或拖放到这里"),
    "uploading": ("Uploading {}: {} %", "正在上传 {}：{}%"),
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
    "model": ("Base model", "基础模型"),
    "model_about": ("The model that training starts from.", "训练的起点。"),
    "offered": ("Models of this service", "本服务的模型"),
    "trained_here": ("Trained here", "在这里训练的模型"),
    "tower": ("Vision tower", "视觉塔"),
    "tower_about": (
        "Gives a text model eyes. A model that was trained with images has one already.",
        "让文本模型能看图片。用图片训练过的模型已经带有视觉塔。",
    ),
    "stage": ("What is trained", "训练内容"),
    "finetune": ("answers about images", "关于图片的回答"),
    "pretrain": ("the projector alone, as a first step", "先只训练投影器"),
    "method": ("Method", "方法"),
    "lora": ("LoRA: small adapters, little memory", "LoRA：小型适配器，内存占用少"),
    "qlora": (
        "QLoRA: the same over a model in 4 bits, for large ones",
        "QLoRA：在 4 位量化的模型上训练适配器，适合大模型",
    ),
    "full": ("Full: every weight, most memory", "全量：训练全部权重，内存占用最多"),
    "epochs": ("Epochs", "训练轮数"),
    "batch": ("Batch size", "批大小"),
    "rate": ("Learning rate factor", "学习率倍数"),
    "length": ("Longest record, tokens", "最长记录（token 数）"),
    "seed": ("Seed", "随机种子"),
    "suffix": ("Name", "名称"),
    "suffix_about": ("Part of the trained model's name.", "训练出的模型名称的一部分。"),
    "engine": ("Runs on", "运行位置"),
    "more": ("Other keys of the recipe", "配方的其他键"),
    "more_about": ("One a line: train.save_every=100", "每行一个：train.save_every=100"),
    "more_settings": ("More settings", "更多设置"),
    "as_json": ("JSON", "JSON"),
    "as_curl": ("curl", "curl"),
    "as_python": ("Python", "Python"),
    "as_command": ("Command line", "命令行"),
    "not_submitted": ("This cannot be submitted yet. See the fields that are marked.", "还不能提交，请查看标出的项。"),
}

# What a field takes, said where it does not.
MISTAKES: Words = {
    "file": ("Upload a file or choose one.", "请上传或选择一个文件。"),
    "model": ("Choose a model.", "请选择模型。"),
    "epochs": ("A whole number from 1 to 1,000, or nothing.", "1 到 1000 的整数，或留空。"),
    "batch": ("A whole number from 1 to 65,536, or nothing.", "1 到 65536 的整数，或留空。"),
    "rate": ("A number above 0 and up to 1,000, or nothing.", "大于 0、不超过 1000 的数，或留空。"),
    "length": ("A whole number of tokens above 0, or nothing.", "大于 0 的整数（token 数），或留空。"),
    "seed": ("A whole number from 0 to 2,147,483,647, or nothing.", "0 到 2147483647 的整数，或留空。"),
    "suffix": (
        "At most 64 letters of A to Z, digits, dots, dashes and underscores.",
        "最多 64 个字符：英文字母、数字、点、连字符和下划线。",
    ),
    "more": ("Write section.key=value, one a line; found: {}", "请写成 section.key=value，每行一个；现在是：{}"),
}

LOOK: Words = {
    "waiting": ("Waiting to look at the data...", "等待检查数据……"),
    "unpacking": ("Unpacking the images...", "正在解压图片……"),
    "running": ("Looking at the data: {} so far...", "正在检查数据：目前 {}……"),
    "records": ("{:,} records", "{:,} 条记录"),
    "record": ("1 record", "1 条记录"),
    "images": ("{:,} images", "{:,} 张图片"),
    "image": ("1 image", "1 张图片"),
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
