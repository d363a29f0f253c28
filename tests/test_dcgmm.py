"DC-GMM: the constraint term against loops, the sources of links, and the estimator with pairs, labels, views and given weights."
import itertools
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs

from deepclust.augment import Contrast, Flip, Pad, RandomCrop, Rotate, pick_recipe
from deepclust.base import as_input, load_model
from deepclust.constraints import Constraints
from deepclust.core import CheckpointError
from deepclust.kmeans import check_labels
from deepclust.methods.autoencoder import AutoencoderKMeans
from deepclust.methods.dcgmm import (DCGMM, AugmentedViews, AugmentLinks, DcgmmStage, PairLinks,
                                     choose_links, constraint_term, feature_views, frozen_looks, image_looks, linked_batches,
                                     view_ops)
from deepclust.methods.vade import MixtureStage,VaDE
from deepclust.metrics import cluster_accuracy

TINY = dict(n_clusters=3, embedding_dim=4, pretrain_epochs=4, epochs=4, batch_size=32, encoder='mlp-32-32', device='cpu', random_state=0)
pytestmark = pytest.mark.filterwarnings('ignore::deepclust.core.CollapseWarning')


def tiny(**kw): return DCGMM(**{**TINY, **kw})


def same_weights(a, b):
    a, b = a.net_.state_dict(), b.net_.state_dict()
    return a.keys()==b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope='module')
def blobs(): return make_blobs(120, 6, centers=3, cluster_std=.6, random_state=0)


@pytest.fixture(scope='module')
def corners():
    "Four groups at the corners of a rectangle, wide rather than high, seen in 40 dimensions; the classes are top and bottom"
    r = np.random.default_rng(0)
    points = np.concatenate([r.normal(c, .35, (40, 2)) for c in ((-2, -1.2), (-2, 1.2), (2, -1.2), (2, 1.2))])
    return points@r.normal(size=(2, 40))+r.normal(0, .2, (160, 40)), np.repeat([0, 1, 0, 1], 40)


# ---- the term

def test_term_against_a_float64_loop():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 7)
    w = rng.integers(-1, 2, (7, 7))*1e4
    loop = -sum(w[i, j]*p[i, k]*p[j, k] for i in range(7) for j in range(7) for k in range(3))/7
    got = constraint_term(torch.from_numpy(p).float(), torch.from_numpy(w).float()).item()
    assert abs(got-loop)<1e-5*abs(w).sum()/7


def test_term_is_the_expected_log_of_the_conditional_prior():
    "Brute force over all 3^4 assignments: E_q log p(c|W) differs from −b·term by a constant only"
    rng = np.random.default_rng(1)
    p, w = rng.dirichlet(np.ones(3), 4), np.triu(rng.normal(size=(4, 4)), 1)
    w = w+w.T
    expected = sum(np.prod([p[i, c[i]] for i in range(4)])*sum(w[i, j]*(c[i]==c[j]) for i in range(4) for j in range(4) if i!=j)
                   for c in itertools.product(range(3), repeat=4))
    assert abs(expected+4*constraint_term(torch.from_numpy(p), torch.from_numpy(w)).item())<1e-10


def test_gradient_flows_through_both_ends():
    p = torch.tensor([[.9, .1], [.2, .8]], requires_grad=True)
    constraint_term(p, torch.tensor([[0., 1], [1, 0]])).backward()
    torch.testing.assert_close(p.grad, -torch.tensor([[.2, .8], [.9, .1]]))


@pytest.mark.parametrize('n,share', [(10, .5), (7, .25), (3, .9), (5, 0.), (1, .5)])
def test_constraint_batches_are_spread(n, share):
    m = linked_batches(n, share)
    assert len(m)==n and abs(sum(m)-n*share/(1-share))<1 and max(m)-min(m)<=1


# ---- where links come from

def test_pair_links_hold_both_ends_and_what_follows():
    c = Constraints([(0, 1), (1, 2)], [(2, 3)])
    links, x = PairLinks(c, True, 4), torch.zeros(5, 2)
    batches = links.batches(torch.Generator().manual_seed(0))
    for _ in range(5):
        idx = next(batches)
        left, right = idx.chunk(2)
        assert {tuple(sorted(p)) for p in zip(left.tolist(), right.tolist())}<={(0, 1), (1, 2), (2, 3)}
    _, w = links.prepare('links', x, torch.tensor([0, 2, 3]), None)
    assert w.tolist()==[[0, 1, -1], [1, 0, -1], [-1, -1, 0]]
    _, w = PairLinks(c, False, 4).prepare('links', x, torch.tensor([0, 2, 3]), None)
    assert w.tolist()==[[0, 0, 0], [0, 0, -1], [0, -1, 0]]


