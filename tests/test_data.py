"""Every format `deepclust.data` reads, written small and decoded independently; the real sets by their sha256 where they are present."""
import bz2
import gzip
import hashlib
import os
import pickle
import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from PIL import Image
from scipy.io import savemat
from torch.utils.data import Dataset, Subset, TensorDataset

from deepclust.data import Data, as_data, available, from_folder, load, partial_labels

needs_data = pytest.mark.skipif(not os.environ.get('DEEPCLUST_DATA'), reason='DEEPCLUST_DATA is unset')


@pytest.fixture
def rng(): return np.random.RandomState(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path_factory):
    "No test may download, nor see what an earlier download left in the home folder"
    def refuse(*args, **kwargs): raise OSError('no network in tests')
    monkeypatch.setattr('torchvision.datasets.utils._urlretrieve', refuse)
    monkeypatch.setenv('HOME', str(tmp_path_factory.mktemp('home')))


def pixels(rng, *shape): return rng.randint(0, 256, shape).astype(np.uint8)


def same(x, a): assert x.dtype==torch.from_numpy(a).dtype and torch.equal(x.cpu(), torch.from_numpy(a))


# ---------------------------------------------------------------- arrays, tensors, frames

@pytest.mark.parametrize('shape,expected', [((5,9,7), (5,1,9,7)), ((5,9,7,1), (5,1,9,7)), ((5,9,7,3), (5,3,9,7)), ((5,9,7,4), (5,4,9,7)),
                                            ((5,1,9,7), (5,1,9,7)), ((5,3,9,7), (5,3,9,7)), ((5,3,9,3), (5,3,9,3)), ((1,8,8), (1,1,8,8))])
@pytest.mark.parametrize('kind', ['uint8', 'int64', 'float32', 'torch'])
def test_layouts(rng, shape, expected, kind):
    a = pixels(rng, *shape)
    want = a if a.shape==expected else a[:,None] if a.ndim==3 else np.moveaxis(a, 3, 1)
    d = as_data(torch.from_numpy(a) if kind=='torch' else a.astype(kind))
    assert d.is_images and d.x.shape==expected and d.x.is_contiguous()
    same(d.x, np.ascontiguousarray(want))


def test_float_images_stay_float(rng):
    a = rng.rand(4,8,8)
    same(as_data(a).x, a[:,None].astype(np.float32))
    same(as_data(a.astype(np.float16)).x, a[:,None].astype(np.float16).astype(np.float32))
    zero_one = (a>.5).astype(np.float32)
    assert as_data(zero_one).x.dtype==torch.float32         # zeros and ones are already in [0, 1]
    assert as_data(a>.5).x.max()==255                       # but booleans are black and white
    with pytest.warns(UserWarning, match='rescale'): as_data(a*4-2)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        as_data(a)


def test_vectors(rng):
    a = rng.randn(6,4)
    for X in (a, a.tolist(), torch.from_numpy(a), a.astype('>f8'), a[::-1][::-1], a.astype(object), np.asfortranarray(a),
              tuple(map(tuple, a)), list(torch.from_numpy(a)), list(a)):
        d = as_data(X)
        assert not d.is_images
        same(d.x, a.astype(np.float32))
    same(as_data(np.arange(6).reshape(3,2)).x, np.arange(6, dtype=np.float32).reshape(3,2))
    same(as_data(np.arange(6, dtype=np.uint8).reshape(3,2)).x, np.arange(6, dtype=np.float32).reshape(3,2))
    same(as_data(np.array([[True],[False]])).x, np.array([[1],[0]], np.float32))
    grad = torch.ones(2,3, requires_grad=True)
    assert not as_data(grad).x.requires_grad


def test_no_copy_unless_needed(rng):
    a = pixels(rng, 4,3,8,8)
    assert as_data(a).x.data_ptr()==a.ctypes.data
    t = torch.randn(4,5)
    assert as_data(t).x.data_ptr()==t.data_ptr()
    a.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        same(as_data(a).x, a.copy())


@pytest.mark.parametrize('fmt', ['csr', 'csc', 'coo', 'lil'])
@pytest.mark.parametrize('dtype', [np.float32, np.float64, np.int64])
def test_sparse(fmt, dtype):
    m = sp.random(9, 5, density=.4, random_state=0, format='csr')
    m.data = np.ceil(m.data*9)
    dense = m.toarray().astype(np.float32)
    same(as_data(m.asformat(fmt).astype(dtype)).x, dense)
    same(as_data(sp.csr_array(m)).x, dense)
    same(as_data(torch.from_numpy(dense).to_sparse()).x, dense)
    same(as_data(torch.from_numpy(dense).to_sparse_csr()).x, dense)


def test_sparse_nan_and_complex():
    with pytest.raises(ValueError, match='NaN'): as_data(sp.csr_matrix([[np.nan, 1.], [0, 2]]))
    with pytest.raises(ValueError, match='Complex'): as_data(sp.csr_matrix([[1j, 1.], [0, 2]]))


def test_frames(rng):
    pd = pytest.importorskip('pandas')
    a = rng.randn(6,3)
    f = pd.DataFrame(a, columns=list('abc'))
    d = as_data(f, y=pd.Series(['u','v','u','v','w','w']))
    same(d.x, a.astype(np.float32))
    assert d.classes==['u','v','w'] and d.y.tolist()==[0,1,0,1,2,2]
    f['n'] = np.arange(6)
    assert as_data(f).x.shape==(6,4)
    f['word'] = 'x'
    with pytest.raises(ValueError, match='no number'): as_data(f)
    holed = pd.DataFrame({'a': [1.,None,2.]})
    with pytest.raises(ValueError, match='1 NaN and 0 inf'): as_data(holed)


