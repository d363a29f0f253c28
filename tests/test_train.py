"""The loop: kill and resume, skipping, checkpoints, dtypes of the state."""
import json,os,subprocess,sys
import numpy as np, pytest, torch
from torch import nn
from deepclust.core import CheckpointError, DivergedError
from deepclust.train import (History, Loop, Stage, flatten, guarded_step, load_checkpoint, make_optimizer, read_checkpoint, save_checkpoint,
                             unflatten, weighted_sum)

class Noisy(Stage):
    "Uses every source of randomness: batch generator, saved generator, dropout"
    name,epochs,steps_per_epoch = 'noisy',6,5
    def __init__(self, net, sgd=False): self.net,self.sgd,self.seen = net,sgd,0
    def optimizer(self): return make_optimizer(self.net.parameters(), 'sgd' if self.sgd else 'adam', lr=.05, weight_decay=1e-3)
    def lr_factor(self, t): return 1-t
    def batches(self, epoch, generator): return (('x',i) for i in torch.randperm(50, generator=generator).split(10))
    def prepare(self, pass_, idx): return torch.randn(len(idx), 4, generator=self.generator)
    def losses(self, pass_, idx, x): return {'a':self.net(x).pow(2).mean(), 'b':(self.net(x)-1).abs().mean()}
    def weight(self, name, step): return .1*step if name=='b' else 1.
    def after_step(self, pass_, idx, x): self.seen += len(idx)
    def after_epoch(self, epoch): return {'seen':self.seen}
    def state_dict(self): return {'seen':self.seen}
    def load_state_dict(self, s): self.seen = s['seen']

class Setup(Stage):
    name = 'setup'
    def __init__(self, net): self.net = net
    def setup(self): nn.init.constant_(self.net[0].bias, .3)

def make(sgd=False, **kw):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4,8), nn.Dropout(.3), nn.ReLU(), nn.Linear(8,1)); second = Noisy(net, sgd); second.name = 'second'
    return net,Loop(net, [Setup(net), Noisy(net, sgd), second], seed=7, **kw)

@pytest.mark.parametrize('sgd', [False, True])
def test_interrupted_equals_uninterrupted(tmp_path, sgd, ticking):
    net,loop = make(sgd); assert loop.run()
    slices = 0
    while True:
        n2,l2 = make(sgd, checkpoint=tmp_path, resume=True, time_budget_s=.055); slices += 1
        assert slices<500
        if l2.run(): break
    assert slices>2
    for a,b in zip(net.parameters(), n2.parameters()): assert torch.equal(a,b)
    drop = lambda rows: [{k:v for k,v in r.items() if k!='seconds'} for r in rows]
    assert drop(loop.history.rows)==drop(l2.history.rows)
    n3,l3 = make(sgd, checkpoint=tmp_path, resume=True)      # a finished run is loaded, not repeated
    assert l3.run() and l3.step==loop.step and torch.equal(next(n3.parameters()), next(net.parameters()))

def test_every_single_step_is_a_place_to_stop(tmp_path):
    net,loop = make(); loop.run()
    for n in range(1,100):
        n2,l2 = make(checkpoint=tmp_path, resume=True, time_budget_s=0)
        if l2.run(): break
    assert n==61  # 2 stages x 6 epochs x 5 steps, one step a slice; the last slice only closes the epoch
    for a,b in zip(net.parameters(), n2.parameters()): assert torch.equal(a,b)

def test_skipped_step_leaves_no_trace():
    for name in ('sgd','adam','adamw'):
        w,v = nn.Parameter(torch.ones(3)),nn.Parameter(torch.ones(3)); a,b = make_optimizer([w],name,lr=.1),make_optimizer([v],name,lr=.1)
        for step in range(4):
            for p,o,bad in ((w,a,False),(v,b,step in (0,2))):
                if bad:
                    o.zero_grad(); (p.sum()*float('inf')).backward(); assert guarded_step(o, torch.tensor(1.))
                o.zero_grad(); (p*torch.tensor([1.,2.,3.])).sum().backward(); assert not guarded_step(o, torch.tensor(1.))
        assert torch.equal(w,v), name

def test_zero_weight_removes_a_nan_term():
    assert weighted_sum({'a':torch.tensor(1.),'b':torch.tensor(float('nan'))}, {'b':0}).item()==1.

