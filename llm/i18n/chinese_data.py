"""Chinese texts of what is wrong with records and images, and of the advice on it, by their English patterns."""

WORDS = {
    "true or false": "布尔值",
    "a number": "数字",
    "text": "文本",
    "a list": "列表",
    "an object": "对象",
    "bytes": "字节串",
    "null": "null",
    "record": "记录",
    "file": "文件",
    "image": "图片",
    "images": "图片",
    "answers": "回答",
    "answer": "回答",
    "question": "问题",
    "encoding": "编码",
    "format": "格式",
    "row {}": "第 {} 行",
    "record {}": "第 {} 条记录",
    "message {}": "第 {} 条消息",
    "message {} (system)": "第 {} 条消息（system）",
    "message {} (user)": "第 {} 条消息（user）",
    "message {} (assistant)": "第 {} 条消息（assistant）",
    "a record of an earlier source": "前面数据源中的一条记录",
}
"""Words that messages are filled with: types of values, fields, places."""

JSON_MESSAGES = {
    "broken at line {} column {}: {}": "第 {} 行第 {} 列出错：{}",
    "the record that begins here is broken at line {} column {}: {}": "从这里开始的记录在第 {} 行第 {} 列出错：{}",
    "Unterminated string starting at": "字符串没有结束引号",
    "Expecting value": "此处应为一个值",
    "Expecting ',' delimiter": "此处应为逗号",
    "Expecting ':' delimiter": "此处应为冒号",
    "Expecting property name enclosed in double quotes": "此处应为双引号括起的字段名",
    "Illegal trailing comma before end of object": "对象末尾多了逗号",
    "Illegal trailing comma before end of array": "数组末尾多了逗号",
    "Extra data": "此处应已结束，却还有内容",
    "Invalid control character at": "字符串中有控制字符",
    "Invalid \\escape": "反斜杠转义无效",
    "Invalid \\uXXXX escape": "\\uXXXX 转义无效",
    "{} in this record": "该记录中有 {}",
    "nested too deeply": "嵌套过深",
    "key {} is given twice, with two values": "键 {} 出现了两次，且取值不同",
    "Keep one": "请只保留一个",
    "a number of thousands of digits": "数字长达数千位",
    "more than {} characters without an end": "超过 {} 个字符仍未结束",
    "JSON has no such number: write null or remove the field": "JSON 没有这种数值，请改为 null 或删除该字段",
    "Records are a few levels deep: correct or remove it": "记录通常只有几层，请改正或删除该记录",
    "Write it as text": "请写成字符串",
    "Correct or remove it": "请改正或删除",
    "Close the string with a double quote, or complete the file if it was cut off": (
        "请补上结束的双引号；如果文件被截断，请补全文件"
    ),
    "The file or line ends inside a record: complete it, it may have been cut off": (
        "文件或该行在记录中途结束，可能被截断，请补全"
    ),
    "Write one record a line, or all records in one array [...]": "请每行写一条记录，或把所有记录放进一个数组 [...]",
    "Remove the comma before it": "请删除前面的逗号",
    "Remove the comma at the end of the line": "请删除行尾的逗号",
    "is {}, and there are {} choices": "是{}，而选项共有 {} 个",
    "Write the answer, its letter, or its place in the list counted from 0": (
        "请写出答案、对应的字母，或它在列表中的序号（从 0 开始）"
    ),
    "JSON strings take double quotes": "JSON 字符串要用双引号",
    "JSON writes true, false and null": "JSON 中要写 true、false 和 null",
    "JSON has no comments: remove it": "JSON 不支持注释，请删除",
    "Write a line break inside a string as \\n and a tab as \\t": "字符串中的换行写成 \\n，制表符写成 \\t",
    "Write a backslash inside a string as \\\\": "字符串中的反斜杠写成 \\\\",
    'A comma is missing, or a double quote inside a string that must be written as \\"': (
        '缺少逗号，或者字符串中的双引号没有写成 \\"'
    ),
    "Correct the JSON there": "请改正此处的 JSON",
    "not UTF-8 ({})": "不是 UTF-8 编码（{}）",
    "byte 0x{}": "字节 0x{}",
    "byte 0x{}; it looks like {}": "字节 0x{}，看起来是 {} 编码",
    "Save it as UTF-8, in Excel as CSV UTF-8, or by iconv -f {} -t UTF-8 OLD > NEW": (
        "请另存为 UTF-8（Excel 中选“CSV UTF-8”），或运行 iconv -f {} -t UTF-8 OLD > NEW"
    ),
    "Save the file as UTF-8": "请将文件另存为 UTF-8 编码",
    "starts with a byte order mark": "开头有字节顺序标记（BOM）",
    "It is ignored here, but other programs refuse it: save the file as UTF-8 without it": (
        "这里会忽略它，但其他程序可能无法读取，请另存为不带 BOM 的 UTF-8"
    ),
    "an array [...] in a file named {}": "{} 文件里是一个数组 [...]",
    "Name it .json, or write one record a line": "请改用 .json 扩展名，或改为每行一条记录",
    "one record a line in a file named .json": ".json 文件里是每行一条记录",
    "Name it .jsonl, or write an array [...]": "请改用 .jsonl 扩展名，或改写成数组 [...]",
}
"""JSON and its files; the parser's own messages are Python's."""

