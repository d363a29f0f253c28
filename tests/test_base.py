"The base class where methods differ: images, scales, supervision"
import copy
import pickle
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from torch import nn

from deepclust import IDEC,KMeans
from deepclust.augment import Chain,Flip,Op,RandomCrop,Recipe
from deepclust.base import DeepClusterer,as_input,fitted_outputs,load_model,outputs,seen_outputs,shift_and_scale,told
from deepclust.core import CheckpointError,DivergedError
from deepclust.data import Data,load
from deepclust.train import Stage,make_optimizer

matplotlib.use('Agg')
pytestmark = pytest.mark.filterwarnings('ignore::deepclust.core.CollapseWarning')


class PixelStage(Stage):
    name,epochs = 'train',2
    def __init__(self, est, x): self.est,self.x = est,x
    def optimizer(self): return make_optimizer(self.est.net_.parameters())
    def batches(self, epoch, generator): return (('all',i) for i in torch.randperm(len(self.x), generator=generator).split(32))
    def losses(self, pass_, idx, prepared):
        return {'cluster':-self.est._log_proba(self.est._embed(self.x[idx])).max(1).values.mean()}


class Pixels(DeepClusterer):
    "A convolution and a softmax on images as they are"
    _losses = ('cluster',)
    def __init__(self, n_clusters=3, *, n_init=1, device='cpu', random_state=0):
        self.n_clusters,self.n_init,self.device,self.random_state = n_clusters,n_init,device,random_state
    def _images(self): return True
    def _build(self, shape):
        return nn.Sequential(nn.Conv2d(shape[0],4,3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16,self.n_clusters))
    def _stages(self, x):
        self.seen = x
        return [PixelStage(self, x)]
    def _embed(self, x): return self.net_((x.float()/255 if x.dtype==torch.uint8 else x)-.5)
    def _log_proba(self, z): return z.log_softmax(1)


class Vectors(Pixels):
    def _images(self): return False
    def _build(self, shape): return nn.Linear(int(np.prod(shape)), self.n_clusters)
    def _embed(self, x): return self.net_(x)
    def _scale(self, x, images): return (0.,1.) if images else (float(x.min()),float(x.max()-x.min()))


@pytest.fixture(scope='module')
def images(): return (np.random.default_rng(0).random((40,3,12,10))*255).astype('uint8')


def test_images_arrive_as_they_are(images):
    m = Pixels().fit(images)
    assert m.seen.dtype==torch.uint8 and m.seen.shape==(40,3,12,10) and np.array_equal(m.seen.numpy(), images)
    assert m.input_shape_==(3,12,10) and m.n_features_in_==360 and (m.shift_,m.scale_)==(0.,1.)
    assert np.array_equal(m.labels_, m.predict(images)) and np.array_equal(m.predict(images[7:8]), m.predict(images)[7:8])
    channels_last = Pixels().fit(images.transpose(0,2,3,1))
    assert np.array_equal(m.labels_, channels_last.labels_) and m.transform(images[:5]).shape==(5,3)


def test_float_images_and_grey(images):
    a,b = Pixels().fit(images),Pixels().fit((images/255).astype('float32'))
    assert np.array_equal(a.labels_, b.labels_)
    grey = Pixels().fit(images[:,0])
    assert grey.input_shape_==(1,12,10)
    assert Pixels().fit(load('digits').subset(np.arange(50))).input_shape_==(1,8,8)


@pytest.mark.parametrize('X, text', [
    (np.zeros((40,30)), 'takes images'), (np.zeros((40,3,12,10))+300., 'must lie in 0..1'), (np.full((40,3,12,10),-1.), 'must lie in 0..1'),
    (Data(torch.zeros(40,30)), 'vectors of 30 numbers'), (np.full((40,3,12,10),np.nan), 'NaN'), (np.zeros((40,7,12,10)), 'channel|images'),
    (np.zeros((2,3,12,10),'uint8'), 'n_samples=2'), (np.zeros((40,3,12,10),complex), 'complex'), (torch.zeros(40), '.')])
def test_what_is_no_image(X, text):
    with pytest.raises((ValueError,TypeError), match=text): Pixels().fit(X)


