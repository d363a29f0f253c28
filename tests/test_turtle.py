"TURTLE: inner and outer problem against float64 references; standardising, warm and cold starts, restarts, resume, collapse."
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from deepclust.base import as_input, load_model
from deepclust.core import CollapseWarning
from deepclust.methods.turtle import (TURTLE, LabelStage, LinearLabels, Standardise, fit_classifier, held_out_loss, label_loss,
                                      step_size, with_one)
from deepclust.metrics import cluster_accuracy

TINY = dict(n_clusters=3, epochs=20, batch_size=64, device='cpu', random_state=0)


@pytest.fixture(scope='module')
def blobs(): return make_blobs(200, 6, centers=3, cluster_std=.6, random_state=0)


def stage_of(X, **kw):
    est = TURTLE(**{**TINY, **kw})
    x = as_input(est, X, reset=True)
    torch.manual_seed(0)
    est.net_ = est._build(est.input_shape_)
    stage = LabelStage(est, x)
    stage.setup()
    return est, x, stage


def softmax(a):
    e = np.exp(a-a.max(1, keepdims=True))
    return e/e.sum(1, keepdims=True)


@pytest.mark.parametrize('warm', [True, False])
def test_a_step_is_that_of_the_paper(blobs, warm):
    "Features, labels, M steps of the classifier, both losses and the gradient of the labels, in numpy and float64"
    est, x, stage = stage_of(blobs[0], warm_start=warm, inner_steps=4, inner_lr=.7, gamma=2.5)
    with torch.no_grad(): est.net_['labels'].length.fill_(3.); est.net_.classifier.normal_()
    idx, before = torch.arange(20, 90), est.net_.classifier.double().numpy().copy()
    X = np.asarray(blobs[0], np.float64)
    z = np.c_[(X-X.mean(0))/X.std(0), np.ones(200)]
    v, b = (est.net_['labels'].direction.detach().double().numpy(), est.net_['labels'].bias.detach().double().numpy())
    v = 3*v/np.linalg.norm(v, axis=1, keepdims=True)
    tau = softmax(z[20:90, :-1]@v.T+b)
    rate = .7*float(step_size(torch.from_numpy(z[20:90]).float(), 8))
    assert .7<=rate/(2/np.linalg.eigvalsh(z[20:90].T@z[20:90]/70)[-1])<1.4*.7
    w = before if warm else np.zeros_like(before)
    for _ in range(4): w = w-rate*z[20:90].T@(softmax(z[20:90]@w)-tau)/70
    log_p = np.log(softmax(z[20:90]@w))
    with torch.no_grad(): prepared = stage.prepare('labels', idx)    # as the loop does
    out = stage.losses('labels', idx, prepared)
    np.testing.assert_allclose(est.net_.classifier, w, atol=1e-4)
    assert abs(out['task'].item()+(tau*log_p).sum(1).mean())<1e-4
    mean = tau.mean(0)
    assert abs(out['balance'].item()-(mean*np.log(mean)).sum())<1e-5
    assert stage.weight('balance', 0)==2.5 and stage.weight('task', 0)==1
    (out['task']+2.5*out['balance']).backward()
    assert est.net_.classifier.grad is None and not est.net_.classifier.requires_grad
    to_logits = lambda g: tau*(g-(tau*g).sum(1, keepdims=True))
    a = to_logits(-log_p/70)+2.5*to_logits(np.broadcast_to((np.log(mean)+1)/70, tau.shape))
    np.testing.assert_allclose(est.net_['labels'].bias.grad, a.sum(0), atol=1e-4)
    hat = v/3
    np.testing.assert_allclose(est.net_['labels'].length.grad, ((a.T@z[20:90, :-1])*hat).sum(1), atol=1e-4)