ROW_MESSAGES = {
    "{} is left in the text": "文本中还留有 {}",
    "Fill it in: {}": "请填写：{}",
    "There is {}: write the name of the file that is meant": "那里有 {}，请写上所指文件的名称",
    "There is {} in {}: write its path inside the image folder": "{1} 中有 {0}，请写上它在图片文件夹内的路径",
    "{} is read as {}": "{} 按 {} 读取",
    "--fix OUT writes the path of the file": "--fix OUT 会写上文件的路径",
    "changed by --fix": "已由 --fix 修改",
    "not a valid Arrow file, after row {}: {}": "第 {} 行之后不是有效的 Arrow 数据：{}",
    "{} in the row that begins here": "从这里开始的一行有误：{}",
    "only a pointer of git-lfs, not the data": "只是 git-lfs 的指针，不是数据本身",
    "Run git lfs pull": "请运行 git lfs pull",
    "its content is a PDF document": "内容其实是 PDF 文档",
    "its content is a Word document": "内容其实是 Word 文档",
    "its content is an Excel workbook": "内容其实是 Excel 工作簿",
    "its content is a zip archive, or a file of an office program": "内容其实是 zip 压缩包或办公软件的文件",
    "its content is a file of an older office program": "内容其实是旧版办公软件的文件",
    "its content is an image": "内容其实是图片",
    "its content is compressed with gzip": "内容其实是 gzip 压缩数据",
    "its content is compressed with bzip2": "内容其实是 bzip2 压缩数据",
    "its content is compressed with zstd": "内容其实是 zstd 压缩数据",
    "its content is compressed with xz": "内容其实是 xz 压缩数据",
    "its content is a compressed archive": "内容其实是压缩包",
    "its content is a parquet file": "内容其实是 Parquet 文件",
    "its content is an Arrow file": "内容其实是 Arrow 文件",
    "its content is a web page (HTML)": "内容其实是网页（HTML）",
    "Training reads records: write its text as questions and answers in JSON, JSONL, CSV or Excel": (
        "训练读取的是一条条记录：请把其中的文字整理成问答，保存为 JSON、JSONL、CSV 或 Excel"
    ),
    "An image alone is no training data: put the images into one zip file, beside a file of records": (
        "单独的图片不是训练数据：请把图片放进一个 zip 压缩包，另外准备一个数据文件"
    ),
    "Unpack it, then use the file of records that is in it": "请先解压，再使用其中的数据文件",
    "Download the file itself, not the page that shows it": "请下载文件本身，而不是显示它的网页",
    "Save it as .xlsx or CSV": "请另存为 .xlsx 或 CSV",
    "Name it .xlsx": "请改用 .xlsx 扩展名",
    "Name it .parquet": "请改用 .parquet 扩展名",
    "Name it .arrow": "请改用 .arrow 扩展名",
    "Add .gz to its name": "请在文件名末尾加上 .gz",
    "Add .bz2 to its name": "请在文件名末尾加上 .bz2",
    "Add .zst to its name": "请在文件名末尾加上 .zst",
    "Add .xz to its name": "请在文件名末尾加上 .xz",
    "its xz data ends early": "xz 数据不完整",
    "its xz data is damaged, or needs more than {} MiB of memory": "xz 数据已损坏，或需要超过 {} MiB 内存",
    "cannot be read to its end: {}": "无法读到末尾：{}",
    "Download or copy it again": "请重新下载或复制",
    "pip install 'eyegraft[excel]', or save the sheet as CSV": (
        "请运行 pip install 'eyegraft[excel]'，或把工作表另存为 CSV"
    ),
    "not a valid Excel workbook: {}": "不是有效的 Excel 工作簿：{}",
    "Name every column": "请为每一列写上列名",
    "Save it again, or save it as CSV": "请重新保存，或另存为 CSV",
    "Give split (--split) to read another one": "要读取其他划分，请指定 split（--split）",
    "reads the split {}; not read: {}": "读取划分 {}，未读取：{}",
    "reads {}; not read: {}": "读取 {}，未读取：{}",
    "{}: columns: {}: there is no column {}": "{}：columns 的 {}：没有名为 {} 的列",
    "not a valid parquet file, after row {}: {}": "第 {} 行之后不是有效的 Parquet 数据：{}",
    "Download or write it again": "请重新下载或重新生成",
    "column names {}": "列名为 {}",
    "Give every column a unique name in the first row": "第一行中每列的列名必须唯一且非空",
    "{} cells under {} columns": "该行有 {} 个单元格，表头有 {} 列",
    "Quote cells that hold the separator or a line break": "含分隔符或换行的单元格要加引号",
    "Correct the quotes, or write the data as JSONL": "请改正引号，或改用 JSONL 格式",
    "The source is read as {}: correct the record, or name the format it is in": (
        "数据源按 {} 格式读取，请改正该记录，或用 format 指明实际格式"
    ),
    "is missing": "缺失",
    "is {}, not text": "是{}，应为文本",
    "is {}, not true or false": "是{}，应为 true 或 false",
    "Write true or false, without quotes": "请写 true 或 false，不加引号",
    "is {}, not a list": "是{}，应为列表",
    "is an empty list": "是空列表",
    "Add the turns or remove the record": "请补上对话，或删除该记录",
    "is {}, not an object": "是{}，应为对象",
    "is not an object {...}": "不是对象 {{...}}",
    "Name the format it is in": "请用 format 指明格式",
    'Write every record as {"name": value, ...}': '每条记录都应写成 {{"name": value, ...}}',
    "no record to train on. Correct the path or remove the source": "没有可以训练的记录。请改正路径或删除该数据源",
    "keys {}, while the rows before it are {}": "字段为 {}，而前面的记录是 {} 格式",
    "Correct the record, or split the formats into files of their own": "请改正该记录，或把不同格式分成不同文件",
    "no known format has the keys {}": "没有哪种已知格式含有这些字段：{}",
    "Name the format ({}), or map the columns: columns: {input: ..., output: ...}": (
        "请用 format 指明格式（{}），或用 columns 指定列：columns: {{input: ..., output: ...}}"
    ),
    "does not begin with '### Human:'": "不是以“### Human:”开头",
    "differs from the first turn's": "与第一轮的不同",
    "Give the system prompt on the first turn": "系统提示词只写在第一轮",
    "is given in addition to a system turn": "与 system 轮次重复",
    "Keep one of the two": "请只保留其中一个",
    "Add the question; text without one is written as {}": "请补上问题；没有问题的纯文本写成 {}",
    "{} is not a role": "{} 不是已知角色",
    "Known are {}": "可用的有：{}",
    "this format has no images": "这种格式不支持图片",
    "Use format: llava": "请使用 format: llava",
    "is in a turn of the {}": "出现在 {} 的轮次中",
    "Only answers call tools": "只有回答可以调用工具",
    "true in a turn of the {}": "在 {} 的轮次中为 true",
    "Only answers have loss: remove the flag": "只有回答参与计算 loss，请删除该标记",
    "holds an image": "含有图片",
    "Tool calls and their results are text": "工具调用及其结果只能是文本",
    "{} is neither 0 nor 1": "{} 既不是 0 也不是 1",
    "Write 0 to leave the answer out of the loss": "写 0 表示该回答不计算 loss",
    "{} is not supported": "不支持 {}",
    "Write the tools as a list of objects": "tools 应写成对象的列表",
    "Tools are a few levels deep": "工具定义通常只有几层",
    "Correct the JSON inside the text": "请改正文本中的 JSON",
    "broken JSON ({})": "JSON 格式错误（{}）",
    "Write the arguments as an object": "参数应写成对象",
    "Correct the arguments": "请改正参数",
    "has {}": "含有 {}",
    "has no turns": "没有任何轮次",
    "Number the turns turn_1, turn_2, ... without gaps": "轮次应连续编号为 turn_1、turn_2……",
    "equals the chosen answer": "与被选中的回答相同",
    "Correct or remove the pair": "请改正或删除这一对回答",
    "there is none": "缺失",
    "Add an answer or remove the record": "请补上回答，或删除该记录",
    "no answer has loss": "没有任何回答参与计算 loss",
    "Give one answer loss or remove the record": "请至少让一个回答参与计算 loss，或删除该记录",
    "Give one answer loss, or remove the record": "请至少让一个回答参与计算 loss，或删除该记录",
    "After an optional system message, questions and answers alternate and a question comes first": (
        "除开头可有一条 system 消息外，问题与回答必须交替出现，且先问后答"
    ),
    "is from {}, not from {}": "来自 {}，应来自 {}",
    "a question without an answer": "问题没有回答",
    "Add the answer or remove the question": "请补上回答，或删除该问题",
    "Only questions may have images: move it to a question": "只有问题可以带图片，请移到问题中",
    "Give every image a path": "请为每张图片写明路径",
    "is empty": "为空",
    "Write its text or remove the record": "请补上文字，或删除该记录",
    "half of a surrogate pair, which is not a character": "有不成对的代理字符，不是有效字符",
    "An escape such as \\ud83d lost its other half: write the character itself": (
        "形如 \\ud83d 的转义缺了另一半，请直接写该字符"
    ),
    "no token is supervised": "没有任何 token 参与监督",
    "text runs accept no images": "纯文本训练不支持图片",
    "Train with a vision recipe (model.tower), or remove the image": "请使用视觉配方（model.tower），或删除图片",
    "its text becomes the special token {} however it is split": "无论怎样切分，该文本都会变成特殊 token {}",
    "Rephrase that passage or remove the record": "请改写这段文字，或删除该记录",
    "marked as having no answer": "标记为没有回答",
    "Training leaves the record out: write the answer to train on it": "训练会跳过该记录；要用于训练请补上回答",
    "Change the text, or choose another data.template": "请修改文本，或换一个 data.template",
    "{} typed as text": "文本中写有 {}",
    "It is trained on as text, not as the token: remove it unless that is intended": (
        "训练时按普通文本处理，不会变成特殊 token；若非有意，请删除"
    ),
    "the box {} is in pixels": "框 {} 以像素为单位",
    "Images are resized: write fractions of width and height, from 0 to 1": (
        "图片会缩放，请改写成相对宽高的比例（0 到 1）"
    ),
    "{} is also the id of record {}": "{} 与第 {} 条记录的 id 相同",
    "Give every record an id of its own, or none": "每条记录的 id 应各不相同，或者都不写",
    "is in the training data too": "也出现在训练数据中",
    "{} is in the training data too": "{} 也出现在训练数据中",
    "an image": "一张图片",
    "Remove it from one of the two: the model must not have seen validation records": (
        "请从其中一边删除：验证集中的记录不能出现在训练集里"
    ),
    "repeats {}": "与{}重复",
    "Remove it, unless it is to be trained on twice": "除非有意训练两遍，否则请删除",
    "{} tokens with its images, data.max_length is {}": "连同图片共 {} 个 token，data.max_length 为 {}",
    "Raise data.max_length or shorten the record; training leaves it out": (
        "请增大 data.max_length 或缩短该记录，否则训练会跳过它"
    ),
}
"""Records: fields, turns, repetitions."""