def test_other_shapes_when_predicting(images):
    m = Pixels().fit(images)
    for X in (images[:,:1], images[:,:,:8], images.reshape(40,3,10,12), images.reshape(40,-1)):
        with pytest.raises(ValueError, match='fitted on|takes images'): m.predict(X)
    twice = [Image.fromarray(i.transpose(1,2,0)).resize((20,24), Image.NEAREST) for i in images] # pictures are brought to the size
    assert np.array_equal(m.predict(twice), m.labels_)
    grey = [i.convert('L') for i in twice[:5]]; assert np.array_equal(m.predict(grey), m.predict([i.convert('RGB') for i in grey]))


def test_scale_is_the_methods_choice(images):
    x = np.random.default_rng(1).normal(5,2,(40,6))
    m = Vectors().fit(x)
    assert m.seen.min()==0 and m.seen.max()==1 and m.shift_==x.min()
    assert np.array_equal(m.labels_, Vectors().fit(x*4+2).labels_)
    assert Vectors().fit(images).scale_==1. and np.allclose(as_input(m, x).min(), 0)


def test_constraints_are_refused_not_ignored(images):
    with pytest.raises(ValueError, match='takes no constraints.*DCGMM'): Pixels().fit(images, constraints=([[0,1]],[]))


def test_supervision_is_part_of_the_fingerprint(images, tmp_path):
    class Taught(Pixels):
        def _supervise(self, n, y, constraints): return {'labels':'none' if y is None else str(np.bincount(y).tolist())}
    y = np.arange(40)%3
    Taught().fit(images, y, checkpoint=tmp_path)
    Taught().fit(images, y, checkpoint=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match='labels is'): Taught().fit(images, 1-y%2, checkpoint=tmp_path, resume=True)


def test_a_recipe_of_restarts_keeps_the_best(images):
    class Scored(Pixels):
        def _criterion(self, x):
            self.scores = [*getattr(self,'scores',[]), self.net_[3].bias.sum().abs().item()]
            return self.scores[-1]
    m = Scored(n_init=3).fit(images)
    assert len(m.scores)==3 and m.criterion_==min(m.scores) and float(m.net_[3].bias.sum().abs())==pytest.approx(min(m.scores), rel=1e-5)


def test_images_are_refused_where_vectors_were_fitted(images):
    flat = np.asarray(images, np.float32).reshape(len(images), -1)
    m = Vectors().fit(flat)
    with pytest.raises(ValueError, match=r'fitted on vectors of \d+ numbers.*cluster_montage'): m.predict(images)
    assert Vectors().fit(images).predict(flat).shape==(len(images),)                      # the other way round only the shape must fit


# ---- pictures

@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close('all')


def test_the_first_look_needs_no_second_pass(images):
    m = Pixels().fit(images); x,seen = as_input(m, images),[]
    embed = m._embed
    m._embed = lambda b: seen.append(len(b)) or embed(b)
    z,q = seen_outputs(m, x)
    assert sum(seen)<=256 and torch.equal(q, outputs(m, x)[1]) and torch.equal(z, m._seen[1])
    assert np.array_equal(fitted_outputs(m, images)[2], m.labels_)
    for other in (images[:30], np.ascontiguousarray(images[::-1])):                      # other data, and the same in another order
        assert np.array_equal(seen_outputs(m, as_input(m, other))[0], outputs(m, as_input(m, other))[0])
    del m._embed
    with torch.no_grad(): m.net_[3].weight.mul_(-1)                                      # another network
    assert torch.equal(seen_outputs(m, x)[0], outputs(m, x)[0])


def test_what_was_seen_is_not_carried_along(images, tmp_path):
    m = Pixels().fit(images)
    for again in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert not hasattr(again, '_seen') and np.array_equal(fitted_outputs(again, images)[2], m.labels_)
    assert not any('_seen' in f.read_text(errors='replace') for f in m.save(tmp_path).iterdir())