def test_checkpoint_round_trip_shards_and_dtypes(tmp_path):
    state = {'big':torch.randn(3000,700), 'bf':torch.randn(5).bfloat16(), 'u8':torch.arange(9,dtype=torch.uint8), 'none':None,
             'scalar':torch.tensor(3),             'np':np.arange(4.), 7:{'x':[1,2.5,'s',True]}, 'empty':torch.zeros(0,3)}
    p = save_checkpoint(tmp_path, state, 1, shard_mib=1)
    assert max(f.stat().st_size for f in p.iterdir())<1.1*2**20 and len(list(p.glob('tensors-*')))>=8
    back = load_checkpoint(tmp_path)
    for k in ('big','bf','u8','scalar','empty'): assert torch.equal(back[k],state[k]) and back[k].dtype==state[k].dtype
    assert back[7]=={'x':[1,2.5,'s',True]} and back['none'] is None and isinstance(back['np'],np.ndarray)
    flat = {}; assert unflatten(json.loads(json.dumps(flatten({'a':(1,2)},flat))),flat)=={'a':[1,2]}

def test_only_two_are_kept_and_rubbish_is_ignored(tmp_path):
    (tmp_path/'.tmp-000000009').mkdir()
    for s in range(5): save_checkpoint(tmp_path, {'s':s}, s)
    assert sorted(p.name for p in tmp_path.glob('step-*'))==['step-000000003','step-000000004'] and load_checkpoint(tmp_path)=={'s':4}
    (tmp_path/'step-000000004'/'state.json').write_text('{"files": {')
    assert load_checkpoint(tmp_path)=={'s':3}
    with pytest.raises(CheckpointError, match='state.json cannot be read'): read_checkpoint(tmp_path/'step-000000004')
    assert load_checkpoint(tmp_path/'nowhere') is None

def test_history_columns():
    h = History([{'a':1},{'b':2.}])
    assert h.columns==['a','b'] and np.isnan(h['b'][0])
    with pytest.raises(KeyError, match='no column'): h['c']
    assert [json.loads(l) for l in h.to_jsonl().splitlines()]==[{'a':1},{'b':2.}]

def test_snapshots_and_stop():
    net,loop = make(snapshots=(2,5), snapshot=lambda: {'labels':np.zeros(3)})
    loop.stages[2].stop = lambda history: history['epoch'][-1]>=4
    loop.run()
    assert sorted(loop.history.snapshots)==[2] and loop.history.events[0]['event']=='stopped' and len(loop.history)==10

class Broken(Noisy):
    "Losses of chosen passes are spoilt from a step on; of ten batches the passes take turns as `turns` says"
    def __init__(self, net, spoil, turns='a', start=1):
        super().__init__(net); self.spoil,self.turns,self.start,self.n = spoil,turns,start,0
    def batches(self, epoch, generator):
        idx = torch.randperm(50, generator=generator).split(5)
        return ((self.turns[i%len(self.turns)],idx[i]) for i in range(10))
    def losses(self, pass_, idx, x):
        self.n += 1
        return super().losses(pass_, idx, x)|{'kl':self.net(x).sum()}|(self.spoil(self, pass_, x) if self.n>=self.start else {})
    def state_dict(self): return super().state_dict()|dict(n=self.n)
    def load_state_dict(self, s): self.n = s['n']; super().load_state_dict(s)

def nan(stage, x): return stage.net(x).sum()*float('nan')
def steep(stage, x): w = stage.net[0].weight; return ((w-w.detach()).pow(2).sum()).sqrt()   # 0, and its slope is not finite

@pytest.mark.parametrize('spoil, turns, says, step', [
    (lambda s,p,x: {'kl':nan(s,x)}, 'a', "^loss 'kl' is not finite since step 8 \\(stage 'noisy', 13 steps .*loss_weights={'kl': 0}", 8),
    (lambda s,p,x: {'kl':nan(s,x)} if p=='b' else {}, 'ab',                     # the other pass is fine, and the last to be seen
     "^loss 'kl' is not finite since step 8 \\(stage 'noisy', pass 'b', 2[0-9] steps", 8),
    (lambda s,p,x: {'kl':nan(s,x)} if p=='b' else {}, 'aaaab',                  # one batch of five
     "^loss 'kl' is not finite since step 10 \\(stage 'noisy', pass 'b', 2[0-9] steps", 10),
    (lambda s,p,x: {'kl':nan(s,x)}|({'a':nan(s,x)} if s.n%2 else {}), 'a',      # the one that is bad most often first
     "^loss 'kl', 'a' is not finite since step 8 ", 8),
    (lambda s,p,x: {'kl':steep(s,x)}, 'a', "^the gradient is not finite since step 8 .*{'NAME': 0} with one of a, b, kl to find", 8)])
def test_divergence_names_loss_pass_and_step(spoil, turns, says, step):
    net,_ = make(); stage = Broken(net, spoil, turns, start=8); stage.epochs = 40
    with pytest.raises(DivergedError, match=says) as e: Loop(net, [stage], max_skips=20).run()
    assert e.value.step==step

