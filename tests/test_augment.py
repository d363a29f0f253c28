"""Augmentation: every operation against torchvision with the same parameters, and what recipes promise"""
import math
import time

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import ks_2samp
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from deepclust.augment import (RECIPES, Blur, CentreCrop, Chain, ColourJitter, Contrast, Flip, Greyscale, Pad, RandomCrop,
                               RandomResizedCrop, Recipe, Rot90, Rotate, Sobel, crop_resize, luma, pick_recipe, rot90, shift_hue,
                               throughput, to_float)
from deepclust.core import generator

SHAPES = [(3, 8, 8), (1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 33, 40), (1, 40, 33)]
BILINEAR = v2.InterpolationMode.BILINEAR


def images(shape, b=6, seed=0):
    "Smooth random images with full range, and some grey and black pixels, where hue is undefined"
    x = torch.rand(b, *shape, generator=generator(seed))
    x[0, :, :3] = .4
    x[1, :, :2] = 0
    x[2] = (x[2]*4).round()/4
    return x


def blank(shape, b): return torch.zeros(1, 1, 1, 1).expand(b, *shape)


# ---- one image at a time through torchvision, with the parameters that were drawn

def tv_crop(op, x, p):
    box = [p[k].item() for k in ('top', 'left', 'height', 'width')]
    return F.resized_crop(x, *box, (op.out, op.out), BILINEAR, antialias=False)


def tv_jitter(op, x, p):
    colour, rest = x[:3], x[3:]
    for name in ('brightness', 'contrast', 'saturation', 'hue'):
        colour = getattr(F, f'adjust_{name}')(colour, p[name].item())
    return torch.cat([colour, rest])


def tv_contrast(op, x, p): return torch.cat([F.adjust_contrast(c[None], p['contrast'].item()) for c in x])


def tv_grey(op, x, p): return F.rgb_to_grayscale(x, 3) if p['on'] and len(x)==3 else x


def tv_blur(op, x, p): return F.gaussian_blur(x, 2*op.radius+1, p['sigma'].item()) if p['sigma']>0 else x


ORACLES = {RandomCrop: tv_crop, CentreCrop: tv_crop, RandomResizedCrop: tv_crop, ColourJitter: tv_jitter, Contrast: tv_contrast,
           Greyscale: tv_grey, Blur: tv_blur,
           Flip: lambda op, x, p: F.horizontal_flip(x) if p['on'] else x, Pad: lambda op, x, p: F.pad(x, op.margin),
           Rotate: lambda op, x, p: F.rotate(x, p['angle'].item(), BILINEAR),
           Rot90: lambda op, x, p: torch.rot90(x, p['k'].item(), (1, 2))}


def replay(op, x, params):
    "`op.apply(x, params)`, by torchvision"
    if isinstance(op, Chain):
        for o, p in zip(op.ops, params): x = replay(o, x, p)
        return x
    return torch.stack([ORACLES[type(op)](op, one, {k: v[i] for k, v in params.items()}) for i, one in enumerate(x)])


OPS = [RandomCrop(6), RandomCrop((5, 7, 8), 16), RandomCrop(100, 11), CentreCrop(5), CentreCrop(7, 16), CentreCrop(None, 20),
       RandomResizedCrop(16), RandomResizedCrop(9, (.5, .6), (.2, 5.)), Flip(), Rotate(25), Rotate(180), Rot90(), Pad(3),
       ColourJitter(.4, .4, .4, .125), ColourJitter(.8, .8, .8, .5, p=.5), Contrast(.4), Contrast(3.), Greyscale(.5),
       Blur(3), Blur(7, (.1, 5.), .7), Chain(Pad(2), RandomCrop(12), Flip(), Rotate(10))]


def name_of(op): return op.__class__.__name__


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('op', OPS, ids=name_of)
def test_as_torchvision(op, shape):
    x = images(shape)
    if isinstance(op, Rot90): x = x[..., :min(shape[1:]), :min(shape[1:])]
    for seed in range(3):
        p = op.draw(x, generator(seed))
        torch.testing.assert_close(op.apply(x, p), replay(op, x, p), atol=2e-4, rtol=0)


