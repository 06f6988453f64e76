"""The command `enqueue`: the main job for a source, into the queue."""

# ruff: noqa: PLC0415  # what a command works with is imported when it runs: help needs none of it

from __future__ import annotations

from typing import Annotated

import typer

from hublineage.options import (
    Architecture,
    Author,
    DataDir,
    Endpoint,
    Folder,
    Ids,
    Increment,
    Json,
    Limit,
    ListOnly,
    RetryFailed,
    Search,
    Tag,
)


def enqueue(
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
    retry_failed: RetryFailed = False,
    followed: Annotated[
        bool, typer.Option("--followed", help="All that the settings follow, in place of one query.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Put the main job for a source into the queue: its crawl, and all that follows from it.

    Workers crawl, describe, measure, infer and compare, each as far as it is new. The same work is queued once.

    hublineage enqueue --architecture LlamaForCausalLM && hublineage worker --drain
    """
    from crawler.source import Query
    from db import measurements
    from db.engine import transaction
    from db.errors import UsageError
    from hublineage.context import known_sources, print_json, query_of, source_name, working
    from hublineage.jobs import kinds, queue

    query = query_of(author, search, tag, architecture, ids, limit)
    if followed and (query != Query() or folder is not None or endpoint is not None):
        raise UsageError("--followed takes its queries from the settings: say no other with it")
    if increment and (query.ids or query.limit is not None):
        raise UsageError("an increment follows a whole listing: say no --id and no --limit with it")
    name = None if followed else source_name(folder, endpoint, query, whole=list_only)
    with working(data_dir) as at:
        if name is None:
            from hublineage.jobs.schedule import scheduled

            wanted = [one for _, one in scheduled(at.settings) if one.task in {kinds.CRAWL, kinds.SWEEP}]
            if not wanted:
                raise UsageError("nothing is followed: add [[follow]] tables to the settings file (docs/settings.md)")
        else:
            wanted = [kinds.crawl(name, query, increment=increment, list_only=list_only, retry_failed=retry_failed)]
        if retry_failed and name is not None:
            known = known_sources(at.engine).get(name)
            with transaction(at.engine) as session:
                families = [] if known is None else measurements.families(session, known)
            wanted += [kinds.plan(name, family.id, retry_failed=True) for family in families]
        with transaction(at.engine) as session:
            new = queue.defer(session, wanted, hasten=True)
    if as_json:
        print_json({"queued": new, "known": len(wanted) - new})
    else:
        typer.echo(f"{new} jobs queued, {len(wanted) - new} were there already")
