"Batched Lloyd and k-means++ on the CPU device, judged by scikit-learn"
import warnings

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs

from deepclust.core import generator
from deepclust.kmeans import (KMeansResult, _kmeans_torch, check_labels, cluster_sums, kmeans, kmeans_plusplus, lloyd, nearest_center,
                              seed_centers, seeded_kmeans)
from deepclust.methods.shallow import KMeans as ShallowKMeans, SeededKMeans


def blobs(n=600, k=6, d=5, seed=0, dtype=torch.float32):
    return torch.as_tensor(make_blobs(n, n_features=d, centers=k, random_state=seed)[0]).to(dtype)


DATA = dict(blobs=(blobs(), 6), digits=(torch.tensor(load_digits().data, dtype=torch.float32), 10),
            far=(blobs() + 1000, 6), double=(blobs(dtype=torch.float64), 6))


@pytest.mark.parametrize('name', list(DATA))
def test_same_start_same_end(name):
    x, k = DATA[name]
    starts = torch.stack([kmeans_plusplus(x, k, generator(s)) for s in range(4)])
    kept = starts.clone()
    runs = lloyd(x, starts)
    assert torch.equal(starts, kept)                # the caller's centres are not moved
    for r in range(4):
        want = KMeans(k, init=starts[r].numpy(), n_init=1, algorithm='lloyd').fit(x.numpy())
        assert abs(float(runs.inertia[r]) / want.inertia_ - 1) < 1e-4
        assert abs(int(runs.n_iter[r]) - want.n_iter_) <= 1
        assert (runs.labels[r].numpy() == want.labels_).mean() > .999
        np.testing.assert_allclose(runs.centers[r], want.cluster_centers_, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize('name', list(DATA))
@pytest.mark.parametrize('seed', range(3))
def test_best_of_ten_is_as_good_as_scikit_learns(name, seed):
    x, k = DATA[name]
    got, want = _kmeans_torch(x, k, 10, 300, 1e-4, seed), KMeans(k, n_init=10, random_state=seed).fit(x.numpy())
    assert got.inertia <= 1.01 * want.inertia_
    labels, sq = nearest_center(x.double(), got.centers.double())
    assert (labels == got.labels).float().mean() > .999
    assert abs(float(sq.sum()) / got.inertia - 1) < 1e-4


def test_inertia_never_rises():
    x, k = DATA['digits']
    starts = x[:k][None]
    inertia = [float(lloyd(x, starts, max_iter=i, tol=0).inertia[0]) for i in range(1, 12)]
    assert all(b <= a * (1 + 1e-6) for a, b in zip(inertia, inertia[1:]))


def test_restarts_do_not_influence_each_other():
    x, k = DATA['blobs']
    starts = torch.stack([kmeans_plusplus(x, k, generator(s)) for s in range(5)])
    together = lloyd(x, starts)
    for r in range(5):
        alone = lloyd(x, starts[r:r + 1])
        torch.testing.assert_close(alone.centers[0], together.centers[r], rtol=1e-5, atol=1e-5)
        assert alone.n_iter[0] == together.n_iter[r]


def test_empty_clusters_are_refilled_as_in_scikit_learn():
    x = blobs()
    starts = torch.cat([x[:3], torch.full((3, 5), 1e4) + torch.arange(3.)[:, None]])
    got, want = lloyd(x, starts[None]), KMeans(6, init=starts.numpy(), n_init=1).fit(x.numpy())
    assert len(got.labels[0].unique()) == 6
    assert abs(float(got.inertia[0]) / want.inertia_ - 1) < 1e-4


def test_fewer_distinct_points_than_clusters():
    x = torch.tensor([[0.], [1.]]).repeat(10, 1)
    got = _kmeans_torch(x, 4, 2, 300, 1e-4, 0)
    assert got.inertia == 0 and torch.isfinite(got.centers).all()


@pytest.mark.parametrize('own', [True, False])
@pytest.mark.parametrize('n,k', [(1, 1), (5, 5), (7, 1)])
def test_edges(own, n, k):
    x = torch.randn(n, 3, generator=generator(0))
    got = _kmeans_torch(x, k, 2, 300, 1e-4, 0) if own else kmeans(x, k, n_init=2)
    assert isinstance(got, KMeansResult) and got.centers.shape == (k, 3) and got.labels.shape == (n,) and got.labels.dtype == torch.int64
    assert isinstance(got.inertia, float) and isinstance(got.n_iter, int)
    if k == 1: torch.testing.assert_close(got.centers[0], x.mean(0))
    else: assert abs(got.inertia) < 1e-6


def test_blocks_do_not_matter():
    x, k = DATA['digits']
    c = torch.stack([x[:k], x[k:2 * k]])
    a, b = nearest_center(x, c), nearest_center(x, c, memory_mib=1)
    assert torch.equal(a[0], b[0])
    torch.testing.assert_close(a[1], b[1])
    s, t = cluster_sums(x, a[0], k), cluster_sums(x.repeat(20, 1), a[0].repeat(1, 20), k, memory_mib=1)
    torch.testing.assert_close(s[0] * 20, t[0]); assert torch.equal(s[1] * 20, t[1])


def test_nearest_center_shapes_and_ties():
    x = torch.tensor([[0.], [1.], [2.]])
    labels, sq = nearest_center(x, torch.tensor([[0.], [2.]]))
    assert labels.tolist() == [0, 0, 1] and sq.tolist() == [0, 1, 0]
    labels, sq = nearest_center(x, torch.tensor([[[0.], [2.]], [[2.], [0.]]]))
    assert labels.tolist() == [[0, 0, 1], [1, 0, 0]] and sq.shape == (2, 3)


def test_plusplus_takes_distinct_points_and_far_groups():
    x = torch.cat([torch.randn(100, 2, generator=generator(g)) + 100 * g for g in range(5)])
    for seed in range(20):
        c = kmeans_plusplus(x, 5, generator(seed))
        assert (c[:, 0] / 100).round().unique().numel() == 5
        assert all((x == row).all(1).any() for row in c)
    assert torch.equal(kmeans_plusplus(x, 5, generator(3)), kmeans_plusplus(x, 5, generator(3)))


@pytest.mark.parametrize('own', [True, False])
def test_seeds_decide_and_global_state_is_untouched(own):
    x = torch.randn(200, 4, generator=generator(0))
    fit = (lambda s: _kmeans_torch(x, 8, 1, 300, 1e-4, s)) if own else (lambda s: kmeans(x, 8, n_init=1, seed=s))
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    a, b, c = fit(1), fit(1), fit(2)
    assert torch.equal(a.labels, b.labels) and not torch.equal(a.centers, c.centers)
    assert torch.equal(torch_state, torch.get_rng_state()) and (numpy_state == np.random.get_state()[1]).all()


@pytest.mark.parametrize('bad,what', [
    (dict(k=0), 'k=0'), (dict(k=11), 'k <= 10'), (dict(k=2, n_init=0), 'n_init'),
    (dict(k=2, max_iter=0), 'max_iter'), (dict(k=2, tol=-1.), 'tol')])
def test_errors(bad, what):
    with pytest.raises(ValueError, match=what): kmeans(torch.randn(10, 2), **bad)


def test_bad_data():
    with pytest.raises(ValueError, match='NaN'): kmeans(torch.full((5, 2), torch.nan), 2)
    with pytest.raises(ValueError, match='flatten'): kmeans(torch.zeros(5, 2, 2), 2)
    assert not kmeans(torch.randn(10, 2).requires_grad_(), 2).centers.requires_grad


# ---- with a few labels

def reference(x, y, k, steps=300):
    "Algorithm 1 by loops, in float64"
    x, c = np.asarray(x, np.float64), np.stack([np.asarray(x, np.float64)[y == j].mean(0) for j in range(k)])
    labels = None
    for _ in range(steps):
        new = np.array([y[i] if y[i] >= 0 else ((x[i] - c)**2).sum(1).argmin() for i in range(len(x))])
        if labels is not None and (new == labels).all(): break
        labels = new
        c = np.stack([x[labels == j].mean(0) for j in range(k)])
    return c, labels


@pytest.mark.parametrize('seed', range(3))
def test_seeded_against_loops(seed):
    x, truth = make_blobs(200, n_features=4, centers=5, cluster_std=3., random_state=seed)
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(200) < .15, truth, -1)
    y[[np.flatnonzero(truth == j)[0] for j in range(5)]] = range(5)
    y[np.flatnonzero(y >= 0)[0]] = (y[np.flatnonzero(y >= 0)[0]] + 1) % 5      # one wrong label: it stays all the same
    if len(set(y[y >= 0])) < 5: pytest.skip('the wrong label emptied a class')
    r = seeded_kmeans(torch.tensor(x), y, 5, tol=0.)
    c, labels = reference(x, y, 5)
    np.testing.assert_allclose(r.centers, c, atol=1e-9)
    assert np.array_equal(r.labels, labels) and np.array_equal(r.labels.numpy()[y >= 0], y[y >= 0])
    assert abs(r.inertia - ((x - c[labels])**2).sum()) < 1e-6 * r.inertia
    f32 = seeded_kmeans(torch.tensor(x).float(), y, 5, tol=0.)
    assert (f32.labels == r.labels).float().mean() > .99 and f32.centers.dtype == torch.float32


