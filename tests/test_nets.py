"Networks: layouts, sizes, costs, mirrors, and an encoder check that leaves no trace"
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deepclust.nets import (ACTIVATIONS, CONV_STACKS, IMAGE_ENCODERS, autoencoder, conv_autoencoder, count_params, flops_per_image,
                            head, linear_head, mlp, output_dim, pick_autoencoder, pick_encoder, resnet, rotation_head, vgg)

AUTOENCODERS = (*CONV_STACKS, 'resnet')


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
    (None, (64,), [64, 256, 256, 512, 7]), (None, (256,), [256, 500, 500, 2000, 7]), ('mlp', (3, 32, 32), [3072, 500, 500, 2000, 7]),
    (None, (28, 28), [784, 500, 500, 2000, 7]),
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


# ---- networks for images

def test_import_is_light():
    code = "import sys, deepclust.nets; sys.exit(any(m.split('.')[0] in ('torchvision', 'sympy') for m in sys.modules))"
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


@pytest.mark.parametrize('name', IMAGE_ENCODERS)
@pytest.mark.parametrize('shape', [(1, 8, 8), (3, 9, 30)])
def test_image_encoders_take_any_size(name, shape):
    net = pick_encoder(name, shape, e=3)
    z = net(torch.rand(4, *shape))
    assert z.shape == (4, 256 if name == 'vgg' else 512) and z.std(0).mean() > 0
    assert output_dim(net, shape) == z.shape[1]


@pytest.mark.parametrize('shape,name', [((1, 8, 8), 'vgg'), ((1, 32, 20), 'vgg'), ((1, 33, 20), 'resnet18-pool'),
                                        ((2, 16, 16), 'resnet18-pool'), ((3, 32, 32), 'resnet18-pool')])
def test_default_by_size_and_channels(shape, name):
    layout = lambda net: [(type(m).__name__, getattr(m, 'stride', None)) for m in net.modules()]
    assert layout(pick_encoder(None, shape)) == layout(pick_encoder(name, shape))


def test_vgg_is_that_of_mmdc():
    net = vgg(1)
    assert kinds(net) == ['Centre'] + ['Conv2d', 'BatchNorm2d', 'ReLU', 'MaxPool2d'] * 4 + ['AdaptiveAvgPool2d', 'Flatten']
    assert [m.out_channels for m in net if isinstance(m, nn.Conv2d)] == [32, 64, 128, 256]
    assert kinds(vgg(1, (4, 8), size=(8, 64))).count('MaxPool2d') == 2


@pytest.mark.parametrize('stem,side', [('cifar', 32), ('cifar-pool', 17), ('imagenet', 8)])
def test_stems(stem, side):
    for c in (1, 3):
        body = resnet('resnet18', c, stem)[1]
        assert body.maxpool(body.conv1(torch.rand(1, c, 32, 32))).shape == (1, 64, side, side)


def test_resnet_is_torchvisions():
    from torchvision.models import resnet34
    torch.manual_seed(0); net = resnet('resnet34', stem='imagenet').eval()
    torch.manual_seed(0); ref = resnet34(num_classes=1).eval()
    ref.fc = nn.Identity()
    x = torch.rand(2, 3, 40, 40)
    with torch.no_grad(): torch.testing.assert_close(net(x), ref((x - .5) / .25))


def test_new_stem_starts_like_torchvisions():
    torch.manual_seed(0)
    w = resnet('resnet18', 1, 'cifar')[1].conv1.weight
    assert w.shape == (64, 1, 3, 3) and abs(w.std().item() * (9 * 64 / 2) ** .5 - 1) < .15     # He, by fan out


@pytest.mark.parametrize('name,gflop', [('resnet18', 3.33), ('resnet18-pool', 1.29), ('resnet34', 6.95)])
def test_three_forward_passes_are_a_training_step(name, gflop):
    net = pick_encoder(name, (3, 32, 32))
    with FlopCounterMode(display=False) as counter: net(torch.rand(2, 3, 32, 32)).sum().backward()
    per_image = counter.get_total_flops() / 2 / 1e9
    assert abs(per_image - gflop) < .01
    assert abs(3 * flops_per_image(net, (3, 32, 32)) / 1e9 / per_image - 1) < .01


