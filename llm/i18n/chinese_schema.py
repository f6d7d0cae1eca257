"""Chinese texts of what the keys of a recipe are for, and of other trainers' keys, by their English patterns."""

SOURCE_KEYS = {
    "file or folder, relative to the working directory, or data of a hub: `hf:datasets/org/name/train.jsonl`, "
    "`modelscope:datasets/org/name`": (
        "文件或文件夹，相对于当前目录；或模型中心的数据：`hf:datasets/org/name/train.jsonl`、`modelscope:datasets/org/name`"
    ),
    "name of a format (docs/how-to/data lists them), or auto: detected from the first 100 rows": (
        "格式名称（见 docs/how-to/data），或 auto：从前 100 条记录判断"
    ),
    "folder that image paths are relative to, here or of a hub; the data file's own when empty": (
        "图片路径的起始文件夹，本地的或模型中心的；为空则是数据文件所在的文件夹"
    ),
    "times each record is seen in an epoch; 0.5: a random half, redrawn in each epoch": (
        "每轮（epoch）中每条记录出现的次数；0.5 表示随机取一半，每轮重新抽取"
    ),
    "split of a hub data set, and of a folder or JSON file that has splits": (
        "Hugging Face 数据集的划分，也用于含有多个划分的文件夹或 JSON 文件"
    ),
    "for format: columns; maps system, input, output, text, image and video to column names": (
        "用于 format: columns；指定 system、input、output、text、image 和 video 对应的列名"
    ),
    "data sets that are trained on, at least one": "用于训练的数据集，至少一个",
    "chat template: a name such as chatml or vicuna, or auto: the tokenizer's own": (
        "对话模板：chatml、vicuna 等名称，或 auto：使用分词器自带的模板"
    ),
    "system prompt of records without one; empty for none": "没有系统提示词的记录使用的系统提示词；为空则没有",
    "together: a record of several turns is one sample; apart: each question is asked without the turns before it, "
    "and all of them share the record's images": (
        "together：多轮记录作为一个样本；apart：每个问题单独提问，不带之前的轮次，但共用该记录的图片"
    ),
    "check before step 1: decode every image, or read only its header (faster)": (
        "第 1 步之前的检查：解码每张图片，或只读文件头（更快）"
    ),
    "when an image cannot be read after that check. stop: the run ends with an error; quarantine: its records are left "
    "out from then on and listed in report.json, and the run stops once they are more than one in 1,000 (a single one "
    "is always allowed)": (
        "检查之后有图片无法读取时怎么办。stop：报错并停止；quarantine：此后跳过相应的记录并列入 report.json，"
        "超过千分之一时停止（总是允许一条）"
    ),
    "longest record in tokens, image tokens included": "记录的最大长度（token，包括图片 token）",
    "records longer than max_length: leave them out and log it, or stop with an error": (
        "超过 max_length 的记录：跳过并写入日志，或报错停止"
    ),
    "fraction of the records that is not trained on but used for the validation loss": (
        "不参与训练、用于计算验证 loss 的记录比例"
    ),
    "data sets that are used for validation only": "只用于验证的数据集",
    "folder of the tokenized records; inside the run folder when empty": ("存放已分词记录的文件夹；为空则在训练目录内"),
    "vision: store the features of a frozen tower on disk, so that each image passes through it once; auto: when they "
    "fit within cache_gib": ("视觉训练：把冻结视觉塔的特征存到磁盘，每张图片只计算一次；auto：不超过 cache_gib 时存储"),
    "vision: most disk space for features, in GiB": "视觉训练：特征最多占用的磁盘空间（GiB）",
}
"""data.* and its sources."""

