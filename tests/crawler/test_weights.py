"""Which files of a repository hold its weights."""

from __future__ import annotations

import pytest

from crawler.weights import WeightFiles, likely_weights, weight_files
from db.errors import WeightsMissing


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["README.md", "model.safetensors", "adapter_model.safetensors"], WeightFiles(None, ("model.safetensors",))),
        (
            ["model.safetensors.index.json", "model-00001-of-00002.safetensors"],
            WeightFiles("model.safetensors.index.json", ()),
        ),
        (["adapter_model.safetensors"], WeightFiles(None, ("adapter_model.safetensors",))),
        (["vae/x.safetensors", "style.safetensors"], WeightFiles(None, ("style.safetensors",))),
        (
            ["m-00002-of-00002.safetensors", "m-00001-of-00002.safetensors"],
            WeightFiles(None, ("m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors")),
        ),
    ],
)
def test_weights_are_found(paths: list[str], expected: WeightFiles) -> None:
    assert weight_files(paths) == expected


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([], "holds no weights"),
        (["pytorch_model.bin"], "pytorch_model.bin, a format that is not loaded"),
        (["vae/x.safetensors"], "only vae/x.safetensors"),
        (["a.safetensors", "b.safetensors"], "no index"),
        (["m-00002-of-00002.safetensors"], "m-00001-of-00002.safetensors is not there"),
        (["m-00001-of-00001.safetensors", "n-00001-of-00001.safetensors"], "no index"),
        (["m-00001-of-999999.safetensors"], "is not there"),
    ],
)
def test_what_is_there_instead_is_said(paths: list[str], words: str) -> None:
    with pytest.raises(WeightsMissing) as caught:
        weight_files(paths)
    assert words in str(caught.value)


def test_what_is_likely_to_be_weights_is_told_by_names() -> None:
    assert likely_weights(["README.md", "model.safetensors", "pytorch_model.bin"]) == {"model.safetensors"}
    assert likely_weights(["pytorch_model.bin", "training_args.bin", "onnx/model.onnx"]) == {
        "pytorch_model.bin",
        "onnx/model.onnx",
    }
    assert likely_weights(["unet/model.safetensors"]) == {"unet/model.safetensors"}
    assert likely_weights(["optimizer.pt", "README.md"]) == set()
