"""Fake initialisations: schemes by tensor, draws that a family shares, distances from stored measures."""

from __future__ import annotations

import builders
import numpy as np
import pytest

from lineage.decoding import F64, Rows
from lineage.family import Layer, LayerKind
from lineage.initialisation import Draw, Law, Scheme, Start, distances, draw, fans, inner_products, start_of
from lineage.sketch import CountSketch

DENSE = Layer("fc1.weight", (48, 32), LayerKind.TRUNK)
SCALE = Layer("norm.weight", (48,), LayerKind.VECTOR)
HEAD = Layer("classifier.weight", (3, 48), LayerKind.HEAD)
DRAWN = [scheme for scheme in Scheme if scheme not in {Scheme.FITTED, Scheme.CENTROID}]


def sketch_of(layer: Layer, values: np.ndarray, size: int) -> np.ndarray:
    found = np.zeros((1, size))
    flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
    rows = Rows(flat.view(np.uint8), np.zeros(1, dtype=np.int64), np.array([F64]), layer.size)
    CountSketch.of(layer, size).add(rows, 0, found)
    return found[0]


def test_fans_are_read_from_shape_and_name() -> None:
    assert fans(Layer("conv1.weight", (8, 3, 5, 5), LayerKind.TRUNK)) == (75, 200)
    assert fans(Layer("h.0.attn.c_attn.weight", (16, 48), LayerKind.TRUNK)) == (16, 48)
    assert fans(Layer("embed_tokens.weight", (1000, 64), LayerKind.TRUNK)) == (64, 64)


def test_an_architecture_begins_as_its_libraries_let_it() -> None:
    blocks = [Layer(f"h.{n}.attn.c_proj.weight", (16, 16), LayerKind.TRUNK) for n in range(8)]
    assert start_of(blocks[0], Scheme.ARCHITECTURE, blocks).deviation == pytest.approx(0.02 / 4)
    conv = Layer("conv1.weight", (8, 3, 5, 5), LayerKind.TRUNK)
    assert start_of(conv, Scheme.ARCHITECTURE, [conv]) == Start(Law.NORMAL, 0.1)
    assert start_of(DENSE, Scheme.ARCHITECTURE, [DENSE]).law is Law.UNIFORM
    with pytest.raises(ValueError, match="fitted to members"):
        start_of(DENSE, Scheme.FITTED, [DENSE])


@pytest.mark.parametrize("scheme", DRAWN)
def test_a_draw_has_the_size_that_its_scheme_states_and_is_the_same_again(scheme: Scheme) -> None:
    layer = Layer("fc.weight", (512, 256), LayerKind.TRUNK)
    start = start_of(layer, scheme, [layer])
    drawn = draw(layer, start, 64)
    assert drawn.squared_norm == pytest.approx(layer.size * start.deviation**2, rel=0.02)
    draw.cache_clear()
    assert (draw(layer, start, 64).sketch == drawn.sketch).all()


def test_the_sketch_of_a_large_tensors_draw_has_the_distribution_of_a_sketch() -> None:
    layer = Layer("fc.weight", (2048, 1024), LayerKind.TRUNK)
    drawn = draw(layer, Start(Law.NORMAL, 0.5), 4096)
    assert drawn.sketch @ drawn.sketch == pytest.approx(drawn.squared_norm, rel=0.15)


def test_inner_products_from_sketches_are_unbiased_within_their_error() -> None:
    size, errors = 64, []
    for number in range(300):
        layer = Layer(f"fc{number}.weight", (48, 32), LayerKind.TRUNK)
        weights, start = np.random.default_rng(number).normal(size=(2, layer.size))
        drawn = Draw(sketch_of(layer, start, size), float(start @ start))
        found = inner_products(sketch_of(layer, weights, size)[None], drawn)[0]
        bound = np.sqrt((weights @ weights * (start @ start) + (weights @ start) ** 2) / size)
        errors.append((found - weights @ start) / bound)
    assert abs(np.mean(errors)) < 3 / np.sqrt(len(errors))
    assert 0.5 < np.std(errors) < 1.15


def test_a_draw_does_not_hang_on_its_scale_and_its_sketch_tells_its_norm() -> None:
    # A draw of twice the deviation is the same draw, doubled.
    layer = Layer("fc.weight", (64, 64), LayerKind.TRUNK)
    once, twice = (draw(layer, Start(Law.NORMAL, scale), 128) for scale in (1.0, 2.0))
    assert twice.sketch == pytest.approx(2 * once.sketch)
    assert inner_products(twice.sketch[None], once)[0] == pytest.approx(2 * once.squared_norm, rel=0.4)


def test_distances_follow_from_measures_and_skip_what_is_not_there() -> None:
    rng = np.random.default_rng(0)
    parent = {DENSE.name: rng.normal(size=DENSE.shape), SCALE.name: 1 + 0.1 * rng.normal(size=48)}
    child = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in parent.items()}
    lacking = {DENSE.name: parent[DENSE.name] * 2}
    head = {HEAD.name: rng.normal(size=HEAD.shape)}
    measures = builders.measured([parent | head, child | head, lacking | head], [DENSE, SCALE, HEAD])
    found = distances(measures, [0, 1, 2], Scheme.FITTED)
    least = min((model[DENSE.name] ** 2).sum() for model in (parent, child, lacking))
    assert found[0] == pytest.approx([(m[DENSE.name] ** 2).sum() + least for m in (parent, child, lacking)])
    assert found[1, :2] == pytest.approx([((m[SCALE.name] - 1) ** 2).sum() for m in (parent, child)])
    assert np.isnan(found[1, 2])
    assert np.isnan(found[2]).all()


def test_the_centroid_is_the_mean_of_those_who_have_a_layer_and_tells_two_nothing() -> None:
    rng = np.random.default_rng(1)
    models = [{DENSE.name: rng.normal(size=DENSE.shape)} for _ in range(4)]
    measures = builders.measured([*models, {}], [DENSE])
    found = distances(measures, range(5), Scheme.CENTROID)[0]
    centre = np.mean([model[DENSE.name] for model in models], axis=0)
    assert found[:4] == pytest.approx([((model[DENSE.name] - centre) ** 2).sum() for model in models])
    assert np.isnan(found[4])
    one, other = distances(measures, [0, 1], Scheme.CENTROID)[0]
    assert one == pytest.approx(other)


@pytest.mark.parametrize("scheme", list(Scheme))
def test_one_model_two_equal_ones_and_no_common_layer_give_an_answer(scheme: Scheme) -> None:
    model = {DENSE.name: np.random.default_rng(2).normal(size=DENSE.shape)}
    same = builders.measured([model, model], [DENSE, SCALE])
    assert distances(same, [0], scheme).shape == (2, 1)
    one, other = distances(same, [0, 1], scheme)[0]
    assert one == other
    apart = builders.measured([model, {SCALE.name: np.ones(48)}], [DENSE, SCALE])
    assert np.isnan(distances(apart, [0, 1], scheme)[0, 1])
