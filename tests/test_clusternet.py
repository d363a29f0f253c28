"ClusterNet: losses against loops in float64, what gets a gradient, centres, batches, labels and links, images and vectors, slices."
import itertools
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from deepclust.base import as_input, load_model
from deepclust.constraints import Constraints
from deepclust.core import CheckpointError
from deepclust.kmeans import seeded_kmeans
from deepclust.methods.clusternet import (ClusterNet, ClusterNetStage, MeansStage, anneal, assignment_logits, center_loss, conv_pair,
                                          known_batches, move_centers, pair_loss, pair_masks, pairwise_kl, with_dropout)
from deepclust.methods.autoencoder import embed_all
from deepclust.metrics import cluster_accuracy
from deepclust.neighbors import knn, spread_labels
from deepclust.train import Loop

TINY = dict(n_clusters=3, embedding_dim=4, pretrain_epochs=6, epochs=5, batch_size=64, encoder='mlp-32-32', device='cpu', random_state=0)
pytestmark = pytest.mark.filterwarnings('ignore::deepclust.core.CollapseWarning', 'ignore:no sample is labelled',
                                        'ignore:clusters .* no lab')


def tiny(**kw): return ClusterNet(**{**TINY, **kw})


def same(a, b): return all(torch.equal(u, v) for u, v in zip(a.net_.state_dict().values(), b.net_.state_dict().values()))


@pytest.fixture(scope='module')
def blobs(): return make_blobs(200, 6, centers=3, cluster_std=.6, random_state=0)


@pytest.fixture(scope='module')
def few(blobs):
    y = np.full(200, -1)
    for j in range(3): y[np.flatnonzero(blobs[1]==j)[:4]] = j
    return y


SHAPES = np.zeros((3, 12, 12))
SHAPES[0, :6], SHAPES[1, :, :6], SHAPES[2, 3:9, 3:9] = 1, 1, 1


@pytest.fixture(scope='module')
def pictures():
    rng, y = np.random.default_rng(0), np.repeat([0, 1, 2], 30)
    x = rng.integers(0, 60, (90, 3, 12, 12))
    for j in range(3): x[y==j] += (150*SHAPES[j]).astype(int)      # instance norm would not see a uniform colour
    return x.astype(np.uint8), y


# ---- losses, against loops

def kl(p, q): return (p*np.log(p/q)).sum()


@pytest.mark.parametrize('detach', [True, False])
@pytest.mark.parametrize('linked', [False, True])
def test_losses_against_loops(detach, linked):
    rng = np.random.default_rng(1)
    z, c, m = rng.normal(size=(9, 3)), rng.normal(size=(4, 3)), 1.5
    t, known = rng.integers(0, 4, 9), rng.random(9)<.5
    w = np.zeros((9, 9))
    if linked: w[0, 5] = w[5, 0] = 1; w[2, 7] = w[7, 2] = -1
    d = ((z[:, None]-c)**2).sum(2)
    p = np.exp(-d)/np.exp(-d).sum(1, keepdims=True)
    groups = [[], [], [], []]       # known similar, known dissimilar, guessed similar, guessed dissimilar
    for i, j in itertools.combinations(range(9), 2):
        if w[i, j]: groups[0 if w[i, j]>0 else 1].append((i, j))
        else: groups[2*(not (known[i] and known[j]))+(t[i]!=t[j])].append((i, j))
    sim = lambda i, j: kl(p[i], p[j])+kl(p[j], p[i])
    dis = lambda i, j: max(0, m-kl(p[i], p[j]))+max(0, m-kl(p[j], p[i]))
    mean = lambda f, pairs: np.mean([f(*v) for v in pairs]) if pairs else 0.
    T = torch.from_numpy
    masks = pair_masks(T(t), T(known), T(w).float() if linked else None)
    got = pairwise_kl(assignment_logits(T(z), T(c)).double(), detach)
    np.testing.assert_allclose(assignment_logits(T(z), T(c)).exp(), p, atol=1e-6)
    for a, b, pairs in ((0, 1, groups[:2]), (2, 3, groups[2:])):
        want = mean(sim, pairs[0])+mean(dis, pairs[1])
        assert pair_loss(got, masks[a], masks[b], m).item()==pytest.approx(want, rel=1e-4, abs=1e-5)
    for mask in (known, ~known):
        want = np.mean([((z[i]-c[t[i]])**2).sum() for i in range(9) if mask[i]])
        assert center_loss(T(z), T(c)[T(t)], T(mask)).item()==pytest.approx(want, rel=1e-6)


