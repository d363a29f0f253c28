"LNSCC against independent references: graph, counts, losses, draws, collapse, memory."
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits, make_blobs
from sklearn.metrics import adjusted_rand_score

from deepclust.methods.lnscc import (LNSCC, CutStage, cluster_loss, count_ba, count_im_neg, count_im_pos, draw, edge_weights, edges, linked,
                                     local_weights, match_prior, normalised_cut, pair_distance, repel, symmetrise)
from deepclust.neighbors import knn


@pytest.fixture(scope='module')
def graph():
    x = torch.from_numpy(load_digits().data[:300])
    dist, idx = (t.numpy() for t in knn(x, 6))
    return dist, idx, symmetrise(local_weights(dist), idx)


def test_graph_is_equations_1_and_2(graph):
    dist, idx, a = graph
    w = np.zeros((300, 300))
    for i in range(300):
        e = np.exp(-5*dist[i].astype(np.float64)/dist[i].astype(np.float64).mean())
        w[i, idx[i]] = e/e.sum()
    np.testing.assert_allclose(a.toarray(), w+w.T-w*w.T, atol=1e-12)
    i, j, v = edges(a)
    assert (i<j).all() and len(v)==(a.toarray()>0).sum()/2 and a.nnz<=2*300*6


def test_counts_are_floors_within_caps(graph):
    a = edges(graph[2])[2]
    for alpha in (.5, 2, 200):
        q = count_im_pos(a, alpha)
        assert (q==np.floor(q)).all() and q.max()<=20*alpha and (np.diff(q[a.argsort()])>=0).all()
    assert count_im_neg(a, 7).max()==7 and (np.diff(count_im_neg(a)[a.argsort()])<=0).all()
    assert ((count_ba(a)==0)==(a<a.mean())).all()


def test_draw_follows_the_counts():
    counts = torch.tensor([0., 5, 1, 0, 14, 0])
    idx = draw(counts.double().cumsum(0), 200_000, torch.Generator().manual_seed(1))
    freq = idx.bincount(minlength=6)/len(idx)
    assert freq[[0, 3, 5]].sum()==0 and torch.allclose(freq, (counts/20).float(), atol=5e-3)


def test_linked_equals_the_dense_matrix(graph):
    a = graph[2].toarray()
    i, j, _ = edges(graph[2])
    u, v = np.meshgrid(np.arange(300), np.arange(300))
    got = linked(torch.from_numpy(np.sort(i*300+j)), torch.from_numpy(u.ravel()), torch.from_numpy(v.ravel()), 300)
    assert np.array_equal(got.numpy().reshape(300, 300), (a>0) | np.eye(300, dtype=bool))


def test_one_draw_has_the_gradient_of_the_four_sets(graph):
    "The expected gradient of the weighted draw equals that of eqs. 9 and 13 summed over all copies"
    i, j, a = edges(graph[2])
    p, pull, push, contract = edge_weights(a, 2.)
    z = torch.randn(300, 3, dtype=torch.float64, requires_grad=True)
    d = ((z[i]-z[j])**2).sum(1).sqrt()
    rep = -torch.log(1-torch.exp(-d))
    t = lambda q: torch.from_numpy(q)
    mine = (t(p)*(t(pull)*d+t(push)*rep+t(contract)*d)).sum()
    qp, qn, qb = count_im_pos(a, 2.), count_im_neg(a), count_ba(a)
    theirs = (t(qp)*d).sum()/qp.sum()+(t(qn)*rep).sum()/qp.sum()+(t(qb)*d).sum()/qb.sum()
    g1, = torch.autograd.grad(mine, z, retain_graph=True)
    g2, = torch.autograd.grad(theirs, z)
    torch.testing.assert_close(g1, g2)


def test_alpha_and_beta_change_the_gradient():
    x = torch.from_numpy(load_digits().data[:200]).float()
    def grad(**kw):
        torch.manual_seed(0)
        est = LNSCC(3, device='cpu', random_state=0, **kw)
        est.net_ = est._build((64,))
        stage = CutStage(est, x)
        stage.setup()
        pass_, batch = next(iter(stage.batches(0, torch.Generator().manual_seed(0))))
        sum(stage.losses(pass_, batch, None).values()).backward()
        return est.net_['encoder'][0].weight.grad
    base = grad()
    assert not torch.allclose(base, grad(alpha=2.)) and not torch.allclose(base, grad(beta=5.))


@pytest.mark.parametrize('squared', [False, True])
def test_forces_stay_finite_everywhere(squared):
    for gap in (0., 1e-6, 1e-3, 1., 50., 1e4):
        z = torch.tensor([[0., 0.], [gap, 0.]], requires_grad=True)
        d = pair_distance(z[:1], z[1:], squared)
        (d+repel(d)).sum().backward()
        assert torch.isfinite(z.grad).all() and torch.isfinite(repel(d)).all()