@pytest.mark.parametrize('X,error,match', [
    (np.array([[1.,np.nan],[np.inf,2.]]), ValueError, r'1 NaN and 1 inf, the first at X\[0, 1\]'),
    (torch.tensor([[1.,float('-inf')]]), ValueError, '0 NaN and 1 inf'),
    (np.full((3,8,8), np.nan), ValueError, '192 NaN'),
    (np.array([[1e300]]), ValueError, '1 inf'),                            # beyond float32
    (np.zeros((0,4)), ValueError, r'0 sample\(s\)'), ([], ValueError, 'two axes'),
    (np.zeros((4,0)), ValueError, r'0 feature\(s\) \(shape=\(4, 0\)\) while a minimum of 1 is required'),
    (torch.zeros(0,3,8,8), ValueError, r'0 sample\(s\)'),
    (np.zeros(5), ValueError, 'Reshape your data'), (torch.zeros(5), ValueError, 'Reshape your data'), (3., ValueError, 'Reshape your'),
    (np.zeros((2,2))*1j, ValueError, 'Complex data not supported'), (torch.zeros(2,2)*1j, ValueError, 'Complex data not supported'),
    (np.array([[{}, 1]], object), TypeError, 'argument must be .* string.* number'), (np.array([['a','b']]), ValueError, 'no number'),
    (np.array([['2020-01-01']], 'datetime64[D]'), ValueError, 'not numeric'),
    (np.zeros((5,64,64,7)), ValueError, 'neither vectors'), (np.zeros((2,3,8,8,8)), ValueError, 'neither vectors'),
    (np.zeros((64,64,3)), ValueError, r'X\[None\]'),
    (np.full((2,8,8), 256), ValueError, '0..255'), (np.full((2,8,8), -1), ValueError, '0..255'),
    ([[1,2],[3]], ValueError, 'ragged'),
    ([np.zeros((8,8,3)), np.zeros((8,8))], ValueError, r'sample 1 is \(8, 8\)'),
    ([torch.zeros(3,8,8), torch.zeros(3,8,8), torch.zeros(1,8,8)], ValueError, r'sample 2 is \(1, 8, 8\)'),
])
def test_bad_input(X, error, match):
    with pytest.raises(error, match=match): as_data(X)


def test_labels():
    X = np.zeros((4,2))
    assert as_data(X).y is None
    for y in ([0,1,2,1], np.array([0,1,2,1.]), torch.tensor([0,1,2,1]), np.array([[0],[1],[2],[1]]), np.array([0,1,2,1], np.uint8)):
        d = as_data(X, y)
        assert d.y.dtype==torch.int64 and d.y.tolist()==[0,1,2,1]
    assert as_data(X, [-1,0,-1,3]).y.tolist()==[-1,0,-1,3]
    d = as_data(X, ['dog','cat','dog','ape'])
    assert d.classes==['ape','cat','dog'] and d.y.tolist()==[2,1,2,0]
    for bad,match in [([0,1], r'shape \(2,\), but X has 4'), ([0,1,np.nan,0], 'whole numbers'), ([0,1,.5,0], 'whole numbers'),
                      (np.zeros((4,2)), '4 samples'), (3, '4 samples')]:
        with pytest.raises(ValueError, match=match): as_data(X, bad)


def test_resize_matches_torchvision(rng):
    from torchvision.transforms.functional import center_crop, resize
    x = torch.from_numpy(pixels(rng, 5,3,20,30))
    got = as_data(x, image_size=10).x
    want = resize(center_crop(x, [20,20]), [10,10], antialias=True)
    assert got.dtype==torch.uint8 and (got.int()-want.int()).abs().max()<=1
    assert as_data(x, image_size=(10,15)).x.shape==(5,3,10,15)
    assert as_data(x, image_size=64).x.shape==(5,3,64,64)
    f = as_data(x.float()/255, image_size=10).x
    assert f.dtype==torch.float32 and torch.allclose(f, resize(center_crop(x.float()/255, [20,20]), [10,10], antialias=True), atol=1e-5)
    assert as_data(x, image_size=(20,30)).x.data_ptr()==x.data_ptr()
    for bad in (0, -3, 2.5, '8'):
        with pytest.raises((ValueError, TypeError), match='image_size'): as_data(x, image_size=bad)


# ---------------------------------------------------------------- the class

