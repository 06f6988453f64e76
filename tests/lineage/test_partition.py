"""Traditional clustering of members and of scores, by scikit-learn's algorithms."""

from __future__ import annotations

import numpy as np
import pytest

from lineage.partition import Clustering, along, groups

APART = 1.0
ALL = list(Clustering)
ALONG = [one for one in ALL if one is not Clustering.ORDER]


def two_and_two_and_a_stranger() -> np.ndarray:
    distance = np.full((5, 5), APART)
    distance[np.ix_([0, 3], [0, 3])] = distance[np.ix_([1, 4], [1, 4])] = 0.1
    np.fill_diagonal(distance, 0.0)
    return distance


@pytest.mark.parametrize("clustering", ALL)
def test_relatives_are_grouped_and_strangers_stay_alone(clustering: Clustering) -> None:
    assert groups(two_and_two_and_a_stranger(), clustering, 0.7, None) == ((0, 3), (1, 4), (2,))


@pytest.mark.parametrize("clustering", ALL)
def test_one_member_two_equal_ones_and_incomparable_ones_have_their_groups(clustering: Clustering) -> None:
    assert groups(np.zeros((0, 0)), clustering, 0.7, None) == ()
    assert groups(np.zeros((1, 1)), clustering, 0.7, None) == ((0,),)
    assert groups(np.zeros((2, 2)), clustering, 0.7, None) == ((0, 1),)
    assert groups(np.array([[0.0, np.inf], [np.inf, 0.0]]), clustering, 0.7, None) == ((0,), (1,))


@pytest.mark.parametrize("clustering", ALL)
def test_distances_from_a_model_of_zeros_which_mean_nothing_draw_nobody_away(clustering: Clustering) -> None:
    # As measured: what zeros lose is taken off both sides of the quotient, and of zeros alone little is left.
    distance = np.full((9, 9), 0.2)
    distance[7] = distance[:, 7] = 0.99
    distance[8, :8] = distance[:8, 8] = [np.inf, 3.48, 1.0, 1.39, 1.0, 1.0, 1.28, 1.0]
    np.fill_diagonal(distance, 0.0)
    assert groups(distance, clustering, 0.7, None) == (tuple(range(7)), (7,), (8,))


@pytest.mark.parametrize("clustering", [one for one in ALL if one is not Clustering.DBSCAN])
def test_a_number_of_groups_that_is_given_is_kept_up_to_one_each(clustering: Clustering) -> None:
    distance = two_and_two_and_a_stranger()
    assert len(groups(distance, clustering, 0.7, 1)) == 1
    assert len(groups(distance, clustering, 0.7, 9)) == 5


def test_dbscan_is_not_asked_for_a_number_of_groups() -> None:
    with pytest.raises(ValueError, match="dbscan cannot form 2 groups"):
        groups(two_and_two_and_a_stranger(), Clustering.DBSCAN, 0.7, 2)
    with pytest.raises(ValueError, match="kmeans cannot form 0 groups"):
        groups(two_and_two_and_a_stranger(), Clustering.KMEANS, 0.7, 0)


@pytest.mark.parametrize("clustering", ALONG)
def test_scores_fall_into_clusters_numbered_by_their_means(clustering: Clustering) -> None:
    assert along([9.0, 1.0, 1.1, 5.2, 5.0, 9.1, 5.1], clustering).tolist() == [2, 0, 0, 1, 1, 2, 1]


@pytest.mark.parametrize("clustering", ALONG)
def test_scores_that_hardly_differ_are_one_cluster(clustering: Clustering) -> None:
    for scores in ([], [1.0], [1.0, 2.0], [3.0, 3.0, 3.0], [0.0, 0.0]):
        assert not along(scores, clustering).any()


def test_without_clustering_every_score_is_its_own_generation() -> None:
    assert along([2.0, 1.0, 3.0, 1.0], Clustering.ORDER).tolist() == [1, 0, 2, 0]