def test_augment_links_rows_and_matrix():
    x, g = torch.rand(20, 3, 16, 16), torch.Generator().manual_seed(0)
    links = AugmentLinks(image_looks(view_ops('auto', (3, 16, 16))), torch.arange(12), 8, 5, None)
    idx = next(links.batches(g))
    assert idx.max()<12 and len(idx)==6
    v, w = links.prepare('links', x, idx, g)
    assert v.shape==(11, 3, 16, 16) and w.shape==(11, 11) and (w>0).sum()==5 and (w<0).sum()==6
    assert all(w[i, 6+i]==1 for i in range(5)) and not torch.equal(v[0], v[6])
    assert links.prepare('cluster', x, idx, g)==(None, None), 'a plain batch is taken from the data by the stage'


@pytest.mark.parametrize('links,must,cannot', [('both', True, True), ('must', True, False), ('cannot', False, True)])
def test_kinds_of_links(links, must, cannot, blobs, pictures):
    c = choose_links(Constraints([(0, 1)], [(2, 3), (4, 5)], weights=[1, 2, 3]), links, 0.)
    assert (len(c.must_link)>0, len(c.cannot_link)>0)==(must, cannot) and c.weights.tolist()==[1]*must+[2, 3]*cannot
    m = tiny(links=links, n_pairs=40).fit(blobs[0], blobs[1])
    assert (len(m.must_link_)>0, len(m.cannot_link_)>0)==(must, cannot)
    a = tiny(links=links, constraints='augment', epochs=1, pretrain_epochs=1).fit(pictures[0])
    assert np.isfinite(a.history_['constraint'][-1])


