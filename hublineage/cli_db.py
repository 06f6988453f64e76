"""The commands `hublineage db ...`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import make_url

from db import embedded, schema
from db.engine import connect
from db.errors import UsageError
from db.views import reader
from hublineage.database import address
from hublineage.settings import Settings, read_settings

app = typer.Typer(help="The database: an embedded PostgreSQL, or the one of DATABASE_URL.", no_args_is_help=True)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="The data folder of the embedded database.")]


def _settings(data_dir: Path | None) -> Settings:
    return read_settings() if data_dir is None else read_settings(data_dir=data_dir)


def _embedded(data_dir: Path | None) -> Path:
    settings = _settings(data_dir)
    if settings.database_url:
        raise UsageError("DATABASE_URL names a server that is not ours to start or stop; unset it first")
    return settings.data_dir


@app.command()
def start(data_dir: DataDir = None) -> None:
    """Start the embedded server and let it run until `hublineage db stop`; print its address."""
    folder = _embedded(data_dir)
    typer.echo(embedded.start(folder))
    embedded.keep_running(folder)


@app.command()
def stop(data_dir: DataDir = None) -> None:
    """Stop the embedded server, whoever uses it."""
    typer.echo("stopped" if embedded.stop(_embedded(data_dir)) else "was not running")


@app.command()
def upgrade(data_dir: DataDir = None) -> None:
    """Bring the schema to this program's version; every other command does so by itself."""
    with address(_settings(data_dir)) as url:
        engine = connect(url)
        typer.echo(schema.upgrade(engine))
        engine.dispose()


ReadOnly = Annotated[
    bool, typer.Option("--read-only", help="As the role hublineage_reader, which sees the schema hublineage only.")
]


@app.command()
def url(data_dir: DataDir = None, read_only: ReadOnly = False) -> None:
    """Print the database's address, for psql, pandas or DuckDB. The embedded server must be running (`db start`).

    With --read-only it is that of a role which may read the views and functions of the schema hublineage and nothing
    else: psql "$(hublineage db url --read-only)" -c 'SELECT * FROM hublineage.disagreements'. The embedded server asks
    for no password; on another one an administrator gives the role one (ALTER ROLE hublineage_reader PASSWORD '...'),
    or makes own roles members of it (GRANT hublineage_reader TO somebody).
    """
    settings = _settings(data_dir)
    if settings.database_url is None and not embedded.is_running(settings.data_dir):
        raise UsageError("the embedded server is not running: hublineage db start comes first")
    found = settings.database_url or embedded.start(settings.data_dir)
    typer.echo(_as_reader(found) if read_only else found)


def _as_reader(found: str) -> str:
    """The same database for the reader, who is let in now if that was not possible before. Raises UsageError."""
    engine = connect(found)
    try:
        schema.upgrade(engine)
        with engine.begin() as connection:
            reader.grant(connection)
            why = reader.missing(connection)
    finally:
        engine.dispose()
    if why is not None:
        raise UsageError(why)
    return make_url(found).set(username=reader.ROLE, password=None).render_as_string(hide_password=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context, data_dir: DataDir = None) -> None:
    """Open psql on the database; what follows goes to psql: hublineage db psql -c 'SELECT * FROM hublineage.models'."""
    with address(_settings(data_dir)) as where:
        arguments = [str(embedded.psql_program()), where, *context.args]
        code = subprocess.run(arguments, check=False).returncode  # noqa: S603  # psql, with the user's own arguments
    raise typer.Exit(code)
