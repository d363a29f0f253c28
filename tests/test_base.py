"The base class where methods differ: images, scales, supervision"
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from deepclust.base import DeepClusterer,as_input
from deepclust.core import CheckpointError
from deepclust.data import Data,load
from deepclust.train import Stage,make_optimizer

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
