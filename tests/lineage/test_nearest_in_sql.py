"""The SQL function `nearest` takes packed numbers apart as `lineage.stored` does, whatever batch they came in."""

from __future__ import annotations

import numpy as np
from house import House, network
from sqlalchemy import text

from db.engine import transaction
from lineage.measure_options import Options


def test_nearest_in_sql_gives_the_stored_distances_over_several_batches(house: House) -> None:
    root, stranger = network(0), network(99)
    less = network(7, root)
    del less["h.1.mlp.weight"]
    batches = (
        {"root": root, "one": network(1, root), "two": network(2, root), "less": less},
        {"stranger": stranger, "three": network(3, root)},
        {"late": network(50, root), "later": network(51, stranger)},
    )
    for number, models in enumerate(batches):
        for name, tensors in models.items():
            house.write(name, tensors)
        # The last ones are measured against their nearest alone.
        house.measure(Options(memory=1 << 26, exact_members=256 if number < 2 else 4, exact_neighbours=2))
    assert len(house.batches()) == 3
    found, names = house.load()
    assert found.estimated is not None
    assert found.estimated.any()
    trunk = [number for number, layer in enumerate(found.layers) if layer.kind == "trunk"]
    squares, norms = found.squared_distance[trunk], found.squared_norm[trunk]
    for here, name in enumerate(names):
        shared = ~np.isnan(squares[:, here])  # (layers, members)
        distance = np.sqrt(np.nansum(squares[:, here], axis=0))
        own = np.sqrt(np.where(shared, norms[:, here, None], 0).sum(axis=0))
        expected = {
            other: (distance[there], distance[there] / own[there], int(shared[:, there].sum()))
            for there, other in enumerate(names)
            if there != here and not found.estimated[here, there]
        }
        with transaction(house.engine) as session:
            query = text("SELECT neighbour, distance, relative, layers FROM hublineage.nearest(:name, 100)")
            rows = session.execute(query, {"name": f"org/{name}"}).all()
        assert {row[0].removeprefix("org/") for row in rows} == set(expected)
        assert [row[2] for row in rows] == sorted(row[2] for row in rows)
        for neighbour, *numbers in rows:
            np.testing.assert_allclose(numbers, expected[neighbour.removeprefix("org/")], rtol=1e-12)
