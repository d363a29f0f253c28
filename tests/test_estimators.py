"""Every method behind the face: scikit-learn's checks, determinism, saving, blocks, bad input, kill and resume."""
import os, random, signal, subprocess, sys, time, warnings
import numpy as np, pytest, torch
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks
import deepclust
from deepclust.core import CheckpointError, CollapseWarning
from deepclust.registry import METHODS, get_method, load

# tiny: seconds for the whole of scikit-learn's checks
TINY = {'KMeans':dict(n_clusters=3, n_init=2, random_state=0), 'Ward':dict(n_clusters=3),
        'SpectralClustering':dict(n_clusters=3, n_init=2, random_state=0),
        'GaussianMixture':dict(n_clusters=3, n_init=1, random_state=0),
        'LNSCC':dict(n_clusters=3, epochs=12, encoder='mlp-32-32', batch_size=64, n_init=1, device='cpu', random_state=0)}
T = dict(n_clusters=3, pretrain_epochs=6, encoder='mlp-32-32', batch_size=64, device='cpu', random_state=0)
TINY |= {'AutoencoderKMeans':T, 'DEC':T|dict(epochs=4), 'IDEC':T|dict(epochs=4), 'VaDE':T|dict(epochs=6), 'DCGMM':T|dict(epochs=6),
         'ClusterNet':T|dict(epochs=4, batch_size=16), 'SeededKMeans':dict(n_clusters=3, n_init=2, random_state=0)}
SPARSE = 'the check reads the classifier tags of whatever has predict_proba, and a clusterer has none; sparse input is tested below'
VECTORS = [n for n,m in METHODS.items() if m.input=='vectors'] # the image methods have tests of their own
DEEP = [n for n in VECTORS if hasattr(get_method(n),'_stages')]
WITH_ENCODER = [n for n in DEEP if 'encoder' in get_method(n)().get_params()]
INDUCTIVE = [n for n in VECTORS if n not in ('Ward','SpectralClustering')]
TRANSFORMERS = ['KMeans', 'SeededKMeans', *DEEP]
EXPECTED_FAILURES = {n:dict.fromkeys(('check_estimator_sparse_array','check_estimator_sparse_matrix'), SPARSE) for n in INDUCTIVE}
LABELS = 'the check passes y with more classes than n_clusters; a method that learns from labels refuses them'
EXPECTED_FAILURES['DCGMM'] |= dict.fromkeys(('check_dont_overwrite_parameters','check_dtype_object','check_methods_sample_order_invariance',
    'check_methods_subset_invariance','check_fit2d_1sample','check_fit2d_1feature','check_fit2d_predict1d'), LABELS)

for n in ('ClusterNet','SeededKMeans'): EXPECTED_FAILURES[n] |= {k:v for k,v in EXPECTED_FAILURES['DCGMM'].items() if v==LABELS}

TINY |= {'TURTLE':dict(n_clusters=3, epochs=40, batch_size=64, lr=1e-2, device='cpu', random_state=0)}

def tiny(name, **kw): return get_method(name)(**{**TINY[name], **kw})
def short(name, n): return {k:n for k in ('epochs','pretrain_epochs') if k in get_method(name)().get_params()}

def test_every_method_has_a_tiny_configuration(): assert set(TINY)==set(VECTORS)

@parametrize_with_checks([tiny(n) for n in VECTORS], expected_failed_checks=lambda est: EXPECTED_FAILURES.get(type(est).__name__,{}))
@pytest.mark.filterwarnings('ignore')
def test_sklearn(estimator, check): check(estimator)

@pytest.fixture(scope='module')
def blobs(): return make_blobs(200, 6, centers=3, cluster_std=.6, random_state=0)

@pytest.fixture(scope='module')
def fitted(blobs):
    with warnings.catch_warnings(): warnings.simplefilter('ignore'); return {n:tiny(n).fit(blobs[0]) for n in VECTORS}