def test_every_pair_is_in_one_mask():
    g = torch.Generator().manual_seed(0)
    t, known = torch.randint(3, (20,), generator=g), torch.rand(20, generator=g)<.4
    w = torch.randint(-1, 2, (20, 20), generator=g).triu(1).float()
    for links in (None, w+w.T):
        masks = pair_masks(t, known, links)
        assert torch.equal(sum(m.int() for m in masks), 1-torch.eye(20, dtype=torch.int))
        assert all(torch.equal(m, m.T) for m in masks)


def test_reference_gets_no_gradient():
    log_p = torch.randn(5, 3, dtype=torch.float64).log_softmax(1).requires_grad_()
    g, = torch.autograd.grad(pairwise_kl(log_p)[0, 1], log_p)
    assert (g[0]==0).all() and (g[2:]==0).all() and torch.allclose(g[1], -log_p.exp()[0])
    g, = torch.autograd.grad(pairwise_kl(log_p, detach=False)[0, 1], log_p)
    assert (g[0]!=0).all() and torch.allclose(pairwise_kl(log_p), pairwise_kl(log_p, False))


def test_nothing_chosen_costs_nothing_and_far_samples_stay_finite():
    z = torch.tensor([[0.], [1e3], [-1e3]], requires_grad=True)
    k = pairwise_kl(assignment_logits(z, torch.tensor([[0.], [500.]])))
    none = torch.zeros(3, 3, dtype=torch.bool)
    assert pair_loss(k, none, none).item()==0
    L = pair_loss(k, ~torch.eye(3, dtype=torch.bool), ~torch.eye(3, dtype=torch.bool))
    L.backward()
    assert torch.isfinite(L) and torch.isfinite(z.grad).all()


def test_margin_is_flat_beyond():
    z = torch.tensor([[-2.], [2.]], requires_grad=True)
    k = pairwise_kl(assignment_logits(z, torch.tensor([[-2.], [2.]])))
    apart = ~torch.eye(2, dtype=torch.bool)
    assert (k[apart]>10).all() and pair_loss(k, ~apart&apart, apart, 2.).item()==0
    g, = torch.autograd.grad(pair_loss(k, ~apart&apart, apart, 40.), z)
    assert g[0]>0>g[1]                    # downhill is apart: the left one further left
    g, = torch.autograd.grad(pair_loss(pairwise_kl(assignment_logits(z*0, torch.tensor([[-2.], [2.]]))), ~apart&apart, apart, 2.), z)
    assert (g==0).all()                   # no push at the same place


# ---- centres and schedule

def test_centres_against_loops():
    rng = np.random.default_rng(2)
    c, z, t, n = rng.normal(size=(3, 2)), rng.normal(size=(30, 2)), rng.integers(0, 2, 30), np.array([50, 4, 7])
    mask = rng.random(30)<.8
    want = c.copy()
    for k in range(3):
        rows = np.flatnonzero((t==k)&mask)
        step = 1/max(n[k], len(rows))           # a batch with more than N_k of them goes to their mean at most
        for i in rows: want[k] -= step*(c[k]-z[i])
    got = move_centers(*map(torch.from_numpy, (c, z, t, n, mask)))
    np.testing.assert_allclose(got, want, atol=1e-12)
    assert np.array_equal(got[2], c[2])         # nobody there


