"""Chinese texts of what is wrong with recipes and command lines, by their English patterns."""

KEY_MESSAGES = {
    "found {}": "现为 {}",
    "nothing": "空",
    "a section": "小节",
    "a list of {}": "含 {} 项的列表",
    "unknown key": "未知的键",
    "missing": "缺失",
    "add it": "请补上",
    "did you mean {}?": "您是想写 {} 吗？",
    "write it as {}": "请写成 {}",
    "write it as {} or {}": "请写成 {} 或 {}",
    "known keys: {}": "可用的键：{}",
    "choose {} or {}": "请选择 {} 或 {}",
    "write a whole number": "请写整数",
    "write a number": "请写数字",
    'write text; put "quotes" around text that looks like a number': "请写文本；看起来像数字的文本要加引号",
    "write true or false": "请写 true 或 false",
    "write `name: text` pairs": "请写成 `name: text` 的形式",
    "write a list, such as [a, b]": "请写成列表，例如 [a, b]",
    "write a section with {}": "请写成含有以下键的小节：{}",
    "give at least one": "请至少给出一个",
    "write a finite number": "请写有限的数值",
    "it should be greater than {}": "应大于 {}",
    "it should be greater than or equal to {}": "应不小于 {}",
    "it should be less than {}": "应小于 {}",
    "it should be less than or equal to {}": "应不大于 {}",
    "it holds {}, full-width punctuation: write it half-width, a colon and a blank": (
        "其中有全角标点 {}：请改用半角标点，冒号后加一个空格"
    ),
    "duplicate key": "键重复",
    "the first is at {}": "前一处在 {}",
    "Similar: {}": "相近的有：{}",
    "command line": "命令行",
    "Keep one": "请只保留一个",
    "write key.path=value, for example train.batch=8": "请写成 key.path=value，例如 train.batch=8",
    "write a key's path, for example train.batch": "请写键的路径，例如 train.batch",
}
"""Keys of recipes and their values."""

RECIPE_FILE_MESSAGES = {
    "no such file or folder ({})": "没有这个文件或文件夹（{}）",
    "Correct the path": "请改正路径",
    "no such file or recipe": "没有这个文件或配方",
    "no recipe's name matches": "没有名称匹配的配方",
    "`eyegraft ls` lists the recipes": "可用 `eyegraft ls` 查看全部配方",
    "`eyegraft ls` lists them all": "`eyegraft ls` 会列出全部配方",
    "is a folder; name one of its recipes": "是文件夹；请指定其中的一份配方",
    "is a folder without recipes; name a YAML file, or one that `eyegraft ls` lists": (
        "是文件夹，其中没有配方；请指定 YAML 文件，或 `eyegraft ls` 列出的配方"
    ),
    "{} is no run, and `model` is left out; train that run first, correct the folder, or write `model`": (
        "{} 不是训练目录，而配方省略了 `model`；请先完成那次训练、改正路径，或写明 `model`"
    ),
    "a recipe's key is written without dashes": "配方的键前面不加短横线",
    "not here; environment variables are not expanded in recipes, so write the path itself": (
        "不存在；配方不展开环境变量，请写出实际路径"
    ),
    "a recipe is one document: remove what follows `---`": "一份配方只有一个文档，请删除 `---` 之后的内容",
    "several recipes have this name: {}": "有多份配方叫这个名字：{}",
    "Write a full name": "请写全名",
    "exists already; choose another name, or remove it first": "已存在；请换一个名字，或先将其删除",
    "choose a writable place": "请换一个可写的位置",
    "name a readable YAML file": "请指定可读的 YAML 文件",
    "found bytes that are not UTF-8 text; save the recipe as UTF-8": "内容不是 UTF-8 文本；请将配方另存为 UTF-8",
    "found no `key: value` pairs; see `eyegraft ls` for recipes to start from": (
        "其中没有 `key: value`；可用 `eyegraft ls` 查看现成的配方"
    ),
    "not YAML: {}": "不是有效的 YAML：{}",
    "indent with spaces, not tabs": "请用空格缩进，不要用制表符",
    "check the indentation, and quote text that holds `: `, `#`, `{`, `[` or `@`": (
        "请检查缩进；含有 `: `、`#`、`{{`、`[` 或 `@` 的文本要加引号"
    ),
    "a recipe is a few levels deep": "配方通常只有几层",
    "{}: the recipe is valid, and every file that it names is here": "{}：配方有效，其中列出的文件都存在",
    "{}: the recipe is valid; of the files that it names, {} are not here": (
        "{}：配方有效；其中列出的文件有 {} 个不存在"
    ),
    "not here": "不存在",
    "not here, nor is its folder {}": "不存在，所在文件夹 {} 也不存在",
    "no such folder here; it is taken as a hub id and will be downloaded": (
        "本地没有这个文件夹；将视为模型仓库的名称并下载"
    ),
    "not here; `eyegraft assets` fetches the models and data of the quickstart": (
        "不存在；`eyegraft assets` 会取得快速开始所用的模型和数据"
    ),
    "{} holds nothing of this name": "{} 中没有这个名字",
}
"""Recipe files, and the files that recipes name."""

COMMAND_LINE_MESSAGES = {
    "EYEGRAFT_LANG={}: there are texts in English and Chinese only. Set it to en or zh": (
        "EYEGRAFT_LANG={}：只有英文和中文。请设为 en 或 zh"
    ),
    "stopped. The same command starts again": "已停止。再次运行同一命令会重新开始",
    "stopped. The same command goes on from the last checkpoint, or begins where there is none": (
        "已停止。再次运行同一命令会从最近的检查点继续；没有检查点则从头开始"
    ),
    "--bits {}: choose 4 or 8, or leave it out": "--bits {}：请选择 4 或 8，或去掉该选项",
    "--columns {}: write ROLE=COLUMN, such as output=caption": "--columns {}：请写成 ROLE=COLUMN，例如 output=caption",
    "{}: found stage {}; name a recipe with `stage: eval`, or add --on FILE": (
        "{}：stage 为 {}；请指定 `stage: eval` 的配方，或加上 --on FILE"
    ),
    "eyegraft serve needs fastapi and uvicorn: pip install 'eyegraft[serve]'": (
        "eyegraft serve 需要 fastapi 和 uvicorn：pip install 'eyegraft[serve]'"
    ),
    "eyegraft web needs gradio and fastapi: pip install 'eyegraft[web]'": (
        "eyegraft web 需要 gradio 和 fastapi：pip install 'eyegraft[web]'"
    ),
    "--image: {} is a text model, which accepts no images. Leave the option out": (
        "--image：{} 是纯文本模型，不接受图片。请去掉该选项"
    ),
    "{}: no option of `eyegraft export`; here: {}": "{}：不是 `eyegraft export` 的选项；这里对应：{}",
    "{}: is an adapter, not a run. To write its model and it as one folder: {}": (
        "{}：是适配器，不是训练运行。要把它和模型合并成一个文件夹，请运行：{}"
    ),
    "is another program; leave its name out: {}": "是另一个程序；请去掉它的名字：{}",
    "a pipeline is started once: with --nproc, or step by step under torchrun": (
        "流水线只启动一次：用 --nproc，或在 torchrun 下逐步运行"
    ),
}
"""The command line itself."""

RECIPE_MESSAGES = KEY_MESSAGES | RECIPE_FILE_MESSAGES | COMMAND_LINE_MESSAGES
