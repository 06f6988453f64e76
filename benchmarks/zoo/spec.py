"""What a zoo is made of, as data: architectures, tasks, recipes, cards, nodes and the plan that holds them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from benchmarks.zoo.derivation import Backbone, Cast, Merge, Prune

Family = Literal["vit", "llama", "gpt2", "resnet", "mlp"]
Kind = Literal["pretrain", "fold", "finetune", "lora", "continued", "frozen", "pruned", "cast", "quantised", "merge"]
CardTruth = Literal["right", "root", "wrong", "missing", "malformed", "local path", "list", "none"]
Objective = Literal["labels", "rotation", "reconstruction", "next", "denoising"]

FROM_NOTHING = ("pretrain", "fold")
RELATION = {"pretrain": "root", "frozen": "finetune"}  # every other kind is the name of its relation
STAGE = {"pretrain": "generalisation", "fold": "generalisation", "continued": "generalisation"}  # others specialise
LATER = {"later": True}  # marks a field that its class had not at first


class Described:
    """A frozen dataclass whose representation leaves out later fields at their defaults.

    Representations decide seeds and fingerprints, so that a zoo planned before there was the field stays the same.
    """

    def __repr__(self) -> str:
        told = (
            f"{one.name}={getattr(self, one.name)!r}"
            for one in fields(self)  # type: ignore[arg-type]  # its heirs are dataclasses
            if not (one.metadata.get("later") and getattr(self, one.name) == one.default)
        )
        return f"{type(self).__qualname__}({', '.join(told)})"


@dataclass(frozen=True, repr=False)
class Architecture(Described):
    """The shape of a network; `image`, `patch` and `channels` belong to ViTs, `vocabulary` and `length` to decoders.

    A ResNet has `layers` stages, the first `hidden` channels wide and each other twice as wide as the one before; an
    MLP has `layers` hidden layers of `hidden` units. `head` is the shape of a ViT's classifier.
    """

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
    head: Literal["linear", "mlp"] = field(default="linear", metadata=LATER)

    @property
    def text(self) -> bool:
        """Whether it reads token ids; all others read pictures."""
        return self.family in ("llama", "gpt2")


@dataclass(frozen=True, repr=False)
class Task(Described):
    """What a network learns: a mixture of kinds of images or of lines of text, fixed by `variant`.

    `kinds` name entries of `images.KINDS` or `texts.KINDS`. An image task has `classes` classes per kind; for text
    `classes` is 0. Two tasks that differ in `variant` only are different tasks of the same sort. `objective` is what
    is asked of the data: the classes, by how many quarters a picture was turned, a coarse copy of the picture without
    its noise; the next character (which text has in place of `labels`), or that with a tenth of the input garbled.
    """

    kinds: tuple[str, ...]
    classes: int = 0
    variant: int = 0
    noise: float = 0.25
    objective: Objective = field(default="labels", metadata=LATER)

    @property
    def labels(self) -> int:
        """The number of classes in all: the size of the head that an image task needs."""
        return {"rotation": 4, "reconstruction": 16}.get(self.objective, self.classes * len(self.kinds))

    @property
    def name(self) -> str:
        """A short name for configs and cards."""
        asked = "" if self.objective == "labels" else f"-{self.objective}"
        return "-".join(self.kinds) + (f"-{self.labels}" if self.classes else "") + f"-v{self.variant}{asked}"


@dataclass(frozen=True, repr=False)
class Recipe(Described):
    """How a network is trained from its parent, or from nothing.

    `head_factor` multiplies the learning rate of a new head. `rank`, `alpha` and `targets` belong to LoRA, whose
    adapter is merged into the weights; `frozen` is the share of layers, counted from the input, that a frozen-layer
    child leaves as they were (its embeddings too); `new_tokens` rows are appended to a decoder's vocabulary. `heavy`
    draws initial weights with heavy tails. `folds` of a cross-validation leave out every folds-th example, from the
    `fold`-th on. `masked` keeps at zero what is zero in the parent; `sparsity` prunes per tensor after training, and
    children are trained from what is left.
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
    heavy: bool = field(default=False, metadata=LATER)
    fold: int = field(default=0, metadata=LATER)
    folds: int = field(default=0, metadata=LATER)
    masked: bool = field(default=False, metadata=LATER)
    sparsity: float = field(default=0.0, metadata=LATER)

    def described(self) -> dict[str, Any]:
        """The recipe as truth.json states it, without the fields that its kind does not use."""
        unused = set() if self.kind == "lora" else {"rank", "alpha", "targets"}
        unused |= {
            name for name in ("frozen", "new_tokens", "heavy", "folds", "masked", "sparsity") if not getattr(self, name)
        }
        unused |= set() if self.folds else {"fold"}
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