def test_the_classifier_converges_to_logistic_regression():
    g = torch.Generator().manual_seed(0)
    z = with_one(torch.randn(300, 4, generator=g, dtype=torch.float64))
    y = (z[:, :3]+torch.randn(300, 3, generator=g, dtype=torch.float64)).argmax(1)
    w = fit_classifier(torch.zeros(5, 3, dtype=torch.float64), z, F.one_hot(y, 3).double(), 3000, step_size(z))
    ref = LogisticRegression(C=1e8, tol=1e-8, max_iter=2000).fit(z[:, :4].numpy(), y.numpy()).predict_proba(z[:, :4].numpy())
    np.testing.assert_allclose((z@w).softmax(1), ref, atol=1e-3)


@pytest.mark.parametrize('scale', [1e-3, 1., 50.])
def test_a_full_step_never_overshoots(scale):
    g = torch.Generator().manual_seed(1)
    z = with_one(scale*torch.randn(100, 7, generator=g, dtype=torch.float64)*torch.logspace(-1, 1, 7, dtype=torch.float64))
    tau, w = torch.randn(100, 4, generator=g, dtype=torch.float64).mul(5).softmax(1), torch.zeros(8, 4, dtype=torch.float64)
    rate, last = step_size(z, 200), np.inf
    for _ in range(40):
        w = fit_classifier(w, z, tau, 1, rate)
        loss = label_loss(tau, (z@w).log_softmax(1)).item()
        assert loss<=last+1e-12
        last = loss


def test_standardise_spares_constant_columns(blobs):
    X = np.c_[blobs[0], np.full(200, 7.), 1e-9*np.arange(200)]
    m = TURTLE(**TINY).fit(X)
    z = m.net_['standard'](torch.from_numpy(X/m.scale_).float())
    assert torch.isfinite(z).all() and (z[:, 6]==0).all()
    np.testing.assert_allclose(z[:, :6].std(0, correction=0), 1, atol=1e-4)
    s = Standardise(2)
    s.measure(torch.zeros(5, 2))
    assert (s(torch.zeros(5, 2))==0).all()


def test_units_of_a_column_do_not_matter(blobs):
    X = blobs[0]
    a, b = TURTLE(**TINY).fit(X), TURTLE(**TINY).fit(X*np.array([1, 2, 4, .5, 8, 1])+np.arange(6))
    assert np.array_equal(a.labels_, b.labels_)


def test_directions_and_lengths():
    torch.manual_seed(0)
    m = LinearLabels(5, 3, start=.2)
    w = m.length[:, None]*m.direction/m.direction.norm(dim=1, keepdim=True)
    torch.testing.assert_close(w.norm(dim=1), torch.full((3,), .2))
    before = m(torch.ones(2, 5))
    with torch.no_grad(): m.direction.mul_(10)
    torch.testing.assert_close(m(torch.ones(2, 5)), before)


def test_blobs_are_found(blobs):
    X, y = blobs
    m = TURTLE(3, device='cpu', random_state=0).fit(X)
    assert cluster_accuracy(y, m.labels_)==1 and np.array_equal(m.labels_, m.predict(X))
    assert np.array_equal(m.predict_proba(X).argmax(1), m.labels_) and m.transform(X).shape==(200, 3)
    task = m.history_['task']
    assert task[-1]<.8*task[0] and np.isfinite(m.history_['balance']).all() and m.embedding_dim_==3
    assert list(m.get_feature_names_out())==['turtle0', 'turtle1', 'turtle2']


def test_more_features_than_samples():
    X, y = make_blobs(60, 300, centers=3, cluster_std=1., random_state=0)
    assert cluster_accuracy(y, TURTLE(3, device='cpu', random_state=0).fit_predict(X))==1


def test_without_balance_it_collapses():
    X, _ = make_blobs(300, centers=[[-4, 0], [4, 0], [0, 6]], random_state=0)
    with pytest.warns(CollapseWarning): m = TURTLE(3, gamma=0., device='cpu', random_state=0).fit(X)
    assert np.bincount(m.labels_, minlength=3).min()==0
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        n = TURTLE(3, loss_weights={'balance': 0}, device='cpu', random_state=0).fit(X)
    assert np.array_equal(m.labels_, n.labels_)


