"VaDE: every term of the bound against Monte-Carlo and loops, bounds of the log-variance, training, resume, sampling, divergence."
import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from torch.distributions import Normal

import deepclust.methods.vade as vade
from deepclust.core import CheckpointError, DivergedError
from deepclust.methods.vade import (LOGVAR_CAPS, SafeNorm, VaDE, bound_logvar, covariances, dead_share, elbo_terms, fit_mixture,
                                    graph_start, log_gaussians, log_responsibilities, rescale_code, underflowing_responsibilities,
                                    unit_clusters, with_batch_norm)
from deepclust.registry import METHODS

SMALL = dict(encoder='mlp-32-32', embedding_dim=3, pretrain_epochs=15, epochs=15, batch_size=64, device='cpu', random_state=0)


@pytest.fixture(scope='module')
def blobs(): return make_blobs(200, 6, centers=3, cluster_std=.6, random_state=0)


@pytest.fixture(scope='module')
def fitted(blobs): return VaDE(3, **SMALL).fit(blobs[0])


@pytest.fixture
def parts():
    g = torch.Generator().manual_seed(0)
    r = lambda *s: torch.randn(*s, generator=g, dtype=torch.float64)
    mu, logvar, c, c_logvar, log_pi = r(5, 3), .5*r(5, 3), r(4, 3), .5*r(4, 3), r(4).log_softmax(0)
    return mu, logvar, r(5, 4).log_softmax(1), c, c_logvar, log_pi


# ---- the bound

def test_terms_against_loops(parts):
    mu, logvar, log_p, c, c_logvar, log_pi = parts
    ref = dict.fromkeys(('log_variance', 'spread', 'distance', 'prior', 'assignment', 'entropy'), 0.)
    for i in range(5):
        for k in range(4):
            p = math.exp(log_p[i, k])
            ref['prior'] -= p*log_pi[k].item()/5
            ref['assignment'] += p*math.log(p)/5
            for j in range(3):
                s, v = math.exp(c_logvar[k, j]), math.exp(logvar[i, j])
                ref['log_variance'] += .5*p*math.log(s)/5
                ref['spread'] += .5*p*v/s/5
                ref['distance'] += .5*p*(mu[i, j]-c[k, j]).item()**2/s/5
        ref['entropy'] -= sum(.5*(1+math.log(math.exp(v))) for v in logvar[i].tolist())/5
    got = elbo_terms(mu, logvar, log_p, c, c_logvar, log_pi)
    assert got.keys()==ref.keys()
    for k in ref: assert abs(got[k].item()-ref[k])<1e-12, k


def test_terms_against_monte_carlo(parts):
    mu, logvar, log_p, c, c_logvar, log_pi = parts
    torch.manual_seed(0)
    q = Normal(mu, (.5*logvar).exp())
    z, p, got = q.sample((50_000,)), log_p.exp(), elbo_terms(mu, logvar, log_p, c, c_logvar, log_pi)
    log_n = Normal(c, (.5*c_logvar).exp()).log_prob(z[:, :, None]).sum(3)                    # (m, 5, 4)
    half = .5*3*math.log(2*math.pi)                                                         # 1d, and what term 3 leaves out
    cross = -(p*log_n).sum(2).mean().item()
    assert abs(sum(got[k] for k in ('log_variance', 'spread', 'distance')).item()+half-cross)<.02
    assert abs(got['entropy'].item()-half-q.log_prob(z).sum(2).mean().item())<.02
    draw = torch.multinomial(p, 50_000, replacement=True)
    assert abs(got['prior'].item()+log_pi[draw].mean().item())<.02
    assert abs(got['assignment'].item()-torch.stack([log_p[i][draw[i]].mean() for i in range(5)]).mean().item())<.02


