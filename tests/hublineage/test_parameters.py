"""What steers an inference, from the command line."""

from __future__ import annotations

import pytest

from db.errors import UsageError
from hublineage.parameters import inferring, parameters
from hublineage.settings import Settings
from lineage.initialisation import Scheme
from lineage.mother import Metric
from lineage.parameters import Parameters
from lineage.partition import Clustering


def test_nothing_said_is_what_the_method_does_by_itself() -> None:
    assert parameters("recover", Metric.FINE_TUNE, None, None, None) == Parameters()


def test_probabilities_from_which_on_edges_are_decided_are_taken_over() -> None:
    found = parameters("recover", Metric.FINE_TUNE, None, 0.9, 0.0)
    assert (found.decide, found.decide_direction) == (0.9, 0.0)


@pytest.mark.parametrize(
    ("method", "metric", "trees", "decide", "what"),
    [
        ("best", Metric.FINE_TUNE, None, None, "expected recover, mother, phylogeny or detector"),
        ("recover", Metric.LOW_RANK, None, None, "--method mother"),
        ("recover", Metric.FINE_TUNE, 3, None, "--method mother"),
        ("mother", Metric.FINE_TUNE, None, 0.5, "need probabilities"),
    ],
)
def test_an_option_that_the_method_does_not_know_is_refused(
    method: str, metric: Metric, trees: int | None, decide: float | None, what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        parameters(method, metric, trees, decide, None)


def test_a_learning_free_detector_is_chosen_by_its_clustering_and_initialisation() -> None:
    found = parameters("phylogeny", Metric.FINE_TUNE, 3, 0.6, None, Clustering.SPECTRAL, Scheme.FITTED)
    assert (found.method, found.clustering, found.initialisation) == ("phylogeny", "spectral", "fitted")
    assert (found.trees, found.decide) == (3, 0.6)


@pytest.mark.parametrize(
    ("method", "trees", "clustering", "scheme", "what"),
    [
        ("recover", None, Clustering.KMEANS, None, "add --method phylogeny"),
        ("mother", None, None, Scheme.KAIMING, "add --method phylogeny"),
        ("phylogeny", 2, Clustering.DBSCAN, None, "finds the number of groups by itself"),
    ],
)
def test_what_steers_a_detector_is_refused_where_it_steers_nothing(
    method: str, trees: int | None, clustering: Clustering | None, scheme: Scheme | None, what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        parameters(method, Metric.FINE_TUNE, trees, None, None, clustering, scheme)


def test_the_detector_is_asked_by_recover_alone() -> None:
    assert parameters("recover", Metric.FINE_TUNE, None, None, None, detector=True) == Parameters(detector=True)
    with pytest.raises(UsageError, match="lends recover"):
        parameters("phylogeny", Metric.FINE_TUNE, None, None, None, detector=True)


def test_the_queue_may_be_told_all_that_the_command_may() -> None:
    told = {"method": "phylogeny", "clustering": "order", "initialisation": "centroid", "trees": 2}
    expected = parameters("phylogeny", Metric.FINE_TUNE, 2, None, None, "order", "centroid")
    assert inferring(Settings.model_validate({"infer": told})) == expected
    with pytest.raises(UsageError, match="add --method phylogeny"):
        inferring(Settings.model_validate({"infer": {"clustering": "order"}}))
