"Constraints against brute force: closure by Floyd-Warshall, blocks by slicing, and a million pairs against the clock"
import copy
import pickle
import time
import tracemalloc

import numpy as np
import pytest
import torch

from deepclust.constraints import (Constraints, augment_links, block, closed_block, closed_pairs, closure_size, constraint_batches,
                                   contradictions, find_groups, label_pairs, must_chain, noise_alpha)


def gen(seed=0): return torch.Generator().manual_seed(seed)
def pair_set(pairs): return set(map(tuple, np.asarray(pairs).reshape(-1, 2).tolist()))


def random_links(seed, n=14, m=12, k=3):
    "Links of random labels; without contradictions"
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    pairs = rng.integers(0, n, (m, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    same = y[pairs[:, 0]] == y[pairs[:, 1]]
    return Constraints(pairs[same], pairs[~same])


def floyd_warshall(must, cannot, n):
    "(n, n) closure by definition: reach by must-links; apart if any cannot-link joins what they reach"
    reach = np.eye(n, dtype=bool)
    for i, j in must: reach[i, j] = reach[j, i] = True
    for k in range(n): reach |= reach[:, [k]] & reach[[k]]
    apart = np.zeros((n, n), bool)
    for i, j in cannot: apart |= np.outer(reach[i], reach[j]) | np.outer(reach[j], reach[i])
    return reach & ~np.eye(n, dtype=bool), apart


# ---- making

@pytest.mark.parametrize('make', [list, np.array, torch.tensor, lambda p: np.array(p, np.int32), lambda p: np.array(p, np.uint16),
                                  lambda p: tuple(map(tuple, p)), lambda p: np.asfortranarray(p), lambda p: np.repeat(p, 2, 0)[::-1]])
def test_every_form_of_pairs(make):
    c = Constraints(make([[3, 1], [0, 1], [1, 3]]), make([[9, 2]]))
    assert c.must_link.tolist() == [[0, 1], [1, 3]] and c.cannot_link.tolist() == [[2, 9]]
    assert c.must_link.dtype == c.cannot_link.dtype == np.int64 and len(c) == 3 and c.weights is None


def test_the_input_is_neither_changed_nor_shared():
    a = np.array([[5, 1], [0, 1]])
    c = Constraints(a)
    a[:] = 7
    assert c.must_link.tolist() == [[0, 1], [1, 5]]
    with pytest.raises(ValueError): c.must_link[0, 0] = 3


@pytest.mark.parametrize('empty', [(), [], np.empty((0, 2), int), np.array([]), torch.empty(0, 2)])
def test_no_links(empty):
    c = Constraints(empty, empty).check(0)
    assert len(c) == len(c.closure()) == 0 and c.matrix(3).nnz == 0 and not list(constraint_batches(c, 4, gen()))
    for closed in (False, True): assert c.lookup(torch.arange(3), closed).equal(torch.zeros(3, 3))


@pytest.mark.parametrize('bad,says', [
    ([(0, 0)], r'must_link links samples with themselves \(1 in all, the first in row 0'), ([(0, 1), (4, 4)], r'row 1: \(4, 4\)'),
    ([(0, -1)], r'outside 0\.\.2\*\*31-1 \(1 in all, the first in row 0: \(0, -1\)'), ([(0, 2**31)], 'outside'),
    ([(0., 1.)], 'float64, not integers'), ([0, 1], r'shape \(2,\)'), ([(0, 1, 2)], r'\(1, 3\)'), ([(True, False)], 'bool'),
    ([('a', 'b')], 'not integers'), ([(0, 1), (2,)], 'not integers'), (3, 'shape'), (None, 'not integers')])
def test_bad_pairs(bad, says):
    with pytest.raises(ValueError, match=says): Constraints(bad)
    with pytest.raises(ValueError, match='cannot_link'): Constraints((), bad)


@pytest.mark.parametrize('noise,error', [(.5, ValueError), (-.1, ValueError), (np.nan, ValueError), ('a', TypeError), (True, TypeError)])
def test_bad_noise(noise, error):
    with pytest.raises(error, match='noise'): Constraints([(0, 1)], noise=noise)


@pytest.mark.parametrize('weights,says', [([1, 2], 'one for each'), ([0.], '> 0'), ([-1.], '> 0'), ([np.nan], '> 0'), ([[1.]], 'shape'),
                                          (['a'], '> 0')])
def test_bad_weights(weights, says):
    with pytest.raises(ValueError, match=says): Constraints([(0, 1)], weights=weights)


def test_alpha():
    assert Constraints().alpha == 1e4 and noise_alpha(1e-9) == 1e4
    q = np.array([.001, .01, .2, .4, .499])
    np.testing.assert_allclose([noise_alpha(float(x)) for x in q], 1000*np.log((1-q)/q))
    assert Constraints([(0, 1)], noise=.2).alpha == noise_alpha(.2)


def test_repr():
    assert repr(Constraints([(0, 1)], [(1, 2), (3, 4)])) == 'Constraints(1 must-links, 2 cannot-links)'
    assert 'noise=0.1' in repr(Constraints([(0, 1)], noise=.1)) and 'weighted' in repr(Constraints([(0, 1)], weights=[2]))
    big = Constraints(np.stack([np.zeros(99, int), np.arange(1, 100)], 1))
    assert 'closure' in repr(big.closure()) and '% of the closure' in repr(big.closure(max_pairs=200))


@pytest.mark.parametrize('again', [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies(again):
    c = random_links(0)
    c.lookup(torch.arange(14), closed=True)
    d = again(c)
    assert d.lookup(torch.arange(14), closed=True).equal(c.lookup(torch.arange(14), closed=True)) and (d.must_link == c.must_link).all()


# ---- from labels

@pytest.mark.parametrize('kind', ['both', 'must', 'cannot'])
def test_all_pairs_of_labels(kind):
    y = np.array([0, -1, 1, 0, 2, 1, -1, 0, 1])
    fits = lambda a, b: min(a, b) >= 0 and kind in ('both', 'must' if a == b else 'cannot')
    want = {(i, j) for i in range(9) for j in range(i+1, 9) if fits(y[i], y[j])}
    got = np.sort(label_pairs(y, kind, 1000, np.random.default_rng(0)), 1)
    assert len(got) == len(want) and pair_set(got) == want
    c = Constraints.from_labels(y, 1000, kind=kind)
    assert pair_set(c.must_link) | pair_set(c.cannot_link) == want
    assert all(y[i] == y[j] for i, j in c.must_link) and all(y[i] != y[j] for i, j in c.cannot_link)


@pytest.mark.parametrize('kind,m', [('both', 5), ('both', 20), ('must', 4), ('cannot', 12)])
def test_pairs_are_drawn_uniformly(kind, m):
    y, rng, runs = np.array([0, 0, 1, 1, 1, 2, -1, 2, 3]), np.random.default_rng(0), 4000
    every = len(label_pairs(y, kind, 1000, rng))
    drawn = np.concatenate([np.sort(label_pairs(y, kind, m, rng), 1) for _ in range(runs)])
    count = np.unique(drawn, axis=0, return_counts=True)[1]
    share = min(m/every, 1)
    assert len(count) == every and (abs(count-runs*share) <= 5*np.sqrt(runs*share*(1-share))).all()


def test_statistics_of_random_labels():
    y = np.random.default_rng(0).integers(0, 10, 5000)
    y[::2] = -1
    c = Constraints.from_labels(y, 6000)
    assert len(c) == 6000 and abs(len(c.must_link)-600) < 5*np.sqrt(540)
    assert (y[np.concatenate([c.must_link, c.cannot_link])] >= 0).all() and c.check(5000) is c
    for kind, empty in (('must', 'cannot_link'), ('cannot', 'must_link')):
        c = Constraints.from_labels(y, 6000, kind=kind)
        assert len(c) == 6000 and len(getattr(c, empty)) == 0


@pytest.mark.parametrize('kind', ['both', 'must', 'cannot'])
@pytest.mark.parametrize('noise', [.05, .3])
def test_noise_rate(kind, noise):
    y = np.random.default_rng(1).integers(0, 5, 3000)
    c = Constraints.from_labels(y, 2000, noise=noise, kind=kind)
    wrong = (y[c.must_link[:, 0]] != y[c.must_link[:, 1]]).sum()+(y[c.cannot_link[:, 0]] == y[c.cannot_link[:, 1]]).sum()
    assert wrong == round(2000*noise) and len(c) == 2000 and c.noise == noise
    if kind == 'both': assert 0 < (y[c.must_link[:, 0]] != y[c.must_link[:, 1]]).sum() < wrong   # both directions occur


def test_draws_repeat():
    y = np.random.default_rng(0).integers(0, 4, 500)
    a, b, other = (Constraints.from_labels(y, 300, noise=.1, seed=s) for s in (3, 3, 4))
    assert (a.must_link == b.must_link).all() and (a.cannot_link == b.cannot_link).all()
    assert pair_set(a.cannot_link) != pair_set(other.cannot_link)
    assert (Constraints.from_labels(torch.tensor(y), 300, noise=.1, seed=3).must_link == a.must_link).all()


@pytest.mark.parametrize('kw,error,says', [
    (dict(y=[0, -1, -1]), ValueError, '1 labelled samples of 1 classes'), (dict(y=[]), ValueError, 'integers'),
    (dict(y=[0, 1], kind='must'), ValueError, 'label more'), (dict(y=[0, 0], kind='cannot'), ValueError, 'label more'),
    (dict(y=[0, -2]), ValueError, r'y\[1\] is -2'), (dict(y=[0., 1.]), ValueError, 'float64'), (dict(y=[[0, 1]]), ValueError, 'shape'),
    (dict(y=[0, 1], n_pairs=0), ValueError, 'n_pairs'), (dict(y=[0, 1], n_pairs=2.), TypeError, 'n_pairs'),
    (dict(y=[0, 1], noise=.5), ValueError, 'noise'), (dict(y=[0, 1], kind='all'), ValueError, 'kind'),
    (dict(y=[0, 1], seed='a'), TypeError, 'seed')])
def test_bad_labels(kw, error, says):
    with pytest.raises(error, match=says): Constraints.from_labels(**kw)


# ---- closure

@pytest.mark.parametrize('seed', range(40))
def test_closure_is_floyd_warshall(seed):
    c = random_links(seed, m=4+seed)
    together, apart = floyd_warshall(c.must_link, c.cannot_link, 14)
    want = together.astype(np.float32)-apart
    full = c.check(14).closure()
    assert (full.matrix(14).toarray() == want).all() and full.kept == 1
    assert sum(closure_size(find_groups(c.must_link, c.cannot_link))) == len(full) == abs(want).sum()/2
    assert c.lookup(torch.arange(14), closed=True).equal(torch.tensor(want))
    assert (full.closure().matrix(14).toarray() == want).all()


def test_sampled_closure():
    y = np.random.default_rng(0).integers(0, 3, 120)
    c = Constraints.from_labels(y, 400)
    full = c.closure()
    every, given = pair_set(full.must_link) | pair_set(full.cannot_link), pair_set(c.must_link) | pair_set(c.cannot_link)
    for limit in (0, 400, 1000, len(full)-1, len(full)):
        part = c.closure(max_pairs=limit, seed=1)
        got = pair_set(part.must_link) | pair_set(part.cannot_link)
        assert given <= got <= every and len(got) == len(part) <= max(limit, 400) and part.kept == len(part)/len(full)
        assert (y[part.must_link[:, 0]] == y[part.must_link[:, 1]]).all() and (y[part.cannot_link[:, 0]] != y[part.cannot_link[:, 1]]).all()
    assert len(c.closure(max_pairs=1000)) > 900
    assert (c.closure(1000, seed=2).cannot_link.shape != c.closure(1000, seed=3).cannot_link.shape
            or (c.closure(1000, seed=2).cannot_link != c.closure(1000, seed=3).cannot_link).any())
    assert (c.closure(1000, seed=2).cannot_link == c.closure(1000, seed=2).cannot_link).all()


def test_closed_pairs_are_drawn_uniformly():
    groups, rng, runs = find_groups(np.array([(0, 1), (1, 2), (4, 7)]), np.array([(0, 7), (4, 9)])), np.random.default_rng(0), 3000
    every = sum(closure_size(groups))
    drawn = np.concatenate([np.sort(np.concatenate(closed_pairs(groups, 3, rng)), 1) for _ in range(runs)])
    count = np.unique(drawn, axis=0, return_counts=True)[1]
    share = 3/every
    assert every == 4+6+2 and len(count) == every and (abs(count-runs*share) <= 5*np.sqrt(runs*share*(1-share))).all()


def test_a_long_chain_stays_implicit():
    n = 200_000
    c = Constraints(np.stack([np.arange(n-1), np.arange(1, n)], 1), [(0, n)])
    part = c.check(n+1).closure(max_pairs=300_000)
    assert len(part) <= 300_000 and part.kept == pytest.approx(len(part)/(n*(n-1)//2+n))
    w = c.lookup(torch.tensor([0, n//2, n-1, n, n+5]), closed=True)
    assert w.tolist() == [[0, 1, 1, -1, 0], [1, 0, 1, -1, 0], [1, 1, 0, -1, 0], [-1, -1, -1, 0, 0], [0]*5]


# ---- contradictions

@pytest.mark.parametrize('seed', range(40))
def test_contradictions_are_found_exactly(seed):
    rng = np.random.default_rng(seed)
    must, cannot = (p[p[:, 0] < p[:, 1]] for p in (rng.integers(0, 14, (m, 2)) for m in (20, 12)))
    must, cannot = Constraints(must, cannot).must_link, Constraints(must, cannot).cannot_link
    together = floyd_warshall(must, (), 14)[0]
    want = [p for p in cannot.tolist() if together[tuple(p)]]
    assert contradictions(must, cannot).tolist() == want
    if not want: assert Constraints(must, cannot).check(14)
    else:
        with pytest.raises(ValueError, match=f'{len(want)} contradictory pair') as e: Constraints(must, cannot).check(14)
        for p in want[:5]: assert str(tuple(p)) in str(e.value)
        for act in (lambda c: c.closure(), lambda c: c.lookup(torch.arange(3), closed=True)):
            with pytest.raises(ValueError, match='contradictory'): act(Constraints(must, cannot))


@pytest.mark.parametrize('seed', range(20))
def test_chains_are_shortest(seed):
    rng = np.random.default_rng(seed)
    must = Constraints((p := rng.integers(0, 15, (14, 2)))[p[:, 0] != p[:, 1]]).must_link
    dist = np.full((15, 15), 99)
    np.fill_diagonal(dist, 0)
    for i, j in must: dist[i, j] = dist[j, i] = 1
    for k in range(15): dist = np.minimum(dist, dist[:, [k]]+dist[[k]])
    links = pair_set(must)
    for i in range(15):
        for j in range(15):
            if i == j: continue
            path = must_chain(must, i, j)
            assert len(path) == (dist[i, j]+1 if dist[i, j] < 99 else 0)
            assert all(tuple(sorted(p)) in links for p in zip(path[:-1], path[1:])) and (not path or (path[0], path[-1]) == (i, j))


def test_what_the_error_says():
    with pytest.raises(ValueError, match=r'1 contradictory pair: \(0, 4\) is cannot-link, but must-links join 0-2-3-4\. Remove .*noise='):
        Constraints([(0, 2), (2, 3), (3, 4)], [(4, 0), (0, 9)]).check(10)
    with pytest.raises(ValueError, match=r'\(0, 2\) is must-link and cannot-link'): Constraints([(0, 2)], [(2, 0)]).check(10)
    ring = np.stack([np.arange(49), np.arange(1, 50)], 1)
    nine = [(i, i+40) for i in range(9)]
    with pytest.raises(ValueError, match=r'9 contradictory pairs: .*; and 4 more\.'): Constraints(ring, nine).check(50)
    with pytest.raises(ValueError, match=r'0-1-2-3-4-5-6-7-8-9-\(30 more\)-40-'): Constraints(ring, [(0, 49)]).check(50)


def test_range():
    c = Constraints([(0, 5)], [(1, 7), (2, 9)])
    assert c.check(10) is c
    with pytest.raises(ValueError, match=r'cannot_link has pairs .*\(2 in all, the first in row 0: \(1, 7\)\): n=6.* run to 5'): c.check(6)
    with pytest.raises(ValueError, match='must_link'): c.matrix(5)
    with pytest.raises(TypeError, match='n='): c.check(5.)


def test_noise_expects_contradictions():
    c = Constraints([(0, 1), (1, 2)], [(0, 2), (0, 1)], noise=.1)
    assert c.check(3) is c and c.closure() is c
    want = [[0, 0, -1], [0, 0, 1], [-1, 1, 0]]   # (0, 1) is said both ways and cancels
    assert c.matrix(3).toarray().tolist() == want and c.matrix(3).nnz == 4
    for closed in (False, True): assert c.lookup(torch.arange(3), closed).tolist() == want


# ---- W

def test_matrix():
    c = random_links(3, n=30, m=60)
    w = c.matrix(40)
    want = np.zeros((40, 40))
    for sign, pairs in ((1, c.must_link), (-1, c.cannot_link)): want[pairs[:, 0], pairs[:, 1]] = want[pairs[:, 1], pairs[:, 0]] = sign
    assert w.format == 'csr' and w.dtype == np.float32 and (w.toarray() == want).all() and abs(w-w.T).nnz == 0 and w.nnz == 2*len(c)


def test_weights():
    c = Constraints([(4, 1), (0, 1), (1, 4)], [(2, 0), (0, 2)], weights=[2, .5, 3, .25, .125])
    assert c.weights.tolist() == [.5, 3, .25] and c.weights.dtype == np.float32
    w = c.check(5).matrix(5).toarray()
    assert (w[1, 4], w[1, 0], w[0, 2], w[2, 0]) == (3, .5, -.25, -.25) and (c.lookup(torch.arange(5)).numpy() == w).all()
    for act in (lambda: c.closure(), lambda: c.lookup(torch.arange(3), closed=True)):
        with pytest.raises(ValueError, match='weights'): act()


@pytest.mark.parametrize('seed', range(10))
@pytest.mark.parametrize('noise', [0., .2])
def test_blocks_are_slices(seed, noise):
    y, n = np.random.default_rng(seed).integers(0, 4, 80), 80
    c = Constraints.from_labels(y, 150, noise=noise, seed=seed)
    rows = torch.randint(n, (50,), generator=gen(seed))   # with repeats
    for closed in (False, True):
        w = (c.closure() if closed else c).matrix(n)[rows.numpy()][:, rows.numpy()].toarray()
        got = c.lookup(rows, closed)
        assert got.dtype is torch.float32 and (got.numpy() == w).all() and got.equal(got.T)
        assert (c.closure() if closed else c).lookup(rows).equal(got)


def test_block_takes_any_stride():
    c, rows = random_links(1, n=20, m=40), torch.arange(20).flip(0)
    up = np.array(sorted([(i, j, 1) for i, j in c.must_link]+[(i, j, -1) for i, j in c.cannot_link]))
    for n in (20, 1000, 2**31):
        keys, values = torch.tensor(up[:, 0]*n+up[:, 1]), torch.tensor(up[:, 2]).float()
        assert block(keys, values, rows, n).equal(c.lookup(rows))


def test_indices_beyond_all_links_are_unlinked():
    c = Constraints([(0, 1)], [(1, 2)])
    rows = torch.tensor([2**31-1, 5, 1, 0])
    for closed in (False, True): assert c.lookup(rows, closed)[:2].abs().sum() == 0
    assert c.lookup(rows)[2, 3] == 1 and c.lookup(torch.tensor([], dtype=torch.int64)).shape == (0, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_is_not_waited_for():
    c = Constraints.from_labels(np.random.default_rng(0).integers(0, 5, 300), 400)
    rows = torch.arange(300, device='cuda')
    g = torch.Generator('cuda').manual_seed(0)
    for closed in (False, True): c.lookup(rows, closed)
    torch.cuda.set_sync_debug_mode('error')
    try: got = [c.lookup(rows, closed) for closed in (False, True)]+[augment_links(64, 20, g)]
    finally: torch.cuda.set_sync_debug_mode('default')
    for w, closed in zip(got, (False, True)): assert w.cpu().equal(c.lookup(rows.cpu(), closed))


# ---- batches

@pytest.mark.parametrize('size', [2, 7, 64, 1000])
def test_batches_hold_both_ends_and_each_pair_once(size):
    c = random_links(0, n=60, m=150)
    batches = list(constraint_batches(c, size, gen()))
    p = size//2
    assert all(2*p <= len(b) < 3*p or len(b) == 2*p for b in batches[:-1]) and (p <= len(batches[-1]) or len(batches) == 1)
    seen = [tuple(p) for b in batches for p in b.view(2, -1).T.tolist()]
    assert len(seen) == len(set(seen)) == len(c) and set(seen) == pair_set(c.must_link) | pair_set(c.cannot_link)
    for b in batches: assert (c.lookup(b).diagonal(len(b)//2) != 0).all() and b.dtype is torch.int64


def test_batches_follow_the_generator():
    c = random_links(0, n=60, m=150)
    one, two, other = (torch.cat(list(constraint_batches(c, 10, gen(s)))) for s in (1, 1, 2))
    assert one.equal(two) and not one.equal(other)
    g = gen(1)
    assert not torch.cat(list(constraint_batches(c, 10, g))).equal(torch.cat(list(constraint_batches(c, 10, g))))
    with pytest.raises(ValueError, match='batch_size'): constraint_batches(c, 1, gen())


# ---- links from augmentation

@pytest.mark.parametrize('b', [1, 2, 7, 64, 128])
@pytest.mark.parametrize('symmetric', [False, True])
def test_augment_links(b, symmetric):
    m = b//2
    w = augment_links(b, m, gen(), symmetric=symmetric)
    cannot, must = (w < 0).int(), (w > 0).int()
    assert w.shape == (b+m, b+m) and w.unique().tolist() in ([0.], [-1., 0.], [-1., 0., 1.], [0., 1.]) and w.diagonal().abs().sum() == 0
    assert cannot.equal(cannot.T) and cannot.sum() == 2*(b//2) and cannot.sum(1).max() <= 1 and cannot[b:].sum() == 0
    want = torch.zeros_like(must)
    want[range(m), range(b, b+m)] = 1
    assert must.equal(want+want.T if symmetric else want)


def test_matching_is_uniform():
    g, runs = gen(), 3000
    count = sum((augment_links(6, 0, g) < 0).float() for _ in range(runs))[~torch.eye(6, dtype=bool)]
    assert (abs(count-runs/5) < 5*(runs*.2*.8)**.5).all()


def test_part_of_the_matching():
    assert (augment_links(128, 50, gen(), n_cannot=10) < 0).sum() == 20 and (augment_links(128, 50, gen(), n_cannot=0) < 0).sum() == 0
    for b, m, c, name in ((8, 9, 0, 'n_must'), (8, -1, 0, 'n_must'), (0, 0, 0, 'b='), (8, 2, 5, 'n_cannot')):
        with pytest.raises(ValueError, match=name): augment_links(b, m, gen(), n_cannot=c)


# ---- claims of the page, and size

def test_where_the_giant_group_appears():
    y = np.random.default_rng(0).integers(0, 10, 10_000)
    def largest(m, kind):
        c = Constraints.from_labels(y, m, kind=kind)
        return 10*np.bincount(find_groups(c.must_link, c.cannot_link).group).max()/len(y)
    assert largest(30_000, 'both') < .1 and largest(80_000, 'both') > .5
    assert largest(3_000, 'must') < .1 and largest(8_000, 'must') > .5


def test_a_million_pairs_over_a_million_samples():
    n = m = 1_000_000
    y = np.random.default_rng(0).integers(0, 10, n)
    cpu = time.process_time()
    c = Constraints.from_labels(y, m).check(n)
    full = c.closure()
    w = c.matrix(n)
    rows = next(constraint_batches(c, 256, gen()))
    got = c.lookup(rows, closed=True)
    cpu = time.process_time()-cpu
    assert cpu < 10, f'{cpu:.1f} s of CPU time'
    assert len(c) == m and full.kept == 1 and w.nnz == 2*m
    assert (got[range(128), range(128, 256)] != 0).all() and got.equal(full.lookup(rows))


def test_memory_grows_with_the_pairs():
    def peak(m, n=1_000_000):
        y = np.random.default_rng(0).integers(0, 10, n)
        tracemalloc.start()
        try:
            c = Constraints.from_labels(y, m).check(n)
            c.closure().matrix(n)
            return tracemalloc.get_traced_memory()[1]/2**20
        finally: tracemalloc.stop()
    small, large = peak(10_000), peak(300_000)
    assert small < 80 and large < 80+300   # MiB; 8 n bytes are 7.6, a dense row of bits for each pair would be 37 000


def test_closed_block_with_no_cannot_links():
    w = closed_block(torch.tensor([1, 3, 4]), torch.tensor([0, 0, 0]), torch.tensor([], dtype=torch.int64), 1, torch.tensor([4, 0, 1, 1]))
    assert w.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize('pairs, sizes', [(65, [65]), (129, [65, 64]), (96, [64, 32]), (1000, [64]*15+[40]), (160, [64, 64, 32])])
def test_no_tiny_last_batch(pairs, sizes):
    c = Constraints([(2*i, 2*i+1) for i in range(pairs)])
    batches = list(constraint_batches(c, 128, torch.Generator().manual_seed(0)))
    assert [len(b)//2 for b in batches]==sizes and sorted(torch.cat(batches).tolist())==list(range(2*pairs))
