"What the core page shows once, here in its corners."
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from deepclust.core import (CheckpointError, CollapseWarning, DivergedError, as_seed, atomic_write, check_choice, check_finite, check_float,
                            check_int, check_pixels, derive_seed, fork_rng, generator, get_device)


@pytest.mark.parametrize('good', [3, np.int32(3), np.uint8(3)])
def test_check_int_accepts(good):
    got = check_int(good, 'k', 1, 3)
    assert got==3 and type(got) is int


@pytest.mark.parametrize('bad', [3., '3', None, True, np.True_, np.float64(3), [3], torch.tensor(3)])
def test_check_int_wrong_kind(bad):
    with pytest.raises(TypeError, match='k=.* is not an integer: pass an integer from 1 to 5'): check_int(bad, 'k', 1, 5)


@pytest.mark.parametrize('bad', [0, 6, -1, 10**30])
def test_check_int_out_of_range(bad):
    with pytest.raises(ValueError, match=f'k={bad} is out of range'): check_int(bad, 'k', 1, 5)


@pytest.mark.parametrize('low,high,open_low,words', [(0, None, False, '>= 0'), (0, None, True, '> 0'), (0, 1, False, 'from 0 to 1'),
                                                    (0, 1, True, '> 0 and <= 1'), (None, 1, False, '<= 1')])
def test_check_float_ranges_in_words(low, high, open_low, words):
    bad = 2 if low is None else -1
    with pytest.raises(ValueError, match=f'number {words}$'): check_float(bad, 'x', low, high, open_low)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf, np.float32('nan')])
def test_check_float_not_finite(bad):
    with pytest.raises(ValueError, match='not finite'): check_float(bad, 'lr')


@pytest.mark.parametrize('bad', ['1', None, True, 1j, [1.]])
def test_check_float_wrong_kind(bad):
    with pytest.raises(TypeError, match='not a number'): check_float(bad, 'lr')


def test_check_float_of_an_integer_beyond_all_floats():
    for bad in (10**400, -10**400):
        with pytest.raises(ValueError, match='lr=.* is not finite: pass a finite number > 0'): check_float(bad, 'lr', 0, open_low=True)


@pytest.mark.parametrize('bad', [[0., 255.], [-.1, 1.], [0., 1.01]])
def test_check_pixels(bad):
    for ok in (torch.tensor([0., 1.]), torch.tensor([0, 255], dtype=torch.uint8), torch.zeros(0)): assert check_pixels(ok) is ok
    with pytest.raises(ValueError, match='must lie in 0..1, these run from .* to .*: divide by 255'): check_pixels(torch.tensor(bad))


def test_check_float_bounds_are_included():
    assert check_float(0, 'x', 0, 1)==0. and check_float(np.float32(1), 'x', 0, 1)==1.
    assert type(check_float(np.float32(.5), 'x')) is float


@pytest.mark.parametrize('bad', [np.zeros(3), {}, 5, None, 'Batch'])
def test_check_choice_refuses(bad):
    with pytest.raises(ValueError, match="pass one of 'batch', 'layer'"): check_choice(bad, 'norm', ['batch', 'layer'])


def test_check_choice_guesses_and_iterates_once():
    with pytest.raises(ValueError, match="did you mean 'batch'"): check_choice('batsh', 'norm', iter(['batch', 'layer']))
    assert check_choice(np.str_('batch'), 'norm', {'batch': 1}.keys())=='batch'


def test_messages_stay_short():
    with pytest.raises(TypeError) as e: check_int('x'*10_000, 'k')
    assert len(str(e.value))<150
    with pytest.raises(TypeError) as e: check_int(np.zeros((50, 50)), 'k')
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('make', [np.asarray, torch.as_tensor], ids=['numpy', 'torch'])
@pytest.mark.parametrize('shape,at', [((5,), (3,)), ((4, 3), (2, 1)), ((2, 3, 4, 4), (1, 2, 3, 0))])
def test_check_finite_counts_and_places(make, shape, at):
    x = np.zeros(shape, np.float32)
    assert check_finite(make(x)) is not None
    x[at] = np.nan
    x[tuple(s-1 for s in shape)] = -np.inf
    place = ', '.join(map(str, at))
    with pytest.raises(ValueError, match=rf'Z contains 1 NaN and 1 inf, the first at Z\[{place}\]'): check_finite(make(x), 'Z')


@pytest.mark.parametrize('x', [np.zeros((0, 3)), np.arange(3), np.array([True]), torch.zeros(0), torch.arange(3, dtype=torch.uint8),
                               np.full(9, 6e4, np.float16), torch.full((9,), 6e4, dtype=torch.float16),
                               torch.full((9,), 3e38, dtype=torch.bfloat16), np.array([3e38, 3e38, -3e38], np.float32)])
def test_check_finite_accepts(x): assert check_finite(x) is x


def test_check_finite_opposite_infinities():
    with pytest.raises(ValueError, match='0 NaN and 2 inf'): check_finite(np.array([np.inf, -np.inf]))


def test_check_finite_odd_memory_layouts():
    x = np.zeros((4, 6))[::-1, ::2]
    x.flags.writeable = False
    assert check_finite(x) is x
    assert check_finite(torch.zeros(4, 6).t()[::2]) is not None


