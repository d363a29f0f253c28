"NAT, RotNet and MMDC: exact assignments, targets, the order of a step, resume, and what a user may get wrong."
import itertools
import warnings
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.overrides import TorchFunctionMode

import deepclust.methods.nat as nat
from deepclust.base import load_model
from deepclust.methods.mmdc import MMDC, MixtureStage, mixture_targets, one_hot_centers, random_centers, relabel
from deepclust.methods.nat import (NAT, TargetStage, even_batches, find_prices, has_pot, sphere_targets, swap_square, transport,
                                   weight_groups)
from deepclust.methods.rotnet import RotNet, rotation_batch, rotation_loss
from deepclust.metrics import cluster_accuracy

SOLVERS = ['scipy', 'prices', *(['pot'] if has_pot() else [])]
SMALL = dict(device='cpu', random_state=0, batch_size=32)


def pictures(n=96, size=12, seed=0):
    "Bars, crosses and rings in noise, uint8"
    r, (a, b) = np.random.default_rng(seed), np.mgrid[:size, :size]-(size-1)/2
    x, y = .15*r.random((n, size, size)), np.arange(n)%3
    for i in range(n):
        u, v = a+r.uniform(-1, 1), b+r.uniform(-1, 1)
        x[i] += .8*(np.abs(v)<1.2 if y[i]==0 else (np.abs(u)<1)|(np.abs(v)<1) if y[i]==1 else np.abs(np.hypot(u, v)-3)<1)
    return (255*x.clip(0, 1)).astype(np.uint8), y


# ---- assignment

def square_cost(cost, counts):
    columns = np.repeat(np.arange(len(counts)), counts)
    return cost[:, columns][linear_sum_assignment(cost[:, columns])].sum()