def test_every_picture_of_images(images):
    m = Pixels().fit(images, snapshots=(1,2))
    assert len(m.plot_clusters(images, 3, 2).get_yticklabels())==3
    assert sum(len(c.get_offsets()) for c in m.plot_embedding(images, 'pca').collections)==40
    assert [t.get_label() for t in m.plot_evolution(np.arange(40)%3).lines]==['changed','ACC','NMI']
    assert len(m.plot_snapshots().axes)==2
    with pytest.raises(TypeError, match='Pixels has no decoder'): m.plot_centers()
    with pytest.raises(ValueError, match='no snapshots: fit with'): Pixels().fit(images).plot_snapshots()


def test_every_picture_of_vectors():
    x = np.random.default_rng(0).normal(size=(60,25)).astype('f'); x[:30] += 4; x[:,3] = 7
    m = IDEC(2, epochs=2, pretrain_epochs=5, random_state=0, device='cpu').fit(x)
    heat = np.asarray(m.plot_clusters(x).images[0].get_array())
    d = (x-x.mean(0))/np.where(x.std(0)>0, x.std(0), 1)
    np.testing.assert_allclose(heat, [d[m.labels_==j].mean(0) for j in range(2)], atol=1e-5)
    assert len(m.plot_clusters(x, 3, 1, images=x.reshape(-1,5,5)).get_yticklabels())==2
    np.testing.assert_allclose(m.plot_centers().images[0].get_array(), m.inverse_transform(m.cluster_centers_), atol=1e-6)
    assert len(m.plot_centers(shape=(5,5)).texts)==2
    with pytest.raises(ValueError, match='30 images and 60 samples'): m.plot_clusters(x, images=x.reshape(-1,5,5)[:30])


def test_pictures_of_methods_without_a_network():
    x = np.random.default_rng(0).normal(size=(50,4)); x[:20] += 5
    m = KMeans(2, random_state=0).fit(x)
    np.testing.assert_allclose(m.plot_centers().images[0].get_array(), m.cluster_centers_, atol=1e-6)
    assert sum(len(c.get_offsets()) for c in m.plot_embedding(x, 'pca').collections)==50
    assert [t.get_text().split(': ')[1] for t in m.plot_clusters(x).get_yticklabels()]==[str(v) for v in np.bincount(m.labels_)]
    with pytest.raises(ValueError, match='no snapshots'): m.plot_evolution()


@pytest.mark.parametrize('kind', ['array', 'float32', 'frame', 'tensor', 'sparse'])
def test_a_table_says_how_many_numbers_are_missing_and_where(kind):
    import pandas as pd, scipy.sparse as sp
    x = np.ones((30,4)); x[3,2],x[5,1],x[7,0] = np.nan,np.inf,np.nan
    X = {'array':x, 'float32':x.astype(np.float32), 'frame':pd.DataFrame(x), 'tensor':torch.tensor(x), 'sparse':sp.csr_matrix(x)}[kind]
    with pytest.raises(ValueError, match=r'2 NaN and 1 inf, the first at X\[3, 2\]: remove or impute'): KMeans(2).fit(X)


# ---- restarts that diverge

class Diverging(Vectors):
    "Restarts whose number is in `bad` turn NaN after two steps; epochs of three"
    def __init__(self, n_clusters=3, *, n_init=3, bad=(), epochs=3, batch_size=10, device='cpu', random_state=0):
        super().__init__(n_clusters, n_init=n_init, device=device, random_state=random_state)
        self.bad,self.epochs,self.batch_size = bad,epochs,batch_size
    def _stages(self, x):
        class Some(PixelStage):
            epochs,steps = self.epochs,0
            def batches(self, epoch, generator): return (('all',i) for i in torch.randperm(len(self.x), generator=generator).split(15))
            def losses(self, pass_, idx, prepared):
                self.steps += 1
                lost = float('nan') if self.est.loop_number in self.est.bad and self.steps>2 else 1.
                return {k:v*lost for k,v in super().losses(pass_, idx, prepared).items()}
            def state_dict(self): return dict(steps=self.steps)
            def load_state_dict(self, s): self.steps = s['steps']
        return [Some(self, x)]
    def _build(self, shape):
        self.loop_number = getattr(self,'loop_number',0)+1
        return super()._build(shape)
    def _criterion(self, x): return -self.net_.weight.sum().item()
    def fit(self, *args, **kw): self.loop_number = 0; return super().fit(*args, **kw)


@pytest.fixture
def rows(): return np.random.default_rng(2).normal(size=(40,5))


