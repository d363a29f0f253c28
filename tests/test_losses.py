"Shared losses against independent float64 references, their gradients, and their behaviour at the edges"
import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax, xlogy

from deepclust.losses import kl_div, kl_div_log, kl_to_prior, negative_entropy, target_distribution


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