def test_counting_leaves_no_trace():
    net = vgg(1).train()
    net[2].eval()
    modes, before = [m.training for m in net], {name: v.clone() for name, v in net.state_dict().items()}
    flops_per_image(net, (1, 16, 16))
    assert modes == [m.training for m in net] and all(torch.equal(v, before[name]) for name, v in net.state_dict().items())
    with pytest.raises(RuntimeError): flops_per_image(net, (3, 16, 16))
    assert modes == [m.training for m in net]


def test_linear_heads_are_linear():
    assert linear_head(6, 3).weight.shape == (3, 6) and rotation_head(6).weight.shape == (4, 6)


@pytest.mark.parametrize('name', AUTOENCODERS)
@pytest.mark.parametrize('size', [(8, 8), (9, 8), (10, 15), (11, 12), (17, 31), (28, 28)])
def test_conv_autoencoder_comes_back_to_size(name, size):
    shape = (2, *size)
    trunk, width, decoder = conv_autoencoder(name, shape, 5)
    h = trunk(torch.rand(3, *shape))
    x = decoder(nn.Linear(width, 5)(h))
    assert h.shape == (3, width) and h.min() >= 0 and x.shape == (3, *shape) and x.min() < 0
    x.square().sum().backward()
    assert all(p.grad is not None for net in (trunk, decoder) for p in net.parameters())


def test_conv_stacks_are_those_of_the_report():
    def layers(net): return [(m.out_channels, m.stride[0], m.padding[0]) for m in net if isinstance(m, nn.Conv2d)]
    six = [(32, 1, 1), (64, 1, 1), (128, 2, 0), (128, 1, 1), (256, 2, 0), (256, 1, 1)]
    nets = {name: conv_autoencoder(name, (3, 32, 32), 10) for name in CONV_STACKS}
    assert layers(nets['vgg-2'][0]) == [(32, 2, 0), (64, 2, 0)]
    assert layers(nets['vgg-6'][0]) == six and layers(nets['vgg-7'][0]) == [*six, (128, 1, 1)]
    assert [n[1] for n in nets.values()] == [64 * 49, 256 * 49, 128 * 49]
    for trunk, _, decoder in nets.values():
        back = [m for m in decoder if isinstance(m, nn.ConvTranspose2d)]
        assert [(m.in_channels, m.stride[0], m.padding[0]) for m in back[::-1]] == layers(trunk)
        assert kinds(decoder)[-1] == 'ConvTranspose2d' and kinds(trunk)[-2:] == ['ReLU', 'Flatten']


@pytest.mark.parametrize('name', AUTOENCODERS)
def test_conv_autoencoder_learns(name):
    torch.manual_seed(0)
    trunk, width, decoder = conv_autoencoder(name, (1, 9, 10), 8)
    net = nn.Sequential(trunk, nn.Linear(width, 8), decoder)
    x = (torch.rand(6, 1, 9, 10) > .5).float()
    loss = lambda: nn.functional.binary_cross_entropy_with_logits(net(x), x)
    optimiser, first = torch.optim.Adam(net.parameters(), 3e-3), loss().item()
    for _ in range(25): optimiser.zero_grad(); (now := loss()).backward(); optimiser.step()
    assert now.item() < .6 * first


@pytest.mark.parametrize('encoder,shape,widths', [
    (None, (64,), [64, 256, 256, 512]), (None, (1, 28, 28), [784, 500, 500, 2000]), ('mlp', (3, 8, 8), [192, 256, 256, 512]),
    ('mlp-9-8', (1, 4, 4), [16, 9, 8]), ('mlp-9-8', (5,), [5, 9, 8])])
def test_pick_autoencoder_mirrors_perceptrons(encoder, shape, widths):
    trunk, width, decoder = pick_autoencoder(encoder, shape, 3)
    def linear(net): return [(m.in_features, m.out_features) for m in net if isinstance(m, nn.Linear)]
    assert linear(trunk) == list(zip(widths, widths[1:])) and width == widths[-1]
    assert [(b, a) for a, b in linear(decoder)][::-1] == [*linear(trunk), (widths[-1], 3)]
    h = trunk(torch.randn(7, *shape))
    assert h.shape == (7, width) and h.min() == 0 and decoder(torch.randn(7, 3)).shape == (7, *shape)


