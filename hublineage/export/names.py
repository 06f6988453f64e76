"""How revisions and repositories are named in the formats of the web: IRIs and package URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from packageurl import PackageURL

if TYPE_CHECKING:
    from hublineage.export.forest import Node

PUBLIC_HUB = "https://huggingface.co"


def is_hub(source: str) -> bool:
    """Whether a source is a Hub's address; else it is a folder."""
    return source.startswith(("http://", "https://"))


def repository_iri(source: str, name: str) -> str:
    """Where the repository is: its Hub's address, or its folder's (file:///...), and its name."""
    return f"{quote(source.rstrip('/'), safe='/:@%[]')}/{quote(name)}"


def revision_iri(node: Node) -> str:
    """Where this commit of it is, as the Hub shows it."""
    return f"{repository_iri(node.source, node.name)}/tree/{quote(node.sha, safe='')}"


def package_url(node: Node) -> PackageURL | None:
    """pkg:huggingface/ORG/NAME@COMMIT (https://github.com/package-url/purl-spec); None for a folder's model."""
    if not is_hub(node.source):
        return None
    organisation, _, name = node.name.rpartition("/")
    elsewhere = {} if node.source == PUBLIC_HUB else {"repository_url": node.source}
    return PackageURL("huggingface", organisation or None, name, node.sha, elsewhere)