def test_many_guesses_move_a_centre_little():
    c, t = torch.zeros(2, 2), torch.zeros(5, dtype=torch.long)
    wrong = torch.full((5, 2), 10.)
    moved = lambda n: move_centers(c, wrong, t, torch.tensor([n, n]), t==0)[0].norm().item()
    assert moved(5)==pytest.approx(10*2**.5) and moved(5000)<.02
    assert torch.equal(move_centers(c, wrong, t, torch.tensor([5, 5]), t==1), c)


def test_schedule():
    assert [anneal(t/60) for t in (0, 5, 40, 60)]==[0, 0, 1, 1] and anneal(22.5/60)==pytest.approx(.5)
    steps = [anneal(t/600) for t in range(601)]
    assert steps==sorted(steps) and anneal(0., 0., 0.)==1


def test_weights_follow_the_schedule(blobs, few):
    m = tiny(epochs=24, pretrain_epochs=0, gamma=3.).fit(blobs[0], few)
    h = m.history_
    assert h["weight_pair_guessed"][1]<.01 and h['weight_pair_guessed'][-1]==1 and set(h['weight_pair_known'])=={1}
    assert set(h['weight_reconstruction'])=={3.} and (np.diff(h['weight_center_guessed'])>=0).all()
    m = tiny(pretrain_epochs=0, annealed=False, gamma=None).fit(blobs[0], few)
    assert set(m.history_['weight_pair_guessed'])=={1.} and set(m.history_['weight_center_guessed'])=={1.}
    assert set(m.history_['weight_reconstruction'])=={1.}


# ---- the stage

def stage_of(X, y, links=None, **kw):
    est = tiny(**kw)
    x = as_input(est, X, reset=True)
    torch.manual_seed(0)
    est.net_ = est._build(est.input_shape_)
    stage = ClusterNetStage(est, x, torch.as_tensor(y), links)
    stage.generator = torch.Generator().manual_seed(0)
    stage.setup()
    return est, x, stage


def test_batches_hold_all_unlabelled_once_and_labelled_in_turn(blobs, few):
    _, _, stage = stage_of(blobs[0], few)
    got = [b for _, b in stage.batches(0, torch.Generator().manual_seed(0))]
    assert len(got)==stage.steps_per_epoch==4 and all(len(b)<=64 for b in got)
    free = torch.cat([b[few[b]<0] for b in got])
    assert sorted(free.tolist())==np.flatnonzero(few<0).tolist()
    known = torch.cat([b[few[b]>=0] for b in got])
    counts = torch.bincount(known, minlength=200)[few>=0]
    assert counts.max()-counts.min()<=1 and len(known)==4*12       # 12 labelled, fewer than a quarter of 64


@pytest.mark.parametrize('share', [0., .5, .9])
def test_labelled_share(share, blobs):
    y = np.where(np.arange(200)<100, blobs[1], -1)
    _, _, stage = stage_of(blobs[0], y, labelled_fraction=share, batch_size=40)
    b = next(stage.batches(0, torch.Generator().manual_seed(0)))[1]
    assert abs((y[b]>=0).sum()-40*share)<=2 and len(b)<=40


def test_all_or_none_labelled(blobs):
    X, y = blobs
    _, _, stage = stage_of(X, y)
    b = torch.cat([b for _, b in stage.batches(0, torch.Generator().manual_seed(0))])
    assert sorted(b.tolist())==list(range(200))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        m = tiny(epochs=10).fit(X, y)
    assert (m.labels_==y).mean()>.98 and m.history_['pair_guessed'][-1]==0
    with pytest.warns(UserWarning, match='no sample is labelled'): m = tiny(pretrain_epochs=30).fit(X)
    assert cluster_accuracy(y, m.labels_)>.9 and m.history_['pair_known'][-1]==0


def test_targets_counts_and_movement(blobs, few):
    est, x, stage = stage_of(blobs[0], few, guesses='centers')
    with torch.no_grad(): est.net_.centers.copy_(torch.randn(3, 4))
    stage.before_epoch(0)
    assert stage.moved is None and stage.after_epoch(0)=={}
    assert (stage.t[few>=0].numpy()==few[few>=0]).all()
    est.net_.eval()
    near = (-assignment_logits(est._embed(x), est.net_.centers)).argmin(1)
    assert torch.equal(stage.t[few<0], near[few<0])
    assert stage.n[0].tolist()==[4, 4, 4] and stage.n.sum()==200
    with torch.no_grad(): est.net_.centers.copy_(est.net_.centers.roll(1, 0))
    stage.before_epoch(1)
    assert stage.moved==pytest.approx((few<0).mean())


