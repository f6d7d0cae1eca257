"""Chinese texts of models, tokenizers, chat templates and vision towers, by their English patterns."""

PRECISION_MESSAGES = {
    "dtype: {} (auto: this run began with it)": "数据类型：{}（auto：该训练开始时如此）",
    "dtype: bf16 (the recipe's), but {}: set train.dtype: auto": (
        "数据类型：bf16（按配方），但{}；请设置 train.dtype: auto"
    ),
    "dtype: {} (auto: {})": "数据类型：{}（auto：{}）",
    "EYEGRAFT_DTYPE asks for it": "由 EYEGRAFT_DTYPE 指定",
    "EYEGRAFT_DTYPE is {}: write fp32 or bf16, or leave it unset for what this machine is fast in": (
        "EYEGRAFT_DTYPE 为 {}：请写成 fp32 或 bf16；不设置则用本机算得快的类型"
    ),
    "{}: {} multiplies bf16": "{}：{} 支持 bf16 乘法",
    "{} multiplies bf16": "{} 支持 bf16 乘法",
    "{} has no bf16 products of its own": "{} 没有原生的 bf16 乘法",
    "this {} CPU multiplies bf16": "这颗 {} CPU 支持 bf16 乘法",
    "this {} CPU has no bf16 products": "这颗 {} CPU 没有 bf16 乘法",
    "this CPU multiplies bf16, by {}": "本机 CPU 支持 bf16 乘法（{}）",
    "this CPU has no bf16 products, AVX512_BF16 or AMX; fp32 is many times faster here": (
        "本机 CPU 没有 bf16 乘法（AVX512_BF16 或 AMX），用 fp32 快许多倍"
    ),
    "dtype: {} (auto: this run began with it), but {}: choose another `out` to start again in fp32": (
        "数据类型：{}（auto：该训练开始时如此），但{}；要用 fp32 重新开始，请换一个 `out`"
    ),
    "a card of Ampere or later": "Ampere 或更新的显卡",
    "{}, the first of {} that can be imported": "{}（{} 中第一个可以导入的）",
    "torch varlen_attn": "torch 的 varlen_attn",
    "padded groups; varlen kernels need CUDA, this is {}": "分组填充；varlen 核需要 CUDA，本机是 {}",
    "padded groups through SDPA; varlen kernels support bf16 and fp16, this is {}": (
        "用 SDPA 分组填充；varlen 核支持 bf16 和 fp16，这里是 {}"
    ),
    "padded groups through SDPA; no varlen kernel can be imported (pip install flash-attn)": (
        "用 SDPA 分组填充；没有可导入的 varlen 核（pip install flash-attn）"
    ),
    "{}-bit weights need bitsandbytes: pip install 'eyegraft[quant]'": (
        "{} 位权重需要 bitsandbytes：pip install 'eyegraft[quant]'"
    ),
    "GPU of this Apple chip": "这颗 Apple 芯片的 GPU",
    "EYEGRAFT_DEVICE is {}: write one of {}, or leave it unset": "EYEGRAFT_DEVICE 为 {}：请写成 {} 之一，或不设置",
    "EYEGRAFT_DEVICE is {}, and torch finds no such device here. Unset it, or install its driver": (
        "EYEGRAFT_DEVICE 为 {}，而 torch 在这里找不到这种设备。请取消设置，或安装它的驱动"
    ),
    "torch.distributed has no backend for {}: start the run as one process, or set EYEGRAFT_DEVICE=cpu": (
        "torch.distributed 没有 {} 的后端：请以单进程启动训练，或设置 EYEGRAFT_DEVICE=cpu"
    ),
    "torch_npu is installed and cannot be imported: {}. Source CANN's set_env.sh, or uninstall it": (
        "已安装 torch_npu，但无法导入：{}。请 source CANN 的 set_env.sh，或卸载它"
    ),
}
"""Data types, devices and kernels."""

