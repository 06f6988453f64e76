"""The compose file and the Dockerfile name only what exists; no Docker engine is needed to see that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
import yaml

from hublineage.cli import app
from hublineage.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_there_are_a_database_a_scheduler_and_two_workers() -> None:
    assert set(SERVICES) == {"postgres", "scheduler", "worker-cpu", "worker-gpu"}
    assert SERVICES["postgres"]["image"].startswith("pgvector/pgvector:pg")


def test_every_command_and_option_in_it_exists() -> None:
    commands = typer.main.get_group(app).commands
    named = [part for service in OURS.values() for part in re.findall(r"hublineage ([^;]+)", service["command"][-1])]
    assert len(named) >= len(OURS)
    for words in (part.split() for part in named):
        options = {name for parameter in commands[words[0]].loaded().params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def test_every_setting_in_it_is_read() -> None:
    fields = Settings.model_fields.items()
    aliases = {str(field.validation_alias or f"HUBLINEAGE_{name.upper()}") for name, field in fields}
    read = aliases | {"HF_TOKEN"}  # the Hub's own client reads the token
    assert all(set(service["environment"]) <= read for service in OURS.values())


def test_the_database_of_the_workers_is_the_one_that_is_started() -> None:
    of = SERVICES["postgres"]["environment"]
    url = f"postgresql://{of['POSTGRES_USER']}:{of['POSTGRES_PASSWORD']}@postgres:5432/{of['POSTGRES_DB']}"
    assert all(service["environment"]["DATABASE_URL"] == url for service in OURS.values())
    assert any(port.endswith(":5432") for port in SERVICES["postgres"]["ports"])


def test_the_dockerfile_copies_what_there_is_and_every_package() -> None:
    copied = {
        source
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ")
        for source in line.split()[1:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= copied


def test_each_service_of_ours_is_asked_how_it_is_where_it_answers() -> None:
    for service in OURS.values():
        port = service["environment"]["HUBLINEAGE_METRICS_PORT"]
        assert f"http://127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1]