def test_guesses_come_from_the_graph_of_embeddings(blobs, few):
    est, x, stage = stage_of(blobs[0], few, n_neighbors=7)
    with torch.no_grad(): est.net_.centers.copy_(torch.randn(3, 4))
    stage.before_epoch(0)
    score = spread_labels(knn(embed_all(est, x), 7)[1], torch.as_tensor(few), 3)
    assert score.any(1).all() and torch.equal(stage.t[few<0], score.argmax(1)[few<0])
    assert (stage.t[few>=0].numpy()==few[few>=0]).all()


@pytest.mark.parametrize('y', ['a class without labels', 'none', 'all'])
def test_without_a_label_of_each_class_centres_guess(blobs, few, y):
    y = {'a class without labels': np.where(few==2, -1, few), 'none': np.full(200, -1), 'all': blobs[1]}[y]
    got = []
    for guesses in ('graph', 'centers'):
        est, x, stage = stage_of(blobs[0], y, guesses=guesses)
        torch.manual_seed(1)
        with torch.no_grad(): est.net_.centers.copy_(torch.randn(3, 4))
        stage.before_epoch(0)
        got.append(stage.t)
    assert torch.equal(*got)


def test_fewer_samples_than_neighbours():
    X = np.random.default_rng(0).normal(size=(6, 4))
    m = tiny(n_clusters=2, epochs=2, pretrain_epochs=1).fit(X, [0, 1, -1, -1, -1, -1])
    assert m.labels_.shape==(6,)


def test_last_centres_are_means_of_their_members(blobs, few):
    m = tiny().fit(blobs[0], few)
    z, x = torch.as_tensor(m.transform(blobs[0])), as_input(m, blobs[0])
    t = spread_labels(knn(embed_all(m, x), 10)[1], torch.as_tensor(few), 3).argmax(1)
    t[few>=0] = torch.as_tensor(few[few>=0])
    means = torch.stack([z[t==j].mean(0) for j in range(3)])
    assert np.allclose(m.cluster_centers_, means, atol=1e-5)
    kept = tiny(guesses='centers')
    assert not any(isinstance(s, MeansStage) for m in (kept, tiny(epochs=0)) for s in stages_of(m, blobs[0], few))


def stages_of(est, X, y):
    x = as_input(est, X, reset=True)
    est.net_, est._y, est._links = est._build(est.input_shape_), np.asarray(y), None
    return est._stages(x)


