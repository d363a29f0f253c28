"Shared losses against independent float64 references, their gradients, and their behaviour at the edges"
import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax, xlogy

from deepclust.losses import (gathered, kl_div, kl_div_log, kl_to_prior, negative_entropy, nt_xent, student_t, student_t_logits, summed,
                              target_distribution)


def probabilities(b=30, k=7, sharp=3., seed=0):
    return torch.as_tensor(softmax(np.random.default_rng(seed).normal(size=(b, k)) * sharp, axis=1))


def reference_target(q, freq):
    w = np.asarray(q, np.float64)**2 / np.asarray(freq, np.float64)
    return w / w.sum(1, keepdims=True)


@pytest.mark.parametrize('sharp', [.1, 3., 15.])
@pytest.mark.parametrize('dtype,tol', [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_target(sharp, dtype, tol):
    q = probabilities(sharp=sharp)
    f = np.random.default_rng(1).uniform(1, 5, 7)
    np.testing.assert_allclose(target_distribution(q.to(dtype)), reference_target(q, q.sum(0)), atol=tol)
    np.testing.assert_allclose(target_distribution(q.to(dtype), torch.as_tensor(f)), reference_target(q, f), atol=tol)
    np.testing.assert_allclose(target_distribution(q.to(dtype)).sum(1), 1, atol=tol * 10)


def test_target_is_detached_and_ignores_the_scale_of_freq():
    q = probabilities().requires_grad_()
    assert not target_distribution(q).requires_grad
    torch.testing.assert_close(target_distribution(q, q.sum(0) * 1e30), target_distribution(q))
    torch.testing.assert_close(target_distribution(q, q.sum(0) * 1e-30), target_distribution(q))


def test_target_with_empty_clusters_and_many_rows():
    q = torch.tensor([[1., 0, 0], [0, 1, 0]])
    assert torch.equal(target_distribution(q), q)
    q = probabilities(20_000, 1000, 1.).float()
    p = target_distribution(q, q.sum(0) * 1e6)
    assert torch.isfinite(p).all()
    torch.testing.assert_close(p.sum(1), torch.ones(20_000))


def test_one_cluster_and_uniform():
    assert torch.equal(target_distribution(torch.ones(4, 1)), torch.ones(4, 1))
    torch.testing.assert_close(target_distribution(torch.full((4, 5), .2)), torch.full((4, 5), .2))


@pytest.mark.parametrize('dtype,tol', [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_kl_against_scipy(dtype, tol):
    p, q = probabilities(seed=1), probabilities(seed=2)
    p[0] = torch.eye(7)[0]
    want = rel_entr(p.numpy(), q.numpy()).sum(1).mean()
    np.testing.assert_allclose(kl_div(p.to(dtype), q.to(dtype)), want, rtol=tol)
    np.testing.assert_allclose(kl_div_log(p.to(dtype), q.log().to(dtype)), want, rtol=tol)
    assert kl_div(p, p).abs() < 1e-12


def test_kl_gradients():
    p, q = probabilities(4, 3, 1.).requires_grad_(), probabilities(4, 3, 1., seed=1).requires_grad_()
    assert torch.autograd.gradcheck(kl_div, (p, q))
    assert torch.autograd.gradcheck(lambda p, q: kl_div_log(p, q.log()), (p, q))
    logits = torch.randn(4, 3, dtype=torch.float64).requires_grad_()
    kl_div_log(p.detach(), logits.log_softmax(1)).backward()
    torch.testing.assert_close(logits.grad, (logits.softmax(1) - p).detach() / 4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_zeros_give_finite_values_and_gradients(dtype):
    p = torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=dtype).requires_grad_()
    q = torch.tensor([[0, 1, 0], [0, 1, 0]], dtype=dtype).requires_grad_()
    log_q = torch.tensor([[-np.inf, 0, -np.inf], [-np.inf, 0, -np.inf]], dtype=dtype).requires_grad_()
    for loss, args in ((kl_div, (p, q)), (kl_div_log, (p, log_q))):
        value = loss(*args)
        grads = torch.autograd.grad(value, args)
        assert torch.isfinite(value) and all(torch.isfinite(g).all() for g in grads)
        assert value > 10


def test_logs_keep_the_gradient_that_probabilities_lose():
    a = torch.tensor([[200., -200]]).requires_grad_()
    target = torch.tensor([[0., 1]])
    g, = torch.autograd.grad(kl_div_log(target, a.log_softmax(1)), a)
    torch.testing.assert_close(g, torch.tensor([[1., -1]]))


def test_negative_entropy():
    u = probabilities().mean(0)
    np.testing.assert_allclose(negative_entropy(u), xlogy(u.numpy(), u.numpy()).sum())
    assert torch.autograd.gradcheck(negative_entropy, (u.requires_grad_(),))
    u = torch.tensor([1., 0, 0]).requires_grad_()
    g, = torch.autograd.grad(negative_entropy(u), u)
    assert torch.isfinite(g).all() and g[1] < g[0]          # descent gives the empty clusters something
    assert negative_entropy(torch.ones(1)) == 0


def test_kl_to_prior():
    u, prior = probabilities().mean(0), torch.arange(1., 8)
    np.testing.assert_allclose(kl_to_prior(u, prior), rel_entr(u.numpy(), prior.numpy() / 28).sum(), rtol=1e-6)
    torch.testing.assert_close(kl_to_prior(u, prior * 100), kl_to_prior(u, prior))
    assert kl_to_prior(prior.double() / 28, prior).abs() < 1e-7
    a, b = u.clone().requires_grad_(), u.clone().requires_grad_()
    ga, = torch.autograd.grad(kl_to_prior(a, torch.ones(7)), a)
    gb, = torch.autograd.grad(negative_entropy(b), b)
    torch.testing.assert_close(ga - ga.mean(), gb - gb.mean())


@pytest.mark.parametrize('dof', [.5, 1., 7.])
def test_student_t_against_float64(dof):
    rng = np.random.default_rng(0)
    z, c = rng.normal(size=(9, 3))*4, rng.normal(size=(5, 3))
    q = (1+((z[:, None]-c)**2).sum(2)/dof)**(-(dof+1)/2)
    q /= q.sum(1, keepdims=True)
    np.testing.assert_allclose(student_t(torch.from_numpy(z), torch.from_numpy(c), dof), q, atol=1e-6)


def test_student_t_survives_extremes():
    z = torch.tensor([[1e18], [0.], [-1e18]], requires_grad=True)
    q = student_t_logits(z, torch.tensor([[0.], [1e3]])).log_softmax(1)
    q.sum().backward()
    assert torch.isfinite(q).all() and torch.isfinite(z.grad).all()


@pytest.mark.parametrize('tau', [.1, .5, 2.])
def test_nt_xent_against_a_float64_loop(tau):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 3))
    z = np.concatenate([a, b])
    z = z/np.linalg.norm(z, axis=1, keepdims=True)
    loss = 0.
    for i in range(10):
        others = sum(np.exp(z[i]@z[j]/tau) for j in range(10) if j!=i)
        loss -= np.log(np.exp(z[i]@z[(i+5)%10]/tau)/others)/10
    t = lambda v: torch.from_numpy(v).float()
    assert abs(nt_xent(t(a), t(b), tau).item()-loss)<1e-5
    assert abs(nt_xent(t(b), t(a), tau).item()-loss)<1e-5 and abs(nt_xent(3*t(a), t(b), tau).item()-loss)<1e-5


def test_nt_xent_limits():
    z = torch.eye(4)
    assert nt_xent(torch.ones(8, 2), torch.ones(8, 2)).item()==pytest.approx(np.log(15), abs=1e-5)
    assert nt_xent(z, z, .01).item()<1e-6 and nt_xent(z[:1], z[1:2]).item()==0
    assert nt_xent(z, z).item()<nt_xent(z, z.roll(1, 0)).item()
    with torch.autocast('cpu', torch.bfloat16): assert nt_xent(z, z.roll(1, 0)).item()==nt_xent(z, z.roll(1, 0)).item()
    x = torch.randn(3, 4, requires_grad=True)
    nt_xent(x, x.detach()+.1).backward()
    assert torch.isfinite(x.grad).all() and x.grad.abs().sum()>0


@pytest.mark.parametrize('dtype,tol', [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-5)])
def test_nt_xent_precision_and_gradient(dtype, tol):
    a, b = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    z = torch.cat([a, b]).double()
    z = z/z.norm(dim=1, keepdim=True)
    s = (z@z.T/.5)-torch.diag(torch.full((14,), torch.inf))
    want = (s.logsumexp(1)-s[torch.arange(14), torch.arange(14).roll(7)]).mean()
    assert abs(nt_xent(a, b).item()-want.item())<tol
    if dtype==torch.float64: assert torch.autograd.gradcheck(nt_xent, (a.requires_grad_(), b.requires_grad_()))


def test_without_processes_gathering_changes_nothing():
    a, b = torch.randn(2, 7, 4)
    assert gathered(a) is a and not summed(a.requires_grad_()).requires_grad
    assert torch.equal(nt_xent(a, b, gather=True), nt_xent(a, b))


def test_student_t_keeps_doubles_and_widens_halves():
    z, c = torch.randn(5, 3), torch.randn(2, 3)
    assert student_t(z.double(), c.double()).dtype==torch.float64 and student_t(z.bfloat16(), c).dtype==torch.float32
    assert torch.autograd.gradcheck(student_t, (z.double().requires_grad_(), c.double().requires_grad_()))
