"""A folder of models and the database that it is crawled and measured into: what several tests build on."""

from __future__ import annotations

from pathlib import Path

import builders
import numpy as np
import torch
from safetensors.torch import save_file
from sqlalchemy import Engine, select

from crawler.folder import FolderSource
from crawler.hub import HubSource
from crawler.pipeline import crawl
from crawler.source import Query
from db import measurements
from db.engine import transaction
from db.models import FailureRow, MeasureBatch, Repository
from lineage.family import FamilyMeasures
from lineage.measure import measure_family
from lineage.measure_options import Options
from lineage.stored import load_measures

Tensors = dict[str, torch.Tensor]

SHAPES = {"wte.weight": (40, 16), "h.0.mlp.weight": (16, 64), "h.1.mlp.weight": (16, 64), "h.0.ln.bias": (16,)}
SMALL = Options(memory=20_000)


def network(seed: int, parent: Tensors | None = None) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    fresh = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    if parent is None:
        return {**fresh, "rotary_emb.inv_freq": torch.arange(8.0)}
    return {name: values + 0.1 * fresh[name] if name in fresh else values for name, values in parent.items()}


class House:
    """A folder of models and the database that it is crawled into."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder, self.engine = folder, engine
        folder.mkdir(exist_ok=True)
        self.source: FolderSource | HubSource = FolderSource(folder)

    def write(self, name: str, tensors: Tensors, **metadata: str) -> None:
        """Write a model; metadata makes files with equal numbers differ."""
        path = self.folder / "org" / name / "model.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path, metadata or None)

    def crawl(self) -> int:
        """Crawl, and return the one family's id."""
        crawled = crawl(self.engine, self.source, Query())
        with transaction(self.engine) as session:
            (family,) = measurements.families(session, crawled.source_id)
            return family.id

    def measure(self, options: Options = SMALL) -> int:
        return measure_family(self.engine, self.crawl(), "family", self.source, options=options)

    def load(self) -> tuple[FamilyMeasures, list[str]]:
        """The stored measures, and the names of their members."""
        family = self.crawl()
        with transaction(self.engine) as session:
            names = {member.revision_id: member.name for member in measurements.members(session, family)}
            found = load_measures(session, family)
        return found, [names[member].removeprefix("org/") for member in found.members]

    def batches(self) -> list[MeasureBatch]:
        with transaction(self.engine) as session:
            return list(session.scalars(select(MeasureBatch).order_by(MeasureBatch.id)))

    def failures(self) -> list[tuple[str, str, str | None, bool]]:
        """Model, kind, tensor and whether it is overcome."""
        query = select(Repository.name, FailureRow.kind, FailureRow.tensor, FailureRow.resolved_at).join(
            Repository, Repository.id == FailureRow.repository_id
        )
        with transaction(self.engine) as session:
            rows = session.execute(query.order_by(Repository.name)).all()
        return [(name.removeprefix("org/"), kind, tensor, at is not None) for name, kind, tensor, at in rows]

    def check(self, models: dict[str, Tensors]) -> FamilyMeasures:
        """What is stored of these models, and of no others, is what direct computation gives."""
        found, names = self.load()
        assert set(names) == set(models)
        chosen = [{name: values.double().numpy() for name, values in models[one].items()} for one in names]
        expected = builders.measured(chosen, found.layers, slopes=True)
        numeric = [index for index, layer in enumerate(found.layers) if layer.kind != "buffer"]
        for name, digits in (("squared_norm", 1e-9), ("variance", 1e-9), ("kurtosis", 1e-9), ("zeros", 0)):
            np.testing.assert_allclose(getattr(found, name)[numeric], getattr(expected, name)[numeric], rtol=digits)
        np.testing.assert_array_equal(found.count, expected.count)
        np.testing.assert_allclose(found.squared_distance[numeric], expected.squared_distance[numeric], rtol=1e-6)
        for layer in numeric:
            zero = expected.squared_distance[layer] == 0
            np.testing.assert_array_equal(found.squared_distance[layer] == 0, zero)
            for n, one in enumerate(found.digest[layer]):
                same = [other == one and bool(one) for other in found.digest[layer]]
                assert same == zero[n].tolist()
        return found


def fill(house: House, *names: str) -> dict[str, Tensors]:
    root = network(0)
    models = {name: root if index == 0 else network(index, root) for index, name in enumerate(names)}
    for name, tensors in models.items():
        house.write(name, tensors)
    return models


def same(parent: Tensors) -> Tensors:
    """Layers that a child left as they were."""
    return {"h.0.mlp.weight": parent["h.0.mlp.weight"], "h.0.ln.bias": parent["h.0.ln.bias"]}
