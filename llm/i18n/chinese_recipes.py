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

PREFER_MESSAGES = {
    "loss of a pair of answers: dpo, ipo, hinge, robust, bco, orpo, simpo or mpo; kto takes single answers that are "
    "labelled as good or bad": (
        "成对回答的损失：dpo、ipo、hinge、robust、bco、orpo、simpo 或 mpo；kto 用于标注了好坏的单个回答"
    ),
    "how far the model may move from the reference: rewards are log-ratios times beta; of orpo the weight of the odds "
    "ratio; of simpo the factor of the mean log-probabilities (its paper takes 2.0 to 2.5)": (
        "模型可以偏离参考模型多远：奖励是对数比乘以 beta；orpo 中是优势比项的权重；"
        "simpo 中是平均对数概率的系数（论文取 2.0 到 2.5）"
    ),
    "dpo, robust and simpo: assumed share of pairs whose answers are labelled the wrong way round": (
        "dpo、robust 和 simpo：假定有多少比例的偏好对标反了"
    ),
    "weight of an SFT term: the mean cross-entropy of the chosen answer's tokens, of kto the good answer's; left out: "
    "1 for orpo and mpo, of which it is a part, else 0": (
        "SFT 项的权重：优选回答各 token 的平均交叉熵（kto 为好的回答）；不填时 orpo 和 mpo 为 1（本来就含此项），其余为 0"
    ),
    "dpo, robust, hinge, simpo and mpo: reward by which the chosen answer must be ahead (simpo: gamma)": (
        "dpo、robust、hinge、simpo 和 mpo：优选回答的奖励至少要领先多少（simpo 的 gamma）"
    ),
    "field of a record that holds its own margin, added to `margin`": "记录中存放该条间隔的字段，与 `margin` 相加",
    "what log-probabilities are compared with. adapters_off: the same model without its adapters; copy: the model as "
    "the run begins; both are computed once, before the first step, and stored on disk; none: nothing; auto: "
    "adapters_off for LoRA, copy for full training, none for orpo and simpo": (
        "与谁的对数概率比较。adapters_off：去掉适配器的同一模型；copy：训练开始时的模型；二者都在第一步之前计算一次并存到"
        "磁盘；none：不比较；auto：LoRA 用 adapters_off，全参数训练用 copy，orpo 和 simpo 用 none"
    ),
    "prefer: answers are compared, by the loss in `prefer`; the projector and what `tune` says train": (
        "prefer：比较回答，损失见 `prefer`；训练投影器和 `tune` 指定的部分"
    ),
    "prefer: has keys of its own; validate it as vlm.config.VlmPreferConfig": (
        "prefer：有自己的配置项；请用 vlm.config.VlmPreferConfig 校验"
    ),
    "the {} answer has {} characters, the other {}": "{} 回答有 {} 个字符，另一个有 {} 个",
    "Such pairs teach a length: keep them only if that is meant": "这样的偏好对教的是长度：确有此意才保留",
    "prefer: answers are compared, by the loss in `prefer`": "prefer：比较回答，损失见 `prefer`",
    "reference: adapters_off needs adapters, and tune.kind is {}; write copy, or lora": (
        "reference：adapters_off 需要适配器，而 tune.kind 是 {}；请写 copy，或改用 lora"
    ),
    "turns: apart: the answers of a record are compared after all of its turns; leave it out": (
        "turns：apart：一条记录的回答在全部轮次之后比较；请去掉此项"
    ),
    "loss: kto gives other figures under ZeRO than in one process; leave parallel.zero out": (
        "loss：kto 在 ZeRO 下的数值与单进程不同；请去掉 parallel.zero"
    ),
    "keep_best: reward_accuracy compares the answers of pairs, which kto has none of": (
        "keep_best：reward_accuracy 比较成对的回答，而 kto 没有"
    ),
    "keep_best: reward_accuracy is measured by `stage: prefer` alone; write validation_loss": (
        "keep_best：只有 `stage: prefer` 会测量 reward_accuracy；请写 validation_loss"
    ),
    "keep_best: {} needs data.validation or data.validation_sources": (
        "keep_best：{} 需要 data.validation 或 data.validation_sources"
    ),
    "prefer: has keys of its own; validate it as llm.config.prefer.PreferRunConfig": (
        "prefer：有自己的配置项；请用 llm.config.prefer.PreferRunConfig 校验"
    ),
    "loss {} has none; leave it out, or choose {}": "损失 {} 没有此项；请去掉，或改用 {}",
    "loss {} compares with no reference; leave it out": "损失 {} 不与参考模型比较；请去掉此项",
    "none: loss {} measures its shift against a reference; leave it out": (
        "none：损失 {} 的偏移量要与参考模型比较；请去掉此项"
    ),
    "sequence: found above 1, but packs of answers are not shared by processes; leave it out": (
        "sequence：大于 1，但回答的包不能由多个进程分担；请去掉此项"
    ),
    "zero: 3 partitions the weights, which no preference run was tried with; use 2 or less": (
        "zero：3 会切分权重，偏好训练未曾试过；请用 2 或更小"
    ),
    # records
    "`stage: prefer` takes pairs: give `chosen` and `rejected`, or set prefer.loss: kto for labels": (
        "`stage: prefer` 需要成对的回答：请给出 `chosen` 和 `rejected`；若是标注好坏的回答，请设 prefer.loss: kto"
    ),
    "prefer.loss: kto needs `label: true` or `label: false` in every record": (
        "prefer.loss: kto 要求每条记录都有 `label: true` 或 `label: false`"
    ),
    "{} images with the chosen answer, {} with the rejected one": "优选回答有 {} 张图片，非优选回答有 {} 张",
    "follows another prompt than the chosen answer: message {} differs, or is on one side only": (
        "与优选回答的提示不同：第 {} 条消息不同，或只有一边有"
    ),
    "is {}, not a finite number": "是{}，不是有限的数",
    "prefer.margin_column names it: give every pair a number": "prefer.margin_column 指定了此字段：每个偏好对都要有一个数",
    "the record has no answer": "记录没有回答",
    "A labelled answer needs its question": "标注好坏的回答需要有问题",
    "all answers have the same score": "所有回答的得分相同",
    "other images with the rejected answer than with the chosen one": "两个回答的图片不同",
    "Both answers are about the same images": "两个回答必须针对相同的图片",
    "Both answers follow the same turns": "两个回答之前的轮次必须相同",
    "Both answers of a pair are about the same images: name those in `images`, or remove the pair": (
        "偏好对的两个回答必须针对相同的图片：请写在 `images` 中，或删除该偏好对"
    ),
    "images of one side only": "只属于一边的图片",
    "Write both answers, or remove the pair": "请写出两个回答，或删除该偏好对",
    "{} answers with a text and a number as the score": "只有 {} 个回答同时有文本和数值得分",
    "A pair needs two: add them, or remove the record": "偏好对需要两个：请补上，或删除该记录",
    "the chat template writes {} different prompts for the answers after it": "对话模板为其后的回答写出 {} 个不同的提示",
    "Leave one answer after the prompt": "提示之后只保留一个回答",
    "the chat template writes another prompt before one answer than before the other": (
        "对话模板在两个回答之前写出的提示不同"
    ),
    "Choose another data.template": "请改用其他 data.template",
    "{}: a single labelled answer; prefer.loss: kto compares with other records' answers": (
        "{}：只有一个标注好坏的回答；prefer.loss: kto 要与其他记录的回答比较"
    ),
    "{}: records of stage prefer are not shown with a recipe yet. Name the data file, whose chosen answers are shown; "
    "`eyegraft train --dry-run` counts tokens and steps": (
        "{}：暂不能用配方显示 prefer 阶段的记录。请直接给出数据文件，会显示其中的优选回答；`eyegraft train --dry-run` "
        "会统计 token 和步数"
    ),
    # the run
    "reading all records once": "读取全部记录一遍",
    "reference: log-probabilities of {} records computed, of {} read from {}": (
        "参考模型：已计算 {} 条记录的对数概率，另有 {} 条从 {} 读取"
    ),
}
"""Keys of `prefer`, records of answers and the reference."""