def costs(kind, n, m, r):
    z = r.normal(size=(n, m))
    if kind=='peaked': z = np.eye(m)[r.integers(0, max(1, m//2), n)]+.1*z
    if kind=='collapsed': z = np.ones((n, m))+1e-4*z
    if kind=='equal': z = np.ones((n, m))
    if kind=='repeated': z = z[np.arange(n)//5]
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return np.sqrt(np.maximum(2-2*z, 0)) if kind!='integers' else r.integers(0, 3, (n, m)).astype(float)


@pytest.mark.parametrize('solver', ['auto', *SOLVERS])
@pytest.mark.parametrize('kind', ['random', 'peaked', 'collapsed', 'equal', 'repeated', 'integers'])
@pytest.mark.parametrize('n,m', [(1, 1), (5, 10), (7, 3), (128, 10), (300, 7)])
def test_transport_costs_what_the_square_problem_costs(solver, kind, n, m):
    r = np.random.default_rng(n*m)
    for counts in (np.bincount(r.integers(0, m, n), minlength=m), np.bincount(np.zeros(n, int), minlength=m)):
        cost = costs(kind, n, m, r).astype(np.float32)
        got = transport(cost, counts, solver)
        assert np.array_equal(np.bincount(got, minlength=m), counts)
        assert abs(cost[np.arange(n), got].sum(dtype=float)-square_cost(cost.astype(float), counts))<1e-5


def test_transport_against_all_permutations():
    r = np.random.default_rng(0)
    for _ in range(20):
        cost, counts = r.random((6, 3)), np.bincount(r.integers(0, 3, 6), minlength=3)
        held = np.repeat(np.arange(3), counts)
        best = min(cost[np.arange(6), list(p)].sum() for p in set(itertools.permutations(held)))
        assert abs(cost[np.arange(6), transport(cost, counts, 'prices')].sum()-best)<1e-12


def test_any_prices_are_cheapest_for_their_counts():
    r = np.random.default_rng(1)
    cost, v = r.random((60, 4)), r.normal(size=4)
    labels = (cost+v).argmin(1)
    assert abs(cost[np.arange(60), labels].sum()-square_cost(cost, np.bincount(labels, minlength=4)))<1e-9
    counts = np.array([10, 20, 5, 25])
    off = np.bincount((cost+find_prices(cost, counts)).argmin(1), minlength=4)-counts
    assert np.abs(off).sum()<=4


def test_global_assignment_is_exact():
    r = np.random.default_rng(2)
    cost, counts = costs('random', 5000, 10, r), np.full(10, 500)
    got = transport(cost, counts)
    assert np.array_equal(np.bincount(got, minlength=10), counts)
    rows = r.permutation(5000)[:800]  # a part of an optimal assignment is optimal for its own counts
    part = got[rows]
    assert abs(cost[rows, part].sum()-square_cost(cost[rows], np.bincount(part, minlength=10)))<1e-6


def test_even_batches():
    for n, b in itertools.product(range(2, 300, 7), (2, 3, 32, 128)):
        size, number = even_batches(n, b)
        assert 2<=size<=max(b, 3) and size*number<=n and n-size*number<number


# ---- targets

def test_sphere_targets_are_uniform():
    t = sphere_targets(50_000, 5, torch.Generator().manual_seed(0))
    assert torch.allclose(t.norm(dim=1), torch.ones(50_000), atol=1e-5)
    assert t.mean(0).abs().max()<.01 and (t.T@t/50_000-torch.eye(5)/5).abs().max()<.01


def test_mixture_targets():
    g, c = torch.Generator().manual_seed(0), one_hot_centers(4)
    points, table = mixture_targets(103, c, 0., g)
    assert torch.equal(points, c) and sorted(table.bincount().tolist())==[25, 26, 26, 26]
    assert mixture_targets(4000, c, 0., g, even=False)[1].bincount().float().std()>1
    points, table = mixture_targets(20_000, c, .01, g)
    assert points.shape==(20_000, 4) and torch.equal(table, torch.arange(20_000))
    assert torch.allclose(points.norm(dim=1), torch.ones(20_000), atol=1e-5)
    near = torch.cdist(points, c)
    # to first order the three directions across the mean keep the variance
    assert abs(near.min(1).values.square().mean()-3*.01)<.005 and near.argmin(1).bincount().tolist()==[5000]*4
    far, _ = mixture_targets(50_000, c, 1e6, g)  # NAT's targets
    assert far.mean(0).abs().max()<.02 and (far.T@far/50_000-torch.eye(4)/4).abs().max()<.02


def test_random_centers():
    torch.manual_seed(0)
    c = random_centers(2000, 3)
    assert torch.allclose(c.norm(dim=1), torch.ones(2000), atol=1e-6) and c.mean(0).abs().max()<.05


def test_relabel_keeps_names_and_frees_sizes():
    g, c = torch.Generator().manual_seed(0), one_hot_centers(3)
    y = torch.repeat_interleave(torch.arange(3), torch.tensor([60, 30, 10]))
    z = torch.nn.functional.normalize(c[y]+.1*torch.randn(100, 3, generator=g), dim=1)
    held = y.clone()
    held[:3], held[3:27] = 1, 2  # equal sizes, as the assignment has it
    assert held.bincount().tolist()==[33, 33, 34] and torch.equal(relabel(z, c, held), y)
    turned = torch.tensor([2, 0, 1])[held]  # other names are kept too
    assert torch.equal(relabel(z, c, turned), torch.tensor([2, 0, 1])[y])


# ---- a step

def stage_of(est, x):
    torch.manual_seed(0)
    est.net_ = est._build(tuple(x.shape[1:]))
    est.net_.train()
    stage = est._stages(x)[0]
    stage.generator = torch.Generator().manual_seed(0)
    stage.setup()
    stage.opt = stage.optimizer()
    return stage


@pytest.mark.parametrize('make', [lambda **kw: NAT(3, **kw), lambda **kw: MMDC(3, **kw), lambda **kw: MMDC(3, targets_sigma=.1, **kw)])
def test_overlapping_gives_the_result_of_the_plain_order(make, monkeypatch):
    x = pictures()[0]
    a = make(epochs=3, **SMALL).fit(x)
    monkeypatch.setattr(TargetStage, 'overlap', False)
    b = make(epochs=3, **SMALL).fit(x)
    assert np.array_equal(a.labels_, b.labels_)
    for u, v in zip(a.net_.state_dict().values(), b.net_.state_dict().values()): assert torch.equal(u, v)


class Counting(TorchFunctionMode):
    "What forces a device to be waited for"
    names = {'item', 'cpu', 'numpy', 'tolist', '__bool__', '__int__', '__float__', '__index__', 'nonzero', '__array__'}
    def __init__(self): super().__init__(); self.seen = Counter()
    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', '')
        if name in self.names: self.seen[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('rotation', [True, False])
def test_a_step_waits_for_the_assignment_only(rotation):
    x = torch.from_numpy(pictures()[0])[:, None]
    stage, seen = stage_of(MMDC(3, rotation=rotation, **SMALL), x), {}
    for pass_, batch in stage.batches(0, torch.Generator().manual_seed(0)):
        with Counting() as count:
            with torch.no_grad(): prepared = stage.prepare(pass_, batch)
            loss = sum(stage.losses(pass_, batch, prepared).values())
        stage.opt.zero_grad()
        loss.backward()
        seen[pass_] = dict(count.seen)
    assert seen['cluster']=={'numpy': 2}  # costs, and the targets held
    assert seen.get('rotation', {})=={} and ('rotation' in seen)==rotation


def test_exchange_keeps_the_targets_and_lowers_the_cost():
    x = torch.from_numpy(pictures()[0])[:, None]
    stage = stage_of(MMDC(3, **SMALL), x)
    before, table = stage.cost(), stage.table.clone()
    stage.est.net_.eval()
    for _, b in stage.batches(0, torch.Generator().manual_seed(0)):
        with torch.no_grad(): stage.exchange(b, stage.prepare('cluster', b))
        stage.est.net_.eval()
    assert stage.cost()<before and torch.equal(stage.table.bincount(), table.bincount()) and stage.moved>0


def test_evaluation_forward_leaves_batch_norm_alone():
    x = torch.from_numpy(pictures()[0])[:, None]
    stage = stage_of(MMDC(3, **SMALL), x)
    state = {k: v.clone() for k, v in stage.est.net_.state_dict().items()}
    with torch.no_grad(): stage.prepare('cluster', torch.arange(32))
    assert all(m.training for m in stage.est.net_.modules())
    assert all(torch.equal(v, state[k]) for k, v in stage.est.net_.state_dict().items())


def test_weight_decay_spares_vectors():
    est = MMDC(3, **SMALL)
    net = est._build((1, 12, 12))
    decayed, free = weight_groups(net, .1)
    assert all(p.ndim>1 for p in decayed['params']) and all(p.ndim==1 for p in free['params']) and free['weight_decay']==0
    assert len(decayed['params'])+len(free['params'])==len(list(net.parameters()))


# ---- the estimators

@pytest.fixture(scope='module')
def fitted():
    x, y = pictures(240)
    return x, y, MMDC(3, epochs=10, **SMALL).fit(x, snapshots=(1, 10))


def test_finds_the_shapes(fitted):
    x, y, m = fitted
    assert cluster_accuracy(y, m.labels_)>.9
    z = m.transform(x)
    assert z.shape==(240, 3) and np.allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5) and m.features(x).shape==(240, 256)
    assert np.array_equal(m.labels_, m.predict(x)) and np.array_equal(m.labels_, z.argmax(1))
    assert np.array_equal(m.labels_, np.linalg.norm(z[:, None]-m.cluster_centers_, axis=2).argmin(1))
    assert set(m.history_.snapshots)=={1, 10} and np.array_equal(m.history_.snapshots[10]['labels'], m.labels_)
    assert m.kmeans_labels(x).shape==m.kmeans_labels(x, on='backbone').shape==(240,)


def test_predictions_do_not_depend_on_the_batch(fitted):
    x, _, m = fitted
    p = m.predict_proba(x)
    assert np.array_equal(m.predict_proba(x[:7]), p[:7]) and np.array_equal(m.predict_proba(x[::-1])[::-1], p)
    one = m.predict_proba(x[100:101])
    assert np.array_equal(one[0], p[100]) and np.allclose(p.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize('make', [lambda: NAT(3, epochs=2, **SMALL), lambda: RotNet(3, epochs=2, **SMALL),
                                  lambda: MMDC(3, epochs=2, rotation=True, targets_dim=5, targets_sigma=.05, **SMALL)])
def test_save_and_load(make, tmp_path):
    x = pictures()[0]
    m = make().fit(x)
    again = load_model(type(m), m.save(tmp_path/'m'), device='cpu')
    assert np.array_equal(again.predict(x), m.labels_) and np.array_equal(again.transform(x), m.transform(x))
    assert np.array_equal(again.features(x), m.features(x)) and np.array_equal(again.cluster_centers_, m.cluster_centers_)


@pytest.mark.parametrize('make', [
    lambda: NAT(3, epochs=3, **SMALL), lambda: RotNet(3, epochs=2, **SMALL), lambda: MMDC(3, epochs=4, rotation=True, **SMALL),
    lambda: MMDC(3, epochs=4, refine=.5, assignment='global', **SMALL), lambda: MMDC(3, epochs=3, targets_sigma=.1, **SMALL)],
    ids=['NAT', 'RotNet', 'rotation', 'global, refined', 'sigma'])
def test_resume_is_exact_at_any_step(make, tmp_path):
    x, slices = pictures()[0], 0
    whole = make().fit(x)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        while True:
            part, slices = make().fit(x, checkpoint=tmp_path, resume=True, time_budget_s=0.), slices+1
            if part.finished_: break
    assert slices>5 and np.array_equal(part.labels_, whole.labels_)
    for (k, u), v in zip(whole.net_.state_dict().items(), part.net_.state_dict().values()): assert torch.equal(u, v), k
    drop = {'seconds'}
    rows = [[{k: v for k, v in r.items() if k not in drop} for r in m.history_.rows] for m in (whole, part)]
    assert rows[0]==rows[1]


@pytest.mark.parametrize('kw', [
    dict(assignment='global'), dict(refine=0.), dict(refine=True), dict(refine=False), dict(rotation=True), dict(sobel=True),
    dict(recipe='none'), dict(targets_dim=2), dict(targets_sigma=1e6), dict(targets_sigma=.1, assignment='global'),
    dict(targets_sigma=.1, refine=.5), dict(even_targets=False), dict(order='clustering-first', rotation=True), dict(solver='prices'),
    dict(loss_weights={'rotation': 0}, rotation=True),
    dict(n_init=2), dict(encoder='mlp-32')], ids=str)
def test_every_arm_runs(kw):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        m = MMDC(3, epochs=2, **SMALL, **kw).fit(pictures(60)[0])
    assert m.labels_.shape==(60,) and all(np.isfinite(m.history_['cluster']))
    assert ('rotation' in m.history_.columns)==bool(kw.get('rotation'))


@pytest.mark.parametrize('shape', [(40, 3, 32, 32), (40, 8, 8), (40, 20, 12, 3), (40, 9, 16), (3, 8, 8), (2, 16, 16)])
def test_any_picture_runs_with_defaults(shape):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    encoder = 'mlp-16' if 3 in shape[1:] else None  # a ResNet takes its time
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for cls in (NAT, RotNet, MMDC):
            m = cls(2, epochs=1, encoder=encoder, device='cpu', random_state=0).fit(x)
            assert m.labels_.shape==(len(x),) and np.array_equal(m.predict(x), m.labels_)


def test_float_and_uint8_pictures_agree():
    x = pictures()[0]
    a, b = MMDC(3, epochs=2, **SMALL).fit(x), MMDC(3, epochs=2, **SMALL).fit((x/255).astype(np.float32))
    assert np.mean(a.labels_==b.labels_)>.95


def test_constant_pictures_do_not_fail():
    x = np.full((40, 12, 12), 100, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for cls in (NAT, RotNet, MMDC):
            m = cls(3, epochs=2, **SMALL).fit(x)
            assert len(set(m.labels_))==1 and np.isfinite(m.predict_proba(x)).all()


def test_one_cluster_and_the_same_seed():
    x = pictures(40)[0]
    with pytest.warns(UserWarning, match='n_clusters=1'): assert set(MMDC(1, **SMALL).fit(x).labels_)=={0}
    a, b = (MMDC(3, epochs=2, **SMALL).fit(x) for _ in range(2))
    assert np.array_equal(a.transform(x), b.transform(x))
    state = torch.get_rng_state()
    MMDC(3, epochs=1, **SMALL).fit(x)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize('cls', [NAT, RotNet, MMDC])
@pytest.mark.filterwarnings('ignore:float images')
def test_bad_input(cls):
    x = pictures(40)[0]
    for X, says in [(np.zeros((20, 64)), 'takes images'), (np.zeros((20, 5, 8, 8, 3)), 'shape|dimension'),
                    (-np.ones((20, 8, 8)), r'0\.\.1'), (np.full((20, 8, 8), np.nan), 'NaN'), (np.zeros((20, 8, 8), complex), 'complex'),
                    (x[:2], 'n_clusters')]:
        with pytest.raises((ValueError, TypeError), match=says): cls(3, **SMALL).fit(X)
    m = cls(3, epochs=1, **SMALL).fit(x)
    for X in (x[:, :8, :8], np.zeros((4, 12, 12, 3), np.uint8)):
        with pytest.raises(ValueError, match='fitted on'): m.predict(X)
    for kw, says in [(dict(batch_size=1), 'batch_size'), (dict(decay_at=2.), 'decay_at'), (dict(recipe='mnist'), 'recipe'),
                     (dict(lr=0), 'lr'), (dict(encoder='vgg99'), 'vgg99'), (dict(weight_decay=-1.), 'weight_decay')]:
        with pytest.raises(ValueError, match=says): cls(3, **{**SMALL, 'epochs': 1, **kw}).fit(x)


@pytest.mark.parametrize('kw,says', [
    (dict(rotation='yes'), 'rotation'), (dict(refine=1.5), 'refine'), (dict(refine='after'), 'refine'),
    (dict(assignment='all'), 'assignment'),
    (dict(solver='simplex'), 'scipy'), (dict(targets_sigma=-1.), 'targets_sigma'), (dict(targets_dim=1), 'targets_dim'),
    (dict(order='both'), 'order'),
    (dict(loss_weights={'turn': 1}), 'rotation')])
def test_bad_parameters_of_mmdc(kw, says):
    with pytest.raises(ValueError, match=says): MMDC(3, **SMALL, **kw).fit(pictures(20)[0])


def test_presets():
    p = MMDC.paper('mnist')
    p.net_ = p._build((1, 28, 28))
    assert (p.epochs, p._refine_from(), p._lr(), p._decay(), p._recipe.size, p._rotates())==(50, 20, .05, .1, 32, False)
    p = MMDC.paper('cifar100-20')
    assert (p.n_clusters, p.epochs, p.decay_at*p.epochs, p.decay, p.weight_decay)==(20, 400, 350, .2, 1e-4)
    assert p.rotation is True and p.even_targets is False
    q = MMDC(10, rotation=False)
    q._network((3, 32, 32))
    assert (q._lr(), q._decay(), q._refine_from())==(.01, .2, q.epochs)  # without the rotation task the step is smaller
    with pytest.raises(ValueError, match='cifar10'): MMDC.paper('cifar')


def test_schedule_falls_at_its_share_of_the_epochs():
    m = MMDC(3, epochs=10, decay_at=.6, **SMALL).fit(pictures(40)[0])
    assert np.allclose(m.history_['lr'], [.05]*6+[.005]*4)


def test_refinement_starts_when_it_should():
    x = torch.from_numpy(pictures(60)[0])[:, None]
    for refine, recipe, start in [(0., 'auto', 0), (.5, 'auto', 5), (True, 'auto', 4), ('auto', 'auto', 10), ('auto', 'mmdc-mnist', 4),
                                  (False, 'mmdc-mnist', 10), (1., 'none', 10)]:
        stage = stage_of(MMDC(3, epochs=10, refine=refine, recipe=recipe, **SMALL), x)
        assert isinstance(stage, MixtureStage) and stage.start==start


# ---- rotations

def test_rotation_batch():
    class Plain:
        def rotation(self, x, g, k):
            from deepclust.augment import rot90, to_float
            return rot90(to_float(x), k)
    x = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    views, turns = rotation_batch(x, Plain())
    assert views.shape==(20, 3, 8, 8) and turns.tolist()==sorted(list(range(4))*5)
    for r in range(4): assert torch.equal(torch.rot90(views[5*r:5*r+5], -r, (2, 3)), x.float()/255)


def test_rotation_starts_at_chance_and_learns():
    r = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 12)[None, :, None]+30*r.random((120, 12, 12))  # bright below
    x = ramp.astype(np.uint8)
    est = RotNet(2, epochs=6, **SMALL)
    stage = stage_of(est, torch.from_numpy(x)[:, None])
    assert abs(stage.cost()-np.log(4))<.15
    est.fit(x)
    assert est.history_['accuracy'][-1]>.9 and est.history_['rotation'][-1]<.5
    lg = torch.randn(12, 4, dtype=torch.float64)
    want = -lg.softmax(1)[torch.arange(12), torch.arange(12)%4].log().mean()
    assert abs(rotation_loss(lg, torch.arange(12)%4)-want)<1e-5


def test_swap_square_is_a_permutation():
    p = swap_square(np.random.default_rng(0).random((30, 30)))
    assert sorted(p)==list(range(30))


@pytest.mark.parametrize('make', [lambda: MMDC(3, epochs=2, rotation=True, **SMALL), lambda: RotNet(3, epochs=2, **SMALL)])
def test_compiled_steps_train_the_same(make, monkeypatch):
    x,calls = pictures()[0],[]
    plain = make().fit(x)
    whole = torch.compile
    def counted(f, **kw): calls.append(f); return whole(f, backend='aot_eager', **kw)
    monkeypatch.setattr(torch, 'compile', counted); monkeypatch.setattr(nat, 'COMPILED_ON', ['cpu'])
    torch._dynamo.reset()
    fast = make().fit(x)
    assert calls
    for name in ('cluster','rotation'):
        if name in plain.history_.columns: assert np.allclose(plain.history_[name], fast.history_[name], rtol=2e-2, atol=2e-3)
