"Two gloo processes under torchrun: the weights of one, the same in both, stopped and resumed; and what is refused"
import os
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
import torch.distributed as dist

from deepclust.distributed import rows_of, team
from deepclust.train import TEAM, Alone

pytestmark = pytest.mark.skipif(not dist.is_available(), reason='torch without torch.distributed')

CASES = """
    import sys, warnings, torch
    import numpy as np
    from torch import nn
    from deepclust import AutoencoderKMeans, ContrastiveDEC, KMeans, MMDC
    from deepclust.methods.autoencoder import PretrainStage
    from deepclust.train import Loop, Stage, make_optimizer

    warnings.simplefilter('ignore')
    PretrainStage.gather = False
    x = np.random.default_rng(0).random((48, 8, 8)).astype('float32'); flat = x.reshape(48, 64)
    x[:24, :4] += .7; x = (x/x.max()*255).astype('uint8')

    def encoder(): torch.manual_seed(0); return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 8))
    def contrast(**kw):
        kw = dict(epochs=4, batch_size=16, lr=1e-3, device='cpu', random_state=0)|kw
        return ContrastiveDEC(3, **kw)
    def auto(**kw): return AutoencoderKMeans(3, **dict(pretrain_epochs=3, batch_size=16, device='cpu', random_state=0)|kw)
    def of(m): return dict(net={k: v.clone() for k, v in m.net_.state_dict().items()}, labels=m.labels_, rows=m.history_.rows)

    class Sometimes(Stage): # a NaN in the last process at the third step
        name, epochs, gather = 'sometimes', 1, False
        def __init__(self, net, rank): self.net, self.rank, self.n, self.noise = net, rank, 0, []
        def optimizer(self): return make_optimizer(self.net.parameters(), lr=.1)
        def batches(self, epoch, generator): return (('all', torch.arange(4)) for _ in range(5))
        def losses(self, pass_, idx, prepared):
            self.n += 1; self.noise.append((torch.rand(()).item(), torch.rand((), generator=self.generator).item(), idx.tolist()))
            return {'a': self.net(torch.ones(len(idx), 2)).mean()*(float('nan') if self.n==3 and self.rank else 1.)}

    def plain(): # without noise and without batch norm
        return dict(contrast=of(contrast(recipe='none', encoder=encoder(), image_size=8).fit(x)), auto=of(auto(noise=0.).fit(flat)))

    def refused(f):
        try: f()
        except ValueError as e: return str(e)

    if __name__=='__main__':
        from deepclust.distributed import team
        where = sys.argv[1]; torch.set_num_threads(1)
        with team(60) as t:
            out = plain()
            out['noisy'] = of(contrast(recipe='simclr-0.5', random_state=None, encoder='vgg', image_size=16, epochs=2).fit(x))
            straight = auto(noise=.2).fit(flat, checkpoint=where+'/a'); out['straight'] = of(straight)
            m, slices = None, 0
            while m is None or not m.finished_:
                m = auto(noise=.2).fit(flat, checkpoint=where+'/b', resume=True, time_budget_s=0); slices += 1
            out |= dict(resumed=of(m), slices=slices)
            torch.manual_seed(0); net = nn.Linear(2, 1); stage = Sometimes(net, t.rank); loop = Loop(net, [stage]); loop.run()
            out |= dict(nan=dict(weight=net.weight.detach(), rows=loop.history.rows), noise=stage.noise)
            out['mmdc'] = refused(lambda: MMDC(3, epochs=1, device='cpu').fit(x))
            out['parts'] = refused(lambda: auto().fit(flat[t.rank::2]))
            out['tiny'] = refused(lambda: auto(batch_size=1).fit(flat))
            out['many'] = of(auto(n_init=2).fit(flat)); out['kmeans'] = KMeans(3, random_state=0).fit(flat).labels_
            torch.save(out, f'{where}/{t.rank}.pt')
"""