TEMPLATE_MESSAGES = {
    "the chat template writes {} before an answer, but not in its prompts: the model learns to write it itself. Eyegraft "
    "leaves it out of answers; other software may show it": (
        "对话模板在回答之前写有 {}，而提示中没有：模型会学着自己写出它。Eyegraft 会从回答中去掉它；其他软件可能会显示"
    ),
    "this model answers one request at a time: {}": "该模型一次只回答一个请求：{}",
    "its cache has layers of {}": "其缓存含有 {} 层",
    "this model reads one prompt at a time: {}": "该模型一次只读取一个提示：{}",
    "a pack gives other logits than its prompts alone ({})": "打包后的 logits 与单独计算各提示的结果不同（{}）",
    "its cache has no layers": "其缓存没有层",
    "it takes no positions": "它不接受位置参数",
    "two prompts together give other logits than one by one ({})": "两个提示词一起计算的 logits 与逐个计算的不同（{}）",
    "{}: its generation_config.json asks for {}; here the options of the command or the request decide alone, and without "
    "them answers are greedy": (
        "{}：它的 generation_config.json 要求 {}；这里只由命令或请求的选项决定，没有选项时总是选概率最大的 token"
    ),
    "Set data.template to one of: {}": "请把 data.template 设为以下之一：{}",
    "the chat template's prompts end in {}, which finished conversations do not have: answers are learnt directly "
    "after it. Give them what follows there, such as thoughts and the tag that closes them": (
        "对话模板的提示以 {} 结尾，而完整的对话中没有它：回答会紧接其后学习。请在回答中补上其后的内容，"
        "例如思考内容和结束标签"
    ),
    "the chat template changes a text. At character {} it has {}, the template writes {}. Change the text there or "
    "choose another data.template": (
        "对话模板改动了文本。第 {} 个字符处原为 {}，模板写成 {}。请修改此处的文本，或换一个 data.template"
    ),
    "data.template: unknown template {}; {}": "data.template：未知的模板 {}；{}",
    "data.template: unknown template {}. {}": "data.template：未知的模板 {}。{}",
    "data.template is auto, but the tokenizer has no chat template. Set data.template to the one the model was trained "
    "with, or to chatml; known: {}": (
        "data.template 为 auto，但分词器没有对话模板。请把 data.template 设为该模型训练时所用的模板，或 chatml；可用：{}"
    ),
    "the tokenizer has no eos_token, so plain text would have no end. Give it one": (
        "分词器没有 eos_token，纯文本无法结束。请为它设置一个"
    ),
    "no end mark follows the answer in turn {} of {}: the template writes {} after it, without a special token of the "
    "tokenizer. A model trained so would never stop. {}": (
        "{1} 轮中第 {0} 轮的回答之后没有结束标记：模板在其后写的是 {2}，不含分词器的特殊 token。"
        "这样训练的模型不会停止回答。{3}"
    ),
    "the chat template and the text {} beside it spell a special token together. Change the text or choose another "
    "data.template": "对话模板与旁边的文本 {} 连起来成了特殊 token。请修改文本，或换一个 data.template",
    "the chat template refuses the turns {}: {}. {}": "对话模板不接受这些轮次 {}：{}。{}",
    "the chat template writes {} of {} images. Set data.template to another template": (
        "对话模板只写出 {1} 张图片中的 {0} 张。请换一个 data.template"
    ),
    "the chat template has {} characters, more than {}. Set data.template": (
        "对话模板有 {} 个字符，超过 {}。请设置 data.template"
    ),
    "the chat template {}. Do not trust its folder, or set data.template": (
        "对话模板{}。请不要信任它所在的文件夹，或设置 data.template"
    ),
    "writes {} characters, more than {}": "写出 {} 个字符，超过 {}",
    "takes more memory than it may": "占用的内存超出限制",
    "recurses without end": "无限递归",
    "takes longer than {} seconds, or more memory than it may": "运行超过 {} 秒，或占用的内存超出限制",
    "chat templates cannot be rendered; run `{}` to see why": "无法渲染对话模板；运行 `{}` 查看原因",
    "Chat templates cannot store underscore-prefixed attributes on a namespace: {}": (
        "对话模板不能在 namespace 上保存下划线开头的属性：{}"
    ),
    "{} is not a tokenizer of the tokenizers library": "{} 不是 tokenizers 库的分词器",
    "{}. Convert it to a tokenizer.json first": "{}。请先转换成 tokenizer.json",
    "the tokenizer merges {} with any text before it, so labels cannot be placed. Use another model": (
        "分词器会把 {} 与其前的任何文本合并，无法确定标签的位置。请换一个模型"
    ),
    "the vocabulary of the tokenizer has gaps, so its special tokens cannot be separated": (
        "分词器的词表有空缺，无法区分特殊 token"
    ),
    "the chat template drops, repeats or moves the text of one of the turns {}": (
        "对话模板丢失、重复或移动了某一轮的文本：{}"
    ),
    "plain transformers makes another prompt of the turns {} than this run: it ends in {}, the run's in {}. Answers "
    "elsewhere may differ; another data.template avoids it": (
        "对于轮次 {}，transformers 生成的提示与本次训练不同：它以 {} 结尾，训练时以 {} 结尾。"
        "在其他软件中的回答可能不同；换一个 data.template 可以避免"
    ),
}
"""Chat templates and tokenizers."""

