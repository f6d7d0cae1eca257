"""Chinese texts of exports, forecasts and evaluations, by their English patterns."""

FOLDER_MESSAGES = {
    "{}: is a file, not a folder. Choose another `out`": "{}：是文件，不是文件夹。请换一个 `out`",
    "{}: holds {}, which no {} of ours wrote (no {} lists it); it would be overwritten. Choose another `out`, or move "
    "{} away": "{}：其中有 {}，不是由 {} 写出的（{} 中没有列出），会被覆盖。请换一个 `out`，或移走 {}",
    "{}: the folder cannot be written: {}. Choose another `out`": "{}：无法写入该文件夹：{}。请换一个 `out`",
    "Move it away, or choose another folder": "请移走它，或换一个文件夹",
    "is an export of a version that wrote no {}, so its run is unknown": "是旧版本的导出，没有 {}，不知道来自哪次训练",
    "{} exists and is not an exported model. Choose another folder, or empty it": (
        "{} 已存在，且不是导出的模型。请换一个文件夹，或将其清空"
    ),
    "{}: holds files that no export wrote: {}. {}": "{}：其中有不是由导出写出的文件：{}。{}",
    "of something else": "其他内容",
    "of the run {}": "训练 {}",
    "{}: is an export of the run {}. Choose another folder, or add --replace": (
        "{}：是训练 {} 的导出。请换一个文件夹，或加上 --replace"
    ),
    "{}: is an export {}. Choose another folder, or add --replace": (
        "{}：是其他内容的导出（{}）。请换一个文件夹，或加上 --replace"
    ),
    "{}: {} changed since the export. Choose another folder, or add --replace": (
        "{}：{} 在导出后有改动。请换一个文件夹，或加上 --replace"
    ),
    "{}: replaces the older export": "{}：已替换旧的导出",
    "{}: replaces the older export of {}": "{}：已替换旧的导出（{}）",
    "the run {}": "训练 {}",
    "Free space or check the rights": "请释放空间或检查权限",
    "{}: {}. Choose another folder, or add --replace": "{}：{}。请换一个文件夹，或加上 --replace",
    "{}: files were added to the older export while it was replaced; they are kept there": (
        "{}：替换期间旧的导出中增加了文件，这些文件保留在原处"
    ),
    "{}: the model could not be written: {}. {}": "{}：无法写入模型：{}。{}",
    "Remove it, or choose another `out`": "请将其删除，或换一个 `out`",
    "{}: {}, not a folder of this user. {}": "{}：{}，而不是当前用户的文件夹。{}",
    "{}: {}, not a regular file. {}": "{}：{}，而不是普通文件。{}",
    "{}: belongs to user {}, this is user {}. {}": "{}：属于用户 {}，当前用户为 {}。{}",
    "{}: is not a regular file: {}. {}": "{}：不是普通文件：{}。{}",
    "{}, not a regular file": "{}，而不是普通文件",
    "has a hole of {} bytes that were never written, as after an interrupted download": (
        "有 {} 字节从未写入，像是下载中断造成的"
    ),
    "has {} bytes or more, at most {} are read": "有 {} 字节或更多，最多读取 {} 字节",
    "{}: has {} bytes, more than the {} that such a file may have": "{}：有 {} 字节，超过这类文件的上限 {} 字节",
    "is a file": "是文件",
    "is a folder": "是文件夹",
    "is a link": "是链接",
    "is a device": "是设备",
    "is a socket": "是套接字",
    "is a named pipe": "是命名管道",
    "is of an unknown type": "类型未知",
}
"""Folders that are written."""