MODEL_KEYS = {
    "local folder or hub id of a causal LM": "因果语言模型的本地文件夹，或 Hugging Face 上的名称",
    "full: all weights; lora: adapters on a frozen model; qlora: adapters on a model quantised to 4-bit NF4; frozen: "
    "none": ("full：全部权重；lora：模型冻结，训练适配器；qlora：模型量化为 4-bit NF4，训练适配器；frozen：不训练"),
    "rank of the LoRA matrices": "LoRA 矩阵的秩",
    "LoRA scale: the product of the adapter is multiplied by alpha / rank": "LoRA 的缩放：适配器的输出乘以 alpha / rank",
    "dropout probability on the input of the adapters": "适配器输入的 dropout 概率",
    "names of the linear layers that get adapters; every linear of the LLM's layers when empty": (
        "加适配器的线性层名称；为空则是语言模型各层的全部线性层"
    ),
    "full: train the token embeddings and the output head too; false freezes them": (
        "full：词嵌入和输出头也训练；false 表示冻结"
    ),
    "hold a frozen LLM in 4-bit NF4 to save memory; qlora always does": (
        "把冻结的语言模型量化为 4-bit NF4 以节省内存；qlora 总是如此"
    ),
    "8bit quantises the optimizer states; paged moves them to main memory when the GPU's is full (both need "
    "bitsandbytes)": "8bit：量化优化器状态；paged：显存不足时移到内存（都需要 bitsandbytes）",
    "learning rate after warmup": "预热之后的学习率",
    "decoupled weight decay; not applied to biases and norms": "解耦的权重衰减；不用于偏置和归一化层",
    "decay rates of AdamW's two moments": "AdamW 两个动量的衰减率",
    "added to the denominator of AdamW's update": "加在 AdamW 更新的分母上",
    "fraction of all optimizer steps in which the learning rate rises linearly from 0": (
        "学习率从 0 线性上升的步数占总步数的比例"
    ),
    "learning rate after warmup: cosine and linear decay to 0 at the last step": (
        "预热之后学习率的变化：cosine 和 linear 在最后一步降到 0"
    ),
    "largest global L2 norm of the gradient; 0 disables clipping": "梯度全局 L2 范数的上限；0 表示不裁剪",
    "the question": "问题",
    "system prompt; empty for none": "系统提示词；为空则没有",
    "image file to show before the question; empty for none": "问题之前显示的图片文件；为空则没有",
    "longest answer, in tokens": "回答的最大长度（token）",
}
"""model, tune, optim and probes."""