def test_gradients(parts):
    torch.manual_seed(0)
    leaves = [(v[:2] if i<3 else v).clone().requires_grad_() for i, v in enumerate(parts)]
    f = lambda *a: torch.stack(list(elbo_terms(*a).values()))
    assert torch.autograd.gradcheck(f, leaves)
    mu, logvar, _, c, c_logvar, log_pi = leaves
    noise = torch.randn(2, 3, dtype=torch.float64)
    def whole(mu, logvar, c, c_logvar, logits):
        log_pi = logits.log_softmax(0)
        log_p = log_responsibilities(mu+noise*(.5*logvar).exp(), c, c_logvar, log_pi)
        return sum(elbo_terms(mu, logvar, log_p, c, c_logvar, log_pi).values())
    assert torch.autograd.gradcheck(whole, (mu, logvar, c, c_logvar, log_pi))               # through p on both sides


def linear_model(k):
    "x = a z + noise of variance ½, z from a mixture in one dimension: log p(x) in closed form, and the parts of the bound"
    c, c_logvar = torch.tensor([[-2.], [2.]])[:k].double(), torch.tensor([[.3], [-.4]])[:k].double()
    log_pi = torch.ones(k).double().log_softmax(0)
    a = torch.tensor([1.5, -.5, .8], dtype=torch.float64)
    x = torch.randn(3, dtype=torch.float64)+a
    cov = c_logvar.exp()[:, :, None]*torch.outer(a, a)+.5*torch.eye(3, dtype=torch.float64)
    exact = torch.logsumexp(log_pi+torch.distributions.MultivariateNormal(c*a, cov).log_prob(x), 0)
    precision = (-c_logvar[0]).exp()+2*(a@a)
    mu = ((c[0]*(-c_logvar[0]).exp()+2*(a@x))/precision).reshape(1, 1)                      # posterior for k = 1
    return x, a, c, c_logvar, log_pi, exact, mu, -precision.log().reshape(1, 1)


def minus_elbo(x, a, c, c_logvar, log_pi, mu, logvar, z, log_p):
    "Per sample: the squared error lacks ½ d log π"
    rec = (x-a*z).square().sum(1).mean()
    return rec+1.5*math.log(math.pi)+sum(elbo_terms(mu, logvar, log_p, c, c_logvar, log_pi).values())


def test_the_bound_is_tight_where_the_posterior_is_exact():
    torch.manual_seed(0)
    x, a, c, c_logvar, log_pi, exact, mu, logvar = linear_model(1)
    z = mu+torch.randn(4000, 1, dtype=torch.float64)*(.5*logvar).exp()
    got = minus_elbo(x, a, c, c_logvar, log_pi, mu, logvar, z, torch.zeros(1, 1, dtype=torch.float64))
    assert abs(got+exact)<.05
    worse = minus_elbo(x, a, c, c_logvar, log_pi, mu+.5, logvar, z+.5, torch.zeros(1, 1, dtype=torch.float64))
    assert worse>got+.3                                                                     # any other posterior loosens it


def test_the_bound_against_importance_sampling():
    torch.manual_seed(0)
    x, a, c, c_logvar, log_pi, exact, mu, logvar = linear_model(2)
    mu, logvar = mu+.2, logvar+.5
    z = mu+torch.randn(20_000, 1, dtype=torch.float64)*(.5*logvar).exp()
    log_joint = log_pi+log_gaussians(z, c, c_logvar)                                        # log p(z, c)
    log_x = -(x-a*z).square().sum(1)-1.5*math.log(math.pi)
    log_q = Normal(mu, (.5*logvar).exp()).log_prob(z).sum(1)
    weights = log_x+log_joint.logsumexp(1)-log_q
    assert abs(weights.logsumexp(0)-math.log(len(z))-exact)<.02                             # so log p(x) is what it should be
    log_p = log_responsibilities(mu, c, c_logvar, log_pi)
    elbo = (log_x+(log_p.exp()*(log_joint-log_p)).sum(1)-log_q).mean()                      # by its definition
    got = -minus_elbo(x, a, c, c_logvar, log_pi, mu, logvar, z[:2000], log_p)
    assert abs(got-elbo)<.1 and got<exact+.02


