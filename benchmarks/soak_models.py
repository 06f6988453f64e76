"""The Hub of the soak: thousands of small repositories with everything in them that a crawler meets.

The same seed and count write the same files. Weights are random bytes of a few hundred numbers; what matters is how
repositories refer to each other, and what is wrong with them.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
ARCHITECTURES = ("LlamaForCausalLM", "BertModel", "ViTForImageClassification", "Qwen2ForCausalLM", "WhisperModel")

Tensors = dict[str, tuple[int, ...]]


@dataclass
class Model:
    """One repository on its way to the disk."""

    name: str
    kind: str
    architecture: str
    width: int
    seed: int
    files: dict[str, bytes] = field(default_factory=dict)
    sidecar: dict[str, Any] = field(default_factory=dict)


def write_hub(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Write `count` repositories below a folder; how many there are of each kind."""
    draw = Random(f"soak/{seed}")  # noqa: S311  # no secret
    made: list[Model] = []
    kinds: dict[str, int] = {}
    choices = [make for make, share in _KINDS.items() for _ in range(share)]
    for number in range(count):
        make = _base if number < max(len(ARCHITECTURES), count // 40) else draw.choice(choices)
        model = make(number, made, draw)
        model.sidecar = {**_sidecar(number, model, draw), **model.sidecar}
        kinds[model.kind] = kinds.get(model.kind, 0) + 1
        made.append(model)
        _write(folder / model.name, model)
    return dict(sorted(kinds.items()))


def _write(folder: Path, model: Model) -> None:
    folder.mkdir(parents=True)
    for path, content in {**model.files, ".hub.json": json.dumps(model.sidecar).encode()}.items():
        (folder / path).write_bytes(content)


def _sidecar(number: int, model: Model, draw: Random) -> dict[str, Any]:
    created = BEGIN + timedelta(minutes=7 * (number - number % 3))  # some at the same moment
    changed = created + timedelta(seconds=draw.randrange(10_000_000))
    facts: dict[str, Any] = {
        "hub_id": f"{number + 1:024x}",
        "created_at": created.isoformat(),
        "last_modified": changed.isoformat(),
        "likes": draw.randrange(100),
        "downloads": draw.randrange(10_000),
    }
    if number % 5 == 0:
        facts["former_names"] = [f"old-{number}" if number % 10 else f"former-org/{model.name.partition('/')[2]}"]
    if number % 37 == 0:  # a history of two pages
        facts["commits"] = [{"title": f"Step {at}", "date": created.isoformat()} for at in range(60)]
    return facts


def _new(number: int, kind: str, like: Model | None, draw: Random) -> Model:
    organisation = f"org-{draw.randrange(40)}"
    architecture = like.architecture if like else ARCHITECTURES[number % len(ARCHITECTURES)]
    width = like.width if like else 4 + 2 * (number // len(ARCHITECTURES) % 3)
    return Model(f"{organisation}/{kind.replace(' ', '-')}-{number}", kind, architecture, width, number)


def _trained(number: int, kind: str, like: Model | None, draw: Random, card: str | None) -> Model:
    """A model with weights of its own, in one file or in two."""
    model = _new(number, kind, like, draw)
    model.files["config.json"] = _config(model)
    if card is not None:
        model.files["README.md"] = card.encode()
    tensors = _tensors(model.width)
    if number % 6:
        model.files["model.safetensors"] = safetensors(tensors, number)
        return model
    names = list(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
    for path, some in shards.items():
        model.files[path] = safetensors({name: tensors[name] for name in some}, number)
    places = {name: path for path, some in shards.items() for name in some}
    index = {"metadata": {"total_size": 4 * sum(math.prod(shape) for shape in tensors.values())}, "weight_map": places}
    model.files["model.safetensors.index.json"] = json.dumps(index).encode()
    return model


def _config(model: Model, **more: Any) -> bytes:
    kind = model.architecture.partition("For")[0].removesuffix("Model").lower()
    return json.dumps(
        {"architectures": [model.architecture], "model_type": kind, "width": model.width, **more}
    ).encode()


def _tensors(width: int) -> Tensors:
    blocks = {f"blocks.{at}.{part}.weight": (width, width) for at in range(2) for part in ("attention", "mlp")}
    return {"embed.weight": (16, width), **blocks, "norm.weight": (width,), "classifier.weight": (3, width)}


def safetensors(tensors: Tensors, seed: int) -> bytes:
    """A file of random float32 numbers."""
    header, at = {}, 0
    for name, shape in tensors.items():
        end = at + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    draw = Random(seed)  # noqa: S311  # no secret
    return (
        struct.pack("<Q", len(text)) + text + struct.pack(f"<{at // 4}f", *(draw.gauss(0, 1) for _ in range(at // 4)))
    )


def _card(**facts: Any) -> str:
    return f"---\n{json.dumps({'license': 'mit', **facts})}\n---\n# A model\nSome words.\n"


def _some(made: list[Model], draw: Random) -> Model:
    """A model to derive from: mostly one with weights of its own, early ones more often."""
    return made[min(draw.randrange(len(made)), draw.randrange(len(made)))]


def _called(model: Model, draw: Random) -> Any:
    """The many ways in which cards name a parent."""
    former = model.sidecar.get("former_names")
    ways: list[Any] = [
        model.name,
        model.name,
        [model.name],
        model.name.upper(),
        f"https://huggingface.co/{model.name}",
        former[0] if former else model.name,
        former[0] if former else f"nobody/{model.name.partition('/')[2]}",
    ]
    return draw.choice(ways)


def _base(number: int, _: list[Model], draw: Random) -> Model:
    return _trained(number, "base", None, draw, _card(tags=["base"]))


def _finetune(number: int, made: list[Model], draw: Random) -> Model:
    parent = _some(made, draw)
    said = {"base_model_relation": "finetune"} if number % 3 == 0 else {}
    return _trained(number, "finetune", parent, draw, _card(base_model=_called(parent, draw), **said))


def _prose(number: int, made: list[Model], draw: Random) -> Model:
    parent = _some(made, draw)
    former = parent.sidecar.get("former_names", [parent.name])[0]
    address = f"https://huggingface.co/{draw.choice((parent.name, former))}"
    words = f"---\nlicense: mit\n---\nThis model is a fine-tuned version of [{parent.name}]({address}) on texts.\n"
    return _trained(number, "prose", parent, draw, words)


def _adapter(number: int, made: list[Model], draw: Random) -> Model:
    parent = _some(made, draw)
    model = _new(number, "adapter", parent, draw)
    where = draw.choice((parent.name, "./local/path", _called(parent, draw)))
    settings = {"peft_type": "LORA", "r": 2, "base_model_name_or_path": where if isinstance(where, str) else where[0]}
    model.files["adapter_config.json"] = json.dumps(settings).encode()
    model.files["README.md"] = _card(base_model=parent.name, library_name="peft").encode()
    stem = "base_model.model.blocks.0.attention"
    shapes: Tensors = {f"{stem}.lora_A.weight": (2, model.width), f"{stem}.lora_B.weight": (model.width, 2)}
    model.files["adapter_model.safetensors"] = safetensors(shapes, number)
    return model


def _merge(number: int, made: list[Model], draw: Random) -> Model:
    parents = [_some(made, draw) for _ in range(draw.randrange(2, 4))]
    model = _trained(number, "merge", parents[0], draw, _card(base_model=[one.name for one in parents], tags=["merge"]))
    lines = ["merge_method: linear", "dtype: float32", "models:"]
    for parent in parents:
        lines += [f"  - model: {parent.name}", "    parameters:", f"      weight: {draw.randrange(1, 10) / 10}"]
    broken = number % 11 == 0
    model.files["mergekit_config.yml"] = "\n".join([*lines, "  - {" if broken else ""]).encode()
    return model


def _quantized(number: int, made: list[Model], draw: Random) -> Model:
    parent = _some(made, draw)
    model = _trained(number, "quantized", parent, draw, _card(base_model=parent.name, base_model_relation="quantized"))
    model.files["config.json"] = _config(model, quantization_config={"quant_method": "gptq", "bits": 4})
    model.files["quantize_config.json"] = json.dumps({"bits": 4, "model_name_or_path": parent.name}).encode()
    return model


def _copy(number: int, made: list[Model], draw: Random) -> Model:
    """Duplicated on the Hub: equal files, and nothing but the first commit's title says of what."""
    origin = next((one for one in (_some(made, draw) for _ in range(50)) if one.kind == "base"), made[0])
    model = _new(number, "copy", origin, draw)
    model.files = {**origin.files, "README.md": b"---\nlicense: mit\n---\nA copy.\n"}
    title = f"Duplicate from {origin.name}"
    steps = [{"title": f"Step {at}", "date": BEGIN.isoformat()} for at in range(60 if number % 2 else 0)]
    model.sidecar["commit_title"] = "Update README.md" if steps else title
    model.sidecar["commits"] = [*steps, {"title": title, "date": BEGIN.isoformat()}] if steps else []
    return model


def _closed(number: int, made: list[Model], draw: Random) -> Model:
    model = _finetune(number, made, draw)
    model.kind = "closed"
    model.sidecar = draw.choice(({"gated": "auto"}, {"gated": "manual"}, {"disabled": True}, {"private": True}))
    return model


def _bad_card(number: int, made: list[Model], draw: Random) -> Model:
    name = _some(made, draw).name
    cards = (
        f"---\nbase_model: [{name}\n---\nUnclosed bracket.",
        f"---\nbase_model: {name}\nlicense: mit\n\nNo end of the header.",
        f"Words first.\n---\nbase_model: {name}\n---\nAnd more.",
        "---\n- a\n- list\n---\n",
        f"---\nlicense: no\nbase_model: {name}\ntags: one\n---\n",
        "",
    )
    card = draw.choice(cards)
    model = _trained(number, "bad card", _some(made, draw), draw, card)
    if number % 4 == 0:
        model.files["README.md"] = b"---\nlicense: mit\n---\nNot UTF-8: \xff\xfe\x00."
    return model


def _bad_weights(number: int, made: list[Model], draw: Random) -> Model:
    model = _trained(number, "bad weights", _some(made, draw), draw, _card(base_model=_some(made, draw).name))
    path = next(path for path in sorted(model.files) if path.endswith(".safetensors"))
    good = model.files[path]
    spoiled: dict[str, bytes | None] = {
        "short": good[: len(good) // 2],
        "huge header": struct.pack("<Q", 1 << 40) + good[8:],
        "no JSON": good[:8] + b"{" * 100 + good[108:],
        "longer": good + b"1234",
        "empty": b"",
        "missing": None,
    }
    content = spoiled[draw.choice(list(spoiled))]
    if content is None:
        del model.files[path]
        model.files["pytorch_model.bin"] = b"\x80\x02."
    else:
        model.files[path] = content
    return model


def _no_weights(number: int, _: list[Model], draw: Random) -> Model:
    model = _new(number, "no weights", None, draw)
    model.files = draw.choice((
        {"README.md": _card().encode()},
        {"README.md": _card().encode(), "config.json": b"{broken", "pytorch_model.bin": b"\x80\x02."},
        {"model.gguf": b"GGUF"},
    ))  # fmt: skip
    return model


def _knot(number: int, made: list[Model], draw: Random) -> Model:
    """Itself, a circle of two, or two sources that disagree; the other one of a circle may be missing."""
    order = sum(one.kind == "knot" for one in made)
    model = _trained(number, "knot", _some(made, draw), draw, None)
    model.name = f"knots/knot-{order}"
    other = _some(made, draw).name
    cards = (
        _card(base_model=[model.name, other]),
        _card(base_model=f"knots/knot-{order + 1}"),
        _card(base_model=f"knots/knot-{order - 1}"),
        _card(base_model=other, tags=[f"base_model:{_some(made, draw).name}"]),
    )
    model.files["README.md"] = cards[order % len(cards)].encode()
    return model


_KINDS: dict[Callable[[int, list[Model], Random], Model], int] = {
    _base: 6,
    _finetune: 34,
    _prose: 6,
    _adapter: 10,
    _merge: 8,
    _quantized: 7,
    _copy: 5,
    _closed: 5,
    _bad_card: 6,
    _bad_weights: 6,
    _no_weights: 5,
    _knot: 4,
}