FOLDER_MESSAGES = {
    "asking {} for {}": "向 {} 请求 {}",
    "no answer within {} s; {} sets how long is waited": "{} 秒内没有响应；等待时间由 {} 设置",
    "{} sets how long is waited": "等待时间由 {} 设置",
    "Where the hub can be reached, run {}, copy the folder here and name it instead": (
        "请在能访问 Hugging Face 的机器上运行 {}，把文件夹复制到这里，再改写成它的路径"
    ),
    "A mirror is asked with HF_ENDPOINT={}": "也可以设置 HF_ENDPOINT={} 使用镜像",
    "ModelScope has many under the same name: `modelscope download --{} {} --local_dir {}`": (
        "ModelScope 上大多有同名的：`modelscope download --{} {} --local_dir {}`"
    ),
    "HF_HUB_OFFLINE is set": "设置了 HF_HUB_OFFLINE",
    "HF_ENDPOINT, which is empty": "空的 HF_ENDPOINT",
    "it answers {}": "返回 {}",
    "Only config.json is needed here": "这里只需要 config.json",
    "{}: no such folder, and as a hub id it could not be fetched from {}: {}": "{}：没有这个文件夹，也无法作为模型名从 {} 获取：{}",
    "{}: no such folder, and not a hub id (org/name). {}": "{}：没有这个文件夹，也不是 Hugging Face 上的名称（org/name）。{}",
    "Give the folder that holds config.json.": "请指定含有 config.json 的文件夹。",
    "{}: holds an adapter, not a model. Merge it first and name the merged folder.": (
        "{}：是适配器，不是模型。请先合并，再指定合并后的文件夹。"
    ),
    "{}: no config.json in it. Give a Hugging Face model folder.": "{}：其中没有 config.json。请指定 Hugging Face 模型文件夹。",
    "{}: no weights in it (looked for {}). Was the download cut off, or left as Git LFS pointers? A GGUF file must be "
    "converted to safetensors first.": (
        "{}：其中没有权重（查找了 {}）。是否下载中断，或只有 Git LFS 指针？GGUF 文件要先转换成 safetensors。"
    ),
    "{}: config.json names no model_type. Give a Hugging Face model folder.": (
        "{}：config.json 没有 model_type。请指定 Hugging Face 模型文件夹。"
    ),
    "{}: {}. Copy or download the folder again.": "{}：{}。请重新复制或下载该文件夹。",
    "{}: config.json gives no causal language model": "{}：config.json 不是因果语言模型",
    "{}: config.json gives no causal language model: {}": "{}：config.json 不是因果语言模型：{}",
    "{}: no tokenizer can be loaded (looked for {})": "{}：无法加载分词器（查找了 {}）",
    "{}: no tokenizer can be loaded (looked for {}): {}": "{}：无法加载分词器（查找了 {}）：{}",
    "tokenizer.json, tokenizer.model or vocab files with tokenizer_config.json": (
        "tokenizer.json、tokenizer.model，或词表文件加 tokenizer_config.json"
    ),
    "{}: cannot be loaded as a causal language model": "{}：无法作为因果语言模型加载",
    "{}: cannot be loaded as a causal language model: {}": "{}：无法作为因果语言模型加载：{}",
    "{}: {} weights are missing, such as {}. Download it again.": "{}：缺少 {} 个权重，例如 {}。请重新下载。",
    "{}: {} weights do not fit config.json, such as {}.": "{}：{} 个权重与 config.json 不符，例如 {}。",
    "{} is missing or unknown": "缺少 {} 或无法识别",
    "{}: {}: {} is custom code of the folder's own ({}), which is never run, and {}. Take a model of a kind that "
    "transformers has, or one converted to it.": (
        "{}：{}：{} 是该文件夹自带的代码（{}），从不运行；{}。请选用 transformers 支持的模型，或转换后的版本。"
    ),
    "transformers has no tokenizer class {}": "transformers 没有分词器类 {}",
    "of that name": "该名称",
    "it would replace the way answers are generated": "它会改变生成回答的方式",
    "it is a repository of code": "它是代码仓库",
    "transformers has no {} for model_type {}": "transformers 没有 model_type 为 {1} 的 {0}",
    "transformers has no class of its own for {}": "transformers 没有对应 {} 的类",
    "{}: {}, {}. Was it edited, or are weights missing? Download the folder again.": (
        "{}：{}，{}。是否被改过，或缺少权重？请重新下载该文件夹。"
    ),
    "and no model has fewer than 1": "而任何模型都不会小于 1",
    "which its weights cannot fill": "与权重的大小不符",
    "more than {}": "超过 {}",
    "{} ask for more {}": "{} 要求的 {} 过多",
    "than its weights can fill": "与权重的大小不符",
    "{} is {}, more than {}": "{} 为 {}，超过 {}",
    "{}: {} is nested more than {} levels deep. Replace it.": "{}：{} 嵌套超过 {} 层。请更换。",
    "a single value": "单个值",
    "{}: {} holds {}, not an object of keys and values. Replace it.": "{}：{} 的内容是{}，而不是键和值组成的对象。请更换。",
    "{}. Download it again.": "{}。请重新下载。",
    "{}: {} is not valid JSON ({}). Copy or download it again.": "{}：{} 不是有效的 JSON（{}）。请重新复制或下载。",
    "config.json: rope_scaling {}: InternLM2 has the types dynamic and linear.": (
        "config.json：rope_scaling {}：InternLM2 只有 dynamic 和 linear 两种。"
    ),
    "{}: not found. An InternLM2 folder needs its sentencepiece tokenizer.model.": (
        "{}：不存在。InternLM2 文件夹需要 sentencepiece 的 tokenizer.model。"
    ),
    "{}: not a BPE model, which InternLM2's tokenizer is.": "{}：不是 BPE 模型，而 InternLM2 的分词器是 BPE。",
    "bos_token {} is not in the vocabulary of tokenizer.model.": "bos_token {} 不在 tokenizer.model 的词表中。",
    "{}: special tokens without an id: {}. Add them to added_tokens_decoder.": (
        "{}：特殊 token 没有 id：{}。请补到 added_tokens_decoder 中。"
    ),
    "{}: not a weight of InternLM2. Give the folder of a plain InternLM2 language model.": (
        "{}：不是 InternLM2 的权重。请指定 InternLM2 语言模型的文件夹。"
    ),
    "{}: not a complete safetensors file ({}). Copy or download it again.": (
        "{}：不是完整的 safetensors 文件（{}）。请重新复制或下载。"
    ),
    "{}: not a sentencepiece model. Copy or download it again.": "{}：不是 sentencepiece 模型。请重新复制或下载。",
    "{}: added token {} has id {}; the next free id is {}.": "{}：新增 token {} 的 id 为 {}，而下一个可用的 id 是 {}。",
    "tune.kind: full: found 4-bit weights, which cannot train. Use qlora, or four_bit: false.": (
        "tune.kind: full：4-bit 权重不能训练。请用 qlora，或 four_bit: false。"
    ),
    "tune.targets: {}: not found in {}; it has: {}.": "tune.targets：{}：{} 中没有；其中有：{}。",
    "every linear": "全部线性层",
}
"""Model folders."""