TRAIN_KEYS = {
    "passes over the data; fractions are allowed": "训练轮数（epoch），可以是小数",
    "stop after this many optimizer steps; 0: as many as the epochs take": ("训练到多少步停止；0 表示由轮数决定"),
    "samples per optimizer step, over all processes": "每步的样本数（所有进程合计）",
    "flatten: each step has `batch` samples, packed without padding; fill: samples of the whole epoch are packed to "
    "fill pack_tokens, so their number per step varies around `batch`": (
        "flatten：每步 `batch` 个样本，打包且不填充；fill：把整轮样本尽量装满 pack_tokens，每步的样本数在 `batch` 上下浮动"
    ),
    "auto: a prefix that samples of one step share (system prompt, image) is computed once; off: for each": (
        "auto：同一步中样本共有的前缀（系统提示词、图片）只计算一次；off：各算各的"
    ),
    "order of the samples in an epoch; by_image: images in random order, all records of one image in turn": (
        "一轮中样本的顺序；by_image：图片顺序随机，同一图片的记录排在一起"
    ),
    "most tokens in one forward pass; bounds activation memory": "一次前向最多的 token 数；决定激活占用内存的上限",
    "most images in one forward pass; of tiled images (model.image_mode: anyres) most views, each of as many rows of "
    "the tower as an image without tiles": (
        "一次前向最多的图片数；对分块图片（model.image_mode: anyres）为最多的视图数，每个视图在视觉塔中的行数与不分块的图片相同"
    ),
    "dtype of the forward and backward pass. auto: bf16 where the hardware multiplies it, else fp32; decided when the "
    "run begins and kept when it resumes": (
        "前向和反向的数据类型。auto：硬件支持 bf16 乘法时用 bf16，否则用 fp32；开始训练时决定，恢复训练时不变"
    ),
    "activation checkpointing. true: every layer is recomputed in the backward pass, a third more work, far less "
    "memory; selective: all but matrix products and the attention kernel of a GPU, little more work, less memory. Of "
    "the LLM, and of a ViT tower that trains": (
        "激活重算。true：反向时重算每一层，计算量多三分之一，内存大幅减少；selective：除矩阵乘法和 GPU 的注意力核以外"
        "都重算，计算量略增，内存有所减少。涵盖语言模型，以及参与训练的 ViT 视觉塔"
    ),
    "on: decoder layers of Llama's family use our own backward pass, which saves fewer activations; auto: on a CPU "
    "alone, no GPU was measured yet, and off with `recompute` and under ZeRO-3, where `on` is an error; off: "
    "transformers' own layers": (
        "on：Llama 系的解码层使用我们自己的反向实现，保存的激活更少；auto：仅在 CPU 上开启（尚未在 GPU 上测过），"
        "使用 `recompute` 或 ZeRO-3 时关闭，此时写 `on` 会报错；off：使用 transformers 自带的层"
    ),
    "optimizer steps between checkpoints; 0: only at the end": "每隔多少步保存检查点；0 表示只在结束时保存",
    "checkpoints that are not deleted, the newest ones; at least 2 are kept": "保留最新的多少个检查点，至少 2 个",
    "optimizer steps between two lines of metrics.jsonl": "每隔多少步写一行 metrics.jsonl",
    "optimizer steps between validations; 0: only at the end": "每隔多少步验证一次；0 表示只在结束时验证",
    "optimizer steps between answers to the probes; 0: at the start and the end": (
        "每隔多少步回答一次探针问题；0 表示只在开始和结束时"
    ),
    "questions whose answers are written to the folder samples/": "探针问题，回答写入 samples/ 文件夹",
    "ZeRO stage of DeepSpeed: what is partitioned over processes. 1: optimizer states; 2: gradients too; 3: weights "
    "too; 0: nothing, without DeepSpeed": (
        "DeepSpeed 的 ZeRO 阶段，即哪些内容分散到各进程。1：优化器状态；2：再加梯度；3：再加权重；0：都不分散，不用 DeepSpeed"
    ),
    "held in main memory instead of the GPU's: optimizer states (zero 1 to 3), or all: those and the weights (zero 3)": (
        "放在内存而不是显存中的内容：优化器状态（zero 1 到 3），或 all：再加权重（zero 3）"
    ),
    "sequence parallelism (Ulysses), for long texts: processes that share each pack; must divide the number of "
    "processes": "序列并行（Ulysses），用于长文本：共同处理一个包的进程数，必须整除总进程数",
    "name of the run": "训练的名称",
    "run folder; runs/<name> when empty": "训练目录；为空则是 runs/<name>",
    "seed of the order of samples, of new weights and of dropout": "样本顺序、新权重和 dropout 的随机种子",
    "the models; keys that are left out are those of the run in `from`": "模型；没写的键沿用 `from` 所指的训练",
    "run folder whose trained weights, and `model` section, this run starts from; empty: the model as it is": (
        "从哪个训练目录的权重和 `model` 小节开始；为空则从原始模型开始"
    ),
    "sft: a text run; `pretrain` and `finetune` are vision runs": (
        "sft：纯文本训练；`pretrain` 和 `finetune` 是视觉训练"
    ),
}
"""train, parallel and the run itself."""