@pytest.mark.parametrize('name', VECTORS)
def test_same_seed_same_labels_and_no_global_randomness(name, blobs, fitted):
    np.random.seed(5); torch.manual_seed(5); a = np.random.rand(),torch.rand(1).item()
    np.random.seed(5); torch.manual_seed(5); m = tiny(name).fit(blobs[0])
    assert (np.random.rand(),torch.rand(1).item())==a
    assert np.array_equal(m.labels_, fitted[name].labels_)

@pytest.mark.parametrize('name', INDUCTIVE)
def test_one_answer_in_any_batch(name, blobs, fitted):
    X,m = blobs[0],fitted[name]
    q = m.predict_proba(X)
    assert q.shape==(200,3) and np.allclose(q.sum(1),1,atol=1e-5) and m.labels_.dtype==np.int64
    assert np.array_equal(m.labels_, m.predict(X)) and np.array_equal(m.labels_, q.argmax(1))
    same = np.array_equal if name in DEEP else np.allclose          # to the last bit, where the arithmetic is ours
    for size in (1,7,199): assert same(np.concatenate([m.predict_proba(X[i:i+size]) for i in range(0,200,size)]), q)

@pytest.fixture(scope='module')
def elsewhere(blobs, fitted, tmp_path_factory):
    "Every method saved here, and what one fresh process predicts with what it loads"
    d = tmp_path_factory.mktemp('saved'); np.save(d/'X.npy', blobs[0])
    for name in VECTORS: fitted[name].save(d/name)
    code = (f'import deepclust,numpy as np; from pathlib import Path; d = Path({str(d)!r}); X = np.load(d/"X.npy")\n'
            f'for name in {list(INDUCTIVE)!r}: np.save(d/(name+".npy"), deepclust.load(d/name).predict(X))')
    subprocess.run([sys.executable,'-c',code], check=True)
    return d

@pytest.mark.parametrize('name', VECTORS)
def test_save_and_load_in_a_fresh_process(name, fitted, elsewhere):
    assert {p.name for p in (elsewhere/name).iterdir()}=={'model.json','model.safetensors'}
    assert np.array_equal(load(elsewhere/name).labels_, fitted[name].labels_)
    if name in INDUCTIVE: assert np.array_equal(np.load(elsewhere/f'{name}.npy'), fitted[name].labels_)

@pytest.mark.parametrize('name', TRANSFORMERS)
def test_transform(name, blobs, fitted):
    z = fitted[name].transform(blobs[0]); names = fitted[name].get_feature_names_out()
    assert z.shape==(200,len(names)) and names[0]==f'{name.lower()}0' and np.isfinite(z).all()

@pytest.mark.parametrize('name', VECTORS)
def test_kinds_of_input_agree(name, blobs, fitted):
    X = blobs[0]; pd = pytest.importorskip('pandas')
    same = [X.astype(np.float32).astype(np.float64), sparse.csr_matrix(X), pd.DataFrame(X), torch.from_numpy(X), X.tolist()]
    for x in same[1:]: assert np.array_equal(tiny(name).fit(x).labels_, fitted[name].labels_), type(x)

@pytest.mark.parametrize('name', VECTORS)
@pytest.mark.filterwarnings('ignore')
def test_images_are_clustered_as_pixels(name):
    x = (load_digits().images[:120]*15).astype(np.uint8); m = tiny(name).fit(x)
    assert m.labels_.shape==(120,) and m.n_features_in_==64
    if name in INDUCTIVE:
        assert np.array_equal(m.predict(x[:9]), m.labels_[:9])
        with pytest.raises(ValueError, match='fitted on'): m.predict(np.zeros((3,9,9),np.uint8))

