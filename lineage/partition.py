"""Traditional clustering of networks, in weight space and along one score: scikit-learn's, by distances alone.

In weight space only distances between members are known, and they suffice: k-means runs on their classical scaling
(Torgerson 1952: coordinates whose distances are the given ones, from the eigenvectors of the doubly centred squares),
agglomerative clustering (average linkage) and DBSCAN (Ester et al. 1996) on the distances, spectral clustering
(Ng, Jordan and Weiss 2001) on exp(-d² / 2 s²), s half the threshold. `order` clusters along no score, for comparison.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lineage.cluster import Clusters, linked_below, linked_into


class Clustering(StrEnum):
    """Which algorithm groups members, and then the scores of each group."""

    KMEANS = "kmeans"
    AGGLOMERATIVE = "agglomerative"
    DBSCAN = "dbscan"
    SPECTRAL = "spectral"
    ORDER = "order"  # single linkage in weight space, and along the score none: each member is its own generation


FARTHEST = np.sqrt(2.0)  # relative distances end there; what cannot be compared counts as that far away
DISTINCT = 0.5  # silhouette from which on values are taken to fall into several clusters
MOST = 8  # clusters along a score: more generations than that were never seen to be told apart
_STARTS = 10  # of k-means, of which the best is kept


def groups(distance: NDArray[np.float64], clustering: Clustering, threshold: float, number: int | None) -> Clusters:
    """Cluster members in weight space: (n, n) relative distances to groups of positions, ascending, by first member.

    `number` of groups is what single linkage finds at `threshold`, unless it is given; DBSCAN, of radius `threshold`
    and at least two to a core, finds its own and is not asked for one. Without a given number groups are split where
    none of one part is nearer than `threshold` to any of another, so that strangers that k-means or spectral
    clustering put together stay alone. Raises ValueError for a number below one, or any for DBSCAN.
    """
    members = len(distance)
    if number is not None and (clustering is Clustering.DBSCAN or number < 1):
        raise ValueError(f"{clustering.value} cannot form {number} groups")
    if members < 2:
        return tuple((one,) for one in range(members))
    apart = np.minimum(np.where(np.isfinite(distance), distance, FARTHEST), FARTHEST)
    linked = linked_below(apart, threshold)
    if clustering is Clustering.ORDER:
        return linked if number is None else linked_into(apart, min(number, members))
    if clustering is Clustering.DBSCAN:
        return _sets(_dbscan(apart, threshold, 2))
    asked = min(len(linked) if number is None else number, members)
    found = _sets(_into(apart, _scaled(apart), clustering, asked, threshold / 2))
    if number is not None:
        return found
    return tuple(sorted(part for group in found for part in _split(apart, group, threshold)))


def along(scores: Sequence[float] | NDArray[np.float64], clustering: Clustering) -> NDArray[np.intp]:
    """Cluster n numbers: each one's place 0, 1, ... in the order of the clusters' means.

    Their number is that of the largest mean silhouette (Rousseeuw 1987), up to MOST; one if that is at most DISTINCT.
    DBSCAN is run with the radii between the numbers' gaps; `order` gives equal numbers one place, and no others.
    """
    from sklearn.metrics import silhouette_score  # noqa: PLC0415  # slow to load

    values = np.asarray(scores, dtype=np.float64)[:, None]
    if clustering is Clustering.ORDER:
        return np.unique(values, return_inverse=True)[1].ravel().astype(np.intp)
    spread = float(np.ptp(values)) if len(values) else 0.0
    best, labels = DISTINCT, np.zeros(len(values), dtype=np.intp)
    if spread <= _ROUNDED * float(np.abs(values).max(initial=0.0)):
        return labels
    values = (values - values.min()) / spread
    distinct = len(np.unique(values))
    for number in range(2, min(MOST, len(values) - 1, distinct) + 1):
        found = _along(values, clustering, number)
        if 1 < len(set(found.tolist())) < len(values) and (width := silhouette_score(values, found)) > best:
            best, labels = float(width), found
    means = {label: float(values[labels == label].mean()) for label in set(labels.tolist())}
    place = {label: index for index, label in enumerate(sorted(means, key=means.__getitem__))}
    return np.array([place[label] for label in labels.tolist()], dtype=np.intp)


_ROUNDED = 1e-12


def _along(values: NDArray[np.float64], clustering: Clustering, number: int) -> NDArray[np.intp]:
    apart = np.abs(values - values.T)
    if clustering is Clustering.DBSCAN:
        gaps = sorted((float(b - a) for a, b in pairwise(np.sort(values[:, 0]))), reverse=True)
        return _dbscan(apart, (gaps[number - 2] + gaps[number - 1]) / 2, 1)
    return _into(apart, values, clustering, number, 1 / MOST)


def _into(
    distance: NDArray[np.float64], places: NDArray[np.float64], clustering: Clustering, number: int, scale: float
) -> NDArray[np.intp]:
    """(n,) labels of `number` clusters of what lies at (n, d) places, (n, n) apart."""
    from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering  # noqa: PLC0415  # slow to load
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415  # slow to load

    if number == 1:
        return np.zeros(len(distance), dtype=np.intp)
    if number >= len(distance):
        return np.arange(len(distance), dtype=np.intp)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different places than clusters: fewer are formed
        match clustering:
            case Clustering.KMEANS:
                labels = KMeans(number, n_init=_STARTS, random_state=0).fit_predict(places)
            case Clustering.AGGLOMERATIVE:
                found = AgglomerativeClustering(n_clusters=number, metric="precomputed", linkage="average")
                labels = found.fit_predict(distance)
            case _:
                affinity = np.exp(-np.square(distance / scale) / 2) + _CONNECTED
                labels = SpectralClustering(number, affinity="precomputed", random_state=0).fit_predict(affinity)
    return np.asarray(labels, dtype=np.intp)


_CONNECTED = 1e-9  # a graph in parts has no unique spectrum


def _dbscan(distance: NDArray[np.float64], radius: float, core: int) -> NDArray[np.intp]:
    """(n,) labels; what belongs to no core is alone. Members strictly nearer than `radius` are neighbours."""
    from sklearn.cluster import DBSCAN  # noqa: PLC0415  # slow to load

    within = max(float(np.nextafter(radius, 0)), np.finfo(np.float64).tiny)
    labels = DBSCAN(eps=within, min_samples=core, metric="precomputed").fit_predict(distance)
    noise = labels < 0
    labels[noise] = labels.max(initial=-1) + 1 + np.arange(int(noise.sum()))
    return np.asarray(labels, dtype=np.intp)


def _scaled(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n) coordinates by classical scaling; directions of negative squares, which no places have, are left out."""
    squared = distance**2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    scaled: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, 0.0))
    return scaled


def _split(distance: NDArray[np.float64], group: tuple[int, ...], threshold: float) -> Clusters:
    parts = linked_below(distance[np.ix_(group, group)], threshold)
    return tuple(tuple(group[index] for index in part) for part in parts)


def _sets(labels: NDArray[np.intp]) -> Clusters:
    found = [tuple(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())]
    return tuple(sorted(found))
