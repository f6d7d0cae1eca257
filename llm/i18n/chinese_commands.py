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