@pytest.mark.parametrize('name', VECTORS)
def test_bad_input(name, blobs):
    X = blobs[0]; nan = X.copy(); nan[3,1] = np.nan; m = tiny(name)
    for bad,what in ((nan,'NaN'), (X[:0],'0 sample'), (X[:,0],'1D|Expected 2D'), (X+1j,'Complex'), (np.array([['a']*3]*5),'string|convert'),
                     (X[:2],'n_samples=2')):
        with pytest.raises((ValueError,TypeError), match=what): clone(m).fit(bad)
    with pytest.raises(ValueError, match='n_clusters'): clone(m).set_params(n_clusters=0).fit(X)
    with pytest.raises(TypeError, match='n_clusters'): clone(m).set_params(n_clusters=2.5).fit(X)

@pytest.mark.parametrize('name', DEEP)
def test_bad_parameters(name, blobs):
    bad = [*((dict([(k,-1)]),k) for k in short(name,1)), (dict(batch_size=0),'batch_size'), (dict(lr=float('nan')),'lr'), (dict(lr=0),'lr'),
           (dict(device='tpu'),'tpu'), (dict(precision='fp8'),'precision'), (dict(loss_weights={'nope':1}),'nope'),
           (dict(n_init=0),'n_init'),
           (dict(encoder='resnet99'),'resnet99'), (dict(random_state=-3),'random_state')]
    for kw,what in bad:
        if not set(kw)<=set(tiny(name).get_params()): continue
        with pytest.raises((ValueError,TypeError), match=what): tiny(name, **kw).fit(blobs[0])

@pytest.mark.parametrize('name', VECTORS)
def test_one_cluster(name, blobs):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore'); m = tiny(name, n_clusters=1).fit(blobs[0])
    assert (m.labels_==0).all()
    if name in INDUCTIVE: assert np.allclose(m.predict_proba(blobs[0]), 1)

@pytest.mark.parametrize('name', DEEP)
def test_collapse_is_reported(name):
    with pytest.warns(CollapseWarning): m = tiny(name, n_clusters=3, **short(name,1)).fit(np.zeros((60,4)))
    assert any(e['event']=='collapse' for e in m.history_.events)

@pytest.mark.parametrize('name', WITH_ENCODER)
def test_own_encoder(name, blobs, tmp_path):
    enc = torch.nn.Sequential(torch.nn.Linear(6,16), torch.nn.Tanh(), torch.nn.Linear(16,4)); before = [p.clone() for p in enc.parameters()]
    m = tiny(name, encoder=enc).fit(blobs[0]); m.save(tmp_path/'m')
    assert all(torch.equal(a,b) for a,b in zip(before, enc.parameters())), 'the module of the user was trained in place'
    with pytest.raises(ValueError, match='pass encoder='): load(tmp_path/'m')
    make = lambda: torch.nn.Sequential(torch.nn.Linear(6,16), torch.nn.Tanh(), torch.nn.Linear(16,4))
    assert np.array_equal(load(tmp_path/'m', encoder=make).predict(blobs[0]), m.labels_)

@pytest.mark.parametrize('name', DEEP)
def test_scale_of_the_input_does_not_matter(name, blobs, fitted):
    for c in (8., 1000., 1e-3): assert np.array_equal(tiny(name).fit(blobs[0]*c).labels_, fitted[name].labels_), c

@pytest.mark.parametrize('name', DEEP)
def test_slices_equal_one_run(name, blobs, fitted, tmp_path, ticking):
    n = 0
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore'); m = tiny(name).fit(blobs[0], checkpoint=tmp_path, resume=True, time_budget_s=.055)
        n += 1; assert n<300 and m.labels_.shape==(200,)
        if m.finished_: break
    assert n>1 and np.array_equal(m.labels_, fitted[name].labels_)
    assert all(torch.equal(a,b) for a,b in zip(m.net_.state_dict().values(), fitted[name].net_.state_dict().values()))
    with pytest.raises(CheckpointError, match='resume=True'): tiny(name).fit(blobs[0], checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match='another run'): tiny(name).fit(blobs[0][:100], checkpoint=tmp_path, resume=True)

