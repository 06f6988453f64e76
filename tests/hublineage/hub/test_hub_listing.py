"""GET /api/models through the real client."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hublineage.hub.listing import Cursor
from hublineage.hub.rows import LISTING_FIELDS
from hublineage.hub.server import HubServer

if TYPE_CHECKING:
    from pathlib import Path

    from huggingface_hub import HfApi

BY_CREATION = ["acme/Base-ViT", "acme/child", "lab/adapter", "lab/gated", "lab/disabled", "lab/empty"]


def names(api: HfApi, **query: Any) -> list[str]:
    return [model.id for model in api.list_models(**query)]


def get(hub: HubServer, query: str, **options: Any) -> httpx2.Response:
    return httpx2.get(f"{hub.url}/api/models?{query}", **options)


def test_every_public_repository_is_listed_by_trending_score_then_age(api: HfApi) -> None:
    assert names(api) == BY_CREATION


def test_filters_of_the_real_client_select_repositories(api: HfApi) -> None:
    assert names(api, author="acme") == ["acme/Base-ViT", "acme/child"]
    assert names(api, search="CHILD") == ["acme/child"]
    assert names(api, gated=True) == ["lab/gated"]
    assert "lab/gated" not in names(api, gated=False)
    assert names(api, pipeline_tag="image-classification") == ["acme/Base-ViT", "acme/child"]
    assert names(api, filter=["vit", "safetensors", "license:mit"]) == ["acme/Base-ViT"]
    assert names(api, filter="base_model:acme/Base-ViT") == ["acme/child"]
    assert names(api, filter="base_model:finetune:acme/Base-ViT") == ["acme/child"]
    assert names(api, filter="base_model:adapter:acme/base-vit") == ["lab/adapter"]
    assert names(api, filter="peft") == ["lab/adapter"]


def test_sorts_are_descending_with_equal_keys_by_id(api: HfApi, hub: HubServer) -> None:
    assert names(api, sort="created_at") == BY_CREATION[::-1]
    assert names(api, sort="downloads")[:3] == ["acme/Base-ViT", "acme/child", "lab/adapter"]
    ascending = get(hub, "sort=createdAt&direction=1").json()
    assert [row["id"] for row in ascending] == BY_CREATION


@pytest.mark.parametrize(
    "query", ["", "sort=createdAt&direction=1", "sort=createdAt", "sort=downloads", "sort=lastModified"]
)
def test_pages_of_any_size_join_to_the_whole_listing(hub: HubServer, query: str) -> None:
    whole = [row["id"] for row in get(hub, query).json()]
    with httpx2.Client() as client:
        for limit in range(1, 8):
            found, address = [], f"{hub.url}/api/models?{query}&limit={limit}&filter=region:us"
            while address:
                reply = client.get(address)
                found += [row["id"] for row in reply.json()]
                address = reply.links.get("next", {}).get("url", "")
            assert found == whole


def test_the_real_client_follows_the_pages(hub_folder: Path, api: HfApi, hub: HubServer) -> None:
    for number in range(1, 1003):
        (hub_folder / "many" / f"m{number:04d}").mkdir(parents=True)
    assert len(names(api, author="many")) == 1002
    assert len(get(hub, "author=many&limit=5000").json()) == 1000


def test_the_cursor_is_a_keyset_as_on_the_hub(hub: HubServer) -> None:
    reply = get(hub, "sort=downloads&limit=1")
    cursor = httpx2.URL(reply.links["next"]["url"]).params["cursor"]
    last = reply.json()[0]
    assert json.loads(base64.b64decode(cursor)) == {
        "$or": [{"downloads": 100, "_id": {"$gt": last["_id"]}}, {"downloads": {"$lt": 100}}, {"downloads": None}]
    }


def test_a_repository_added_between_pages_moves_no_other(hub: HubServer, hub_folder: Path) -> None:
    first = get(hub, "sort=createdAt&direction=1&limit=2")
    (hub_folder / "zoo/newest").mkdir(parents=True)
    rest = httpx2.get(first.links["next"]["url"] + "&limit=100")
    assert [row["id"] for row in first.json() + rest.json()][: len(BY_CREATION)] == BY_CREATION


@settings(deadline=None)
@given(st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        Cursor.decode(text, "downloads")


@settings(deadline=None)
@given(st.integers(), st.text(), st.booleans())
def test_a_cursor_survives_its_encoding(key: int, hub_id: str, ascending: bool) -> None:
    cursor = Cursor(key, hub_id)
    assert Cursor.decode(cursor.encode("likes", ascending=ascending), "likes") == cursor


def test_bare_rows_carry_what_the_hub_carries(hub: HubServer) -> None:
    row = next(row for row in get(hub, "").json() if row["id"] == "acme/child")
    assert set(row) == {
        *("_id", "id", "modelId", "likes", "trendingScore", "private", "downloads", "tags", "createdAt"),
        "pipeline_tag",
    }
    assert row["_id"].startswith(f"{1704067200:08x}")
    assert len(row["_id"]) == 24
    assert row["createdAt"] == "2024-01-01T00:00:00.000Z"


def test_full_card_data_and_config_add_their_fields(api: HfApi) -> None:
    base = next(iter(api.list_models(author="acme", full=True, cardData=True, fetch_config=True)))
    assert base.author == "acme"
    assert base.sha
    assert base.gated is False
    assert base.config == {"architectures": ["ViTForImageClassification"], "model_type": "vit"}
    assert base.card_data is not None
    assert base.card_data.license == "mit"
    assert base.card_data.language == "no"
    assert {sibling.rfilename for sibling in base.siblings or []} >= {"model.safetensors", "onnx/deep/model.onnx"}


def test_expand_replaces_every_other_field(hub: HubServer, api: HfApi) -> None:
    assert set(get(hub, "expand=sha&expand=gated&author=acme").json()[0]) == {"_id", "id", "sha", "gated"}
    expanded = {model.id: model for model in api.list_models(expand=["baseModels", "safetensors", "config", "tags"])}
    base_id = get(hub, "author=acme").json()[0]["_id"]
    base_models: Any = expanded["acme/child"].base_models  # the client's type hint says list
    assert base_models == {"relation": "finetune", "models": [{"_id": base_id, "id": "acme/Base-ViT"}]}
    assert expanded["lab/empty"].base_models is None
    assert expanded["acme/Base-ViT"].safetensors == {"parameters": {"F32": 640, "F16": 3}, "total": 643}


def test_a_refused_expand_names_the_valid_ones(hub: HubServer) -> None:
    reply = get(hub, "expand=childrenModelCount")
    assert reply.status_code == 400
    assert all(f'"{name}"' in reply.json()["error"] for name in LISTING_FIELDS)


def test_listings_can_refuse_what_the_hub_refused_before(hub_folder: Path) -> None:
    with HubServer(hub_folder, listing_expands=["sha", "tags"]) as hub:
        assert get(hub, "expand=baseModels").status_code == 400
        assert get(hub, "expand=tags&expand[]=sha").status_code == 200


@pytest.mark.parametrize("query", ["sort=name", "limit=many", "cursor=%00", "num_parameters=min:1B", "gated=perhaps"])
def test_what_cannot_be_answered_is_a_bad_request(hub: HubServer, query: str) -> None:
    reply = get(hub, query)
    assert reply.status_code == 400
    assert reply.headers["x-error-message"]


def test_private_repositories_are_listed_only_with_a_token_that_opens_them(hub: HubServer) -> None:
    def listed(token: str) -> bool:
        rows = get(hub, "", headers={"authorization": f"Bearer {token}"}).json()
        return "lab/private" in [row["id"] for row in rows]

    assert listed("hf_member")
    assert not listed("hf_stranger")
