"ContrastiveDEC: anchors against loops, a step against its formula, two processes against one, resume, and what a user may get wrong."
import os
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from test_mmdc import Counting, pictures
from test_mmdc import stage_of as first_stage

import deepclust.methods.nat as nat
from deepclust.augment import Flip, pick_recipe
from deepclust.base import load_model
from deepclust.core import CollapseWarning
from deepclust.losses import nt_xent, student_t, target_distribution
from deepclust.methods.autoencoder import embed_all
from deepclust.methods.contrastive_dec import (ANCHORS, ContrastiveDEC, ContrastStage, StudentHead, VectorViews, center_gaps,
                                               check_merged, cluster_contrast, contrast_recipe, look, within_share)
from deepclust.metrics import cluster_accuracy

SMALL = dict(device='cpu', random_state=0, batch_size=32, encoder='mlp-16', epochs=4, warmup=.25, lr=1e-3)
pytestmark = pytest.mark.filterwarnings('ignore::deepclust.core.CollapseWarning')


def rows(b=6, k=4, seed=0, sharp=2.):
    return (sharp*torch.randn(b, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).log_softmax(1)


# ---- anchors

def kl(p, q): return sum(float(a)*np.log(float(a)/float(b)) for a, b in zip(p, q))


def bolder(q):
    q = q.exp().numpy()
    w = q**2/q.sum(0)
    return w/w.sum(1, keepdims=True)


LOOPS = {
    'jsd': lambda q0, q1, q2, p0, p1, p2: (kl(q1, (q1+q2)/2)+kl(q2, (q1+q2)/2))/2,
    'p0q1p0q2': lambda q0, q1, q2, p0, p1, p2: kl(p0, q1)+kl(p0, q2),
    'p1q2p2q1': lambda q0, q1, q2, p0, p1, p2: kl(p1, q2)+kl(p2, q1),
    'q0q1q2': lambda q0, q1, q2, p0, p1, p2: kl(q0, q1)+kl(q0, q2)}


def test_anchor_names_are_stable(): assert set(ANCHORS)==set(LOOPS)


@pytest.mark.parametrize('name', ANCHORS)
def test_anchors_against_a_float64_loop(name):
    ls = [rows(seed=s) for s in range(3)]
    want = np.mean([LOOPS[name](*v) for v in zip(*(a.exp().numpy() for a in ls), *map(bolder, ls))])
    assert abs(ANCHORS[name](*ls).item()-want)<1e-12
    assert abs(ANCHORS[name](*(a.float() for a in ls)).item()-want)<1e-5
    assert abs(ANCHORS[name](ls[0], ls[1], ls[1]).item())<1e-12 if name=='jsd' else True


@pytest.mark.parametrize('name', ANCHORS)
def test_gradients_of_anchors(name):
    l0, l2 = rows(seed=0), rows(seed=2)
    a = rows(seed=1).requires_grad_()
    g, = torch.autograd.grad(ANCHORS[name](l0, a.log_softmax(1), l2)*len(a), a)
    q1, q2 = a.detach().exp(), l2.exp()
    if name=='jsd':
        r = (2*q1/(q1+q2)).log()
        want = q1*(r-(q1*r).sum(1, keepdim=True))/2
    else: want = q1-(l0.exp() if name=='q0q1q2' else torch.from_numpy(bolder(l0 if name=='p0q1p0q2' else l2)))
    torch.testing.assert_close(g, want)
    f = lambda x, y, z: ANCHORS[name](x.log_softmax(1), y.log_softmax(1), z.log_softmax(1), lambda q: torch.ones_like(q)/4)
    assert torch.autograd.gradcheck(f, [rows(2, seed=s).requires_grad_() for s in range(3)])


def test_sure_assignments_give_finite_gradients():
    ls = [torch.tensor([[300., 0, -300]]), torch.tensor([[0., 300, -300]]), torch.tensor([[-300., 0, 300]])]
    for f in ANCHORS.values():
        a = [x.clone().requires_grad_() for x in ls]
        f(*(x.log_softmax(1) for x in a)).backward()
        assert all(torch.isfinite(x.grad).all() for x in a if x.grad is not None)


def test_cluster_contrast_against_a_loop():
    q1, q2 = rows(9, 3, 1).exp(), rows(9, 3, 2).exp()
    c = torch.cat([q1.T, q2.T])
    s = np.exp((c@c.T/torch.outer(c.norm(dim=1), c.norm(dim=1))).numpy())
    want = -np.mean([np.log(s[i, (i+3) % 6]/(s[i].sum()-s[i, i])) for i in range(6)])
    want += sum(u*np.log(u) for q in (q1, q2) for u in q.mean(0).tolist())
    assert abs(cluster_contrast(q1, q2).item()-want)<1e-12


# ---- centres

def test_center_gaps_and_within_share():
    c = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    d = torch.cdist(c.double(), c.double())[torch.triu_indices(7, 7, 1).unbind()]
    torch.testing.assert_close(torch.stack(center_gaps(c)), torch.stack([d.min(), d.mean()]).float())
    z, lab = torch.randn(50, 3), torch.arange(50) % 4
    means, share, within = within_share(z, lab, 5)
    assert torch.equal(means[4], torch.zeros(3)) and 0<share<=1
    assert abs(within-sum((z[lab==j]-z[lab==j].mean(0)).square().sum() for j in range(4)).item()/50)<1e-4
    assert 'merged' in check_merged(c*1e-3, 1.) and not check_merged(c, 1e-3) and not check_merged(c[:1], 1.) and not check_merged(c*0, 0.)


# ---- views

@pytest.mark.parametrize('shape,name,flips', [((1, 8, 8), 'simclr-0.5', False), ((1, 28, 28), 'simclr-0.5', False),
                                              ((3, 32, 32), 'simclr-0.5', True), ((1, 64, 64), 'simclr-0.5', True),
                                              ((3, 96, 96), 'simclr-1', True)])
def test_recipes(shape, name, flips):
    r = contrast_recipe('auto', shape)
    assert r.name==name and any(isinstance(op, Flip) for op in r.train_ops.ops)==flips
    assert r.out_shape==(shape[0], max(16, shape[1]), max(16, shape[1]))
    x = torch.randint(0, 256, (5, *shape), dtype=torch.uint8)
    v = look(r, x, 'xTT', torch.Generator().manual_seed(0))
    assert v.shape==(15, *r.out_shape) and v.min()>=0 and v.max()<=1 and torch.equal(v[:5], r.eval(x)) and not torch.equal(v[5:10], v[10:])
    assert torch.equal(look(r, x, 'xxx')[5:10], r.eval(x))


def test_recipes_by_name_size_and_object():
    assert contrast_recipe('mmdc-cifar10', (1, 28, 28)).train_ops.ops and not any(
        isinstance(op, Flip) for op in contrast_recipe('mmdc-cifar10', (1, 28, 28)).train_ops.ops)
    x = torch.randint(0, 256, (3, 1, 12, 12), dtype=torch.uint8)
    for name in ('simclr-0.5', 'none', 'mmdc-digits'): assert look(contrast_recipe(name, (1, 12, 12), 24), x, 'xT').shape==(6, 1, 24, 24)
    own = pick_recipe('none', (3, 32, 32))
    assert contrast_recipe(own, (3, 32, 32)).name=='none'
    with pytest.raises(ValueError, match='recipe'): contrast_recipe('simclr', (3, 32, 32))


# ---- a step

def stage_of(x, **kw):
    est = ContrastiveDEC(3, **{**SMALL, **kw})
    return est, first_stage(est, x)


@pytest.fixture
def images(): return torch.from_numpy(pictures()[0])[:, None]


@pytest.mark.parametrize('frequencies', ['batch', 'running', 'all'])
def test_losses_are_the_papers(images, frequencies):
    est, stage = stage_of(images, frequencies=frequencies)
    stage.before_epoch(1)                   # warmup=.25 of 4
    before, batch = stage.freq.clone(), torch.arange(10, 31)
    views = stage.prepare('train', batch)
    got = stage.losses('train', batch, views)
    h, z = est._both(views)
    q0, q1, q2 = student_t(h, est.net_['cluster'].points).chunk(3)
    freq = {'batch': q0.sum(0), 'running': .9*before+.1*q0.mean(0), 'all': before}[frequencies].detach()
    p = target_distribution(q0, freq)
    k = lambda a, b: (a*(a/b).log()).sum(1).mean()
    torch.testing.assert_close(got['instance'], nt_xent(*z[21:].chunk(2), .5))
    torch.testing.assert_close(got['cluster'], k(p, q0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got['anchor'], k(q0, q1)+k(q0, q2), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(stage.freq, freq if frequencies!='batch' else before)
    assert [stage.weight(n, 0) for n in got]==[est.alpha, est.beta, est.gamma]


def test_frequencies_of_all_are_renewed_every_epoch(images):
    est, stage = stage_of(images, frequencies='all')
    stage.before_epoch(1)
    first = stage.freq
    with torch.no_grad(): est.net_['cluster'].points += torch.randn(3, 1)
    stage.before_epoch(2)
    assert not torch.equal(first, stage.freq)
    torch.testing.assert_close(stage.freq, est.net_['cluster'](embed_all(est, stage.x)).softmax(1).mean(0).detach())


@pytest.mark.parametrize('detach', [True, False])
def test_detach_holds_the_anchor_still(images, detach):
    est, stage = stage_of(images, detach=detach)
    stage.before_epoch(1)
    batch = torch.arange(20)
    views = stage.prepare('train', batch).requires_grad_()
    g, = torch.autograd.grad(stage.losses('train', batch, views)['anchor'], views)
    assert bool(g[:20].abs().sum()>0)!=detach and g[20:40].abs().sum()>0 and g[40:].abs().sum()>0


def test_the_warm_up_has_two_views_and_one_loss(images):
    _, stage = stage_of(images)
    stage.before_epoch(0)
    batch = torch.arange(20)
    views = stage.prepare('train', batch)
    assert len(views)==40 and list(stage.losses('train', batch, views))==['instance'] and stage.after_epoch(0)=={}
    stage.before_epoch(1)
    assert len(stage.prepare('train', batch))==60 and set(stage.after_epoch(1))=={'closest_centers', 'center_distance'}


@pytest.mark.parametrize('kw', [{}, dict(cluster_head='cc'), dict(frequencies='running')], ids=str)
def test_a_step_never_waits(images, kw):
    _, stage = stage_of(images, **kw)
    stage.before_epoch(1)
    batch = torch.arange(20)
    with Counting() as count:
        with torch.no_grad(): views = stage.prepare('train', batch)
        loss = sum(stage.losses('train', batch, views).values())
    loss.backward()
    assert dict(count.seen)=={}


# ---- two processes

STEP = """
    import sys, torch
    from torch import nn
    from deepclust.methods.contrastive_dec import ContrastiveDEC

    def step(rank, world, kw):
        torch.manual_seed(0)
        # no batch norm: its moments are each process's own
        net = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 8))
        est = ContrastiveDEC(3, encoder=net, device='cpu', warmup=0., recipe='none', image_size=8, **kw)
        est.net_ = est._build((1, 8, 8)).double()
        stage = est._stages(torch.zeros(12, 1, 8, 8))[0]
        stage.setup(); stage.freq, stage.clustering, stage.gather = stage.freq.double(), True, True
        if hasattr(est.net_['cluster'], 'place'): est.net_['cluster'].place(torch.randn(3, 8, dtype=torch.float64)/3)
        views = torch.rand(3, 12, 1, 8, 8, dtype=torch.float64)
        own = slice(rank*12//world, (rank+1)*12//world)
        losses = stage.losses('train', torch.arange(12)[own], views[:, own].flatten(0, 1))
        sum(losses.values()).backward()
        return torch.cat([p.grad.flatten() for p in est.net_.parameters()]), torch.stack(list(losses.values())).detach(), stage.freq

    if __name__=='__main__':
        import torch.distributed as dist
        kw, rank, world, where = eval(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
        torch.set_num_threads(1)
        dist.init_process_group('gloo', init_method='file:///'+where.lstrip('/')+'/meet', rank=rank, world_size=world)
        out = []
        for k in kw:
            grad, losses, freq = step(rank, world, k)
            dist.all_reduce(grad); dist.all_reduce(losses)
            out.append((grad/world, losses/world, freq))
        if rank==0: torch.save(out, where+'/out.pt')
        dist.destroy_process_group()
"""
CASES = [{}, dict(frequencies='running'), dict(anchor='p1q2p2q1', detach=False), dict(cluster_head='cc')]


def test_two_processes_give_the_gradient_of_one(tmp_path):
    if not torch.distributed.is_available(): pytest.skip('torch without torch.distributed')
    script = tmp_path/'step.py'
    script.write_text(textwrap.dedent(STEP))
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(p for p in sys.path if p), 'OMP_NUM_THREADS': '1'}
    jobs = [subprocess.Popen([sys.executable, str(script), repr(CASES), str(r), '2', str(tmp_path)], env=env, stderr=subprocess.PIPE)
            for r in range(2)]
    try: errors = [j.communicate(timeout=120)[1].decode() for j in jobs]
    finally:
        for j in jobs: j.kill()
    assert all(j.returncode==0 for j in jobs), '\n'.join(errors)
    scope = {'__name__': 'step'}
    exec(textwrap.dedent(STEP), scope)
    for kw, (grad, losses, freq) in zip(CASES, torch.load(tmp_path/'out.pt')):
        want, one, f = scope['step'](0, 1, kw)
        assert want.abs().max()>1e-3 and (grad-want).abs().max()<1e-8, kw
        assert (losses-one).abs().max()<1e-8 and (freq-f).abs().max()<1e-8, kw


# ---- the estimator

@pytest.fixture(scope='module')
def fitted():
    x, y = pictures(240)
    m = ContrastiveDEC(3, epochs=8, batch_size=48, lr=1e-3, device='cpu', random_state=0).fit(x, snapshots=(2, 8))
    return x, y, m


def test_finds_the_shapes(fitted):
    x, y, m = fitted
    assert cluster_accuracy(y, m.labels_)>.9
    assert np.array_equal(m.labels_, m.predict(x)) and np.array_equal(m.labels_, m.predict_proba(x).argmax(1))
    assert np.array_equal(m.labels_, np.linalg.norm(m.transform(x)[:, None]-m.cluster_centers_, axis=2).argmin(1))
    assert np.array_equal(m.transform(x), m.features(x)) and m.transform(x).shape==(240, 256)
    for on in ('head', 'backbone'): assert cluster_accuracy(y, m.kmeans_labels(x, on=on))>.9
    assert set(m.history_.snapshots)=={2, 8} and np.array_equal(m.history_.snapshots[8]['labels'], m.labels_)
    h = m.history_
    assert np.isnan(h['cluster'][:2]).all() and np.isfinite(h['center_distance'][2:]).all() and not h.events
    with pytest.raises(ValueError, match='backbone'): m.kmeans_labels(x, on='features')


def test_predictions_do_not_depend_on_the_batch(fitted):
    x, _, m = fitted
    p = m.predict_proba(x)
    assert np.array_equal(m.predict_proba(x[:7]), p[:7]) and np.array_equal(m.predict_proba(x[::-1])[::-1], p)
    assert np.array_equal(m.predict_proba(x[100:101])[0], p[100]) and np.allclose(p.sum(1), 1, atol=1e-6)


ARMS = [{}, dict(cluster_head='cc', gamma=0.), dict(loss_weights={'cluster': 0, 'anchor': 0}), dict(frequencies='all'),
        dict(frequencies='running', detach=False)]


@pytest.mark.parametrize('kw', ARMS, ids=str)
def test_save_load_and_the_same_seed(kw, tmp_path):
    x = pictures()[0]
    m, same = (ContrastiveDEC(3, **SMALL, **kw).fit(x) for _ in range(2))
    again = load_model(ContrastiveDEC, m.save(tmp_path/'m'), device='cpu')
    for other in (same, again):
        assert np.array_equal(other.predict(x), m.labels_) and np.array_equal(other.transform(x), m.transform(x))
        assert np.array_equal(other.cluster_centers_, m.cluster_centers_) and np.array_equal(other.kmeans_labels(x), m.kmeans_labels(x))


@pytest.mark.parametrize('kw', [dict(frequencies='running'), dict(warmup=0., frequencies='all', schedule='cosine'),
                                dict(cluster_head='cc'), dict(beta=0., gamma=0.)], ids=str)
def test_resume_is_exact_at_any_step(kw, tmp_path, ticking):
    x, slices = pictures()[0], 0
    make = lambda: ContrastiveDEC(3, **{**SMALL, 'epochs': 3, 'warmup': .34, **kw})
    whole = make().fit(x)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        while True:
            part, slices = make().fit(x, checkpoint=tmp_path, resume=True, time_budget_s=0.), slices+1
            assert np.array_equal(part.labels_, part.predict(x))            # usable, even in the warm-up
            if part.finished_: break
    assert slices>5 and np.array_equal(part.labels_, whole.labels_)
    for (k, u), v in zip(whole.net_.state_dict().items(), part.net_.state_dict().values()): assert torch.equal(u, v), k
    drop = {'seconds'}
    both = [[{k: v for k, v in r.items() if k not in drop} for r in m.history_.rows] for m in (whole, part)]
    assert both[0]==both[1]


def test_snapshots_of_the_warm_up_are_fresh():
    x, y = pictures(240)
    how = dict(batch_size=48, lr=1e-3, device='cpu', random_state=0, beta=0., gamma=0.)
    m = ContrastiveDEC(3, epochs=4, **how).fit(x, snapshots=(1, 4))
    assert np.array_equal(m.history_.snapshots[4]['labels'], m.labels_)
    assert np.array_equal(m.labels_, ContrastiveDEC(3, epochs=4, **how).fit(x).labels_)


@pytest.mark.parametrize('kw', [*(dict(anchor=a) for a in ANCHORS), dict(detach=False), dict(views='TTT'), dict(views='xxx'),
    dict(warmup=0.), dict(warmup=1.), dict(recipe='none'), dict(recipe='mmdc-digits'), dict(image_size=24), dict(dof=5.),
    dict(projection=4), dict(n_init=2), dict(schedule='cosine'),
    dict(loss_weights={'instance': 0}), dict(loss_weights={'cluster': 0}), dict(beta=0.),
    dict(gamma=0.), dict(cluster_head='cc', beta=0., gamma=0.), dict(cluster_head='cc', warmup=.5)], ids=str)
def test_every_arm_runs(kw):
    x = pictures(60)[0]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        m = ContrastiveDEC(3, **{**SMALL, 'epochs': 2, **kw}).fit(x)
    assert m.labels_.shape==(60,) and all(np.isfinite(m.history_['instance'])) and np.array_equal(m.labels_, m.predict(x))
    only = kw.get('warmup')==1. or (kw.get('beta'), kw.get('gamma'))==(0., 0.)
    assert ('anchor' in m.history_.columns)!=only and m.cluster_centers_.shape==(3, m.transform(x).shape[1])


def test_without_cluster_losses_the_labels_are_k_means():
    x = pictures(96)[0]
    a, b = ContrastiveDEC(3, **SMALL, beta=0., gamma=0.).fit(x), ContrastiveDEC(3, **SMALL, loss_weights={'cluster': 0, 'anchor': 0}).fit(x)
    assert np.array_equal(a.labels_, b.labels_) and cluster_accuracy(a.labels_, a.kmeans_labels(x, on='backbone'))>.99
    assert isinstance(ContrastiveDEC(3, **SMALL, cluster_head='cc', beta=0., gamma=0.)._build((1, 12, 12))['cluster'], StudentHead)


def test_weights_reach_the_history():
    m = ContrastiveDEC(3, **SMALL, alpha=20., beta=.1, gamma=.2, loss_weights={'anchor': .5}).fit(pictures(60)[0])
    assert m.history_['weight_instance'][0]==20 and m.history_['weight_cluster'][-1]==.1 and abs(m.history_['weight_anchor'][-1]-.1)<1e-12


@pytest.mark.parametrize('shape', [(40, 3, 32, 32), (40, 8, 8), (40, 28, 28), (40, 20, 12, 3), (40, 9, 16), (3, 8, 8), (2, 16, 16)])
def test_any_picture_runs_with_defaults(shape):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    encoder = 'mlp-16' if 3 in shape[1:] else None  # a ResNet takes its time
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        m = ContrastiveDEC(2, epochs=2, encoder=encoder, device='cpu', random_state=0).fit(x)
    assert m.labels_.shape==(len(x),) and np.array_equal(m.predict(x), m.labels_)


def test_constant_pictures_do_not_fail():
    x = np.full((40, 12, 12), 100, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for kw in ({}, dict(cluster_head='cc'), dict(beta=0., gamma=0.)):
            m = ContrastiveDEC(3, **SMALL, **kw).fit(x)
            assert len(set(m.labels_))==1 and np.isfinite(m.predict_proba(x)).all()


def test_one_cluster_and_the_state_of_others():
    x = pictures(40)[0]
    with pytest.warns(UserWarning, match='n_clusters=1'): assert set(ContrastiveDEC(1, **SMALL).fit(x).labels_)=={0}
    state = torch.get_rng_state()
    ContrastiveDEC(3, **SMALL).fit(x)
    assert torch.equal(state, torch.get_rng_state())


def test_merged_centres_are_reported():
    x = pictures(240)[0]
    with pytest.warns(CollapseWarning, match='merged'):
        m = ContrastiveDEC(3, epochs=8, batch_size=48, lr=1e-3, warmup=0., device='cpu', random_state=0).fit(x)
    assert any('merged' in e['text'] for e in m.history_.events)


def test_bad_input():
    x = pictures(40)[0]
    for X, says in [(np.zeros((20, 64)), 'takes images'), (np.zeros((20, 5, 8, 8, 3)), 'shape|dimension'),
                    (-np.ones((20, 8, 8)), r'0\.\.1'),
                    (np.full((20, 8, 8), np.nan), 'NaN'), (np.zeros((20, 8, 8), complex), 'complex'), (x[:2], 'n_clusters')]:
        with warnings.catch_warnings(), pytest.raises((ValueError, TypeError), match=says):
            warnings.simplefilter('ignore')
            ContrastiveDEC(3, **SMALL).fit(X)
    m = ContrastiveDEC(3, **{**SMALL, 'epochs': 1}).fit(x)
    for X in (x[:, :8, :8], np.zeros((4, 12, 12, 3), np.uint8)):
        with pytest.raises(ValueError, match='fitted on'): m.predict(X)


@pytest.mark.parametrize('kw,says', [
    (dict(batch_size=1), 'batch_size'), (dict(alpha=-1.), 'alpha'), (dict(beta=-1.), 'beta'), (dict(gamma=np.inf), 'gamma'),
    (dict(temperature=0), 'temperature'), (dict(anchor='q0'), 'anchor'), (dict(detach=1), 'detach'),
    (dict(frequencies='epoch'), 'frequencies'),
    (dict(views='TxT'), 'views'), (dict(cluster_head='mlp'), 'cluster_head'), (dict(warmup=1.5), 'warmup'), (dict(dof=0), 'dof'),
    (dict(projection=0), 'projection'), (dict(image_size=4), 'image_size'), (dict(schedule='step'), 'schedule'),
    (dict(recipe='simclr'), 'recipe'),
    (dict(encoder='vgg99'), 'vgg99'), (dict(lr=0), 'lr'), (dict(loss_weights={'contrast': 1}), 'anchor')], ids=str)
def test_bad_parameters(kw, says):
    with pytest.raises(ValueError, match=says): ContrastiveDEC(3, **{**SMALL, **kw}).fit(pictures(20)[0])


def test_presets():
    p = ContrastiveDEC.paper('cifar10')
    assert (p.n_clusters, p.alpha, p.beta, p.gamma, p.temperature, p.dof)==(10, 20, .1, .1, .5, 1)
    assert (p.epochs, p.batch_size, p.lr, p.projection, p.warmup, p.schedule)==(2000, 128, 3e-4, 128, 0, 'constant')
    net = p._build((3, 32, 32))
    assert [m.out_features for m in net['projection'] if hasattr(m, 'out_features')]==[512, 128]
    assert net['cluster'].points.shape==(10, 512) and p._recipe.name=='simclr-0.5'
    assert ContrastiveDEC.paper('imagenet-dogs').n_clusters==15 and ContrastiveDEC.paper('tiny-imagenet').n_clusters==200
    with pytest.raises(ValueError, match='cifar10'): ContrastiveDEC.paper('cifar')


def test_compiled_steps_train_the_same(monkeypatch):
    x, calls = pictures()[0], []
    plain = ContrastiveDEC(3, **SMALL).fit(x)
    whole = torch.compile
    def counted(f, **kw):
        calls.append(f)
        return whole(f, backend='aot_eager', **kw)
    monkeypatch.setattr(torch, 'compile', counted)
    monkeypatch.setattr(nat, 'COMPILED_ON', ['cpu'])
    torch._dynamo.reset()
    fast = ContrastiveDEC(3, **SMALL).fit(x)
    assert calls
    for name in ('instance', 'cluster', 'anchor'):
        assert np.allclose(plain.history_[name], fast.history_[name], rtol=2e-2, atol=2e-3, equal_nan=True)


def test_the_stage_is_public(images): assert isinstance(stage_of(images)[1], ContrastStage)


# ---- vectors

VECTORS = dict(recipe='vectors', encoder='mlp-32-32', epochs=6, batch_size=40, device='cpu', random_state=0)


@pytest.fixture(scope='module')
def vectors(): return make_blobs(120, 8, centers=3, cluster_std=1., random_state=0)


def test_vectors_are_clustered_through_their_neighbours(vectors, tmp_path):
    X, y = vectors
    m = ContrastiveDEC(3, **VECTORS).fit(X)
    assert cluster_accuracy(y, m.labels_)>.95 and np.array_equal(m.predict(X), m.labels_)
    assert m.transform(X).shape==(120, m.embedding_dim_) and m.kmeans_labels(X).shape==(120,)
    again = load_model(ContrastiveDEC, m.save(tmp_path/'m'))
    assert np.array_equal(again.predict(X), m.labels_)
    other = ContrastiveDEC(3, **VECTORS|dict(recipe=VectorViews(3, drop=0., noise=0.))).fit(X)
    assert not np.array_equal(other.transform(X), m.transform(X))
    few = ContrastiveDEC(2, **VECTORS).fit(X[:6])                                      # fewer samples than neighbours
    assert few.labels_.shape==(6,)


@pytest.mark.filterwarnings('ignore:the time budget')
def test_a_resumed_run_of_vectors_is_the_same(vectors, tmp_path):
    X = vectors[0]; whole = ContrastiveDEC(3, **VECTORS).fit(X)
    part, slices = None, 0
    while not getattr(part, 'finished_', False):
        part = ContrastiveDEC(3, **VECTORS).fit(X, checkpoint=tmp_path, resume=True, time_budget_s=0)
        slices += 1
        assert slices<40
    assert slices>6 and np.array_equal(part.transform(X), whole.transform(X))


def test_pictures_may_be_taken_as_vectors_and_vectors_need_to_be_asked_for(vectors):
    x = np.random.default_rng(0).random((30, 1, 6, 6), dtype=np.float32); kw = VECTORS|dict(epochs=1)
    a, b = (ContrastiveDEC(3, **kw).fit(v) for v in (x, x.reshape(30, -1)))
    np.testing.assert_allclose(a.transform(x), b.transform(x.reshape(30, -1)), atol=1e-5)
    with pytest.raises(ValueError, match="recipe='vectors'"): ContrastiveDEC(3).fit(vectors[0])
    for bad in (dict(drop=1.), dict(noise=-1.), dict(n_neighbors=-1)):
        with pytest.raises(ValueError): VectorViews(**bad)
