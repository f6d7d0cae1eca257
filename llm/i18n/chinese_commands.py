"""Chinese texts of what commands print, by their English patterns."""

CHECK_MESSAGES = {
    "{}: {} records, unchanged": "{}：{} 条记录，内容未改动",
    "{}: {} records, {} of them changed": "{}：{} 条记录，其中 {} 条已修改",
    "{}: {} records that cannot be trained on, each with its findings": "{}：{} 条不能用于训练的记录，附有具体问题",
    "{}: every repair, with the text before and after": "{}：每处修复的前后文本",
    "its image paths start in another folder; in a recipe write images: {}": (
        "其中的图片路径以另一个文件夹为起点；请在配方中写 images: {}"
    ),
    "{}: lengths and special tokens not checked: {}": "{}：未检查长度和特殊 token：{}",
    "{}: these options do not apply to a recipe. {}": "{}：这些选项不适用于配方。{}",
}
"""The report of `data check`."""

FRAME_MESSAGES = {
    "error: ": "错误：",
    "next": "下一步",
    "--on and --data are two ways to name questions. Give one of them": "--on 和 --data 都用来指定问题，请只用一个",
    "{}: keys of a recipe have no place beside --on. Use the options": "{}：使用 --on 时不能写配方的键，请使用选项",
    "compare needs --on FILE, the questions that both models answer": "compare 需要 --on FILE，即两个模型都要回答的问题",
    "{}: {}. Choose another `out`": "{}：{}。请另选 `out`",
    "{} of {} questions are asked": "提问其中的 {} 个问题，共 {} 个",
    "{} questions have no answer: {}": "{} 个问题没有回答：{}",
    "{} is for questions that --on names. Add --on FILE, or leave it out": (
        "{} 用于 --on 指定的问题。请加上 --on FILE，或去掉该选项"
    ),
    "{} is for models of this machine, not for one at --endpoint. Leave it out": (
        "{} 用于本机的模型，不能用于 --endpoint 的模型。请去掉该选项"
    ),
    "the server refused it: {}": "服务器拒绝：{}",
    "the server gave no answer: {}": "服务器没有回答：{}",
    "{} consecutive questions got no answer; the last: {}. Check the server, then run the same command": (
        "连续 {} 个问题没有回答，最后一个：{}。请检查服务器，再运行同一命令"
    ),
    "no question is left to ask. Name other files, or another split": "没有可问的问题。请指定其他文件或其他划分",
    "a prompt of {} tokens does not fit the model's context of {}": "{} 个 token 的提示超出模型 {} 的上下文长度",
    "{} is a text model, and the questions have images. Name a vision model": (
        "{} 是纯文本模型，而问题含有图片。请指定视觉模型"
    ),
    "{}: no such folder. Name a run, a model folder or an adapter's folder": (
        "{}：没有该文件夹。请指定训练目录、模型文件夹或适配器文件夹"
    ),
}
"""What surrounds messages."""

COMMAND_MESSAGES = CHECK_MESSAGES | FRAME_MESSAGES