def test_data_class(rng):
    x = torch.from_numpy(pixels(rng, 6,1,4,5))
    d = Data(x, torch.tensor([0,0,1,1,2,-1]), 'toy', split=[0,0,0,1,1,2], classes=['a','b','c'], paths=list('uvwxyz'))
    assert len(d)==6 and d.is_images and d.vectors().shape==(6,20)
    assert torch.equal(d.vectors(), x.reshape(6,20).float()/255)
    for idx in ([4,4,1], np.array([4,4,1]), torch.tensor([4,4,1]), torch.tensor([4,4,1], dtype=torch.int32)):
        assert torch.equal(d.batch(idx), x[[4,4,1]].float()/255)
        s = d.subset(idx)
        assert s.y.tolist()==[2,2,0] and s.split.tolist()==[1,1,0] and s.paths==['y','y','v'] and torch.equal(s.x, x[[4,4,1]])
    assert d.subset(slice(1,None,2)).y.tolist()==[0,1,-1]
    assert d.subset(d.split==1).y.tolist()==d.subset(np.array([0,0,0,1,1,0], bool)).y.tolist()==[1,2]
    assert len(d.subset([]))==0 and d.subset([-1]).paths==['z']
    with pytest.raises(IndexError): d.subset([6])
    for part in ('6 images', '1×4×5', 'uint8', '3 classes', '1 unlabelled', 'train 3', 'test 2', 'unlabelled 1'): assert part in repr(d)
    assert d.to('cpu').paths==d.paths and d.fits_on('cpu') and d.batch([0], 'cpu').shape==(1,1,4,5)
    f = torch.randn(6,3)
    assert torch.equal(Data(f).vectors(), f) and torch.equal(Data(f).batch([2]), f[[2]])
    assert 'no labels' in repr(Data(f)) and 'float32' in repr(Data(f))
    assert repr(Data(f[:0]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_data_on_cuda(rng):
    x = torch.from_numpy(pixels(rng, 50,3,8,8))
    here = Data(x, torch.arange(50), split=[0]*50)
    there = here.to('cuda')
    assert there.x.is_cuda and here.fits_on('cuda') and there.fits_on('cuda') and 'cuda' in repr(there)
    idx = torch.tensor([3,1,4])
    for i in (idx, idx.cuda(), idx.tolist()):
        assert torch.equal(there.batch(i).cpu(), here.batch(i)) and torch.equal(here.batch(i, 'cuda').cpu(), here.batch(idx))
        assert torch.equal(there.subset(i).x.cpu(), x[idx]) and there.subset(i).y.tolist()==[3,1,4]
    huge = Data(torch.empty(1,1,1, dtype=torch.uint8).expand(1<<40,1,1))
    assert not huge.fits_on('cuda')
    same(as_data(x.cuda()).x, x.numpy())
    with pytest.raises(ValueError, match='1 NaN'): as_data(torch.tensor([[float('nan'),1.]], device='cuda'))


def test_as_data_of_data(rng):
    d = Data(torch.rand(4,3), torch.arange(4), 'mine', split=[0,1,0,1])
    e = as_data(d)
    assert e.x is d.x and e.name=='mine' and torch.equal(e.y, d.y) and torch.equal(e.split, d.split)
    assert as_data(d, y=[0,0,0,1]).y.tolist()==[0,0,0,1]
    assert as_data(Data(torch.zeros(2,1,8,8)), image_size=4).x.shape==(2,1,4,4)
    with pytest.raises(ValueError, match='NaN'): as_data(Data(torch.tensor([[np.nan]])))


# ---------------------------------------------------------------- files of arrays

def test_npy_is_mapped(tmp_path, rng):
    a = pixels(rng, 6,3,8,8)
    np.save(tmp_path/'cells.npy', a)
    d = as_data(tmp_path/'cells.npy', y=range(6))
    assert d.name=='cells'
    same(d.x, a)
    d.x[0] = 0                                              # copy on write: the file is not touched
    assert np.array_equal(np.load(tmp_path/'cells.npy'), a)
    np.save(tmp_path/'objects.npy', np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError): as_data(tmp_path/'objects.npy')


def test_npz_and_mat(tmp_path, rng):
    a,y = rng.rand(6,5).astype(np.float32), np.array([0,1,2,0,1,2])
    np.savez(tmp_path/'a.npz', X=a, Y=y, split=[0,0,0,0,1,1], classes=['p','q','r'])
    d = as_data(str(tmp_path/'a.npz'))
    same(d.x, a)
    assert d.y.tolist()==y.tolist() and d.split.tolist()==[0,0,0,0,1,1] and d.classes==['p','q','r'] and d.name=='a'
    np.savez(tmp_path/'alone.npz', features=a)
    same(as_data(tmp_path/'alone.npz').x, a)
    np.savez(tmp_path/'wrong.npz', features=a, more=a)
    with pytest.raises(ValueError, match='features, more'): as_data(tmp_path/'wrong.npz')
    savemat(tmp_path/'b.mat', {'X': a, 'Y': y[None]})
    d = as_data(tmp_path/'b.mat')
    same(d.x, a)
    assert d.y.tolist()==y.tolist()
    savemat(tmp_path/'c.mat', {'Z': a})
    with pytest.raises(ValueError, match='has no X'): as_data(tmp_path/'c.mat')
    (tmp_path/'cut.npz').write_bytes((tmp_path/'a.npz').read_bytes()[:100])
    with pytest.raises(ValueError, match='cut.npz'): as_data(tmp_path/'cut.npz')
    with pytest.raises(FileNotFoundError, match='nowhere'): as_data(tmp_path/'nowhere')
    (tmp_path/'one.png').write_bytes(b'')
    with pytest.raises(ValueError, match='cannot read the image'): as_data(tmp_path/'one.png')


# ---------------------------------------------------------------- image files

def save(path, a, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(a).save(path, **kwargs)


def test_folder_of_one_size(tmp_path, rng):
    a = pixels(rng, 6,20,30,3)
    for i,img in enumerate(a): save(tmp_path/('uv'[i%2])/f'{i}.png', img)
    save(tmp_path/'.ipynb_checkpoints'/'0.png', a[0])
    save(tmp_path/'u'/'.hidden.png', a[0])
    (tmp_path/'u'/'notes.txt').write_text('not an image')
    d = from_folder(tmp_path)
    order = [0,2,4,1,3,5]
    same(d.x, np.ascontiguousarray(a[order].transpose(0,3,1,2)))
    assert d.y.tolist()==[0,0,0,1,1,1] and d.classes==['u','v'] and [os.path.basename(p)[0] for p in d.paths]==list(map(str, order))
    assert torch.equal(as_data(str(tmp_path)).x, d.x) and torch.equal(from_folder(tmp_path, threads=1).x, d.x)
    assert as_data(tmp_path, y=[5]*6).y.tolist()==[5]*6
    one = from_folder(tmp_path, classes=['v'])
    assert len(one)==3 and one.y.tolist()==[0,0,0] and one.classes==['v']
    with pytest.raises(ValueError, match='lacks.*zebra'): from_folder(tmp_path, classes=['v','zebra'])


def test_flat_folder_has_no_labels(tmp_path, rng):
    for i in range(3): save(tmp_path/f'{i}.jpg', pixels(rng, 16,16))
    d = from_folder(tmp_path)
    assert d.y is None and d.classes is None and d.x.shape==(3,1,16,16)
    save(tmp_path/'deeper'/'3.jpg', pixels(rng, 16,16))
    assert from_folder(tmp_path).y is None and len(from_folder(tmp_path))==4
    (tmp_path/'empty').mkdir()
    with pytest.raises(ValueError, match='no images in'): from_folder(tmp_path/'empty')
    with pytest.raises(FileNotFoundError, match='no folder'): from_folder(tmp_path/'absent')


def test_symlinked_classes(tmp_path, rng):
    save(tmp_path/'all'/'x'/'0.png', pixels(rng, 9,9))
    (tmp_path/'some').mkdir()
    (tmp_path/'some'/'x').symlink_to(tmp_path/'all'/'x', target_is_directory=True)
    assert len(from_folder(tmp_path/'some'))==1


def test_size_rule(tmp_path, rng):
    for i,(h,w) in enumerate([(40,60),(30,20),(200,50)]): save(tmp_path/'mixed'/f'{i}.png', pixels(rng, h,w))
    assert from_folder(tmp_path/'mixed').x.shape[2:]==(40,40)                  # the median of 40, 20, 50
    assert from_folder(tmp_path/'mixed', image_size=24).x.shape[2:]==(24,24)
    assert from_folder(tmp_path/'mixed', image_size=(24,32)).x.shape[2:]==(24,32)
    for i in range(2): save(tmp_path/'large'/f'{i}.png', pixels(rng, 300,200))
    assert from_folder(tmp_path/'large').x.shape[2:]==(96,96)
    for i in range(2): save(tmp_path/'flat'/f'{i}.png', pixels(rng, 32,96))
    assert from_folder(tmp_path/'flat').x.shape[2:]==(32,96)


def test_resized_file_against_pillow(tmp_path, rng):
    a = pixels(rng, 40,60,3)
    save(tmp_path/'0.png', a)
    got = from_folder(tmp_path, image_size=20).x[0].permute(1,2,0).numpy()
    want = np.asarray(Image.fromarray(a).resize((20,20), Image.Resampling.BICUBIC, box=(10,0,50,40)))
    assert np.array_equal(got, want)


def test_modes(tmp_path, rng):
    grey = pixels(rng, 12,12)
    save(tmp_path/'g'/'8.png', grey)
    Image.fromarray(grey).convert('LA').save(tmp_path/'g'/'alpha.png')
    Image.fromarray(grey.astype(np.uint16)*256+7).save(tmp_path/'g'/'deep.png')
    Image.fromarray((grey>99)).save(tmp_path/'g'/'bit.png')
    d = from_folder(tmp_path/'g')
    by = {os.path.basename(p): d.x[i,0].numpy() for i,p in enumerate(d.paths)}
    assert d.x.shape==(4,1,12,12)
    for name in ('8.png', 'alpha.png', 'deep.png'): assert np.array_equal(by[name], grey), name
    assert np.array_equal(by['bit.png'], (grey>99)*np.uint8(255))
    rgb = pixels(rng, 12,12,3)
    save(tmp_path/'g'/'rgb.png', rgb)                                           # one colour image makes all three-channel
    Image.fromarray(np.dstack([rgb, grey])).save(tmp_path/'g'/'rgba.png')
    few = Image.fromarray(rgb).quantize(8)
    few.save(tmp_path/'g'/'palette.png')
    d = from_folder(tmp_path/'g')
    by = {os.path.basename(p): d.x[i].permute(1,2,0).numpy() for i,p in enumerate(d.paths)}
    assert np.array_equal(by['rgb.png'], rgb)
    cover = grey[:,:,None]/255
    np.testing.assert_allclose(by['rgba.png'], rgb*cover+255*(1-cover), atol=1)  # transparent is white
    assert np.array_equal(by['palette.png'], np.asarray(few.convert('RGB')))
    assert np.array_equal(by['deep.png'], np.repeat(grey[:,:,None], 3, 2))
    Image.fromarray(rng.rand(12,12).astype(np.float32)).save(tmp_path/'g'/'float.tif')
    with pytest.raises(ValueError, match='float.tif.*8 bits'): from_folder(tmp_path/'g')


def test_drawings_on_transparent_paper_are_seen(tmp_path):
    ink = np.zeros((8,8,4), np.uint8); ink[2:6,2:6,3] = 255                     # black on black, but for the alpha
    Image.fromarray(ink).save(tmp_path/'ink.png')
    Image.fromarray(ink).convert('LA').save(tmp_path/'grey.png')
    Image.new('P', (8,8), 0).save(tmp_path/'clear.png', transparency=0)
    d = from_folder(tmp_path)
    x = {Path(p).stem: v for p,v in zip(d.paths, d.x)}
    for name in ('ink','grey'): assert (x[name][:,2:6,2:6]==0).all() and (x[name][:,:2]==255).all()
    assert (x['clear']==255).all()


def test_channels_are_kept_or_told(tmp_path, rng):
    save(tmp_path/'grey.png', grey := pixels(rng, 12,12)); save(tmp_path/'rgb.png', pixels(rng, 12,12,3))
    assert from_folder(tmp_path).x.shape[1]==3 and from_folder(tmp_path, channels=1).x.shape[1]==1
    one = as_data(tmp_path/'grey.png')                                          # a single file
    assert one.x.shape==(1,1,12,12) and one.name=='grey' and one.paths==[str(tmp_path/'grey.png')]
    for d in (as_data(tmp_path/'grey.png', channels=3), as_data([tmp_path/'grey.png'], channels=3)):
        assert np.array_equal(d.x[0].numpy(), np.repeat(grey[None], 3, 0))
    with pytest.raises(ValueError, match='channels'): from_folder(tmp_path, channels=2)


def test_tables_and_broken_arrays_say_what_to_do(tmp_path):
    (tmp_path/'t.csv').write_text('a,b\n1,2\n'); (tmp_path/'b.npy').write_bytes(b'nothing')
    np.save(tmp_path/'o.npy', np.array([None,'a'], object))
    with pytest.raises(ValueError, match='read_csv'): as_data(tmp_path/'t.csv')
    for name in ('b.npy','o.npy'):
        with pytest.raises(ValueError, match=f'{name}.*make it again'): as_data(tmp_path/name)


@pytest.mark.parametrize('orientation,upright', [(1, lambda a: a), (2, lambda a: a[:,::-1]), (3, lambda a: a[::-1,::-1]),
                                                 (6, lambda a: np.rot90(a, -1)), (8, np.rot90)])
def test_exif_orientation(tmp_path, rng, orientation, upright):
    a = pixels(rng, 12,20)
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path/'0.png', a, exif=exif)
    same(from_folder(tmp_path).x[0,0], np.ascontiguousarray(upright(a)))


def test_unreadable(tmp_path, rng):
    a = pixels(rng, 5,64,64,3)
    for i,img in enumerate(a): save(tmp_path/('uv'[i%2])/f'{i}.jpg', img)
    whole = from_folder(tmp_path)
    (tmp_path/'u'/'2.jpg').write_bytes((tmp_path/'u'/'2.jpg').read_bytes()[:600])   # the header is fine, the rest is missing
    (tmp_path/'v'/'9.png').write_bytes(b'not an image')
    with pytest.raises(ValueError, match=r'u/2.jpg.*\(2 such of 6\).*skip'): from_folder(tmp_path)
    with pytest.warns(UserWarning, match='skipped 2 of 6'): d = from_folder(tmp_path, on_error='skip')
    keep = [0,2,3,4]                                                            # u0 u4 v1 v3 of u0 u2 u4 v1 v3
    assert torch.equal(d.x, whole.x[keep]) and d.y.tolist()==[0,0,1,1] and len(d.paths)==4
    assert [os.path.basename(s) for s in d.skipped]==['2.jpg', '9.png'] and all(isinstance(s, str) for s in d.skipped)
    (tmp_path/'bad').mkdir()
    (tmp_path/'bad'/'0.png').write_bytes(b'')
    with pytest.raises(ValueError, match='0.png'): from_folder(tmp_path/'bad', on_error='skip')
    with pytest.raises(ValueError, match='on_error'): from_folder(tmp_path, on_error='ignore')


def test_lists(tmp_path, rng):
    a = pixels(rng, 4,10,14,3)
    files = [tmp_path/f'{i}.png' for i in (2,0,3,1)]
    for f,img in zip(files, a): save(f, img)
    want = np.ascontiguousarray(a.transpose(0,3,1,2))
    d = as_data(files, y=list('abab'))
    same(d.x, want)                                                             # in the order given
    assert d.paths==list(map(str, files)) and d.y.tolist()==[0,1,0,1] and d.classes==['a','b']
    same(as_data([str(f) for f in files]).x, want)
    same(as_data([Image.open(f) for f in files]).x, want)
    same(as_data(list(a)).x, want)
    same(as_data(list(torch.from_numpy(want))).x, want)
    files[1].write_bytes(b'')
    with pytest.warns(UserWarning, match='skipped 1'): d = as_data(files, y=[0,1,2,3], on_error='skip')
    assert d.y.tolist()==[0,2,3] and d.skipped==[str(files[1])]
    with pytest.raises(ValueError, match='4 samples'): as_data(files, y=[0,1])


class Unsized(torch.utils.data.IterableDataset):
    def __iter__(self): yield 0


class Images(Dataset):
    def __init__(self, x): self.x = x
    def __len__(self): return len(self.x)
    def __getitem__(self, i): return self.x[i]


def test_datasets(tmp_path, rng):
    from torchvision.datasets import FakeData, ImageFolder
    from torchvision.transforms.functional import pil_to_tensor, to_tensor
    fake = FakeData(6, (3,9,9), 4)
    want = np.stack([np.asarray(fake[i][0]) for i in range(6)]).transpose(0,3,1,2)
    d = as_data(fake)
    same(d.x, np.ascontiguousarray(want))
    assert d.y.tolist()==[int(fake[i][1]) for i in range(6)] and d.name=='FakeData'
    same(as_data(FakeData(6, (3,9,9), 4, transform=pil_to_tensor)).x, np.ascontiguousarray(want))
    assert as_data(FakeData(6, (3,9,9), 4, transform=to_tensor)).x.dtype==torch.float32
    assert torch.equal(as_data(Subset(fake, [4,2])).x, d.x[[4,2]])
    x,y = torch.rand(5,7), torch.arange(5)
    t = as_data(TensorDataset(x, y))
    assert torch.equal(t.x, x) and torch.equal(t.y, y)
    assert as_data(TensorDataset(x)).y is None and torch.equal(as_data(Images(x)).x, x)
    assert as_data(fake, y=[9]*6).y.tolist()==[9]*6
    for i,(h,w) in enumerate([(20,30),(30,20),(25,25)]): save(tmp_path/'uv'[i%2]/f'{i}.png', pixels(rng, h,w,3))
    mixed,own = as_data(ImageFolder(str(tmp_path))), from_folder(tmp_path)
    assert torch.equal(mixed.x, own.x) and torch.equal(mixed.y, own.y) and mixed.classes==own.classes==['u','v']
    (tmp_path/'u'/'0.png').write_bytes(b'')
    with pytest.warns(UserWarning, match='skipped 1'): assert len(as_data(ImageFolder(str(tmp_path)), on_error='skip'))==2
    with pytest.raises(TypeError, match='no length'): as_data(Unsized())


# ---------------------------------------------------------------- benchmark sets in the formats of their authors

def write_idx(path, a, zipped=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = struct.pack('>BBBB', 0, 0, 8, a.ndim) + struct.pack(f'>{a.ndim}I', *a.shape) + a.tobytes()
    path.write_bytes(gzip.compress(raw) if zipped else raw)


def write_mnist(folder, rng, n=(7,5), kind='MNIST'):
    x,y = pixels(rng, sum(n), 28,28), (np.arange(sum(n))%10).astype(np.uint8)
    for part,s in (('train', slice(n[0])), ('t10k', slice(n[0], None))):
        write_idx(folder/kind/'raw'/f'{part}-images-idx3-ubyte', x[s])
        write_idx(folder/kind/'raw'/f'{part}-labels-idx1-ubyte', y[s])
    return x, y


@pytest.mark.parametrize('kind,name,part', [('MNIST','mnist','mnist-test'), ('FashionMNIST','fashion-mnist','fashion-10k')])
def test_mnist_idx(tmp_path, rng, kind, name, part):
    x,y = write_mnist(tmp_path, rng, kind=kind)
    d = load(name, tmp_path)
    same(d.x, x[:,None])
    assert d.y.tolist()==y.tolist() and d.split.tolist()==[0]*7+[1]*5 and d.name==name and len(d.classes)==10
    t = load(part, tmp_path, download=False)
    same(t.x, x[7:,None])
    assert t.name==part and t.y.tolist()==y[7:].tolist()


def test_mnist_dev_is_the_fixed_draw(tmp_path):
    n = 60_000
    x = np.arange(n+10).astype('>u4').view(np.uint8).reshape(-1,2,2)                # each image spells its own index
    np.savez(tmp_path/'mnist.npz', x=x, y=np.arange(n+10)%10, split=(np.arange(n+10)>=n).astype(np.uint8))
    d = load('mnist_dev', tmp_path)
    index = d.x.numpy().reshape(-1,4).copy().view('>u4').ravel()
    assert np.array_equal(index, np.random.RandomState(0).permutation(60_000)[:10_000])
    assert d.y.tolist()==(index%10).tolist()


def cifar_batch(x, **labels): return pickle.dumps({'data': x.transpose(0,3,1,2).reshape(len(x), -1), **labels})


@pytest.fixture
def no_md5(monkeypatch):
    monkeypatch.setattr('torchvision.datasets.cifar.check_integrity', lambda path, md5=None: os.path.isfile(path))
    monkeypatch.setattr('torchvision.datasets.stl10.STL10._check_integrity', lambda self: True)


def test_cifar10_pickles(tmp_path, rng, no_md5):
    x,y = pixels(rng, 18,32,32,3), (np.arange(18)*7%10).tolist()
    folder = tmp_path/'cifar-10-batches-py'
    folder.mkdir()
    for i,name in enumerate([f'data_batch_{j}' for j in range(1,6)]+['test_batch']):
        (folder/name).write_bytes(cifar_batch(x[3*i:3*i+3], labels=y[3*i:3*i+3]))
    (folder/'batches.meta').write_bytes(pickle.dumps({'label_names': list('abcdefghij')}))
    d = load('CIFAR-10', tmp_path)
    same(d.x, np.ascontiguousarray(x.transpose(0,3,1,2)))
    assert d.y.tolist()==y and d.classes==list('abcdefghij') and d.split.tolist()==[0]*15+[1]*3


def test_cifar100_has_20_superclasses(tmp_path, rng, no_md5):
    x,fine,coarse = pixels(rng, 9,32,32,3), list(range(90,99)), [3,19,0,7,7,2,11,4,18]
    folder = tmp_path/'cifar-100-python'
    folder.mkdir()
    for name,s in (('train', slice(6)), ('test', slice(6,None))):
        (folder/name).write_bytes(cifar_batch(x[s], fine_labels=fine[s], coarse_labels=coarse[s]))
    names = {'fine_label_names': [f'f{i}' for i in range(100)], 'coarse_label_names': [f'c{i}' for i in range(20)]}
    (folder/'meta').write_bytes(pickle.dumps(names))
    d = load('cifar100-20', tmp_path)
    same(d.x, np.ascontiguousarray(x.transpose(0,3,1,2)))
    assert d.y.tolist()==coarse and d.classes==[f'c{i}' for i in range(20)] and d.split.tolist()==[0]*6+[1]*3


def test_cifar_of_a_wrong_checksum_is_not_unpickled(tmp_path):
    folder = tmp_path/'cifar-100-python'
    folder.mkdir()
    for name in ('train', 'test', 'meta'): (folder/name).write_bytes(b'tampered')
    with pytest.raises(FileNotFoundError, match='corrupted'): load('cifar100-20', tmp_path, download=False)


def test_stl10_bin(tmp_path, rng, no_md5):
    folder = tmp_path/'stl10_binary'
    folder.mkdir()
    x,y = pixels(rng, 9,3,96,96), np.array([1,10,3,4,5,6], np.uint8)
    for part,s in (('train', slice(4)), ('test', slice(4,6)), ('unlabeled', slice(6,None))):
        (folder/f'{part}_X.bin').write_bytes(np.ascontiguousarray(x[s].transpose(0,1,3,2)).tobytes())    # column-major images
        if part!='unlabeled': (folder/f'{part}_y.bin').write_bytes(y[s].tobytes())
    (folder/'class_names.txt').write_text('\n'.join('abcdefghij'))
    d = load('stl10', tmp_path)
    same(d.x, x[:6])
    assert d.y.tolist()==(y.astype(int)-1).tolist() and d.split.tolist()==[0]*4+[1]*2 and d.classes==list('abcdefghij')
    d = load('stl10-unlabeled', tmp_path)
    same(d.x, x)
    assert d.y.tolist()==(y.astype(int)-1).tolist()+[-1]*3 and d.split.tolist()==[0]*4+[1]*2+[2]*3 and d.name=='stl10-unlabelled'


def test_usps_bz2_is_rounded(tmp_path, rng):
    milli,y = rng.randint(0, 2001, (7,256)), [1,10,2,3,4,5,6]
    for name,s in (('usps.bz2', slice(4)), ('usps.t.bz2', slice(4,None))):
        rows = [f'{c} '+' '.join(f'{j+1}:{v/1000-1:.3f}' for j,v in enumerate(r)) for c,r in zip(y[s], milli[s])]
        (tmp_path/name).write_bytes(bz2.compress('\n'.join(rows).encode()+b'\n'))
    d = load('usps', tmp_path)
    exact = milli*.1275
    got = d.x.numpy().reshape(7,256)
    assert (np.abs(got-exact)<=.5+1e-6).all() and d.x.shape==(7,1,16,16)
    assert d.y.tolist()==[0,9,1,2,3,4,5] and d.split.tolist()==[0]*4+[1]*3


@pytest.mark.parametrize('file', ['reuters10k.mat', 'reuters-10k.mat', 'reuters-10k.npz', 'reuters10k.npz'])
def test_reuters(tmp_path, rng, file):
    x,y = rng.rand(8,20), np.array([0,1,2,3,3,2,1,0])
    if file.endswith('.mat'): savemat(tmp_path/file, {'X': x, 'Y': y[None]})
    else: np.savez(tmp_path/file, x=x, y=y)
    d = load('reuters10k', tmp_path)
    same(d.x, x.astype(np.float32))
    assert d.y.tolist()==y.tolist() and d.name=='reuters-10k'


def test_imagenet_subsets(tmp_path, rng):
    ten = ['n02056570', 'n02085936', 'n02128757', 'n02690373', 'n02692877', 'n03095699', 'n04254680', 'n04285008', 'n04467665', 'n07747607']
    train = tmp_path/'imagenet'/'train'
    for w in [*ten, 'n01440764', 'n02086646']: save(train/w/f'{w}_1.JPEG', pixels(rng, 120,150,3))
    d = load('ImageNet10', tmp_path)
    assert d.x.shape==(10,3,96,96) and d.classes==ten and d.y.tolist()==list(range(10)) and d.name=='imagenet-10'
    with pytest.raises(ValueError, match='13 of the classes'): load('imagenet-dogs', tmp_path)
    for w in ten: save(tmp_path/'imagenet-10'/w/'0.png', pixels(rng, 96,96,3))
    exact = load('imagenet-10', tmp_path)                                           # its own folder goes first
    same(exact.x[3], np.ascontiguousarray(np.asarray(Image.open(tmp_path/'imagenet-10'/ten[3]/'0.png')).transpose(2,0,1)))
    np.savez(tmp_path/'imagenet-10.npz', x=exact.x.numpy()[:2], y=[0,1])
    assert len(load('imagenet-10', tmp_path))==2                                     # and a prepared file before any folder


def test_tiny_imagenet(tmp_path, rng):
    a = pixels(rng, 4,64,64,3)
    for i in range(4): save(tmp_path/'tiny-imagenet-200'/'train'/f'n0{i//2}'/'images'/f'{i}.png', a[i])
    d = load('tiny-imagenet', tmp_path)
    same(d.x, np.ascontiguousarray(a.transpose(0,3,1,2)))
    assert d.y.tolist()==[0,0,1,1] and d.classes==['n00','n01']


def webp_shard(path, x, y, split, start, per=3):
    blobs = []
    for i in range(0, len(x), per):
        buffer = BytesIO()
        Image.fromarray(x[i:i+per].reshape(-1, x.shape[2], 3)).save(buffer, 'WEBP', lossless=True)
        blobs.append(np.frombuffer(buffer.getvalue(), np.uint8))
    np.savez(path, blob=np.concatenate(blobs), offset=np.cumsum([0]+[len(b) for b in blobs]), y=y, split=split, start=np.int64(start))


def test_webp_shards(tmp_path, rng):
    x,y,split = pixels(rng, 77,8,8,3), (np.arange(77)%10).astype(np.uint8), (np.arange(77)>70).astype(np.uint8)
    for k in range(11): webp_shard(tmp_path/f'cifar10_{k}.npz', x[7*k:7*k+7], y[7*k:7*k+7], split[7*k:7*k+7], 7*k)      # 10 sorts before 2
    d = load('cifar10', tmp_path)
    same(d.x, np.ascontiguousarray(x.transpose(0,3,1,2)))
    assert d.y.tolist()==y.tolist() and d.split.tolist()==split.tolist() and d.classes[0]=='airplane'


# ---------------------------------------------------------------- load, available

def test_digits():
    from sklearn.datasets import load_digits
    raw = load_digits()
    d = load('digits')
    assert d.x.shape==(1797,1,8,8) and d.x.dtype==torch.uint8 and d.x.max()==255
    assert np.array_equal(np.round(d.x.numpy()[:,0]*(16/255)), raw.images)          # the 17 grey levels stay apart
    assert d.vectors().min()==0 and d.vectors().max()==1 and d.y.tolist()==raw.target.tolist()


@pytest.mark.parametrize('alias,name', [
    ('mnist_test','mnist-test'), ('MNIST','mnist'), ('Fashion-MNIST','fashion-mnist'), ('fashion_mnist_test','fashion-10k'),
    ('cifar-10','cifar10'), ('CIFAR-100-20','cifar100-20'), ('stl-10','stl10'),
    ('Reuters10K','reuters-10k'), ('tiny ImageNet','tiny-imagenet')])
def test_names(tmp_path, alias, name):
    with pytest.raises(FileNotFoundError, match=f"'{name}'"): load(alias, tmp_path, download=False)


def test_unknown_name():
    with pytest.raises(ValueError, match='minst.*digits, digits-imbalanced, digits16, usps, mnist, mnist-test'): load('minst')


@pytest.mark.parametrize('name', ['mnist', 'fashion-10k', 'usps', 'cifar10', 'cifar100-20', 'stl10', 'reuters-10k', 'imagenet-10'])
@pytest.mark.parametrize('download', [True, False])
def test_missing(tmp_path, name, download):
    with pytest.raises(FileNotFoundError, match='DEEPCLUST_DATA') as e: load(name, tmp_path, download)
    assert repr(name) in str(e.value) and str(tmp_path) in str(e.value)


def test_order_of_places(tmp_path, rng, monkeypatch):
    one,two,home = (tmp_path/s for s in ('one', 'two', 'home'))
    for i,folder in enumerate((one, two, home/'.cache'/'deepclust')):
        folder.mkdir(parents=True)
        np.savez(folder/'usps.npz', x=np.full((2,16,16), i, np.uint8), y=[0,1], split=[0,1])
    monkeypatch.setenv('HOME', str(home))
    monkeypatch.setenv('DEEPCLUST_DATA', str(one))
    assert load('usps').x.max()==0 and load('usps', two).x.max()==1
    (one/'usps.npz').unlink()
    assert load('usps').x.max()==2
    monkeypatch.delenv('DEEPCLUST_DATA')
    assert load('usps').x.max()==2
    (home/'.cache'/'deepclust'/'usps.npz').unlink()
    with pytest.raises(FileNotFoundError, match='home'): load('usps')


def test_part_without_split(tmp_path):
    np.savez(tmp_path/'mnist.npz', x=np.zeros((4,28,28), np.uint8), y=[0,1,0,1])
    assert load('mnist', tmp_path).split is None
    with pytest.raises(ValueError, match='no array split'): load('mnist-test', tmp_path)


def test_available(tmp_path, rng):
    rows = available(tmp_path)
    assert [set(r) for r in rows]==[{'name','n','where','how'}]*len(rows)
    assert {r['name']: r['n'] for r in rows}['usps']==9298
    assert all(r['how'] for r in rows if r['where']=='missing')
    assert [r['name'] for r in rows if r['where']!='missing']==['digits', 'digits-imbalanced', 'digits16']
    write_mnist(tmp_path, rng)
    here = [r['name'] for r in available(tmp_path) if r['where']!='missing']
    assert here==['digits', 'digits-imbalanced', 'digits16', 'mnist', 'mnist-test', 'mnist-dev']


def test_digits16_is_digits_enlarged():
    small,big = load('digits'),load('digits16')
    assert big.x.shape==(1797,1,16,16) and big.x.dtype==torch.uint8 and big.is_images and torch.equal(big.y, small.y)
    same = torch.nn.functional.interpolate(small.x.float(), (16,16), mode='bilinear')
    assert (same-big.x.float()).abs().max()<=.51 and big.name=='digits16'


def test_cifar10_test_part(tmp_path, rng):
    x,y,split = rng.randint(0,256,(20,32,32,3)).astype('uint8'), np.arange(20)%10, np.r_[np.zeros(14,int),np.ones(6,int)]
    np.savez(tmp_path/'cifar10.npz', x=x, y=y, split=split)
    d = load('cifar10-test', tmp_path)
    assert len(d)==6 and d.x.shape==(6,3,32,32) and d.y.tolist()==[4,5,6,7,8,9] and d.name=='cifar10-test'


# ---------------------------------------------------------------- partial labels

def test_partial_labels():
    y = torch.arange(200)%4
    few = partial_labels(y, fraction=.1)
    assert few.dtype==torch.int64 and int((few>=0).sum())==20 and torch.equal(few[few>=0], y[few>=0])
    assert torch.equal(few, partial_labels(y.numpy(), fraction=.1)) and not torch.equal(few, partial_labels(y, fraction=.1, seed=1))
    assert (partial_labels(y, fraction=.3)[few>=0]>=0).all()                        # nested
    assert (partial_labels(y, per_class=5)[partial_labels(y, per_class=3)>=0]>=0).all()
    assert partial_labels(y, per_class=3).add(1).bincount().tolist()==[188,3,3,3,3]
    assert (partial_labels(y, fraction=0)==-1).all() and (partial_labels(y, per_class=0)==-1).all()
    assert torch.equal(partial_labels(y, fraction=1), y)
    assert int((partial_labels(y, fraction=1e-6)>=0).sum())==1
    part = y.clone()
    part[::2] = -1
    assert (partial_labels(part, per_class=2)[::2]==-1).all()
    assert y.tolist()==(torch.arange(200)%4).tolist()
    for kwargs in ({}, {'fraction': .1, 'per_class': 1}, {'fraction': 1.5}, {'fraction': -.1}, {'per_class': 51}, {'per_class': -1}):
        with pytest.raises(ValueError): partial_labels(y, **kwargs)


def test_partial_labels_leaves_global_rng_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    partial_labels(torch.arange(50)%5, fraction=.5)
    assert torch.equal(before, torch.random.get_rng_state())


# ---------------------------------------------------------------- the real sets, where they are

SHA = {      # of x and of y
    'mnist': ('5b92582eb909c82a9bfefcd44acbe9233be3eb5b419a44cf211022ad2bf4bf96',
        '671ff9d70b4811116d55c3dd479efa7a981e2e62753ef7a6d5c15fea81e63d27'),
    'fashion-mnist': ('0fbbfcb392782b3b702472ead3688778e1509e8cf40f5c24d9d3303618b193ab',
        '8ab940a680640f36c0bf1d2549cb2f3b3d4068c12547116cc7b1161b1d26663d'),
    'usps': ('25905ee2d769196534b5fa5238b66eb45bf35f6aa5caea43a478c2b8f3dc6307',
        '23d374427c9e1a0074b0b6f6d9ced2b877e9fe72adc27db773fba947c93ea3bd'),
    'cifar10': ('48c5ef1644fb13fe6351200508ce23a8d39a7d5416054de6a9907b63bf7a3794',
        '6222ecafc85bee757c545fcda5e8801beac662ec10678f4a27c5d201c973506c')}


@needs_data
@pytest.mark.parametrize('name', SHA)
def test_real_sets(name):
    d = load(name, os.environ['DEEPCLUST_DATA'], download=False)
    x = d.x.permute(0,2,3,1).contiguous().numpy()                                  # the checksums are of (n, h, w[, c])
    assert hashlib.sha256(x.tobytes()).hexdigest()==SHA[name][0]
    assert hashlib.sha256(d.y.numpy().astype(np.uint8).tobytes()).hexdigest()==SHA[name][1]
    row = next(r for r in available(os.environ['DEEPCLUST_DATA']) if r['name']==name)
    assert row['n']==len(d) and row['where']!='missing' and len(d.classes)==int(d.y.max())+1


@needs_data
@pytest.mark.parametrize('name,n', [('mnist-test',10000), ('fashion-10k',10000), ('mnist-dev',10000)])
def test_real_parts(name, n):
    root = os.environ['DEEPCLUST_DATA']
    d,whole = load(name, root, download=False), load('fashion-mnist' if name=='fashion-10k' else 'mnist', root, download=False)
    assert len(d)==n and d.y.bincount().min()>=850
    if name=='mnist-dev': assert torch.equal(d.x, whole.x[torch.from_numpy(np.random.RandomState(0).permutation(60000)[:10000])])
    else: assert torch.equal(d.x, whole.x[60000:])


@pytest.fixture
def faces(rng): return pixels(rng, 6,32,32,3), np.array([4,4,9,9,2,2])


@pytest.mark.parametrize('form', ['mat', 'mat-rows', 'mat-grey', 'h5', 'h5-last', 'h5-float', 'h5-signed', 'folder'])
def test_faces(tmp_path, faces, form):
    a,gnd = faces
    first = np.ascontiguousarray(a.transpose(0,3,1,2)); want = first/255
    column = lambda v: v.reshape(len(v), -1, order='F') if v.ndim==3 else v.transpose(0,3,2,1).reshape(len(v), -1)
    if form=='mat': savemat(tmp_path/'FRGC.mat', {'data': a, 'labels': gnd[:,None]})
    if form=='mat-rows': savemat(tmp_path/'FRGC.mat', {'fea': column(a).astype(float), 'gnd': gnd[:,None]})
    if form=='mat-grey':
        savemat(tmp_path/'FRGC.mat', {'fea': a[...,0].transpose(0,2,1).reshape(6,-1), 'gnd': gnd[:,None]}); want = want[:,:1]
    if form.startswith('h5'):
        h5py = pytest.importorskip('h5py')
        x = {'h5': first, 'h5-last': a, 'h5-float': first/255., 'h5-signed': first/127.5-1}[form]
        with h5py.File(tmp_path/'frgc.h5', 'w') as f: f['data'],f['labels'] = x,gnd.astype(float)
        if form=='h5-signed': want = (want-want.min())/(want.max()-want.min())
    if form=='folder':
        for i,g in enumerate(gnd): save(tmp_path/'frgc'/f'0{g}'/'a'/f'{i}.png', a[i])
        order = np.argsort(gnd, kind='stable'); want,gnd = want[order],gnd[order]
    d = load('FRGC', tmp_path)
    got = d.x.numpy()/(255 if d.x.dtype==torch.uint8 else 1)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert d.y.tolist()==np.unique(gnd, return_inverse=True)[1].tolist() and d.name=='frgc' and len(d.classes)==3


def test_face_folders_take_the_people_of_the_paper(tmp_path, rng):
    for i in range(44): save(tmp_path/'YTF'/f'person_{i:02d}'/'0.png', pixels(rng, 60,60,3))
    d = load('ytf', tmp_path)
    assert d.x.shape==(41,3,55,55) and d.classes==[f'person_{i:02d}' for i in range(41)]
    for i in range(22): save(tmp_path/'frgc'/f'{i:02d}'/'0.png', pixels(rng, 32,32,3))
    assert len(load('frgc', tmp_path).classes)==20 and load('frgc', tmp_path).classes==load('frgc', tmp_path).classes


def test_hdf5_of_matlab_and_what_can_be_wrong_with_it(tmp_path, rng, monkeypatch):
    h5py = pytest.importorskip('h5py')
    x,y = rng.rand(5,4), np.arange(5.)
    with h5py.File(tmp_path/'v73.h5', 'w') as f: f['X'],f['Y'] = x,y
    same(as_data(tmp_path/'v73.h5').x, x.astype(np.float32))
    with h5py.File(tmp_path/'v73.mat', 'w', userblock_size=512) as f: f['X'],f['Y'] = x.T,y[:,None]   # as MATLAB lays it down
    with open(tmp_path/'v73.mat', 'r+b') as f: f.write(b'MATLAB 7.3 MAT-file'.ljust(116)+bytes(8)+b'\x00\x02IM')
    d = as_data(tmp_path/'v73.mat'); same(d.x, x.astype(np.float32)); assert d.y.tolist()==[0,1,2,3,4]
    (tmp_path/'cut.h5').write_bytes((tmp_path/'v73.h5').read_bytes()[:300])
    with pytest.raises(ValueError, match='truncated'): as_data(tmp_path/'cut.h5')
    with h5py.File(tmp_path/'pie.h5', 'w') as f: f['data'] = x
    with pytest.raises(ValueError, match='no labels'): load('cmu-pie', tmp_path)
    (tmp_path/'pie.h5').unlink()
    with h5py.File(tmp_path/'PIE.h5', 'w') as f: f['data'],f['labels'] = rng.rand(5,7),y
    with pytest.raises(ValueError, match='no square image'): load('cmu-pie', tmp_path)
    monkeypatch.setitem(__import__('sys').modules, 'h5py', None)
    with pytest.raises(ImportError, match='store the arrays x and y'): as_data(tmp_path/'v73.h5')


def test_links_that_lead_back_end(tmp_path):
    for c in 'ab':
        (tmp_path/c).mkdir()
        for i in range(3): Image.fromarray(np.full((8, 8), 60*i, np.uint8)).save(tmp_path/c/f'{i}.png')
    (tmp_path/'a'/'up').symlink_to('..')
    (tmp_path/'c').symlink_to('a')                                             # a link elsewhere is followed
    assert len(from_folder(tmp_path))==9


def test_a_single_sub_folder_is_no_class(tmp_path):
    (tmp_path/'2023').mkdir()
    for i in range(3): Image.fromarray(np.full((8, 8), 60*i, np.uint8)).save(tmp_path/'2023'/f'{i}.png')
    assert from_folder(tmp_path).y is None and from_folder(tmp_path, classes=['2023']).y.tolist()==[0, 0, 0]