# ---- log space

def test_log_space_survives_what_densities_do_not():
    z, c = torch.full((1, 2), 80., requires_grad=True), torch.tensor([[-1., 0.], [1., 0.]])
    args = c, torch.zeros(2, 2), torch.zeros(2).log_softmax(0)
    ref = torch.softmax(torch.stack([-(z.detach().double()-m).square().sum()/2 for m in c.double()]), 0)
    good, bad = log_responsibilities(z, *args), underflowing_responsibilities(z, *args)
    torch.testing.assert_close(good.exp()[0].double(), ref)
    assert abs(bad.exp()[0, 1]-ref[1])>.4                                                   # it has forgotten which is nearer
    grad = lambda log_p: torch.autograd.grad(log_p.exp()[0, 1]*1e10, z)[0]
    assert torch.isfinite(grad(good)).all() and torch.isnan(grad(bad)).any()
    near = torch.randn(50, 2)
    torch.testing.assert_close(log_responsibilities(near, *args), underflowing_responsibilities(near, *args), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('scale', [1e-3, 1., 1e3, 1e5])
def test_rows_sum_to_one(scale):
    p = log_responsibilities(torch.randn(20, 4)*scale, torch.randn(5, 4), torch.randn(5, 4), torch.randn(5).log_softmax(0)).exp()
    assert torch.isfinite(p).all() and torch.allclose(p.sum(1), torch.ones(20))


# ---- bounds of the log-variance

@pytest.mark.parametrize('how', [h for h in LOGVAR_CAPS if h!='band'])
def test_bounds(how):
    x = torch.linspace(-60, 60, 24_001, dtype=torch.float64, requires_grad=True)
    y, cap = bound_logvar(x, how), LOGVAR_CAPS[how]
    assert y.abs().max()<=cap+1e-9 and (y.diff()>=-1e-12).all()
    if how!='softplus': assert abs(bound_logvar(torch.zeros(1), how)).item()<1e-6
    if how in ('none', 'unit'): return
    slope, = torch.autograd.grad(y.sum(), x)
    assert torch.isfinite(slope).all() and slope.max()<=(1 if how!='softplus' else 2)+1e-6
    at5 = slope[(x.detach()-5).abs().argmin()].item()
    assert at5==pytest.approx({'clamp':0, 'clamp-wide':1, 'tanh':.42, 'softsign':.25, 'softclip':.99, 'softplus':.40}[how], abs=.01)
    huge = torch.tensor([-1e30, -1e4, 1e4, 1e30], requires_grad=True)
    bound_logvar(huge, how).sum().backward()
    assert torch.isfinite(huge.grad).all()
    if cap<math.inf: assert bound_logvar(huge, how).tolist()==pytest.approx([-cap, -cap, cap, cap], rel=1e-2)   # nothing cancels


def test_a_cap_of_ones_own_and_dead_shares():
    x = torch.tensor([[-3., -.5, .5, 3.]])
    assert bound_logvar(x, 'tanh', 2.).abs().max()<2 and bound_logvar(x, 'clamp', 2.).tolist()==[[-2, -.5, .5, 2]]
    for how, cap in (('tanh', (-6, 0)), ('band', None)):
        assert bound_logvar(torch.tensor([-99., -3., 99.]), how, cap).tolist()==pytest.approx([-6, -3, 0])
    assert bound_logvar(x, 'clamp', [-2., 0.]).tolist()==[[-2, -.5, 0, 0]]
    assert dead_share(x, 'clamp')==.5 and dead_share(x, 'tanh')==0 and dead_share(x, 'none')==0 and dead_share(x, 'unit')==1
    assert dead_share(torch.full((2, 2), torch.nan), 'tanh')==1


# ---- network and mixture

def test_batch_norm_everywhere_but_last():
    net = with_batch_norm(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)))
    assert [type(m).__name__ for m in net]==['Linear', 'SafeNorm', 'ReLU', 'Linear']
    n = SafeNorm(4)
    n(torch.randn(10, 4))
    before = n.running_mean.clone()
    one = n(torch.ones(1, 4))
    assert torch.equal(n.running_mean, before) and torch.equal(one, n.eval()(torch.ones(1, 4)))