@pytest.mark.parametrize('bad', ['gpu', 'cuda:x', '', 'meta', 0, 3.5, object()])
def test_unknown_device(bad):
    with pytest.raises(ValueError, match='device=.* is unknown: pass'): get_device(bad)


def test_device_is_normalised():
    for d in ('cpu', 'cpu:0', torch.device('cpu')): assert get_device(d)==torch.device('cpu')
    best = get_device()
    assert torch.zeros(1, device=best).device==best


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without CUDA')
def test_absent_cuda_is_a_value_error():
    with pytest.raises(ValueError, match="'cuda' is not available here: pass device='cpu'"): get_device('cuda')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_cuda_index_and_forked_rng():
    assert get_device('cuda').index is not None
    with pytest.raises(ValueError, match='does not exist'): get_device('cuda:99')
    before = torch.cuda.get_rng_state()
    with fork_rng(1, 'cuda'): a = torch.rand(3, device='cuda')
    with fork_rng(1, 'cuda'): b = torch.rand(3, device='cuda')
    assert torch.equal(a, b) and torch.equal(before, torch.cuda.get_rng_state())


@pytest.mark.parametrize('bad,kind', [('0', TypeError), (1.5, TypeError), (True, TypeError), (-1, ValueError), (2**63, ValueError)])
def test_bad_random_state(bad, kind):
    with pytest.raises(kind, match='random_state='): as_seed(bad)


def test_as_seed_range_and_advance():
    rs, g = np.random.RandomState(0), np.random.default_rng(0)
    seeds = [as_seed(s) for s in (None, 0, rs, rs, g, g)]
    assert all(type(s) is int and 0<=s<2**63 for s in seeds) and len(set(seeds))==6


def test_derived_seeds_are_the_same_in_another_process():
    code = "from deepclust.core import derive_seed; print(derive_seed(7, 'augment', 3, 'view'))"
    env = {**os.environ, 'PYTHONHASHSEED': '99'}
    out = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, check=True).stdout
    assert int(out)==derive_seed(7, 'augment', 3, 'view')


def test_derived_seeds_do_not_collide():
    paths = [(), (0,), (0, 0), (1,), (2**32,), (1, 0), ('',), ('0',), ('a', 'b'), ('ab',), ('b', 'a'), ('a', 0), (0, 'a')]
    seeds = {derive_seed(s, *p) for s in [*range(50), 2**32, 2**62] for p in paths}
    assert len(seeds)==52*len(paths) and all(0<=s<2**63 for s in seeds)
    assert len({s % 2**32 for s in seeds})==len(seeds)   # what torch's CPU generator and scikit-learn see of them


@pytest.mark.parametrize('bad', [-1, 1.5, None])
def test_derive_seed_bad_path(bad):
    with pytest.raises((TypeError, ValueError)): derive_seed(0, bad)
    with pytest.raises((TypeError, ValueError)): derive_seed(bad, 'x')


def test_derived_bits_are_balanced():
    bits = np.array([[derive_seed(i, 'x')>>b & 1 for b in range(63)] for i in range(2000)]).mean(0)
    assert abs(bits-.5).max()<.06


def test_generators_are_independent_of_the_global_one():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    g = generator(3)
    torch.rand(5, generator=g)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(torch.rand(2, generator=generator(3)), torch.rand(2, generator=generator(3)))


def test_fork_rng_restores_after_an_error_and_leaves_numpy():
    torch.manual_seed(0)
    np.random.seed(0)
    before, np_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    with pytest.raises(KeyError):
        with fork_rng(5):
            torch.rand(7)
            raise KeyError
    assert torch.equal(before, torch.get_rng_state()) and (np_before==np.random.get_state()[1]).all()


def test_fork_rng_nests():
    with fork_rng(1):
        a = torch.rand(1)
        with fork_rng(2): torch.rand(9)
        b = torch.rand(1)
    with fork_rng(1): assert torch.equal(torch.rand(2), torch.cat([a, b]))


def test_errors_are_what_callers_expect():
    assert issubclass(CollapseWarning, UserWarning)
    assert issubclass(DivergedError, RuntimeError) and issubclass(CheckpointError, RuntimeError)


def test_atomic_write_never_shows_half(tmp_path):
    path, size, seen = tmp_path/'f', 200_000, set()
    atomic_write(path, b'0'*size)

    def writes():
        for i in range(1, 30): atomic_write(path, str(i%10).encode()*size)
    t = threading.Thread(target=writes)
    t.start()
    while t.is_alive():
        got = path.read_bytes()
        seen.add((len(got), len(set(got))))
    t.join()
    assert seen<={(size, 1)} and [p.name for p in tmp_path.iterdir()]==['f']


def test_atomic_write_text_folders_links(tmp_path):
    assert atomic_write(tmp_path/'a'/'b.txt', 'é').read_bytes()=='é'.encode()
    (tmp_path/'link').symlink_to(tmp_path/'a'/'b.txt')
    atomic_write(tmp_path/'link', 'new')
    assert (tmp_path/'link').is_symlink() and (tmp_path/'a'/'b.txt').read_text()=='new'
    assert atomic_write(str(tmp_path/'plain'), 'x').stat().st_mode & 0o777==0o666 & ~_umask()


def _umask():
    old = os.umask(0)
    os.umask(old)
    return old
