"""A decoder as a GGUF file, which llama.cpp reads; and such a file read back by transformers."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PretrainedConfig

from overtone.errors import MissingExtraError, RunError, WeightsError
from overtone.models.causal import CausalBody

Precision = Literal["f16", "f32", "q8_0"]
"""How the matrices are kept; vectors are always fp32. ``q8_0``: 8 bits and one scale for 32 numbers."""

ARCHITECTURE = "llama"
"""The architecture that is known, as transformers and llama.cpp both name it."""

OUTPUT = "lm_head.weight"
WAY_OUT = "--gguf none exports the merged weights alone"

GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
SPLITS = {
    "gpt-2": GPT2,
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2]),
}
"""llama.cpp's name → how it cuts a text before it merges. A file only names it, and transformers passes over
both names."""


@dataclass(frozen=True, slots=True)
class About:
    """What a file says of itself beside the model.

    Args:
        name: the run's.
        licence: of its data, as an SPDX id.
        origin: data and weights in one sentence.
        end: the id that ends a turn.
    """

    name: str
    licence: str
    origin: str
    end: int


def package() -> Any:  # noqa: ANN401 - a module that need not be there
    """``gguf``; whoever needs it after some work asks for it before.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise MissingExtraError("gguf", "a GGUF file") from error
    return gguf