def test_frozen_views_of_a_sample_differ():
    views = torch.arange(3.)[:, None, None].expand(3, 10, 2)+10*torch.arange(10.)[:, None]
    z = frozen_looks(views)(torch.zeros(10, 2), torch.arange(10), 6, torch.Generator().manual_seed(0))
    assert z.shape==(16, 2) and (z[:6]//10).equal(z[10:]//10) and (z[:6]!=z[10:]).all()


@pytest.mark.parametrize('recipe,kinds', [('auto', {RandomCrop, Flip, Contrast}), ('crop', {RandomCrop, Flip}), ('colour', {Contrast})])
def test_recipes_of_links(recipe, kinds):
    assert {type(o) for o in view_ops(recipe, (3, 32, 32)).ops}==kinds
    small = {RandomCrop: {Pad, RandomCrop, Rotate}, Contrast: {Contrast}}
    of_characters = {type(o) for o in view_ops(recipe, (1, 28, 28)).ops}
    assert of_characters==set().union(*(small.get(o, set()) for o in kinds)), 'small shifts'
    assert {type(o) for o in view_ops('ozsoy-cifar10', (1, 28, 28)).ops}=={RandomCrop, Contrast}, 'characters are not mirrored'
    for shape in ((3, 32, 32), (1, 8, 8), (1, 28, 28)): assert view_ops(recipe, shape)(torch.rand(2, *shape)).shape==(2, *shape)


def test_recipes_that_do_not_fit():
    with pytest.raises(ValueError, match='32 x 20'): view_ops('auto', (3, 32, 20))
    with pytest.raises(ValueError, match='keeps the size'): view_ops(pick_recipe('mmdc-stl10', (3, 96, 96)), (3, 96, 96))
    with pytest.raises(ValueError, match='recipe='): view_ops('croop', (3, 32, 32))
    assert view_ops(pick_recipe('simclr-0.5', (3, 32, 32)), (3, 32, 32))(torch.rand(2, 3, 32, 32)).shape==(2, 3, 32, 32)


# ---- the estimator

def test_without_links_it_is_vade(blobs):
    names = VaDE().get_params()
    a, b = VaDE(**TINY, learn_pi=False).fit(blobs[0]), tiny().fit(blobs[0])
    assert np.array_equal(a.labels_, b.labels_) and same_weights(a, b)
    mine = DCGMM().get_params()
    assert names.keys()<=mine.keys() and all(mine[k]==v for k, v in names.items() if k!='learn_pi'), 'the defaults of VaDE'
    c = tiny().fit(blobs[0], constraints=Constraints())
    assert same_weights(a, c) and 'constraint' not in c.history_.columns


@pytest.mark.parametrize('alpha', [100., 1e4])
def test_links_decide_which_way_to_cut(corners, alpha):
    "On most seeds: a link that a wrong start has made certain pulls no more (the page says how far one reaches)"
    (X, y), good = corners, 0
    for seed in range(3):
        kw = dict(n_clusters=2, embedding_dim=2, pretrain_epochs=10, epochs=40, n_pairs=500, random_state=seed, alpha=alpha)
        assert cluster_accuracy(y, tiny(**kw).fit(X).labels_)<.8
        m = tiny(**kw).fit(X, y)
        together = lambda pairs: (m.labels_[pairs[:, 0]]==m.labels_[pairs[:, 1]]).mean()
        good += cluster_accuracy(y, m.labels_)>.9 and together(m.must_link_)>.9 and together(m.cannot_link_)<.1
    assert good>=2


@pytest.mark.parametrize('sign,same', [(1., True), (-1., False)])
def test_a_must_link_merges_and_a_cannot_link_splits(sign, same):
    "Two samples under descent of the term alone; the must-link from opposite sides, the cannot-link from one side"
    logits = torch.tensor([[.6, 0], [0, .5]] if same else [[.6, 0], [.5, 0]], requires_grad=True)
    opt = torch.optim.SGD([logits], lr=1.)
    for _ in range(200):
        opt.zero_grad()
        constraint_term(logits.softmax(1), sign*torch.tensor([[0., 1], [1, 0]])).backward()
        opt.step()
    a, b = logits.detach().argmax(1).tolist()
    assert (a==b)==same and logits.detach().softmax(1).max(1).values.min()>.9


def test_y_draws_pairs_and_names_the_clusters(blobs):
    X, y = blobs
    part = np.where(np.arange(120)%2, y, -1)
    m = tiny(epochs=15, pretrain_epochs=15, n_pairs=300).fit(X, part, snapshots=(15,))
    known = set(np.flatnonzero(part>=0).tolist())
    assert set(m.must_link_.ravel().tolist())|set(m.cannot_link_.ravel().tolist())<=known and len(m.must_link_)+len(m.cannot_link_)==300
    assert (m.labels_==y).mean()>.9, 'cluster j is class j'
    assert np.array_equal(m.predict(X), m.labels_) and np.array_equal(m.history_.snapshots[15]['labels'], m.labels_)
    z = m.transform(X)
    np.testing.assert_allclose(m.cluster_centers_, [z[y==j].mean(0) for j in range(3)], atol=2)
    assert np.array_equal(tiny(epochs=15, pretrain_epochs=15, n_pairs=300).fit(X, part).labels_, m.labels_)


def test_names_are_a_matter_of_numbers_only(blobs):
    X, y = blobs
    c = Constraints.from_labels(y, 200)
    a, b = tiny().fit(X, constraints=c), tiny().fit(X, y, constraints=c)
    assert cluster_accuracy(a.labels_, b.labels_)==1
    assert (b.labels_==y).mean()==cluster_accuracy(y, a.labels_)
    assert np.array_equal(np.sort(a.cluster_centers_, 0), np.sort(b.cluster_centers_, 0))


def test_noise_switches_the_closure_off(blobs):
    X, y = blobs
    links = lambda **kw: tiny(n_pairs=100, **kw)
    for m, weight in ((links(), 100), (links(noise=.2), 100), (links(alpha=7.), 7)):
        assert m.fit(X, y).history_['weight_constraint'][-1]==weight
    told = tiny(noise=0.).fit(X, constraints=Constraints.from_labels(y, 100, noise=.2))
    assert told.history_['weight_constraint'][-1]==100
    wrong = Constraints([(0, 1), (1, 2)], [(0, 2)])
    assert tiny(noise=.1).fit(X, constraints=wrong).labels_.shape==(120,)


def test_weights_of_links_and_a_zero_term(blobs):
    X, y = blobs
    c = Constraints([(0, 1)], [(2, 3)], weights=[1, .5])
    assert np.isfinite(tiny().fit(X, constraints=c).history_['constraint']).any()
    a = tiny(loss_weights={'constraint': 0}).fit(X, y)
    b = tiny(alpha=0.).fit(X, y)
    assert same_weights(a, b) and not same_weights(a, tiny().fit(X, y))


def test_bad_links(blobs):
    X, y = blobs
    for c, says in ((Constraints([(0, 1), (1, 2)], [(0, 2)]), '0-1-2'), (Constraints([(0, 120)]), '120')):
        with pytest.raises(ValueError, match=says): tiny().fit(X, constraints=c)
    with pytest.raises(TypeError, match='Constraints'): tiny().fit(X, constraints=[(0, 1)])
    for bad, says in ((y[:50], r'\(50,\)'), (y+1, r'-1\.\.2'), (y-2, r'-1\.\.2'), (y+.5, 'integers'), (np.full(120, -1), 'label more')):
        with pytest.raises(ValueError, match=says): tiny().fit(X, bad)
    for kw, says in ((dict(constraints='self'), 'augment'), (dict(links='all'), 'links'), (dict(noise=.5), '0.5'),
                     (dict(alpha=-1.), 'alpha'), (dict(n_pairs=0), 'n_pairs'), (dict(n_must=-1), 'n_must'),
                     (dict(link_share=1.), 'link_share')):
        with pytest.raises(ValueError, match=says): tiny(**kw).fit(X, y)


def test_check_labels():
    assert check_labels([0., 1, -1], 3, 2).tolist()==[0, 1, -1] and check_labels(torch.tensor([1, 0]), 2, 2).dtype==np.int64


@pytest.mark.parametrize('kw', [{}, dict(constraints='augment'), dict(pretrain='contrastive')])
def test_interrupted_is_uninterrupted(blobs, pictures, tmp_path, kw):
    X, y = pictures if kw else blobs
    X = X if kw else X*1.
    once = tiny(n_pairs=60, **kw).fit(X, y)
    args = dict(checkpoint=tmp_path/'run', resume=True)
    slices = 0
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        while slices<200:
            m, slices = tiny(n_pairs=60, **kw).fit(X, y, time_budget_s=0., **args), slices+1
            if m.finished_: break
    assert m.finished_ and slices>8 and same_weights(m, once) and np.array_equal(m.labels_, once.labels_)
    with pytest.raises(CheckpointError, match='pairs|n_pairs'): tiny(n_pairs=59, **kw).fit(X, y, **args)


def test_save_and_load(blobs, tmp_path):
    m = tiny(n_pairs=50).fit(*blobs)
    again = load_model(DCGMM, m.save(tmp_path/'m'))
    assert np.array_equal(again.predict(blobs[0]), m.labels_) and np.array_equal(again.must_link_, m.must_link_)
    assert not [k for k in vars(m) if k in ('_links', '_y', '_alpha')]


# ---- links by augmentation

@pytest.mark.parametrize('encoder', ['mlp-32', 'vgg-2'])
@pytest.mark.parametrize('recipe', ['auto', 'crop', 'colour', 'simclr-0.5'])
def test_augment(pictures, encoder, recipe):
    m = tiny(constraints='augment', encoder=encoder, recipe=recipe, n_pairs=50, epochs=2, pretrain_epochs=1).fit(pictures[0])
    assert np.array_equal(m.predict(pictures[0]), m.labels_) and all(np.isfinite(m.history_[c][-1]) for c in m._losses if c!='contrastive')
    assert m.inverse_transform(m.cluster_centers_).shape==(3, 3, 16, 16) and m.sample(2, random_state=0)[0].shape==(2, 3, 16, 16)
    assert m.history_.rows[-1]['skipped']==0


def test_augment_is_for_images_and_alone(blobs, pictures):
    with pytest.raises(ValueError, match='takes images.*AugmentedViews'): tiny(constraints='augment').fit(blobs[0])
    with pytest.raises(ValueError, match='makes its own links'):
        tiny(constraints='augment').fit(pictures[0], constraints=Constraints([(0, 1)]))
    a, b = (tiny(constraints='augment', epochs=1, pretrain_epochs=1).fit(pictures[0], y) for y in (None, pictures[1]))
    assert np.array_equal(a.labels_, b.labels_), 'unsupervised: y is ignored'


def test_a_perceptron_starts_alike_on_pictures_and_on_vectors(pictures):
    a = tiny(constraints='augment', epochs=0, pretrain_epochs=0).fit(pictures[0])
    b = tiny(epochs=0, pretrain_epochs=0).fit(pictures[0])
    assert all(torch.equal(u, v) for u, v in zip(a.net_.state_dict().values(), b.net_.state_dict().values()))


def test_views_computed_before(pictures):
    enc = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 12)).train()
    g = torch.Generator().manual_seed(0)
    z, views = feature_views(enc, torch.from_numpy(pictures[0]), 'crop', 3, g, block=50)
    assert z.shape==(90, 12) and views.shape==(3, 90, 12) and enc.training and not torch.equal(views[0], views[1])
    torch.testing.assert_close(z, enc(torch.from_numpy(pictures[0])/255).detach())
    m = tiny(epochs=10, pretrain_epochs=10, likelihood='gaussian').fit(z.numpy(), constraints=AugmentedViews(views))
    assert np.isfinite(m.history_['constraint'][-1]) and np.array_equal(m.predict(z.numpy()), m.labels_)
    with pytest.raises(ValueError, match='same samples'): tiny().fit(z[:80].numpy(), constraints=AugmentedViews(views))
    with pytest.raises(ValueError, match='two or more'): AugmentedViews(views[:1])
    with pytest.raises(ValueError, match='NaN'): AugmentedViews(views*float('nan'))
    with pytest.raises(ValueError, match='0..1'): tiny().fit(np.full((90, 12), .5), constraints=AugmentedViews(views+9))