PROOF_MESSAGES = {
    "the exported folder answers question {} of {} otherwise in a batch of unequal prompts than alone: logits differ by "
    "{} of their standard deviation, more than {}. Nothing was written. Please report this with the recipe": (
        "导出结果对第 {} 个（共 {} 个）问题的回答，与长度不等的提示同批时和单独时不同：logits 相差标准差的 {}，超过 {}。"
        "没有写出任何文件。请附上配方反馈此问题"
    ),
    "adapters or 4-bit weights are not merged yet, such as {}. Merge before the export": (
        "适配器或 4 位权重还没有合并，例如 {}。请先合并再导出"
    ),
    "{}: the exported folder does not load again": "{}：导出的文件夹无法重新加载",
    "{}: the exported folder does not load again: {}": "{}：导出的文件夹无法重新加载：{}",
    "the exported weights do not load again: {}": "导出的权重无法重新加载：{}",
    "{}: the exported tokenizer does not load again": "{}：导出的分词器无法重新加载",
    "{}: the exported tokenizer does not load again: {}": "{}：导出的分词器无法重新加载：{}",
    "the exported model's logits differ from the trained model's by {}, more than {}. Nothing was written. Please report "
    "this with the recipe": "导出模型与训练模型的 logits 相差 {}，超过 {}。没有写出任何文件。请附上配方反馈此问题",
    "the trained weights do not fit {}: {}": "训练所得的权重与 {} 不符：{}",
    "{}: the exported processor does not load again": "{}：导出的处理器无法重新加载",
    "{}: the exported processor does not load again: {}": "{}：导出的处理器无法重新加载：{}",
    "the exported processor gives an image {} tokens, the model {}. Please report this": (
        "导出的处理器把一张图片变成 {} 个 token，模型则是 {} 个。请反馈此问题"
    ),
    "the exported processor's pixels differ from training's by {}. Please report this": (
        "导出的处理器得到的像素与训练时相差 {}。请反馈此问题"
    ),
    "the exported chat template refuses an image and a question: {}. Choose another data.template": (
        "导出的对话模板不接受“图片加问题”：{}。请换一个 data.template"
    ),
    "--to llava: this is a text run; it has no projector": "--to llava：这是纯文本训练，没有投影器",
    "--to llava: LLaVA's code supports CLIP towers only, this is {}. Use hf": (
        "--to llava：LLaVA 的代码只支持 CLIP 视觉塔，这里是 {}。请用 hf"
    ),
    "--to llava: LLaVA's code does not support this model: {}": "--to llava：LLaVA 的代码不支持该模型：{}",
    "{}: its output differs from the trained projector's by {}. Please report this": (
        "{}：其输出与训练所得的投影器相差 {}。请反馈此问题"
    ),
    "{}: merged, logits differ by at most {}, batches are answered as one by one": (
        "{}：已合并，logits 最多相差 {}，成批回答与逐个回答一致"
    ),
    "{}: adapter_config.json is missing. Name the folder that peft's save wrote": (
        "{}：缺少 adapter_config.json。请指定 peft 保存的文件夹"
    ),
    "{} cannot be loaded onto {}": "{} 无法加载到 {} 上",
    "{} cannot be loaded onto {}: {}": "{} 无法加载到 {} 上：{}",
    "{}: its tokenizer has {} tokens, the model {} embeddings, and the adapter holds none for the added ones. Train it "
    "with modules_to_save: [embed_tokens, lm_head], or remove the tokenizer's files from its folder to merge with the "
    "base's": (
        "{}：分词器有 {} 个 token，模型有 {} 个词嵌入，适配器中没有新增 token 的词嵌入。"
        "请用 modules_to_save: [embed_tokens, lm_head] 训练，或从其文件夹中删除分词器文件，改用基座的分词器合并"
    ),
    "{}: the vocabulary grows from {} to {} tokens, as the adapter has them": (
        "{}：词表按适配器由 {} 个 token 扩大到 {} 个"
    ),
    "reloaded from this folder ({}), {} differ from the trained model's by at most {}": (
        "从该文件夹重新加载（{}）后，{}与训练模型最多相差 {}"
    ),
    "in chats with llama.cpp ({}), {} differ from the trained model's by {} on average in the chat where they differ "
    "most": "在 llama.cpp 的对话中（{}），{}与训练模型在差异最大的一次对话中平均相差 {}",
    "{}: has the adapter's generation_config.json; the base's asks for {}": (
        "{}：使用适配器的 generation_config.json；基座的要求 {}"
    ),
    "{}: the LLM's own generation_config.json asks for {}; that of the export does not: answers were compared by greedy "
    "decoding. Copy from it what you want of it": (
        "{}：语言模型自己的 generation_config.json 要求 {}，导出的没有：回答是按总选概率最大的 token 比较的。需要的设置请自行抄入"
    ),
    "its logits": "logits ",
    "image embeddings": "图片嵌入",
    "the log-probabilities of likely tokens": "高概率 token 的对数概率",
    " (written with --force, whatever the difference)": "（用 --force 写出，不限制差异）",
    "--dtype q8_0 is a type of GGUF files: use it with --to gguf or --to ollama": (
        "--dtype q8_0 是 GGUF 文件的类型：请与 --to gguf 或 --to ollama 同用"
    ),
    "--force is for --to gguf and --to ollama; --replace replaces an export of another run": (
        "--force 用于 --to gguf 和 --to ollama；要替换其他训练的导出请用 --replace"
    ),
    "--base-name is for --to peft: the other forms refer to no base": "--base-name 用于 --to peft：其他形式不引用基座",
    "--to {} writes with gguf and is checked with xllamacpp, but {} cannot be imported: pip install 'eyegraft[gguf]'": (
        "--to {} 用 gguf 写出并用 xllamacpp 验证，但无法导入 {}：pip install 'eyegraft[gguf]'"
    ),
    "--to peft: this run trained with tune.kind: {}, which leaves no adapter. Use hf": (
        "--to peft：该训练用的是 tune.kind: {}，没有适配器。请用 hf"
    ),
    "{}: names its base by the absolute path {}, as it has no hub id; before you publish or move it, export it again "
    "with --base-name ORG/NAME": (
        "{}：基座在 Hugging Face 上没有名称，因此写的是绝对路径 {}；发布或移动之前，请用 --base-name ORG/NAME 重新导出"
    ),
    "{}: cannot be loaded to check the adapter on it": "{}：无法加载，因而无法验证适配器",
    "{}: cannot be loaded to check the adapter on it: {}": "{}：无法加载，因而无法验证适配器：{}",
    "--base-name {}: peft would look for it in the folder where it is started. Give a hub id (org/name) or an absolute "
    "path": "--base-name {}：peft 会在启动时的文件夹中查找它。请写 Hugging Face 上的名称（org/name）或绝对路径",
    "names {} as its base, not {}. If that is another model, the merged one answers wrongly: name the adapter's own base": (
        "写明的基座是 {}，不是 {}。如果是另一个模型，合并后会答错：请指定适配器自己的基座"
    ),
    "{} names {} as its base, not {}. If that is another model, the merged one answers wrongly: name the adapter's own "
    "base": "{} 写明的基座是 {}，不是 {}。如果是另一个模型，合并后会答错：请指定适配器自己的基座",
    "names no base: that it belongs to {} is not known": "没有写明基座：不确定它是否属于 {}",
    "{} names no base: that it belongs to {} is not known": "{} 没有写明基座：不确定它是否属于 {}",
    "names {} as its base; {} is taken for a copy of it, by its name alone": (
        "写明的基座是 {}；仅凭名称认为 {} 是它的副本"
    ),
    "{} names {} as its base; {} is taken for a copy of it, by its name alone": (
        "{} 写明的基座是 {}；仅凭名称认为 {} 是它的副本"
    ),
}
"""Exports and their proof."""

