"The kNN graph against full sorts and scikit-learn, on data chosen to break shortcuts"
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from deepclust import neighbors
from deepclust.neighbors import connected_components, knn, knn_approximate, knn_exact_torch, knn_sklearn, spread_labels

EXACT = [knn_exact_torch, knn_sklearn]


def gen(seed=0): return torch.Generator().manual_seed(seed)


def by_sort(x, m):
    "All float64 distances, rounded to float32, sorted stably: the definition"
    x = torch.as_tensor(x)
    x = x if x.dtype == torch.float64 else x.float()
    full = torch.stack([(row - x.double()).square().sum(1).sqrt() for row in x.double()]).float().fill_diagonal_(torch.inf)
    dist, idx = full.sort(dim=1, stable=True)
    return dist[:, :m], idx[:, :m]


def cases():
    r = torch.randn(300, 16, generator=gen())
    yield 'gaussian', r
    yield 'float64', r.double()
    yield 'duplicates', torch.cat([r, r[:40], r[:40]])
    yield 'one point, 100 copies', torch.cat([r, r[:1].expand(100, -1)])
    yield 'all equal', torch.ones(50, 3)
    yield 'integers', torch.randint(0, 3, (300, 4), generator=gen())
    yield 'binary', (r > 0).float()
    yield 'far from the origin', r + 3000
    yield 'one outlier', torch.cat([r, torch.full((1, 16), 1e6)])
    yield 'tiny', r * 1e-18
    yield 'wide', torch.randn(60, 2000, generator=gen())
    yield 'two points', torch.tensor([[0.], [1.]])


CASES = dict(cases())


@pytest.mark.parametrize('search', EXACT)
@pytest.mark.parametrize('case', list(CASES))
@pytest.mark.parametrize('m', [1, 5, 20])
def test_exact_equals_full_sort(search, case, m):
    x = CASES[case]
    m = min(m, len(x) - 1)
    dist, idx = search(x, m)
    want_d, want_i = by_sort(x, m)
    assert dist.dtype == torch.float32 and idx.dtype == torch.int64 and dist.shape == idx.shape == (len(x), m)
    # torch may sum the same squares in another order: the last bit of float32 may differ, and only there the indices
    torch.testing.assert_close(dist, want_d, rtol=2e-7, atol=0)
    differ = idx != want_i
    assert torch.all((dist[differ] - want_d[differ]).abs() <= 2e-7 * want_d[differ])
    if case not in ('tiny', 'wide'): assert torch.equal(idx, want_i)
    assert not (idx == torch.arange(len(x))[:, None]).any()
    assert torch.all(dist[:, 1:] >= dist[:, :-1])
    tied = dist[:, 1:] == dist[:, :-1]
    assert torch.all(idx[:, 1:][tied] > idx[:, :-1][tied])


@pytest.mark.parametrize('search', EXACT)
@pytest.mark.parametrize('seed', range(3))
def test_exact_equals_sklearn(search, seed):
    r = torch.randn(1500, 12, generator=gen(seed))
    x = torch.cat([r, r[:200]])[torch.randperm(1700, generator=gen(seed))]
    m = 10
    want_d, want_i = NearestNeighbors(n_neighbors=m + 2, algorithm='brute').fit(x.double().numpy()).kneighbors(x.double().numpy())
    dist, idx = search(x, m)
    for i in range(len(x)):
        keep = want_i[i] != i
        d, j = want_d[i][keep], want_i[i][keep]
        np.testing.assert_allclose(dist[i], d[:m], atol=1e-6)
        gap = np.diff(d[:m + 1]) > 1e-6
        untied = np.r_[True, gap[:-1]] & gap
        np.testing.assert_array_equal(idx[i][untied], j[:m][untied])


def test_both_searches_agree_and_blocks_do_not_matter():
    x = torch.randn(2000, 8, generator=gen())
    a, b, c = knn_exact_torch(x, 7), knn_sklearn(x, 7), knn_exact_torch(x, 7, memory_mib=1)
    assert torch.equal(a[1], b[1]) and torch.equal(a[0], b[0])
    assert torch.equal(a[1], c[1]) and torch.equal(a[0], c[0])


def test_low_matmul_precision_and_autocast_change_nothing():
    x = torch.randn(500, 64, generator=gen())
    want = knn_exact_torch(x, 9)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision('medium')
        with torch.autocast('cpu', dtype=torch.bfloat16): got = knn_exact_torch(x, 9)
        assert torch.get_float32_matmul_precision() == 'medium'
    finally: torch.set_float32_matmul_precision(before)
    assert torch.equal(want[1], got[1])


def test_scaling_and_moving_keep_the_graph():
    x = torch.randn(400, 5, generator=gen()).double()
    idx = knn(x, 6, device='cpu')[1]
    assert torch.equal(idx, knn(x * 1000, 6, device='cpu')[1])
    assert torch.equal(idx, knn(x + 50, 6, device='cpu')[1])


def test_input_kinds():
    x = np.random.default_rng(0).integers(0, 255, (60, 10), dtype=np.uint8)
    want = by_sort(x, 4)
    for kind in (x, x.astype(np.float64), torch.as_tensor(x), torch.as_tensor(x).double().requires_grad_()):
        dist, idx = knn(kind, 4, device='cpu')
        assert torch.equal(idx, want[1]) and not dist.requires_grad


@pytest.mark.parametrize('bad,what', [
    (dict(m=30), '29'), (dict(m=0), 'm=0'), (dict(m=3, method='best'), 'method'), (dict(m=3, device='tpu'), 'tpu')])
def test_errors_say_what_to_do(bad, what):
    with pytest.raises(ValueError, match=what): knn(torch.randn(30, 2), **bad)


