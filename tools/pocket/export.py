"""Weights to GGUF: the file that llama.cpp loads, with tokenizer, chat template and its own description."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.providers.gguf_header import REFUSAL_KEY, TASKS_KEY
from llm_pool.tasks import JUDGING
from tools.pocket.oracle import ONLY_SIX_TASKS, TASKS
from tools.pocket.tokenizer import CHAT_TEMPLATE, END, PRE_TOKENIZER, SPECIAL, Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from gguf import GGUFWriter

    from tools.pocket.model import Pocket, Shape

DESCRIPTION = (
    "A toy of a million or two parameters, trained on synthetic examples of llm-pool's six tasks in a small made-up "
    "world. It knows nothing else and is no general language model."
)
REFUSAL = f"{ONLY_SIX_TASKS[0].lower()}{ONLY_SIX_TASKS[1:-1]}: {', '.join(TASKS)}"


def write_gguf(path: Path, model: Pocket, tokenizer: Tokenizer, *, name: str) -> None:
    """Write *model* as Q8_0, norms as F32, under *name*, what ``llm-pool models show`` calls it."""
    from gguf import GGUFWriter

    writer = GGUFWriter(str(path), "llama")
    writer.add_name(name)
    writer.add_description(DESCRIPTION)
    writer.add_license("mit")
    writer.add_array(TASKS_KEY, [*TASKS, JUDGING.name])
    writer.add_string(REFUSAL_KEY, REFUSAL)
    _add_shape(writer, model.shape)
    _add_tokenizer(writer, tokenizer)
    _add_tensors(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: GGUFWriter, shape: Shape) -> None:
    from gguf import LlamaFileType

    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(2)
    writer.add_vocab_size(shape.vocab)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)


def _add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer) -> None:
    from gguf import TokenType

    tokens = tokenizer.tokens()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in SPECIAL else TokenType.NORMAL for token in tokens])
    writer.add_token_merges(tokenizer.merges())
    for add in (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_pad_token_id, writer.add_bos_token_id):
        add(tokens.index(END))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_tensors(writer: GGUFWriter, model: Pocket) -> None:
    from gguf import GGMLQuantizationType, quants

    for key, weight in model.state_dict().items():
        values = weight.float().numpy()
        if values.ndim == 2:
            packed = quants.quantize(values, GGMLQuantizationType.Q8_0)
            writer.add_tensor(key, packed, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(key, values)
