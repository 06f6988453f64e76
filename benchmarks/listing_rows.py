"""Synthetic rows of the Hub's listing: of realistic size, mixed as the Hub is, the same ones for the same seed."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_MS, LAST_MS = 1_646_000_000_000, 1_790_000_000_000  # createdAt runs from March 2022 to September 2026
_EPOCH = date(1970, 1, 1).toordinal()
_TIED = 0.05  # share of rows created in the same millisecond as the one before
# (architecture, model_type, task, layers, width, vocabulary)
_KINDS = (
    ("LlamaForCausalLM", "llama", "text-generation", 32, 4096, 128_256),
    ("Qwen2ForCausalLM", "qwen2", "text-generation", 28, 3584, 152_064),
    ("MistralForCausalLM", "mistral", "text-generation", 32, 4096, 32_768),
    ("Gemma2ForCausalLM", "gemma2", "text-generation", 26, 2304, 256_000),
    ("BertForSequenceClassification", "bert", "text-classification", 12, 768, 30_522),
    ("RobertaForTokenClassification", "roberta", "token-classification", 12, 768, 50_265),
    ("ViTForImageClassification", "vit", "image-classification", 12, 768, 1_000),
    ("Wav2Vec2ForCTC", "wav2vec2", "automatic-speech-recognition", 24, 1024, 32),
    ("T5ForConditionalGeneration", "t5", "text2text-generation", 24, 768, 32_128),
    ("GPT2LMHeadModel", "gpt2", "text-generation", 12, 768, 50_257),
)
_LEGACY = ("bert-base-uncased", "gpt2", "t5-small", "roberta-base", "distilbert-base-uncased", "xlm-roberta-base")
_LANGUAGES = ("en", "fr", "de", "es", "zh", "ja", "no", "hi", "ar", "pt")
_LICENSES = ("apache-2.0", "mit", "llama3.1", "cc-by-nc-4.0", "other", "gemma")
_WORDS = ("instruct", "chat", "sft", "dpo", "lora", "tuned", "v2", "reasoning", "medical", "code", "roleplay", "tiny")
_DATASETS = ("HuggingFaceH4/ultrachat_200k", "tatsu-lab/alpaca", "squad", "glue", "common_voice", "allenai/tulu-3-sft")
_RELATIONS = ("finetune", "adapter", "quantized", "merge")
_CHAT_TEMPLATE = "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}{% endfor %}" * 4
_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Row:
    """One row: what it is sorted by, and the JSON of its fields."""

    hub_id: str
    created_ms: int
    modified_ms: int
    downloads: int
    likes: int
    trending: int
    fields: dict[str, str]  # name -> JSON; what has no value is not there


@dataclass(frozen=True)
class _Known:
    """What later rows need to know of an earlier one."""

    name: str
    hub_id: str
    kind: int


def synthetic_rows(count: int, seed: int = 0) -> Iterator[Row]:
    """`count` rows by createdAt."""
    rng = random.Random(seed)  # noqa: S311  # no secret
    known: list[_Known] = []
    step = (LAST_MS - FIRST_MS) / max(count, 1)
    created = FIRST_MS
    for number in range(count):
        if rng.random() >= _TIED:
            created = max(created, int(FIRST_MS + step * (number + rng.random())))
        row, known_row = _row(rng, number, created, known)
        known.append(known_row)
        yield row


def _row(rng: random.Random, number: int, created: int, known: list[_Known]) -> tuple[Row, _Known]:
    parents, relation = _parents(rng, known)
    kind = parents[0].kind if parents else rng.randrange(len(_KINDS))
    author = f"{rng.choice(('lab', 'user', 'team', 'ai'))}-{int(rng.random() ** 2 * 30_000)}"
    name = f"{author}/{_KINDS[kind][1]}-{rng.choice(_WORDS)}-{rng.choice(_WORDS)}-{number}"
    hub_id = f"{created // 1000:08x}{rng.getrandbits(64):016x}"
    modified = created if rng.random() < 0.3 else min(created + int(rng.expovariate(1 / 3e9)), LAST_MS)
    downloads = int(rng.paretovariate(0.7)) - 1
    likes = int(rng.paretovariate(1.2)) - 1
    fields = _fields(rng, name, kind, relation, _stated(rng, name, parents, known), parents)
    fields |= {
        "_id": f'"{hub_id}"',
        "id": f'"{name}"',
        "author": f'"{author}"',
        "sha": f'"{rng.getrandbits(160):040x}"',
        "createdAt": f'"{iso(created)}"',
        "lastModified": f'"{iso(modified)}"',
        "downloads": str(min(downloads, 10**8)),
        "likes": str(min(likes, 10**5)),
        "trendingScore": str(min(likes, 10**5) // 10),
        "gated": rng.choices(("false", '"auto"', '"manual"'), (95, 3, 2))[0],
        "private": "false",
        "disabled": "false" if rng.random() < 0.999 else "true",
    }
    row = Row(
        hub_id, created, modified, int(fields["downloads"]), int(fields["likes"]), int(fields["trendingScore"]), fields
    )
    return row, _Known(name, hub_id, kind)


def _parents(rng: random.Random, known: list[_Known]) -> tuple[list[_Known], str]:
    """Earlier rows, the first ones more often, and the relation to them; none for roots and for what is not said."""
    relation = rng.choices(("root", *_RELATIONS), (22, 38, 23, 14, 3))[0]
    if relation == "root" or not known:
        return [], "root"
    count = rng.randint(2, 4) if relation == "merge" else 1
    return [known[int(len(known) * rng.random() ** 4)] for _ in range(count)], relation


def _stated(rng: random.Random, name: str, parents: list[_Known], known: list[_Known]) -> str | list[str] | None:
    """What the card's base_model says, in the forms found in the wild."""
    if not parents:
        return None
    names = [parent.name for parent in parents]
    if len(names) > 1:
        return names
    form = rng.random()
    for share, found in (
        (0.44, names[0]),
        (0.84, names),
        (0.87, f"https://huggingface.co/{names[0]}"),
        (0.91, rng.choice(_LEGACY)),
        (0.94, rng.choice(("./", "/home/user/models/", "../downloads/")) + names[0].partition("/")[2]),
        (0.97, f"gone/{names[0].partition('/')[2]}"),
        (0.975, name),
        (0.98, known[-1].name),
        (0.99, names[0].upper()),
    ):
        if form < share:
            return found
    return None  # the prose alone names it


