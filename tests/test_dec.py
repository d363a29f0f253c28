"DEC and IDEC: kernel, targets, gradient against references; refresh, stop, resume, collapse; vectors and images."
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from deepclust.base import as_input, load_model
from deepclust.losses import student_t, target_distribution
from deepclust.methods.dec import DEC, IDEC, TargetStage, preset
from deepclust.metrics import cluster_accuracy
from deepclust.train import Loop

TINY = dict(n_clusters=3, embedding_dim=4, pretrain_epochs=6, epochs=5, batch_size=64, encoder='mlp-32-32', device='cpu', random_state=0)
BOTH = pytest.mark.parametrize('cls', [DEC, IDEC])


@pytest.fixture(scope='module')
def blobs(): return make_blobs(200, 6, centers=3, cluster_std=.6, random_state=0)


def same(a, b): return all(torch.equal(u, v) for u, v in zip(a.net_.state_dict().values(), b.net_.state_dict().values()))


def stage_of(cls, X, **kw):
    est = cls(**{**TINY, **kw})
    x = as_input(est, X, reset=True)
    torch.manual_seed(0)
    est.net_ = est._build(est.input_shape_)
    with torch.no_grad(): est.net_.centers.copy_(torch.randn(3, 4))
    stage = TargetStage(est, x)
    stage.setup()
    return est, x, stage


@BOTH
def test_losses_are_the_papers(cls, blobs):
    est, x, stage = stage_of(cls, blobs[0], gamma=.25) if cls is IDEC else stage_of(cls, blobs[0])
    idx = torch.arange(7, 50)
    p = stage.prepare('cluster', idx)
    out = stage.losses('cluster', idx, p)
    d = lambda t: t.detach().double().numpy()
    z, c = d(est._embed(x)), d(est.net_.centers)
    q = 1/(1+((z[:, None]-c)**2).sum(2))
    q /= q.sum(1, keepdims=True)
    target = q**2/q.sum(0)                          # over all 200, not the batch
    target /= target.sum(1, keepdims=True)
    np.testing.assert_allclose(p, target[7:50], atol=1e-5)
    kl = (target*np.log(target/q)).sum(1)[7:50].mean()
    assert abs(out['cluster'].item()-kl)<1e-5
    assert stage.weight('cluster', 0)==(.25 if cls is IDEC else 1) and stage.weight('reconstruction', 0)==1
    assert ('reconstruction' in out)==(cls is IDEC)
    if cls is DEC: return
    back = d(est._decode(est._embed(x[7:50])))
    share = ((back-d(x[7:50]))**2).sum(1).mean()/((d(x)-d(x).mean(0))**2).sum(1).mean()
    assert abs(out['reconstruction'].item()-share)<1e-4


def test_dec_leaves_the_decoder_alone(blobs):
    zero = DEC(**{**TINY, 'epochs': 0}).fit(blobs[0])
    a, b = DEC(**TINY).fit(blobs[0]), IDEC(**TINY).fit(blobs[0])
    decoder = lambda m: list(m.net_['decoder'].parameters())
    assert all(torch.equal(u, v) for u, v in zip(decoder(zero), decoder(a)))
    assert not all(torch.equal(u, v) for u, v in zip(decoder(zero), decoder(b)))
    for m in (a, b): assert not np.array_equal(m.cluster_centers_, zero.cluster_centers_)


def test_target_is_refreshed_every_interval(blobs):
    for interval, expected in ((None, [0, 4, 8]), (3, [0, 3, 6, 9]), (100, [0])):   # 200 in batches of 64: 4 steps an epoch
        est, x, stage = stage_of(DEC, blobs[0], update_interval=interval)
        steps, seen = [], []
        keep = stage.refresh
        stage.refresh = lambda: (steps.append(stage.step), keep())
        for i in range(10):
            p = stage.prepare('cluster', torch.arange(3))
            seen.append(p.clone())
            with torch.no_grad(): est.net_.centers.add_(.1)
        assert steps==expected
        changed = [i for i in range(1, 10) if not torch.equal(seen[i], seen[i-1])]
        assert changed==expected[1:]


def test_target_is_computed_in_evaluation_mode(blobs):
    enc = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Dropout(.5))
    est, x, stage = stage_of(DEC, blobs[0], encoder=enc)
    est.net_.train()
    before = [b.clone() for b in est.net_.buffers()]
    stage.refresh()
    p = stage.p
    stage.refresh()
    assert torch.equal(p, stage.p) and est.net_.training and all(torch.equal(a, b) for a, b in zip(before, est.net_.buffers()))
    assert stage.moved==0