def test_seeds_of_clusters_without_label():
    x = torch.cat([torch.randn(60, 2, generator=generator(g)) + 50 * g for g in range(4)])
    y = torch.full((240,), -1)
    y[0], y[61] = 0, 1
    for seed in range(10):
        with pytest.warns(UserWarning, match='clusters 2, 3 of 4'): r = seeded_kmeans(x, y, 4, seed=seed)
        groups = [set(r.labels[60 * g:60 * g + 60].tolist()) for g in range(4)]
        assert groups[0] == {0} and groups[1] == {1} and sorted(map(len, groups)) == [1] * 4 and groups[2] != groups[3]
    with pytest.raises(ValueError, match='clusters 2, 3 of 4'): seeded_kmeans(x, y, 4, strict=True)
    with pytest.raises(ValueError, match='clusters 0, 1, 2, 3 of 4'): seeded_kmeans(x, None, 4, strict=True)


def test_nothing_and_everything_labelled():
    x, k = DATA['blobs']
    plain, none = kmeans(x, k, seed=3), seeded_kmeans(x, np.full(len(x), -1), k, seed=3)
    assert torch.equal(plain.labels, none.labels) and torch.equal(plain.labels, seeded_kmeans(x, None, k, seed=3).labels)
    y = torch.arange(len(x)) % k
    r = seeded_kmeans(x, y, k)
    assert torch.equal(r.labels, y) and r.n_iter <= 2
    for j in range(k): torch.testing.assert_close(r.centers[j], x[y == j].mean(0), rtol=1e-4, atol=1e-4)
    with pytest.warns(UserWarning, match='cluster 1 of 2 has'): r = seeded_kmeans(x, torch.zeros(len(x), dtype=torch.int64), 2)
    assert (r.labels == 0).all() and torch.isfinite(r.centers).all()          # nobody is left to join cluster 1