def test_training_sees_moved_images_and_restores_unmoved_ones():
    x = torch.randint(0, 256, (8, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    y = np.array([0, 1, 2, -1, -1, -1, -1, -1])

    def stage_after(recipe):
        est = tiny(encoder=None, dropout=0., pretrain_epochs=0, epochs=1, recipe=recipe).fit(x, y)
        stage = ClusterNetStage(est, x, torch.as_tensor(y))
        stage.setup()
        stage.before_epoch(0)
        return est, stage
    est, stage = stage_after('auto')
    assert not torch.equal(stage.look(x), x.float()/255)
    stage.look = lambda x: torch.zeros(x.shape)
    loss = stage.losses('cluster', torch.arange(8), None)['reconstruction']
    blank = est._decode(est._embed(torch.zeros(8, 1, 16, 16)))
    want = torch.nn.functional.binary_cross_entropy_with_logits(blank, x.float()/255, reduction='none').flatten(1).sum(1).mean()/stage.unit
    assert torch.allclose(loss, want, rtol=1e-5)
    assert torch.equal(stage_after(None)[1].look(x), x.float()/255)


def test_a_skipped_step_leaves_the_centres(blobs, few):
    est, _, stage = stage_of(blobs[0], few)
    stage.before_epoch(0)
    stage.opt = type('Opt', (), {'found_inf': torch.tensor(1.)})
    before, batch = est.net_.centers.clone(), torch.arange(20)
    stage.z = torch.full((20, 4), torch.nan)
    stage.after_step('cluster', batch, None)
    assert torch.equal(est.net_.centers, before)
    stage.opt.found_inf, stage.z = torch.tensor(0.), torch.ones(20, 4)
    stage.after_step('cluster', batch, None)
    assert not torch.equal(est.net_.centers, before)


def test_centres_are_no_parameters_and_start_at_labelled_means(blobs, few):
    zero = tiny(epochs=0).fit(blobs[0], few)
    z = zero.transform(blobs[0])
    for j in range(3): np.testing.assert_allclose(zero.cluster_centers_[j], z[few==j].mean(0), atol=1e-5)
    assert not any('centers' in n for n, _ in zero.net_.named_parameters())
    seeded = tiny(epochs=0, start='seeded').fit(blobs[0], few)
    np.testing.assert_allclose(seeded.cluster_centers_, seeded_kmeans(torch.tensor(z), few, 3).centers, atol=1e-4)


def test_known_batches_with_labels_and_links():
    g, c = torch.Generator().manual_seed(0), Constraints([(0, 1), (4, 5)], [(2, 3)])
    draws = known_batches(torch.tensor([7, 8, 9]), c, 8, g)
    for _ in range(5):
        b = next(draws).tolist()
        linked = [i for i in b if i<6]
        assert set(linked)<=set(range(6)) and all({i, i^1}<=set(linked) for i in linked) and set(b)&{7, 8, 9}
    assert len(next(known_batches(torch.tensor([]), c, 4, g)))<=4


# ---- the estimator

def test_blobs_and_one_answer(blobs, few):
    X, y = blobs
    m = tiny(pretrain_epochs=30, epochs=20).fit(X, few)
    assert (m.labels_==y).mean()>.95                    # by name, without matching
    assert np.array_equal(m.labels_, m.predict(X)) and np.array_equal(m.labels_, m.predict_proba(X).argmax(1))
    np.testing.assert_array_equal(m.cluster_centers_, m.net_.centers)
    assert np.abs(m.transform(X)).max()<=1
    new = make_blobs(300, 6, centers=3, cluster_std=.6, random_state=0)
    assert (m.predict(new[0])==new[1]).mean()>.95
    assert np.array_equal(tiny(pretrain_epochs=30, epochs=20).fit_predict(X, few), m.labels_)
    assert same(tiny(pretrain_epochs=30, epochs=20).fit(X, few), m)
    assert not any(hasattr(m, n) for n in ('_y', '_links', '_pictures'))


@pytest.mark.parametrize('kind', ['vectors', 'images', 'linked'])
def test_interrupted_anywhere_equals_uninterrupted(kind, blobs, few, pictures, tmp_path):
    X, y, kw, c = blobs[0], few, dict(pretrain_epochs=2, epochs=3), None
    if kind=='images': X, y, kw = pictures[0], np.where(np.arange(90)%10==0, pictures[1], -1), dict(kw, encoder=None, epochs=2)
    if kind=='linked': c = Constraints.from_labels(blobs[1], 20)
    whole, n = tiny(**kw).fit(X, y, constraints=c), 0
    while True:     # one step a slice
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            m = tiny(**kw).fit(X, y, constraints=c, checkpoint=tmp_path, resume=True, time_budget_s=0)
        n += 1
        if m.finished_: break
    assert n>=6 and np.array_equal(m.labels_, whole.labels_) and same(m, whole)
    drop = lambda m: [{k: v for k, v in r.items() if k!='seconds'} for r in m.history_.rows]
    assert drop(m)==drop(whole)
    with pytest.raises(CheckpointError, match='labels'): tiny(**kw).fit(X, np.roll(y, 1), constraints=c, checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize('likelihood', ['auto', 'gaussian'])
def test_pictures(likelihood, pictures, tmp_path):
    x, truth = pictures
    y = np.where(np.arange(90)%10==0, truth, -1)
    m = tiny(encoder=None, likelihood=likelihood, pretrain_epochs=15, epochs=10, batch_size=16, embedding_dim=16).fit(x, y)
    assert (m.labels_==truth).mean()>.95 and m.likelihood_==('bernoulli' if likelihood=='auto' else 'gaussian')
    assert isinstance(m.net_['trunk'][1], torch.nn.Conv2d)
    centres = m.inverse_transform(m.cluster_centers_)
    assert centres.shape==(3, 3, 12, 12)
    like = np.corrcoef(centres.mean(1).reshape(3, -1), SHAPES.reshape(3, -1))[:3, 3:]
    assert like.argmax(1).tolist()==[0, 1, 2]           # the decoded centre has the shape of its class
    m.save(tmp_path)
    again = load_model(ClusterNet, tmp_path)
    assert np.array_equal(again.predict(x), m.labels_) and same(again, m) and again.get_params()==m.get_params()
    with pytest.raises(ValueError, match='takes images'): m.predict(x.reshape(90, -1))


def test_small_pictures_and_vectors_take_the_perceptron(blobs, few):
    x = np.random.default_rng(0).integers(0, 255, (40, 5, 5)).astype(np.uint8)
    m = ClusterNet(2, epochs=1, pretrain_epochs=1, device='cpu').fit(x)
    assert isinstance(m.net_['trunk'][0], torch.nn.Linear) and m.predict(x).shape==(40,)
    m = tiny(encoder=None, epochs=1, pretrain_epochs=1).fit(blobs[0], few)
    assert isinstance(m.net_['trunk'][0], torch.nn.Linear)
    m.fit(np.random.default_rng(0).integers(0, 255, (40, 8, 8)).astype(np.uint8))      # the same object, other data
    assert isinstance(m.net_['trunk'][1], torch.nn.Conv2d)


@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 9, 12), (1, 28, 28), (3, 55, 55)])
def test_conv_pair_mirrors(shape):
    trunk, width, decoder = conv_pair(shape, 5)
    assert trunk(torch.rand(2, *shape)).shape==(2, width) and decoder(torch.randn(2, 5)).shape==(2, *shape)
    assert [m.out_channels for m in trunk if isinstance(m, torch.nn.Conv2d)]==[32, 64, 128]
    assert sum(isinstance(m, torch.nn.Dropout) for m in with_dropout(trunk, .1))==3
    assert not isinstance(with_dropout(decoder, .1)[-1], torch.nn.Dropout)


