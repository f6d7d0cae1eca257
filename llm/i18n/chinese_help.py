"""Chinese texts of help pages and usage errors, by their English patterns; sentences without their final point."""

TYPER_MESSAGES = {
    "Arguments": "参数",
    "Options": "选项",
    "Commands": "命令",
    "Show this message and exit": "显示本帮助并退出",
    "Try '{} --help' for help.": "用 {} --help 查看帮助。",
    "default: {}": "默认：{}",
    "env var: {}": "环境变量：{}",
    "required": "必填",
    "Missing command.": "缺少命令。",
    "No such command '{}'.": "没有“{}”这个命令。",
    "No such option: {}": "没有这个选项：{}",
    "No such option: {} (Possible options: {})": "没有这个选项：{}（相近的选项：{}）",
    "Missing argument '{}'.": "缺少参数 {}。",
    "Missing option '{}'.": "缺少选项 {}。",
    "Got unexpected extra argument(s) ({})": "多余的参数：{}",
    "Option '{}' requires an argument.": "选项 {} 后面要写一个值。",
    "Option '{}' does not take a value.": "选项 {} 后面不能写值。",
    "Invalid value for '{}': {}": "{} 的值无效：{}",
    "Input should be a valid integer, unable to parse string as an integer": "应为整数",
    "Input should be a valid number, unable to parse string as a number": "应为数字",
    "Input should be greater than or equal to {}": "应不小于 {}",
    "Input should be less than or equal to {}": "应不大于 {}",
    "Input should be {}": "应为 {}",
    "'{}' or '{}'": "“{}”或“{}”",
    "Value '{}' is not a valid {}.": "“{}”不是有效的 {}。",
}
"""typer's own, and those of pydantic, by which it checks values."""

GROUP_MESSAGES = {
    "Example": "示例",
    "Examples": "示例",
    "Train": "训练",
    "Use": "使用",
    "Data": "数据",
    "Look": "查看",
    "Make": "生成",
    "Edit": "编辑",
}
"""Headings of groups of commands."""

RUN_HELP = {
    "Train, evaluate, chat with and export vision-language models: a vision tower on any Hugging Face causal LM": (
        "训练、评测、对话和导出视觉语言模型：把视觉塔接到任意 Hugging Face 因果语言模型上"
    ),
    "Print the version and exit": "显示版本号并退出",
    "A recipe file, or the name of a shipped recipe": "配方文件，或自带配方的名称",
    "Replace keys of the recipe: train.batch=8": "覆盖配方中的键，例如 train.batch=8",
    "Train a recipe, or resume it from its last checkpoint; a pipeline runs its steps in order": (
        "按配方训练，或从最近的检查点继续；流水线会依次运行各步"
    ),
    "Report what would be trained, and stop": "只报告将要训练的内容，不训练",
    "Resume although recipe or data changed": "配方或数据有改动也继续训练",
    "Processes on this machine; 0: only this one": "本机的进程数；0 表示只用当前进程",
    "zero1, zero2, zero2_offload, zero3 or zero3_offload": "zero1、zero2、zero2_offload、zero3 或 zero3_offload",
    "slurm, sky, kubeflow or ray: print a job file for --nodes machines; nothing is run": (
        "slurm、sky、kubeflow 或 ray：输出供 --nodes 台机器使用的作业文件；不运行任何东西"
    ),
    "Machines of the job file": "作业文件使用的机器数",
    "Evaluate a model on benchmark files, or a run by an eval recipe or on the questions of --data": (
        "在评测文件上评测模型；或用评测配方、用 --data 的问题评测训练结果"
    ),
    "An eval recipe, or a model with --on, or a run with --data": "评测配方；或模型加 --on；或训练目录加 --data",
    "Compare two models on the same questions by a paired bootstrap, with the verdict in a sentence": (
        "用配对自助法在相同问题上比较两个模型，并用一句话给出结论"
    ),
    "A run, a model folder or an adapter's folder": "训练目录、模型文件夹或适配器文件夹",
    "The model that it is compared with": "与之比较的模型",
    "Benchmark file or folder, or your own questions; may be repeated": "评测文件或文件夹，或自己的问题；可多次使用",
    "Form of the files, such as pope or letters; auto: found from their content": (
        "文件的形式，如 pope 或 letters；auto：根据内容判断"
    ),
    "Ask the questions of this split only": "只问该划分的问题",
    "Ask again without the images, for the blind score": "去掉图片再问一遍，得到不看图片的得分",
    "Write letters and yes or no as texts, too": "字母和是非题也用生成文本的方式回答",
    "How the model writes boxes: shares of the sides, these times 1000, or pixels": (
        "模型如何写边界框：占边长的比例、该比例乘以 1000，或像素"
    ),
    "Leave out rows that cannot be read, and count them": "跳过无法读取的行，并统计数量",
    "Address of an OpenAI-compatible API, usually ending in /v1; MODEL is its name there": (
        "OpenAI 兼容 API 的地址，通常以 /v1 结尾；MODEL 为该处的模型名"
    ),
    "Folder of the report; by default inside the model's folder": "报告所在的文件夹；默认在模型文件夹内",
    "Image questions in any format that training reads, or held_out.json of an identity": (
        "图片问题，格式与训练数据相同；或身份数据的 held_out.json"
    ),
    "Folder of their images; by default the file's own": "图片所在的文件夹，默认为数据文件所在的文件夹",
    "Number of questions; 0: all": "提问的数量；0 表示全部",
    "Forecast memory and time of a recipe from config files alone, with advice if it does not fit": (
        "只凭配置文件预估配方所需的内存和时间；放不下时给出建议"
    ),
    "A card's memory in GiB, such as 24 or 24GiB, or cpu; default: this machine": (
        "显卡的显存（GiB），例如 24 或 24GiB；或写 cpu；默认为本机"
    ),
    "TFLOP/s it reaches; without it a CPU is measured": "能达到的 TFLOP/s；不写则实测 CPU",
    "Share of text tokens that are trained on": "参与训练的文本 token 所占的比例",
}
"""train, eval and plan."""