def test_cluster_loss_against_float64():
    logits = torch.randn(50, 6, dtype=torch.float64)
    u = logits.softmax(1)
    v = u**2/u.sum(0)
    v /= v.sum(1, keepdim=True)
    m = u.mean(0)
    ref = (v*(v/u).log()).sum(1).mean()+.7*(m*m.log()).sum()
    assert abs(cluster_loss(logits, .7).item()-ref.item())<1e-5
    prior = torch.tensor([5., 1, 1, 1, 1, 1])
    ref = (v*(v/u).log()).sum(1).mean()+.7*(m*(m/(prior/10)).log()).sum()
    assert abs(cluster_loss(logits, .7, prior).item()-ref.item())<1e-5


def test_normalised_cut_against_loops(graph):
    a, y = graph[2].toarray(), np.random.default_rng(0).integers(0, 4, 300)
    ref = sum(a[y==c][:, y!=c].sum()/a[y==c].sum() for c in range(4))
    assert abs(normalised_cut(graph[2], y, 4)-ref)<1e-9
    assert abs(normalised_cut(graph[2], y, 6)-ref-2)<1e-9   # two empty clusters


def test_match_prior_sorts_both():
    labels = torch.tensor([0]*5+[1]*9+[2]*2)
    assert match_prior(torch.tensor([9., 2, 5]), labels).tolist()==[5, 9, 2]


def test_prior_and_resume(tmp_path, ticking):
    x, _ = make_blobs([90, 40, 20], 4, random_state=1)
    kw = dict(epochs=10, encoder='mlp-32', batch_size=32, prior=(90, 40, 20), device='cpu', random_state=0)
    whole, n = LNSCC(3, **kw).fit(x), 0
    while True:
        part = LNSCC(3, **kw)
        with pytest.MonkeyPatch.context() as m:
            m.setattr('warnings.warn', lambda *a, **k: None)
            part.fit(x, checkpoint=tmp_path, resume=True, time_budget_s=.055)
        n += 1
        if part.finished_: break
    assert n>1 and np.array_equal(part.labels_, whole.labels_)


def test_without_pushing_the_embedding_shrinks():
    x, _ = make_blobs(200, 4, centers=3, random_state=0)
    size = lambda **w: np.ptp(LNSCC(3, epochs=40, encoder='mlp-32-32', device='cpu', random_state=0, loss_weights=w).fit(x).transform(x))
    assert size(dis=0, im=0)<.2*size()


def test_paper_presets_differ_from_the_defaults_as_stated():
    p = LNSCC.paper('usps')
    assert (p.n_clusters, p.n_neighbors, p.alpha, p.beta, p.gamma, p.delta, p.xi)==(10, 10, 2, 5, 1, .05, 5)
    assert (p.embedding_dim, p.optimizer, p.lr, p.weight_decay, p.batch_size)==(64, 'sgd', .01, 5e-4, 200) and p.encoder=='mlp-500-500-2000'
    r = LNSCC.paper('reuters-10k')
    assert (r.n_clusters, r.n_neighbors)==(4, 70)
    with pytest.raises(ValueError, match='usps'): LNSCC.paper('imagenet')
    x, _ = make_blobs(300, 5, centers=4, random_state=0)
    assert p.set_params(n_clusters=4, epochs=2, device='cpu').fit(x).labels_.shape==(300,)


@pytest.mark.parametrize('how,least', [(dict(head_start=1., epochs=12), .95), (dict(epochs=1), .5)])
def test_a_head_that_starts_late_is_taught_all_the_same(how, least):
    X, y = make_blobs(300, centers=3, n_features=4, cluster_std=.3, random_state=0)
    assert adjusted_rand_score(y, LNSCC(3, random_state=0, **how).fit_predict(X))>least # untaught: 0 and .2


def test_head_of_the_paper_has_one_layer():
    sizes = lambda m, d: [l.out_features for l in m._build((d,))['head'] if hasattr(l, 'out_features')]
    assert sizes(LNSCC.paper('usps'), 256)==[32, 10] and sizes(LNSCC(4), 8)==[64, 32, 4]


def test_memory_is_linear():
    "No n x n matrix: the graph of 20 000 points and a training step stay far below one"
    n = 20_000
    x = torch.randn(n, 8)
    est = LNSCC(4, device='cpu', random_state=0, encoder='mlp-16')
    est.net_ = est._build((8,))
    stage = CutStage(est, x)
    stage.setup()
    assert isinstance(stage.a, sparse.csr_matrix) and stage.a.nnz<=2*8*n
    held = sum(t.numel()*t.element_size() for t in vars(stage).values() if isinstance(t, torch.Tensor))
    assert held<100*8*n
