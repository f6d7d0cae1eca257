"""Chinese texts of the chat in the terminal and of servers, by their English patterns."""

TERMINAL_MESSAGES = {
    "Type a question and ENTER. /image FILE shows an image, /reset begins anew, /exit leaves, /help says more.": (
        "输入问题后按回车。/image FILE 添加图片，/reset 开始新对话，/exit 退出，/help 查看说明。"
    ),
    "/image FILE   the next question is about this image; several files are several images": (
        "/image FILE   下一个问题针对这张图片；可以写多个文件"
    ),
    "(or drop the file on this window; a question may follow it)": "（也可以把文件拖进本窗口，后面可以接着写问题）",
    "/reset        begin a new conversation": "/reset        开始新对话",
    "/help         these lines": "/help         显示本说明",
    "/exit         leave; so does Ctrl-D, or Ctrl-C twice": "/exit         退出；Ctrl-D 或连按两次 Ctrl-C 也可以",
    "Ctrl-C        stop an answer, or empty the line": "Ctrl-C        停止回答，或清空当前行",
    "//...         a question that begins with a slash": "//...         以斜杠开头的问题",
    "the next question is about {}": "下一个问题针对 {}",
    "new conversation": "新对话",
    "stopped": "已停止",
    "this is a text model: it accepts no images": "这是纯文本模型，不接受图片",
    "nothing was answered; the question is not kept": "没有得到回答；该问题不会保留",
    "{} of the oldest turns no longer fit and are left out": "最早的 {} 轮已放不下，不再带上",
    "Ctrl-C once more, Ctrl-D or /exit leaves": "再按一次 Ctrl-C，或用 Ctrl-D、/exit 退出",
    "{}: no such command; did you mean {}? /help lists them. A question that begins with / is written //": (
        "{}：没有这个命令；您是想写 {} 吗？/help 会列出全部命令。以 / 开头的问题请写成 //"
    ),
    "{}: no such command; /help lists them. A question that begins with / is written //": (
        "{}：没有这个命令；/help 会列出全部命令。以 / 开头的问题请写成 //"
    ),
    "/{}: name a file, /{} FILE": "/{}：请写文件名，即 /{} FILE",
    "/video FILE   the same with a video, of which the model sees some frames": (
        "/video FILE   同上，针对视频；模型看到其中若干帧"
    ),
    "this model accepts no videos": "该模型不接受视频",
    "{}: takes nothing, found {}. Type {} alone, then the rest": "{}：后面不能写内容，现有 {}。请先单独输入 {}，再输入其余内容",
    "Check the name of the file": "请检查文件名",
    "The download gave an error page: download the image again": "下载到的是出错页面，请重新下载图片",
    "images: this is a text model, which takes none. Leave them out": "images：这是纯文本模型，不接受图片。请去掉",
    "temperature: found {}; take 0 for the likeliest token, 1 to draw": (
        "temperature：现为 {}；0 表示总是选概率最大的 token，1 表示按概率采样"
    ),
    "{} is abandoned: not read for {} s": "{} 已放弃：{} 秒没有人读取",
    "an answer to {} tokens for {}": "{1} 的回答（提示 {0} 个 token）",
}
"""The terminal."""

