"""The tables.

    sources ── repositories ── revisions ── files ── layouts ── tensor_specs
       │            │              ├── declared_parents, declared_problems
       │            │              └── failures
       │            └── repository_changes
       ├── crawls ── crawl_pages
       └── watermarks, aliases                  quotas, addresses (of a Hub's token, shared by all workers)
    sources ── families ── family_layers ── layer_measures ── measure_batches
                    └── runs ── clusters ── cluster_members, edges, duplicates        verdicts, licences (one per
                                                                                     revision), licence_findings
    job_records (beside the queue's procrastinate_* tables)

What a source says is kept per revision (a commit sha), never overwritten by a newer one. What is measured hangs on a
revision and a metric version; what is inferred hangs on a run. Revisions are named by id inside arrays (batches of
members), where a row per number would not scale; everywhere else by foreign keys.
"""

from __future__ import annotations

from db.models.base import Base
from db.models.crawls import Crawl, CrawlPage, FileAddress, Quota, SourceRow, Watermark
from db.models.declared import PROBLEMS, RELATIONS, RESOLUTIONS, DeclaredParent, DeclaredProblem, FailureRow
from db.models.inference import VERDICTS, AbsentParent, Cluster, ClusterMember, Duplicate, Edge, Run, Verdict
from db.models.jobs import JobRecord
from db.models.licences import LICENCE_FINDINGS, SEVERITIES, LicenceFinding, LicenceRow
from db.models.measures import Family, FamilyLayer, LayerMeasures, MeasureBatch
from db.models.repositories import (
    CHANGES,
    KINDS,
    Alias,
    File,
    Layout,
    Repository,
    RepositoryChange,
    Revision,
    TensorSpecRow,
)

__all__ = [
    "CHANGES",
    "KINDS",
    "LICENCE_FINDINGS",
    "PROBLEMS",
    "RELATIONS",
    "RESOLUTIONS",
    "SEVERITIES",
    "VERDICTS",
    "AbsentParent",
    "Alias",
    "Base",
    "Cluster",
    "ClusterMember",
    "Crawl",
    "CrawlPage",
    "DeclaredParent",
    "DeclaredProblem",
    "Duplicate",
    "Edge",
    "FailureRow",
    "Family",
    "FamilyLayer",
    "File",
    "FileAddress",
    "JobRecord",
    "LayerMeasures",
    "Layout",
    "LicenceFinding",
    "LicenceRow",
    "MeasureBatch",
    "Quota",
    "Repository",
    "RepositoryChange",
    "Revision",
    "Run",
    "SourceRow",
    "TensorSpecRow",
    "Verdict",
    "Watermark",
]