VISION_KEYS = {
    "vision tower: folder or hub id of a CLIP, SigLIP, DINOv2 or ViT model, open_clip:<name or folder>, or timm:<name "
    "or folder>": (
        "视觉塔：CLIP、SigLIP、DINOv2 或 ViT 模型的文件夹或 Hugging Face 上的名称，open_clip:<名称或文件夹>，"
        "或 timm:<名称或文件夹>"
    ),
    "hidden state of the tower that is projected; -1 is the last. CNN towers always use their last feature map": (
        "投影视觉塔的哪一层隐藏状态；-1 表示最后一层。CNN 总是用最后的特征图"
    ),
    "side of the square that images are brought to, in pixels; 0: what the tower was trained with": (
        "图片处理成的正方形边长（像素）；0 表示视觉塔训练时的大小"
    ),
    "how images become square: padded with the mean colour, or resized without keeping their ratio. anyres: "
    "LLaVA-NeXT's tiles; all of the image resized, then a grid of tiles at a higher resolution, so that larger images "
    "take more tokens": (
        "图片变为正方形的方式：用平均色填充，或不保持比例地缩放。anyres：LLaVA-NeXT 的分块；先是整张图片缩放，"
        "再是较高分辨率下的一格格分块，因此较大的图片占更多 token"
    ),
    "image_mode: anyres; [height, width] of the grids that an image is fitted into, in pixels, multiples of the tower's "
    "side S; left out: LLaVA-NeXT's [S, 2S], [2S, S], [2S, 2S], [3S, S] and [S, 3S]": (
        "image_mode: anyres；图片放入的网格，高在前、宽在后，以像素计，为视觉塔边长 S 的倍数；"
        "省略时用 LLaVA-NeXT 的 [S, 2S]、[2S, S]、[2S, 2S]、[3S, S] 和 [S, 3S]"
    ),
    "layers between tower and LLM: linear, mlp2x_gelu (LLaVA-1.5's), or more layers, such as mlp3x_gelu": (
        "视觉塔与语言模型之间的层：linear、mlp2x_gelu（LLaVA-1.5 所用），或更多层，例如 mlp3x_gelu"
    ),
    "width of the projector's hidden layers; 0: the LLM's hidden size": (
        "投影器隐藏层的宽度；0 表示语言模型的隐藏维度"
    ),
    "LLaVA's mm_projector.bin to start from instead of random weights; needs `standardise: false`, since it was "
    "trained on plain features": (
        "从 LLaVA 的 mm_projector.bin 而不是随机权重开始；需要 `standardise: false`，因为它是用未标准化的特征训练的"
    ),
    "average the grid of features over pool x pool windows, for fewer image tokens; not exportable when over 1": (
        "在 pool × pool 的窗口内平均特征，以减少图片 token；大于 1 时不能导出"
    ),
    "scale the tower's features to zero mean and unit variance per channel, with statistics measured before step 1; "
    "merged into the projector at export": (
        "按通道把视觉塔的特征标准化为零均值、单位方差，统计量在第 1 步之前测得；导出时合并进投影器"
    ),
    "the vision tower: not trained, with LoRA adapters, or all weights": "视觉塔：不训练、训练 LoRA 适配器，或训练全部权重",
    "tower: lora; rank of the LoRA matrices": "用于 tower: lora：LoRA 矩阵的秩",
    "tower: lora; LoRA scale, as `alpha`": "用于 tower: lora：LoRA 的缩放，同 `alpha`",
    "tower: lora; dropout, as `dropout`": "用于 tower: lora：dropout，同 `dropout`",
    "learning rate of the projector; `lr` when left out": "投影器的学习率；不写则为 `lr`",
    "folder or hub id of a vision language model of transformers' AutoModelForImageTextToText": (
        "transformers 的 AutoModelForImageTextToText 能打开的视觉语言模型的文件夹或 hub id"
    ),
    "the image side, tower and projector: not trained, with LoRA adapters, or all weights": (
        "图片一侧，即视觉塔和投影器：不训练、用 LoRA 适配器训练，或训练全部权重"
    ),
    "the projector (merger) alone: not trained, or all weights; as the tower when left out": (
        "只针对投影器（merger）：不训练，或训练全部权重；不写则与视觉塔相同"
    ),
    "learning rate of the tower; `lr` when left out": "视觉塔的学习率；不写则为 `lr`",
    "learning rate of the projector (merger); that of the tower when left out": "投影器（merger）的学习率；不写则与视觉塔相同",
    "finetune: what `tune` says of the model is trained": "finetune：训练模型中 `tune` 指定的部分",
    "the model": "模型",
    "learning rate of the vision tower; `lr` when left out": "视觉塔的学习率；不写则为 `lr`",
    "pretrain: the projector alone is trained; finetune: the projector and what `tune` says": (
        "pretrain：只训练投影器；finetune：训练投影器和 `tune` 指定的部分"
    ),
    "image questions and their answers, in any format that training reads": "图片问题及其回答，格式与训练数据相同",
    "how many questions are asked; 0: all": "提问的数量；0 表示全部",
    "how many of them are asked again with a blank image and with another record's image; 0: all": (
        "其中多少个再用空白图片和其他记录的图片各问一次；0 表示全部"
    ),
    "the assistant's name": "助手的名字",
    "file: JSON list of held-out questions whose answers must contain the name": (
        "文件：没有用于训练的问题列表（JSON），回答必须含有名字"
    ),
    "file: JSON list of questions whose answers must not contain the name; left out: not measured": (
        "文件：问题列表（JSON），回答不能含有名字；不写则不评测"
    ),
    "file: JSON list of {question, answer} that the base model may know; left out: not measured": (
        "文件：{{question, answer}} 列表（JSON），内容是基座模型可能知道的知识；不写则不评测"
    ),
    "name of the evaluation": "评测的名称",
    "folder of the results; <run>/<name> when empty": "存放结果的文件夹；为空则是 <run>/<name>",
    "run folder to evaluate": "要评测的训练目录",
    "name of a checkpoint, such as step-000500, or latest": "检查点的名称，例如 step-000500，或 latest",
    "image questions; left out: not measured": "图片问题；不写则不评测",
    "benchmark files; left out: not measured": "评测文件；不写则不评测",
    "benchmark files or folders, or your own questions": "评测文件或文件夹，或自己的问题",
    "form of the files, such as pope; auto: found from their content": "文件的形式，如 pope；auto：根据内容判断",
    "folder of their images; the file's own when empty": "图片所在的文件夹；为空则为数据文件所在的文件夹",
    "ask the questions of this split only": "只问该划分的问题",
    "number of questions of each form; 0: all": "每种形式的问题数；0 表示全部",
    "ask again without the images, for the blind score": "去掉图片再问一遍，得到不看图片的得分",
    "questions about the assistant's name; left out: not measured": "关于助手名字的问题；不写则不评测",
    "name of the export": "导出的名称",
    "folder to write": "输出文件夹",
    "run folder to export": "要导出的训练目录",
    "dtype of the exported weights": "导出权重的数据类型",
    "name of the pipeline": "流水线的名称",
    "folder of report.json; runs/<name> when empty": "存放 report.json 的文件夹；为空则是 runs/<name>",
    "recipe files, relative to the pipeline's own folder": "配方文件，相对于流水线文件所在的文件夹",
}
"""Vision, evaluation, export and pipelines."""

