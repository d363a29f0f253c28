"The autoencoder's pieces against independent references, and the estimator on vectors and images."
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_blobs

from deepclust.base import load_model
from deepclust.methods.autoencoder import (AutoencoderKMeans, CentersStage, PretrainStage, as_unit, center_and_scale, constant_loss,
                                           draw_seed, embed_all, index_batches, mask, on_images, pick_likelihood,
                                           reconstruction_loss, square_distances)

TINY = dict(n_clusters=3, embedding_dim=4, pretrain_epochs=8, batch_size=64, encoder='mlp-32-32', device='cpu', random_state=0)


def tiny(**kw): return AutoencoderKMeans(**{**TINY, **kw})


@pytest.fixture(scope='module')
def blobs(): return make_blobs(200, 6, centers=3, cluster_std=.6, random_state=0)


def test_reconstruction_loss_against_float64():
    rng = np.random.default_rng(0)
    x, a = rng.random((7, 5)), rng.normal(size=(7, 5))*3
    p = 1/(1+np.exp(-a))
    t = lambda v: torch.from_numpy(v).float()
    bce = -(x*np.log(p)+(1-x)*np.log(1-p)).sum(1).mean()
    assert abs(reconstruction_loss(t(x), t(a), 'bernoulli').item()-bce)<1e-5
    assert abs(reconstruction_loss(t(x), t(a), 'gaussian').item()-((x-a)**2).sum(1).mean())<1e-4
    assert torch.isfinite(reconstruction_loss(torch.ones(1, 2), torch.full((1, 2), -1e4), 'bernoulli'))


def test_images_and_vectors_have_one_loss():
    x, a = torch.rand(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    assert reconstruction_loss(x, a, 'bernoulli')==reconstruction_loss(x.flatten(1), a.flatten(1), 'bernoulli')


@pytest.mark.parametrize('likelihood,x,expected', [('auto', [[0., 1]], 'bernoulli'), ('auto', [[0., 1.1]], 'gaussian'),
                                                   ('auto', [[-.1, 1]], 'gaussian'), ('gaussian', [[0., 1]], 'gaussian')])
def test_likelihood_follows_the_range(likelihood, x, expected): assert pick_likelihood(likelihood, np.array(x))==expected


def test_batches_are_a_partition_of_nearly_equal_parts():
    for n, size in ((10, 3), (257, 256), (5, 100), (512, 256), (1, 1)):
        parts = list(index_batches(n, size, torch.Generator().manual_seed(0)))
        lengths = [len(p) for p in parts]
        assert sorted(torch.cat(parts).tolist())==list(range(n))
        assert len(parts)==-(-n//size) and max(lengths)<=size and max(lengths)-min(lengths)<=1
    a, b = (torch.cat(list(index_batches(50, 7, torch.Generator().manual_seed(s)))) for s in (0, 1))
    assert not torch.equal(a, b)


def test_square_distances_are_exact_far_from_the_origin():
    z, c = torch.tensor([[1000., 1000.]]), torch.tensor([[1000.5, 1000.]])
    assert square_distances(z, c).item()==.25


def test_center_and_scale_on_many_rows():
    x = np.random.default_rng(0).normal(5, 3, (9000, 4))*[1, 1, 1, 4]
    shift, scale = center_and_scale(x)
    np.testing.assert_allclose(np.asarray(shift), x.mean(0), rtol=1e-10)
    assert abs(scale-np.sqrt(x.var(0).mean()))<1e-9


def test_constant_loss_is_the_mean_prediction():
    rng = np.random.default_rng(0)
    x = rng.random((5000, 4))*[1, .5, .1, 1]
    m = x.mean(0)
    assert abs(constant_loss(torch.from_numpy(x), 'gaussian')-((x-m)**2).sum(1).mean())<1e-4
    assert abs(constant_loss(torch.from_numpy(x), 'bernoulli')+(x*np.log(m)+(1-x)*np.log(1-m)).sum(1).mean())<1e-4
    pixels = torch.randint(0, 256, (50, 1, 4, 4), dtype=torch.uint8)
    assert abs(constant_loss(pixels, 'gaussian')-constant_loss(pixels.flatten(1).float()/255, 'gaussian'))<1e-5
    assert constant_loss(torch.full((9, 3), .3), 'gaussian')==1 and np.isfinite(constant_loss(torch.ones(9, 3), 'bernoulli'))


def test_mask_hides_the_share_and_the_target_stays_whole(blobs):
    x = torch.rand(200, 50)+1
    hidden = mask(x, .3)==0
    assert abs(hidden.float().mean()-.3)<.02
    kept = mask(x, .3)
    assert torch.equal(kept[kept!=0], x[kept!=0]) and mask(x, 0) is x
    m = tiny(noise=1., pretrain_epochs=1).fit(blobs[0])    # nothing is seen: at best the mean is learnt
    assert m.history_['reconstruction'][0]>.9*6


def test_seeds_follow_the_generator():
    g = torch.Generator().manual_seed(3)
    a, b = draw_seed(g), draw_seed(g)
    assert a!=b and draw_seed(torch.Generator().manual_seed(3))==a


def test_as_unit():
    assert as_unit(torch.tensor([0, 255], dtype=torch.uint8)).tolist()==[0, 1]
    assert as_unit(torch.tensor([-3.], dtype=torch.float64)).dtype==torch.float32


def test_which_networks_see_images():
    conv, flat = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)), torch.nn.Linear(2, 2)
    assert [on_images(e) for e in (None, 'mlp', 'mlp-8', flat, 'vgg-2', 'resnet', conv)]==[False]*4+[True]*3