@pytest.mark.parametrize('covariance', ['full', 'diag'])
def test_fit_mixture(covariance):
    z, y = make_blobs(400, 3, centers=[[0]*3, [9]*3, [-9, 9, 0]], cluster_std=[.5, 1, 2], random_state=0)
    m = fit_mixture(z, 3, covariance); c, v = m.means_, np.diagonal(covariances(m), axis1=1, axis2=2)
    order = [int(np.linalg.norm(c-z[y==j].mean(0), axis=1).argmin()) for j in range(3)]
    for j, k in enumerate(order):
        np.testing.assert_allclose(c[k], z[y==j].mean(0), atol=.05)
        np.testing.assert_allclose(v[k], z[y==j].var(0), rtol=.2, atol=.05)
    assert m.weights_.sum()==pytest.approx(1)
    flat = covariances(fit_mixture(np.zeros((20, 2)), 3, covariance))
    assert np.isfinite(flat).all() and (np.linalg.eigvalsh(flat)>0).all()                    # no singularity


def test_a_graph_starts_what_k_means_cannot():
    "Two long groups side by side: k-means cuts them across; of both starts the likelier end is kept"
    from sklearn.mixture import GaussianMixture

    from deepclust.metrics import cluster_accuracy
    r = np.random.default_rng(0); z = r.normal(size=(600, 2))*[2, .2]+np.repeat([[0, 0], [0, 2]], 300, 0); y = np.repeat([0, 1], 300)
    plain = GaussianMixture(2, random_state=0).fit(z); m = fit_mixture(z, 2, seed=0)
    assert cluster_accuracy(y, plain.predict(z))<.8 and cluster_accuracy(y, m.predict(z))>.98 and m.lower_bound_>plain.lower_bound_
    assert np.array_equal(fit_mixture(z, 2, seed=0).means_, m.means_)
    kw = graph_start(z, 2, 1e-6)[0]
    np.testing.assert_allclose(np.sort(kw['means_init'][:, 1]), [0, 2], atol=.05)
    assert kw['weights_init'].sum()==pytest.approx(1) and np.linalg.eigvalsh(kw['precisions_init']).min()>0
    assert graph_start(r.normal(size=(60, 60)), 3, 1e-6)==[], 'fewer samples than dimensions'


# ---- the estimator

def test_it_clusters(blobs, fitted):
    from deepclust.metrics import cluster_accuracy
    assert cluster_accuracy(blobs[1], fitted.labels_)>.97
    assert (fitted.history_['skipped']==0).all() and fitted.history_['first_bad_step'][-1]==-1
    assert fitted.cluster_centers_.shape==(3, 3)


def test_prediction_is_deterministic(blobs, fitted):
    torch.manual_seed(1)
    a = fitted.predict_proba(blobs[0])
    torch.manual_seed(2)
    assert np.array_equal(a, fitted.predict_proba(blobs[0])) and np.array_equal(a.argmax(1), fitted.labels_)
    again = VaDE(3, **SMALL).fit(blobs[0])
    assert np.array_equal(a, again.predict_proba(blobs[0]))