# ---- weights from elsewhere

def test_init_takes_the_place_of_pretraining(blobs, tmp_path):
    X = blobs[0]
    ae = AutoencoderKMeans(3, embedding_dim=4, pretrain_epochs=3, encoder='mlp-32-32', device='cpu', random_state=1).fit(X)
    m = tiny(init=ae, norm=None, rescale=None, epochs=0).fit(X)
    assert 'pretrain' not in [r['stage'] for r in m.history_.rows] and torch.equal(m.net_['mu'].weight, ae.net_['mu'].weight)
    np.testing.assert_array_equal(m.transform(X), ae.transform(X))
    folder = ae.save(tmp_path/'ae')
    p = tiny(init=folder, norm=None, epochs=2).fit(X)
    assert np.array_equal(p.labels_, tiny(init=str(folder), norm=None, epochs=2).fit(X).labels_)
    assert load_model(DCGMM, p.save(tmp_path/'p')).init==str(folder) and p.init==folder
    assert load_model(DCGMM, m.save(tmp_path/'m')).init is None and m.init is ae
    np.testing.assert_array_equal(load_model(DCGMM, tmp_path/'m').predict(X), m.labels_)


def test_init_that_does_not_fit(blobs):
    X = blobs[0]
    ae = AutoencoderKMeans(3, embedding_dim=4, pretrain_epochs=1, encoder='mlp-32-32', device='cpu', random_state=1).fit(X)
    for kw, says in ((dict(), 'absent'), (dict(norm=None, embedding_dim=5), r'mu.weight is \(4, 32\) there and \(5, 32\) here'),
                     (dict(norm=None, encoder='mlp-16'), 'trunk.0.weight')):
        with pytest.raises(ValueError, match=says): tiny(init=ae, **kw).fit(X)
    with pytest.raises(ValueError, match='likelihood'): tiny(init=ae, norm=None).fit((X-X.min())/(X.max()-X.min()))
    with pytest.raises(ValueError, match='not fitted'): clone(tiny(init=ae, norm=None)).fit(X)
    with pytest.raises(TypeError, match='folder'): tiny(init=3).fit(X)
    with pytest.raises(FileNotFoundError): tiny(init='nowhere').fit(X)


