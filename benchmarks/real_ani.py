"""Real networks by others: the ANI potentials, whose lineage is published.

    python -m benchmarks.real_ani [--wheel FILE] [--out DIR]
    python -m benchmarks.real_ani [--wheel FILE] --zoo DIR     writes a zoo for other benchmarks, and runs nothing

ANI-1ccx was made from ANI-1x by transfer learning, network by network (Smith et al., Nature Communications 10:2903,
2019: half of the layers frozen): eight trees of one edge each. The package torchani 1.2 holds both ensembles as plain
files of float32 numbers; it is downloaded through pip unless --wheel has it, never installed and none of its code is
run. Each of the 16 networks becomes a Hub folder, the main job runs on them, and its answer is held against the
published lineage.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

PACKAGE = "torchani==1.2"
ENSEMBLES = {"ani-1x_8x": "ani-1x", "ani-1ccx_8x": "ani-1ccx"}
ELEMENTS = "HCNO"
_SIZES = re.compile(r"nodes=(\d+)|blocksize=(\d+)")


def download(folder: Path) -> Path:
    """Fetch the package's wheel, without what it depends on."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        str(folder),
    ]
    subprocess.run([*command, PACKAGE], check=True)  # noqa: S603  # pip, with constant arguments
    return next(folder.glob("torchani-1.2-*.whl"))


def network(wheel: zipfile.ZipFile, folder: str) -> dict[str, NDArray[np.float32]]:
    """The tensors of one network: per element four layers of weights (outputs x inputs) and biases."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for element in ELEMENTS:
        for layer in range(1, 5):
            name = f"{folder}/networks/ANN-{element}.nnf-l{layer}"
            bias = _numbers(wheel.read(f"{name}.bparam"))
            weight = _numbers(wheel.read(f"{name}.wparam")).reshape(len(bias), -1)
            tensors[f"{element}.{2 * (layer - 1)}.weight"] = weight
            tensors[f"{element}.{2 * (layer - 1)}.bias"] = bias
    return tensors


def _numbers(data: bytes) -> NDArray[np.float32]:
    return np.array(struct.unpack(f"<{len(data) // 4}f", data), dtype=np.float32)


def write_hub(wheel_path: Path, out: Path) -> dict[str, str | None]:
    """Write the 16 networks as Hub folders; return the true parent of each."""
    truth: dict[str, str | None] = {}
    with zipfile.ZipFile(wheel_path) as wheel:
        for resource, organisation in ENSEMBLES.items():
            for number in range(8):
                name = f"{organisation}/m{number}"
                folder = out / name
                folder.mkdir(parents=True, exist_ok=True)
                tensors = network(wheel, f"torchani/resources/{resource}/train{number}")
                save_file(tensors, folder / "model.safetensors")
                config = {"architectures": ["ANIModel"], "model_type": "ani"}
                (folder / "config.json").write_text(json.dumps(config))
                truth[name] = f"ani-1x/m{number}" if organisation == "ani-1ccx" else None
    return truth


def write_zoo(wheel_path: Path, out: Path) -> None:
    """The 16 networks with their published lineage in truth.json, as zoos have it."""
    told = {
        name: {
            "family": "ani",
            "parents": [parent] if parent else [],
            "relation": "finetune" if parent else "root",
            "stage": "specialisation" if parent else "generalisation",
            "measured": True,
        }
        for name, parent in write_hub(wheel_path, out).items()
    }
    content = {"seed": 0, "generator": "benchmarks.real_ani", "zoo": "ani 8 x 1^1", "models": told}
    (out / "truth.json").write_text(json.dumps(content, indent=1) + "\n")


def main() -> int:
    """Run the main job on the 16 networks, by weights only, and print how it did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep the Hub folders and the database here")
    parser.add_argument("--method", default="recover", help="recover, mother, phylogeny or detector")
    parser.add_argument("--wheel", type=Path, help="the package, where it was downloaded before")
    parser.add_argument("--zoo", type=Path, help="write the networks and their lineage there, and stop")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.out or Path(scratch)
        hub = work / "hub"
        wheel = arguments.wheel or download(Path(scratch))
        if arguments.zoo:
            write_zoo(wheel, arguments.zoo)
            return 0
        truth = write_hub(wheel, hub)
        command = [sys.executable, "-m", "hublineage", "run", "--folder", str(hub), "--data-dir", str(work / "data")]
        command += ["--weights-only", "--method", arguments.method, "--json"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603  # our own program
        return report(json.loads(done.stdout), truth)


def report(result: dict[str, Any], truth: dict[str, str | None]) -> int:
    """Print trees and edges against the truth; return 0 if all are right."""
    trees = [tree for family in result["families"] for tree in family["trees"]]
    edges = [edge for tree in trees for edge in tree["edges"]]
    pairs = [tree for tree in trees if _is_pair(sorted(tree["models"]), truth)]
    right = [edge for edge in edges if truth[edge["child"]] == edge["parent"]]
    for edge in edges:
        mark = "right" if edge in right else "WRONG"
        print(f"{edge['parent']} -> {edge['child']}  {mark}  confidence {edge['confidence']}")
    print(f"trees: {len(trees)}, of which {len(pairs)} are a published pair (of 8)")
    print(f"directed edges right: {len(right)} of 8")
    return 0 if len(trees) == len(pairs) == len(right) == 8 else 1


def _is_pair(models: list[str], truth: dict[str, str | None]) -> bool:
    return len(models) == 2 and truth[models[0]] == models[1]


if __name__ == "__main__":
    sys.exit(main())
