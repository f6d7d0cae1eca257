"""Chinese texts for those who ask a model on the page or through the API, by their English patterns."""

REQUEST_MESSAGES = {
    "the queue is full. Try again in a moment": "队列已满，请稍后再试",
    "{} of your questions are waiting already. Try again when one of them is answered": (
        "您已有 {} 个问题在排队，请等其中一个回答完再试"
    ),
    "{} of your requests are in progress already. Try again when they are done": "您已有 {} 个请求在处理中，请稍后再试",
    "this page has not fetched the answers to its earlier requests. Reload the page": (
        "本页面还没有取走之前的结果，请刷新页面"
    ),
    "the server's space for uploads is full. Try again in an hour": "服务器的上传空间已满，请一小时后再试",
    "the server's space for files is full. Try again in an hour": "服务器的文件空间已满，请一小时后再试",
    "your uploads take up {} bytes already. Try again in an hour": "您上传的文件已占用 {} 字节，请一小时后再试",
    "it was not uploaded to this server": "不在本服务器上",
    "Upload it again": "请重新上传",
    "is an answer, and answers are not continued here": "是回答，这里不支持续写回答",
    "Send a question after it": "请在其后发送问题",
    "Write a question": "请输入问题",
    "{}: not found under {}. Train one, then reload the page": "在 {1} 下找不到 {0}。请先训练一个模型，然后刷新页面",
    "no model": "模型",
    "{} no longer exists ({}). Reload the page": "{} 已不存在（{}）。请刷新页面",
    "{} is a text-only model and the chat has images. Choose another model or start a new chat": (
        "{} 是纯文本模型，而对话中有图片。请换一个模型，或开始新对话"
    ),
    "the image": "图片",
    "messages": "消息",
    "stop sequences": "停止词",
    "{} of them, at most {} are accepted": "共 {} 个，最多 {} 个",
    "Remove some": "请删去一些",
    "more than {} characters": "超过 {} 个字符",
    "Start a new chat": "请开始新对话",
    "Start a new chat, or shorten them": "请开始新对话，或缩短内容",
    "Only questions may have images": "只有问题可以带图片",
    "more than {} images": "超过 {} 张图片",
    "Send the others in another message": "其余图片请放在下一条消息中发送",
    "Write the complete character": "请写完整的字符",
    "Choose the file again: it has 0 bytes": "请重新选择文件：它有 0 字节",
    "Open it in another program, save a new copy and send that": "请用其他软件打开，另存一份再发送",
    "Open the address in a browser, save the image itself and send that": "请在浏览器中打开该网址，保存图片本身再发送",
    "Send one of {}": "请发送以下格式之一：{}",
    "Send a smaller copy": "请缩小后再发送",
    "Save it as an ordinary PNG or JPEG with 8 bits a channel and send that": (
        "请另存为每通道 8 位的普通 PNG 或 JPEG 再发送"
    ),
    "Send another copy of it": "请换一份再发送",
    "this model reads text only. Choose another model, or start a new chat without images": (
        "该模型只能读文本。请换一个模型，或开始不带图片的新对话"
    ),
    "the text spells a mark that this model reserves for itself. Rephrase that passage": (
        "文本中含有该模型保留的标记，请改写这一段"
    ),
    "half of a surrogate pair, which is not a character. Write the complete character": (
        "有不成对的代理字符，不是有效字符。请写完整的字符"
    ),
    "this model cannot read the conversation": "该模型无法读取这段对话",
    "this model cannot be opened": "无法打开该模型",
    "Choose another model": "请选择其他模型",
    "Rephrase the last question, or start a new chat": "请改写最后一个问题，或开始新对话",
    "this model's chat format cannot hold these turns": "该模型的对话格式放不下这些轮次",
    "Start with a question, or leave the system prompt out": "请以问题开始，或去掉系统提示词",
}