def write(body: CausalBody, path: Path, precision: Precision, about: About) -> None:
    """Write a decoder with its tokenizer and chat template.

    Args:
        body: in fp32, without an adapter.
        path: of the file, whose folder is there.
        precision: of the matrices. In ``q8_0`` those whose rows are no multiple of 32 long are kept in fp16.
        about: what the file says of itself.

    Raises:
        MissingExtraError: the package ``gguf`` is not installed.
        WeightsError: the architecture or the tokenizer is none that is known.
    """
    gguf, causal = package(), body.causal
    config: Any = causal.config
    _check(config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    with contextlib.closing(gguf.GGUFWriter(path, ARCHITECTURE)) as writer:
        _add_facts(writer, gguf, config, precision, about)
        _add_tokenizer(writer, gguf, body.tokenizer, config.vocab_size, about.end)
        for name, tensor in causal.state_dict().items():
            if name == OUTPUT and config.tie_word_embeddings:
                continue  # where there is none, the embeddings are taken
            known = names.get_name(name, try_suffixes=(".weight",))
            if known is None:
                raise WeightsError(f"no GGUF is known of the tensor '{name}'", hint=WAY_OUT)
            array, kind = _stored(gguf, _turned(name, tensor, config), precision)
            writer.add_tensor(known, array, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def read(path: Path) -> CausalBody:
    """A file as transformers reads it, in fp32; the folder holds no tokenizer beside it.

    Raises:
        MissingExtraError: the package ``gguf`` is not installed.
        RunError: the file is missing or damaged.
    """
    gguf = package()
    if (path.parent / "tokenizer.json").exists():  # transformers would read that one
        raise RunError(f"{path.parent} holds another tokenizer", hint="move the file to a folder of its own")
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a bar that cannot be turned off
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.float32,
            )
        tokenizer: Any = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        split = gguf.GGUFReader(path).fields["tokenizer.ggml.pre"].contents()
        tokenizer.backend_tokenizer.pre_tokenizer = SPLITS[split]
    except Exception as error:  # a reader of damaged bytes raises what it likes
        raise RunError(f"{path} cannot be read: {error}", hint="export the run again") from error
    return CausalBody(loaded.eval(), tokenizer)


def _check(config: Any) -> None:  # noqa: ANN401 - every architecture has a class of its own
    """Refuse what a file of this architecture cannot say.

    Raises:
        WeightsError: this is such a decoder.
    """
    if config.model_type != ARCHITECTURE:
        raise WeightsError(
            f"no GGUF is known of the architecture '{config.model_type}'; known: {ARCHITECTURE}, SmolLM2's",
            hint=WAY_OUT,
        )
    strange = {
        "biases": config.attention_bias or config.mlp_bias,
        f"the activation {config.hidden_act}": config.hidden_act != "silu",
        "scaled positions": config.rope_parameters["rope_type"] != "default",
    }
    found = [what for what, there in strange.items() if there]
    if found:
        raise WeightsError(
            f"no GGUF is known of a {ARCHITECTURE} with {' and '.join(found)}",
            hint=WAY_OUT,
        )


def _add_facts(writer: Any, gguf: Any, config: Any, precision: Precision, about: About) -> None:  # noqa: ANN401
    """The shape of the model, its name and its licence."""
    kinds = gguf.LlamaFileType
    kept = {"f32": kinds.ALL_F32, "f16": kinds.MOSTLY_F16, "q8_0": kinds.MOSTLY_Q8_0}
    writer.add_type("model")
    writer.add_name(about.name)
    writer.add_license(about.licence)
    writer.add_description(about.origin)
    writer.add_file_type(kept[precision])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _add_tokenizer(writer: Any, gguf: Any, tokenizer: Any, size: int, end: int) -> None:  # noqa: ANN401
    """The vocabulary of ``size`` ids, the merges, the special tokens and the chat template.

    Raises:
        WeightsError: the tokenizer is of another kind.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model, steps = state["model"], _steps(state["pre_tokenizer"])
    split = next(
        (name for name, each in SPLITS.items() if _steps(json.loads(each.__getstate__())) == steps), ""
    )
    odd = state["normalizer"] or model.get("byte_fallback") or model.get("ignore_merges")
    if model["type"] != "BPE" or not model["merges"] or not split or odd:
        raise WeightsError(
            "no GGUF is known of the decoder's tokenizer; known: byte-level BPE that cuts texts as "
            + " or ".join(SPLITS),
            hint=WAY_OUT,
        )
    pieces = {number: piece for piece, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    kinds, types = gguf.TokenType, list[int]()
    for number in range(size):
        if number not in pieces:  # a table of embeddings is often longer than the vocabulary
            types.append(kinds.UNUSED)
        elif number in added:
            types.append(kinds.CONTROL if added[number].special else kinds.USER_DEFINED)
        else:
            types.append(kinds.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list([pieces.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types([int(kind) for kind in types])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    for name in ("bos", "eos", "unk", "pad"):
        found = getattr(tokenizer, f"{name}_token_id")
        if found is not None:
            getattr(writer, f"add_{name}_token_id")(found)
    writer.add_eot_token_id(end)  # llama.cpp stops at this one too, whatever `eos` is
    writer.add_add_bos_token(False)  # the template writes what opens a conversation
    writer.add_add_space_prefix(False)
    writer.add_chat_template(tokenizer.chat_template)


def _steps(state: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a pre-tokenizer, without what says only where a piece stood."""
    if state is None:
        return []
    if state["type"] == "Sequence":
        return [step for each in state["pretokenizers"] for step in _steps(each)]
    return [{key: value for key, value in state.items() if key != "trim_offsets"}]


def _turned(name: str, tensor: Tensor, config: PretrainedConfig) -> NDArray[np.float32]:
    """A tensor, with the rows of queries and keys where llama.cpp looks for them.

    A rotation turns two numbers of a head: transformers takes one from each half of it, llama.cpp neighbours.
    """
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(
        name.split(".")[-2]
    )
    if heads is None:
        return array
    halves = array.reshape(heads, 2, -1, array.shape[-1])  # (heads, half, pair, D)
    return halves.swapaxes(1, 2).reshape(array.shape)


def _stored(gguf: Any, array: NDArray[np.float32], precision: Precision) -> tuple[NDArray[Any], Any]:  # noqa: ANN401
    """An array as it is written, and what that is called."""
    kinds = gguf.GGMLQuantizationType
    if array.ndim < 2 or precision == "f32":
        return np.ascontiguousarray(array), kinds.F32
    block, _ = gguf.GGML_QUANT_SIZES[kinds.Q8_0]
    if precision == "q8_0" and array.shape[-1] % block == 0:
        return gguf.quants.quantize(array, kinds.Q8_0), kinds.Q8_0
    with np.errstate(over="ignore"):  # infinite then, and refused by the gate
        return array.astype(np.float16), kinds.F16