@pytest.mark.filterwarnings('ignore:.*restarts diverged')
@pytest.mark.parametrize('bad', [(1,), (2,), (3,), (1,3)])
def test_a_restart_that_diverges_does_not_count(rows, bad):
    with pytest.warns(UserWarning, match=f'{len(bad)} of 3 restarts diverged.*restart {bad[0]}: loss .cluster. is not finite since step 3'):
        m = Diverging(bad=bad).fit(rows)
    whole = {n:Diverging(bad=tuple({1,2,3}-{n})).fit(rows) for n in {1,2,3}-set(bad)}
    best = min(whole.values(), key=lambda o: o.criterion_)
    assert m.criterion_==best.criterion_ and torch.equal(m.net_.weight, best.net_.weight) and np.array_equal(m.labels_, m.predict(rows))
    assert [(e['restart'],e['step']) for e in m.history_.events if e['event']=='diverged']==[(b,3) for b in bad]


def test_all_restarts_diverge(rows):
    m = Diverging(n_init=2).fit(rows)
    m.set_params(bad=(1,2))
    says = 'all 2 restarts diverged; the first: loss .cluster. is not finite since step 3'
    with pytest.raises(DivergedError, match=says) as e: m.fit(rows)
    assert e.value.step==3 and not hasattr(m, 'labels_')                     # nothing of the fit before is left beside the new network
    with pytest.raises(DivergedError, match='^loss .cluster. is not finite') as e: m.set_params(n_init=1).fit(rows)
    assert e.value.step==3 and not hasattr(m, 'labels_') and len(m.history_)==1


@pytest.mark.filterwarnings('ignore:.*restarts diverged', 'ignore:the time budget')
@pytest.mark.parametrize('budget', [0, None])
def test_a_diverged_restart_is_not_tried_again_when_resumed(rows, budget, tmp_path):
    whole = Diverging(bad=(1,)).fit(rows)
    for n in range(60):
        m = Diverging(bad=(1,)).fit(rows, checkpoint=tmp_path, resume=True, time_budget_s=budget)
        assert m.labels_.shape==(40,)
        if m.finished_: break
    assert n>5 or budget is None
    again = Diverging(bad=(1,)).fit(rows, checkpoint=tmp_path, resume=True)
    for o in (m,again):
        assert o.finished_ and torch.equal(o.net_.weight, whole.net_.weight) and o.criterion_==whole.criterion_
        assert [e['restart'] for e in o.history_.events if e['event']=='diverged']==[1]
    all_bad = dict(bad=(1,2,3), n_init=3)
    for _ in 'ab':
        with pytest.raises(DivergedError, match='all 3 restarts'): Diverging(**all_bad).fit(rows, checkpoint=tmp_path/'all', resume=True)


# ---- what a resumed fit compares

class Own(Vectors):
    def __init__(self, n_clusters=3, *, encoder=None, recipe=None, loss_weights=None, n_init=1, device='cpu', random_state=0):
        super().__init__(n_clusters, n_init=n_init, device=device, random_state=random_state)
        self.encoder,self.recipe,self.loss_weights = encoder,recipe,loss_weights
    def _build(self, shape):
        return nn.Linear(int(np.prod(shape)), self.n_clusters) if self.encoder is None else nn.Sequential(copy.deepcopy(self.encoder))


@pytest.mark.filterwarnings('ignore:the time budget')
def test_other_weights_of_the_users_network_are_another_run(rows, tmp_path):
    net,other = (nn.Sequential(nn.Linear(5,3), nn.BatchNorm1d(3)).bfloat16().float() for _ in 'ab')
    Own(encoder=net).fit(rows, checkpoint=tmp_path, time_budget_s=0)
    m = Own(encoder=copy.deepcopy(net)).fit(rows, checkpoint=tmp_path, resume=True)
    assert torch.equal(m.net_[0][0].weight, Own(encoder=net).fit(rows).net_[0][0].weight)
    with pytest.raises(CheckpointError, match='encoder is .*weights'): Own(encoder=other).fit(rows, checkpoint=tmp_path, resume=True)
    assert told(nn.Linear(2,2).bfloat16()) and told(nn.LazyLinear(3))            # no numpy type for the one, no values in the other


