"""Architectures: tensor specs and config in; canonical names and kinds of tensors out, before any weight is read.

Two checkpoints of one architecture name the same tensor differently: `bert.encoder.x`, `encoder.x`,
`module.bert.encoder.x`. A canonical name has such wrappers stripped, as long as names stay unique. Kinds are those of
lineage.family.LayerKind, given as their values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crawler import int8
from crawler.safetensors_header import TensorSpec

TRUNK, VECTOR, HEAD, BUFFER = "trunk", "vector", "head", "buffer"

FLOATS = frozenset(("F64", "F32", "F16", "BF16", "F8_E5M2", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2FNUZ"))
PACKED_FLOATS = frozenset(("F4", "F6_E2M3", "F6_E3M2", "C64"))  # not numbers one by one, or complex

_OUTER_WRAPPERS = frozenset(("_orig_mod", "backbone", "base_model", "model", "module", "net", "network", "transformer"))
_BACKBONES = frozenset((
    "albert", "beit", "bert", "convnext", "convnextv2", "deberta", "deit", "dinov2", "distilbert", "electra",
    "esm", "fnet", "funnel", "gpt_neox", "hubert", "layoutlm", "longformer", "mobilebert", "mobilevit", "mpnet",
    "regnet", "resnet", "roberta", "rwkv", "segformer", "squeezebert", "swin", "swinv2", "vit", "vit_mae",
    "wav2vec2", "xlm_roberta",
))  # fmt: skip
_HEAD_ROOTS = frozenset((
    "AuxLogits", "class_labels_classifier", "classifier", "cls", "cls_classifier", "decode_head",
    "discriminator_predictions", "embed_out", "final_logits_bias", "generator_predictions", "head", "heads",
    "logits_proj", "output", "pre_classifier", "predictions", "proj_out", "project_hid", "project_q",
    "qa_outputs", "score", "seq_relationship", "sequence_summary", "vocab_layer_norm", "vocab_projector",
    "vocab_transform",
))  # fmt: skip
_HEADS_ANYWHERE = frozenset(("classification_head", "lm_head", "qa_outputs", "seq_relationship"))
_BUFFER_NAMES = frozenset((
    "attn_mask", "causal_mask", "cos_cached", "final_logits_bias", "freqs_cis", "g_idx", "inv_freq", "mask",
    "masked_bias", "num_batches_tracked", "pe", "position_ids", "relative_position_index", "running_mean",
    "running_var", "sin_cached", "token_type_ids",
))  # fmt: skip
_PACKED_SUFFIX = re.compile(
    r"\.(qweight|qzeros|weight_packed|SCB|weight_format|absmax|quant_map|quant_state\.[\w.]+|weight_scale(?:_inv)?)$"
)
_ADAPTER_TENSOR = re.compile(r"\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|hada_w[12]_[ab]|ia3_l)(\.|$)")
_TOKEN_EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|embed_in|shared|tok_emb|tok_embeddings|token_embeddings?|word_embeddings|wte)\.weight$"
)


@dataclass(frozen=True)
class CanonicalTensor:
    """One tensor of a model under its canonical name."""

    name: str
    source: str  # its name in the file
    dtype: str
    shape: tuple[int, ...]
    kind: str  # "trunk", "vector", "head" or "buffer"

    @property
    def signature_shape(self) -> tuple[int | None, ...]:
        """The shape by which families compare; None stands for the rows of a vocabulary, which a child may resize."""
        if len(self.shape) == 2 and _TOKEN_EMBEDDING.search(self.name):
            return (None, self.shape[1])
        return self.shape


@dataclass(frozen=True)
class Architecture:
    """What a revision's headers say that it is."""

    kind: str  # "model", "adapter" (no family) or "unusable"
    tensors: tuple[CanonicalTensor, ...]  # ascending by canonical name; all of them, whatever the kind
    reason: str | None = None  # why it is unusable
    culprit: str | None = None  # the tensor, by its name in the file, on account of which it is
    beside: tuple[str, ...] = ()  # names in the file of what belongs to other tensors: scales of int8 weights

    @property
    def trunk(self) -> tuple[CanonicalTensor, ...]:
        """The tensors that a family shares and distances are measured on."""
        return tuple(tensor for tensor in self.tensors if tensor.kind == TRUNK)


def architecture(
    specs: Iterable[TensorSpec], config: Mapping[str, Any] | None = None, *, has_adapter_config: bool = False
) -> Architecture:
    """The architecture of a revision from its tensor specs (names unique) and its config.json, where it has one."""
    specs = sorted(specs, key=lambda spec: spec.name)
    names = canonical_names([spec.name for spec in specs], config)
    known = {spec.name: spec for spec in specs}
    packed, turned = int8.scaled(known), int8.transposed(known, config)
    beside = tuple(sorted(name for companions in packed.values() for name in companions))
    tensors = [
        CanonicalTensor(name, spec.name, *_seen(spec, turned), _kind(name, spec, is_float=_is_float(spec, packed)))
        for name, spec in zip(names, specs, strict=True)
        if spec.name not in beside
    ]
    if not any(tensor.kind == TRUNK for tensor in tensors):  # a network that is nothing but its head
        tensors = [_without_head(tensor) for tensor in tensors]
    tensors.sort(key=lambda tensor: tensor.name)
    if has_adapter_config or _mostly_adapter(specs):
        return Architecture("adapter", tuple(tensors), beside=beside)
    culprit, reason = _unusable(specs, tensors, beside) or (None, None)
    return Architecture("unusable" if reason else "model", tuple(tensors), reason, culprit, beside)