def test_bad_data():
    with pytest.raises(ValueError, match='NaN'): knn(torch.tensor([[1.], [torch.nan], [2.]]), 1)
    with pytest.raises(ValueError, match='reshape'): knn(torch.zeros(5, 3, 3), 1)


class FakeDescent:
    "Finds the true neighbours, but loses some, as NN-descent does"
    lose = 0

    def __init__(self, data, n_neighbors, random_state, low_memory, n_jobs):
        dist, idx = by_sort(data, n_neighbors)
        idx[::50, self.lose or n_neighbors:] = -1
        self.neighbor_graph = idx.numpy().astype(np.int32), dist.numpy()


@pytest.mark.parametrize('lose', [0, 3, 9])
def test_approximate_is_repaired(monkeypatch, lose):
    fake = types.ModuleType('pynndescent'); fake.NNDescent = type('NNDescent', (FakeDescent,), dict(lose=lose))
    monkeypatch.setitem(sys.modules, 'pynndescent', fake)
    x = torch.randn(1200, 6, generator=gen())
    dist, idx = knn_approximate(x, 8)
    want = by_sort(x, 8)
    assert torch.equal(idx, want[1]) and torch.equal(dist, want[0])


def test_auto_chooses_by_size(monkeypatch):
    calls = []
    answer = torch.zeros(100_001, 1), torch.zeros(100_001, 1, dtype=torch.int64)
    for name in ('knn_sklearn', 'knn_approximate'):
        monkeypatch.setattr(neighbors, name, lambda x, m, *a, name=name: calls.append(name) or answer)
    x = torch.zeros(100_001, 1)
    monkeypatch.setattr(neighbors.importlib.util, 'find_spec', lambda name: object())
    knn(x, 1, device='cpu'); knn(x[1:], 1, device='cpu'); knn(x, 1, method='exact', device='cpu')
    monkeypatch.setattr(neighbors.importlib.util, 'find_spec', lambda name: None)
    with pytest.warns(UserWarning, match='core-minutes'): knn(x, 1, device='cpu')
    with warnings.catch_warnings():
        warnings.simplefilter('error'); knn(x[1:], 1, device='cpu')
    assert calls == ['knn_approximate'] + 4 * ['knn_sklearn']


@pytest.mark.slow
def test_approximate_for_real():
    pytest.importorskip('pynndescent')
    x = torch.randn(5000, 32, generator=gen())
    a, b, true = knn_approximate(x, 10, seed=1), knn_approximate(x, 10, seed=1), knn_sklearn(x, 10)
    assert torch.equal(a[1], b[1])
    assert (a[1][:, :, None] == true[1][:, None]).any(-1).float().mean() > .9


MEMORY = """
import resource, torch
from deepclust.neighbors import {search}
torch.set_num_threads(1)
x = torch.randn(12_000, 16, generator=torch.Generator().manual_seed(0))
{search}(x[:500], 10)                       # what imports and first calls allocate
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{search}(x, 10)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='ru_maxrss has other units elsewhere')
@pytest.mark.parametrize('search', ['knn_exact_torch', 'knn_sklearn'])
def test_memory_is_far_below_n_squared(search):
    "12 000 x 12 000 float32 distances would be 549 MiB"
    out = subprocess.run([sys.executable, '-c', MEMORY.format(search=search)], capture_output=True, text=True, check=True)
    assert int(out.stdout) < 200


def test_components():
    x = torch.cat([torch.randn(30, 2, generator=gen()), torch.randn(20, 2, generator=gen(1)) + 100])
    count, piece = connected_components(knn(x, 10, device='cpu')[1])
    assert count == 2 and piece[:30].unique().numel() == 1 and piece[30:].unique().numel() == 1 and piece[0] != piece[-1]


@pytest.mark.parametrize('alpha', [.2, .9, .99])
def test_labels_spread_to_the_closed_form(alpha):
    "F* = (1 - a)(I - aS)^-1 Y in float64; an edge counts in both directions, once"
    n, idx = 80, knn(torch.randn(80, 5, generator=gen()), 6, device='cpu')[1]
    y = torch.full((n,), -1)
    y[:9] = torch.arange(9) % 4
    a = np.zeros((n, n))
    a[np.arange(n)[:, None], idx] = 1
    assert not np.array_equal(a, a.T)
    a = np.maximum(a, a.T)
    s = a / np.sqrt(np.outer(a.sum(0), a.sum(0)))
    told = np.eye(4)[y.clamp(min=0)] * (y.numpy() >= 0)[:, None]
    want = (1 - alpha) * np.linalg.solve(np.eye(n) - alpha * s, told)
    for rounds in (60, 2000):
        got = spread_labels(idx, y, 4, alpha, rounds)
        assert got.dtype == torch.float32 and got.shape == (n, 4)
        assert np.abs(got.numpy() - want).max() < alpha**rounds + 1e-6


def test_labels_stay_in_their_piece():
    idx = torch.tensor([[1], [0], [3], [2], [3]])
    got = spread_labels(idx, torch.tensor([1, -1, -1, -1, -1]), 2)
    assert torch.equal(got[2:], torch.zeros(3, 2)) and (got[:2, 1] > 0).all() and not got[:, 0].any()


@pytest.mark.parametrize('d,search', [(128, 'knn_sklearn'), (129, 'knn_exact_torch')])
def test_exact_on_a_cpu_chooses_by_width(monkeypatch, d, search):
    calls = []
    for name in ('knn_sklearn', 'knn_exact_torch'):
        monkeypatch.setattr(neighbors, name, lambda x, m, name=name, **k: calls.append(name) or (x[:, :m], x[:, :m].long()))
    knn(torch.zeros(5, d), 2, device='cpu')
    assert calls == [search]