USE_HELP = {
    "Chat with a model in the terminal; /image FILE adds an image, /reset begins anew, /help says more": (
        "在终端与模型对话；/image FILE 添加图片，/reset 开始新对话，/help 查看说明"
    ),
    "A run folder, a Hugging Face folder, or an adapter's folder": ("训练目录、Hugging Face 模型文件夹或适配器文件夹"),
    "Image of the first question; may be repeated": "第一个问题的图片，可以多次给出",
    "System prompt": "系统提示词",
    "0: always the likeliest token": "采样温度；0 表示总是选概率最大的 token",
    "Sample among the k likeliest tokens; 0: all": "只在概率最大的 k 个 token 中采样；0 表示不限",
    "Sample among the likeliest of total probability p": "只在累计概率达到 p 的 token 中采样",
    "Above 1: repetition becomes less likely": "大于 1 时减少重复",
    "Longest answer, in tokens": "回答的最大长度（token）",
    "Seed of the sampling": "采样的随机种子",
    "Text that ends an answer; may be repeated": "遇到即停止回答的文本，可以多次给出",
    "Print the answer as it is generated": "边生成边显示回答",
    "For a model folder: a LoRA adapter, as peft or `export --to peft` wrote it": (
        "用于模型文件夹：peft 或 `export --to peft` 写出的 LoRA 适配器"
    ),
    "4 or 8 quantises the weights; adapters of runs stay above them": (
        "4 或 8：量化权重；训练得到的适配器仍加在量化后的权重上"
    ),
    "Serve models over HTTP with OpenAI's API: chat and text completions, and the list of models": (
        "以 OpenAI 的 API 提供 HTTP 服务：对话补全、文本补全和模型列表"
    ),
    "Run, model or adapter folders, each with its model name": ("训练目录、模型文件夹或适配器文件夹，可各自指定模型名"),
    "Address to listen on": "监听的地址",
    "Port to listen on": "监听的端口",
    "Allow an address that other machines can reach": "允许使用其他机器能访问的地址",
    "Secret that clients send: as API key, or once as /?token=": (
        "客户端要发送的密钥：作为 API key，或首次访问时写在 /?token= 中"
    ),
    "Host name under which a reverse proxy serves it, if any": "反向代理对外使用的主机名（如有）",
    "Requests that may wait; further ones get 429": "最多可排队的请求数，超出的返回 429",
    "Requests for one model that are answered at once": "同一模型同时回答的请求数",
    "Tokens of an answer; a request may ask for fewer": "一个回答最多的 token 数，请求可以要求更少",
    "Messages of a conversation": "一段对话最多的消息数",
    "Characters of a conversation or of a text to continue": "一段对话或待续写文本最多的字符数",
    "GiB that all models may take; 0: what the device has free": "所有模型最多占用的 GiB 数；0：设备上空闲的内存",
    "Images of a message": "一条消息最多的图片数",
    "MiB of an image as it is sent": "一张图片发送时最多的 MiB 数",
    "Site whose pages may use the API: https://chat.example; may be repeated": (
        "允许哪个网站的页面使用 API，例如 https://chat.example；可以多次给出"
    ),
    "Open the web page: chat, compare models, follow runs and browse data; it serves the API of `serve` too": (
        "打开网页：对话、比较模型、查看训练进度、浏览数据；同时提供与 `serve` 相同的 API"
    ),
    "Run folders to list first": "排在最前面的训练目录",
    "Folder in which runs are found": "查找训练目录的位置",
    "Data file to browse; may be repeated": "要浏览的数据文件，可以多次给出",
    "Write a run in a form that other software reads, and prove that it gives the same answers": (
        "把训练结果导出成其他软件能读取的形式，并验证回答一致"
    ),
    "A run folder": "训练目录",
    "Folder to write": "输出文件夹",
    "Type of the weights; q8_0 is for gguf and ollama": "权重的数据类型；q8_0 只用于 gguf 和 ollama",
    "hf: one merged Hugging Face folder. peft: a LoRA adapter, and its base where that was trained too. llava: "
    "mm_projector.bin. gguf: files for llama.cpp (SigLIP towers; Llama and Qwen LLMs). ollama: those and a Modelfile": (
        "hf：合并后的 Hugging Face 文件夹。peft：LoRA 适配器，基座也训练过时一并写出。llava：mm_projector.bin。"
        "gguf：供 llama.cpp 使用的文件（SigLIP 视觉塔；Llama 和 Qwen 语言模型）。ollama：同上，另加 Modelfile"
    ),
    "gguf: allow CLIP towers and any difference": "gguf：允许 CLIP 视觉塔，也不限制差异大小",
    "Replace an export of another run or form in DIR": "替换 DIR 中其他训练或其他形式的导出",
    "peft: the base's hub id or absolute path that the adapter names; default: where it is": (
        "peft：写入适配器的基座名称，可以是 Hugging Face 上的名称或绝对路径；默认为其所在位置"
    ),
    "Merge any LoRA adapter into the weights of its model, and prove the result": (
        "把任意 LoRA 适配器合并进模型权重，并验证结果"
    ),
    "A model folder or hub id": "模型文件夹，或 Hugging Face 上的名称",
    "A folder with adapter_config.json": "含有 adapter_config.json 的文件夹",
    "Type of the weights": "权重的数据类型",
    "Largest file, such as 2GB": "单个文件的最大大小，例如 2GB",
}
"""chat, serve, web, export and merge."""