IMAGE_MESSAGES = {
    "Give one image for each image part, or one <image> in the text for each image": (
        "每个图片部分对应一张图片，或在文本中为每张图片写一个 <image>"
    ),
    "Name an image in every row": "每一行都要写明图片",
    "{} but {} given": "有 {}，却给出 {}",
    "{} <image> placeholder": "{} 个 <image> 占位符",
    "{} <image> placeholders": "{} 个 <image> 占位符",
    "{} image": "{} 张图片",
    "{} images": "{} 张图片",
    "<image> in an answer": "回答中有 <image>",
    "both name images": "两个字段都给出图片",
    "is {}, not the path of an image": "是{}，应为图片路径",
    "Write a path inside the image folder": "请写图片文件夹内的路径",
    "Write a path inside the image folder {} (`images` of the source)": (
        "请写图片文件夹 {} 内的路径（数据源的 `images`）"
    ),
    "{} is outside the image folder": "{} 在图片文件夹之外",
    "no such file": "文件不存在",
    "a folder": "是文件夹",
    "cannot be opened ({})": "无法打开（{}）",
    "Check the record's image name, and that the source's images: folder or the uploaded archive has it": (
        "请检查记录中的图片名，并确认数据源的 images 文件夹或上传的压缩包中有该图片"
    ),
    "the image is empty": "图片文件为空（0 字节）",
    "a web page, not an image": "是网页，不是图片",
    "not an image of a known kind": "不是已知的图片格式",
    "broken or cut off ({})": "图片损坏或不完整（{}）",
    "unreadable ({})": "无法读取（{}）",
    "{}; at most {} pixels and {} bytes are read": "{}，上限为 {} 像素、{} 字节",
    "{} x {} pixels": "{} × {} 像素",
    "{} bytes": "{} 字节",
    "pixels of more than 16 bits": "像素超过 16 位",
    "floating-point pixels have no fixed range": "浮点像素没有固定范围",
    "Save the image with 8 or 16 bits": "请将图片保存为 8 位或 16 位",
    "a link out of the image folder": "符号链接指向图片文件夹之外",
    "Copy the image into the folder: on another machine the link leads nowhere": (
        "请把图片复制到文件夹内：换一台机器后链接就会失效"
    ),
    "colour mode {}, read as RGB": "颜色模式为 {}，按 RGB 读取",
    "Save it as RGB if its colours look wrong": "如果颜色不对，请另存为 RGB",
    "an animation; its first frame is read": "是动图，只读取第一帧",
    "Save the frame that is meant": "请另存需要的那一帧",
    "rotated upright by its EXIF orientation": "按 EXIF 方向旋转为正向",
    "Write boxes for the upright image, or save it upright": "请按正向图片标注框，或将图片另存为正向",
    "downloaded; the record still names the URL": "已下载，但记录中仍是网址",
    "--fix OUT writes the record with the file's name": "--fix OUT 会把文件名写进记录",
    "Download the image by hand, or remove the record": "请手动下载图片，或删除该记录",
    "the hub gave no split {} ({})": "数据中心没有划分 {}（{}）",
    "No local file has this name either. Correct the name, the subset (org/name:subset) or the split": (
        "本地也没有同名文件。请改正名称、子集（org/name:subset）或划分"
    ),
    "Leave out --fix, --allow-urls, --images, --format, --split, --columns and --boxes, or name the data file": (
        "请去掉 --fix、--allow-urls、--images、--format、--split、--columns 和 --boxes，或直接写数据文件名"
    ),
    "Name a folder inside the image folder {}, or another image folder with --images": (
        "请写图片文件夹 {} 内的文件夹，或用 --images 指定另一个图片文件夹"
    ),
    "takes longer than {} s": "超过 {} 秒仍未完成",
    "more than {} redirects": "重定向超过 {} 次",
    "the server answers {} {}": "服务器返回 {} {}",
    "{}, not an image": "{}，不是图片",
    "more than {} bytes": "超过 {} 字节",
    "not an http or https address": "不是 http 或 https 地址",
    "{} has the address {}, which is not public": "{} 的地址 {} 不是公网地址",
}
"""Images: where records name them, and their files."""

DATA_MESSAGES = WORDS | JSON_MESSAGES | ROW_MESSAGES | IMAGE_MESSAGES