DOWNLOAD_MESSAGES = {
    "downloads are switched off. The operator allows them by starting the service with --hub on, or with --hub and the "
    "owners whose models may be downloaded": (
        "下载功能未开启。管理员可以用 --hub on 启动服务来开启，或用 --hub 指定允许下载哪些所有者的模型"
    ),
    "{}: only models of {} may be downloaded. The operator adds owners with --hub": (
        "{}：只允许下载 {} 的模型。管理员可以用 --hub 增加所有者"
    ),
    "--hub {}: write off, on, or owners such as Qwen,HuggingFaceTB": (
        "--hub {}：请写 off、on 或所有者的名称，例如 Qwen,HuggingFaceTB"
    ),
    "{} is no model of the hub. Write owner/name, such as Qwen/Qwen2.5-0.5B-Instruct; a revision follows after @": (
        "{} 不是 Hugging Face 上的模型 id。请写“所有者/名称”，例如 Qwen/Qwen2.5-0.5B-Instruct；版本写在 @ 之后"
    ),
    "{}: it could not be fetched from {}: {}. {}": "{}：无法从 {} 下载：{}。{}",
    "{}: its owner gives it only to those who have accepted its conditions. Accept them at {}/{}, and start the service "
    "with HF_TOKEN set to that account's token": (
        "{}：需要先接受使用条款才能下载。请在 {}/{} 接受条款，并把 HF_TOKEN 设为该账号的 token，然后重新启动服务"
    ),
    "{}: {} has no revision {} of it. Leave out what follows after @": (
        "{}：{} 上没有它的版本 {}。请去掉 @ 及其后的内容"
    ),
    "{}: {} has no such model, or it is private. Check the spelling; for a private one, start the service with HF_TOKEN": (
        "{}：{} 上没有这个模型，或者它是私有的。请检查拼写；若是私有模型，请设置 HF_TOKEN 后启动服务"
    ),
    "{}: HF_HUB_OFFLINE is set, so nothing is downloaded. Start the service without it, or copy the model's folder below "
    "one of --models": (
        "{}：设置了 HF_HUB_OFFLINE，因此不会下载。请去掉这个变量后启动服务，或把模型文件夹复制到某个 --models 目录下"
    ),
    "{}: {} does not say which commit it is. Use another mirror, such as {}": (
        "{}：{} 没有给出提交号。请换一个镜像，例如 {}"
    ),
    "{}: {} does not say how large {} is. Use another mirror: {}": "{}：{} 没有给出 {} 的大小。请换一个镜像：{}",
    "{}: it has {} files, at most {} are read. Is it a data set?": (
        "{}：有 {} 个文件，最多支持 {} 个。请确认它不是数据集"
    ),
    "{}: it has no {}. Choose a model in the format of transformers": "{}：其中没有 {}。请选择 transformers 格式的模型",
    "only as {}": "只有 {} 格式",
    "nowhere": "没有任何权重",
    "{}: it has no weights as safetensors ({}), and other formats may hold programs. Choose a model that has them, or "
    "convert it and copy its folder below one of --models": (
        "{}：没有 safetensors 格式的权重（{}），而其他格式可能含有程序。请选择带 safetensors 权重的模型，"
        "或自行转换后把文件夹复制到某个 --models 目录下"
    ),
    "{}: it lists a file outside its folder, {}. Its owner means harm: do not use it": (
        "{}：文件列表中有指向目录之外的文件 {}，可能是恶意模型，请不要使用"
    ),
    "{}: it is an adapter, not a model. Merge it into its base, and train that": (
        "{}：这是适配器，不是模型。请先把它合并到基础模型，再训练合并后的模型"
    ),
    "{}: {} arrived damaged: it is not what the hub has listed. Download it again": (
        "{}：{} 下载后已损坏，与 Hugging Face 列出的内容不一致。请重新下载"
    ),
    "{}: the service's disk has no room for {}. Delete files or jobs, then download it again: it goes on where it was": (
        "{}：服务的磁盘放不下 {}。请删除文件或任务后再次下载，会从中断处继续"
    ),
    "{}: {} GiB are to be downloaded, and the service's disk has room for {} GiB. Delete models, files or jobs first": (
        "{}：需要下载 {} GiB，而服务的磁盘只能再放 {} GiB。请先删除模型、文件或任务"
    ),
    "{}: it has {} GiB, and the quota of downloaded models has {} GiB left. Delete models first": (
        "{}：大小为 {} GiB，而下载模型的配额只剩 {} GiB。请先删除模型"
    ),
    "{}: the process that fetches it ended with exit code {}. Download it again": (
        "{}：下载进程以退出码 {} 结束。请再次下载"
    ),
    "{}: its download is {}, there is nothing to cancel": "{}：下载状态为 {}，没有可取消的内容",
    "{}: jobs need it, or have trained a model that does: {}. Cancel or remove them first": (
        "{}：有任务需要它，或有训练出的模型依赖它：{}。请先取消或删除这些任务"
    ),
    "the service's disk refuses the download: {}": "服务的磁盘无法写入下载内容：{}",
    "there is no download {}": "没有下载 {}",
    "after: there is no download {}": "after：没有下载 {}",
    "{}: {} is no state of a download. Delete the folder": "{}：{} 不是下载的状态。请删除该文件夹",
    "{}: cannot be read ({}). Delete the folder": "{}：无法读取（{}）。请删除该文件夹",
    "--cancel and --delete: give one of them": "--cancel 和 --delete：只能用其中一个",
    "no downloads yet": "还没有下载",
    "{}: the service has no such download; `eyegraft jobs downloads` lists them": (
        "{}：服务中没有这个下载；`eyegraft jobs downloads` 会列出全部下载"
    ),
    "A model of the hub: owner/name or owner/name@revision.": (
        "Hugging Face 上的模型：“所有者/名称”或“所有者/名称@版本”。"
    ),
    "End its download; what is there already stays.": "取消它的下载；已下载的部分会保留。",
    "Delete it from the service.": "从服务中删除它。",
    "Let the service download a model from the hub, and wait for it; a download that has ended early goes on.": (
        "让服务从 Hugging Face 下载模型并等待完成；中断的下载会继续。"
    ),
    "List the models that the service has downloaded from the hub, and those that are under way.": (
        "列出服务已下载和正在下载的模型。"
    ),
    "Models that may be downloaded from the hub: off, on, or owners (Qwen,google). Default: on, and off where other "
    "machines can reach the service.": (
        "允许从 Hugging Face 下载的模型：off、on 或所有者（Qwen,google）。默认为 on；其他机器能访问服务时为 off。"
    ),
}
"""Models that the training service downloads from the hub."""

