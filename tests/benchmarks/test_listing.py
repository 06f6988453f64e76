"""The synthetic listing: deterministic rows, the local Hub's parameters and cursors."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from huggingface_hub import HfApi

from benchmarks.listing import FIELDS, ListingServer
from benchmarks.listing_rows import Row, synthetic_rows
from hublineage.hub.rows import LISTING_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 600


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ListingServer(COUNT, seed=3) as hub:
        yield hub.url


@pytest.fixture(scope="module")
def made() -> list[Row]:
    return list(synthetic_rows(COUNT, seed=3))


def walk(url: str, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    following: str | None = f"{url}/api/models?{query}"
    with httpx2.Client() as client:
        while following:
            reply = client.get(following)
            assert reply.status_code == 200
            found += reply.json()
            following = reply.links.get("next", {}).get("url")
    return found


def test_rows_are_the_same_for_a_seed_and_of_realistic_size(made: list[Row]) -> None:
    assert made == list(synthetic_rows(COUNT, seed=3))
    assert made != list(synthetic_rows(COUNT, seed=4))
    sizes = sorted(sum(len(name) + len(value) + 4 for name, value in row.fields.items()) for row in made)
    assert sizes[COUNT // 20] > 1000
    assert sizes[-COUNT // 20] < 4000
    assert {name for row in made for name in row.fields} == set(FIELDS)
    assert [row.created_ms for row in made] == sorted(row.created_ms for row in made)
    assert len({row.created_ms for row in made}) < COUNT, "some were created in one millisecond"


def test_parents_are_named_in_every_form_of_the_wild(made: list[Row]) -> None:
    names = {json.loads(row.fields["id"]) for row in made}
    forms: Counter[str] = Counter()
    for row in made:
        stated = json.loads(row.fields["cardData"]).get("base_model")
        kind = type(stated).__name__
        if isinstance(stated, str):
            kind = "known" if stated in names else "legacy" if "/" not in stated else "other"
            kind = "address" if stated.startswith("https:") else "path" if stated[0] in "./" else kind
        forms[kind] += 1
    assert set(forms) == {"NoneType", "list", "known", "legacy", "other", "address", "path"}


@pytest.mark.parametrize("sort", ["createdAt", "lastModified", "downloads", "likes", "trendingScore"])
@pytest.mark.parametrize("direction", [1, -1])
def test_pages_are_in_order_and_neither_skip_nor_repeat(
    server: str, made: list[Row], sort: str, direction: int
) -> None:
    found = walk(server, f"sort={sort}&direction={direction}&limit=150&expand={sort}")
    keys = {row.hub_id: json.loads(row.fields[sort]) for row in made}
    expected = sorted(keys)
    expected.sort(key=lambda hub_id: keys[hub_id], reverse=direction == -1)
    assert [row["_id"] for row in found] == expected


def test_rows_carry_the_fields_asked_for(server: str, made: list[Row]) -> None:
    query = "&".join(f"expand={name}" for name in LISTING_FIELDS)
    whole = {row["_id"]: row for row in walk(server, f"sort=createdAt&direction=1&{query}")}
    assert whole == {row.hub_id: {key: json.loads(value) for key, value in row.fields.items()} for row in made}
    bare = walk(server, "limit=1000")[0]
    assert set(bare) >= {"_id", "id", "tags", "likes", "createdAt"}
    assert "config" not in bare
    assert httpx2.get(f"{server}/api/models?expand=childrenModelCount").status_code == 400


def test_the_real_client_filters(server: str, made: list[Row]) -> None:
    api = HfApi(endpoint=server, token=False)
    author = json.loads(made[5].fields["author"])
    assert {model.author for model in api.list_models(author=author, expand=["author"])} == {author}
    adapters = [row for row in made if json.loads(row.fields["library_name"]) == "peft"]
    assert len(list(api.list_models(filter="peft"))) == len(adapters)
    assert len(list(api.list_models(search=json.loads(made[7].fields["id"])))) == 1
    assert all(model.gated for model in api.list_models(gated=True, expand=["gated"]))