def test_restarts_and_papers(blobs):
    assert tiny(n_init=2).fit(*blobs).labels_.shape==(120,)
    p = DCGMM.paper()
    assert (p.epochs, p.batch_size, p.norm, p.learn_pi, p.alpha, p.hold)==(500, 256, None, False, 1e4, 0.)
    assert DCGMM.paper('cifar10').encoder=='vgg-2'
    assert [DCGMM.paper(d).logvar for d in ('features', 'cifar10', 'stl10')]==['none', 'none', 'clamp']
    for data, size in (('features', 256), ('cifar10', 128), ('stl10', 64)):
        own = DCGMM.paper(data, 'augment')
        assert (own.batch_size, own.alpha, own.explain_views, own.recipe)==(size, 1e4, True, 'ozsoy-cifar10')


def test_restarts_hear_of_broken_links(blobs):
    from deepclust.methods.dcgmm import broken_links
    X, y = blobs
    m, right, wrong = tiny(epochs=8).fit(X), [(0, i) for i in np.flatnonzero(y==y[0])[1:9]], [(0, i) for i in np.flatnonzero(y!=y[0])[:8]]
    x, p = as_input(m, X), m.predict_proba(X)
    m._alpha = 10.
    def cost(must, cannot):
        m._links = PairLinks(Constraints(must, cannot), False, 32)
        return broken_links(m, x)
    assert cost(right, wrong)<cost(wrong, right)
    loop = -20/120*(sum(p[i]@p[j] for i, j in right)-sum(p[i]@p[j] for i, j in wrong))
    assert abs(cost(right, wrong)-loop)<1e-3


