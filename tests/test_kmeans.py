"Batched Lloyd and k-means++ on the CPU device, judged by scikit-learn"
import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs

from deepclust.core import generator
from deepclust.kmeans import KMeansResult, _kmeans_torch, cluster_sums, kmeans, kmeans_plusplus, lloyd, nearest_center


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