SERVER_MESSAGES = {
    "the model needs {} for its weights and {} for answers; {} has room for {} while {} of its models are in use. Ask "
    "again in a moment": ("该模型的权重需要 {}，回答需要 {}；{} 只剩 {} 的空间，其上有 {} 个模型正在使用。请稍后再试"),
    "the model needs {} for its weights and {} for answers; {} has room for {} with every other model put away. Take "
    "a larger machine, fewer bits or lower limits": (
        "该模型的权重需要 {}，回答需要 {}；即使移出所有其他模型，{} 也只有 {} 的空间。请换更大的机器，减少位数，或调低各项上限"
    ),
    "the card": "显卡",
    "vLLM is made for {} and many clients, and serves this too: {}": "vLLM 专为 {} 与大量客户端设计，也能提供这个模型：{}",
    "vLLM is made for {} and many clients; it needs an export of this run: {}": (
        "vLLM 专为 {} 与大量客户端设计，需要先导出这次训练：{}"
    ),
    "vLLM is made for {} and many clients; it needs this adapter merged: {}": (
        "vLLM 专为 {} 与大量客户端设计，需要先合并这个适配器：{}"
    ),
    "limit reached: a request was refused, {} wait already. --queue raises it": (
        "已到上限：拒绝了一个请求，已有 {} 个在排队。可用 --queue 调高"
    ),
    "limit reached: a request was refused, its visitor has {} waiting, a third of the queue. --queue raises it": (
        "已到上限：拒绝了一个请求，该访客已有 {} 个在排队，即队列的三分之一。可用 --queue 调高"
    ),
    "limit reached: a conversation of more than {} messages was refused. --max-messages raises it": (
        "已到上限：拒绝了超过 {} 条消息的对话。可用 --max-messages 调高"
    ),
    "limit reached: a text of more than {} characters was refused. --max-characters raises it": (
        "已到上限：拒绝了超过 {} 个字符的文本。可用 --max-characters 调高"
    ),
    "limit reached: a message with more than {} images was refused. --max-images raises it": (
        "已到上限：拒绝了超过 {} 张图片的消息。可用 --max-images 调高"
    ),
    "limit reached: an image of more than {} bytes was refused. --max-image-mib raises it": (
        "已到上限：拒绝了超过 {} 字节的图片。可用 --max-image-mib 调高"
    ),
    "limit reached: a longer answer than {} tokens was asked for. --max-new-tokens raises it": (
        "已到上限：有请求想要超过 {} 个 token 的回答。可用 --max-new-tokens 调高"
    ),
    "limit reached: a request of more than {} bytes was refused. It grows with --max-images, --max-image-mib and "
    "--max-characters": (
        "已到上限：拒绝了超过 {} 字节的请求。该上限随 --max-images、--max-image-mib 与 --max-characters 增大"
    ),
    "Give scheme, host and port as the browser shows them, such as https://chat.example or http://localhost:3000": (
        "请按浏览器中显示的写出协议、主机和端口，例如 https://chat.example 或 http://localhost:3000"
    ),
    "--adapter: for one model, found {}. Name the folders of adapters, which know their base": (
        "--adapter：只用于一个模型，现有 {} 个。请直接写适配器文件夹，它们知道自己的基座"
    ),
    "--token: {} characters, at least {} are needed so that it cannot be guessed. Generate one: python -c 'import "
    "secrets; print(secrets.token_urlsafe(24))'": (
        "--token：只有 {} 个字符，至少要 {} 个才不会被猜到。可以这样生成：python -c 'import secrets; "
        "print(secrets.token_urlsafe(24))'"
    ),
    "--host {}: other machines can reach this address. To allow them, add --public and --token SECRET": (
        "--host {}：其他机器可以访问这个地址。如果允许，请加上 --public 和 --token SECRET"
    ),
    "--origin {}: not the address of a site. {}": "--origin {}：不是网站的地址。{}",
    "two models are named {}. Give one another name: another-name={}": (
        "有两个模型都叫 {}。请给其中一个另起名字：another-name={}"
    ),
    "{}: neither a run with a checkpoint nor a model folder with config.json or adapter_config.json": (
        "{}：既不是有检查点的训练目录，也不是含有 config.json 或 adapter_config.json 的模型文件夹"
    ),
    "{}, adapters off": "{}，不用适配器",
    "adapters off": "不用适配器",
    "--data {}: there is no such file. Correct the path": "--data {}：没有这个文件。请改正路径",
    "{}: cannot be shown ({}). Check the files in this folder": "{}：无法显示（{}）。请检查该文件夹中的文件",
    "Cut out the part that is meant and send that": "请裁剪出需要的部分再发送",
    "the image: {}. {}": "图片：{}。{}",
}
"""Servers and the page."""

CHAT_MESSAGES = TERMINAL_MESSAGES | SERVER_MESSAGES