RULE_MESSAGES = {
    "it should be one of {}, or a section with zero, offload and sequence{}": (
        "应为以下之一：{}，或含有 zero、offload 和 sequence 的小节{}"
    ),
    "train.lean: on cannot be combined with train.recompute; set one of them": (
        "train.lean: on 不能与 train.recompute 同时使用；请只设一个"
    ),
    "train.lean: on cannot be combined with parallel.zero: 3; set one of them": (
        "train.lean: on 不能与 parallel.zero: 3 同时使用；请只设一个"
    ),
    "zero: 3 gathers weights a layer at a time: use train.recompute: true, not selective": (
        "zero: 3 逐层收集权重：请用 train.recompute: true，不要用 selective"
    ),
    "{} needs zero: {}{}, found zero: {}": "{} 需要 zero: {}{}，现为 zero: {}",
    " or more": " 或更高",
    "found above 1, but only packs of text can be shared by processes; leave it out": (
        "大于 1，但只有文本的包才能由多个进程共同处理；请去掉它"
    ),
    "sequence: found above 1, but only packs of text can be shared by processes; leave it out": (
        "sequence 大于 1，但只有文本的包才能由多个进程共同处理；请去掉它"
    ),
    "should be false beside projector_weights, which were trained on plain features": (
        "与 projector_weights 同用时应为 false，因为这些权重是用未标准化的特征训练的"
    ),
    "unknown stage; choose {}{}": "未知的阶段；请选择 {}{}",
    "{}: unknown stage; choose {}{}": "{}：未知的阶段；请选择 {}{}",
    "missing; a tower needs `stage: pretrain` or `finetune`": ("缺失；有视觉塔时需要 `stage: pretrain` 或 `finetune`"),
    "{}: stage: missing; a tower needs `stage: pretrain` or `finetune`": (
        "{}：缺少 stage；有视觉塔时需要 `stage: pretrain` 或 `finetune`"
    ),
    "{}: steps: {}: the pipeline contains itself. Remove the step": "{}：steps：{}：流水线包含了自己。请删除这一步",
    "it should have at most {} item after validation, not {}": "最多 {} 项，现有 {} 项",
    "it should have at most {} items after validation, not {}": "最多 {} 项，现有 {} 项",
    "it should have at least {} item after validation, not {}": "至少应有 {} 项，现有 {} 项",
    "it should have at least {} items after validation, not {}": "至少应有 {} 项，现有 {} 项",
}
"""Rules between keys."""