def test_known_points_fill_no_empty_cluster():
    x = torch.tensor([[0.], [.1], [100.], [5.], [5.1]])
    y = torch.tensor([0, -1, 0, 1, -1])                     # the far point is known to be of class 0, far from its centre
    r = lloyd(x, torch.tensor([[[50.], [60.], [70.]]]), y=y)
    assert r.labels[0, [0, 2, 3]].tolist() == [0, 0, 1] and 2 in r.labels[0, [1, 4]]


def test_seeded_inertia_never_rises():
    x, k = DATA['digits']
    truth = torch.tensor(load_digits().target)
    y = torch.where(torch.rand(len(x), generator=generator(0)) < .05, truth, -1)
    inertia = [seeded_kmeans(x, y, k, max_iter=i, tol=0.).inertia for i in range(1, 10)]
    assert all(b <= a * (1 + 1e-6) for a, b in zip(inertia, inertia[1:]))


@pytest.mark.parametrize('y,what', [
    ([0, 1, 2], 'outside -1..1'), ([0, -2, 1], 'y\\[1\\]=-2'), ([0, 1], 'shape'), ([[0], [1], [1]], 'shape'), ([0., .5, 1.], 'integers'),
    ([0, np.nan, 1], '1 NaN, the first y\\[1\\]'), (['a', 'b', 'c'], 'names.*factorize'), ([True, False, True], 'integers'),
    ([0, None, 1], 'factorize')])