@pytest.mark.parametrize('how', ['full', 'diag'])
def test_rescaling_changes_the_units_and_not_the_function(blobs, how):
    m = VaDE(3, rescale=how, **{**SMALL, 'epochs': 0}).fit(blobs[0])
    z, x = m.transform(blobs[0]), m.reconstruct(blobs[0])
    within = np.mean([np.cov(z[m.labels_==c].T) for c in range(3)], 0)
    np.testing.assert_allclose(within.diagonal(), 1, rtol=.15)
    off = np.abs(within-np.diag(within.diagonal())).max()
    assert off<.15 if how=='full' else off>.15
    plain = VaDE(3, rescale=None, **{**SMALL, 'epochs': 0}).fit(blobs[0])
    np.testing.assert_allclose(plain.reconstruct(blobs[0]), x, rtol=1e-3, atol=1e-3)
    assert (plain.labels_!=m.labels_).mean()<=(.05 if how=='full' else 0), 'other diagonals are kept'
    p = plain.transform(blobs[0]); t = np.linalg.lstsq(p, z, rcond=None)[0]
    np.testing.assert_allclose(z, p@t, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(t, t.T, atol=1e-3)


def test_units_make_the_average_cluster_round():
    r = np.random.default_rng(0); a = r.normal(size=(4, 5, 5)); cov, w = a@a.transpose(0, 2, 1), r.dirichlet(np.ones(4))
    pooled = lambda how: (t := unit_clusters(w, cov, how))@np.einsum('k,kij->ij', w, cov)@t
    np.testing.assert_allclose(pooled('full'), np.eye(5), atol=1e-10)
    np.testing.assert_allclose(np.diag(pooled('diag')), 1)
    assert np.array_equal(unit_clusters(w, cov, None), np.eye(5))


def test_units_of_a_code_are_undone_by_the_decoder():
    mu, first = torch.nn.Linear(4, 3).double(), torch.nn.Linear(3, 6).double()
    net = torch.nn.ModuleDict(dict(mu=mu, decoder=torch.nn.Sequential(first))); h = torch.randn(7, 4).double()
    z, y = mu(h), first(mu(h)); t = torch.randn(3, 3).double()           # not symmetric: the general case
    rescale_code(net, t)
    torch.testing.assert_close(mu(h), z@t); torch.testing.assert_close(first(mu(h)), y)


def test_samples_are_held_at_the_start(blobs, monkeypatch):
    """`hold`: the terms see the posterior of the full mixture for that share of the epochs, then the model's own"""
    seen, terms = [], vade.elbo_terms
    def spy(mu, logvar, log_p, *a): seen.append(log_p.requires_grad); return terms(mu, logvar, log_p, *a)
    monkeypatch.setattr(vade, 'elbo_terms', spy)
    steps = -(-200//64)
    for hold, held in ((0., 0), (.4, 2), (.5, 3), (1., 5)):
        seen.clear(); VaDE(3, hold=hold, **{**SMALL, 'epochs': 5}).fit(blobs[0])
        assert seen==[False]*held*steps+[True]*(5-held)*steps
    m = VaDE(3, hold=.5, **{**SMALL, 'epochs': 0}).fit(blobs[0])          # the posterior that is held: scikit-learn's
    start = m._stages(torch.as_tensor(blobs[0]).float())[1]
    start.generator = torch.Generator().manual_seed(0); start.setup()
    q, mixture = start.log_q.exp().numpy(), fit_mixture(m.transform(blobs[0]), 3)
    from deepclust.metrics import cluster_accuracy
    assert np.allclose(q.sum(1), 1, atol=1e-5) and cluster_accuracy(mixture.predict(m.transform(blobs[0])), q.argmax(1))>.97
    with pytest.raises(ValueError, match='hold'): VaDE(3, hold=1.5, **SMALL).fit(blobs[0])


def test_a_resumed_run_holds_the_same_samples(blobs, tmp_path):
    kw = dict(hold=.8, **{**SMALL, 'epochs': 6}); whole = VaDE(3, **kw).fit(blobs[0])
    class Stop(Exception): pass
    before = vade.VadeStage.before_epoch
    def stop(self, epoch):
        if epoch==3: raise Stop
        before(self, epoch)
    with pytest.MonkeyPatch.context() as mp:
        mp.setattr(vade.VadeStage, 'before_epoch', stop)
        with pytest.raises(Stop): VaDE(3, **kw).fit(blobs[0], checkpoint=tmp_path/'run')
    again = VaDE(3, **kw).fit(blobs[0], checkpoint=tmp_path/'run', resume=True)
    assert np.array_equal(again.predict_proba(blobs[0]), whole.predict_proba(blobs[0]))


def test_an_image_is_restored_from_a_moved_one(monkeypatch):
    "The input is moved, the output is compared with what was there before"
    x = np.random.default_rng(0).random((60, 1, 16, 16), dtype=np.float32); targets = set()
    real = vade.reconstruction_loss
    def spy(y, logits, likelihood): targets.update(v.numpy().tobytes() for v in y.flatten(1)); return real(y, logits, likelihood)
    monkeypatch.setattr(vade, 'reconstruction_loss', spy)
    VaDE(3, **{**SMALL, 'epochs': 1, 'pretrain_epochs': 0}, recipe='gentle').fit(x)
    assert targets=={v.tobytes() for v in x.reshape(60, -1)}


@pytest.mark.parametrize('learn', [True, False])
def test_weights_of_the_clusters(learn):
    X, y = make_blobs([150, 50], 6, centers=None, random_state=0)
    m = VaDE(2, learn_pi=learn, **SMALL).fit(X)
    pi = m.net_.pi_logits.detach().softmax(0)
    assert ('pi_logits' in dict(m.net_.named_parameters()))==learn
    if learn: assert pi.max().item()==pytest.approx(.75, abs=.05)
    else: assert torch.equal(pi, torch.full((2,), .5))


@pytest.mark.parametrize('gmm,head', [('zero', 'random'), ('diag', 'mu')])
def test_other_starts(blobs, gmm, head):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        m = VaDE(3, gmm=gmm, logvar_init=head, **{**SMALL, 'epochs': 0}).fit(blobs[0])
    net = m.net_
    if gmm=='zero': assert net.centers.abs().sum()==0 and net.center_logvar.abs().sum()==0
    else: assert net.centers.abs().sum()>0 and torch.equal(net['logvar'].weight, net['mu'].weight)


def test_interrupted_is_uninterrupted(blobs, tmp_path):
    kw = {**SMALL, 'pretrain_epochs': 2, 'epochs': 3}
    whole, slices = VaDE(3, **kw).fit(blobs[0]), 0
    part = VaDE(3, **kw)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        while not getattr(part, 'finished_', False):
            part = VaDE(3, **kw).fit(blobs[0], checkpoint=tmp_path, resume=True, time_budget_s=0)    # one step at a time
            slices += 1
            assert slices<40
    assert slices>10
    for (n, a), b in zip(whole.net_.state_dict().items(), part.net_.state_dict().values()): assert torch.equal(a, b), n
    drop = lambda rows: [{k: v for k, v in r.items() if k!='seconds'} for r in rows]
    assert drop(whole.history_.rows)==drop(part.history_.rows)


def test_resume_refuses_another_bound(blobs, tmp_path):
    kw = {**SMALL, 'epochs': 1}
    VaDE(3, **kw).fit(blobs[0], checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match='logvar'): VaDE(3, logvar='clamp', **kw).fit(blobs[0], checkpoint=tmp_path, resume=True)


@pytest.mark.skipif('VaDE' not in METHODS, reason='not yet registered')
def test_save_and_load(blobs, fitted, tmp_path):
    from deepclust.registry import load
    again = load(fitted.save(tmp_path))
    assert np.array_equal(again.predict_proba(blobs[0]), fitted.predict_proba(blobs[0]))
    a, b = fitted.sample(5, random_state=0), again.sample(5, random_state=0)
    assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])