def _fields(
    rng: random.Random,
    name: str,
    kind: int,
    relation: str,
    stated: str | list[str] | None,
    parents: list[_Known],
) -> dict[str, str]:
    """The fields that follow from what kind of model it is."""
    architecture, model_type, task, layers, width, vocabulary = _KINDS[kind]
    library = "peft" if relation == "adapter" else "transformers"
    told = [stated] if isinstance(stated, str) else stated or []
    license_name = rng.choice(_LICENSES)
    languages = rng.sample(_LANGUAGES, rng.choices((0, 1, 3, 8), (3, 5, 1, 1))[0])
    datasets = rng.sample(_DATASETS, rng.randint(0, 2))
    is_gguf = relation == "quantized" and rng.random() < 0.6
    shards = 1 if width < 2000 else rng.choice((1, 2, 4, 6))
    tags = [
        library, *(["gguf"] if is_gguf else ["safetensors", model_type]), task, *rng.sample(_WORDS, 3),
        "generated_from_trainer", *languages, *(f"dataset:{each}" for each in datasets), "arxiv:1910.09700",
        *(f"base_model:{each}" for each in told), *(f"base_model:{relation}:{each}" for each in told),
        f"license:{license_name}", "endpoints_compatible", "region:us",
    ]  # fmt: skip
    card = {
        **({"language": languages} if languages else {}),
        "library_name": library,
        "license": license_name,
        **({"base_model": stated} if stated else {}),
        **({"base_model_relation": relation} if stated and rng.random() < 0.05 else {}),
        **({"datasets": datasets} if datasets else {}),
        "tags": ["generated_from_trainer"],
        "model-index": [{"name": name.partition("/")[2], "results": _results(rng, task)}],
    }
    found = {
        "tags": tags,
        "pipeline_tag": task,
        "library_name": library,
        "siblings": [{"rfilename": path} for path in _files(rng, name, relation, shards, is_gguf=is_gguf)],
        "config": _config(rng, architecture, model_type, relation, told),
        "cardData": card,
    }
    real = [parent for parent in parents if parent.name in told]
    if real:
        models = [{"_id": parent.hub_id, "id": parent.name} for parent in real]
        found["baseModels"] = {"relation": relation, "models": models}
    parameters = layers * 12 * width * width + vocabulary * width
    if is_gguf:
        found["gguf"] = {"total": parameters, "architecture": model_type, "context_length": 32_768}
    elif relation != "adapter":
        dtype = "BF16" if width > 2000 else "F32"
        found["safetensors"] = {"parameters": {dtype: parameters}, "total": parameters}
    return {field: _json(value) for field, value in found.items()}


def _files(rng: random.Random, name: str, relation: str, shards: int, *, is_gguf: bool) -> list[str]:
    short = name.partition("/")[2]
    files = [".gitattributes", "README.md"]
    if is_gguf:
        return files + [f"{short}.{level}.gguf" for level in ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0")]
    if relation == "adapter":
        files += ["adapter_config.json", "adapter_model.safetensors"]
    else:
        files += ["config.json", "generation_config.json"]
        files += ["model.safetensors"] if shards == 1 else ["model.safetensors.index.json"]
        files += [f"model-{at:05d}-of-{shards:05d}.safetensors" for at in range(1, shards + 1) if shards > 1]
    files += ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "training_args.bin"]
    for at in range(rng.choices((0, 2, 6), (6, 2, 2))[0]):
        inside = f"checkpoint-{(at + 1) * 500}"
        files += [f"{inside}/{each}" for each in ("config.json", "model.safetensors", "trainer_state.json")]
    return files


def _config(
    rng: random.Random, architecture: str, model_type: str, relation: str, told: list[str]
) -> dict[str, object]:
    tokenizer: dict[str, object] = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": None}
    if rng.random() < 0.4:
        tokenizer["chat_template"] = _CHAT_TEMPLATE
    config: dict[str, object] = {"tokenizer_config": tokenizer}
    if relation == "adapter":
        config["peft"] = {"base_model_name_or_path": (told or ["unknown"])[0], "task_type": "CAUSAL_LM"}
        return config
    config = {"architectures": [architecture], "model_type": model_type, **config}
    if relation == "quantized":
        config["quantization_config"] = {"bits": 4, "quant_method": rng.choice(("awq", "gptq", "bitsandbytes"))}
    return config


def _results(rng: random.Random, task: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = [
        {
            "task": {"type": task},
            "dataset": {"name": "evaluation", "type": "evaluation"},
            "metrics": [{"name": "Accuracy", "type": "accuracy", "value": round(rng.random(), 4)}],
        }
    ]
    return found[: rng.randint(0, 1)]


def iso(milliseconds: int) -> str:
    """A moment, milliseconds since 1970, as the API writes it."""
    seconds, rest = divmod(milliseconds, 1000)
    days, second = divmod(seconds, 86_400)
    return (
        f"{date.fromordinal(_EPOCH + days)}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{rest:03d}Z"
    )