def test_crop_is_what_torchvision_does_with_antialiasing_where_it_enlarges():
    x, v = images((3, 33, 40)), torch.tensor
    got = crop_resize(x[:2], v([3, 10]), v([0, 20]), v([15, 23]), v([9, 20]), 32)
    want = torch.stack([F.resized_crop(x[0], 3, 0, 15, 9, (32, 32)), F.resized_crop(x[1], 10, 20, 23, 20, (32, 32))])
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)


def test_crop_reads_nothing_outside():
    x = torch.ones(1, 1, 16, 16)
    x[..., 4:10, 5:12] = 0
    v = torch.tensor
    assert crop_resize(x, v([4]), v([5]), v([6]), v([7]), 32).abs().max()<1e-5


def test_centre_crop_places_odd_margins_as_torchvision():
    for h in range(8, 14):
        for s in range(3, 9): torch.testing.assert_close(CentreCrop(s)(y := images((1, h, 13))), F.center_crop(y, s), atol=1e-4, rtol=0)


def test_sobel_as_scipy():
    x = images((3, 16, 20))
    grey = luma(x)[:, 0].numpy()
    want = np.stack([[ndimage.sobel(g, axis, mode='nearest')/4 for axis in (1, 0)] for g in grey])
    np.testing.assert_allclose(Sobel()(x), want, atol=1e-5)
    assert Sobel()(x[:, :1]).shape==(6, 2, 16, 20)


def test_hue_of_every_kind_of_pixel():
    steps = torch.linspace(0, 1, 9)
    x = torch.cartesian_prod(steps, steps, steps).T[None, :, :, None]
    for d in (-.5, -.21, 0., 1/6, 1/3, .5):
        torch.testing.assert_close(shift_hue(x, torch.tensor([d])), F.adjust_hue(x, d), atol=1e-4, rtol=0)


def test_jitter_of_two_and_four_channels():
    op, x = ColourJitter(.4, .4, .4, .1), images((4, 9, 9))
    p = op.draw(x, generator(0))
    torch.testing.assert_close(op.apply(x, p), replay(op, x, p), atol=1e-4, rtol=0)
    assert torch.equal(op.apply(x, p)[:, 3], x[:, 3])
    assert torch.equal(Greyscale(1.)(x)[:, 3], x[:, 3])
    assert op(x[:, :2]).shape==(6, 2, 9, 9) and torch.equal(Greyscale(1.)(x[:, :2]), x[:, :2])


def test_rot90():
    x = images((2, 7, 7), 8)
    k = torch.tensor([0, 1, 2, 3, 4, 5, -1, -2])
    assert torch.equal(rot90(x, k), torch.stack([torch.rot90(a, int(n), (1, 2)) for a, n in zip(x, k)]))
    assert torch.equal(rot90(x[..., :5], 1), torch.rot90(x[..., :5], 1, (2, 3)))
    with pytest.raises(ValueError, match='7×5.*squares'): rot90(x[..., :5], k)


# ---- drawing

def test_to_float():
    assert torch.equal(to_float(torch.arange(256, dtype=torch.uint8)), torch.arange(256)/255)
    for dtype in (torch.float16, torch.float64):
        y = to_float(torch.tensor([-1., 0, .5, 1, 2], dtype=dtype))
        assert y.dtype==torch.float32 and y.tolist()==[0, 0, .5, 1, 1]


@pytest.mark.parametrize('first,side', [(RandomCrop(20, 12), 12), (CentreCrop(10), 10), (RandomResizedCrop(14), 14), (Pad(4), 40),
                                        (Flip(), 32)], ids=range(5))
def test_a_chain_draws_for_the_size_at_hand(first, side):
    op, x = Chain(first, RandomCrop(8)), blank((3, 32, 32), 20_000)
    top = op.draw(x, generator(0))[1]['top']
    assert top.min()==0 and top.max()==side-8


def flat(params):
    if isinstance(params, dict): return list(params.values())
    return [v for p in params for v in flat(p)]


