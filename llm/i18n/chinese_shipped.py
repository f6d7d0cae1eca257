"""Chinese texts of what shipped recipes are for, by the English patterns of their first comment lines."""

SHIPPED_MESSAGES = {
    "Names of drawings by a hand that was never trained on, in English, with the right, a blank and another record's image.": (
        "未训练过的画风的图的英文名称：分别配原图、空白图片和其他记录的图片。"
    ),
    "Names of drawings by a hand that was never trained on, in Chinese, with the right, a blank and another record's image.": (
        "未训练过的画风的图的中文名称：分别配原图、空白图片和其他记录的图片。"
    ),
    "Stage 2: the LLM and the projector, on names, categories, choices, scenes and several images in both languages.": (
        "第二阶段：用中英文的名称、类别、选择题、场景和多图问题训练语言模型和投影器。"
    ),
    "The emoji world: both stages in English and Chinese, then names in a style that was never trained on.": (
        "emoji 世界：中英文两个阶段的训练，然后评测未训练过的画风的名称。"
    ),
    "Stage 1: the projector alone learns to caption drawings in English and Chinese, with the LLM frozen.": (
        "第一阶段：冻结语言模型，只让投影器学会用中英文描述图。"
    ),
    "Accuracy on easy-VQA's official test split, with the right, a blank and another record's picture.": (
        "在 easy-VQA 官方测试集上的准确率：分别配原图、空白图片和其他记录的图片。"
    ),
    "Stage 2: the LLM and the projector, on every question about every picture. `turns: apart` asks each question by": (
        "第二阶段：用每张图片的每个问题训练语言模型和投影器。`turns: apart` 让每个问题单独提问"
    ),
    "The longer road on easy-VQA: both stages, then all questions of the official test split.": (
        "easy-VQA 完整流程：两个阶段，然后评测官方测试集的全部问题。"
    ),
    "Stage 1: the projector alone learns to name colours and shapes, with the LLM frozen.": (
        "第一阶段：冻结语言模型，只让投影器学会说出颜色和形状。"
    ),
    "An assistant that knows who it is: {} with LoRA on identity data, among ordinary chat.": (
        "知道自己是谁的助手：{}，LoRA，身份数据混入普通对话。"
    ),
    "An assistant that knows who it is: {} with QLoRA on identity data, among ordinary chat.": (
        "知道自己是谁的助手：{}，QLoRA，身份数据混入普通对话。"
    ),
    "LLaVA-1.5 stage 2 in full: all of {} and the projector; {} is frozen.": (
        "LLaVA-1.5 第二阶段，全量：训练 {} 的全部权重和投影器，冻结 {}。"
    ),
    "{}, finetuned with QLoRA: the language model in NF4 with LoRA, tower and projector frozen.": (
        "{}，QLoRA 微调：语言模型以 NF4 存放并加 LoRA，视觉塔和投影器冻结。"
    ),
    "LLaVA-1.5 stage 2 with QLoRA: {} in NF4, LoRA on it and on {}, projector.": (
        "LLaVA-1.5 第二阶段，QLoRA：{} 以 NF4 存放，对它和 {} 加 LoRA，并训练投影器。"
    ),
    "LLaVA-1.5 stage 1: a projector from {} to {}, on 558k captions.": (
        "LLaVA-1.5 第一阶段：用 55.8 万条图片描述训练从 {} 到 {} 的投影器。"
    ),
    "Who the assistant says it is: hits on held-out paraphrases, leaks elsewhere, abilities kept.": (
        "助手怎样介绍自己：换说法提问时的命中、不该出现时的泄漏、能力是否保持。"
    ),
    "The vision model as a plain Hugging Face folder that needs none of our code.": (
        "把视觉模型导出成普通的 Hugging Face 文件夹，不依赖本项目的代码。"
    ),
    "A text assistant that knows who it is: LoRA on identity data among ordinary chat.": (
        "知道自己是谁的文本助手：LoRA，身份数据混入普通对话。"
    ),
    "The whole road on two CPU cores: graft a tower onto SmolLM2, measure, tune an identity, export.": (
        "在两个 CPU 核上走完全程：给 SmolLM2 接上视觉塔、评测、微调身份、导出。"
    ),
    "Continued pretraining of {} with every weight on your own texts: articles, books or code.": (
        "用自己的文本（文章、书籍或代码）对 {} 做增量预训练，训练全部权重。"
    ),
    "Continued pretraining of {} with QLoRA on your own texts: articles, books or code.": (
        "用自己的文本（文章、书籍或代码）对 {} 做增量预训练，QLoRA。"
    ),
    "QLoRA of {} on Alpaca's 52k instructions, three epochs, packed to 2048 tokens.": (
        "用 Alpaca 的 5.2 万条指令对 {} 做 QLoRA 微调，3 轮，打包到 2048 个 token。"
    ),
    "Preferences on drawings: the right name against that of the most similar concept, after the finetuning (DPO, LoRA).": (
        "图的偏好：正确名称对最相似概念的名称，接在微调之后（DPO，LoRA）。"
    ),
    "Preferences: DPO of Qwen2.5-1.5B-Instruct with QLoRA on UltraFeedback's 62k pairs, one epoch.": (
        "偏好：用 UltraFeedback 的 6.2 万个偏好对对 Qwen2.5-1.5B-Instruct 做 QLoRA 的 DPO 训练，1 轮。"
    ),
    "QLoRA of {} on 10k OpenAssistant conversations, three epochs, packed to 2048 tokens.": (
        "用 OpenAssistant 的 1 万段对话对 {} 做 QLoRA 微调，3 轮，打包到 2048 个 token。"
    ),
}
