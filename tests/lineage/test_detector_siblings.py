"""What the detector says of siblings, and that skeletons hear it."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from numpy.typing import NDArray

from lineage import large, recover
from lineage.detector import only
from lineage.detector_features import FeatureTable
from lineage.detector_network import CLASSES, network
from lineage.detector_siblings import GRANDPARENT, MOST, OFFSET, SIBLINGS, sibling_odds
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.parameters import Parameters
from lineage.recover import heritage

Model = dict[str, NDArray[np.float64]]

LAYERS = tuple(Layer(f"w{n}", (24, 20), LayerKind.TRUNK) for n in range(6))


def moved(rng: np.random.Generator, model: Model, step: float = 0.1) -> Model:
    return {name: values + step * rng.normal(size=values.shape) for name, values in model.items()}


def family(seed: int) -> FamilyMeasures:
    """A stranger (0), a root (1), its five children, which drift alike (2 to 6), and a child of the first of them (7).

    The last turns back towards the root, so that angles do not tell whose it is.
    """
    rng = np.random.default_rng(seed)
    root, drift = ({layer.name: rng.normal(size=layer.shape) for layer in LAYERS} for _ in range(2))
    children = [
        {name: root[name] + 0.1 * (0.63 * drift[name] + 0.77 * rng.normal(size=root[name].shape)) for name in root}
        for _ in range(5)
    ]
    back = {name: values - 0.1 * (values - root[name]) for name, values in children[0].items()}
    return builders.measured([moved(rng, drift, 1.0), root, *children, moved(rng, back)], LAYERS, slopes=True)


MEMBERS = range(1, 8)


def test_the_odds_are_those_of_both_pairs_among_the_cluster_weighed() -> None:
    measures = family(1)
    chains = np.array([[1, 2, 7], [1, 3, 7]])
    own = only(measures, MEMBERS)
    place = np.arange(len(own.members))
    expected = []
    for h, i, j in chains - 1:
        near, far = network().logits(FeatureTable(own).features([(place[i], place[j]), (place[h], place[j])]))
        siblings = near[CLASSES.index("siblings")] - near[CLASSES.index("parent")]
        parent = far[CLASSES.index("parent")] - far[CLASSES.index("ancestor at distance 2")]
        cut = np.clip([siblings, parent], -MOST, MOST)
        expected.append(SIBLINGS * cut[0] + GRANDPARENT * cut[1] + OFFSET)
    np.testing.assert_allclose(sibling_odds(measures, MEMBERS)(chains), expected)


def test_of_members_that_are_mostly_zeros_nothing_is_said() -> None:
    measures = family(2)
    measures.zeros[:, 7] = measures.count[:, 7] * 9 // 10
    said = sibling_odds(measures, MEMBERS)(np.array([[1, 2, 7], [1, 3, 4]]))
    assert said[0] == 0
    assert said[1] != 0


@pytest.mark.parametrize("whole", [1000, 1], ids=["at once", "in pieces"])
@pytest.mark.parametrize(("says", "parent"), [(50.0, 1), (-50.0, 2)])
def test_skeletons_hear_what_the_detector_says_of_siblings(
    whole: int, says: float, parent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = family(3)
    for module in (recover, large):
        monkeypatch.setattr(module, "sibling_odds", lambda *_: lambda chains: np.full(len(chains), says))

    def joined(parameters: Parameters) -> set[frozenset[int]]:
        trees = heritage(measures, parameters).trees
        return {frozenset((edge.parent, edge.child)) for tree in trees for edge in tree.edges}

    assert frozenset((parent, 7)) in joined(Parameters(whole=whole))
