"""The commands `hublineage hub ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from db.errors import UsageError
from hublineage.hub.quotas import Quotas
from hublineage.hub.server import serve as serve_folder

app = typer.Typer(help="A Hub of your own over a folder of models.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `serve` a command of its own, although it is the only one."""


@app.command()
def serve(
    folder: Path,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any free one.")] = 8000,
    quotas: Annotated[
        bool, typer.Option("--quotas", help="Allow what the Hub allows without a token: 500 and 3,000 in 5 minutes.")
    ] = False,
    xet: Annotated[bool, typer.Option("--xet", help="Say of large files that they are Xet-backed.")] = False,
    cdn_host: Annotated[str | None, typer.Option(help="Another name of this host, for the addresses of files.")] = None,
) -> None:
    """Serve a folder of org/name/ model folders as a Hub that huggingface_hub can talk to.

    Then, elsewhere: HF_ENDPOINT=http://127.0.0.1:8000 hublineage run --limit 1000
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    serve_folder(folder, host, port, quotas=Quotas() if quotas else None, xet=xet, cdn_host=cdn_host)
