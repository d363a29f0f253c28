"Features of pretrained networks: the hub's folder, downloads that fail, preparation, extraction. No network is needed, nor used."
import socket
import threading
import time
import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from deepclust import data, features
from deepclust.core import CheckpointError
from deepclust.features import (ENCODERS, FrozenEncoder, NoWeights, cached_weights, encoder_names, extract_features, fetch_weights,
                                hub_file, load_encoder, unreachable, without_classifier)

R18 = models.get_model_weights('resnet18').DEFAULT


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    "A hub folder of our own, and no way to the outside"
    monkeypatch.setenv('TORCH_HOME', str(tmp_path/'hub'))
    def refuse(*a, **kw): raise urllib.error.URLError('no network')
    monkeypatch.setattr(features, 'urlopen', refuse)
    return tmp_path/'hub'


@pytest.fixture(scope='module')
def state():
    torch.manual_seed(0)
    return models.resnet18().state_dict()


@pytest.fixture
def cached(hub, state):
    "Random weights where the hub would keep those of resnet18"
    file = hub_file(R18)
    file.parent.mkdir(parents=True)
    torch.save(state, file)
    return file


def test_the_file_is_where_torch_looks(hub, cached, state):
    assert cached.parent==hub/'hub'/'checkpoints' and cached.name==R18.url.rsplit('/', 1)[1]
    again = R18.get_state_dict(progress=False, weights_only=True)     # torchvision's own way finds it too
    assert all(torch.equal(again[k], v) for k, v in state.items())


def test_auto_takes_what_is_here(cached):
    assert cached_weights()==('resnet18', R18)
    net = load_encoder('auto')
    assert (net.name, net.weights, net.side)==('resnet18', R18.name, 256)
    first = hub_file(models.get_model_weights('resnet50').IMAGENET1K_V1)
    first.write_bytes(b'')
    assert cached_weights()[1].name=='IMAGENET1K_V1'                  # an earlier place in the order, an older version
    assert cached_weights(('vgg16',)) is None