HUB_MESSAGES = {
    "{}: could not be fetched from {}: {}": "{}：无法从 {} 获取：{}",
    "Where ModelScope can be reached, run {}, copy the folder here and name it instead": (
        "请在能访问 ModelScope 的机器上运行 {}，把文件夹复制到这里，再改用它的路径"
    ),
    "The Hugging Face hub has many under the same name: {}": "Hugging Face 上有许多同名的：{}",
    "{}: a data set of a hub, not a model. Name a model, such as {}:org/name": (
        "{}：这是数据集，不是模型。请写模型，例如 {}:org/name"
    ),
    "{}: a model is a complete repository: write {}:{}": "{}：模型是整个仓库：请写 {}:{}",
    "{}: data of a hub is written {}:datasets/{}": "{}：模型中心的数据集写作 {}:datasets/{}",
    "{}: no name of a hub. Write hf:owner/name or modelscope:owner/name, for data hf:datasets/owner/name; a revision "
    "follows the name after @, a file of a data set after that": (
        "{}：不是模型中心的名称。请写 hf:owner/name 或 modelscope:owner/name，数据写 hf:datasets/owner/name；版本写在名称后的 @ "
        "之后，数据集中的文件再写在其后"
    ),
    "it lists a file outside its folder, {}. Its owner means harm: do not use it": (
        "其中列有文件夹之外的文件 {}。所有者怀有恶意：请勿使用"
    ),
    "{}: the hub does not say how large {} is. Use another mirror": "{}：没有给出 {} 的大小。请换一个镜像",
    "{}: {} does not say which commit it is. Use another mirror": "{}：{} 没有说明是哪个提交。请换一个镜像",
    "{}: its owner gives it only to those who have accepted its conditions. Accept them at {}, then set HF_TOKEN to that "
    "account's token, or run `hf auth login`": (
        "{}：所有者只提供给已接受其条款的账号。请在 {} 接受条款，再把 HF_TOKEN 设为该账号的 token，或运行 `hf auth login`"
    ),
    "{}: {} has no revision {} of it. Leave out what follows after @": "{}：{} 没有它的版本 {}。请去掉 @ 之后的部分",
    "{}: {} has no such {}, or it is private. Check the spelling; for a private one set HF_TOKEN, or run `hf auth login`": (
        "{}：{} 没有这个{}，或它是私有的。请检查拼写；若是私有的，请设置 HF_TOKEN，或运行 `hf auth login`"
    ),
    "model": "模型",
    "data set": "数据集",
    "{}: {} answers, but not as ModelScope does. Correct MODELSCOPE_ENDPOINT": (
        "{}：{} 有应答，但不是 ModelScope。请改正 MODELSCOPE_ENDPOINT"
    ),
    "{}: its owner gives it only to some accounts. Ask for access at {}, then set MODELSCOPE_API_TOKEN to that account's "
    "token": "{}：所有者只提供给部分账号。请在 {} 申请访问，再把 MODELSCOPE_API_TOKEN 设为该账号的 token",
    "{}: {} has no such {}, or no revision {} of it, or it is private. Check the spelling; for a private one set "
    "MODELSCOPE_API_TOKEN": (
        "{}：{} 没有这个{}，或没有版本 {}，或它是私有的。请检查拼写；若是私有的，请设置 MODELSCOPE_API_TOKEN"
    ),
    "{}: the cache cannot be written, {}: {}. Set HF_HOME or MODELSCOPE_CACHE to a folder of yours": (
        "{}：无法写入缓存 {}：{}。请把 HF_HOME 或 MODELSCOPE_CACHE 设为你自己的文件夹"
    ),
    "{}: {} cannot be asked ({}); the local copy is used as it is": "{}：无法询问 {}（{}），使用现有的本地副本",
    "the connection failed ({}); what has arrived is kept, and the same command goes on from there": (
        "连接中断（{}）；已到达的部分会保留，运行同一条命令即可继续"
    ),
    "{} GiB are to be downloaded, and there is room for {} GiB": "需要下载 {} GiB，而空间只有 {} GiB",
    "{}: {}. Free some of the disk, or set HF_HOME or MODELSCOPE_CACHE to another one": (
        "{}：{}。请清理磁盘，或把 HF_HOME 或 MODELSCOPE_CACHE 设到其他磁盘"
    ),
    "{} arrived damaged: it is not what the hub has listed, and was deleted. Run the command again; if that happens again, "
    "use another mirror": "{} 传输中损坏：与列出的内容不符，已删除。请重新运行命令；若仍如此，请换一个镜像",
    "what is not in the cache of it is fetched from {}": "缓存中没有的部分将从 {} 下载",
    "a model is a complete repository: write {}:{}": "模型是整个仓库：请写 {}:{}",
    "data of a hub is written {}:datasets/{}": "模型中心的数据集写作 {}:datasets/{}",
    "{}: is not among what is here of it, and {} cannot be asked now": "{}：本地副本中没有，现在又无法询问 {}",
    "{}: the data set has no file or folder {}. {}": "{}：数据集中没有文件或文件夹 {}。{}",
    "It has {}": "其中有 {}",
    "the download was stopped": "下载已停止",
    "fetching {}": "正在下载 {}",
    "waiting for another process that fetches {}": "正在等待另一个进程下载 {}",
    "{} of {} MiB": "{} / {} MiB",
}
"""What is fetched of hubs."""
