"""The commands of the four stages: `run`, `crawl`, `measure`, `infer`."""

# ruff: noqa: PLC0415  # what a command works with is imported when it runs: torch takes seconds, and help needs none

from __future__ import annotations

from contextlib import closing
from typing import Any

from hublineage.options import (
    Architecture,
    Author,
    Cache,
    CacheSize,
    ClusteringOption,
    DataDir,
    Decide,
    DecideDirection,
    Detector,
    Device,
    Endpoint,
    ExactMembers,
    ExactNeighbours,
    Folder,
    Ids,
    Increment,
    Initialisation,
    Jobs,
    Json,
    Limit,
    ListOnly,
    Memory,
    Method,
    MetricOption,
    QuotaShare,
    RetryFailed,
    Search,
    Tag,
    Trees,
    WeightsOnly,
)


def _said(**options: Any) -> dict[str, Any]:
    """What the command line says, for the settings."""
    return {name: value for name, value in options.items() if value is not None}


def run(
    folder: Folder = None,
    endpoint: Endpoint = None,
    author: Author = None,
    search: Search = None,
    tag: Tag = None,
    architecture: Architecture = None,
    ids: Ids = None,
    limit: Limit = None,
    method: Method = "recover",
    metric: MetricOption = "fine-tune",
    trees: Trees = None,
    clustering: ClusteringOption = None,
    initialisation: Initialisation = None,
    detector: Detector = False,
    decide: Decide = None,
    decide_direction: DecideDirection = None,
    weights_only: WeightsOnly = False,
    memory: Memory = None,
    device: Device = None,
    jobs: Jobs = None,
    quota_share: QuotaShare = None,
    cache: Cache = None,
    cache_size: CacheSize = None,
    exact_members: ExactMembers = None,
    exact_neighbours: ExactNeighbours = None,
    retry_failed: RetryFailed = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Crawl, measure, infer and compare, in this order.

    Interrupted, the same command goes on where it stood; done again, it changes nothing.

    hublineage run --folder ./checkpoints --json

    hublineage run --author google-bert --architecture 'Bert*'
    """
    from crawler import pipeline as crawler
    from db.errors import NothingToDo
    from hublineage import job, render
    from hublineage.context import console, print_json, query_of, source_name, working
    from hublineage.parameters import measuring, parameters
    from hublineage.progress import reporting
    from hublineage.result import result
    from hublineage.settings import read_settings
    from hublineage.sources import open_source

    query = query_of(author, search, tag, architecture, ids, limit)
    chosen = parameters(method, metric, trees, decide, decide_direction, clustering, initialisation, detector=detector)
    said = _said(memory=memory, device=device, quota_share=quota_share, cache=cache, cache_size=cache_size, jobs=jobs)
    said |= _said(exact_members=exact_members, exact_neighbours=exact_neighbours)
    options = measuring(read_settings(**said), retry_failed=retry_failed)
    name = source_name(folder, endpoint, query)
    with working(data_dir, **said) as context, reporting() as report:
        work = job.Job(query, crawler.Options(jobs=context.settings.jobs), options, chosen, weights_only)
        with closing(open_source(name, context.engine, context.settings, report)) as source:
            crawled = job.run(context.engine, source, work, report)
        found = result(context.engine, crawled.source_id)
    if as_json:
        print_json(found)
    else:
        render.print_result(console(), found)
    if not found["verdicts"] and not found["failures"]:
        raise NothingToDo(f"{name} has no repository that was asked for")


def crawl(
    folder: Folder = None,
    endpoint: Endpoint = None,
    author: Author = None,
    search: Search = None,
    tag: Tag = None,
    architecture: Architecture = None,
    ids: Ids = None,
    limit: Limit = None,
    increment: Increment = False,
    list_only: ListOnly = False,
    jobs: Jobs = None,
    quota_share: QuotaShare = None,
    retry_failed: RetryFailed = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List repositories and describe new revisions: cards, declared parents, headers of weights.

    A full pass finds what is new, changed, renamed and gone; an increment, in a fraction of the requests, what is new
    and changed. Interrupted, the same command goes on where it stood. Several may run at once and share the work.

    hublineage crawl --architecture LlamaForCausalLM

    hublineage crawl --architecture LlamaForCausalLM --increment

    hublineage crawl --list-only
    """
    from crawler import pipeline as crawler
    from hublineage import job
    from hublineage.context import query_of, source_name, working
    from hublineage.progress import reporting
    from hublineage.sources import open_source

    query = query_of(author, search, tag, architecture, ids, limit)
    name = source_name(folder, endpoint, query, whole=list_only)
    with working(data_dir, jobs=jobs, quota_share=quota_share) as context, reporting() as report:
        crawling = crawler.Options(increment, not list_only, context.settings.jobs, retry_failed)
        with closing(open_source(name, context.engine, context.settings, report)) as source:
            done = job.crawl(context.engine, source, job.Job(query, crawling), report)
    found = {"kind": done.kind, "listed": done.listed, "described": done.described, "removed": done.removed}
    _tell(found, as_json, "listed {listed}, described {described}, removed {removed} ({kind} crawl)")


def measure(
    folder: Folder = None,
    endpoint: Endpoint = None,
    memory: Memory = None,
    device: Device = None,
    quota_share: QuotaShare = None,
    cache: Cache = None,
    cache_size: CacheSize = None,
    exact_members: ExactMembers = None,
    exact_neighbours: ExactNeighbours = None,
    retry_failed: RetryFailed = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Stream the weights of all crawled models, layer by layer, and store their measures."""
    from hublineage import job
    from hublineage.context import crawled_sources, working
    from hublineage.parameters import measuring
    from hublineage.progress import reporting
    from hublineage.settings import read_settings
    from hublineage.sources import open_source

    layers = 0
    said = _said(memory=memory, device=device, quota_share=quota_share, cache=cache, cache_size=cache_size)
    said |= _said(exact_members=exact_members, exact_neighbours=exact_neighbours)
    work = job.Job(options=measuring(read_settings(**said), retry_failed=retry_failed))
    with working(data_dir, **said) as context, reporting() as report:
        for name, number in crawled_sources(context.engine, folder, endpoint):
            with closing(open_source(name, context.engine, context.settings, report)) as source:
                layers += job.measure(context.engine, source, number, work, report)
    _tell({"layers": layers}, as_json, "measured {layers} layers")


def infer(
    folder: Folder = None,
    endpoint: Endpoint = None,
    method: Method = "recover",
    metric: MetricOption = "fine-tune",
    trees: Trees = None,
    clustering: ClusteringOption = None,
    initialisation: Initialisation = None,
    detector: Detector = False,
    decide: Decide = None,
    decide_direction: DecideDirection = None,
    weights_only: WeightsOnly = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Recover the model trees of all measured families, from what is stored."""
    from hublineage import job
    from hublineage.context import crawled_sources, working
    from hublineage.parameters import parameters
    from hublineage.progress import reporting

    chosen = parameters(method, metric, trees, decide, decide_direction, clustering, initialisation, detector=detector)
    runs: list[int] = []
    with working(data_dir) as context, reporting() as report:
        for _, number in crawled_sources(context.engine, folder, endpoint):
            work = job.Job(parameters=chosen, weights_only=weights_only)
            runs += job.infer(context.engine, number, work, report)
    _tell({"runs": runs}, as_json, "runs {runs}")


def _tell(found: dict[str, Any], as_json: bool, words: str) -> None:
    from hublineage.context import console, print_json

    if as_json:
        print_json(found)
    else:
        console().print(words.format(**found), highlight=False, markup=False)