@dataclass(frozen=True, repr=False)
class Node(Described):
    """One network: what it is trained from and on, or computed from, and how its repository looks.

    `derived` is how it was computed where it was not trained; a merge names all its parents there, the first of them
    here. `stored` is what was done to the weights on their way into the file: children are trained from what was there
    before. Networks of one `initialisation` begin with the same weights and learn from the same examples.
    """

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
    derived: Prune | Cast | Merge | None = field(default=None, metadata=LATER)
    stored: tuple[Prune | Cast | Backbone, ...] = field(default=(), metadata=LATER)
    initialisation: str = field(default="", metadata=LATER)
    stranger: bool = field(default=False, metadata=LATER)  # a root that was put among trees to belong to none

    @property
    def parents(self) -> tuple[str, ...]:
        """All direct parents."""
        if isinstance(self.derived, Merge):
            return self.derived.parents
        return () if self.parent is None else (self.parent,)

    @property
    def sources(self) -> tuple[str, ...]:
        """The nodes whose weights it is made of: its parents, and what task arithmetic counts from."""
        base = self.derived.base if isinstance(self.derived, Merge) else None
        return self.parents if base is None else (*self.parents, base)


@dataclass(frozen=True, repr=False)
class Copy(Described):
    """An exact re-upload of a node's weights under another name; `shards` above 0 cut them anew."""

    name: str
    original: str
    card: Card
    verdict: str | None
    created: str
    shards: int = field(default=0, metadata=LATER)


@dataclass(frozen=True)
class Husk:
    """A repository without a network that could be measured: its files' texts, or none at all."""

    name: str
    created: str
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, repr=False)
class Plan(Described):
    """A whole zoo: nodes in an order in which parents precede their children, then what surrounds them.

    `absent` nodes are trained, for their children's sake, and not shown: truth.json names them apart.
    """

    name: str
    seed: int
    nodes: tuple[Node, ...]
    copies: tuple[Copy, ...] = ()
    husks: tuple[Husk, ...] = ()
    absent: tuple[str, ...] = field(default=(), metadata=LATER)

    def __post_init__(self) -> None:
        known: set[str] = set()
        for node in self.nodes:
            for source in node.sources:
                if source not in known:
                    raise ValueError(f"{node.name} stands before its parent {source}")
            if (not node.parents) != (node.recipe.kind in FROM_NOTHING):
                raise ValueError(f"{node.name}: only a root is trained from nothing")
            known.add(node.name)
        for copy in self.copies:
            if copy.original not in known:
                raise ValueError(f"{copy.name} copies {copy.original}, which is not in the plan")
        if missing := set(self.absent) - known:
            raise ValueError(f"{min(missing)} is not in the plan and cannot be absent")
        entries: tuple[Node | Copy | Husk, ...] = (*self.nodes, *self.copies, *self.husks)
        names = [entry.name for entry in entries]
        if len(set(names)) != len(names):
            raise ValueError("two repositories of one name")


def seed_of(*parts: object) -> int:
    """A seed of 63 bits that depends on every part, the same on every machine and in every process."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
