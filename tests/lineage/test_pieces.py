"""Trees cut into pieces that share single members."""

from __future__ import annotations

import numpy as np
import pytest

from lineage.pieces import pieces

Pair = tuple[int, int]


def random_tree(members: int, seed: int, hubs: float = 1.0) -> list[Pair]:
    rng = np.random.default_rng(seed)
    return [(int(child * rng.random() ** hubs), child) for child in range(1, members)]


@pytest.mark.parametrize("hubs", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("limit", [5, 24, 100])
def test_every_edge_lies_in_one_piece_and_pieces_make_a_tree(hubs: float, limit: int) -> None:
    edges = random_tree(300, int(10 * hubs), hubs)
    found = pieces(edges, limit)
    inside = [[edge for edge in edges if set(edge) <= set(piece)] for piece in found]
    assert sorted(edge for own in inside for edge in own) == sorted(edges)
    assert all(len(own) == len(piece) - 1 for own, piece in zip(inside, found, strict=True))  # so each is a tree
    assert max(map(len, found)) <= limit + limit // 4
    assert len(found) <= 2 * 300 / (limit - 1) + 2


def test_a_chain_and_a_star_are_cut_evenly() -> None:
    chain = [(one, one + 1) for one in range(999)]
    assert all(25 <= len(piece) <= 125 for piece in pieces(chain, 100))
    star = [(0, one) for one in range(1, 1000)]
    assert all(0 in piece for piece in pieces(star, 100))
    assert len(pieces(star, 100)) <= 12


def test_who_belongs_together_is_in_every_piece_where_one_of_them_is_shared() -> None:
    edges = random_tree(400, 3, 4.0)
    together = [edge for edge in edges if edge[1] % 20 == 0]
    found = pieces(edges, 40, together)
    for piece in map(set, found):
        assert all((a in piece) == (b in piece) for a, b in together)


def test_a_small_tree_is_one_piece_and_names_are_kept() -> None:
    assert pieces([], 10) == ()
    assert pieces([(7, 3), (9, 7)], 10) == ((3, 7, 9),)
    assert pieces([(7, 3)], 10, [(7, 3)]) == ((3, 7),)