def test_tol_stops_and_zero_never_does(blobs):
    m = DEC(**{**TINY, 'epochs': 40, 'pretrain_epochs': 30}).fit(blobs[0])
    assert {'event': 'stopped', 'stage': 'cluster', 'epoch': m.history_.rows[-1]['epoch']} in m.history_.events
    assert len(m.history_)<70 and m.history_.rows[-1]['moved']<1e-3
    never = DEC(**{**TINY, 'epochs': 40, 'pretrain_epochs': 30, 'tol': 0.}).fit(blobs[0])
    assert len(never.history_)==70 and not never.history_.events


def test_moved_counts_changed_labels(blobs):
    est, x, stage = stage_of(DEC, blobs[0])
    stage.refresh()
    assert stage.moved is None and not stage.stop(None) and stage.after_epoch(0)=={}
    old = stage.labels.clone()
    with torch.no_grad(): est.net_.centers.copy_(est.net_.centers.roll(1, 0))
    stage.refresh()
    assert stage.moved==(old!=stage.labels).float().mean().item()==1. and not stage.stop(None)


@BOTH
def test_blobs_are_found_and_centres_are_learnt(cls, blobs):
    X, y = blobs
    m = cls(**{**TINY, 'pretrain_epochs': 30, 'epochs': 20}).fit(X)
    assert cluster_accuracy(y, m.labels_)>.95 and np.array_equal(m.labels_, m.predict(X))
    q = student_t(torch.from_numpy(m.transform(X)), torch.from_numpy(m.cluster_centers_))
    np.testing.assert_allclose(m.predict_proba(X), q, atol=1e-5)
    np.testing.assert_array_equal(m.cluster_centers_, m.net_.centers.detach())


@BOTH
@pytest.mark.parametrize('optimizer', ['adam', 'sgd'])
def test_interrupted_anywhere_equals_uninterrupted(cls, optimizer, blobs, tmp_path):
    kw = {**TINY, 'pretrain_epochs': 2, 'epochs': 3, 'optimizer': optimizer, 'update_interval': 3, 'tol': 0.}
    whole, n = cls(**kw).fit(blobs[0]), 0
    while True:     # one step a slice: stops in the middle of both stages and between two targets
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            m = cls(**kw).fit(blobs[0], checkpoint=tmp_path, resume=True, time_budget_s=0)
        n += 1
        if m.finished_: break
    assert n>=20 and np.array_equal(m.labels_, whole.labels_) and same(m, whole)
    drop = lambda m: [{k: v for k, v in r.items() if k!='seconds'} for r in m.history_.rows]
    assert drop(m)==drop(whole)


@BOTH
def test_save_and_load(cls, blobs, tmp_path):
    m = cls(**TINY).fit(blobs[0])
    m.save(tmp_path)
    again = load_model(cls, tmp_path)
    assert np.array_equal(again.predict_proba(blobs[0]), m.predict_proba(blobs[0])) and same(again, m)
    assert np.array_equal(again.reconstruct(blobs[0]), m.reconstruct(blobs[0])) and again.get_params()==m.get_params()


def test_idec_keeps_what_dec_forgets(blobs):
    X = np.random.default_rng(0).normal(size=(300, 6))      # no groups at all
    kw = {**TINY, 'pretrain_epochs': 60, 'epochs': 40, 'tol': 0.}
    error = {m: ((m(**kw).fit(X).reconstruct(X)-X)**2).mean() for m in (DEC, IDEC)}
    assert error[IDEC]<.7*error[DEC]


def test_gamma_and_loss_weights_act(blobs):
    fits = [IDEC(**TINY, gamma=g).fit(blobs[0]).transform(blobs[0]) for g in (.1, 10.)]
    assert not np.allclose(*fits)
    half = IDEC(**TINY, gamma=.2, loss_weights={'cluster': .5}).fit(blobs[0]).transform(blobs[0])
    assert np.array_equal(half, fits[0])
    with pytest.raises(ValueError, match='reconstruction, cluster'): IDEC(**TINY, loss_weights={'kl': 1}).fit(blobs[0])


@BOTH
def test_units_do_not_matter(cls, blobs):
    a = cls(**TINY).fit(blobs[0])
    for c in (8., 1000., 1e-3): assert np.array_equal(cls(**TINY).fit(blobs[0]*c).labels_, a.labels_), c