def test_held_out_loss_prefers_what_generalises(blobs):
    z, y = with_one(torch.from_numpy(blobs[0]).float()), torch.from_numpy(blobs[1])
    noise = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(0))
    good, part, bad = (held_out_loss(z, t, 3) for t in (y, torch.where(torch.arange(200)%4==0, noise, y), noise))
    assert good<part<bad and bad>np.log(3)-.05
    assert held_out_loss(z, y, 3)==good


def test_restarts_keep_the_best(blobs, monkeypatch):
    from deepclust.methods import turtle
    scores, keep = iter([3., 1., 2.]), []
    def score(z, labels, k, steps=100):
        keep.append(labels.clone())
        return 100*next(scores)                                       # more than sizes can outweigh
    monkeypatch.setattr(turtle, 'held_out_loss', score)
    m = TURTLE(**TINY | dict(n_init=3)).fit(blobs[0])
    assert 80<m.criterion_<=100 and np.array_equal(m.labels_, keep[1]) and len(keep)==3


def test_restarts_do_not_prefer_lost_clusters(blobs):
    x, m = torch.from_numpy(blobs[0]).float(), TURTLE(**TINY).fit(blobs[0])
    good = m._criterion(x/m.scale_ if hasattr(m, 'scale_') else x)
    with torch.no_grad(): m.net_['labels'].length.zero_(); m.net_['labels'].bias.copy_(torch.tensor([1., 0, 0]))
    assert m._criterion(x)>good+5


@pytest.mark.parametrize('d', [64, 1024])
def test_steps_of_a_batch_converge_where_features_have_no_main_direction(d):
    g = torch.Generator().manual_seed(0)
    z, tau = with_one(torch.randn(256, d, generator=g)), F.one_hot(torch.randint(0, 2, (256,), generator=g), 2).float()
    losses = [label_loss(tau, (z@fit_classifier(torch.zeros(d+1, 2), z, tau, m, step_size(z, 8))).log_softmax(1)).item() for m in range(11)]
    assert all(b<a for a, b in zip(losses, losses[1:]))


def test_step_size_of_complementary_columns():
    y = (torch.arange(100)%2).double()
    z = torch.stack([y, 1-y], 1)-.5                                    # the vector of ones sees nothing of it
    torch.testing.assert_close(step_size(z), 2/torch.linalg.eigvalsh(z.T@z/100)[-1])


def test_slices_equal_one_run(blobs, tmp_path, ticking):
    whole, n = TURTLE(**TINY).fit(blobs[0]), 0
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            m = TURTLE(**TINY).fit(blobs[0], checkpoint=tmp_path, resume=True, time_budget_s=.055)
        n += 1
        assert n<300
        if m.finished_: break
    assert n>1 and all(torch.equal(a, b) for a, b in zip(m.net_.state_dict().values(), whole.net_.state_dict().values()))


def test_save_and_load(blobs, tmp_path):
    m = TURTLE(**TINY).fit(blobs[0])
    m.save(tmp_path/'m')
    again = load_model(TURTLE, tmp_path/'m', device='cpu')
    assert np.array_equal(again.predict_proba(blobs[0]), m.predict_proba(blobs[0]))
    assert torch.equal(again.net_.classifier, m.net_.classifier)


@pytest.mark.parametrize('bad, says', [(dict(gamma=-1), 'gamma'), (dict(inner_lr=2), 'inner_lr'), (dict(inner_lr=0), 'inner_lr'),
    (dict(inner_steps=0), 'inner_steps'), (dict(start=0), 'start'), (dict(loss_weights={'x': 1}), 'task, balance'), (dict(lr=0), 'lr')])
def test_misuse(blobs, bad, says):
    with pytest.raises(ValueError, match=says): TURTLE(**TINY | bad).fit(blobs[0])


@pytest.mark.filterwarnings('ignore')
def test_odd_batches_and_one_cluster(blobs):
    for b in (1, 7, 199, 200, 1000): assert TURTLE(**TINY | dict(batch_size=b, epochs=2)).fit(blobs[0]).labels_.shape==(200,)
    assert (TURTLE(**TINY | dict(n_clusters=1)).fit(blobs[0]).labels_==0).all()