@pytest.mark.parametrize('op', OPS, ids=name_of)
def test_draws(op):
    x = images((3, 16, 16), 64)
    a, b, c = (flat(op.draw(x, generator(s))) for s in (1, 1, 2))
    assert all(torch.equal(u, v) for u, v in zip(a, b))
    assert all(v.shape==(64,) for v in a)
    if not isinstance(op, (CentreCrop, Pad)) and not (isinstance(op, RandomCrop) and op.sizes==[100]):
        assert any(not torch.equal(u, v) for u, v in zip(a, c)), 'another seed, the same draw'
        assert any(len(v.unique())>1 for v in a), 'one parameter for the whole batch'
    assert torch.equal(op(x, generator(1)), op(x, generator(1)))


def test_draw_leaves_the_global_state_alone_and_without_generator_uses_it():
    x, op = images((3, 16, 16)), Chain(RandomResizedCrop(16), Flip(), ColourJitter(.1, .1, .1, .1))
    before = torch.get_rng_state()
    op.draw(x, generator(0))
    assert torch.equal(before, torch.get_rng_state())
    op.draw(x)
    assert not torch.equal(before, torch.get_rng_state())
    torch.set_rng_state(before)


def test_distributions():
    n, g = 40_000, generator(0)
    x = blank((3, 20, 30), n)
    close = lambda a, b: abs(float(a)-b)<.01
    assert close(Flip(.3).draw(x, g)['on'].float().mean(), .3) and close(Greyscale(.2).draw(x, g)['on'].float().mean(), .2)
    assert Flip(1.).draw(x, g)['on'].all() and not Flip(0.).draw(x, g)['on'].any()
    assert torch.allclose(Rot90().draw(x, g)['k'].bincount()/n, torch.tensor(.25), atol=.01)
    angle = Rotate(25).draw(x, g)['angle']
    assert angle.abs().max()<=25 and abs(angle.mean())<.3 and abs(angle.std()-25/math.sqrt(3))<.2
    sigma = Blur(9, (.5, 2.), p=.4).draw(x, g)['sigma']
    assert close((sigma>0).float().mean(), .4) and sigma[sigma>0].min()>=.5 and sigma.max()<=2
    p = ColourJitter(.4, 1.5, .2, .125, p=.8).draw(x, g)
    ranges = {'brightness': (.6, 1.4), 'contrast': (0, 2.5), 'saturation': (.8, 1.2), 'hue': (-.125, .125)}
    for name, (low, high) in ranges.items():
        v, neutral = p[name], float(name!='hue')
        assert v.min()>=low and v.max()<=high and close((v==neutral).float().mean(), .2)
        moved = v[v!=neutral]
        assert abs(moved.mean()-(low+high)/2)<.01*(high-low) and abs(moved.std()-(high-low)/math.sqrt(12))<.01*(high-low)
    crop = RandomCrop((8, 12), 16).draw(x, g)
    assert close((crop['height']==8).float().mean(), .5) and torch.equal(crop['height'], crop['width'])
    small = crop['height']==8
    for axis, room in (('top', 13), ('left', 23)):
        counts = crop[axis][small].bincount()
        assert len(counts)==room and (counts/counts.sum()-1/room).abs().max()<.01
    assert (crop['top'][~small]<=8).all() and (crop['left'][~small]<=18).all()