READY_MESSAGES = {
    # The lines of `eyegraft inspect`, cell by cell.
    "model": "模型",
    "{} with {} parameters": "{}，{} 个参数",
    "positions": "位置编码",
    "its own for images": "图片使用模型自己的位置",
    "one a token": "每个 token 一个位置",
    "token ids": "token 编号",
    "those of its own processor": "与模型自带的处理器一致",
    "logits": "logits",
    "within {} of plain transformers": "与原版 transformers 最多相差 {}",
    "gradients": "梯度",
    "cosine {} with those of plain transformers": "与原版 transformers 的梯度余弦为 {}",
    "not spans": "不用因果打包",
    "not records": "不用按记录掩码",
    "packs records": "打包训练",
    "no: records are computed one by one": "不能：逐条计算记录",
    "yes, with its own mask for each record: within {} of each alone": "可以，每条记录用模型自己的掩码：与单独计算最多相差 {}",
    "yes, with causal attention: within {} of each alone": "可以，用因果注意力：与单独计算最多相差 {}",
    "shares prefixes": "共享前缀",
    "no: it does not attend causally here": "不能：这里用的不是因果注意力",
    "yes: within {} of each alone": "可以：与单独计算最多相差 {}",
    "no: {}": "不能：{}",
    "caches features": "缓存图片特征",
    "yes: an image has the same features alone and beside others": "可以：图片单独出现与和其他图片一起时特征一致",
    "no: an image has other features beside others": "不能：和其他图片一起时，图片的特征不一致",
    "counts tokens": "计算图片 token 数",
    "from the size of an image alone": "只需图片尺寸，与处理器一致",
    "from the size for one image, by its processor for several": "单张图片只需尺寸，多张由处理器计算，与处理器一致",
    "by its processor for each size": "每种尺寸由处理器计算，与处理器一致",
    "the cosine of the gradients is {}, at least {} is needed": "梯度余弦为 {}，至少应为 {}",
    "the {} differ by {}, at most {} is allowed": "{}相差 {}，最多允许 {}",
    "logits of a pack": "打包后的 logits ",
    "logits after a shared prefix": "共享前缀之后的 logits ",
    "image features": "图片特征",
    # Recipes with model.vlm.
    "a finetune of model.vlm starts from its folder: export the earlier run and name that": (
        "model.vlm 的微调从它的文件夹开始：请导出之前的训练，再填写导出的文件夹"
    ),
    "template: model.vlm is prompted by its own chat template; leave it out": (
        "template：model.vlm 使用模型自己的对话模板；请删除该项"
    ),
    "lean: model.vlm runs its own layers; leave it out": "lean：model.vlm 使用模型自己的层；请删除该项",
    "features: cached in {}, about {} GiB for this run; {} are there": (
        "图片特征：缓存在 {}，本次训练约 {} GiB；已有 {} 个"
    ),
    "features: computed in every step, the image side trains": "图片特征：每一步都重新计算，因为图片一侧在训练",
    "turns: apart: every question is computed with its own image tokens, prefixes are not shared here": (
        "turns: apart：每个问题都单独计算图片 token，这里不共享前缀"
    ),
    "parallel.zero: 3: {} computes the records of a pack one by one, and the packs of two processes have different "
    "numbers of them. Use zero: 2": (
        "parallel.zero: 3：{} 逐条计算一包中的记录，而两个进程的包记录数不同。请用 zero: 2"
    ),
    "{}: model.vlm: a ready model is finetuned: write `stage: finetune`": (
        "{}：model.vlm：现成的模型只能微调：请写 `stage: finetune`"
    ),
    "{}: the embeddings of a prompt do not say where its images are, so they cannot be used for a model that model.vlm "
    "names": "{}：提示的嵌入不说明图片在哪里，所以不能用于 model.vlm 的模型",
    "eval.vqa: {} is a finetune of model.vlm, whose answers are not compared token by token. Name the file in "
    "eval.benchmarks.files, or: eyegraft eval {} --on {}": (
        "eval.vqa：{} 是 model.vlm 的微调，其回答不逐个 token 对照。请把文件写入 eval.benchmarks.files，或者：eyegraft eval {} --on {}"
    ),
    "--to {}: a model that model.vlm names is exported as hf, or its adapter as peft": (
        "--to {}：model.vlm 的模型可以导出为 hf，或者把适配器导出为 peft"
    ),
    # Folders that cannot be opened or proved.
    "{}: {} computes something else here than in plain transformers: {}. It cannot be trained here": (
        "{}：{} 在这里的计算结果与原版 transformers 不一致：{}。无法在这里训练"
    ),
    "{}: a record ({}) becomes other tokens here than by its own processor: token {} is {} here and {} there. It cannot "
    "be trained here": "{}：记录（{}）在这里得到的 token 与模型自带的处理器不同：第 {} 个 token 在这里是 {}，在那里是 {}。无法在这里训练",
    "{}: a {} model is none that answers to images and text (transformers' AutoModelForImageTextToText). For a language "
    "model without images give model.llm": (
        "{}：{} 模型不是回答图片和文字的模型（transformers 的 AutoModelForImageTextToText）。没有图片的语言模型请写在 model.llm"
    ),
    "{}: an archive, not a model folder. Unpack it, then give the folder with config.json in it": (
        "{}：这是压缩包，不是模型文件夹。请先解压，再指定其中含有 config.json 的文件夹"
    ),
    "{}: a file, not a model folder. Give the folder it is in": "{}：这是文件，不是模型文件夹。请指定它所在的文件夹",
    "{}: its processor cannot be loaded": "{}：无法加载它的处理器",
    "A package that it names has to be installed first": "如果其中提到某个包，请先安装",
    "{}: its processor cannot be loaded: {}. A package that it names has to be installed first": (
        "{}：无法加载它的处理器：{}。如果其中提到某个包，请先安装"
    ),
    "{}: its processor has no chat template. Give the folder a chat_template.jinja": (
        "{}：它的处理器没有对话模板。请在文件夹中放入 chat_template.jinja"
    ),
    "{}: its {} names no image token, so images have no place in a text": "{}：它的 {} 没有写明图片 token，图片无法放进文本",
    "{}: its tokenizer has no tokenizer.json. Convert it first": "{}：它的分词器没有 tokenizer.json。请先转换",
    "{}: its processor refuses {} images": "{}：它的处理器无法处理 {} 张图片",
    "{}: its processor refuses a record of {} images": "{}：它的处理器无法处理含 {} 张图片的记录",
    "{}: its processor refuses {} images: {}": "{}：它的处理器无法处理 {} 张图片：{}",
    "{}: its processor refuses a record of {} images: {}": "{}：它的处理器无法处理含 {} 张图片的记录：{}",
    "{}: its own forward pass fails: {}": "{}：它自己的前向计算失败：{}",
    "{}: cannot be loaded as a vision language model": "{}：无法作为视觉语言模型加载",
    "{}: cannot be loaded as a vision language model: {}": "{}：无法作为视觉语言模型加载：{}",
    "{}: its processor takes answers as `suffix` and writes {}, in which the prompt and the answer are not found. Take "
    "another model": "{}：它的处理器以 `suffix` 接收回答，写出 {}，其中找不到提示和回答。请换一个模型",
    "{} with {} images": "{}，含 {} 张图片",
    "This model takes one question with an image and its answer: make a record of each": (
        "这个模型只接受一个带图片的问题和它的回答：请把每一对分成单独的记录"
    ),
    "{}: config.json gives no vision language model": "{}：config.json 不是视觉语言模型",
    "{}: config.json gives no vision language model: {}": "{}：config.json 不是视觉语言模型：{}",
    "{}: transformers' {} has no {}, so its images cannot be computed without its language model. Take another model": (
        "{}：transformers 的 {} 没有 {}，无法在语言模型之外单独计算图片。请换一个模型"
    ),
    "{}: its weights take about {} GiB in {}, and {} GiB are free here. Take a machine with more memory, or a smaller "
    "model of its class": "{0}：它的权重以 {2} 存放约需 {1} GiB，而这里只有 {3} GiB 空闲。请换内存更大的机器，或同类中更小的模型",
}
"""VLMs that others have made: their proof, and folders that cannot be opened."""