def test_training_lowers_the_loss_and_finds_blobs(blobs):
    X, y = blobs
    m = tiny(pretrain_epochs=40).fit(X)
    loss = m.history_['reconstruction']
    assert loss[-1]<.5*loss[0] and loss[0]<2*6 # scaled data start at about d
    from deepclust.metrics import cluster_accuracy
    assert cluster_accuracy(y, m.labels_)>.95
    assert m.cluster_centers_.shape==(3, 4)
    z = m.transform(X)
    means = np.stack([z[m.labels_==j].mean(0) for j in range(3)])
    np.testing.assert_allclose(means, m.cluster_centers_, atol=1e-3)
    d = ((z[:, None]-m.cluster_centers_)**2).sum(2)
    assert np.array_equal(d.argmin(1), m.labels_)
    v = d.min(1).sum()/z.size
    q = np.exp(-d/(2*v))
    np.testing.assert_allclose(m.predict_proba(X), q/q.sum(1, keepdims=True), atol=1e-3)


def test_reconstruction_comes_in_the_units_of_the_data(blobs):
    X = blobs[0]*100+np.array([0, 1e4, 0, -500, 0, 7])
    m = tiny(pretrain_epochs=60).fit(X)
    back = m.reconstruct(X)
    assert back.shape==X.shape and ((back-X)**2).sum()<.3*((X-X.mean(0))**2).sum()
    np.testing.assert_allclose(m.inverse_transform(m.transform(X[:5])), back[:5], rtol=1e-5)
    for bad in (np.zeros(4), np.zeros((2, 5))):
        with pytest.raises(ValueError, match='Z has shape'): m.inverse_transform(bad)


def test_own_activation_and_scale_follow_the_data(pictures):
    x = pictures[0]
    m = tiny(pretrain_epochs=2).fit(x)
    assert m.reconstruct(x[:3]).shape==(3, 3, 16, 16)
    with pytest.raises(ValueError, match='needs values in 0..1'): tiny(likelihood='bernoulli').fit(np.arange(40.).reshape(20, 2))
    with pytest.raises(ValueError, match='likelihood'): tiny(likelihood='poisson').fit(x)


def test_units_do_not_matter(blobs):
    X = blobs[0]
    a = tiny().fit(X)
    for c in (8., 1000., 1e-3): assert np.array_equal(tiny().fit(X*c).labels_, a.labels_), c
    np.testing.assert_allclose(tiny().fit(X*8).transform(X*8), a.transform(X), atol=1e-5)


@pytest.mark.parametrize('encoder', ['vgg-2', 'conv'])
def test_convolutions_end_to_end(encoder, pictures, tmp_path):
    x, y = pictures
    make = lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2), torch.nn.ReLU(), torch.nn.Flatten())
    m = tiny(encoder=make() if encoder=='conv' else encoder, likelihood='auto', pretrain_epochs=15).fit(x)
    from deepclust.metrics import cluster_accuracy
    assert cluster_accuracy(y, m.labels_)>.95 and m.likelihood_=='bernoulli'
    assert np.array_equal(m.fit(x.astype(np.float32)/255).labels_, m.fit(x).labels_)
    back = m.reconstruct(x[:4])
    assert back.shape==(4, 3, 16, 16) and back.min()>=0 and back.max()<=1
    m.save(tmp_path)
    again = load_model(AutoencoderKMeans, tmp_path, encoder=make if encoder=='conv' else None)
    assert np.array_equal(again.predict(x), m.labels_) and np.array_equal(again.reconstruct(x[:4]), back)
    with pytest.raises(ValueError, match='takes images'): tiny(encoder='vgg-2').fit(np.zeros((20, 6)))


