"""Members that cannot be read, or hold numbers that are none, while others are measured."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from house import House, fill, network

from crawler.folder import FolderSource
from db.errors import Transient
from lineage.measure_options import Options


def test_numbers_that_are_none_lose_their_model_alone(house: House) -> None:
    models = fill(house, "a", "b", "c")
    models["b"]["h.0.mlp.weight"][3, 3] = torch.nan
    house.write("b", models["b"])
    house.measure()
    house.check({name: models[name] for name in ("a", "c")})
    assert house.failures() == [("b", "TensorUnusable", "h.0.mlp.weight", False)]
    assert house.measure() == 0
    house.measure(Options(memory=20_000, retry_failed=True))
    assert house.failures() == [("b", "TensorUnusable", "h.0.mlp.weight", False)]
    house.check({name: models[name] for name in ("a", "c")})


class Flaky(FolderSource):
    """A folder whose files cannot be read at times."""

    broken: frozenset[str] = frozenset()
    first = 0  # the byte from which on they cannot be read

    def read_into(self, name: str, sha: str, path: str, start: int, buffer: memoryview) -> None:
        if name.removeprefix("org/") in self.broken and start + len(buffer) > self.first:
            raise Transient("connection reset", model=name, file=path)
        super().read_into(name, sha, path, start, buffer)


@pytest.fixture
def flaky(house: House) -> House:
    house.source = Flaky(house.folder)
    return house


def break_down(house: House, *names: str, first: int = 0) -> None:
    assert isinstance(house.source, Flaky)
    house.source.broken, house.source.first = frozenset(names), first


def last_of(house: House, name: str, tensor: str) -> int:
    """The first byte of a tensor in its file."""
    content = (house.folder / "org" / name / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    return int(8 + length + header[tensor]["data_offsets"][0])


@pytest.mark.parametrize("tensor", ["h.1.mlp.weight", "rotary_emb.inv_freq"])
def test_a_model_that_could_not_be_read_for_a_moment_is_measured_by_the_next_call(flaky: House, tensor: str) -> None:
    models = fill(flaky, "a", "b", "c")
    break_down(flaky, "b", first=last_of(flaky, "b", tensor))
    flaky.measure()
    flaky.check({name: models[name] for name in ("a", "c")})
    assert [row[:2] + row[3:] for row in flaky.failures()] == [("b", "Transient", False)]
    flaky.measure()
    flaky.check({name: models[name] for name in ("a", "c")})
    break_down(flaky)
    flaky.measure()
    flaky.check(models)
    assert [row[:2] + row[3:] for row in flaky.failures()] == [("b", "Transient", True)]


def test_an_old_member_that_is_lost_while_others_are_measured_against_it_comes_back(flaky: House) -> None:
    models = fill(flaky, "a", "b")
    flaky.measure()
    models["c"] = network(9, models["a"])
    flaky.write("c", models["c"])
    break_down(flaky, "a")
    flaky.measure()
    flaky.check({name: models[name] for name in ("b", "c")})
    break_down(flaky)
    flaky.measure()
    flaky.check(models)
    assert flaky.measure() == 0
