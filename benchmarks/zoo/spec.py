"""What a zoo is made of, as data: architectures, tasks, recipes, cards, nodes and the plan that holds them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

Family = Literal["vit", "llama"]
Kind = Literal["pretrain", "finetune", "lora", "continued", "frozen"]
CardTruth = Literal["right", "root", "wrong", "missing", "malformed", "local path", "list", "none"]

RELATION = {"pretrain": "root", "finetune": "finetune", "lora": "lora", "continued": "continued", "frozen": "finetune"}
STAGE = {"pretrain": "generalisation", "continued": "generalisation"}  # every other kind specialises


@dataclass(frozen=True)
class Architecture:
    """The shape of a network; `image`, `patch` and `channels` belong to ViTs, `vocabulary` and `length` to decoders."""

    family: Family
    hidden: int
    layers: int
    heads: int
    mlp: int
    key_value_heads: int = 2
    image: int = 16
    patch: int = 4
    channels: int = 3
    vocabulary: int = 64
    length: int = 40


@dataclass(frozen=True)
class Task:
    """What a network learns: a mixture of kinds of images or of lines of text, fixed by `variant`.

    `kinds` name entries of `images.KINDS` or `texts.KINDS`. An image task has `classes` classes per kind; for text
    `classes` is 0. Two tasks that differ in `variant` only are different tasks of the same sort.
    """

    kinds: tuple[str, ...]
    classes: int = 0
    variant: int = 0
    noise: float = 0.25

    @property
    def labels(self) -> int:
        """The number of classes in all: the size of the head that an image task needs."""
        return self.classes * len(self.kinds)

    @property
    def name(self) -> str:
        """A short name for configs and cards."""
        return "-".join(self.kinds) + (f"-{self.labels}" if self.classes else "") + f"-v{self.variant}"


@dataclass(frozen=True)
class Recipe:
    """How a network is trained from its parent, or from nothing.

    `head_factor` multiplies the learning rate of a new head. `rank`, `alpha` and `targets` belong to LoRA, whose
    adapter is merged into the weights; `frozen` is the share of layers, counted from the input, that a frozen-layer
    child leaves as they were (its embeddings too); `new_tokens` rows are appended to a decoder's vocabulary.
    """

    kind: Kind
    lr: float
    steps: int
    batch: int = 32
    examples: int = 2048
    optimiser: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.01
    head_factor: float = 5.0
    rank: int = 0
    alpha: float = 0.0
    targets: Literal["attention", "linear"] = "attention"
    frozen: float = 0.0
    new_tokens: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"

    def described(self) -> dict[str, Any]:
        """The recipe as truth.json states it, without the fields that its kind does not use."""
        unused = set() if self.kind == "lora" else {"rank", "alpha", "targets"}
        unused |= {name for name in ("frozen", "new_tokens") if not getattr(self, name)}
        return {name: value for name, value in asdict(self).items() if name not in unused}


@dataclass(frozen=True)
class Card:
    """What a README.md says: `declares` is its base_model, and `truth` what that is in fact."""

    truth: CardTruth = "none"
    declares: str | tuple[str, ...] | None = None
    title: str = ""
    prose: str = ""
    licence: str = "apache-2.0"
    tags: tuple[str, ...] = ()
    relation: str | None = None  # base_model_relation, rarely stated


@dataclass(frozen=True)
class Node:
    """One network: what it is trained from and on, and how its repository looks."""

    name: str  # "org/name"
    tree: str
    architecture: Architecture
    task: Task
    recipe: Recipe
    parent: str | None = None
    card: Card = Card()
    verdict: str | None = None
    created: str = "2025-01-01T00:00:00.000Z"
    layout: Literal["single", "sharded", "adapter"] = "single"
    gated: str | None = None
    downloads: int = 0
    likes: int = 0


@dataclass(frozen=True)
class Copy:
    """An exact re-upload of a node's weights under another name."""

    name: str
    original: str
    card: Card
    verdict: str | None
    created: str


@dataclass(frozen=True)
class Husk:
    """A repository without a network that could be measured: its files' texts, or none at all."""

    name: str
    created: str
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Plan:
    """A whole zoo: nodes in an order in which a parent precedes its children, then what surrounds them."""

    name: str
    seed: int
    nodes: tuple[Node, ...]
    copies: tuple[Copy, ...] = ()
    husks: tuple[Husk, ...] = ()

    def __post_init__(self) -> None:
        known: set[str] = set()
        for node in self.nodes:
            if node.parent is not None and node.parent not in known:
                raise ValueError(f"{node.name} stands before its parent {node.parent}")
            if (node.parent is None) != (node.recipe.kind == "pretrain"):
                raise ValueError(f"{node.name}: only a root is trained from nothing")
            known.add(node.name)
        for copy in self.copies:
            if copy.original not in known:
                raise ValueError(f"{copy.name} copies {copy.original}, which is not in the plan")
        entries: tuple[Node | Copy | Husk, ...] = (*self.nodes, *self.copies, *self.husks)
        names = [entry.name for entry in entries]
        if len(set(names)) != len(names):
            raise ValueError("two repositories of one name")


def seed_of(*parts: object) -> int:
    """A seed of 63 bits that depends on every part, the same on every machine and in every process."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