def test_samples_belong_to_their_cluster(blobs, fitted):
    for c in range(3):
        x, labels = fitted.sample(100, cluster=c, random_state=0)
        assert x.shape==(100, 6) and (labels==c).all() and (fitted.predict(x)==c).mean()>.9
    x, labels = fitted.sample(300, random_state=0)
    assert np.bincount(labels, minlength=3).min()>60 and (fitted.predict(x)==labels).mean()>.9
    with pytest.raises(ValueError, match='cluster'): fitted.sample(1, cluster=3)
    near = np.abs(x-blobs[0].mean(0)).max()
    assert near<2*np.abs(blobs[0]-blobs[0].mean(0)).max()                                   # in the units of X


def test_restarts_keep_the_best_bound(blobs):
    one = [VaDE(3, **{**SMALL, 'epochs': 3, 'random_state': s}) for s in range(2)]
    many = VaDE(3, n_init=2, **{**SMALL, 'epochs': 3}).fit(blobs[0])
    assert np.isfinite(many.criterion_)
    m = one[0].fit(blobs[0])
    x = torch.as_tensor((blobs[0]-np.asarray(m.shift_))/m.scale_).float()
    assert many.criterion_<=vade.bound_of(m, x)+1e-4


def test_images(tmp_path):
    x = (np.random.default_rng(0).random((48, 1, 8, 8))*255).astype(np.uint8)
    m = VaDE(3, **{**SMALL, 'encoder': 'vgg-2', 'epochs': 1, 'pretrain_epochs': 1}).fit(x)
    s, _ = m.sample(4, random_state=0)
    assert s.shape==(4, 1, 8, 8) and 0<=s.min() and s.max()<=1 and np.array_equal(m.predict(x), m.labels_)