def test_a_whole_epoch_of_skips_ends_a_short_run():
    net,_ = make(); stage = Broken(net, lambda s,p,x: {'kl':nan(s,x)} if p=='b' or s.n>10 else {}, 'ab'); stage.epochs = 2
    with pytest.raises(DivergedError, match="'kl' is not finite since step 2 .*pass 'b', 10 steps"): Loop(net, [stage]).run()

def test_what_was_skipped_is_remembered_over_a_pause(tmp_path):
    for n in range(100):
        net,_ = make(); stage = Broken(net, lambda s,p,x: {'kl':nan(s,x)} if p=='b' else {}, 'ab', start=8); stage.epochs = 40
        try: assert not Loop(net, [stage], max_skips=20, checkpoint=tmp_path, resume=True, time_budget_s=0).run()
        except DivergedError as e: assert n>40 and e.step==8 and str(e).startswith("loss 'kl' is not finite since step 8 "); return
    raise AssertionError('it never diverged')

def test_checkpoints_whose_skips_were_a_count(tmp_path):
    net,loop = make(checkpoint=tmp_path, time_budget_s=0); loop.run()
    s = load_checkpoint(tmp_path); s['skips'] = {'x':torch.tensor(0)}; save_checkpoint(tmp_path, s, 1)
    n2,l2 = make(checkpoint=tmp_path, resume=True); l2.run(); ref,other = make(); other.run()
    assert all(torch.equal(a,b) for a,b in zip(n2.parameters(), ref.parameters()))

def test_temporary_folders_of_living_processes_stay(tmp_path):
    dead = subprocess.Popen([sys.executable,'-c','']); dead.wait()
    names = {f'.tmp-000000007-{os.getppid()}':True, f'.tmp-000000007-{dead.pid}':False, f'.tmp-000000007-{os.getpid()}':False,
             '.tmp-000000007':False, '.tmp-000000007-1':True, '.tmp-000000007-mine':True}
    for n in names: (tmp_path/n).mkdir()
    save_checkpoint(tmp_path, {'s':1}, 1)
    assert {n:(tmp_path/n).exists() for n in names}==names and load_checkpoint(tmp_path)=={'s':1}

def test_a_history_without_epochs_says_so():
    with pytest.raises(ValueError, match='no epochs'): History().plot()

def test_stale_checkpoints_of_another_run_do_not_win(tmp_path):
    for s in (316,320): save_checkpoint(tmp_path, {'s':s}, s)
    save_checkpoint(tmp_path, {'s':'new'}, 1)
    assert load_checkpoint(tmp_path)=={'s':'new'} and not list(tmp_path.glob('.*-*'))
    save_checkpoint(tmp_path, {'s':'again'}, 1); assert load_checkpoint(tmp_path)=={'s':'again'}

def test_damaged_files_fall_back_to_the_one_before(tmp_path):
    for s in (1,2): save_checkpoint(tmp_path, {'w':torch.ones(50)*s}, s)
    f = tmp_path/'step-000000002'/'tensors-000.safetensors'; f.write_bytes(bytes(f.stat().st_size))
    assert load_checkpoint(tmp_path)['w'][0]==1
    (tmp_path/'step-000000001'/'state.json').write_text('{}')
    with pytest.raises(CheckpointError): load_checkpoint(tmp_path)

def test_run_goes_on_in_the_same_process(tmp_path):
    net,loop = make(time_budget_s=0)
    for n in range(100):
        if loop.run(): break
    ref,other = make(); other.run()
    assert n>5 and all(torch.equal(a,b) for a,b in zip(net.parameters(), ref.parameters()))


def test_two_processes_do_not_share_a_checkpoint_folder(tmp_path):
    from deepclust import IDEC
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    def fit(**kw): return IDEC(2, pretrain_epochs=1, epochs=2, random_state=0, device='cpu').fit(x, checkpoint=tmp_path/'c', **kw)
    other = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    try:
        (tmp_path/'c').mkdir(); (tmp_path/'c'/'lock').write_text(str(other.pid))
        with pytest.raises(CheckpointError, match=f'another process is at it .{other.pid}.*lock'): fit()
        assert [p.name for p in (tmp_path/'c').iterdir()]==['lock']                  # nothing was touched
    finally: other.communicate(b'\n')
    labels = fit().labels_                                                         # that process is gone
    assert not (tmp_path/'c'/'lock').exists()
    (tmp_path/'c'/'lock').write_text(str(os.getpid()))                             # another of this number, before a restart
    assert np.array_equal(fit(resume=True).labels_, labels) and not (tmp_path/'c'/'lock').exists()