LOOK_HELP = {
    "Fetch models and data of the quickstart: once, with checksums; afterwards no network is needed": (
        "下载快速开始所用的模型和数据：只需一次，并校验；之后不再需要网络"
    ),
    "Names of assets; default: all": "要下载的内容，默认全部",
    "File of images and names to fit": "用于拟合的图片和名称文件",
    "File of images and names to measure": "用于测量的图片和名称文件",
    "The tower, as in model.tower": "视觉塔，与 model.tower 相同",
    "Pixels per side, as in model.image_size": "每边像素数，与 model.image_size 相同",
    "The mean of an image's tokens, or all of them": "取一张图片各 token 的均值，或全部",
    "Make a data set of images from npm packages; without names, nothing else is fetched": (
        "由 npm 软件包生成图片数据集；不写名称时不下载其他内容"
    ),
    "List the shipped recipes": "列出自带的配方",
    "Part of a name, or a glob pattern": "名称的一部分，或通配符",
    "Copy a shipped recipe, or a folder of them, to edit it": "复制自带的配方或整个文件夹，以便修改",
    "A shipped recipe (see ls), or for cp a folder of them": "自带的配方（见 ls）；cp 也可以是配方文件夹",
    "File or folder": "文件或文件夹",
    "Print a shipped recipe with its comments": "显示自带的配方及其注释",
    "Check a recipe, or every step of a pipeline, print it with all defaults, and say whether its files are here": (
        "检查配方或流水线的每一步，输出补全默认值后的配方，并说明所需文件是否都在"
    ),
    "Exit code 3 if a file it names is not here": "有文件缺失时退出码为 3",
    "Print the JSON schema of recipes, for editors and forms": "输出配方的 JSON schema，供编辑器和表单使用",
    "A stage; without it, all stages": "阶段；不写表示所有阶段",
    "Compare a VLM as it is computed here with plain transformers, and say what it can do: packs, prefixes, caches": (
        "把视觉语言模型在这里的计算与原版 transformers 对照，并说明它支持什么：打包、共享前缀、缓存"
    ),
    "A folder or hub id of a vision language model": "视觉语言模型的文件夹或 hub id",
    "Print versions, hardware and optional packages of this installation": "显示版本、硬件和可选依赖的安装情况",
}
"""assets, ls, cp, show, validate, schema, inspect and env."""