@pytest.mark.parametrize('kw', [dict(batch_size=1), dict(precision='bf16'), dict(likelihood='gaussian'), dict(norm=None), dict(beta=0.)])
def test_odd_settings_run(blobs, kw):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        m = VaDE(3, **{**SMALL, 'epochs': 1, 'pretrain_epochs': 1, **kw}).fit(blobs[0][:41])
    assert np.isfinite(m.transform(blobs[0])).all() and (m.history_['skipped']==0).all()


@pytest.mark.filterwarnings('ignore:.*clusters are empty')
def test_divergence_is_named_and_the_last_good_state_stands(blobs, tmp_path, monkeypatch):
    "The log-variance is thrown to 2000 after six good steps; without a bound its exponential is infinite"
    losses = vade.VadeStage.losses
    def thrown(self, *args):
        if self.watch['step']>=6:
            with torch.no_grad(): self.est.net_['logvar'].bias.fill_(2000.)
        return losses(self, *args)
    monkeypatch.setattr(vade.VadeStage, 'losses', thrown)
    kw = {**SMALL, 'pretrain_epochs': 2, 'logvar': 'none'}
    m = VaDE(3, **kw)
    first = 2*-(-len(blobs[0])//SMALL['batch_size'])+7                                        # after two epochs of pretraining
    says = rf"'spread'.*since step {first} .*'cluster'.*lr.*logvar='band'.*last good state"
    with pytest.raises(DivergedError, match=says): m.fit(blobs[0], checkpoint=tmp_path)
    assert m.history_['first_bad_step'][-1]==6
    for bound in ('band', 'tanh', 'clamp', 'softclip'):                                        # what a bound is for
        ok = VaDE(3, **{**kw, 'logvar': bound}).fit(blobs[0])
        assert (ok.history_['skipped']==0).all()


@pytest.mark.parametrize('kw,what', [
    (dict(logvar='tan'), 'tanh'), (dict(gmm='fit'), 'full'), (dict(logvar_init='one'), 'zero'), (dict(norm='layer'), 'batch'),
    (dict(logvar_cap=0), 'logvar_cap'), (dict(logvar_cap=(1, -1)), 'low < high'),
    (dict(beta=-1), 'beta'), (dict(pretrain_lr=0), 'pretrain_lr'),
    (dict(loss_weights={'kl': 1}), 'entropy'), (dict(likelihood='bernoulli'), r'0\.\.1')])
def test_misuse(blobs, kw, what):
    with pytest.raises(ValueError, match=what): VaDE(3, **{**SMALL, **kw}).fit(blobs[0])