@pytest.fixture(scope='module')
def ran(tmp_path_factory):
    where = tmp_path_factory.mktemp('two'); script = where/'cases.py'; script.write_text(textwrap.dedent(CASES))
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(p for p in sys.path if p), 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    cmd = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node=2', str(script), str(where)]
    done = subprocess.run(cmd, env=env, capture_output=True, text=True, timeout=300, cwd=where)
    assert done.returncode==0, done.stdout+done.stderr
    return [torch.load(where/f'{r}.pt', weights_only=False) for r in range(2)]


@pytest.fixture(scope='module')
def alone():
    scope = {'__name__': 'cases'}
    with warnings.catch_warnings():
        from deepclust.methods.autoencoder import PretrainStage
        before = PretrainStage.gather
        exec(textwrap.dedent(CASES), scope)
        try: return scope['plain']()
        finally: PretrainStage.gather = before


def gap(a, b): return max(float((a['net'][k].double()-b['net'][k].double()).abs().max()) for k in a['net'])


@pytest.mark.parametrize('case', ['contrast', 'auto'])
def test_two_end_with_the_weights_of_one(ran, alone, case):
    for r in range(2):
        assert gap(ran[r][case], alone[case])<2e-5 and np.array_equal(ran[r][case]['labels'], alone[case]['labels'])
        for a, b in zip(ran[r][case]['rows'], alone[case]['rows'], strict=True):
            assert a.keys()==b.keys() and a['samples']==b['samples'] and a['step']==b['step']
            for k in a: assert k in ('stage', 'seconds') or a[k]==pytest.approx(b[k], rel=1e-4, abs=1e-5), k
    assert len(alone[case]['rows'])>2


@pytest.mark.parametrize('case', ['contrast', 'auto', 'noisy', 'straight', 'resumed', 'many'])
def test_both_hold_the_same(ran, case):
    a, b = ran[0][case], ran[1][case]
    assert gap(a, b)==0 and np.array_equal(a['labels'], b['labels'])
    drop = lambda rows: [{k: v for k, v in r.items() if k!='seconds'} for r in rows]
    assert drop(a['rows'])==drop(b['rows'])


def test_resumed_is_uninterrupted(ran):
    for out in ran:
        assert out['slices']>=9 and gap(out['straight'], out['resumed'])==0
        assert np.array_equal(out['straight']['labels'], out['resumed']['labels'])


def test_nan_in_one_is_skipped_in_both(ran):
    a, b = (out['nan'] for out in ran)
    assert torch.equal(a['weight'], b['weight']) and a['rows'][0]['skipped']==b['rows'][0]['skipped']==1 and a['rows'][0]['samples']==20


def test_noise_is_each_ones_own(ran):
    a, b = (out['noise'] for out in ran)
    assert [v[2] for v in a]==[[0, 1]]*5 and [v[2] for v in b]==[[2, 3]]*5
    assert len({n for out in ran for v in out['noise'] for n in v[:2]})==20


def test_what_is_refused(ran):
    for out in ran:
        assert 'MMDC cannot share' in out['mmdc'] and "stage 'train'" in out['mmdc']
        assert 'do not agree in' in out['parts'] and 'data' in out['parts']
        assert 'larger batch_size' in out['tiny'] and np.array_equal(out['kmeans'], ran[0]['kmeans'])


def test_shares():
    b = torch.arange(23)
    for size in (1, 2, 5, 23):
        parts = [rows_of(b, r, size) for r in range(size)]
        assert len({len(p) for p in parts})==1 and torch.equal(torch.cat(parts), b[:23//size*size])
    with pytest.raises(TypeError, match='tuple'): rows_of((b, b), 0, 2)


def test_without_torchrun_nothing_happens(monkeypatch):
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    with team() as t: assert type(t) is Alone and (t.rank, t.size)==(0, 1) and len(TEAM)==1
    monkeypatch.setenv('WORLD_SIZE', '1')
    with team() as t: assert type(t) is Alone and not dist.is_initialized()
    with pytest.raises(ValueError, match='timeout_s'), team(0): pass


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    for k, v in dict(WORLD_SIZE='4', LOCAL_RANK='2').items(): monkeypatch.setenv(k, v)
    with pytest.raises(ValueError, match='nproc-per-node=2'), team(): pass
    assert len(TEAM)==1