# ---- what the views are for

def test_views_enter_the_constraint_term_only(pictures):
    kw = dict(constraints='augment', epochs=2, pretrain_epochs=1, batch_size=30)
    m = tiny(**kw).fit(pictures[0])
    assert m.history_['weight_constraint'][-1]==100 and m.history_['weight_reconstruction'][-1]==1
    links = AugmentLinks(image_looks(view_ops('auto', (3, 16, 16))), torch.arange(90), 8, 3, None)
    stage = DcgmmStage(m, torch.from_numpy(pictures[0]), MixtureStage(m, pictures[0]), links)
    stage.generator = torch.Generator().manual_seed(0)
    losses = {p: stage.losses(p, torch.arange(8), stage.prepare(p, torch.arange(8))) for p in ('cluster', 'links')}
    assert set(losses['links'])=={'constraint'} and 'constraint' not in losses['cluster'] and 'reconstruction' in losses['cluster']
    m.explain_views = True
    stage = DcgmmStage(m, stage.x, stage.start, stage.links)
    stage.generator = torch.Generator().manual_seed(0)
    assert set(stage.losses('links', torch.arange(8), stage.prepare('links', torch.arange(8))))=={'constraint', *losses['cluster']}
    assert not same_weights(m, tiny(**kw, explain_views=True).fit(pictures[0]))


def test_without_the_term_views_change_nothing_but_the_order(pictures):
    "Constraint batches without a term make no step: the plain ones alone are left"
    kw = dict(constraints='augment', epochs=2, pretrain_epochs=1, loss_weights={'constraint': 0})
    m = tiny(**kw).fit(pictures[0])
    assert np.isfinite(m.history_['reconstruction'][-1]) and m.history_.rows[-1]['skipped']==0


def test_pretraining_by_contrast(pictures):
    X = pictures[0]
    m = tiny(pretrain='contrastive', encoder='vgg-2', epochs=2).fit(X)
    rows = [r for r in m.history_.rows if r['stage']=='pretrain']
    assert len(rows)==4 and rows[-1]['contrastive']<rows[0]['contrastive'] and rows[0]['weight_reconstruction']==1e-3
    assert np.array_equal(m.predict(X), m.labels_)
    assert same_weights(m, tiny(pretrain='contrastive', encoder='vgg-2', epochs=2).fit(X))
    assert tiny(pretrain='contrastive', constraints='augment', epochs=1).fit(X).labels_.shape==(90,)
    with pytest.raises(ValueError, match='pretrain'): tiny(pretrain='simclr').fit(X)
    with pytest.raises(ValueError, match='takes images'): tiny(pretrain='contrastive').fit(X.reshape(90, -1)*1.)


def test_pixels_are_moved_in_training_as_by_vade_unless_links_bring_views():
    x = np.random.default_rng(0).random((60, 1, 16, 16), dtype=np.float32)
    kw = TINY|dict(epochs=2, pretrain_epochs=2)
    a, plain = (VaDE(**kw, learn_pi=False, recipe=r).fit(x) for r in ('auto', None))
    b = tiny(epochs=2, pretrain_epochs=2).fit(x)
    assert np.array_equal(a.transform(x), b.transform(x)) and not np.array_equal(a.transform(x), plain.transform(x))
    assert tiny()._training_recipe()=='auto' and tiny(constraints='augment')._training_recipe() is None
    assert tiny(recipe='crop')._training_recipe() is None, "a named recipe is that of the links' views"