GGUF_MESSAGES = {
    "another image changes the log-probabilities by {}; if that is little, the tower is hardly checked": (
        "换一张图片后对数概率变化 {}；如果变化很小，视觉塔就几乎没有得到验证"
    ),
    "--to gguf: a run on captions has no chat template to answer with. Export a finetuned run": (
        "--to gguf：用图片描述做的预训练没有可用于回答的对话模板。请导出微调后的训练"
    ),
    "llama.cpp's log-probabilities differ from the trained model's by {} on average, more than {}. Nothing was written. "
    "Please report this with the recipe, or write the files anyway with --force": (
        "llama.cpp 的对数概率与训练模型平均相差 {}，超过 {}。没有写出任何文件。请附上配方反馈此问题，或用 --force 强制写出"
    ),
    "llama.cpp makes {} tokens of a prompt of {}. Please report this with the recipe": (
        "llama.cpp 把长度为 {1} 的提示分成 {0} 个 token。请附上配方反馈此问题"
    ),
    "--to gguf: a {} language model; {} are supported. Use --to hf": (
        "--to gguf：语言模型为 {}；支持 {}。请用 --to hf"
    ),
    "--to gguf: a {} model with {}; llama.cpp's use silu. Use --to hf": (
        "--to gguf：{} 模型的激活函数为 {}，而 llama.cpp 用 silu。请用 --to hf"
    ),
    "--to gguf: {} positions in a {} model are not supported. Use --to hf": (
        "--to gguf：不支持 {1} 模型的 {0} 位置编码。请用 --to hf"
    ),
    "--to gguf: sliding-window attention of {} tokens is not supported. Use --to hf": (
        "--to gguf：不支持 {} 个 token 的滑动窗口注意力。请用 --to hf"
    ),
    "--to gguf: llama.cpp's {} has no tensor for {}. Use --to hf": (
        "--to gguf：llama.cpp 的 {} 没有对应 {} 的张量。请用 --to hf"
    ),
    "llama.cpp refuses a chat with this model: {}. Please report this": "llama.cpp 拒绝与该模型对话：{}。请反馈此问题",
    "{}: llama.cpp cannot run it: {}. Please report this": "{}：llama.cpp 无法运行：{}。请反馈此问题",
    "it ended with {}": "退出码为 {}",
    "{}: llama.cpp did not answer within {} s. Take a smaller model": "{}：llama.cpp 在 {} 秒内没有回答。请换小一些的模型",
    "--to ollama: what the chat template writes between two turns depends on more than their roles, which Ollama's "
    "cannot hold. Use --to gguf": (
        "--to ollama：对话模板在两轮之间写的内容不只取决于角色，Ollama 的模板无法表示。请用 --to gguf"
    ),
    "--to gguf: none of llama.cpp's pre-tokenizers that are tried ({}) gives this tokenizer's ids: the model would get "
    "other tokens than in training. Use --to hf": (
        "--to gguf：试过的 llama.cpp 预分词器（{}）都得不到该分词器的 id：模型收到的 token 会与训练时不同。请用 --to hf"
    ),
    "--to gguf: llama.cpp misreads CLIP towers: its LLaVA graph shifts the patches' positions by one and gives the class "
    "token to the language model as a patch (llama.cpp issue 25814). Train with a SigLIP tower, use --to hf, or write "
    "the file anyway with --force, for a llama.cpp with a fix": (
        "--to gguf：llama.cpp 读取 CLIP 视觉塔有误：它的 LLaVA 计算图把图块位置错开一位，并把类别 token 当作图块交给语言模型"
        "（llama.cpp issue 25814）。请用 SigLIP 视觉塔训练、改用 --to hf，或用 --force 强制写出，供修正后的 llama.cpp 使用"
    ),
    "--to gguf: llama.cpp's LLaVA reads SigLIP towers; this is {}. Use --to hf": (
        "--to gguf：llama.cpp 的 LLaVA 支持 SigLIP 视觉塔，这里是 {}。请用 --to hf"
    ),
    "--to gguf: llama.cpp's LLaVA does not support this model: {}": "--to gguf：llama.cpp 的 LLaVA 不支持该模型：{}",
    "--to gguf: llama.cpp's LLaVA projector has two linears with GELU; this has one. Use --to hf": (
        "--to gguf：llama.cpp 的 LLaVA 投影器是两个线性层加 GELU，这里只有一个。请用 --to hf"
    ),
    "--to gguf: llama.cpp's towers have no {}. Use --to hf": "--to gguf：llama.cpp 的视觉塔没有 {}。请用 --to hf",
    "--to gguf: a {} tokenizer; only BPE is supported. Use --to hf": "--to gguf：分词器为 {}，只支持 BPE。请用 --to hf",
    "--to gguf: the tokenizer has a token {}, the model {} embeddings. Use --to hf": (
        "--to gguf：分词器有 token {}，模型只有 {} 个词嵌入。请用 --to hf"
    ),
    "--to gguf: a BPE tokenizer without byte fallback, which llama.cpp does not support. Use --to hf": (
        "--to gguf：BPE 分词器没有 byte fallback，llama.cpp 不支持。请用 --to hf"
    ),
}
"""GGUF and Ollama."""