def test_links_act(blobs):
    X, y = blobs
    c = Constraints.from_labels(y, 60, seed=1)
    m = tiny(pretrain_epochs=30, epochs=15).fit(X, constraints=c)
    assert cluster_accuracy(y, m.labels_)>.95 and m.history_['pair_known'][-1]>=0 and m.history_['center_known'][-1]==0
    z = [tiny().fit(X, constraints=k).transform(X) for k in (None, c)]
    assert not np.allclose(*z)
    for bad, error, what in ((Constraints([(0, 1)], [(1, 0)]), ValueError, 'contradictory'),
                             (Constraints([(0, 900)]), ValueError, 'beyond'),
                             ([(0, 1)], TypeError, 'Constraints')):
        with pytest.raises(error, match=what): tiny().fit(X, constraints=bad)


def test_loss_weights_and_parameters_act(blobs, few):
    base = tiny().fit(blobs[0], few).transform(blobs[0])
    for kw in (dict(margin=9.), dict(gamma=0.), dict(pull=9.), dict(annealed=False), dict(detach=False), dict(dropout=0.),
               dict(labelled_fraction=.05), *(dict(loss_weights={k: 0}) for k in ClusterNet._losses)):
        assert not np.allclose(tiny(**kw).fit(blobs[0], few).transform(blobs[0]), base), kw


def test_units_do_not_matter(blobs, few):
    a = tiny().fit(blobs[0], few)
    for c in (8., 1e-3): assert np.array_equal(tiny().fit(blobs[0]*c, few).labels_, a.labels_)