def test_bad_labels(y, what):
    with pytest.raises(ValueError, match=what): check_labels(y, 3, 2)
    with pytest.raises(ValueError, match=what): seeded_kmeans(torch.randn(3, 2), y, 2)


def test_good_labels():
    for y in ([0., -1., 1.], torch.tensor([0, -1, 1]), np.array([0, -1, 1], np.int8)):
        got = check_labels(y, 3, 2)
        assert got.dtype == np.int64 and got.tolist() == [0, -1, 1]


def test_seeded_estimator():
    x, truth = make_blobs(150, centers=3, cluster_std=2., random_state=1)
    y = np.where(np.arange(150) < 20, truth, -1)
    m = SeededKMeans(3, random_state=0).fit(x, y)
    assert np.array_equal(m.labels_, m.predict(x)) and np.array_equal(m.labels_, m.predict_proba(x).argmax(1))
    want = seeded_kmeans(torch.tensor(x).float(), y, 3)
    np.testing.assert_allclose(m.cluster_centers_, want.centers, rtol=1e-5)
    assert (np.where(y >= 0, y, m.labels_) == want.labels.numpy()).all() and not hasattr(m, '_y')
    assert np.array_equal(SeededKMeans(3, random_state=0).fit_predict(x, y), m.labels_)
    assert SeededKMeans(3, random_state=0).fit(x).inertia_ == pytest.approx(ShallowKMeans(3, random_state=0).fit(x).inertia_, rel=1e-4)
    with pytest.raises(ValueError, match='no labelled'): SeededKMeans(3, strict=True).fit(x)
    with pytest.raises(ValueError, match='NaN'): SeededKMeans(3).fit(x, np.where(y < 0, np.nan, y))
    with pytest.raises(ValueError, match='outside'): SeededKMeans(3).fit(x, truth + 1)


@pytest.mark.parametrize('offset', [0., 100., 3000.])
def test_far_from_the_origin_nothing_is_lost(offset):
    g = torch.Generator().manual_seed(0)
    x, c = torch.randn(500, 10, generator=g)+offset, torch.randn(4, 10, generator=g)+offset
    labels, sq = nearest_center(x, c)
    d = torch.cdist(x.double(), c.double(), compute_mode='donot_use_mm_for_euclid_dist').square()
    assert (labels==d.argmin(1)).all() and torch.allclose(sq.double(), d.min(1).values, rtol=2e-3, atol=2e-3)


def test_seeds_far_from_the_origin():
    g, hits = torch.Generator().manual_seed(0), 0
    x = torch.cat([.1*torch.randn(60, 8, generator=g), .1*torch.randn(60, 8, generator=g)+1])+1000
    y = torch.where(torch.arange(120)<60, 0, -1)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for s in range(10): hits += int((seed_centers(x, y, 2, torch.Generator().manual_seed(s))[1]>1000.5).all())
    assert hits==10
