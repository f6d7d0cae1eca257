"""A model as it answers, for a while: in eval mode, and generating by the arguments that it is given."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformers import GenerationConfig, PreTrainedModel

# Of a generation config: ids and bookkeeping, which change no answer; lengths, which every caller gives itself.
_NOT_ASKED = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version"),
    *("_from_model_config", "max_length", "max_new_tokens", "use_cache", "do_sample", "trust_remote_code"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate"),
}


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Inside the context all modules are in eval mode; after it, or an error, each is in its earlier mode again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def arguments_alone(model: PreTrainedModel) -> Iterator[None]:
    """Inside the context `generate` does what its arguments say, and nothing that the model's folder asks for.

    transformers fills every option that an argument leaves open from the folder's generation_config.json: a
    `no_repeat_ngram_size`, `min_p` or `num_beams` there would change answers that are promised to be greedy or sampled
    by a request's options. The ids of begin, end and padding tokens stay.
    """
    own = model.generation_config
    assert own is not None
    ids = {"bos_token_id": own.bos_token_id, "eos_token_id": own.eos_token_id, "pad_token_id": own.pad_token_id}
    model.generation_config = GenerationConfig(**ids)
    try:
        yield
    finally:
        model.generation_config = own


def asked_of_generation(model: PreTrainedModel) -> str:
    """What the model's folder asks of generation beyond its token ids, such as `min_p=0.05`; usually nothing."""
    assert model.generation_config is not None
    asked = model.generation_config.to_diff_dict()
    return ", ".join(f"{name}={value!r}" for name, value in sorted(asked.items()) if name not in _NOT_ASKED)