DATA_HELP = {
    "Make, check, convert and edit training data": "生成、检查、转换和编辑训练数据",
    "Check every record and every image": "检查每条记录和每张图片",
    "Exit code 0: all can be trained on, 3: errors": "退出码 0 表示全部可以用于训练，3 表示有错误",
    "JSON, JSONL, parquet, CSV, a folder, or a recipe": "JSON、JSONL、parquet、CSV 文件，文件夹，或配方",
    "Folder of the images; by default the file's own": "图片所在的文件夹，默认为数据文件所在的文件夹",
    "A format that training reads, or auto": "训练支持的格式，或 auto",
    "How images are checked: pixels, headers or not at all": "怎样检查图片：解码像素、只读文件头，或不检查",
    "Write the sound records to OUT, the others beside it": "把没有问题的记录写入 OUT，其余写在同一文件夹",
    "Download images given as URLs into this folder": "把网址形式的图片下载到这个文件夹",
    "Findings shown of each kind": "每类问题显示几处",
    "ROLE=COLUMN, such as output=caption; may be repeated": "ROLE=COLUMN，例如 output=caption，可以多次给出",
    "Split to read where the data has several": "数据有多个划分时读取哪一个",
    "Exit code 3 for warnings too": "有警告时退出码也为 3",
    "Print the report as JSON": "以 JSON 输出报告",
    "Convert data to another format, and report what is lost": "转换成其他格式，并报告丢失的内容",
    "A file, a folder, or org/name on the Hugging Face Hub": "文件、文件夹，或 Hugging Face 上的 org/name",
    "The .json, .jsonl or .parquet file to write": "要写入的 .json、.jsonl 或 .parquet 文件",
    "llava, messages, openai, sharegpt, xtuner, alpaca or text": (
        "llava、messages、openai、sharegpt、xtuner、alpaca 或 text"
    ),
    "Format of IN: coco, vqav2, refcoco, easy_vqa or a training format": (
        "IN 的格式：coco、vqav2、refcoco、easy_vqa，或训练支持的格式"
    ),
    "Folder that IN's image paths are relative to": "IN 中图片路径的起始文件夹",
    "Second file of vqav2 and refcoco": "vqav2 和 refcoco 的第二个文件",
    "Copy the images beside OUT": "把图片复制到 OUT 旁边",
    "openai: embed the images in OUT": "openai：把图片内嵌在 OUT 中",
    "Skip and count records the format cannot hold": "跳过该格式放不下的记录，并计数",
    "Print statistics of a data set: turns, tokens, images, answers, and the packs that training would form": (
        "输出数据集的统计：轮次、token、图片、回答，以及训练时的打包情况"
    ),
    "A data file or folder, or a recipe": "数据文件、文件夹或配方",
    "For a data file: the model folder or run whose tokenizer counts": (
        "用于数据文件：用哪个模型文件夹或训练目录的分词器计数"
    ),
    "Tokens of a pack; 0: the recipe's train.pack_tokens, or 4096": (
        "一个包的 token 数；0 表示配方的 train.pack_tokens，没有则为 4096"
    ),
    "Records of a step; 0: the recipe's train.batch, or 16": "一步的记录数；0 表示配方的 train.batch，没有则为 16",
    "Tokens of an image; 0: as many as the tower gives": "一张图片的 token 数；0 表示由视觉塔决定",
    "Write plots as PNG files to this folder": "把图表以 PNG 写入这个文件夹",
    "Print the statistics as one JSON object": "以一个 JSON 对象输出统计",
    "Show records as the model sees them: tokens, which of them are trained on, images, and packs": (
        "显示模型实际看到的内容：token、其中哪些参与训练、图片和打包情况"
    ),
    "Number of records": "记录数",
    "Seed of the draw": "抽取的随机种子",
    "Write a self-contained HTML page": "写成一个独立的 HTML 页面",
}
"""data check, convert, stats and show."""

