"""Choosing k: each criterion against its definition, and the whole on data whose k is known."""
import numpy as np, pytest
from sklearn.cluster import AgglomerativeClustering
from sklearn.datasets import make_blobs
from sklearn.mixture import GaussianMixture as SkMixture
from deepclust import GaussianMixture, choose_k
from deepclust.selection import KChoice, elbow_depth, largest_within, prediction_strength, stability


@pytest.fixture(scope='module')
def blobs(): return make_blobs(240, 4, centers=4, cluster_std=.7, random_state=1)[0]


def test_prediction_strength_counts_pairs():
    rng = np.random.default_rng(0); found, said = rng.integers(0, 4, 40), rng.integers(0, 4, 40)
    shares = []
    for j in range(4):
        i = np.flatnonzero(found==j); pairs = [(a, b) for a in i for b in i if a!=b]
        shares.append(np.mean([said[a]==said[b] for a, b in pairs]))
    assert prediction_strength(found, said)==pytest.approx(min(shares))
    assert prediction_strength([0, 1, 2], [0, 0, 0])==1                      # single members make no pairs


def test_elbow_and_the_largest():
    assert elbow_depth([2, 3, 9], [10, 10, 10]).tolist()==[0, 0, 0] and elbow_depth([2, 3], [5, 1]).tolist()==[0, 0]
    assert [2, 5, 6, 8][elbow_depth([2, 5, 6, 8], [90, 10, 9, 8]).argmax()]==5
    assert largest_within([2, 3, 4], [[1, 1], [.95, 1.05], [.5, .6]])==3 and largest_within([2, 3], [[.9], [.8]])==2


def test_known_k_and_same_seed(blobs):
    r = choose_k(blobs, range(2, 8), repeats=3)
    assert {r.best[c] for c in ('silhouette', 'stability', 'strength')}=={4}
    again = choose_k(blobs, range(2, 8), repeats=3)
    assert all(np.array_equal(r.values[c], again.values[c]) for c in r.best)
    assert r.table().count('**')==2*len(r.best) and len(r.plot().axes)==4 and list(r.spread)==['stability', 'strength']
    few = choose_k(blobs, [3, 4], criteria=('silhouette',)); assert few.best=={'silhouette': 4}


def test_any_method_that_predicts(blobs):
    assert choose_k(blobs, [3, 4, 5], method=GaussianMixture(n_init=1), repeats=2).best['silhouette']==4
    with pytest.raises(TypeError, match='predict'): choose_k(blobs, [3], method=AgglomerativeClustering())
    with pytest.raises(TypeError, match='n_clusters'): choose_k(blobs, [3], method=SkMixture())


def test_noise_has_no_clusters():
    r = choose_k(np.random.default_rng(0).normal(size=(300, 10)), range(2, 7), repeats=4)
    assert r.best['strength']==1 and max(r.values['stability'])<.8          # "one cluster" is what only this one can say


def test_stability_is_one_where_both_parts_agree(blobs):
    class Half:
        def fit(self, X): self.labels_ = (X[:, 0]>0).astype(int); return self
    assert (stability(lambda seed: Half(), blobs, repeats=3)==1).all()


@pytest.mark.parametrize('kw,what', [(dict(ks=[1]), 'ks'), (dict(ks=[]), 'two samples'), (dict(ks=[200]), 'two samples'),
                                     (dict(criteria=('gap',)), 'silhouette'), (dict(repeats=0), 'repeats')])
def test_misuse(blobs, kw, what):
    with pytest.raises(ValueError, match=what): choose_k(blobs, **kw)
    with pytest.raises(ValueError, match='NaN'): choose_k(np.full((9, 2), np.nan), [2])


@pytest.mark.parametrize('kw,what', [(dict(criteria=()), 'is empty'), (dict(ks=[3, 4], criteria=('elbow',)), 'at least three'),
                                     (dict(ks=[3, 4], criteria='elbo'), "did you mean 'elbow'"), (dict(sample=3), 'sample=3 .* >= 8'),
                                     (dict(random_state=-1), 'random_state=-1')])
def test_what_is_asked_for_is_checked(blobs, kw, what):
    with pytest.raises(ValueError, match=what): choose_k(blobs, **{'ks': [2, 3, 4], **kw})
    with pytest.raises(TypeError, match='sample=None'): choose_k(blobs, [2, 3], sample=None)
    with pytest.raises(TypeError, match='random_state'): choose_k(blobs, [2, 3], random_state='one')


def test_seeds_of_every_kind(blobs):
    ask = lambda rs, **kw: choose_k(blobs[::3], [3, 4], repeats=1, sample=20, random_state=rs, **kw).values
    same = lambda a, b: all(np.array_equal(a[c], b[c]) for c in a)
    for make in (lambda: 5, lambda: np.random.RandomState(1), lambda: np.random.default_rng(2), lambda: 2**63-1):
        assert same(ask(make()), ask(make()))
    rng = np.random.RandomState(1); assert not same(ask(rng), ask(rng))       # it moves on, as everywhere
    assert not same(ask(None), ask(None))


def test_a_seed_enters_once(blobs):
    seen = []
    class Noting(GaussianMixture):
        def fit(self, X, y=None): seen.append(self.random_state); return super().fit(X)
    choose_k(blobs, [3], method=Noting(n_init=1), criteria='stability', repeats=2, random_state=7)
    assert seen==[7, 7, 8, 9, 10]                                             # of all data, then of two pairs of parts


def test_two_k_have_no_elbow_and_proposals_are_bold(blobs):
    two = choose_k(blobs, [3, 4], repeats=2)
    assert list(two.best)==['silhouette', 'stability', 'strength'] and 'elbow' not in two.table()
    one = KChoice([2, 3], dict(silhouette=[.5, .4], strength=[.3, .2]), best=dict(silhouette=2, strength=1))
    assert one.table().splitlines()[2:]==['| 1 |  | **1.000** |', '| 2 | **0.500** | 0.300 |', '| 3 | 0.400 | 0.200 |']