def test_other_operations_of_a_recipe_are_another_run():
    make = lambda p,f=None: Recipe('mine', Chain(Flip(p), RandomCrop([6,8],8)), Op(), Op(), 8)
    assert told(make(.5))==told(make(.5))!=told(make(.4))
    assert 'RandomCrop(sizes=[6, 8], out=8)' in told(make(.5)) and ' at 0x' not in told(make(.5))
    assert told((1,2))=='(1, 2)' and told({'a':1})=="{'a': 1}" and told('auto')=='auto' and told(Op().draw).endswith('Op object>>')


# ---- snapshots

@pytest.mark.parametrize('snapshots, error', [((0,),ValueError), ((1.5,),TypeError), (3,TypeError), ('3',TypeError), ((True,),TypeError)])
def test_snapshots_are_epochs(rows, snapshots, error):
    with pytest.raises(error, match='snapshots='): Vectors().fit(rows, snapshots=snapshots)


def test_snapshots_too_late_are_announced_and_all_are_saved(rows, tmp_path):
    with pytest.warns(UserWarning, match=r"snapshots=\[7\] will not be kept: the last stage, 'train', has 2 epochs"):
        m = Vectors().fit(rows, snapshots=[7,np.int64(2),1,1])
    again = load_model(Vectors, m.save(tmp_path))
    assert list(again.history_.snapshots)==[1,2]==list(m.history_.snapshots)
    for e,s in m.history_.snapshots.items():
        for k,v in s.items(): assert np.array_equal(v, again.history_.snapshots[e][k]) and v.dtype==again.history_.snapshots[e][k].dtype
    assert len(again.plot_snapshots().axes)==2


# ---- saving and loading

def test_numpy_numbers_inside_parameters(rows, tmp_path):
    m = Own(loss_weights={'cluster':np.float32(.5)}).fit(rows)
    assert load_model(Own, m.save(tmp_path/'a')).loss_weights=={'cluster':.5}
    m.loss_weights = {'cluster':[object()]}
    with pytest.raises(TypeError): m.save(tmp_path/'b')
    assert not (tmp_path/'b').exists()                                       # no half of a model


def test_loading_says_what_is_wrong(rows, tmp_path):
    m = Own(encoder=nn.Linear(5,3)).fit(rows); m.save(tmp_path/'m'); KMeans(2).fit(rows).save(tmp_path/'k')
    for path,kw in (('m',dict(encoder=nn.Linear(5,3))), ('k',{})):
        with pytest.raises(ValueError, match="device='tpu' is unknown"): load_named(path, tmp_path, device='tpu', **kw)
        if not torch.cuda.is_available():
            with pytest.raises(ValueError, match='not available here'): load_named(path, tmp_path, device='cuda', **kw)
    wrong = nn.Linear(5,4)
    with pytest.raises(ValueError, match='do not fit the encoder you passed.*size mismatch'): load_named('m', tmp_path, encoder=wrong)
    def broken(): raise ZeroDivisionError('mine')
    with pytest.raises(ZeroDivisionError, match='mine'): load_named('m', tmp_path, encoder=broken)
    file = tmp_path/'m'/'model.safetensors'; file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match='a file is damaged'): load_named('m', tmp_path, encoder=nn.Linear(5,3))


def load_named(name, root, **kw): return load_model({'m':Own, 'k':KMeans}[name], root/name, **kw)


# ---- what callers bring along

def test_far_from_the_origin():
    X, y = make_blobs(200, 6, centers=3, cluster_std=.5, random_state=0)
    from deepclust import LNSCC
    for Z in (X+1000*X.std(), np.c_[X, np.full(200, 1.7e9)]):
        m = LNSCC(3, epochs=30, random_state=0, encoder='mlp-32-32').fit(Z)
        assert adjusted_rand_score(y, m.labels_)>.95 and (m.predict(Z)==m.labels_).all()
    assert not isinstance(shift_and_scale(torch.from_numpy(X))[0], torch.Tensor)         # near it nothing is taken off