OTHER_KEY_MESSAGES = {
    "unknown key, a setting of another trainer; here: {}": "未知的键，是其他训练工具的设置；这里请用：{}",
    "not needed: the same command resumes": "不需要：再次运行同一命令即可恢复训练",
    "not needed: train.batch counts the samples of an optimizer step, over all devices": (
        "不需要：train.batch 是一步的样本数，所有设备合计"
    ),
    "KEY=VALUE after the recipe": "写在配方之后的 KEY=VALUE",
    "the recipe itself, without an option": "直接写配方，不用选项",
    "--nproc N on one machine, torchrun on several": "单机用 --nproc N，多机用 torchrun",
    "not needed: what is encoded is found again by its content": "不需要：编码过的内容会按内容自动找到",
    "from, which names a run folder": "from，指向训练目录",
    "not needed: batches are made ahead": "不需要：批次会提前准备",
    "tune.kind: full, lora or qlora": "tune.kind：full、lora 或 qlora",
    "tune.tower: frozen, lora or full": "tune.tower：frozen、lora 或 full",
    "optim.warmup, a fraction of all steps": "optim.warmup，占总步数的比例",
    "train.batch, which counts the samples of an optimizer step, over all devices": (
        "train.batch，一步的样本数，所有设备合计"
    ),
    "train.dtype: auto, bf16 or fp32": "train.dtype：auto、bf16 或 fp32",
    "not needed: samples are always packed": "不需要：样本总是打包",
    "not needed: the fastest that is installed is used": "不需要：会使用已安装的最快实现",
    "not needed: metrics.jsonl and loss.png are always written": "不需要：总会写出 metrics.jsonl 和 loss.png",
    "not needed: code of a model folder is never run": "不需要：模型文件夹中的代码从不运行",
    "not needed: `eyegraft train` trains, `eyegraft eval` evaluates": (
        "不需要：`eyegraft train` 训练，`eyegraft eval` 评测"
    ),
    "{}: is a command of {}; here: {}": "{}：是 {} 的命令；这里请用：{}",
    "{}: no such option; here: {}. Options of a run are keys of its recipe": (
        "{}：没有这个选项；这里请用：{}。训练的设置都是配方中的键"
    ),
    "{} and axolotl": "{} 和 axolotl",
    "{} and TRL": "{} 和 TRL",
    "`eyegraft merge BASE ADAPTER DIR` writes an adapter and its model as one folder": (
        "`eyegraft merge BASE ADAPTER DIR` 把适配器和它的模型写成一个文件夹"
    ),
    "`eyegraft export RUN DIR`, without an option": "`eyegraft export RUN DIR`，不用选项",
    "`eyegraft export RUN DIR`: a run knows its model": "`eyegraft export RUN DIR`：训练目录知道自己的模型",
    "other commands": "其他命令",
    "modelscope's and hf": "modelscope 和 hf",
    "`eyegraft data check FILE`, which names the format it found": "`eyegraft data check FILE`，会说明识别出的格式",
    "`eyegraft data convert`, then `eyegraft eval`": "先 `eyegraft data convert`，再 `eyegraft eval`",
    "`eyegraft merge BASE ADAPTER DIR --shard 2GB`; exports are split already": (
        "`eyegraft merge BASE ADAPTER DIR --shard 2GB`；导出时已经分片"
    ),
    "`eyegraft export RUN DIR` for weights, `eyegraft data convert IN OUT --to FORMAT` for data": (
        "权重用 `eyegraft export RUN DIR`，数据用 `eyegraft data convert IN OUT --to FORMAT`"
    ),
    "`hf download ORG/NAME --local-dir DIR`; the folder is then named in the recipe": (
        "`hf download ORG/NAME --local-dir DIR`，然后在配方中写该文件夹"
    ),
    "no counterpart: Eyegraft trains with a loss on answers alone; preference pairs are read as their chosen answers": (
        "没有对应的命令：Eyegraft 只用回答的 loss 训练；偏好数据只取被选中的回答"
    ),
}
"""Commands, options and keys of other trainers."""