def test_the_loaded_network_is_the_network(cached, state):
    net = models.resnet18()
    net.load_state_dict(state)
    net.fc = nn.Identity()
    x = torch.randint(0, 256, (2, 3, 50, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    enc = load_encoder('resnet18')
    assert isinstance(enc, FrozenEncoder) and not enc.training and not enc.train().training and not enc.net.training
    assert not any(p.requires_grad for p in enc.parameters())
    with torch.no_grad():
        torch.testing.assert_close(enc(x), net.eval()(R18.transforms()(x)))
        torch.testing.assert_close(enc(x.float()/255), enc(x), atol=2e-2, rtol=0)     # resized before or after rounding
        torch.testing.assert_close(enc(torch.cat([x, x[:, :1]], 1)), enc(x))          # alpha is dropped


@pytest.mark.parametrize('ending', ['.pt', '.safetensors'])
def test_weights_from_a_file_of_ones_own(tmp_path, ending):
    torch.manual_seed(0)
    net, file = models.resnet18(), tmp_path/f'mine{ending}'
    (torch.save if ending=='.pt' else save_file)(net.state_dict(), file)
    enc, x = load_encoder('resnet18', file), torch.rand(2, 3, 64, 64)
    net.fc = torch.nn.Identity()
    with torch.no_grad(): torch.testing.assert_close(enc(x), net.eval()(R18.transforms()(x)))
    assert (enc.name, enc.weights)==('resnet18', file.name) and not any(p.requires_grad for p in enc.parameters())
    with pytest.raises(FileNotFoundError, match='state_dict'): load_encoder('resnet18', str(tmp_path/f'none{ending}'))
    with pytest.raises(ValueError, match='of which network'): load_encoder('auto', file)


def test_no_weights_fails_at_once():
    t = time.monotonic()
    with pytest.raises(NoWeights, match='cannot be fetched from download.pytorch.org .no network') as e: load_encoder('auto')
    assert time.monotonic()-t<10 and 'ResNet50' in str(e.value) and isinstance(e.value, OSError)
    with pytest.raises(NoWeights, match='VGG16'): load_encoder('vgg16')


def test_a_server_that_never_answers(monkeypatch):
    hang = threading.Event()
    monkeypatch.setattr(features, 'urlopen', lambda *a, **kw: hang.wait(30))
    t = time.monotonic()
    assert unreachable('https://example.org/x', .2)=='no answer within 0.2 s' and time.monotonic()-t<5
    hang.set()


def test_a_download_that_breaks(monkeypatch):
    monkeypatch.setattr(features, 'unreachable', lambda url, s: None)
    seen = []
    def broken(self, **kw):
        seen.append((socket.getdefaulttimeout(), kw['check_hash'], kw['weights_only']))
        raise TimeoutError('timed out')
    monkeypatch.setattr(type(R18), 'get_state_dict', broken)
    before = socket.getdefaulttimeout()
    with pytest.raises(NoWeights, match='download of ResNet18_Weights.IMAGENET1K_V1 .* failed .timed out'): fetch_weights(R18, 3.)
    assert seen==[(3., True, True)] and socket.getdefaulttimeout()==before


def test_a_damaged_file(cached):
    cached.write_bytes(cached.read_bytes()[:5000])
    with pytest.raises(NoWeights, match='damaged; delete it'): load_encoder('resnet18')


def test_files_of_ones_own_that_are_no_weights_of_this_network(tmp_path, state):
    good, here = tmp_path/'good.pt', lambda name: tmp_path/name
    torch.save(state, good)
    here('cut.pt').write_bytes(good.read_bytes()[:5000]); here('empty.pt').write_bytes(b''); here('text.pt').write_text('hello, no weights')
    here('cut.safetensors').write_bytes(b'123'); torch.save(nn.Linear(2, 2), here('net.pt'))
    for f in ('cut.pt', 'empty.pt', 'text.pt', 'cut.safetensors', 'net.pt'):
        says = f'{f} cannot be read .*: it is damaged, or holds more than weights'
        with pytest.raises(CheckpointError, match=says): load_encoder('resnet18', here(f))
    for i, other in enumerate([dict(epoch=3, model=state), [1, 2], {}]):
        torch.save(other, here(f'{i}.pt'))
        with pytest.raises(CheckpointError, match='holds no state dict'): load_encoder('resnet18', here(f'{i}.pt'))
    torch.save(nn.Linear(2, 2).state_dict(), here('other.pt'))
    says = "^the weights other.pt are not those of resnet18: 124 of 124 tensors are missing, .*, such as 'conv1.weight'; pass the name"
    with pytest.raises(CheckpointError, match=says): load_encoder('resnet18', here('other.pt'))


def test_names():
    names = encoder_names()
    assert set(ENCODERS)<=set(names) and 'inception_v3' not in names
    with pytest.raises(ValueError, match="did you mean 'resnet18'"): load_encoder('resnet-18')
    with pytest.raises(ValueError, match='IMAGENET1K_V1'): load_encoder('resnet18', 'IMAGENET1K_V9')
    with pytest.raises(ValueError, match='timeout_s'): load_encoder('resnet18', timeout_s=0)


@pytest.mark.parametrize('name, d', [('resnet18', 512), ('mobilenet_v3_small', 1024), ('efficientnet_b0', 1280), ('densenet121', 1024),
                                     ('regnet_y_400mf', 440), ('shufflenet_v2_x0_5', 1024), ('alexnet', 4096)])
def test_without_classifier(name, d):
    net = without_classifier(models.get_model(name).eval())
    with torch.no_grad(): assert net(torch.rand(2, 3, 64, 64)).shape==(2, d)


def test_vgg_is_averaged_and_a_network_without_linear_layer_refused():
    class VGG(nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.classifier = nn.Conv2d(3, 5, 3), nn.Linear(5, 10)
    net = VGG()
    x = torch.rand(2, 3, 9, 9)
    torch.testing.assert_close(without_classifier(net)(x), net.features(x).mean((2, 3)))
    with pytest.raises(ValueError, match='no linear layer'): without_classifier(nn.Sequential(nn.Conv2d(3, 5, 3)))


class Mean(nn.Module):
    "Mean colour, and what it was given"
    def __init__(self):
        super().__init__()
        self.seen, self.w = [], nn.Parameter(torch.ones(()))
    def forward(self, x):
        self.seen.append((tuple(x.shape), x.dtype, self.training))
        return x.float().mean((2, 3))*self.w


def test_extract_in_batches():
    x = torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8)
    net, done = Mean(), []
    z = extract_features(x, net, batch_size=3, device='cpu', progress=done.append)
    np.testing.assert_allclose(z, (x/255.).mean((2, 3)), atol=1e-6)
    assert z.dtype==np.float32 and done==[3, 6, 7] and net.training and not any(t for _, _, t in net.seen)
    assert [s[0] for s, _, _ in net.seen]==[3, 3, 1] and {d for _, d, _ in net.seen}=={torch.float32}
    assert not torch.from_numpy(z).requires_grad


def test_files_are_read_again_at_the_size_of_the_network(tmp_path):
    (tmp_path/'p').mkdir()
    for i in range(5): Image.new('RGB', (120+i, 90), (40*i, 10, 200)).save(tmp_path/'p'/f'{i}.png')
    d = data.as_data(tmp_path/'p', image_size=16)
    net = Mean()
    enc = FrozenEncoder(net, lambda x: x, 'mean')
    enc.side = 40
    z = extract_features(d, enc, batch_size=2, device='cpu')
    assert [s for s, _, _ in net.seen]==[(2, 3, 40, 40), (2, 3, 40, 40), (1, 3, 40, 40)]
    np.testing.assert_allclose(z, [[40*i, 10, 200] for i in range(5)], atol=1)
    net.seen.clear()
    extract_features(d.x, enc, device='cpu')                            # an array has no originals
    assert net.seen[0][0]==(5, 3, 16, 16)


def test_grey_and_mixed_files(tmp_path):
    (tmp_path/'p').mkdir()
    for i, mode in enumerate(['L', 'L', 'RGB']): Image.new(mode, (30, 30), 100 if mode=='L' else (0, 50, 100)).save(tmp_path/'p'/f'{i}.png')
    enc = FrozenEncoder(Mean(), lambda x: x)
    z = extract_features(tmp_path/'p', enc, batch_size=2, device='cpu')  # the first batch is grey, the second is not
    np.testing.assert_allclose(z, [[100]*3, [100]*3, [0, 50, 100]], atol=1)


@pytest.mark.filterwarnings('ignore:float images run')
def test_bad_input(cached):
    with pytest.raises(ValueError, match='not images'): extract_features(np.zeros((4, 3)), 'resnet18')
    with pytest.raises(ValueError, match='batch_size'): extract_features(np.zeros((4, 8, 8), np.uint8), Mean(), batch_size=0)
    with pytest.raises(ValueError, match='tpu'): extract_features(np.zeros((4, 8, 8), np.uint8), Mean(), device='tpu')
    for x in (np.full((4, 8, 8), 200.5), np.full((4, 8, 8), -.5, np.float32)):
        with pytest.raises(ValueError, match='must lie in 0..1.*divide by 255'): extract_features(x, Mean(), device='cpu')
    assert np.allclose(extract_features(np.full((4, 3, 8, 8), .5), Mean(), device='cpu'), .5)
