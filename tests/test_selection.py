"""Choosing k: each criterion against its definition, and the whole on data whose k is known."""
import numpy as np, pytest
from sklearn.cluster import AgglomerativeClustering
from sklearn.datasets import make_blobs
from sklearn.mixture import GaussianMixture as SkMixture
from deepclust import GaussianMixture, choose_k
from deepclust.selection import elbow_depth, largest_within, prediction_strength, stability


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
