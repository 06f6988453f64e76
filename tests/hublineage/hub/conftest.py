"""A small folder of models, and the real server over it."""

from __future__ import annotations

import json
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import huggingface_hub
import numpy as np
import pytest
from safetensors.numpy import save

from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class WriteModel(Protocol):
    """Writes a model folder: files by path, the sidecar's fields by name."""

    def __call__(self, name: str, files: dict[str, Any] | None = None, **sidecar: Any) -> Path: ...


def write(root: Path, name: str, files: dict[str, Any] | None = None, **sidecar: Any) -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in (files or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps(content) if isinstance(content, dict) else content
        (folder / path).write_bytes(data.encode() if isinstance(data, str) else data)
    if sidecar:
        (folder / ".hub.json").write_text(json.dumps(sidecar))
    return folder


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    return partial(write, tmp_path / "hub")


def weights(seed: int, rows: int = 40) -> bytes:
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "encoder.weight": rng.normal(size=(rows, 16)).astype(np.float32),
        "head.bias": np.zeros(3, dtype=np.float16),
    }
    return bytes(save(tensors))


@pytest.fixture
def hub_folder(served: Path) -> Path:
    """A root, a fine-tune of it, an adapter, a gated, a disabled, a private and an empty repository, written anew."""
    for old in served.iterdir():
        shutil.rmtree(old)
    write_model = partial(write, served)
    config = {"architectures": ["ViTForImageClassification"], "model_type": "vit", "hidden_size": 16}
    write_model(
        "acme/Base-ViT",
        {
            "model.safetensors": weights(0),
            "config.json": config,
            "README.md": "---\nlicense: mit\nlanguage: no\nlibrary_name: transformers\n---\n# Base\n",
            "onnx/config.json": "{}",
            "onnx/deep/model.onnx": b"onnx",
        },
        created_at="2023-01-01T10:00:00Z",
        last_modified="2023-02-01T10:00:00Z",
        likes=7,
        downloads=100,
        commit_title="Duplicate from elsewhere/base",
    )
    card = (
        "---\nbase_model: acme/Base-ViT\ntags: [demo, 3]\ndatasets: food\n---\nSee https://arxiv.org/abs/2405.18432\n"
    )
    write_model(
        "acme/child",
        {"model.safetensors": weights(1), "config.json": config, "README.md": card},
        created_at="2024-01-01T00:00:00Z",
        downloads=100,
        pipeline_tag="image-classification",
    )
    write_model(
        "lab/adapter",
        {
            "adapter_model.safetensors": weights(2),
            "adapter_config.json": {"base_model_name_or_path": "acme/Base-ViT", "task_type": "IMAGE"},
            "README.md": "---\nbase_model:\n- acme/base-vit\n- ./local/path\n---\n",
        },
        created_at="2024-03-01T00:00:00.250Z",
        downloads=5,
    )
    write_model("lab/gated", {"model.safetensors": weights(3)}, gated="auto", created_at="2024-04-01T00:00:00Z")
    write_model("lab/disabled", {"config.json": "{}"}, disabled=True, created_at="2024-05-01T00:00:00Z")
    write_model("lab/private", {"config.json": "{}"}, private=True, created_at="2024-06-01T00:00:00Z")
    write_model("lab/empty", created_at="2024-07-01T00:00:00Z")
    return served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "hub"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def server(served: Path) -> Iterator[tuple[HubServer, Faults]]:
    """One server for all tests: it looks at its folder anew at every request."""
    faults = Faults()
    with HubServer(served, faults=faults, tokens=["hf_member"]) as hub:
        yield hub, faults
        huggingface_hub.close_session()


@pytest.fixture
def faults(server: tuple[HubServer, Faults]) -> Iterator[Faults]:
    yield server[1]
    server[1].clear()


@pytest.fixture
def hub(server: tuple[HubServer, Faults], hub_folder: Path) -> HubServer:
    server[1].clear()
    return server[0]


@pytest.fixture
def api(hub: HubServer) -> huggingface_hub.HfApi:
    return huggingface_hub.HfApi(endpoint=hub.url, token=False)
