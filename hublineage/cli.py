"""The command `hublineage`.

Results go to stdout (as JSON where asked), progress and messages to stderr. Exit codes: 0 the job ran, 1 something
unforeseen, 2 wrong usage, 3 nothing could be done, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import Any

import typer

from crawler import pipeline as crawler
from crawler.source import Query
from db.errors import HublineageError, NothingToDo, UsageError
from hublineage import (
    answers,
    cli_compare,
    cli_config,
    cli_db,
    cli_export,
    cli_hub,
    cli_jobs,
    cli_licences,
    cli_relation,
    cli_runs,
    job,
    render,
)
from hublineage.context import console, crawled_sources, print_json, source_name, working
from hublineage.options import (
    Architecture,
    Author,
    Cache,
    CacheSize,
    ClusteringOption,
    DataDir,
    Decide,
    DecideDirection,
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
from hublineage.parameters import measuring, parameters
from hublineage.progress import reporting
from hublineage.result import result
from hublineage.settings import read_settings
from hublineage.sources import open_source
from lineage.mother import Metric

app = typer.Typer(
    help="Which model was a model trained from? Lineage of Hugging Face Hub models, inferred from their weights.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="Start: hublineage run --folder DIR, or hublineage run --author ORG. Then: hublineage tree ORG/NAME.",
)
app.add_typer(cli_db.app, name="db")
app.add_typer(cli_hub.app, name="hub")
app.callback()(cli_config.main)
app.command()(cli_config.config)
app.add_typer(cli_jobs.app, name="jobs")
app.command()(cli_jobs.worker)
app.command()(cli_jobs.schedule)
app.command()(cli_jobs.enqueue)
app.command()(cli_compare.compare)
app.command()(cli_licences.licences)
app.add_typer(cli_runs.app, name="runs")
app.command()(cli_runs.diff)
app.command()(cli_export.export)
app.command()(cli_relation.relation)


def _query(
    author: str | None,
    search: str | None,
    tag: list[str] | None,
    architecture: list[str] | None,
    ids: list[str] | None,
    limit: int | None,
) -> Query:
    return Query(author, search, tuple(tag or ()), tuple(architecture or ()), tuple(ids or ()), limit)


def _said(**options: Any) -> dict[str, Any]:
    """What the command line says, for the settings."""
    return {name: value for name, value in options.items() if value is not None}


@app.command()
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
    metric: MetricOption = Metric.FINE_TUNE,
    trees: Trees = None,
    clustering: ClusteringOption = None,
    initialisation: Initialisation = None,
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
    query = _query(author, search, tag, architecture, ids, limit)
    chosen = parameters(method, metric, trees, decide, decide_direction, clustering, initialisation)
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


@app.command()
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
    query = _query(author, search, tag, architecture, ids, limit)
    name = source_name(folder, endpoint, query, whole=list_only)
    with working(data_dir, jobs=jobs, quota_share=quota_share) as context, reporting() as report:
        crawling = crawler.Options(increment, not list_only, context.settings.jobs, retry_failed)
        with closing(open_source(name, context.engine, context.settings, report)) as source:
            done = job.crawl(context.engine, source, job.Job(query, crawling), report)
    found = {"kind": done.kind, "listed": done.listed, "described": done.described, "removed": done.removed}
    _tell(found, as_json, "listed {listed}, described {described}, removed {removed} ({kind} crawl)")


@app.command()
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
    layers = 0
    said = _said(memory=memory, device=device, quota_share=quota_share, cache=cache, cache_size=cache_size)
    said |= _said(exact_members=exact_members, exact_neighbours=exact_neighbours)
    work = job.Job(options=measuring(read_settings(**said), retry_failed=retry_failed))
    with working(data_dir, **said) as context, reporting() as report:
        for name, number in crawled_sources(context.engine, folder, endpoint):
            with closing(open_source(name, context.engine, context.settings, report)) as source:
                layers += job.measure(context.engine, source, number, work, report)
    _tell({"layers": layers}, as_json, "measured {layers} layers")


@app.command()
def infer(
    folder: Folder = None,
    endpoint: Endpoint = None,
    method: Method = "recover",
    metric: MetricOption = Metric.FINE_TUNE,
    trees: Trees = None,
    clustering: ClusteringOption = None,
    initialisation: Initialisation = None,
    decide: Decide = None,
    decide_direction: DecideDirection = None,
    weights_only: WeightsOnly = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Recover the model trees of all measured families, from what is stored."""
    chosen = parameters(method, metric, trees, decide, decide_direction, clustering, initialisation)
    runs: list[int] = []
    with working(data_dir) as context, reporting() as report:
        for _, number in crawled_sources(context.engine, folder, endpoint):
            work = job.Job(parameters=chosen, weights_only=weights_only)
            runs += job.infer(context.engine, number, work, report)
    _tell({"runs": runs}, as_json, "runs {runs}")


@app.command()
def tree(model: str, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Draw the tree that a model belongs to, each edge marked: both, inferred, contradicted, declared."""
    with working(data_dir) as context:
        found, verdicts = answers.tree_of(context.engine, model)
    if found is None:
        raise UsageError(f"{model} is in no tree yet: `hublineage show {model}` says why")
    if as_json:
        print_json(found)
    else:
        console().print(render.drawn_tree(found, verdicts))


@app.command()
def show(model: str, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Say all that is known of a model: card, parents, children, evidence, verdict, failures."""
    with working(data_dir) as context:
        found = answers.model(context.engine, model)
    if as_json:
        print_json(found)
    else:
        render.print_model(console(), found)


@app.command()
def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Count what the catalogue holds, what is pending, and failures by reason."""
    with working(data_dir) as context:
        found = answers.status(context.engine)
    if as_json:
        print_json(found)
    else:
        render.print_status(console(), found)


def _tell(found: dict[str, Any], as_json: bool, words: str) -> None:
    if as_json:
        print_json(found)
    else:
        console().print(words.format(**found), highlight=False, markup=False)


def main() -> None:
    """Run the command; turn errors into one line and an exit code."""
    # The reader of our JSON may be gone (`| head`): that is no error of ours.
    try:
        app(standalone_mode=True)
    except HublineageError as error:
        print(f"hublineage: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("hublineage: interrupted; the same command goes on from here", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
