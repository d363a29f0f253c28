"Networks: layouts, sizes, and an encoder check that leaves no trace"
import pytest
import torch
from torch import nn

from deepclust.nets import ACTIVATIONS, autoencoder, count_params, head, mlp, output_dim, pick_encoder


def kinds(net): return [type(layer).__name__ for layer in net]


def test_layout():
    hidden = ['Linear', 'BatchNorm1d', 'ReLU', 'Dropout']
    assert kinds(mlp((4, 3, 3, 2), norm='batch', dropout=.5)) == hidden * 2 + ['Linear']
    assert kinds(mlp((4, 3, 2), norm='batch', dropout=.5, last_act=True)) == hidden * 2
    assert kinds(mlp((4, 3, 2), act='leaky_relu')) == ['Linear', 'LeakyReLU', 'Linear']
    assert kinds(mlp((4, 2))) == ['Linear']


def test_bias_only_where_it_has_an_effect():
    net = mlp((4, 3, 2), norm='batch')
    assert net[0].bias is None and net[-1].bias is not None
    assert mlp((4, 2), norm='batch')[0].bias is not None


@pytest.mark.parametrize('act', list(ACTIVATIONS))
def test_every_activation_trains(act):
    net = mlp((5, 4, 3), act=act)
    net(torch.randn(6, 5)).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_initialisation_is_torchs_own():
    torch.manual_seed(3); net = mlp((7, 6, 5))
    torch.manual_seed(3); want = nn.Sequential(nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 5))
    for a, b in zip(net.parameters(), want.parameters()): assert torch.equal(a, b)


@pytest.mark.parametrize('bad', [
    dict(sizes=(3,)), dict(sizes=(3, 0)), dict(sizes=(3, 2), act='x'), dict(sizes=(3, 2), norm='layer'), dict(sizes=(3, 2), dropout=1.5)])
def test_mlp_refuses(bad):
    with pytest.raises(ValueError): mlp(**bad)


def test_autoencoder_mirrors():
    encoder, decoder = autoencoder(20, (16, 8, 12), 3)
    sizes = [(m.in_features, m.out_features) for m in encoder if isinstance(m, nn.Linear)]
    assert sizes == [(20, 16), (16, 8), (8, 12), (12, 3)]
    assert [(m.out_features, m.in_features) for m in decoder if isinstance(m, nn.Linear)][::-1] == sizes
    assert decoder(encoder(torch.randn(4, 20))).shape == (4, 20)


def test_count_ignores_frozen_and_buffers():
    net = mlp((4, 3, 2), norm='batch')
    assert count_params(net) == 4 * 3 + 2 * 3 + 4 * 2
    net[0].weight.requires_grad_(False)
    assert count_params(net) == 2 * 3 + 4 * 2


def test_head_gives_logits():
    z = head(6, 4)(torch.randn(100, 6))
    assert z.shape == (100, 4) and z.min() < 0


@pytest.mark.parametrize('encoder,shape,widths', [
    (None, (64,), [64, 256, 256, 512, 7]), (None, (256,), [256, 500, 500, 2000, 7]), (None, (3, 32, 32), [3072, 500, 500, 2000, 7]),
    ('mlp', (64,), [64, 256, 256, 512, 7]), ('mlp-9', (64,), [64, 9, 7]), ('mlp-9-8', (1, 4, 4), [16, 9, 8, 7])])
def test_pick_by_name_and_shape(encoder, shape, widths):
    net = pick_encoder(encoder, shape, 7)
    linear = [m for m in net if isinstance(m, nn.Linear)]
    assert [linear[0].in_features] + [m.out_features for m in linear] == widths
    assert net(torch.zeros(3, *shape)).shape == (3, 7)


def test_hidden_overrides_the_shape_but_not_the_name():
    assert pick_encoder(None, (64,), 5, hidden=(11,))[0].out_features == 11
    assert pick_encoder('mlp-9', (64,), 5, hidden=(11,))[0].out_features == 9


@pytest.mark.parametrize('name', ['MLP', 'mlp-', 'mlp-0', 'mlp-64-', 'resnet', 3, nn.Linear])
def test_pick_refuses_unknown(name):
    with pytest.raises(ValueError, match='nn.Module'): pick_encoder(name, (4,))


class Pair(nn.Module):
    def forward(self, x): return x, x


class NeedsTwo(nn.Module):
    def forward(self, x, y): return x


@pytest.mark.parametrize('net,shape', [(Pair(), (4,)), (NeedsTwo(), (4,)), (nn.Linear(5, 2), (4,)), (nn.Identity(), (3, 4))])
def test_unfit_modules_are_refused(net, shape):
    with pytest.raises(ValueError, match=type(net).__name__): pick_encoder(net, shape)


def test_the_check_leaves_no_trace():
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(.5), nn.Linear(3, 2))
    net[1].eval()                                   # the user's choice: frozen statistics
    before = {name: v.clone() for name, v in net.state_dict().items()}
    rng = torch.get_rng_state()
    mine = pick_encoder(net, (4,))
    assert output_dim(net, (4,)) == 2
    assert torch.equal(rng, torch.get_rng_state())
    for made in (net, mine):
        assert [m.training for m in made] == [True, False, True, True]
        assert all(torch.equal(v, before[name]) for name, v in made.state_dict().items())
    with torch.no_grad(): mine[0].weight.zero_()
    assert torch.equal(net[0].weight, before['0.weight'])


def test_double_precision_and_lazy_modules():
    assert output_dim(nn.Linear(4, 2).double(), (4,)) == 2
    net = pick_encoder(nn.Sequential(nn.Flatten(), nn.LazyLinear(6)), (1, 3, 3))
    assert output_dim(net, (1, 3, 3)) == 6 and net[1].in_features == 9
