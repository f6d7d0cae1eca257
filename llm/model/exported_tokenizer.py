"""The tokenizer that an export saves: one for inference, which needs other settings than training."""

import copy

from transformers import PreTrainedTokenizerBase

# A decoder continues the last position of every row of a batch: padded on the right it would continue padding.
SIDE = "left"


def inference_tokenizer(
    tokenizer: PreTrainedTokenizerBase, template_jinja: str | None = None, pad_id: int | None = None
) -> PreTrainedTokenizerBase:
    """A copy that pads on the left, with `template_jinja`, if given, as its chat template.

    A tokenizer without a pad token, which could not make batches, gets the token `pad_id` as one.
    """
    saved = copy.deepcopy(tokenizer)
    if template_jinja is not None:
        saved.chat_template = template_jinja
    # transformers 5.23 saves `init_kwargs`; the attribute alone is forgotten by `save_pretrained`.
    saved.padding_side = saved.init_kwargs["padding_side"] = SIDE
    if saved.pad_token_id is None and pad_id is not None:
        saved.pad_token = saved.convert_ids_to_tokens(pad_id)
    return saved
