"The contrastive autoencoder (its loss is tested with the other losses)."
import warnings

import numpy as np
import pytest
import torch

from deepclust.base import load_model
from deepclust.methods.contrastive_ae import ContrastiveAutoencoder
from deepclust.methods.dcgmm import DCGMM

TINY = dict(n_clusters=3, embedding_dim=4, epochs=4, batch_size=32, projection=16, encoder='vgg-2', device='cpu', random_state=0)
pytestmark = pytest.mark.filterwarnings('ignore::deepclust.core.CollapseWarning')


def tiny(**kw): return ContrastiveAutoencoder(**{**TINY, **kw})


@pytest.fixture(scope='module')
def fitted(pictures): return tiny().fit(pictures[0])


def test_fit(pictures, fitted):
    X, y = pictures
    assert np.array_equal(fitted.predict(X), fitted.labels_) and fitted.transform(X).shape==(90, 4)
    assert fitted.reconstruct(X[:3]).shape==(3, 3, 16, 16)
    h = fitted.history_
    assert set(h['weight_reconstruction'])=={1e-3} and set(h['weight_contrastive'])=={1.} and h['contrastive'][-1]<h['contrastive'][0]
    assert np.array_equal(tiny().fit(X).labels_, fitted.labels_)


def test_each_loss_alone(pictures):
    a = tiny(loss_weights={'reconstruction': 0}).fit(pictures[0])
    b = tiny(reconstruction=0.).fit(pictures[0])
    assert np.array_equal(a.labels_, b.labels_)
    c = tiny(loss_weights={'contrastive': 0}).fit(pictures[0])
    assert c.history_['reconstruction'][-1]<a.history_['reconstruction'][-1]


@pytest.mark.parametrize('kw', [dict(encoder='mlp-32'), dict(encoder='vgg-7', epochs=1), dict(recipe='crop'), dict(recipe='simclr-1'),
                                dict(n_init=2)])
def test_networks_and_recipes(pictures, kw):
    m = tiny(**{**dict(epochs=2), **kw}).fit(pictures[0])
    assert m.labels_.shape==(90,) and m.history_.rows[-1]['skipped']==0


def test_interrupted_is_uninterrupted(pictures, fitted, tmp_path):
    X = pictures[0]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for _ in range(100):
            m = tiny().fit(X, checkpoint=tmp_path/'run', resume=True, time_budget_s=0.)
            if m.finished_: break
    assert m.finished_ and np.array_equal(m.labels_, fitted.labels_)
    assert all(torch.equal(u, v) for u, v in zip(m.net_.state_dict().values(), fitted.net_.state_dict().values()))


def test_save_and_load(pictures, fitted, tmp_path):
    again = load_model(ContrastiveAutoencoder, fitted.save(tmp_path/'m'))
    assert np.array_equal(again.predict(pictures[0]), fitted.labels_)


@pytest.mark.parametrize('saved', [False, True])
def test_dcgmm_trains_from_it(pictures, fitted, tmp_path, saved):
    init = fitted.save(tmp_path/'m') if saved else fitted
    kw = dict(embedding_dim=4, encoder='vgg-2', device='cpu', random_state=0, batch_size=32)
    m = DCGMM(3, init=init, epochs=0, rescale=None, **kw).fit(pictures[0])
    np.testing.assert_array_equal(m.transform(pictures[0]), fitted.transform(pictures[0]))
    m = DCGMM(3, init=init, epochs=3, constraints='augment', **kw).fit(pictures[0])
    assert all(np.isfinite(m.history_[c][-1]) for c in m._losses if c!='contrastive') and m.history_.rows[-1]['skipped']==0
    with pytest.raises(ValueError, match='another autoencoder'): DCGMM(3, init=init, **{**kw, 'encoder': 'vgg-6'}).fit(pictures[0])


def test_misuse(pictures):
    X = pictures[0]
    with pytest.raises(ValueError, match='takes images'): tiny().fit(X.reshape(90, -1))
    with pytest.raises(ValueError, match='16 x 12'): tiny().fit(X[..., :12])
    for kw, says in ((dict(temperature=0.), 'temperature'), (dict(projection=0), 'projection'),
                     (dict(reconstruction=-1.), 'reconstruction'), (dict(recipe='nope'), 'recipe'),
                     (dict(loss_weights={'xent': 1}), 'contrastive')):
        with pytest.raises(ValueError, match=says): tiny(**kw).fit(X)
