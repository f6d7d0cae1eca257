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
    "Rephrase the last question, or start a new chat": "请改写最后一个问题，或开始新对话",
    "this model's chat format cannot hold these turns": "该模型的对话格式放不下这些轮次",
    "Start with a question, or leave the system prompt out": "请以问题开始，或去掉系统提示词",
}