@BOTH
@pytest.mark.parametrize('likelihood', ['gaussian', 'auto'])
def test_pictures_through_convolutions(cls, likelihood, tmp_path):
    rng, y = np.random.default_rng(0), np.repeat([0, 1, 2], 30)
    x = rng.integers(0, 60, (90, 3, 16, 16))
    x[np.arange(90), y] += 150
    x = x.astype(np.uint8)
    m = cls(**{**TINY, 'encoder': 'vgg-2', 'pretrain_epochs': 10, 'likelihood': likelihood}).fit(x)
    assert cluster_accuracy(y, m.labels_)>.95 and m.likelihood_==('bernoulli' if likelihood=='auto' else 'gaussian')
    m.save(tmp_path)
    assert np.array_equal(load_model(cls, tmp_path).predict(x), m.labels_)
    if cls is IDEC: assert m.history_['reconstruction'][-1]<m.history_['reconstruction'][9]/10    # a share, after nats of 768 pixels


def test_restarts_are_compared_at_the_start_of_clustering(blobs):
    m = DEC(**{**TINY, 'pretrain_epochs': 2}, n_init=3).fit(blobs[0])
    starts = []
    class Spy(DEC):
        def _criterion(self, x):
            starts.append(super()._criterion(x))
            return starts[-1]
    Spy(**{**TINY, 'pretrain_epochs': 2}, n_init=3).fit(blobs[0])
    assert len(set(starts))==3 and m.criterion_==min(starts) and all(0<s<1 for s in starts)
    zero = DEC(**{**TINY, 'pretrain_epochs': 2, 'epochs': 0}, n_init=3).fit(blobs[0])
    z = zero.transform(blobs[0])
    within = ((z-zero.cluster_centers_[zero.labels_])**2).sum()/((z-z.mean(0))**2).sum()
    assert abs(zero.criterion_-within)<1e-3


def test_one_place_for_all_centres_is_a_fixed_point(blobs):
    "Uniform q gives uniform p: the loss and its gradient vanish, and training stays there"
    est, x, stage = stage_of(DEC, blobs[0])
    with torch.no_grad(): est.net_.centers.zero_()
    Loop(est.net_, [stage], 0).run()
    c = est.net_.centers.detach()
    assert torch.allclose(c, c[:1].expand(3, 4), atol=1e-5)
    q = student_t(est._embed(x), est.net_.centers)
    assert torch.allclose(q, torch.full_like(q, 1/3), atol=1e-4)
    assert torch.allclose(target_distribution(q), q, atol=1e-3)


@BOTH
@pytest.mark.filterwarnings('ignore')
def test_degenerate_data(cls):
    for X in (np.zeros((20, 3)), np.full((20, 3), 7.), np.repeat([[0., 1, 2], [3, 4, 5]], 10, axis=0)):
        m = cls(**{**TINY, 'n_clusters': 2}).fit(X)
        assert np.isfinite(m.predict_proba(X)).all() and np.isfinite(m.history_['cluster'][6:]).all()
    assert (cls(**{**TINY, 'n_clusters': 1}).fit(X).labels_==0).all()


@BOTH
def test_paper_presets(cls):
    for data, interval in (('mnist', 140), ('usps', 30), ('reuters-10k', 3 if cls is IDEC else 20)):
        m = cls.paper(data)
        assert m.update_interval==interval and m.n_clusters==(4 if data=='reuters-10k' else 10) and m.encoder=='mlp-500-500-2000'
        m._check_params()
    assert cls.paper('usps').optimizer=='sgd' and preset('mnist')['epochs']==74 and IDEC.paper().gamma==.1


BAD = [(dict(dof=0), 'dof'), (dict(tol=-1), 'tol'), (dict(optimizer='lion'), 'sgd'), (dict(update_interval=0), 'interval'),
       (dict(update_interval=2.5), 'interval'), (dict(pretrain_lr=0), 'pretrain_lr'), (dict(momentum=2), 'momentum'),
       (dict(noise=-.1), 'noise'), (dict(embedding_dim=0), 'embedding_dim'), (dict(likelihood='mse'), 'likelihood')]


@pytest.mark.parametrize('kw,what', BAD)
def test_bad_parameters(kw, what, blobs):
    with pytest.raises((ValueError, TypeError), match=what): DEC(**{**TINY, **kw}).fit(blobs[0])