def test_class_without_labels(blobs, few):
    y = np.where(few==2, -1, few)
    with pytest.warns(UserWarning, match='cluster 2 of 3 has'): m = tiny(pretrain_epochs=30).fit(blobs[0], y)
    assert (m.labels_==blobs[1]).mean()>.9           # the third group gets the name that is left
    with pytest.raises(ValueError, match='cluster 2 of 3 has'): tiny(strict=True).fit(blobs[0], y)
    with pytest.raises(ValueError, match='no sample is labelled'): tiny(strict=True).fit(blobs[0])


BAD_Y = [(lambda y: np.where(y<0, np.nan, y), '188 NaN'), (lambda y: np.where(y==2, 3, y), 'outside'), (lambda y: y[:50], 'shape'),
         (lambda y: y.astype(str), 'names'), (lambda y: y-1, 'outside')]


@pytest.mark.parametrize('change,what', BAD_Y)
def test_bad_labels(change, what, blobs, few):
    with pytest.raises(ValueError, match=what): tiny().fit(blobs[0], change(few))


BAD = [(dict(margin=0), 'margin'), (dict(gamma=-1), 'gamma'), (dict(labelled_fraction=.95), 'labelled_fraction'),
       (dict(dropout=1), 'dropout'), (dict(start='mean'), 'means'), (dict(pretrain_lr=0), 'pretrain_lr'),
       (dict(embedding_dim=0), 'embedding_dim'), (dict(pull=-1), 'pull')]


@pytest.mark.parametrize('kw,what', BAD)
def test_bad_parameters(kw, what, blobs):
    with pytest.raises((ValueError, TypeError), match=what): tiny(**kw).fit(blobs[0])


def test_presets():
    for data, k in dict(mnist=10, usps=10, frgc=20, ytf=41).items():
        m = ClusterNet.paper(data)
        m._check_params()
        assert m.n_clusters==k and (m.pretrain_epochs, m.epochs, m.lr, m.pretrain_lr, m.embedding_dim)==(100, 60, 1e-4, 1e-4, 32)
    with pytest.raises(ValueError, match='usps'): ClusterNet.paper('cifar10')


def test_collapse_is_a_fixed_point(blobs, few):
    "All centres and codes in one place: no pair feels a push"
    est, x, stage = stage_of(blobs[0], few, loss_weights={'reconstruction': 0})
    with torch.no_grad():
        for p in est.net_['mu'].parameters(): p.zero_()
    Loop(est.net_, [stage], 0, loss_weights={'reconstruction': 0}).run()
    assert est._embed(x).abs().max()<1e-6


def test_a_checkpoint_knows_what_links_weigh():
    from deepclust.methods.clusternet import known_of
    y = np.full(6, -1)
    kinds = {}, {'weights':[1,1]}, {'weights':[1,2]}, {'noise':.1}
    plain,light,heavy,doubtful = (Constraints([[0,1]], [[2,3]], **kw) for kw in kinds)
    assert known_of(y, plain)==known_of(y, Constraints([[0,1]], [[2,3]]))
    assert len({str(known_of(y, c)) for c in (None,plain,heavy,light,doubtful)})==5


@pytest.mark.parametrize('none,text', [([3],'cluster 3 of 10 has no labelled sample'), ([3,5],'clusters 3, 5 of 10 have no labelled'),
                                       (list(range(12)),'clusters 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 … of 10 have')])
def test_words_for_clusters_without_a_label(none, text):
    from deepclust.kmeans import without_labels
    assert without_labels(none, 10).startswith(text)


@pytest.mark.filterwarnings('ignore')
def test_stopped_before_its_start_it_still_names_clusters_by_labels():
    X, y = make_blobs(90, 6, centers=3, cluster_std=.3, random_state=0)
    m = ClusterNet(3, random_state=0, device='cpu').fit(X, np.where(np.arange(90)<20, y, -1), time_budget_s=0)
    assert not m.finished_ and (m.labels_==y).mean()>.9
