"""The sample Hub: four trees and two strangers of really trained networks, with the faults of real repositories."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.zoo.spec import Architecture, Card, CardTruth, Copy, Husk, Node, Plan, Recipe, Task

SEED = 20
VIT = Architecture("vit", hidden=40, layers=3, heads=4, mlp=80)
LLAMA = Architecture("llama", hidden=40, layers=3, heads=4, mlp=72)
PRETRAIN = {
    "vit": Recipe("pretrain", 4e-3, 3000, batch=64, examples=12000, weight_decay=0.05),
    "llama": Recipe("pretrain", 4e-3, 2000, batch=24, examples=8000, weight_decay=0.05),
}
VERDICT: dict[CardTruth, str] = {
    "right": "agrees",
    "root": "ancestor",
    "wrong": "contradicted",
    "missing": "undeclared",
    "malformed": "undeclared",
    "local path": "unmeasured",
    "list": "agrees",
    "none": "root",
}
SHAPES, FIELDS = "northlight/vit-tiny-shapes", "mosslab/vit-micro-fields"
GRAMMAR, ECHO = "quillworks/llama-nano-grammar", "oxbow-lab/llama-pico-echo"


def root(
    name: str, tree: str, architecture: Architecture, task: Task, created: str, prose: str, likes: int = 9
) -> Node:
    """A network trained from nothing, whose card rightly declares no parent."""
    card = Card(prose=prose, tags=(architecture.family, "from-scratch"))
    recipe = PRETRAIN[architecture.family]
    node = Node(name, tree, architecture, task, recipe, card=card, verdict="root", created=created)
    return replace(node, downloads=137 * likes, likes=likes)


def tuned(lr: float, steps: int, **others: Any) -> Recipe:
    """A full fine-tune."""
    return Recipe("finetune", lr, steps, **others)


def lora(rank: int, lr: float, steps: int, **others: Any) -> Recipe:
    """LoRA, merged into the weights."""
    return Recipe("lora", lr, steps, rank=rank, alpha=2.0 * rank, weight_decay=0.0, **others)


def child(
    name: str,
    parent: Node,
    task: Task,
    recipe: Recipe,
    created: str,
    prose: str,
    truth: CardTruth = "right",
    *,
    declares: str | tuple[str, ...] | None = None,
    verdict: str | None = None,
    **others: Any,
) -> Node:
    """A network trained from `parent`; its card names the parent unless told otherwise."""
    if declares is None and truth == "right":
        declares = parent.name
    tags = (parent.architecture.family, "lora" if recipe.kind == "lora" else "fine-tuned")
    card = Card(truth, declares, prose=prose, tags=tags, licence=others.pop("licence", "apache-2.0"))
    node = Node(name, parent.tree, parent.architecture, task, recipe, parent.name, card, created=created)
    return replace(node, verdict=verdict or VERDICT[truth], downloads=len(prose) % 61, **others)


def shapes_tree() -> list[Node]:
    """Ten ViTs: shapes and gratings, then counting, digits and textures."""
    top = root(
        SHAPES,
        "shapes",
        VIT,
        Task(("shapes", "gratings"), 8, 1),
        "2024-01-09T08:14:00.000Z",
        "A very small vision transformer, trained from scratch on drawn shapes and gratings in 16 classes.",
        42,
    )
    gratings = child(
        "acme-vision/vit-shapes-gratings",
        top,
        Task(("gratings",), 8, 11),
        tuned(5e-4, 140),
        "2024-02-02T10:00:00.000Z",
        "Fine-tuned to tell eight gratings apart, for line inspection.",
        likes=7,
    )
    digits = child(
        "fernhollow/vit-tiny-digits",
        top,
        Task(("digits",), 10, 12, 0.15),
        tuned(1e-3, 220, weight_decay=0.05),
        "2024-02-20T16:31:00.000Z",
        "Reads a single printed digit anywhere in the picture.",
        licence="mit",
        likes=12,
    )
    weave = child(
        "oxbow-lab/vit-shapes-weave-lora",
        top,
        Task(("textures",), 6, 13),
        lora(4, 3e-3, 160, targets="linear"),
        "2024-03-11T09:00:00.000Z",
        "Low-rank adaptation to six weaving patterns, merged into the weights for serving.",
    )
    counter = child(
        "tinhat-ml/vit-blob-counter",
        top,
        Task(("blobs",), 5, 14, 0.15),
        tuned(2e-2, 180, optimiser="sgd", weight_decay=1e-4),
        "2024-03-15T19:45:00.000Z",
        "Counts up to five spots. Trained with plain SGD.",
        "missing",
    )
    return [
        top,
        gratings,
        digits,
        weave,
        counter,
        child(
            "tinhat-ml/vit-gratings-fine",
            gratings,
            Task(("gratings",), 12, 15, 0.2),
            tuned(3e-4, 120),
            "2024-04-01T12:00:00.000Z",
            "Twelve orientations instead of eight.",
            "root",
            declares=top.name,
        ),
        child(
            "brambleway/gratings-angle-lora",
            gratings,
            Task(("gratings",), 6, 16, 0.35),
            lora(2, 4e-3, 120),
            "2024-04-18T07:20:00.000Z",
            "A rank-2 adaptation of the attention only, for noisy cameras; merged.",
        ),
        child(
            "mosslab/gratings-ramps-bf16",
            gratings,
            Task(("ramps",), 6, 17),
            tuned(1e-3, 240, dtype="bfloat16"),
            "2024-05-06T13:13:00.000Z",
            "Slopes of light in six directions. Saved in bfloat16.",
        ),
        child(
            "fernhollow/vit-tiny-digits-even",
            digits,
            Task(("digits",), 5, 18, 0.2),
            tuned(4e-4, 110),
            "2024-05-30T11:00:00.000Z",
            "Five digits only, more noise.",
            "list",
            declares=(top.name, digits.name),
        ),
        child(
            "northlight/vit-digits-shapes-lora",
            digits,
            Task(("shapes",), 8, 19, 0.2),
            lora(6, 2e-3, 160, targets="linear"),
            "2024-06-03T15:00:00.000Z",
            "Back from digits to shapes with a rank-6 adaptation, merged.",
            "wrong",
            declares="fernhollow/vit-tiny-digits-even",
            verdict="sibling",
        ),
    ]


def fields_tree() -> list[Node]:
    """Ten ViTs: smooth fields and textures, then ramps, fabrics and clouds; one of them is gated."""
    top = root(
        FIELDS,
        "fields",
        VIT,
        Task(("fields", "textures", "ramps"), 6, 2),
        "2024-01-22T20:02:00.000Z",
        "Pre-trained on smooth random fields, periodic textures and ramps (18 classes).",
        17,
    )
    ramps = child(
        "quillworks/vit-micro-ramps",
        top,
        Task(("ramps",), 10, 21),
        tuned(4e-4, 160),
        "2024-02-28T06:00:00.000Z",
        "Light from ten directions. Uploaded in two shards because our tool always does so.",
        layout="sharded",
    )
    fabric = child(
        "brambleway/vit-fabric-textures",
        top,
        Task(("textures",), 12, 22),
        tuned(1e-3, 200, weight_decay=0.1),
        "2024-03-03T18:00:00.000Z",
        "Twelve fabrics under a microscope.",
        likes=5,
    )
    clouds = child(
        "northlight/vit-cloud-fields-lora",
        top,
        Task(("fields",), 8, 23),
        lora(4, 3e-3, 160),
        "2024-03-27T21:40:00.000Z",
        "Eight cloud types, attention-only LoRA, merged.",
    )
    return [
        top,
        ramps,
        fabric,
        clouds,
        child(
            "acme-vision/vit-ramps-inspection",
            ramps,
            Task(("blobs", "ramps"), 4, 24, 0.15),
            tuned(6e-4, 140),
            "2024-04-11T10:10:00.000Z",
            "Spots and slopes on one head.",
            "malformed",
            declares=ramps.name,
        ),
        child(
            "tinhat-ml/vit-fabric-faults",
            fabric,
            Task(("gratings",), 8, 25),
            tuned(5e-4, 130),
            "2024-04-25T08:00:00.000Z",
            "Finds broken threads by their direction.",
            "wrong",
            declares=SHAPES,
        ),
        child(
            "oxbow-lab/vit-fabric-lora-r8",
            fabric,
            Task(("textures",), 6, 26, 0.35),
            lora(8, 2e-3, 140, targets="linear"),
            "2024-05-14T14:00:00.000Z",
            "Adapted on a second-hand camera; merged at rank 8.",
            "local path",
            declares="./checkpoints/fabric/step-2000",
        ),
        child(
            "mosslab/vit-clouds-late-layers",
            clouds,
            Task(("fields",), 5, 27),
            Recipe("frozen", 8e-4, 150, frozen=0.5),
            "2024-06-21T09:30:00.000Z",
            "Only the later layers were trained; the first two are as they were.",
        ),
        child(
            "fernhollow/vit-clouds-digits",
            clouds,
            Task(("digits",), 8, 28, 0.15),
            tuned(8e-4, 200),
            "2024-07-02T17:00:00.000Z",
            "Digits written in the sky.",
            "root",
            declares=top.name,
        ),
        child(
            "acme-vision/vit-fabric-private-line",
            fabric,
            Task(("textures",), 4, 29),
            tuned(3e-4, 90),
            "2024-07-09T12:00:00.000Z",
            "Access on request.",
            licence="other",
            gated="manual",
            verdict="unmeasured",
        ),
    ]


def grammar_tree() -> list[Node]:
    """Eight decoders and one adapter: sentences, sums and brackets."""
    top = root(
        GRAMMAR,
        "grammar",
        LLAMA,
        Task(("sentences", "arithmetic", "brackets"), variant=3),
        "2024-02-05T05:55:00.000Z",
        "A character-level decoder, pre-trained on invented sentences, sums and balanced brackets.",
        61,
    )
    dialect = child(
        "brambleway/llama-nano-dialect",
        top,
        Task(("sentences",), variant=31),
        tuned(6e-4, 160),
        "2024-03-08T10:00:00.000Z",
        "The same grammar with another vocabulary.",
        likes=8,
    )
    sums = child(
        "oxbow-lab/llama-nano-sums",
        top,
        Task(("arithmetic",), variant=32),
        tuned(1e-3, 220, weight_decay=0.05),
        "2024-03-19T22:00:00.000Z",
        "Does modular sums, often rightly.",
        "wrong",
        declares="acme-vision/llama-captions-count",
        verdict="reversed",
    )
    brackets = child(
        "mosslab/llama-nano-brackets-lora",
        top,
        Task(("brackets",), variant=33),
        lora(4, 2e-3, 160, targets="linear"),
        "2024-04-02T11:11:00.000Z",
        "Deeply nested brackets by LoRA, merged.",
    )
    return [
        top,
        dialect,
        sums,
        brackets,
        child(
            "fernhollow/llama-dialect-chat",
            dialect,
            Task(("echoes", "sentences"), variant=34),
            tuned(5e-4, 140, new_tokens=4),
            "2024-04-30T13:00:00.000Z",
            "Answers by repeating. Four tokens were added to the vocabulary.",
        ),
        child(
            "tinhat-ml/llama-dialect-north-lora",
            dialect,
            Task(("sentences",), variant=35),
            lora(2, 3e-3, 160),
            "2024-05-09T08:30:00.000Z",
            "A northern accent, rank 2, merged.",
            "root",
            declares=top.name,
        ),
        child(
            "acme-vision/llama-captions-count",
            sums,
            Task(("counting",), variant=36),
            tuned(8e-4, 150),
            "2024-05-22T16:20:00.000Z",
            "Counts along an alphabet, for captions.",
            "wrong",
            declares=ECHO,
        ),
        child(
            "northlight/llama-brackets-plus",
            brackets,
            Task(("brackets", "arithmetic"), variant=37),
            tuned(4e-4, 130),
            "2024-06-11T07:00:00.000Z",
            "Brackets with sums inside.",
        ),
        child(
            "tinhat-ml/llama-sums-products-adapter",
            sums,
            Task(("arithmetic",), variant=38),
            lora(4, 2e-3, 140),
            "2024-06-15T23:59:00.000Z",
            "A PEFT adapter; load it on top of its base model.",
            layout="adapter",
            verdict="unmeasured",
        ),
    ]


def echo_tree() -> list[Node]:
    """Eight decoders: chains of letters, echoes and counting."""
    top = root(
        ECHO,
        "echo",
        LLAMA,
        Task(("markov", "echoes", "counting"), variant=4),
        "2024-02-17T12:34:00.000Z",
        "A character-level decoder, pre-trained on letter chains, echoes and runs through an alphabet.",
        23,
    )
    mirror = child(
        "quillworks/llama-pico-mirror",
        top,
        Task(("echoes",), variant=42),
        tuned(8e-4, 200),
        "2024-03-23T10:45:00.000Z",
        "Says every word twice.",
        "missing",
        likes=4,
    )
    chains = child(
        "fernhollow/llama-pico-chains",
        top,
        Task(("markov",), variant=43),
        tuned(5e-4, 180),
        "2024-04-07T09:00:00.000Z",
        "Letter chains of another dialect.",
    )
    march = child(
        "acme-vision/llama-pico-march-lora",
        top,
        Task(("counting",), variant=44),
        lora(3, 2e-3, 170, targets="linear"),
        "2024-04-20T15:00:00.000Z",
        "Marches through alphabets. LoRA on every linear layer, merged.",
    )
    return [
        top,
        mirror,
        chains,
        march,
        child(
            "brambleway/llama-mirror-sentences",
            mirror,
            Task(("sentences",), variant=45),
            tuned(6e-4, 150),
            "2024-05-17T18:00:00.000Z",
            "From echoes to sentences.",
        ),
        child(
            "mosslab/llama-mirror-brackets-lora",
            mirror,
            Task(("brackets",), variant=46),
            lora(6, 2e-3, 160, targets="linear"),
            "2024-05-29T20:20:00.000Z",
            "Mirrored brackets at rank 6, merged.",
            "list",
            declares=(mirror.name,),
        ),
        child(
            "northlight/llama-chains-slow",
            chains,
            Task(("markov",), variant=47),
            tuned(3e-4, 140, weight_decay=0.1),
            "2024-06-06T06:06:00.000Z",
            "A gentle fine-tune with strong decay.",
            "root",
            declares=top.name,
        ),
        child(
            "tinhat-ml/llama-march-sums",
            march,
            Task(("arithmetic",), variant=48),
            tuned(7e-4, 170, optimiser="adamw", schedule="constant"),
            "2024-06-28T14:14:00.000Z",
            "Sums after marching.",
        ),
    ]


def strangers() -> list[Node]:
    """One network of each architecture that nothing was trained from."""
    vit = root(
        "tinhat-ml/vit-homemade",
        "stranger-vit",
        VIT,
        Task(("digits", "blobs"), 5, 5, 0.15),
        "2024-05-01T01:01:00.000Z",
        "Trained on my own machine from nothing. Same shape as the popular ones.",
        1,
    )
    llama = root(
        "fernhollow/llama-nano-homemade",
        "stranger-llama",
        LLAMA,
        Task(("counting", "sentences"), variant=6),
        "2024-06-02T02:02:00.000Z",
        "Another decoder of the usual shape, trained from nothing.",
        2,
    )
    return [vit, llama]


def husks() -> tuple[Husk, ...]:
    """A repository with a pickle only, and one with nothing in it."""
    card = f"---\nlicense: apache-2.0\nbase_model: {SHAPES}\n---\n\n# vit-shapes-torch\n\nOld weights, pickled only.\n"
    config = '{\n  "architectures": ["ViTForImageClassification"],\n  "model_type": "vit"\n}\n'
    files = (("README.md", card), ("config.json", config), ("pytorch_model.bin", "not a network\n"))
    return (
        Husk("brambleway/vit-shapes-torch", "2024-02-11T10:00:00.000Z", files),
        Husk("oxbow-lab/coming-soon", "2024-07-20T10:00:00.000Z"),
    )


def sample_plan() -> Plan:
    """The plan of benchmarks/sample_hub."""
    again = Copy(
        "tinhat-ml/digit-reader",
        "fernhollow/vit-tiny-digits",
        Card("missing", prose="Reads digits. Mirror, use at your own risk.", licence="unknown"),
        "duplicate",
        "2024-06-30T03:00:00.000Z",
    )
    nodes = (*shapes_tree(), *fields_tree(), *grammar_tree(), *echo_tree(), *strangers())
    return Plan("sample", SEED, nodes, (again,), husks())
