"""How children of the named splits are trained: each draws one recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.zoo.spec import Recipe

Draw = Callable[[np.random.Generator], Recipe]
PRETRAIN = {
    "vit": Recipe("pretrain", 3e-3, 2000, batch=64, examples=12000, weight_decay=0.05),
    "llama": Recipe("pretrain", 4e-3, 1800, batch=24, examples=8000, weight_decay=0.05),
    "gpt2": Recipe("pretrain", 4e-3, 1800, batch=24, examples=8000, weight_decay=0.05),
    "resnet": Recipe("pretrain", 3e-3, 1200, batch=64, examples=12000, weight_decay=0.05),
    "mlp": Recipe("pretrain", 1.5e-3, 2500, batch=64, examples=12000, weight_decay=0.05),
}


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform, to three digits."""
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.3g}")


def finetune(rng: np.random.Generator) -> Recipe:
    """A full fine-tune: mostly AdamW, sometimes SGD."""
    steps, decay = int(rng.integers(100, 260)), float(rng.choice([0.0, 0.01, 0.1]))
    if rng.random() < 0.2:
        return Recipe("finetune", log_uniform(rng, 5e-3, 4e-2), steps, optimiser="sgd", weight_decay=decay / 100)
    return Recipe("finetune", log_uniform(rng, 2e-4, 1.2e-3), steps, weight_decay=decay)


def wide(rng: np.random.Generator) -> Recipe:
    """A full fine-tune at a rate from three decades and with a decay from none to strong; AdamW and SGD evenly."""
    steps = int(rng.integers(80, 260))
    if rng.random() < 0.5:
        decay = float(rng.choice([0.0, 1e-4, 1e-3, 1e-2]))
        return Recipe("finetune", log_uniform(rng, 3e-4, 3e-1), steps, optimiser="sgd", weight_decay=decay)
    decay = float(rng.choice([0.0, 0.01, 0.1, 0.5, 1.0]))
    return Recipe("finetune", log_uniform(rng, 1e-5, 1e-2), steps, weight_decay=decay)


def lora(rng: np.random.Generator) -> Recipe:
    """A merged LoRA of varying rank, on the attention or on every linear layer."""
    rank = int(rng.choice([2, 4, 8, 12]))
    recipe = Recipe("lora", log_uniform(rng, 1e-3, 5e-3), int(rng.integers(120, 260)), weight_decay=0.0)
    return replace(recipe, rank=rank, alpha=2.0 * rank, targets="attention" if rng.random() < 0.5 else "linear")


def lora_fixed(rng: np.random.Generator) -> Recipe:
    """A merged LoRA of rank 8 on the attention."""
    return replace(lora(rng), rank=8, alpha=16.0, targets="attention")


def mixed(rng: np.random.Generator) -> Recipe:
    """One or the other, evenly."""
    return lora(rng) if rng.random() < 0.5 else finetune(rng)


def frozen(rng: np.random.Generator) -> Recipe:
    """A full fine-tune of the later half of the layers, or of the last quarter."""
    return replace(finetune(rng), kind="frozen", frozen=float(rng.choice([0.5, 0.75])))


def halves(rng: np.random.Generator) -> Recipe:
    """Half of the full fine-tunes saved in bfloat16."""
    return replace(finetune(rng), dtype="bfloat16" if rng.random() < 0.5 else "float32")


def continued(rng: np.random.Generator) -> Recipe:
    """More pre-training at a constant, moderate rate, on the root's task with new data."""
    steps = int(rng.integers(300, 600))
    return Recipe(
        "continued", log_uniform(rng, 3e-4, 1e-3), steps, examples=6000, schedule="constant", weight_decay=0.05
    )


def pruning(sparsity: float) -> Draw:
    """Full fine-tunes of which two in three are pruned after training; what descends from them is dense or pruned."""

    def draw(rng: np.random.Generator) -> Recipe:
        recipe = finetune(rng)
        return replace(recipe, sparsity=sparsity) if rng.random() < 2 / 3 else recipe

    return draw


def resized(rng: np.random.Generator) -> Recipe:
    """A full fine-tune that appends up to 16 rows of vocabulary, or none."""
    return replace(finetune(rng), new_tokens=int(rng.choice([0, 0, 1, 3, 8, 16])))