FORECAST_MESSAGES = {
    "{} ({}) on a card of {} GiB": "{}（{}），显卡 {} GiB",
    "{} ({}) on this CPU of {} GiB": "{}（{}），本机 CPU {} GiB",
    "this CPU of {} GiB": "本机 CPU（{} GiB）",
    "a card of {} GiB": "{} GiB 的显卡",
    "{} does not exist: planned as if no earlier run had trained the LLM": (
        "{} 不存在：按语言模型此前没有训练过来预估"
    ),
    "no data was read; the largest pack: {}": "没有读取数据；最大的包：{}",
    "memory on {}; the largest pack: {}": "{}的内存；最大的包：{}",
    "{} tokens, {} of them targets": "{} 个 token，其中 {} 个监督",
    "{} tokens, {} of them targets, {} of them from {} images": "{} 个 token，其中 {} 个监督，{} 个来自 {} 张图片",
    "{}, {} of them from the images of {} records": "{}，其中 {} 个来自 {} 条记录的图片",
    "{} tokens, {} of them targets, {} of them from the images of {} records": (
        "{} 个 token，其中 {} 个监督，{} 个来自 {} 条记录的图片"
    ),
    "weights": "权重",
    "adapters": "适配器",
    "projector": "投影器",
    "tower": "视觉塔",
    "masters": "主权重",
    "moments": "优化器动量",
    "gradients": "梯度",
    "activations": "激活",
    "pictures": "图片",
    "head": "输出头",
    "backward": "反向",
    "batch": "批次",
    "process": "进程",
    "heap": "堆空闲",
    "in all": "合计",
    "{} GiB: fits": "{} GiB：放得下",
    "{} GiB: does not fit {}": "{} GiB：超出{}",
    "{} GiB, fits: {}": "{} GiB，放得下：{}",
    "{} GiB, does not fit: {}": "{} GiB，放不下：{}",
    "fits": "放得下",
    "does not fit": "放不下",
    "changes that reduce memory, each with its own forecast": "可以减少内存的改动，各自的预估",
    "{} GiB would remain with masters and moments on the host (ZeRO offload)": (
        "{} GiB：把主权重和优化器动量放到内存之后（ZeRO offload）"
    ),
    "to submit to the server that has the answers: {}": "可提交到保存答案的服务器：{}",
    "work": "计算量",
    "time": "时间",
    "evaluation": "评测",
    "reading what train.evaluate asks": "读取 train.evaluate 的题目",
    "{} prompts of {} tokens, {} written at most, every {} steps": "{} 条提示共 {} 个 token，最多生成 {} 个，每 {} 步一次",
    "{} prompts of {} tokens, {} written at most, every {} steps, {} times": (
        "{} 条提示共 {} 个 token，最多生成 {} 个，每 {} 步一次，共 {} 次"
    ),
    "{} TFLOP and {} GiB besides model and optimizer": "每次 {} TFLOP，模型与优化器之外占 {} GiB",
    "at least {} s each time: products alone, at this speed": "每次至少 {} 秒：按此速度仅计矩阵乘法",
    "not planned: {}": "未规划：{}",
    "{} TFLOP a pack, {} packs and {} TFLOP a step": "每包 {} TFLOP，每步 {} 包、{} TFLOP",
    "{} TFLOP a pack, at most {} packs and {} TFLOP a step": "每包 {} TFLOP，每步最多 {} 包、{} TFLOP",
    "{} s a step at {} TFLOP/s, {}": "每步 {} 秒（{} TFLOP/s，{}）",
    "at most {} s a step at {} TFLOP/s, {}": "每步最多 {} 秒（{} TFLOP/s，{}）",
    "assumed (--tflops)": "按 --tflops 假定",
    "measured here with {} x {} matrix products": "在本机用 {} × {} 的矩阵乘法测得",
    "unknown: give the speed of the card with `eyegraft plan --tflops`": (
        "未知：请用 `eyegraft plan --tflops` 给出显卡的速度"
    ),
    "--device {}: this machine has no card; write a card's memory, such as 24GiB, or cpu": (
        "--device {}：本机没有显卡；请写显存大小，例如 24GiB，或 cpu"
    ),
    "--device: found {}; write a card's memory in GiB, such as 24 or 24GiB, or cpu": (
        "--device：现为 {}；请写显存大小（GiB），例如 24 或 24GiB，或 cpu"
    ),
    "--device {}: no card has {} GiB; write a card's memory in GiB, such as 24 or 24GiB": (
        "--device {}：没有 {} GiB 的显卡；请写显存大小（GiB），例如 24 或 24GiB"
    ),
    "complete run {} steps, at least {}: products alone, at this speed": "全程 {} 步，至少 {}：只算矩阵乘法，按此速度",
    "complete run {} steps; `eyegraft plan --tflops` gives their time": (
        "全程 {} 步；所需时间可用 `eyegraft plan --tflops` 预估"
    ),
    "all {} runs: at least {} of training": "全部 {} 次训练：至少 {}",
    "{} seconds": "{} 秒",
    "{} minutes": "{} 分钟",
    "{} hours": "{} 小时",
    "{} days": "{} 天",
    "{} parameters at {}": "{} 个参数，学习率 {}",
    "trains {}": "训练 {}",
    "--dry-run: stage {} trains nothing; `eyegraft validate` checks it": (
        "--dry-run：{} 阶段不训练；可用 `eyegraft validate` 检查"
    ),
    "{}: trains nothing": "{}：不训练",
    "plan: stage {} trains nothing; name a recipe that does": "plan：{} 阶段不训练；请指定训练的配方",
    "{}: {} leaves no room besides an image's {} tokens; raise it": (
        "{}：{} 除去一张图片的 {} 个 token 之外没有余地；请增大"
    ),
    "{}: {} leaves no room besides an image's tokens, {} of a small one; raise it": (
        "{}：{} 除去一张图片的 token（小图片也有 {} 个）之外没有余地；请增大"
    ),
    "dropped_too_long": "过长而跳过",
    "validation_records": "验证记录数",
    "supervised_tokens": "监督 token 数",
    "records": "记录数",
    "samples": "样本数",
    "steps": "步数",
    "tokens": "token 数",
    "targets": "监督 token 数",
}
"""plan and dry runs."""