ADAPTER_MESSAGES = {
    "{}: {} is missing. Name the folder that peft's save wrote": "{}：缺少 {}。请指定 peft 保存的文件夹",
    "{}: {} is missing. Name the folder that peft's save or `export --to peft` wrote": (
        "{}：缺少 {}。请指定 peft 或 `export --to peft` 写出的文件夹"
    ),
    "{}: peft_type is {}; only LORA adapters are read. Merge it with peft itself": (
        "{}：peft_type 为 {}；只支持 LORA 适配器。请用 peft 自己合并"
    ),
    "{}: megatron_config names modules to import, which is not done. Remove it": (
        "{}：megatron_config 要求导入模块，这里不会导入。请删除"
    ),
    "{}: target_modules is missing: it names no module that the adapter belongs to": (
        "{}：缺少 target_modules，不知道适配器属于哪些模块"
    ),
    "{}: target_modules is a pattern beside layer_replication. Write the names as a list": (
        "{}：有 layer_replication 时 target_modules 不能是模式。请把名称写成列表"
    ),
    "{}: holds embeddings of {} tokens, the model has {}: it belongs to another model": (
        "{}：含 {} 个 token 的词嵌入，而模型有 {} 个：它属于另一个模型"
    ),
    "{}: was trained on {} tokens, the model has {}, and the adapter holds no {} for the added ones. Train it with "
    "modules_to_save: [embed_tokens, lm_head]": (
        "{}：训练时有 {} 个 token，模型有 {} 个，适配器中没有新增 token 的 {}。"
        "请用 modules_to_save: [embed_tokens, lm_head] 训练"
    ),
    "{}: {} is {}, no list of module names. Write it with peft": "{}：{} 为 {}，不是模块名列表。请用 peft 写出",
    "{}: {}: no module of the model is named like {}. Is it another model's?": (
        "{}：{}：模型中没有名称符合 {} 的模块。是否属于另一个模型？"
    ),
    "{}: {}: {} means modules whose names {} ends with. List them": "{}：{}：{} 表示名称以 {} 结尾的模块。请逐个列出",
    "{}: layer_replication is {}: pairs of numbers, {} layers at most": (
        "{}：layer_replication 为 {}：应为成对的数字，最多 {} 层"
    ),
    "{}: {} is a pattern that is not matched here: {}. Write the module names as a list": (
        "{}：不支持 {} 的这种模式：{}。请把模块名写成列表"
    ),
    "{}: {} is {}; a rank is a whole number of 1 or more": "{}：{} 为 {}；秩应为不小于 1 的整数",
    "{}: {} is {}, but its weights have ranks up to {}": "{}：{} 为 {}，但权重的秩最大为 {}",
    "{}: {} is {}, which its weights cannot fill": "{}：{} 为 {}，与权重的大小不符",
    "{}: {}: {} is no plain module name. Write the name itself": "{}：{}：{} 不是普通的模块名。请直接写名称",
    "{} characters, more than {}": "{} 个字符，超过 {}",
    "a bracket that is not closed": "括号没有闭合",
    "{} repeats more than {} times": "{} 重复超过 {} 次",
    "{} is not one of {}": "{} 不是以下之一：{}",
    "its activation is not silu, or attention has dropout": "其激活函数不是 silu，或注意力有 dropout",
    "attention is {}": "注意力为 {}",
    "{}/{} names no base model. Name the base's folder, and this one as --adapter": (
        "{}/{} 没有写明基座模型。请指定基座的文件夹，并把本文件夹写在 --adapter 中"
    ),
    "{}/{} names a base that is not here: {} Or name the base's folder, and this one as --adapter": (
        "{}/{} 所指的基座不在这里：{}或者指定基座的文件夹，并把本文件夹写在 --adapter 中"
    ),
    "an adapter": "适配器",
    "a run": "训练目录",
    "--adapter is for model folders; {} is {}, which brings its own. Leave it out": (
        "--adapter 只用于模型文件夹；{} 是{}，自带适配器。请去掉该选项"
    ),
    "--bits 8: {} was trained on 4-bit weights, and opens with them. Leave it out, or say 4": (
        "--bits 8：{} 是在 4 位权重上训练的，会按 4 位打开。请去掉该选项，或写 4"
    ),
    "bits: found {}; choose 4 or 8, or leave it out": "bits：现为 {}；请选择 4 或 8，或去掉它",
    "{}: adapters of earlier runs are merged into its weights. {}": "{}：先前训练的适配器已合并进权重。{}",
    "{}: an adapter ({}) is merged into it. {}": "{}：其中已合并适配器（{}）。{}",
    "{}: has {} adapters merged into it. {}": "{}：其中已合并 {} 适配器。{}",
    "Rounded to 4 bits these weights lose what the adapter learnt, to 8 bits some of it; for few bits write base and "
    "adapter by `eyegraft export RUN DIR --to peft` and open DIR with --bits": (
        "这些权重舍入到 4 位会丢失适配器学到的内容，舍入到 8 位也会丢失一部分；要用低位数，请用 "
        "`eyegraft export RUN DIR --to peft` 分别写出基座和适配器，再以 --bits 打开 DIR"
    ),
}
"""Adapters."""

