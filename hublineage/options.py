"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where the embedded database lives (unless DATABASE_URL is set).")
]
Folder = Annotated[
    Path | None, typer.Option("--folder", help="A folder of org/name/ model folders, in place of a Hub.")
]
Endpoint = Annotated[str | None, typer.Option(help="The Hub's address; HF_ENDPOINT or the public Hub by default.")]
Author = Annotated[str | None, typer.Option(help="Only repositories of this user or organisation.")]
Search = Annotated[str | None, typer.Option(help="Only repositories whose name holds this text.")]
Tag = Annotated[list[str] | None, typer.Option(help="Only repositories with this tag; repeat for several.")]
Architecture = Annotated[
    list[str] | None,
    typer.Option(
        help="Only models of this architecture (LlamaForCausalLM, 'Bert*') or model type (llama); repeatable. Decided "
        "from the listing, without a request per repository."
    ),
]
Ids = Annotated[list[str] | None, typer.Option("--id", help="Exactly this repository; repeat for several.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many repositories.")]
Memory = Annotated[str | None, typer.Option(help="Memory for measuring, such as 800M; 1GiB by default.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda[:number].")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")]
Method = Annotated[
    str, typer.Option(help="recover (ours), mother (the paper's), phylogeny (without learning) or detector (learnt).")
]
# The names of lineage.mother.Metric, lineage.partition.Clustering and lineage.initialisation.Scheme, as a test holds:
# to import these takes seconds, and help needs their names alone.
MetricName = Literal["fine-tune", "low-rank"]
ClusteringName = Literal["kmeans", "agglomerative", "dbscan", "spectral", "order"]
SchemeName = Literal[
    "architecture", "kaiming", "kaiming-normal", "xavier", "xavier-normal", "truncated", "fitted", "centroid"
]
MetricOption = Annotated[MetricName, typer.Option(help="The distance of the paper's method.")]
Trees = Annotated[int | None, typer.Option(min=1, help="The number of trees per family, for mother and phylogeny.")]
ClusteringOption = Annotated[
    ClusteringName | None,
    typer.Option("--clustering", help="How phylogeny groups models and generations; kmeans by default."),
]
Initialisation = Annotated[
    SchemeName | None,
    typer.Option(
        help="From where phylogeny measures how far a model was trained; by default as its architecture's libraries "
        "begin. docs/phylogeny.md explains them."
    ),
]
Detector = Annotated[
    bool,
    typer.Option(
        "--detector",
        help="Let recover ask the learned detector for the direction of each edge, besides its own evidence.",
    ),
]
Decide = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="The confidence from which on an edge counts as decided; 0.5 by default."),
]
DecideDirection = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="The probability of its direction that it takes besides; 0.7 by default."),
]
WeightsOnly = Annotated[
    bool, typer.Option("--weights-only", help="Keep dates and all other metadata out of the inference.")
]
Increment = Annotated[
    bool,
    typer.Option(
        "--increment",
        help="List only what was modified since the last crawl of the same query; everything where there was none.",
    ),
]
ListOnly = Annotated[
    bool, typer.Option("--list-only", help="Store the listing and what it declares; read no card and no header.")
]
Jobs = Annotated[int | None, typer.Option(min=1, max=64, help="Repositories to describe at a time; 4 by default.")]
QuotaShare = Annotated[
    float | None,
    typer.Option(min=0.01, max=1.0, help="The share of the Hub's quota that all workers may use; 0.5 by default."),
]
Cache = Annotated[
    Path | None,
    typer.Option(help="A folder that keeps bytes of weights, so that none is fetched twice; none by default."),
]
CacheSize = Annotated[
    str | None, typer.Option(help="The most that the cache may hold, such as 200G; 50GiB by default.")
]
ExactMembers = Annotated[
    int | None,
    typer.Option(
        min=2, help="New members of a larger family than that are compared by sketches first; 256 by default."
    ),
]
ExactNeighbours = Annotated[
    int | None, typer.Option(min=1, help="... and then exactly with so many nearest ones; 16 by default.")
]