SCRIPT = '''
import sys, numpy as np, torch; torch.set_num_threads(1)
from sklearn.datasets import load_digits
from deepclust.registry import get_method
c = get_method(sys.argv[1]); e = {k:int(sys.argv[3]) for k in ('epochs','pretrain_epochs') if k in c().get_params()}
m = c(10, encoder='mlp-64-64', device='cpu', random_state=0, **e)
print('go', flush=True)
m.fit(load_digits().data, checkpoint=sys.argv[2], resume=True); np.save(sys.argv[2]+'/labels.npy', m.labels_)
'''

@pytest.mark.parametrize('name', ['DEC','LNSCC']) # four processes each; slices are tried for every method
@pytest.mark.filterwarnings('ignore')
def test_kill_and_resume(name, tmp_path):
    run = lambda d: subprocess.Popen([sys.executable,'-c',SCRIPT,name,str(d),'15'], stdout=subprocess.PIPE)
    whole,killed = tmp_path/'whole',tmp_path/'killed'
    straight = run(whole) # beside the others
    rng,kills = random.Random(0),0
    for _ in range(2):
        p = run(killed); p.stdout.readline()
        until = time.time()+60
        while time.time()<until and p.poll() is None and not list(killed.glob('init-*/step-*')): time.sleep(.005)
        time.sleep(rng.random()*.3)
        if p.poll() is None: os.kill(p.pid, signal.SIGKILL); kills += 1
        p.wait()
    p = run(killed); p.wait(); straight.wait(); assert p.returncode==straight.returncode==0 and kills
    assert np.array_equal(np.load(whole/'labels.npy'), np.load(killed/'labels.npy'))

@pytest.mark.parametrize('name', DEEP)
@pytest.mark.filterwarnings('ignore')
def test_no_budget_at_all_still_ends(name, blobs, tmp_path):
    kw = dict(n_init=2, batch_size=100, **short(name,2))
    for n in range(60):
        m = tiny(name, **kw).fit(blobs[0], checkpoint=tmp_path, resume=True, time_budget_s=0)
        if m.finished_: break
    assert m.finished_ and n>1 and np.array_equal(m.labels_, tiny(name, **kw).fit(blobs[0]).labels_)
    for bad in (-1, float('nan')):
        with pytest.raises(ValueError, match='time_budget_s'): tiny(name).fit(blobs[0], time_budget_s=bad)
    with pytest.raises(ValueError, match='checkpoint='): tiny(name).fit(blobs[0], resume=True)

@pytest.mark.parametrize('name', INDUCTIVE)
def test_numpy_integers_survive_saving(name, blobs, tmp_path):
    m = tiny(name, n_clusters=np.int64(3)).fit(blobs[0]); m.save(tmp_path/'m')
    state = torch.get_rng_state()
    assert np.array_equal(load(tmp_path/'m').predict(blobs[0]), m.labels_) and torch.equal(state, torch.get_rng_state())

@pytest.mark.parametrize('name', [n for n in WITH_ENCODER if 'epochs' in short(n,1)]) # of the last stage; k-means on a code has none
def test_snapshots_change_nothing_even_with_an_encoder_in_eval_mode(name, blobs):
    layers = torch.nn.Linear(6,8),torch.nn.BatchNorm1d(8),torch.nn.ReLU(),torch.nn.Dropout(.2),torch.nn.Linear(8,4)
    enc = torch.nn.Sequential(*layers).eval()
    a,b = (tiny(name, encoder=enc).fit(blobs[0], snapshots=s) for s in ((),(1,2)))
    assert np.array_equal(a.transform(blobs[0]), b.transform(blobs[0])) and sorted(b.history_.snapshots)==[1,2]

def test_transductive_methods_do_not_pretend():
    for n in ('Ward','SpectralClustering'): assert not hasattr(tiny(n), 'predict') and not hasattr(tiny(n), 'transform')

def test_public_names():
    for n in deepclust.__all__: assert getattr(deepclust, n)
    with pytest.raises(AttributeError, match='it has'): deepclust.nothing