PARSER_MESSAGES = {
    "found character {} that cannot start any token": "{} 不能出现在此处",
    "mapping values are not allowed here": "此处不能再有冒号和值，含冒号的文本要加引号",
    "could not find expected ':'": "缺少冒号",
    "expected a single document in the stream, but found another document": "文件中有多个文档",
    "expected <block end>, but found {}": "缩进与上文不一致，出现了 {}",
    "expected ',' or ']', but got {}": "应为逗号或“]”，出现了 {}",
    "expected ',' or '}', but got {}": "应为逗号或“}}”，出现了 {}",
    "found unexpected end of stream": "文件在引号或括号中途结束",
    "found undefined alias {}": "没有定义别名 {}",
    "found unknown escape character {}": "未知的转义字符 {}",
}
"""PyYAML's own."""

YAML_MESSAGES = {
    "in \"double quotes\" a backslash begins an escape: write paths in 'single quotes', or with slashes": (
        "双引号中的反斜杠表示转义：路径请写在单引号中，或改用斜杠"
    ),
    "{}: {} is looked up in {}, a single value; name a key of a section": (
        "{0}：{1} 要在 {2} 中查找，而后者是单个值；请写小节中的键"
    ),
    "{}: found {} for a list of {}; write an index from 0 to {} ({} adds one)": (
        "{}：现为 {}，而列表有 {} 项；请写 0 到 {} 的序号（{} 表示追加一项）"
    ),
    "{}: found {}; give a mapping of keys to values": "{}：现为{}；应由键和值组成",
    "{}: found a Python file, as XTuner's configs are; a recipe is YAML. `eyegraft ls` lists recipes to start from, "
    "docs/how-to/from-xtuner.md has the keys": (
        "{}：是 XTuner 配置那样的 Python 文件；配方是 YAML。可用 `eyegraft ls` 查看现成的配方，"
        "键的对照见 docs/how-to/from-xtuner.zh.md"
    ),
    "{}: {}; a recipe holds text, numbers, lists and mappings": "{}：{}；配方由文本、数字、列表和映射组成",
    "{}: not YAML: {}; quote text that holds special characters": "{}：不是有效的 YAML：{}；含特殊字符的文本要加引号",
    "{}: found {} tagged as a number": "{}：{} 标记为数字",
    "{}: found an alias (`*name`); write the value out": "{}：不支持别名（`*name`）；请直接写值",
    "{}: found {}, a path whose backslashes were read; {}": "{}：现为 {}，路径中的反斜杠被当作转义；{}",
    "{}: found a key that is a list or a section; write a word": "{}：键是列表或小节；请写一个词",
    "{}: found the tag {}; a recipe holds text and numbers only": "{}：不支持标签 {}；配方只含文本和数字",
}
"""YAML."""

SCHEMA_MESSAGES = (
    SOURCE_KEYS
    | MODEL_KEYS
    | TRAIN_KEYS
    | VISION_KEYS
    | RULE_MESSAGES
    | OTHER_KEY_MESSAGES
    | YAML_MESSAGES
    | PARSER_MESSAGES
)