def test_memory_and_precision_of_any_kind():
    from deepclust import KMeans, LNSCC
    X = make_blobs(60, 4, centers=2, random_state=0)[0]
    for m in (LNSCC(2, epochs=2, random_state=0), KMeans(2, random_state=0)):
        back = m.fit(X[::-1]).labels_
        assert len(back)==60 and (m.predict(X)==back[::-1]).all()
    assert len(LNSCC(2, epochs=2, random_state=0).fit(torch.from_numpy(X).bfloat16()).labels_)==60


def test_what_the_caller_has_set_in_torch_does_not_matter():
    from deepclust import LNSCC, TURTLE
    X = make_blobs(60, 4, centers=2, random_state=0)[0]
    for make in (lambda: LNSCC(2, epochs=2, random_state=0), lambda: TURTLE(2, epochs=2, random_state=0)):
        want = make().fit(X).predict_proba(X)
        with torch.no_grad(): assert np.array_equal(make().fit(X).predict_proba(X), want)
        with torch.inference_mode(): assert np.array_equal(make().fit(X).predict_proba(X), want)
        torch.set_default_dtype(torch.float64)
        try: assert np.array_equal(make().fit(X).predict_proba(X), want) and torch.get_default_dtype()==torch.float64
        finally: torch.set_default_dtype(torch.float32)


def test_fits_in_threads_are_those_of_one():
    from concurrent.futures import ThreadPoolExecutor
    from deepclust import MMDC
    X = torch.randint(0, 256, (30, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    fit = lambda _: MMDC(3, epochs=1, random_state=0).fit(X).predict_proba(X)
    want, state = fit(0), torch.get_rng_state()
    with ThreadPoolExecutor(2) as pool: assert all(np.array_equal(p, want) for p in pool.map(fit, range(2)))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_fit_that_broke_off_is_no_model():
    from deepclust import LNSCC
    X = make_blobs(60, 4, centers=2, random_state=0)[0]
    m = LNSCC(2, epochs=2, random_state=0)
    with pytest.raises(ValueError, match='NaN'): m.fit(np.full((50, 3), np.nan))
    with pytest.raises(NotFittedError): m.predict(X)
    m.fit(X)
    class Stop(LNSCC):
        def _stages(self, x): raise KeyboardInterrupt
    s = Stop(2, epochs=2)
    s.__dict__.update(m.__dict__)
    with pytest.raises(KeyboardInterrupt): s.fit(X)
    for use in (s.predict, s.save):
        with pytest.raises(NotFittedError): use(X if use==s.predict else 'nowhere')


@pytest.mark.parametrize('name', ['AutoencoderKMeans', 'DEC', 'VaDE', 'DCGMM', 'ClusterNet', 'LNSCC'])
def test_a_budget_that_ends_before_there_are_clusters(name, tmp_path):
    import deepclust
    X, y = make_blobs(90, 6, centers=3, cluster_std=.3, random_state=0)
    make = lambda: getattr(deepclust, name)(3, random_state=0, encoder='mlp-32-32', device='cpu')
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        m = make().fit(X, time_budget_s=0, checkpoint=tmp_path)
    assert not m.finished_ and adjusted_rand_score(y, m.labels_)>.6 and (m.predict(X)==m.labels_).all()
    assert any('not final' in str(w.message) for w in said) and not any('collapse' in str(w.message) for w in said)


def test_the_seed_of_a_resumed_fit_is_that_of_its_start(tmp_path):
    from deepclust import LNSCC
    X = make_blobs(60, 4, centers=2, random_state=0)[0]
    for r in (0, 1):
        m = LNSCC(2, epochs=3, random_state=np.random.default_rng(r)).fit(X, checkpoint=tmp_path, resume=r>0, time_budget_s=0)
    assert m.n_iter_>=1


def test_folders_are_the_users(tmp_path, monkeypatch):
    from deepclust import LNSCC
    monkeypatch.setenv('HOME', str(tmp_path))
    X = make_blobs(60, 4, centers=2, random_state=0)[0]
    m = LNSCC(2, epochs=1, random_state=0).fit(X, checkpoint='~/c')
    m.save('~/m')
    assert (tmp_path/'m'/'model.json').exists() and list((tmp_path/'c').glob('init-0/step-*'))
    with pytest.raises(ValueError, match='no folder'): m.fit(X, checkpoint='')
