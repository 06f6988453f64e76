"""Named splits: forests whose names, dates and cards give nothing away."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.zoo import alter, recipes
from benchmarks.zoo.alter import Alteration, unaltered
from benchmarks.zoo.forest import Forest, chain, grown, ragged, star, versions
from benchmarks.zoo.mixing import merges
from benchmarks.zoo.spec import Architecture, Plan

VIT = Architecture("vit", hidden=64, layers=4, heads=4, mlp=128, patch=8)
LLAMA = Architecture("llama", hidden=64, layers=3, heads=4, mlp=128)
GPT2 = Architecture("gpt2", hidden=64, layers=3, heads=4, mlp=192)
RESNET = Architecture("resnet", hidden=16, layers=3, heads=1, mlp=1)
MLP = Architecture("mlp", hidden=128, layers=4, heads=1, mlp=1)
SPARSITIES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Split:
    """A forest and what is done to it."""

    summary: str
    forest: Forest
    alteration: Alteration = unaltered


VIT_FT = Forest(VIT, recipes.finetune)

SPLITS: dict[str, Split] = {
    "ft": Split("ViT, full fine-tunes", VIT_FT),
    "lora-v": Split("ViT, merged LoRA of ranks 2 to 12", replace(VIT_FT, recipe=recipes.lora)),
    "lora-f": Split("ViT, merged LoRA of rank 8", replace(VIT_FT, recipe=recipes.lora_fixed)),
    "mixed": Split("ViT, full fine-tunes and LoRA", replace(VIT_FT, recipe=recipes.mixed)),
    "deep": Split("ViT, full fine-tunes, 1-3-9-27-81", replace(VIT_FT, trees=1, branch=3, depth=4)),
    "frozen": Split("ViT, only the later layers trained", replace(VIT_FT, recipe=recipes.frozen)),
    "wide": Split("ViT, rates over three decades, any decay, SGD and AdamW", replace(VIT_FT, recipe=recipes.wide)),
    "heavy": Split("ViT, roots with heavy tails and outlier channels", replace(VIT_FT, heavy=True)),
    "same-recipe": Split("ViT, trees of one recipe that differ in their seed", replace(VIT_FT, same=True)),
    "heads": Split("ViT, other or no heads, a layer more or less", replace(VIT_FT, heads=True), alter.backbones),
    "folds": Split("ViT, folds of one initialisation, a child each", replace(VIT_FT, depth=1), alter.folds),
    "continued": Split("ViT, continued pre-training", replace(VIT_FT, recipe=recipes.continued)),
    "versions": Split(
        "ViT, continued pre-training, five versions in three or four levels",
        replace(VIT_FT, recipe=recipes.continued, shape=versions),
    ),
    "bf16": Split("ViT, half of the fine-tunes saved in bfloat16", replace(VIT_FT, recipe=recipes.halves)),
    "half": Split("ViT, half of the models stored in fp16, bf16 or int8", VIT_FT, alter.stored_cast(*alter.FORMS)),
    "half-fp16": Split("ViT, half of the models stored in float16", VIT_FT, alter.stored_cast("float16")),
    "half-bf16": Split("ViT, half of the models stored in bfloat16", VIT_FT, alter.stored_cast("bfloat16")),
    "half-int8": Split("ViT, half of the models stored in bitsandbytes' int8", VIT_FT, alter.stored_cast("int8")),
    "casts": Split("ViT, bf16 and fp16 copies, and children of them", VIT_FT, alter.casts),
    "quantised": Split("ViT, int8 copies, and children of them", VIT_FT, alter.quantised_copies),
    "copies": Split("ViT, exact re-uploads and re-sharded copies", VIT_FT, alter.copies),
    "merges": Split("ViT, merges of every kind beside their parents", replace(VIT_FT, depth=1), merges),
    "thinned": Split("ViT, leaves and branches missing", VIT_FT, alter.thinned),
    "rootless": Split("ViT, no tree shows its root", VIT_FT, alter.rootless),
    "strangers": Split("ViT, a dozen networks of no family mixed in", replace(VIT_FT, trees=2), alter.strangers(12)),
    "chains": Split("ViT, chains of eight", replace(VIT_FT, shape=chain)),
    "stars": Split("ViT, stars of twenty", replace(VIT_FT, shape=star)),
    "ragged": Split("ViT, trees of any shape and size", replace(VIT_FT, shape=ragged)),
    "resnet": Split("ResNet, full fine-tunes, 21 models", Forest(RESNET, recipes.finetune, trees=1)),
    "resnet-folds": Split("ResNet, folds", Forest(RESNET, recipes.frozen, depth=1), alter.folds),
    "mlp": Split("MLP, full fine-tunes", Forest(MLP, recipes.finetune)),
    "mlp-wide": Split("MLP, rates over three decades", Forest(MLP, recipes.wide)),
    "decoder-ft": Split("Llama names, full fine-tunes", Forest(LLAMA, recipes.finetune)),
    "decoder-lora": Split("Llama names, merged LoRA", Forest(LLAMA, recipes.lora)),
    "decoder-mixed": Split("Llama names, full fine-tunes and LoRA", Forest(LLAMA, recipes.mixed)),
    "decoder-similar": Split("Llama names, siblings on similar texts", Forest(LLAMA, recipes.finetune, similar=True)),
    "decoder-similar-mixed": Split(
        "Llama names, siblings on similar texts, LoRA among them", Forest(LLAMA, recipes.mixed, similar=True)
    ),
    "decoder-vocabulary": Split("Llama names, resized vocabularies", Forest(LLAMA, recipes.resized)),
    "decoder-heavy": Split("Llama names, roots with heavy tails", Forest(LLAMA, recipes.mixed, heavy=True)),
    "decoder-half": Split(
        "Llama names, half stored in fp16, bf16 or int8",
        Forest(LLAMA, recipes.finetune),
        alter.stored_cast(*alter.FORMS),
    ),
    "decoder-merges": Split("Llama names, merges", Forest(LLAMA, recipes.finetune, depth=1), merges),
    "gpt2-ft": Split("GPT-2 names, full fine-tunes", Forest(GPT2, recipes.finetune)),
    "gpt2-mixed": Split("GPT-2 names, full fine-tunes and LoRA", Forest(GPT2, recipes.mixed)),
    "gpt2-similar": Split("GPT-2 names, siblings on similar texts", Forest(GPT2, recipes.finetune, similar=True)),
    "gpt2-continued": Split("GPT-2 names, versions", Forest(GPT2, recipes.continued, shape=versions)),
}
for _percent in SPARSITIES:
    SPLITS |= {
        f"pruned-{_percent}": Split(
            f"ViT, half of the children stored pruned to {_percent} %", VIT_FT, alter.stored_pruned(_percent / 100, 0.5)
        ),
        f"all-pruned-{_percent}": Split(
            f"ViT, every model stored pruned to {_percent} %", VIT_FT, alter.stored_pruned(_percent / 100, 1)
        ),
        f"pruned-line-{_percent}": Split(
            f"ViT, two in three children pruned to {_percent} %, and all trained from what their parent shows",
            replace(VIT_FT, recipe=recipes.pruning(_percent / 100)),
        ),
        f"pruned-copies-{_percent}": Split(
            f"ViT, copies pruned to {_percent} %, and their children", VIT_FT, alter.pruned_copies(_percent / 100)
        ),
    }


def split_plan(
    name: str, seed: int, trees: int | None = None, branch: int | None = None, depth: int | None = None
) -> Plan:
    """The plan of a named split, in its own sizes where none are given. Raises ValueError for sizes below one."""
    split = SPLITS[name]
    trees = split.forest.trees if trees is None else trees
    branch = split.forest.branch if branch is None else branch
    depth = split.forest.depth if depth is None else depth
    if min(trees, branch, depth) < 1:
        raise ValueError("trees, branch and depth are at least 1")
    nodes = grown(split.forest, seed, trees, branch, depth)
    return split.alteration(Plan(f"{name} {trees} x {branch}^{depth}", seed, tuple(nodes)))
