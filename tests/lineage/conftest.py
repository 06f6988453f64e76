"""What the tests of measuring share."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import House
from sqlalchemy import Engine


@pytest.fixture
def house(tmp_path: Path, engine: Engine) -> House:
    return House(tmp_path, engine)