VISION_MESSAGES = {
    "{} GiB of them do not fit the {} GiB that are left": "需要 {} GiB，而只剩 {} GiB",
    "features: cached in {}, {} KiB an image; {} are there": "图片特征：缓存在 {}，每张 {} KiB；已有 {} 张",
    "features: computed in every step (data.cache_features: off)": "图片特征：每步都计算（data.cache_features: off）",
    "features: computed in every step, the tower trains": "图片特征：视觉塔参与训练，每步都计算",
    "features: computed in every step, {} (data.cache_gib)": "图片特征：每步都计算，{}（data.cache_gib）",
    "features: computed in every step, {} cannot be written: {}": "图片特征：每步都计算，{} 无法写入：{}",
    "features: computed in every step, there is no room for those of all images": (
        "图片特征：每步都计算，空间不足以存放全部图片的特征"
    ),
    "{}: its vision tower gives no features of an image": "{}：它的视觉塔得不到图片特征",
    "Give the number of tokens of an image: --image-rows": "请给出一张图片的 token 数：--image-rows",
    "features: no more are cached: {}": "图片特征：不再缓存：{}",
    "computing features of images {}": "计算图片特征 {}",
    "computing features of images": "计算图片特征",
    "checking images": "检查图片",
    "checking images {}": "检查图片 {}",
    "cannot be read: {}": "无法读取：{}",
    "Bring the file back": "请恢复该文件",
    "{} images changed since this run began: their features are not cached, and under ZeRO no process can compute them "
    "alone. Restore the images, or set data.cache_features: off": (
        "训练开始后有 {} 张图片被改动：它们的特征没有缓存，而 ZeRO 下单个进程无法计算。"
        "请恢复图片，或设置 data.cache_features: off"
    ),
    "{}/config.json: its image token {} is none of the model's {} tokens. Fetch the folder again": (
        "{}/config.json：图片 token {} 不在模型的 {} 个 token 中。请重新获取该文件夹"
    ),
    "{}/config.json names no image token. Is it a LLaVA-like model?": "{}/config.json 没有图片 token。是 LLaVA 类的模型吗？",
    "{} does not fit the model": "{} 与模型不符",
    "{}: cannot be loaded as a vision model": "{}：无法作为视觉模型加载",
    "{}: cannot be loaded as a vision model: {}": "{}：无法作为视觉模型加载：{}",
    "{}: its vision tower cannot be built": "{}：无法构建它的视觉塔",
    "{}: its vision tower cannot be built: {}": "{}：无法构建它的视觉塔：{}",
    "from: {} is a text run; a vision run starts from a vision run": "from: {} 是纯文本训练；视觉训练要从视觉训练开始",
    "tune.{} is {}, but stage pretrain trains the projector alone. Set it to frozen, leave it out, or use stage: "
    "finetune": "tune.{} 为 {}，但 pretrain 阶段只训练投影器。请设为 frozen、去掉它，或使用 stage: finetune",
    "{} is token {}, the tokenizer's own": "{} 是第 {} 号 token，分词器自带",
    "{} is token {}, an unused embedding": "{} 是第 {} 号 token，使用未用过的词嵌入",
    "the tokenizer's own": "分词器自带",
    "an unused embedding": "未用过的词嵌入",
    "{} is token {}, {}": "{} 是第 {} 号 token，{}",
    "{} is the new token {}; the vocabulary was enlarged from {} embeddings": (
        "{} 是新增的第 {} 号 token；词表由 {} 个扩大"
    ),
    "an image is {} tokens of {} features": "一张图片为 {} 个 token，每个 {} 维特征",
    "{}: transformers would load its {} config as {}, not {}. Take another LLM": (
        "{}：transformers 会把它的 {} 配置当作 {} 而不是 {} 加载。请换一个语言模型"
    ),
    "{}: a {} model changes the logits after its head (a bias, a scale or a cap), which transformers' Llava and FastVlm "
    "leave out. Take another LLM": (
        "{}：{} 模型在输出头之后还会改变 logits（偏置、缩放或截断），而 transformers 的 Llava 和 FastVlm 没有这一步。"
        "请换一个语言模型"
    ),
    "this model cannot be exported: {}": "该模型无法导出：{}",
    "tower open_clip:{}: interpolation {} is none of {}": "视觉塔 open_clip:{}：插值方式 {} 不是以下之一：{}",
    "tower open_clip:{} names no weights, and random ones see nothing. Write open_clip:{}@/path/to/{}": (
        "视觉塔 open_clip:{} 没有写明权重，随机权重什么也看不到。请写成 open_clip:{}@/path/to/{}"
    ),
    "tower open_clip:{}: {}/{} is missing": "视觉塔 open_clip:{}：缺少 {}/{}",
    "tower open_clip:{}: open_clip knows no model of this name. See open_clip.list_models()": (
        "视觉塔 open_clip:{}：open_clip 没有这个名称的模型。可查看 open_clip.list_models()"
    ),
    "tower open_clip:{} is timm's {}. Name it timm:{} if it is a CNN; for a ViT take the Hugging Face folder of the "
    "same tower": (
        "视觉塔 open_clip:{} 就是 timm 的 {}。如果是 CNN，请写 timm:{}；如果是 ViT，请用同一视觉塔的 Hugging Face 文件夹"
    ),
    "tower open_clip:{} has {}, which CLIPVisionModel does not support. Take another tower": (
        "视觉塔 open_clip:{} 含有 {}，CLIPVisionModel 不支持。请换一个视觉塔"
    ),
    "tower open_clip:{}: {} is no safetensors file. Give open_clip's {}": (
        "视觉塔 open_clip:{}：{} 不是 safetensors 文件。请指定 open_clip 的 {}"
    ),
    "tower open_clip:{}: {} holds timm's network (visual.trunk): name the tower timm:...": (
        "视觉塔 open_clip:{}：{} 中是 timm 的网络（visual.trunk）：请把视觉塔写成 timm:..."
    ),
    "holds timm's network (visual.trunk): name the tower timm:...": (
        "其中是 timm 的网络（visual.trunk）：请把视觉塔写成 timm:..."
    ),
    "tower open_clip:{}: {} holds no visual.* weights": "视觉塔 open_clip:{}：{} 中没有 visual.* 权重",
    "holds no visual.* weights": "其中没有 visual.* 权重",
    "tower open_clip:{}: the weights do not fit its config: {}. Check that name and file belong together": (
        "视觉塔 open_clip:{}：权重与配置不符：{}。请检查名称与文件是否对应"
    ),
    "tower open_clip:{} needs open_clip. Install it with: pip install 'eyegraft[towers]'": (
        "视觉塔 open_clip:{} 需要 open_clip。请安装：pip install 'eyegraft[towers]'"
    ),
    "{}: broken ({}). Fetch it again": "{}：已损坏（{}）。请重新获取",
    "model.pool is {}: transformers' Llava and FastVlm project every patch of the grid": (
        "model.pool 为 {}：transformers 的 Llava 和 FastVlm 会投影每一个图块"
    ),
    "model.projector is {}: transformers' Llava and FastVlm have two linears": (
        "model.projector 为 {}：transformers 的 Llava 和 FastVlm 有两个线性层"
    ),
    "model.projector_hidden is {}: transformers' Llava and FastVlm have the LLM's width there, {}": (
        "model.projector_hidden 为 {}：transformers 的 Llava 和 FastVlm 在此处的宽度与语言模型相同，为 {}"
    ),
    "{}: no file of tensors can be read": "{}：无法读取张量文件",
    "{}: no file of tensors can be read: {}": "{}：无法读取张量文件：{}",
    "{}: holds {} under mm_projector; this model's projector has {}": (
        "{}：mm_projector 中是 {}，而该模型的投影器是 {}"
    ),
    "tower timm:{}: timm {} knows no network {}": "视觉塔 timm:{}：timm {} 中没有网络 {}",
    "tower timm:{} gives features of shape {}, not a map of channels x rows x columns; take a CNN (a ViT goes by its "
    "Hugging Face folder)": (
        "视觉塔 timm:{} 的特征形状为 {}，不是“通道 × 行 × 列”的特征图；请用 CNN（ViT 请用其 Hugging Face 文件夹）"
    ),
    "tower timm:{}: {}/config.json is missing or names no architecture": (
        "视觉塔 timm:{}：{}/config.json 不存在，或没有写明 architecture"
    ),
    "tower timm:{}: {} is no safetensors file with timm's weights": "视觉塔 timm:{}：{} 不是 timm 权重的 safetensors 文件",
    "tower timm:{}: interpolation {} is none of {}": "视觉塔 timm:{}：插值方式 {} 不是以下之一：{}",
    "tower timm:{} needs timm. Install it with: pip install 'eyegraft[towers]'": (
        "视觉塔 timm:{} 需要 timm。请安装：pip install 'eyegraft[towers]'"
    ),
    "tower timm:{}: timm could not get pretrained weights ({}). Give a local file: timm:{}@/path/to/model.safetensors": (
        "视觉塔 timm:{}：timm 无法取得预训练权重（{}）。请指定本地文件：timm:{}@/path/to/model.safetensors"
    ),
    "tower timm:{}: not the weights of {}: {}": "视觉塔 timm:{}：不是 {} 的权重：{}",
    "model.pool: {} does not divide the tower's grid of {} x {} patches. Take a divisor of {}, or another "
    "model.image_size": ("model.pool: {} 不能整除视觉塔的 {} × {} 个图块。请用 {} 的约数，或换一个 model.image_size"),
    "tower {}: cannot be loaded as a vision tower": "视觉塔 {}：无法作为视觉塔加载",
    "tower {}: cannot be loaded as a vision tower: {}": "视觉塔 {}：无法作为视觉塔加载：{}",
    "tower {}: weights are missing: {}. Fetch the folder again": "视觉塔 {}：缺少权重：{}。请重新获取该文件夹",
    "model.tower_layer: {} is no layer of {}, which has {}. Use -{} to -1": (
        "model.tower_layer: {} 不是 {} 的层，它有 {} 层。请用 -{} 到 -1"
    ),
    "model.image_size: {} is less than one patch of {}, {} pixels": (
        "model.image_size: {} 小于 {} 的一个图块（{} 像素）"
    ),
    "model.image_size: {} pixels give {} cells per side in timm:{}, which fits no integer stride. Take a multiple of {}, "
    "such as {}": (
        "model.image_size: {0} 像素在 timm:{2} 中每边得到 {1} 格，不对应整数步长。请用 {3} 的倍数，例如 {4}"
    ),
    "tower {}: its preprocessor's resample {} is none of {}": "视觉塔 {}：预处理器的 resample {} 不是以下之一：{}",
    "tower {} is a {} model. Towers are {}, open_clip:... and timm:...": (
        "视觉塔 {} 是 {} 模型。视觉塔可以是 {}、open_clip:... 和 timm:..."
    ),
}
"""Vision towers, projectors, features of images."""

MODEL_MESSAGES = PRECISION_MESSAGES | TEMPLATE_MESSAGES | FOLDER_MESSAGES | ADAPTER_MESSAGES | VISION_MESSAGES