EVALUATION_MESSAGES = {
    "{} does not exist. `eyegraft data identity` writes such lists": "{} 不存在。`eyegraft data identity` 会生成这样的列表",
    "{}: a JSON list with at least one entry is needed, found {}": "{}：需要至少一项的 JSON 列表，现为 {}",
    "the base model answers none of the general questions: retained ability cannot be measured": (
        "基座模型一个常识问题也答不对：无法评测能力是否保持"
    ),
    "{}: cannot be read as JSON: {}. `eyegraft data identity` writes such a list": (
        "{}：无法作为 JSON 读取：{}。`eyegraft data identity` 会生成这样的列表"
    ),
    "{}: holds questions about an assistant's name. Add the name: identity.name=NAME": (
        "{}：是关于助手名字的问题。请写上名字：identity.name=NAME"
    ),
    "{}: holds questions about an assistant's name; --images and --limit are for images": (
        "{}：是关于助手名字的问题；--images 和 --limit 用于图片问题"
    ),
    "eval.vqa: {} is a text run, which takes no images. Name a vision run, or evaluate its identity: --data "
    "held_out.json of `eyegraft data identity`": (
        "eval.vqa：{} 是纯文本训练，不接受图片。请指定视觉训练，或评测身份：--data 写 `eyegraft data identity` 的 held_out.json"
    ),
    "{}: {} answers are not evaluated: their questions show no single image": (
        "{}：{} 个回答未评测，因为问题不是恰好对应一张图片"
    ),
    "{}: none of its {} answers belongs to a question about one image, which is what a vision run is evaluated on. Name "
    "a file of image questions": (
        "{}：{} 个回答都不属于单张图片的问题，而视觉训练评测的正是这类问题。请指定图片问题的文件"
    ),
    "no figure for another record's image: all questions show the same one": (
        "没有“其他图片”一项：所有问题用的是同一张图片"
    ),
    "evaluation with another record's image needs questions about at least two images. Add some": (
        "用其他记录的图片评测，至少需要两张图片的问题。请补充一些"
    ),
    "figures: {}; answers: {}": "结果：{}；回答：{}",
    "figures: {}": "结果：{}",
    "{}: done before": "{}：此前已完成",
    "{}: is not the record of a pipeline. Choose another `out`, or remove it": (
        "{}：不是流水线的记录。请换一个 `out`，或将其删除"
    ),
    "{}: report.json is gone since the run ended. Run the same command again": (
        "{}：训练结束后 report.json 被删除。请再次运行同一命令"
    ),
    "{}: cannot be read: {}. Remove it to run every step again": "{}：无法读取：{}。删除它可重新运行每一步",
    "{} was killed by {}; the others were ended": "{} 被 {} 终止；其他进程已结束",
    "{} ended with {}": "{} 以 {} 结束",
    "{}. The same command resumes from the last checkpoint": "{}。再次运行同一命令会从最近的检查点继续",
    "{} was killed by {}; the others were ended. The same command resumes from the last checkpoint": (
        "{} 被 {} 终止，其他进程已结束。再次运行同一命令会从最近的检查点继续"
    ),
    "not here. {}": "不存在。{}",
    "{}: cannot be read: {}; name a readable YAML file": "{}：无法读取：{}；请指定可读的 YAML 文件",
    "train: found stage {}; a recipe of stage sft, prefer, pretrain or finetune is trained": (
        "train：stage 为 {}；可训练的是 stage 为 sft、prefer、pretrain 或 finetune 的配方"
    ),
    "run_pipeline: {} is of stage {}; name a recipe with `steps:`": (
        "run_pipeline：{} 的 stage 为 {}；请指定含有 `steps:` 的配方"
    ),
    "evaluate: found stage {}; give a recipe of stage eval, or evaluate_questions": (
        "evaluate：stage 为 {}；请给出 stage 为 eval 的配方，或使用 evaluate_questions"
    ),
    "Install Eyegraft in an environment of its own: python -m venv eyegraft-env && eyegraft-env/bin/pip install "
    "eyegraft": "请把 Eyegraft 装在单独的环境中：python -m venv eyegraft-env && eyegraft-env/bin/pip install eyegraft",
    "the package llm {} is installed in {}. It is another project, and its folder `llm` has the same name as one of "
    "Eyegraft's: Python can import only one. {}": (
        "{1} 中安装了 llm {0}。它是另一个项目，其 `llm` 文件夹与 Eyegraft 的同名，Python 只能导入一个。{2}"
    ),
    "`import llm` finds {}, not Eyegraft's own {}. Take its folder out of PYTHONPATH or start from another folder. {}": (
        "`import llm` 找到的是 {}，不是 Eyegraft 自己的 {}。请从 PYTHONPATH 中去掉那个文件夹，或换一个目录启动。{}"
    ),
    "torch's own loops, slow: this torch was built without oneDNN": "torch 自己的循环，很慢：此 torch 没有编入 oneDNN",
    "torch's own loops, slow: oneDNN was not called": "torch 自己的循环，很慢：没有调用 oneDNN",
    "cpu bf16 products run on": "CPU 的 bf16 乘法由谁执行",
    "cpu bf16 (AVX512)": "CPU bf16（AVX512）",
    "cpu AMX": "CPU AMX",
    "platform": "平台",
    "cores": "CPU 核数",
    "threads": "线程数",
    "attention": "注意力",
    "yes": "是",
    "no": "否",
    "none; training runs on the CPU": "无；在 CPU 上训练",
    "absent; pip install 'eyegraft[{}]'": "未安装；pip install 'eyegraft[{}]'",
    "absent": "未安装",
    "found {}, a path whose backslashes were read": "现为 {}，路径中的反斜杠被当作转义",
}
"""Evaluation, pipelines, processes, installations."""

EXPORT_MESSAGES = FOLDER_MESSAGES | PROOF_MESSAGES | GGUF_MESSAGES | FORECAST_MESSAGES | EVALUATION_MESSAGES