def test_save_and_load_keep_centres_and_decoder(blobs, tmp_path):
    m = tiny().fit(blobs[0])
    m.save(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        again = load_model(AutoencoderKMeans, tmp_path)
        assert np.array_equal(again.predict_proba(blobs[0]), m.predict_proba(blobs[0]))
        assert np.array_equal(again.reconstruct(blobs[0]), m.reconstruct(blobs[0]))
    assert np.array_equal(again.cluster_centers_, m.cluster_centers_)


def test_interrupted_equals_uninterrupted(blobs, tmp_path):
    whole, n = tiny().fit(blobs[0]), 0
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            m = tiny().fit(blobs[0], checkpoint=tmp_path, resume=True, time_budget_s=0)
        n += 1
        if m.finished_: break
    assert n>20 and np.array_equal(m.labels_, whole.labels_)
    assert all(torch.equal(a, b) for a, b in zip(m.net_.state_dict().values(), whole.net_.state_dict().values()))
    assert [r['reconstruction'] for r in m.history_.rows]==[r['reconstruction'] for r in whole.history_.rows]


def test_n_init_keeps_the_lowest_criterion(blobs):
    m = tiny(n_init=3, pretrain_epochs=2).fit(blobs[0])
    z = m.transform(blobs[0])
    within = ((z-m.cluster_centers_[m.labels_])**2).sum()
    assert abs(m.criterion_-within/((z-z.mean(0))**2).sum())<1e-4
    singles = []
    keep = AutoencoderKMeans._criterion
    class Spy(AutoencoderKMeans):
        def _criterion(self, x):
            singles.append(keep(self, x))
            return singles[-1]
    spy = Spy(**{**TINY, 'n_init': 3, 'pretrain_epochs': 2}).fit(blobs[0])
    assert len(singles)==3 and len(set(singles))==3 and spy.criterion_==min(singles)==m.criterion_


def test_pretraining_stage_alone_can_be_used_by_others(blobs):
    "What a method built on this one relies on: mu's width, logits from _decode, stages that need no more than the estimator"
    m = tiny(pretrain_epochs=1).fit(blobs[0])
    assert m.net_['mu'].in_features==32 and m._decode(torch.zeros(2, 4)).shape==(2, 6)
    assert isinstance(m._stages(torch.zeros(5, 6))[0], PretrainStage) and isinstance(m._stages(torch.zeros(5, 6))[1], CentersStage)
    x = torch.randn(10, 6)
    m.net_.train()
    z = embed_all(m, x, block=3)
    assert m.net_.training and not z.requires_grad and torch.allclose(z, embed_all(m, x), atol=1e-6)


@pytest.mark.filterwarnings('ignore')
def test_degenerate_data():
    for X in (np.zeros((20, 3)), np.full((20, 3), 7.), np.repeat([[0., 1, 2], [3, 4, 5]], 10, axis=0)):
        m = tiny(n_clusters=2, pretrain_epochs=2).fit(X)
        assert np.isfinite(m.predict_proba(X)).all() and np.isfinite(m.reconstruct(X)).all()
    m = tiny(n_clusters=1).fit(load_digits().data[:30])
    assert (m.labels_==0).all() and m.reconstruct(load_digits().data[:30]).shape==(30, 64)


def test_training_sees_changed_images_and_nothing_else_does():
    x = load_digits().images[:60]/16
    big = torch.nn.functional.interpolate(torch.from_numpy(x).float()[:,None], 16).numpy()
    for kw in ({}, {'encoder':'vgg-2'}):
        plain,auto,gentle = (tiny(recipe=r, pretrain_epochs=2, **kw).fit(big) for r in (None,'auto','gentle'))
        assert np.array_equal(auto.transform(big), gentle.transform(big)) and not np.allclose(auto.transform(big), plain.transform(big))
        assert np.array_equal(auto.transform(big), auto.transform(big))
    for data in (x[:,None], x.reshape(60,-1), 3*big-1): # small, vectors, out of 0..1
        with warnings.catch_warnings():
            warnings.simplefilter('ignore'); a,b = (tiny(recipe=r, pretrain_epochs=2).fit(data) for r in (None,'auto'))
        assert np.array_equal(a.transform(data), b.transform(data))
    with pytest.raises(ValueError, match='changes images'): tiny(recipe='gentle').fit(x.reshape(60,-1))


def test_scaled_pixels_are_changed_as_pixels():
    "Centred and scaled values go back to 0..1, are moved there, and return"
    rng = np.random.default_rng(0); x = rng.random((40,1,16,16)).astype(np.float32)
    m = tiny(likelihood='gaussian', recipe='gentle', pretrain_epochs=1).fit(x)
    flat = torch.from_numpy(x).flatten(1); scaled = ((flat-m.shift_)/m.scale_).float()
    from deepclust.augment import training_ops
    torch.manual_seed(3); want = training_ops('gentle', (1,16,16))(torch.from_numpy(x)).flatten(1)
    torch.manual_seed(3); got = m._looks()(scaled)*m.scale_+m.shift_
    np.testing.assert_allclose(got, want, atol=1e-5)