def test_pick_autoencoder_hidden():
    assert pick_autoencoder(None, (64,), 5, hidden=(11, 12))[1] == 12
    assert pick_autoencoder('mlp-9', (64,), 5, hidden=(11,))[1] == 9


def test_pick_autoencoder_keeps_the_users_trunk():
    own = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten())
    trunk, width, decoder = pick_autoencoder(own, (1, 9, 9), 3, hidden=(6, 5))
    assert trunk is not own and width == 64 and torch.equal(trunk[0].weight, own[0].weight)
    assert [m.out_features for m in decoder if isinstance(m, nn.Linear)] == [5, 6, 81]
    assert decoder(torch.zeros(2, 3)).shape == (2, 1, 9, 9)
    with pytest.raises(ValueError, match='its forward must take'): pick_autoencoder(own, (3, 9, 9), 3)


@pytest.mark.parametrize('make,says', [
    (lambda: vgg(3, size=7), 'at least 8'), (lambda: vgg(3, size=(32, 4)), 'at least 8'), (lambda: vgg(0), 'shape=0'),
    (lambda: vgg(3, widths=(8, 0)), 'widths=0'), (lambda: resnet('resnet50'), 'resnet34'), (lambda: resnet(stem='pool'), 'cifar-pool'),
    (lambda: resnet(c=0), 'c=0'), (lambda: linear_head(4, 0), 'out=0'), (lambda: pick_encoder('resnet18', (64,)), r'images \(c, h, w\)'),
    (lambda: pick_encoder(None, (3, 32, 7)), 'at least 8'), (lambda: pick_encoder('vgg-6', (3, 32, 32)), "'resnet34-imagenet'"),
    (lambda: conv_autoencoder('vgg-8', (3, 32, 32)), "'vgg-7'"), (lambda: conv_autoencoder('vgg-2', (3, 32, 32), 0), 'e=0'),
    (lambda: pick_autoencoder('vgg-6', (64,)), r'images \(c, h, w\)'), (lambda: pick_autoencoder('resnet', (32, 32, 3)), 'at least 8'),
    (lambda: pick_autoencoder('resnet18', (3, 32, 32)), "'resnet', or"), (lambda: pick_autoencoder(3, (64,)), 'nn.Module')])
def test_refusals_name_what_exists(make, says):
    with pytest.raises(ValueError, match=says): make()


def fresh(name, shape):
    torch.manual_seed(0)
    if name in IMAGE_ENCODERS: return pick_encoder(name, shape), torch.rand(2, *shape)
    trunk, width, decoder = conv_autoencoder(name, shape, 4)
    return nn.Sequential(trunk, nn.Linear(width, 4), decoder), torch.rand(2, *shape)


@pytest.mark.parametrize('name', ['vgg', 'resnet18', 'resnet18-imagenet', *AUTOENCODERS])
def test_channels_last_is_the_same_network(name):
    net, x = fresh(name, (3, 12, 10))
    with torch.no_grad():
        want = net.eval()(x)
        got = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('name', ['vgg', 'resnet18-pool', 'vgg-7', 'resnet'])
def test_compiles_as_one_graph(name):
    torch._dynamo.reset()
    net, x = fresh(name, (3, 17, 16))
    x = torch.rand(8, 3, 17, 16)
    want = net(x).detach()
    net, _ = fresh(name, (3, 17, 16))
    got = torch.compile(net, backend='aot_eager', fullgraph=True)(x)
    got.sum().backward()
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)
    torch._dynamo.reset()


@pytest.mark.parametrize('name', ['vgg', 'resnet18-pool', *AUTOENCODERS])
def test_same_seed_same_network_and_state_comes_back(name):
    (a, x), (b, _) = fresh(name, (3, 8, 9)), fresh(name, (3, 8, 9))
    assert all(torch.equal(v, w) for v, w in zip(a.state_dict().values(), b.state_dict().values()))
    torch.manual_seed(1)
    for p in b.parameters(): nn.init.normal_(p)
    b.load_state_dict(a.state_dict())
    with torch.no_grad(): assert torch.equal(a.eval()(x), b.eval()(x))


def test_bfloat16_autocast():
    net, x = fresh('resnet18-pool', (3, 16, 16))
    with torch.autocast('cpu', dtype=torch.bfloat16): z = net(x)
    assert torch.isfinite(z.float()).all()