@pytest.mark.parametrize('shape,scale', [((32, 32), (.08, 1.)), ((8, 8), (.08, 1.)), ((8, 60), (.08, 1.)), ((60, 8), (.9, 1.))], ids=str)
def test_resized_crops_are_distributed_as_torchvisions(shape, scale):
    n = 3000
    ours = RandomResizedCrop(16, scale).draw(blank((3, *shape), n), generator(0))
    theirs, image = v2.RandomResizedCrop(16, scale), torch.zeros(3, *shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        boxes = [theirs.make_params([image]) for _ in range(n)]
    for key in ('top', 'left', 'height', 'width'):
        assert ks_2samp(ours[key], [b[key] for b in boxes], method='asymp').pvalue>1e-3, key
    assert (ours['top']+ours['height']<=shape[0]).all() and (ours['left']+ours['width']<=shape[1]).all()
    assert min(ours['height'].min(), ours['width'].min())>=1 and min(ours['top'].min(), ours['left'].min())>=0


# ---- recipes

SIZES = (8, 8), (16, 16), (28, 28), (33, 40), (8, 50), (96, 64)


@pytest.mark.parametrize('name', ['auto', *RECIPES])
@pytest.mark.parametrize('shape', [*((c, *hw) for c in (1, 3, 4) for hw in SIZES), (2, 9, 9)], ids=str)
def test_recipe_takes_any_image(name, shape):
    for sobel in (False, True):
        r = pick_recipe(name, shape, sobel)
        x = (images(shape, 4)*255).byte()
        k = torch.tensor([0, 1, 2, 3])
        for y in (r.train(x, generator(0)), r.eval(x), r.rotation(x, generator(0)), r.rotation(x, generator(0), k)):
            assert y.shape==(4, *r.out_shape) and y.dtype==torch.float32 and torch.isfinite(y).all()
            assert (-1e-5 if not sobel else -1.00001)<=y.min() and y.max()<=1.00001
        assert r.size>=8 and r.out_channels==(2 if sobel else shape[0])
        torch.testing.assert_close(r.train(x, generator(0)), r.train(to_float(x), generator(0)))
        assert torch.equal(r.eval(x), r.eval(x))
        if r.name!='none': assert not torch.equal(r.train(x, generator(0)), r.train(x, generator(1)))


@pytest.mark.parametrize('name', RECIPES)
@pytest.mark.parametrize('shape', [(3, 32, 32), (1, 28, 28), (3, 96, 96), (3, 33, 40)], ids=str)
def test_recipe_as_torchvision(name, shape):
    r, x = pick_recipe(name, shape), (images(shape)*255).byte()
    p = r.draw(x, generator(0))
    want = replay(r.train_ops, torch.stack([F.to_dtype(a, torch.float32, scale=True) for a in x]), p)
    torch.testing.assert_close(r.apply(x, p), want, atol=1e-3, rtol=0)


def test_published_sizes():
    crops = lambda name, shape: (sorted(pick_recipe(name, shape).rotation_ops.ops[-1].sizes), pick_recipe(name, shape).size)
    assert crops('mmdc-mnist', (1, 28, 28))==([16, 20, 24], 32)
    assert crops('mmdc-cifar10', (3, 32, 32))==([20], 32)
    assert crops('mmdc-tiny', (3, 64, 64))==([40], 64)
    assert crops('mmdc-stl10', (3, 96, 96))==([64], 64)
    assert crops('ozsoy-cifar10', (3, 32, 32))==([24], 32)
    assert crops('ozsoy-stl10', (3, 96, 96))==([72], 96)
    assert pick_recipe('mmdc-mnist', (1, 28, 28)).eval_ops.ops[0].size==20
    for name in ('mmdc-mnist', 'mmdc-digits'): assert [pick_recipe(name, (1, s, s)).size for s in (8, 16, 20, 28, 32)]==[16, 16, 32, 32, 32]
    pad, crop = pick_recipe('mmdc-digits', (1, 20, 20)).train_ops.ops[:2]
    assert pad.margin==4 and crop.sizes==[24, 20, 16], 'a digit of 20 pixels with its margin is an image of MNIST'
    blur = lambda shape: [2*o.radius+1 for o in pick_recipe('simclr-1', shape).train_ops.ops if isinstance(o, Blur)]
    assert blur((3, 224, 224))==[23] and blur((3, 96, 96))==[9] and blur((3, 64, 64))==[]


def test_auto():
    names = {'mmdc-digits': [(1, 8, 8), (1, 16, 16), (1, 20, 28)], 'mmdc-mnist': [(1, 28, 28), (1, 32, 32), (1, 21, 40)],
             'mmdc-cifar10': [(1, 33, 33), (3, 8, 8), (3, 32, 32), (3, 96, 32)], 'mmdc-tiny': [(3, 64, 64), (4, 80, 80)],
             'mmdc-stl10': [(3, 96, 96), (1, 96, 96)]}
    for shape, name in ((s, name) for name, shapes in names.items() for s in shapes):
        r = pick_recipe('auto', shape)
        assert r.name==name and r.rotate90==(name not in ('mmdc-mnist', 'mmdc-digits'))
    assert not pick_recipe('none', (1, 28, 28)).rotate90 and pick_recipe('none', (3, 28, 28)).rotate90


def test_none_changes_nothing():
    x = (images((3, 20, 20))*255).byte()
    r = pick_recipe('none', x.shape[1:])
    for y in (r.train(x), r.eval(x), r.rotation(x)): torch.testing.assert_close(y, x.float()/255, atol=1e-5, rtol=0)


def test_rotation_turns_before_edges_are_taken():
    x = (images((3, 32, 32), 4)*255).byte()
    k = torch.arange(4)
    plain, edges = (pick_recipe('mmdc-cifar10', (3, 32, 32), s) for s in (False, True))
    torch.testing.assert_close(edges.rotation(x, generator(0), k), Sobel()(rot90(plain.rotation(x, generator(0)), k)))


def test_a_recipe_of_ones_own():
    ops = Chain(RandomCrop(12), Flip())
    mine = Recipe('mine', ops, Chain(CentreCrop(12)), ops, 12)
    assert pick_recipe(mine, (3, 16, 16)).out_shape==(3, 12, 12)
    assert pick_recipe(mine, (3, 16, 16), sobel=True).out_shape==(2, 12, 12) and not mine.sobel
    assert pick_recipe(mine, (3, 16, 16)).train(images((3, 16, 16))).shape==(6, 3, 12, 12)


@pytest.mark.parametrize('call,error,says', [
    (lambda: pick_recipe('mmdc', (3, 32, 32)), ValueError, 'mmdc-cifar10'),
    (lambda: pick_recipe(None, (3, 32, 32)), ValueError, 'auto'),
    (lambda: pick_recipe('auto', (3, 0, 32)), ValueError, 'shape'),
    (lambda: pick_recipe(pick_recipe('auto', (1, 28, 28)), (3, 28, 28)), ValueError, '1 channel'),
    (lambda: RandomCrop(0), ValueError, 'size'),
    (lambda: RandomCrop(()), ValueError, 'size'),
    (lambda: RandomCrop(2.5), TypeError, 'size'),
    (lambda: CentreCrop(None), TypeError, 'out'),
    (lambda: Pad(-1), ValueError, 'margin'),
    (lambda: RandomResizedCrop(8, scale=(1, .1)), ValueError, 'scale.*backwards'),
    (lambda: RandomResizedCrop(8, ratio=(.5, float('nan'))), ValueError, 'ratio'),
    (lambda: Flip(1.5), ValueError, 'p=1.5'),
    (lambda: ColourJitter(brightness=-1), ValueError, 'brightness'),
    (lambda: ColourJitter(hue=.6), ValueError, 'hue'),
    (lambda: Blur(4), ValueError, 'odd'),
    (lambda: Blur(5, sigma=(0, 1)), ValueError, 'sigma'),
    (lambda: Blur(5, sigma=(2, 1)), ValueError, 'sigma')], ids=range(17))
def test_misuse(call, error, says):
    with pytest.raises(error, match=says): call()


# ---- devices, compilation, speed

class NoSync(TorchDispatchMode):
    "Fails where a value would have to travel from the device to the CPU, or a shape depends on values"
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.name() not in ('aten::_local_scalar_dense', 'aten::nonzero', 'aten::masked_select', 'aten::equal'), func.name()
        assert not (func.name()=='aten::index.Tensor' and any(i is not None and i.dtype==torch.bool for i in args[1])), 'mask index'
        out = func(*args, **(kwargs or {}))
        made = [a for a in args if isinstance(a, torch.Tensor) and a.device.type=='cpu']
        assert not (func.name() in ('aten::_to_copy', 'aten::copy_') and made), 'a tensor was made on the CPU and copied'
        return out


@pytest.mark.parametrize('name', RECIPES)
@pytest.mark.parametrize('shape', [(3, 33, 40), (1, 28, 28), (3, 96, 96)], ids=str)
def test_everything_stays_on_the_device(name, shape):
    r = pick_recipe(name, shape, sobel=True)
    with FakeTensorMode(), NoSync():     # a pretended GPU: no values, but devices must agree, and none may be read
        x, k = torch.empty(4, *shape, dtype=torch.uint8, device='cuda'), torch.empty(4, dtype=torch.long, device='cuda')
        p = r.draw(x)
        assert {v.device.type for v in flat(p)}<={'cuda'}
        assert {y.device.type for y in (r.apply(x, p), r.eval(x), r.rotation(x, k=k))}=={'cuda'}


@pytest.mark.parametrize('name', RECIPES)
@pytest.mark.parametrize('shape', [(3, 33, 40), (1, 28, 28)], ids=str)
def test_compiles_to_one_graph(name, shape):
    torch._dynamo.reset()
    r, x = pick_recipe(name, shape), (images(shape)*255).byte()
    apply = torch.compile(r.apply, fullgraph=True, backend='aot_eager')
    for seed in (0, 1):
        p = r.draw(x, generator(seed))
        torch.testing.assert_close(apply(x, p), r.apply(x, p), atol=1e-4, rtol=0)


@pytest.mark.parametrize('op', [*OPS, Sobel()], ids=name_of)
def test_every_operation_compiles(op):
    torch._dynamo.reset()
    x = images((3, 16, 16))
    p = op.draw(x, generator(0))
    torch.testing.assert_close(torch.compile(op.apply, fullgraph=True, backend='aot_eager')(x, p), op.apply(x, p), atol=1e-4, rtol=0)


def has_compiler():
    from torch._inductor.cpp_builder import get_cpp_compiler
    try: return bool(get_cpp_compiler())
    except Exception: return False


@pytest.mark.skipif(not has_compiler(), reason='no C++ compiler')
def test_inductor():
    torch._dynamo.reset()
    op, x = Chain(Flip(), ColourJitter(.4, .4, .4, .1), Greyscale(.2)), images((3, 16, 16))
    p = op.draw(x, generator(0))
    torch.testing.assert_close(torch.compile(op.apply, fullgraph=True)(x, p), op.apply(x, p), atol=1e-4, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('name', RECIPES)
def test_on_a_gpu(name):
    x = (images((3, 33, 40))*255).byte()
    r = pick_recipe(name, (3, 33, 40))
    there, g = x.cuda(), generator(0, 'cuda')
    r.train(there)
    torch.cuda.set_sync_debug_mode('error')
    try:
        p = r.draw(there, g)
        y = r.apply(there, p)
    finally: torch.cuda.set_sync_debug_mode('default')
    cpu = [{k: v.cpu() for k, v in q.items()} for q in p]
    torch.testing.assert_close(y.cpu(), r.apply(x, cpu), atol=1e-3, rtol=0)


def test_faster_than_one_image_at_a_time():
    x = torch.randint(0, 256, (128, 3, 32, 32), dtype=torch.uint8)
    one = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.RandomCrop(20), v2.Resize(32), v2.RandomHorizontalFlip(),
                      v2.ColorJitter(.4, .4, .4, .125), v2.RandomGrayscale(.2)])
    start = time.perf_counter()
    for a in x: one(a)
    assert throughput(pick_recipe('mmdc-cifar10', (3, 32, 32)).train, x, .3)>2*128/(time.perf_counter()-start)