EDIT_HELP = {
    "Split data into train and validation, or named parts, that share no image, record or id": (
        "把数据分成训练集和验证集，或若干命名的部分；各部分之间没有相同的图片、记录或 id"
    ),
    "A data file, or a folder of them": "数据文件，或存放数据文件的文件夹",
    "For example test=0.1": "例如 test=0.1",
    "Validation share, if no NAME=SHARE is given": "没有给出 NAME=SHARE 时，验证集的比例",
    "Seed of the split": "划分的随机种子",
    "Compare images by content, not by path": "按内容而不是按路径判断图片是否相同",
    "Format of the records; auto: detected from the first ones": "记录的格式；auto 表示从开头的记录判断",
    "Mix data files by weight into one, shuffled: 0.5 takes half of the records, 2 takes each twice": (
        "按权重把多个数据文件混合并打乱：0.5 取一半记录，2 表示每条取两次"
    ),
    "Files with weights; 1 by default": "文件及权重，权重默认为 1",
    "File to write: .jsonl, .json or as the sources": "要写入的文件：.jsonl、.json，或与数据源相同的类型",
    "Seed of draw and shuffle": "抽取和打乱的随机种子",
    "Records in total, shared by weight; 0: weights count copies": ("记录总数，按权重分配；0 表示权重即每条记录的份数"),
    "Repeat a small data file, with a warning about what repetition does to a model": (
        "把小数据文件重复多份，并提醒重复对模型的影响"
    ),
    "Copies of each record in OUT": "OUT 中每条记录的份数",
    "File to write": "要写入的文件",
    "Generate training data for an assistant that knows its name, and questions to evaluate it": (
        "生成让助手知道自己名字的训练数据，以及用于评测的问题"
    ),
    "Name of the assistant": "助手的名字",
    "Who made it": "助手的作者",
    "Language of the questions: en, zh, or both as zh,en": "问题的语言：en、zh，或两种都要：zh,en",
    "Seed of the draws": "抽取的随机种子",
    "Plain questions only, or every kind of them: thrice the records": "仅直白的问题，或各种问法：记录约为三倍",
    "Model to be tuned: its own answers keep what it knows": "要微调的模型：用它自己的回答保持原有能力",
    "Write over files of an earlier call": "覆盖以前生成的文件",
    "Replace a name in every text of a data file": "替换数据文件所有文本中的名字",
    "Name to replace": "要替换的名字",
    "Name to write instead": "替换成的名字",
    "JSON, JSONL, CSV or parquet": "JSON、JSONL、CSV 或 parquet 文件",
    "File to write, of the same type": "要写入的文件，类型相同",
    "Fill in {{NAME}} and {{AUTHOR}} in every text of a data file": (
        "填写数据文件所有文本中的 {{{{NAME}}}} 和 {{{{AUTHOR}}}}"
    ),
    "Name of the assistant, for {{NAME}}": "助手的名字，用于 {{{{NAME}}}}",
    "Who made it, for {{AUTHOR}}": "助手的作者，用于 {{{{AUTHOR}}}}",
}
"""data split, mix, repeat, identity, rename and fill."""

ASK_HELP = {
    "Ask an OpenAI-compatible API about texts or images, and store the answers as training data": (
        "就文本或图片向兼容 OpenAI 的 API 提问，并把回答存成训练数据"
    ),
    "A file of lines or records, or a folder of images": "每行一个问题或每条一个记录的文件，或图片文件夹",
    "The .jsonl or .json file to write": "要写入的 .jsonl 或 .json 文件",
    "Name of the model at the API": "API 上的模型名",
    "Address of the API": "API 的地址",
    "Environment variable that holds the API key": "存放 API key 的环境变量",
    "File with the system prompt": "存放系统提示词的文件",
    "Store the system prompt with the answers": "把系统提示词与回答一起保存",
    "Field of a record that holds its question, if unusual": "记录中存放问题的字段（名称不常见时）",
    "What to ask about each image: text, or a .txt or .md file": "对每张图片问什么：文本，或 .txt、.md 文件",
    "Questions and answers per image; 0: one caption": "每张图片的问答数；0 表示一段描述",
    "Question stored with a caption instead of the instruction": "与描述一起保存的问题，代替提问时的指令",
    "Sent with each request, such as temperature=0.7": "随每个请求发送的参数，例如 temperature=0.7",
    "Longest side of a sent image, in pixels": "发送的图片最长边（像素）",
    "Concurrent requests": "同时进行的请求数",
    "Most requests per minute; 0: no limit": "每分钟最多的请求数；0 表示不限",
    "Most requests of this run; 0: no limit": "本次最多的请求数；0 表示不限",
    "Retries of a failed request": "请求失败后的重试次数",
    "Seconds to wait for an answer": "等待回答的秒数",
}
"""data ask."""

HELP_MESSAGES = TYPER_MESSAGES | GROUP_MESSAGES | RUN_HELP | USE_HELP | LOOK_HELP | DATA_HELP | EDIT_HELP | ASK_HELP
