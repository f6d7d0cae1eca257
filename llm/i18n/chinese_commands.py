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
}
"""What surrounds messages."""

COMMAND_MESSAGES = CHECK_MESSAGES | FRAME_MESSAGES