def test_what_training_does_to_images():
    from deepclust.augment import Pad, RandomCrop, Rotate, training_ops
    for shape in ((1,16,16), (1,28,28), (1,32,32)):
        op = training_ops('auto', shape)
        assert [type(o) for o in op.ops]==[Pad,RandomCrop,Rotate] and op(torch.rand(3, *shape)).shape==(3, *shape)
    for shape in ((1,8,8), (1,15,15), (1,33,33), (1,16,20), (3,32,32), (64,)): assert training_ops('auto', shape) is None
    assert training_ops(None, (1,28,28)) is None and training_ops(None, (5,)) is None
    assert training_ops('simclr-0.5', (3,32,32))(torch.rand(2,3,32,32)).shape==(2,3,32,32)
    with pytest.raises(ValueError, match='changes images'): training_ops('gentle', (64,))
    with pytest.raises(ValueError, match='recipe='): training_ops('genlte', (1,28,28))


def test_gentle_moves_and_turns_no_further_than_it_says():
    x = torch.zeros(64,1,20,20); x[:,:,10,10] = 1
    from deepclust.augment import training_ops
    y = training_ops('auto', (1,20,20))(x, torch.Generator().manual_seed(0))
    where = y.flatten(1).argmax(1); r,c = where//20,where%20
    assert (r-10).abs().max()<=3 and (c-10).abs().max()<=3 and len({*zip(r.tolist(),c.tolist())})>8