def canonical_names(names: list[str], config: Mapping[str, Any] | None = None) -> list[str]:
    """The names without wrappers, one for one. Unique where the given names are."""
    model_type = (config or {}).get("model_type")
    backbones = _BACKBONES | ({model_type, model_type.replace("-", "_")} if isinstance(model_type, str) else set())
    current = _modern_norms(list(names))
    for _ in range(8):  # wrappers within wrappers
        stripped = _strip(current, _OUTER_WRAPPERS | backbones) or _strip(current, _OUTER_WRAPPERS)
        if stripped is None:
            break
        current = stripped
    return current


def _strip(names: list[str], wrappers: frozenset[str]) -> list[str] | None:
    """Names without a first part that is a wrapper; None where none has one or two names would become one."""
    stripped = []
    for name in names:
        head, _, rest = name.partition(".")
        stripped.append(rest if rest and head in wrappers else name)
    return stripped if stripped != names and len(set(stripped)) == len(set(names)) else None


def _modern_norms(names: list[str]) -> list[str]:
    """Checkpoints converted from TensorFlow call a norm's weight and bias gamma and beta."""
    renamed = [re.sub(r"(?i)(norm\w*)\.gamma$", r"\1.weight", name) for name in names]
    renamed = [re.sub(r"(?i)(norm\w*)\.beta$", r"\1.bias", name) for name in renamed]
    return renamed if len(set(renamed)) == len(set(names)) else names


def _seen(spec: TensorSpec, turned: Container[str]) -> tuple[str, tuple[int, ...]]:
    """The dtype and the shape of the layer, which is not that of the file where it lies transposed there."""
    return (int8.TRANSPOSED, spec.shape[::-1]) if spec.name in turned else (spec.dtype, spec.shape)


def _is_float(spec: TensorSpec, packed: Container[str]) -> bool:
    return spec.dtype in FLOATS | PACKED_FLOATS or spec.name in packed


def _kind(name: str, spec: TensorSpec, *, is_float: bool) -> str:
    parts = name.split(".")
    if not is_float or _is_buffer(parts, spec):
        return BUFFER
    if _is_head(parts):
        return HEAD
    return TRUNK if len(spec.shape) >= 2 else VECTOR


def _is_buffer(parts: list[str], spec: TensorSpec) -> bool:
    if 0 in spec.shape or parts[-1] in _BUFFER_NAMES or "rotary_emb" in parts:
        return True
    # GPT-2's causal mask is called attn.bias and is (1, 1, n, n)
    return parts[-1] == "bias" and len(spec.shape) >= 3 and spec.shape[-1] == spec.shape[-2]


def _is_head(parts: list[str]) -> bool:
    """By name: `fc` only as a network's outermost layer, since blocks have layers of that name too."""
    root = parts[0]
    if root in _HEAD_ROOTS or root.endswith(("_head", "_heads", "_classifier")):
        return True
    return (root == "fc" and len(parts) == 2) or not _HEADS_ANYWHERE.isdisjoint(parts[:-1])


def _without_head(tensor: CanonicalTensor) -> CanonicalTensor:
    if tensor.kind != HEAD:
        return tensor
    kind = TRUNK if len(tensor.shape) >= 2 else VECTOR
    return CanonicalTensor(tensor.name, tensor.source, tensor.dtype, tensor.shape, kind)


def _mostly_adapter(specs: list[TensorSpec]) -> bool:
    return sum(bool(_ADAPTER_TENSOR.search(spec.name)) for spec in specs) * 2 > len(specs)


def _unusable(
    specs: list[TensorSpec], tensors: list[CanonicalTensor], beside: Container[str]
) -> tuple[str | None, str] | None:
    """Storage whose numbers must be unpacked or scaled before they are weights: the tensor, and what is wrong with it.

    Of that kind we read int8 with a scale for each row, whose scales are `beside`.
    """
    known = {spec.name: spec for spec in specs}
    for spec in specs:
        if spec.name not in beside and (suffix := _PACKED_SUFFIX.search(spec.name)):
            return spec.name, f"weights are stored quantised ({suffix[1]}), expected plain floating-point tensors"
        if spec.dtype in PACKED_FLOATS and len(spec.shape) >= 2:
            return spec.name, f"weights are stored as {spec.dtype}, expected one of {', '.join(sorted(FLOATS))}"
        if int8.is_packed(spec):
            if wrong := int8.problem(spec, known):
                return wrong
        elif spec.dtype not in FLOATS and spec.name.endswith("weight") and len(spec.shape) >= 2 and 0 not in spec.shape:
            return spec.name, f"weights are stored as {spec.dtype}, expected plain floating-point tensors"
    if not any(tensor.kind == TRUNK for tensor in tensors):
        return None, "no floating-point tensor of two or more dimensions"
    return None


def parameter_count(tensors: Iterable[CanonicalTensor]) -> int:
    """Number of elements of all tensors that are not buffers."""
    return sum(math.prod(tensor.shape) for tensor in tensors if tensor.kind != BUFFER)
