"""Studies: result files, resuming, keeping, turns, pending, divergence, tables, other programs."""
import json, subprocess, sys, textwrap
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np, pytest, torch
from torch import nn

import deepclust.bench as bench
import deepclust.published as published
from deepclust.base import DeepClusterer
from deepclust.bench import (KEYS, PEERS, STUDIES, Arm, Peer, Study, at_a_glance, beside, claim, commit, give_labels, main,
                             markdown_table, number, obstacle, pending, races, read_results, result_path, results_root, run, run_one,
                             run_peer, runs_of, score_labels, standings, state, summarise, thin, turn_ratios, verify)
from deepclust.data import load
from deepclust.metrics import scores
from deepclust.published import Published
from deepclust.train import Stage, make_optimizer

REPO = Path(__file__).parents[1]
NO_TIMES = {'wall_s', 'images_per_s', 'peak_mib', 'date', 'history', 'complete'}


class Steps(Stage):
    "Noise from every source of randomness, so that an inexact resume shows"
    name = 'cluster'
    def __init__(self, est, x): self.est, self.x, self.epochs, self.n = est, x, est.epochs, 0
    def optimizer(self): return make_optimizer(self.est.net_.parameters(), lr=1e-2)
    def batches(self, epoch, generator): return (('all', i) for i in torch.randperm(len(self.x), generator=generator).split(300))
    def prepare(self, pass_, idx): return torch.randn(len(idx), 1, generator=self.generator)
    def losses(self, pass_, idx, noise):
        self.n += 1
        z = self.est._embed(self.x[idx])
        return {'size': ((z.square().sum(1, keepdim=True)-1-.1*noise).square().mean())*(float('nan') if self.n>=self.est.nan_from else 1.)}
    def state_dict(self): return {'n': self.n}
    def load_state_dict(self, s): self.n = s['n']


class Toy(DeepClusterer):
    _losses = ('size',)
    def __init__(self, n_clusters=8, *, epochs=6, nan_from=10**9, extra=None, device='cpu', random_state=None):
        self.n_clusters, self.epochs, self.nan_from, self.device, self.random_state = n_clusters, epochs, nan_from, device, random_state
        self.extra = extra
    def _build(self, shape): return nn.Linear(int(np.prod(shape)), self.n_clusters)
    def _stages(self, x): return [Steps(self, x)]
    def _embed(self, x): return self.net_(x)
    def _log_proba(self, z): return z.log_softmax(1)
    def kmeans_labels(self, X): return np.arange(len(X))%3


pytestmark = pytest.mark.filterwarnings('ignore')
ONE = Arm('KMeans', 'digits', {'n_init': 1}, None, 'all', 'one', .1)
STUDY = Study('s', 'A study', [ONE, Arm('KMeans', 'digits', protocol='all', cost_s=.2)], seeds=3, question='?')


@pytest.fixture
def root(tmp_path): return tmp_path/'results'


def silent(line): pass


# ---- one file

def test_schema(root):
    path = result_path('s', ONE, 2, root)
    row = run_one(STUDY, ONE, 2, root=root, threads=1)
    assert list(row)==KEYS==sorted(('schema study method dataset protocol n diff params seed metrics history wall_s images_per_s peak_mib '
                                    'device torch commit date complete').split())
    assert path.name=='digits-KMeans-one-s2.json' and verify(path)==[] and row==json.loads(path.read_text())
    assert (row['diff'], row['params'], row['seed'], row['n']) == ({'n_init': 1}, {'n_init': 1, 'n_clusters': 10}, 2, 1797)
    assert row['complete'] is True and row['peak_mib']>50 and row['wall_s']>0 and row['device'].startswith('cpu, 1 thread')
    assert row['metrics']['nmi_max']<=row['metrics']['nmi']<=row['metrics']['nmi_geometric']


def test_deep_result_and_second_answer(root):
    arm = Arm(Toy, 'digits', {'epochs': 3})
    row = run_one('s', arm, 0, root=root)
    assert verify(result_path('s', arm, 0, root))==[]
    assert row['history']['epoch']==[1, 2, 3] and row['images_per_s']>0 and row['method']=='Toy' and row['diff']=={'epochs': 3}
    y = load('digits').y
    assert row['metrics']['kmeans_acc']==number(scores(y, np.arange(1797)%3)['acc'])


@pytest.mark.parametrize('change,says', [
    (lambda r: r.pop('seed'), 'keys'), (lambda r: r.update(extra=1), 'keys'), (lambda r: r.update(n='1797'), "n is '1797'"),
    (lambda r: r.update(seed=True), 'seed is True'), (lambda r: r['metrics'].update(acc=1.2), 'outside'),
    (lambda r: r['metrics'].update(acc=None), 'did not diverge'), (lambda r: r['metrics'].pop('ari'), 'lack ari'),
    (lambda r: r['metrics'].update(nmi_max=.99), 'nmi_max'), (lambda r: r['metrics'].update(nmi='.9'), "metrics.nmi is '.9'"),
    (lambda r: r.update(history={'a': 1}), 'history.a is 1'), (lambda r: r.update(date='yesterday'), 'UTC'),
    (lambda r: r.update(commit='main'), 'commit'), (lambda r: r.update(study='other'), 'file name'),
    (lambda r: r.update(wall_s=-1), 'wall_s'),
    (lambda r: r.update(history={'a': [1]*101}), '100'), (lambda r: r.update(history={'a': [1], 'b': []}), 'length'),
    (lambda r: r.update(protocol='x'*20_000), 'bytes'), (lambda r: r.update(schema=2), 'schema')])
def test_verify_sees(root, change, says):
    path = result_path('s', ONE, 0, root)
    row = run_one('s', ONE, 0, root=root)
    change(row); path.write_text(json.dumps(row, sort_keys=True))
    assert any(says in p for p in verify(path)), verify(path)


def test_long_histories_fit(root):
    rows = [{f'a_rather_long_column_name_{j}': i*1.23456789e-7*j for j in range(40)}|{'stage': 'x'} for i in range(5000)]
    row = run_one('s', ONE, 0, root=root)
    path = result_path('s', ONE, 0, root)
    bench.atomic_write_result(path, row|dict(history=rows))
    assert verify(path)==[] and len(json.loads(path.read_text())['history'])==40


def test_numbers_are_json():
    assert [number(v) for v in (np.float32(1/3), np.int64(3), float('inf'), np.nan, True, None)] == [.33333, 3, None, None, True, None]
    assert thin([])=={} and thin([{'a': 1}, {'b': 2}])=={'a': [1, None], 'b': [None, 2]}
    assert len(thin([{'a': i} for i in range(101)])['a'])==100


def test_labels_only_score_after_fit(root, monkeypatch):
    "The estimator gets the data; whatever y holds, the labels found are the same"
    seen = []
    monkeypatch.setattr(bench, 'dataset', lambda *a: load('digits'))
    monkeypatch.setattr(bench, 'score_labels', lambda y, labels: seen.append(labels) or score_labels(y, labels))
    run_one('s', ONE, 0, root=root)
    shuffled = load('digits'); shuffled.y = shuffled.y[torch.randperm(1797)]
    monkeypatch.setattr(bench, 'dataset', lambda *a: shuffled)
    run_one('s', ONE, 0, root=root)
    assert (seen[0]==seen[1]).all()


def test_commit(tmp_path):
    who = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    def git(*args): return subprocess.run(['git', *who, *args], cwd=tmp_path, capture_output=True, text=True).stdout.strip()
    package = tmp_path/'package'; package.mkdir(); (package/'a.py').write_text('1')
    assert commit(package)=='unknown'
    git('init', '-q'); git('add', '.'); git('commit', '-qm', 'x')
    assert commit(package)==git('rev-parse', '--short', 'HEAD')
    (tmp_path/'other.txt').write_text('1'); assert not commit(package).endswith('-dirty')
    (package/'a.py').write_text('2'); assert commit(package).endswith('-dirty')


def test_root_is_found_from_below(tmp_path, monkeypatch):
    (tmp_path/'settings.ini').touch(); (tmp_path/'results').mkdir(); (tmp_path/'nbs'/'deep').mkdir(parents=True)
    monkeypatch.chdir(tmp_path/'nbs'/'deep')
    assert results_root()==tmp_path/'results' and results_root('x')==Path('x')


# ---- stopping, going on, diverging

def test_resumed_equals_uninterrupted(root, ticking):
    once = run_one('s', Arm(Toy, 'digits', name='once'), 1, root=root, threads=1)
    arm, slices = Arm(Toy, 'digits', name='slices'), 0
    while True:
        row = run_one('s', arm, 1, time_budget_s=.055, resume=True, root=root, threads=1); slices += 1
        if slices==1: first = row; folder = root.parent/'.runs'/'s'/'digits-Toy-slices-s1'; assert list(folder.rglob('step-*'))
        if row['complete']: break
        assert verify(result_path('s', arm, 1, root))==[] and slices<200
    assert slices>2 and not first['complete'] and row['wall_s']>first['wall_s']
    assert {k: v for k, v in row.items() if k not in NO_TIMES} == {k: v for k, v in once.items() if k not in NO_TIMES}
    assert row['history'].keys()==once['history'].keys()
    assert all(row['history'][c]==once['history'][c] for c in once['history'] if c!='seconds')
    assert not folder.exists() and (root.parent/'.runs'/'.gitignore').read_text()=='*\n'


def test_run_leaves_unfinished_alone_until_told(root):
    study, lines = Study('s', '', [Arm(Toy, 'digits')], seeds=1), []
    run_one(study, study.arms[0], 0, time_budget_s=0, root=root)
    assert state(study, study.arms[0], 0, root)=='unfinished' and pending([study], root)[0]['why']=='unfinished'
    assert read_results('s', root)==[] and len(read_results('s', root, complete=False))==1
    assert '1 unfinished' in markdown_table(study, root)
    assert run(study, root=root, out=lines.append)['left']==1 and '--resume' in lines[0]
    assert run(study, root=root, resume=True, out=silent)==dict(done=1, kept=0, left=0, failed=0)
    assert pending([study], root)==[]


def test_diverged_is_a_result(root):
    arm = Arm(Toy, 'digits', {'epochs': 40, 'nan_from': 30})
    row = run_one('s', arm, 0, root=root)
    assert row['complete'] and row['metrics']['diverged'] is True and row['metrics']['diverged_step']==30 and row['metrics']['acc'] is None
    assert verify(result_path('s', arm, 0, root))==[]
    good = run_one('s', Arm(Toy, 'digits'), 1, root=root)
    mean, std, n, values = summarise([row, good], by=('method',))[('Toy',)]
    assert n==1 and np.isnan(values[0]) and mean==values[1]==good['metrics']['acc'] and np.isnan(std)
    assert '1 diverged' in claim([row, good]) and '(+1 diverged)' in markdown_table('s', root)


def test_budget_covers_the_command(root):
    study, lines = Study('s', '', [Arm('KMeans', 'digits', cost_s=100), Arm(Toy, 'digits', cost_s=100)], seeds=1), []
    count = run(study, root=root, time_budget_s=95, out=lines.append) # k-means cannot stop and would not fit; the other can stop
    assert count==dict(done=1, kept=0, left=1, failed=0) and lines[0].endswith('no time')
    assert run(study, root=root, time_budget_s=0, force=True, out=silent)['left']==2


# ---- studies

def test_all_studies_see_every_first_seed_before_a_second(root, capsys, monkeypatch):
    def study(n, k): return Study(n, '', [Arm('KMeans', 'digits', {'n_init': k}, protocol='all', name=n, cost_s=.1)], seeds=k)
    a, b = study('a', 1), study('b', 2)
    lines = []
    assert run([b, a], root=root, out=lines.append)==dict(done=3, kept=0, left=0, failed=0)
    assert [x.split(' acc')[0] for x in lines]==['b: digits-KMeans-b-s0:', 'a: digits-KMeans-a-s0:', 'b: digits-KMeans-b-s1:']
    assert run([b, a], root=root, seeds=3, only='digits-KMeans', out=lines.append)==dict(done=3, kept=3, left=0, failed=0) and len(lines)==6
    with pytest.raises(ValueError, match="any study has 'Ward'"): run([a, b], only='Ward', root=root)
    monkeypatch.setattr(bench, 'STUDIES', {'a': a, 'b': b})
    assert main(['run', 'all', '--root', str(root)])==0 and '3 kept' in capsys.readouterr().out
    assert main(['table', 'all', '--root', str(root)])==2


def test_existing_results_are_kept(root):
    run(STUDY, seeds=1, root=root, out=silent)
    before = {p: p.read_bytes() for p in root.rglob('*.json')}
    assert run(STUDY, seeds=1, root=root, out=silent)==dict(done=0, kept=2, left=0, failed=0)
    assert before=={p: p.read_bytes() for p in root.rglob('*.json')}
    assert run(STUDY, seeds=1, root=root, force=True, out=silent)['done']==2
    assert any(before[p]!=p.read_bytes() for p in before)


def test_turns(root):
    lines = []
    run(STUDY, root=root, out=lines.append)
    assert [x.split(':')[0] for x in lines]==[f'digits-KMeans{n}-s{s}' for s in range(3) for n in ('-one', '')]
    lines.clear()
    run(STUDY, seeds=2, seed_from=3, only='one', root=root, out=lines.append)
    assert [x.split(':')[0] for x in lines]==['digits-KMeans-one-s3', 'digits-KMeans-one-s4']


def test_false_is_not_zero(root):
    same = bench.same
    assert same({'a': [1, {'b': 2.}]}, {'a': [1., {'b': 2}]}) and not same({'a': False}, {'a': 0.}) and not same([True], [1])
    assert not same({'a': 1}, {'a': 1, 'b': 2}) and not same([1], [1, 2]) and not same([1], {'a': 1})
    never, at_once = (Arm('MMDC', 'digits16', {'refine': r}, protocol='all') for r in (False, 0.))
    row = dict(diff={'refine': False}, params=bench.settings(bench.build(never)[0]), n=9)
    assert bench.fits(never, row) and not bench.fits(at_once, row)


def test_pending_and_outdated(root):
    todo = pending([STUDY], root)
    assert len(todo)==6 and {t['why'] for t in todo}=={'no result'} and sum(t['cost_s'] for t in todo)==pytest.approx(.9)
    run(STUDY, seeds=2, root=root, out=silent)
    assert [(t['arm'], t['seed']) for t in pending([STUDY], root)]==[('digits-KMeans-one', 2), ('digits-KMeans', 2)]
    changed = Study('s', '', [Arm('KMeans', 'digits', {'n_init': 3}, name='one')], seeds=1)
    lines = []
    assert pending([changed], root)[0]['why']=='outdated' and run(changed, root=root, out=lines.append)['left']==1 and '--force' in lines[0]


def test_obstacles_do_not_stop_the_rest(root, tmp_path, monkeypatch):
    monkeypatch.setenv('DEEPCLUST_DATA', str(tmp_path))
    arms = [Arm('KMeans', 'imagenet-10', cost_s=5), Arm('NotYet', 'digits', cost_s=7), Arm('KMeans', 'digits', paper='usps'), ONE]
    study, lines = Study('s', '', arms, seeds=1), []
    assert [bool(obstacle(a)) for a in arms]==[True, True, True, False]
    assert run(study, root=root, out=lines.append)==dict(done=1, kept=0, left=3, failed=0)
    assert 'missing' in lines[0] and 'not implemented' in lines[1] and 'paper' in lines[2]
    assert [t['obstacle']!='' for t in pending([study], root)]==[True]*3


def test_a_failure_is_told_and_the_rest_goes_on(root):
    study, lines = Study('s', '', [Arm('KMeans', 'digits', {'n_clusters': 5000}, name='too many'), ONE], seeds=1), []
    assert run(study, root=root, out=lines.append)==dict(done=1, kept=0, left=0, failed=1) and 'n_samples=1797' in lines[0]
    assert not result_path('s', study.arms[0], 0, root).exists()


def test_table_equals_numpy(root):
    run(STUDY, root=root, out=silent)
    values = np.array([json.loads(result_path('s', ONE, s, root).read_text())['metrics']['acc'] for s in range(3)])
    mean, std, n, v = summarise(read_results('s', root))[('digits', 'KMeans', 'one')]
    assert n==3 and v==list(values) and mean==pytest.approx(values.mean()) and std==pytest.approx(values.std(ddof=1))
    text = f'{values.mean():.3f} ± {values.std(ddof=1):.3f}'.replace('0.', '.')
    line = next(x for x in markdown_table(STUDY, root).splitlines() if '| one |' in x)
    assert f'| 3 | {text} |' in line and '| all |' in line
    assert claim([r for r in read_results('s', root) if r['arm']=='one'])==f'{text} (n = 3)'


def test_registered_studies():
    for s in STUDIES.values():
        keys = [a.key for a in s.arms]
        assert len(set(keys))==len(keys) and s.question and all(a.cost_s or a.gpu_s for a in s.arms)
        assert s.seeds>=(5 if s.name in ('lnscc-digits','lnscc-tables') else 3)   # headline rows, and the rest
        assert s.name==[k for k, v in STUDIES.items() if v is s][0]


# ---- other programs

def fake_program(folder, body):
    "An installed package `clustpy` whose DEC is `body`"
    (folder/'clustpy').mkdir(parents=True); (folder/'clustpy-9.9.dist-info').mkdir()
    (folder/'clustpy'/'__init__.py').touch(); (folder/'clustpy'/'deep.py').write_text(textwrap.dedent(body))
    (folder/'clustpy-9.9.dist-info'/'METADATA').write_text('Metadata-Version: 2.1\nName: clustpy\nVersion: 9.9\n')


def test_peer(root, tmp_path, monkeypatch):
    fake_program(tmp_path/'site', '''
        import os, time
        import numpy as np
        time.sleep(.5) # an import that must not be counted
        class DEC:
            def __init__(self, n_clusters=8, slow=0., random_state=None): self.k, self.seed, self.slow = n_clusters, random_state, slow
            def fit(self, X):
                assert os.environ['OMP_NUM_THREADS']=='1' and X.dtype==np.float32 and X.max()<=1
                self.labels_ = (np.arange(len(X))+self.seed)%self.k-(1 if self.slow else 0)
                return self
        ''')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path/'site'))
    arm = Arm('ClustPy DEC', 'digits')
    row = run_one('s', arm, 3, root=root, threads=1)
    assert verify(result_path('s', arm, 3, root))==[] and result_path('s', arm, 3, root).name=='digits-ClustPy_DEC-s3.json'
    assert row['params']=={'n_clusters': 10, 'version': 'clustpy 9.9'} and row['wall_s']<.4 and row['peak_mib']>5 and row['torch'] is None
    assert row['metrics']['acc']==number(scores(load('digits').y, (np.arange(1797)+3)%10)['acc'])
    noisy = run_peer(Arm('ClustPy DEC', 'digits', {'slow': 1.}), load('digits'), 10, 0, 1)
    assert noisy['metrics']['noise']==pytest.approx(180/1797) and noisy['metrics']['clusters']==9 and noisy['diff']=={'slow': 1.}


def test_peer_errors(tmp_path, monkeypatch):
    digits = load('digits')
    fake_program(tmp_path/'a', 'class DEC:\n    def fit(self, X): raise ValueError("broken inside")')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path/'a'))
    with pytest.raises(RuntimeError, match='broken inside'): run_peer(Arm('ClustPy DEC', 'digits'), digits, 10, 0, 1)
    monkeypatch.setitem(PEERS, 'ghost', Peer('no-such-package', 'no_such_module', 'X'))
    with pytest.raises(RuntimeError, match='pip install it, or name an interpreter'): run_peer(Arm('ghost', 'digits'), digits, 10, 0, 1)
    with pytest.raises(RuntimeError, match='cannot be started'): run_peer(Arm('ghost', 'digits'), digits, 10, 0, 1, python='no-such-python')


def test_noise_is_a_cluster_of_its_own():
    y, labels = [0, 0, 1, 1, 2, 2], [-1, -1, 0, 0, 1, 1]
    assert score_labels(y, labels)['acc']==1 and score_labels(y, labels)['clusters']==2


# ---- the command line, and the files of the repository

def test_command_line(root, capsys, monkeypatch):
    monkeypatch.setitem(STUDIES, 's', STUDY)
    at = ['--root', str(root)]
    assert main(['run', 's', '--seeds', '1', '--threads', '1', *at])==0 and '2 done' in capsys.readouterr().out
    assert main(['pending', 's', *at])==0 and '4 runs' in capsys.readouterr().out
    assert main(['table', 's', *at])==0 and '**A study**' in capsys.readouterr().out
    assert main(['list'])==0 and 'A study' in capsys.readouterr().out
    assert main(['verify', *at])==0 and '2 result files, nothing wrong' in capsys.readouterr().out
    next(root.rglob('*.json')).write_text('{}')
    assert main(['verify', *at])==1 and main(['run', 'nothing', *at])==2


def test_as_a_module():
    out = subprocess.run([sys.executable, '-m', 'deepclust.bench', 'list'], cwd=REPO, capture_output=True, text=True, check=True).stdout
    assert all(name in out for name in ('lnscc-digits', 'lnscc-tables', 'lnscc-ablation'))


@pytest.mark.parametrize('path', sorted((REPO/'results').glob('*/*.json')), ids=lambda p: f'{p.parent.name}/{p.stem}')
def test_committed_results(path):
    assert verify(path)==[]


def test_nothing_else_in_results():
    files = [p for p in (REPO/'results').rglob('*') if p.is_file() and p.name!='.gitkeep']
    assert [p for p in files if p.suffix!='.json' or p.parent.parent!=REPO/'results']==[]


# ---- a few labels

def test_labels_are_given_alike_to_every_class():
    y = np.repeat([0, 1, 2], [50, 30, 4])
    for given, counts in ((dict(share=.1), [5, 3, 1]), (dict(per_class=2), [2, 2, 2]), (dict(share=1.), [50, 30, 4]),
                          (dict(per_class=9), [9, 9, 4])):
        told = give_labels(y, given, seed=3)
        assert (told[told>=0]==y[told>=0]).all() and [(told==j).sum() for j in range(3)]==counts
    assert np.array_equal(give_labels(y, dict(share=.1), 3), give_labels(y, dict(share=.1), 3))
    assert not np.array_equal(give_labels(y, dict(share=.1), 3), give_labels(y, dict(share=.1), 4))
    wrong = give_labels(y, dict(share=1., flip=.25), 0)
    assert (wrong!=y).sum()==21 and wrong.min()==0 and wrong.max()==2
    with pytest.raises(ValueError, match='per_class'): give_labels(y, dict(n=3))


def test_a_method_is_told_and_scored_on_what_it_never_saw(root):
    arm = Arm('DCGMM', 'digits', dict(encoder='mlp-32', pretrain_epochs=2, epochs=2, n_pairs=500), given=dict(share=.5, test=.1, flip=.1))
    row = run_one('s', arm, 0, root=root, threads=1)
    assert verify(result_path('s', arm, 0, root))==[] and row['protocol'].endswith('50 % labels, 10 % of them wrong; 10 % held out')
    assert row['diff']['given']==arm.given==row['params']['given'] and 0<row['metrics']['test_acc']<=1 and row['metrics']['test_nmi']<=1
    study = Study('s', '', [arm], seeds=1)
    assert state(study, arm, 0, root)=='done'
    assert state(study, Arm('DCGMM', 'digits', arm.diff, given=dict(share=.2)), 0, root)=='outdated'


def test_label_spreading_is_told_too(root):
    arm = Arm('LabelSpreading', 'digits', given=dict(per_class=4, test=.2), name='four')
    row = run_one('s', arm, 0, root=root, threads=1)
    assert row['metrics']['acc']>.8 and row['metrics']['test_acc']>.8 and state(Study('s', '', [arm], seeds=1), arm, 0, root)=='done'
    assert verify(result_path('s', arm, 0, root))==[]
    other = run_one('s', Arm('SelfTraining', 'digits', given=dict(per_class=4), name='four'), 0, root=root, threads=1)
    assert 'test_acc' not in other['metrics'] and other['metrics']['acc']>.6


def test_a_run_serves_every_study_that_asks_for_it(root):
    first, second = (Study(n, '', [Arm('KMeans', 'digits', d), Arm('KMeans', 'digits', {'n_init': 1}, name=n)], seeds=1)
                     for n, d in (('one', {}), ('two', {})))
    lines = []
    assert run(first, root=root, out=silent)['done']==2 and run(second, root=root, out=lines.append)['done']==2
    assert [line.endswith('as in one') for line in lines]==[True, True]
    a, b = (result_path(s.name, s.arms[1], 0, root) for s in (first, second))
    assert verify(b)==[] and {**json.loads(a.read_text()), 'study': 'two'}==json.loads(b.read_text())
    other = Study('three', '', [Arm('KMeans', 'digits', {'n_init': 2}), Arm('KMeans', 'digits', protocol='half', name='h')], seeds=1)
    assert run(other, root=root, out=lines.append)['done']==2 and not any('as in' in line for line in lines[2:])


# ---- several at once, ended half-way, in turns

def test_jobs_are_processes_and_give_the_same(root, capfd):
    study, lines = Study('s', '', [ONE, Arm('KMeans', 'digits', {'n_clusters': 5000}, name='bad')], seeds=1), []
    assert run(study, root=root, jobs=2, threads=1, out=lines.append)==dict(done=1, kept=0, left=0, failed=1)
    assert [x.split(':')[0] for x in lines]==[f'{a.key}-s0' for a in study.arms] and 'exit code 1' in lines[1]
    assert 'n_samples=1797' in capfd.readouterr().err
    there = json.loads(result_path('s', ONE, 0, root).read_text())
    here = run_one(study, ONE, 0, root=root, threads=1)
    assert {k: v for k, v in there.items() if k not in NO_TIMES}=={k: v for k, v in here.items() if k not in NO_TIMES}
    assert run(study, root=root, jobs=2, only='one', out=silent)['kept']==1
    with pytest.raises(ValueError, match='jobs'): run(study, root=root, jobs=0, out=silent)


def test_jobs_keep_to_the_budget(root):
    study, lines = Study('s', '', [ONE], seeds=4), []
    assert run(study, root=root, jobs=2, time_budget_s=0, out=lines.append)['left']==4 and all('no time' in x for x in lines)


@pytest.mark.parametrize('end', [KeyboardInterrupt, MemoryError])
def test_what_ends_a_long_run_takes_one_epoch(root, monkeypatch, end):
    "Six epochs of six steps; it ends in the middle of the fourth"
    monkeypatch.setattr('deepclust.train.time', SimpleNamespace(monotonic=lambda: 0.))   # writing takes no time against an epoch
    arm = Arm(Toy, 'digits', cost_s=100)
    study, losses, steps = Study('s', '', [arm], seeds=1), Steps.losses, []
    once = run_one('once', arm, 0, root=root.parent/'elsewhere')
    def dies(self, *args):
        if len(steps)==21: raise end
        steps.append(1)
        return losses(self, *args)
    monkeypatch.setattr(Steps, 'losses', dies)
    if end is KeyboardInterrupt:
        with pytest.raises(end): run(study, root=root, out=silent)
    else: assert run(study, root=root, out=silent)['failed']==1
    assert not result_path('s', arm, 0, root).exists() and pending([study], root)[0]['why']=='unfinished'
    monkeypatch.setattr(Steps, 'losses', lambda self, *args: steps.append(1) or losses(self, *args))
    lines = []
    assert run(study, root=root, out=lines.append)['left']==1 and '--resume' in lines[0]
    assert run(study, root=root, resume=True, out=silent)['done']==1
    assert len(steps)-36<=6                                                   # steps that were made twice: of one epoch
    assert json.loads(result_path('s', arm, 0, root).read_text())['metrics']==once['metrics']


def test_a_short_run_writes_no_checkpoint(root, monkeypatch):
    seen, fit = [], Toy.fit
    def watched(self, X, y=None, *, checkpoint=None, resume=False, time_budget_s=None):
        seen.append(checkpoint)
        return fit(self, X, y, checkpoint=checkpoint, resume=resume, time_budget_s=time_budget_s)
    monkeypatch.setattr(Toy, 'fit', watched)
    for name, cost in (('short', 5), ('long', 100)): run_one('s', Arm(Toy, 'digits', name=name, cost_s=cost), 0, root=root)
    assert seen==[None, root.parent/'.runs'/'s'/'digits-Toy-long-s0']


def test_interrupted_command(root, monkeypatch, capsys):
    monkeypatch.setitem(STUDIES, 's', STUDY)
    def stop(*args): raise KeyboardInterrupt
    monkeypatch.setattr(bench, 'run_one', stop)
    assert main(['run', 's', '--root', str(root)])==130 and '--resume' in capsys.readouterr().out
    assert main(['run', 's', '--only', 'nothing', '--root', str(root)])==2 and 'no arm' in capsys.readouterr().err


class Clock(datetime):
    "A second later at every look: results are told apart by the second"
    at = 0
    @classmethod
    def now(cls, tz=None): cls.at += 1; return datetime.fromtimestamp(1.7e9+cls.at, tz)


def test_race(root, capsys, monkeypatch):
    monkeypatch.setattr(bench, 'run_apart', run_one)                          # what its own process changes is tested above
    monkeypatch.setattr(bench, 'datetime', Clock)
    assert main(['race', 'KMeans', 'Ward', '--turns', '2', '--root', str(root)])==0
    said = capsys.readouterr().out.splitlines()
    assert [x.split(' ')[0] for x in said[:4]]==['digits-KMeans-against_Ward-s0:', 'digits-Ward-against_KMeans-s0:',
                                                 'digits-Ward-against_KMeans-s1:', 'digits-KMeans-against_Ward-s1:']
    found, = races(root)
    assert {found['a'], found['b']}=={'KMeans', 'Ward'} and found['n']==2 and found['low']<=found['ratio']<=found['high']
    assert found['ratio']>=1 and said[4]==found['line'] and all(verify(p)==[] for p in (root/'races').glob('*'))
    again = Study('s', '', [Arm('Ward', 'digits', protocol='all')], seeds=1)      # a race's times are of no use to a study
    lines = []
    assert run(again, root=root, out=lines.append)['done']==1 and 'as in' not in lines[0]
    assert main(['race', 'KMeans', 'Nothing', '--root', str(root)])==2 and 'Nothing is not implemented' in capsys.readouterr().err
    next((root/'races').glob('digits-Ward*-s1.json')).unlink()
    assert races(root)==[]                                                    # a turn without its other half is no race


def test_turns_must_alternate_on_one_machine():
    usual = dict(device='c', commit='1', dataset='d')
    def r(s, t, at, **more): return usual|dict(seed=s, wall_s=t, date=f'2026-01-01T00:00:{at:02d}+00:00')|more
    assert turn_ratios([r(0, 4, 0), r(1, 9, 3)], [r(0, 2, 1), r(1, 3, 2)])==[2, 3]
    for a, b in (([r(0, 4, 0), r(1, 9, 1)], [r(0, 2, 2), r(1, 3, 3)]), ([r(0, 4, 0)], []), ([r(0, 4, 0)], [r(1, 2, 1)]),
                 ([r(0, 4, 0)], [r(0, 2, 1, device='d')]), ([r(0, 4, 0)], [r(0, 2, 1, commit='2')])):
        assert turn_ratios(a, b)==[]


# ---- what pages show

def test_a_peer_that_another_study_ran_is_copied(root, tmp_path, monkeypatch):
    fake_program(tmp_path/'site', '''
        class DEC:
            def __init__(self, n_clusters=8, alpha=1.): self.k = n_clusters
            def fit(self, X): self.labels_ = [i%self.k for i in range(len(X))]
        ''')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path/'site'))
    arm, other = Arm('ClustPy DEC', 'digits', protocol='all'), Arm('ClustPy DEC', 'digits', {'alpha': 2.}, protocol='all')
    lines = []
    for name, a in (('a', arm), ('b', arm), ('c', other)):
        run(Study(name, '', [a], seeds=1), root=root, threads=1, out=lines.append)
    assert ['as in a' in x for x in lines]==[False, True, False]
    assert {p: verify(p) for p in root.rglob('*.json')}=={result_path(n, arm, 0, root): [] for n in 'abc'}
    monkeypatch.setitem(PEERS, 'ClustPy DEC', Peer('clustpy', 'clustpy.deep', 'DEC', {'alpha': 3.}))
    assert state(Study('a', '', [arm]), arm, 0, root)=='outdated'             # what it is called with has changed


@pytest.mark.parametrize('study', STUDIES.values(), ids=STUDIES)
def test_stored_results_are_still_answers(study):
    "The settings of every stored run are those it would be started with today; one that cannot be built here is skipped by `fits`"
    old = []
    for a in study.arms:
        for path in (REPO/'results'/study.name).glob(f'{a.key}-s*.json'):
            seed = path.stem.removeprefix(f'{a.key}-s')                       # another arm's name may begin with this one's
            if seed.isdigit() and not bench.fits(a, bench.read_row(path)): old.append(path.name)
    assert old==[]


def test_standings(root):
    study = Study('s', '', [ONE, Arm('KMeans', 'digits', protocol='all', cost_s=1), Arm('Ward', 'digits', protocol='all'),
                            Arm('DEC', 'digits', cost_s=9), Arm('KMeans', 'usps')], seeds=2)
    for a, s in [(a, s) for a in study.arms[:3] for s in (0, 1)]: run_one(study, a, s, root=root)
    lines = standings(study, 'digits', root=root).splitlines()
    value = {k[1]+(k[2] and ' '+k[2]): v for k, v in summarise(read_results('s', root), 'nmi').items()}
    shown = [x.strip('| ').split(' | ') for x in lines[2:5]]
    assert [c[0] for c in shown]==sorted(value, key=lambda k: -value[k][0])
    assert all(c[3].startswith(f'{value[c[0]][0]:.3f}'.lstrip('0')) and c[1]=='2' and float(c[6])>50 and c[7]=='all' for c in shown)
    assert lines[-1]=='Not run yet: DEC.' and standings(study, 'digits', by='clusters', root=root).count('| 2 |')==3


def test_runs_of_a_method_count_once_and_only_in_their_arm(root):
    again = Study('t', '', STUDY.arms, seeds=3)
    for study in (STUDY, again): run(study, seeds=2, root=root, out=silent)
    rows = runs_of('KMeans', root=root)
    assert [(r['arm'], r['seed']) for r in rows]==[('', 0), ('', 1)] and len(runs_of('KMeans', ('', 'one'), root=root))==4
    assert runs_of('Ward', root=root)==[] and len(runs_of('KMeans', studies=('t',), root=root))==2


def test_a_row_is_subtracted_seed_by_seed(root):
    arms = [Arm('KMeans', 'digits', protocol='all'), Arm('KMeans', 'digits', {'n_init': 1}, protocol='all', name='one')]
    study = Study('s', '', arms, seeds=3)
    run(study, root=root, out=silent)
    rows = read_results(study, root); many, one = ([r for r in rows if r['arm']==a] for a in ('', 'one'))
    assert bench.by_seed(one, many)=={a['seed']: a['metrics']['acc']-b['metrics']['acc'] for a, b in zip(one, many)}
    assert bench.by_seed(one[1:], many[:2], 'wall_s')=={1: one[1]['wall_s']-many[1]['wall_s']}
    head, _, base, other = bench.comparison(study, 'digits', metrics=('acc',), root=root, against='KMeans').splitlines()
    d = [a['metrics']['acc']-b['metrics']['acc'] for a, b in zip(one, many)]
    said = f'{np.mean(d):+.3f} ± {np.std(d, ddof=1):.3f}'.replace('0.', '.').replace('-', '−')
    assert head.endswith('| Δ ACC by seed |') and base.endswith('|  |') and other.endswith(f'| {said} |')
    path = result_path('s', study.arms[0], 1, root); row = json.loads(path.read_text())
    path.write_text(json.dumps(row|{'metrics': {'acc': None, 'diverged': 'nan'}}))
    said = f'{np.mean(d[::2]):+.3f} ± {np.std(d[::2], ddof=1):.3f} (2)'.replace('0.', '.').replace('-', '−')
    assert bench.comparison(study, 'digits', metrics=('acc',), root=root, against='KMeans').endswith(f'| {said} |')
    with pytest.raises(ValueError, match='no row of this table; there are: KMeans, KMeans one'):
        bench.comparison(study, 'digits', root=root, against='one')
    path.unlink(); assert 'Δ' not in bench.comparison(study, 'digits', root=root/'none', against='KMeans')


def test_at_a_glance(root, monkeypatch):
    table = at_a_glance(('KMeans', 'Ward'), {('Ward', 'digits'): '.84 / .87'}, root=root)
    assert table.splitlines()[2:]==['| digits | Ward | not run | – | – | .84 / .87 | – | – |']
    study = Study('s', '', [*STUDY.arms, Arm('Ward', 'digits', protocol='all')], seeds=2)
    run(study, root=root, out=silent)
    one, other, ward, blank, note = at_a_glance(('KMeans', 'Ward'), {'digits': '.5 / .5', ('Ward', 'digits'): '.84 / .87'},
                                                ('', 'one'), root=root).splitlines()[2:]
    assert one.startswith('| digits | KMeans | 2 | .') and '| .5 / .5 |' in one and other.startswith('| digits | KMeans one | 2 | .')
    assert '| .84 / .87 |' in ward and ward.endswith(' all |') and not blank and 'cpu' in note
    said = Published('Table 9', 's', 'digits', 'Ward', dict(acc=.84))
    monkeypatch.setattr(published, 'PUBLISHED', {'Ward': [said]})
    assert '| .840 / – |' in at_a_glance('Ward', root=root) and 'paper' not in at_a_glance('Ward', {}, root=root)
    found = published.figures('s', 'digits', ('acc',))
    assert '| Ward | 2 | .840 ± .000 | .840 |' in bench.comparison(study, 'digits', found, ('acc',), root)
    path = result_path('s', study.arms[2], 1, root); row = json.loads(path.read_text())
    path.write_text(json.dumps(row|{'metrics': {k: None for k in row['metrics']}}))
    assert '| Ward | 1 (+1 diverged) | .' in at_a_glance('Ward', root=root)


def test_beside(root, monkeypatch):
    monkeypatch.setitem(STUDIES, 's', STUDY)
    run(STUDY, seeds=2, only='one', root=root, out=silent)
    rows = [Published('Table 1', 's', 'digits', 'KMeans', dict(acc=.5, nmi=.9), 'one', 'one start'),
            Published('Table 2', 's', 'digits', 'KMeans', dict(acc=.5)),
            Published('Table 3', 'no such study', 'mnist', 'DEC', dict(acc=.843))]
    one, none, unknown = beside(rows, root).splitlines()[2:]
    stats = summarise(read_results('s', root))[('digits', 'KMeans', 'one')]
    gap = f'{stats[0]-.5:+.3f}'.replace('0.', '.')
    assert f'| 2 | ACC<br>NMI | .{f"{stats[0]:.3f}"[2:]} ±' in one and f'| .500<br>.900 | {gap}<br>−' in one and one.endswith('| 1 × 0 s |')
    assert '| 0 | ACC | – | .500 |  | 3 × 0 s |' in none and 'Table 3' in unknown and '| 0 | ACC | – | .843 |  |  |' in unknown


def test_features_of_another_network_are_a_data_set(tmp_path, monkeypatch):
    import deepclust.bench as b
    from deepclust.data import Data
    made, threads = [], []
    class Net:
        def __init__(self, n_clusters, random_state=None, epochs=1): self.seed,self.epochs = random_state,epochs
        def fit(self, d): made.append((self.seed,self.epochs)); threads.append(torch.get_num_threads()); return self
        def features(self, d): return np.full((len(d), 4), self.seed, np.float32)
    monkeypatch.setattr(b, 'FEATURES_OF', {'toy-net':('toy','Net',{'epochs':3})})
    monkeypatch.setattr(b, 'load_data', lambda name: Data(torch.zeros(6,1,8,8), torch.tensor([0,0,1,1,2,2]), name))
    monkeypatch.setattr(b, 'get_method', lambda name: Net); monkeypatch.setattr(b, 'METHODS', dict(b.METHODS)|{'Net':''})
    monkeypatch.setattr(b, 'results_root', lambda *a: tmp_path/'results')
    b.loaded.cache_clear()
    for seed in (0,1,0):
        d = b.dataset('toy-net', seed)
        assert d.name=='toy-net' and d.x.shape==(6,4) and (d.x==seed).all() and d.y.tolist()==[0,0,1,1,2,2]
    assert made==[(0,3),(1,3)], 'each network is trained once'
    runs = tmp_path/'.runs'
    assert (runs/'.gitignore').read_text()=='*\n' and len(list((runs/'features').iterdir()))==2
    (runs/'features'/'toy-net-s2.npy').write_bytes(b'half a fi')               # what another version left is not taken
    monkeypatch.setattr(b, 'FEATURES_OF', {'toy-net':('toy','Net',{'epochs':5})})
    run_one('s', Arm(Toy, 'toy-net', {'epochs': 1}), 2, root=tmp_path/'results', threads=2)
    assert made[2:]==[(2,5)] and threads[2]==2, 'another network, with the threads of the run'
    with pytest.raises(OSError), monkeypatch.context() as m:
        def full(*args): raise OSError('disk full')
        m.setattr('os.replace', full); b.dataset('toy-net', 3)
    assert [p.name for p in (runs/'features').iterdir() if 's3' in p.name]==[], 'half a file is none'
    b.loaded.cache_clear()


def test_what_a_study_may_measure_beyond_the_scores():
    from deepclust.data import Data
    y = np.repeat([0,1,2], 20); rng = np.random.default_rng(0)
    d = Data(torch.from_numpy(rng.normal(size=(60,4)).astype(np.float32)), torch.from_numpy(y))
    class Good: # answers badly, embeds well
        labels_ = np.zeros(60, int)
        def transform(self, data): return np.eye(3)[y]+.01*rng.normal(size=(60,3))
    m = bench.after_fit(Good(), d, ('embedding','features'))
    assert m['embedding_acc']==1 and m['embedding_nmi_max']==1 and m['acc']<.4 and 'probe_acc' not in m
    assert not any(k.startswith('embedding') for k in bench.after_fit(Good(), d))


# ---- what must not be taken for an answer

def test_an_arm_without_a_name_is_not_always_the_defaults(root):
    for name, diff in (('usual', {}), ('other', {'n_init': 1})): run_one(name, Arm('KMeans', 'digits', diff), 0, root=root)
    assert [r['study'] for r in runs_of('KMeans', root=root)]==['usual'] and runs_of('KMeans', studies=('other',), root=root)==[]
    assert '| digits | KMeans | 1 |' in at_a_glance('KMeans', root=root)
    told_labels = Arm('SeededKMeans', 'digits', given=dict(per_class=2))
    run_one('usual', told_labels, 0, root=root)
    assert len(runs_of('SeededKMeans', root=root))==1                         # labels are no parameter


def test_the_number_of_clusters_is_a_setting_where_an_arm_names_it(root):
    usual, seven, six = (Arm('KMeans', 'digits', d) for d in ({}, {'n_clusters': 7}, {'n_clusters': 6}))
    for study, a in (('usual', usual), ('seven', seven)): run_one(study, a, 0, root=root)
    def states(a): return [state(Study(s, '', [a]), a, 0, root) for s in ('usual', 'seven')]
    assert (states(usual), states(seven), states(six))==(['done', 'outdated'], ['outdated', 'done'], ['outdated', 'outdated'])
    lines = []
    for a in (usual, seven, six): run(Study(f'new{len(lines)}', '', [a], seeds=1), root=root, out=lines.append)
    assert [x.rpartition(': ')[2] for x in lines[:2]]==['as in usual', 'as in seven'] and 'as in' not in lines[2]


def test_a_run_is_not_copied_within_its_study(root):
    study, lines = Study('s', '', [Arm('KMeans', 'digits'), Arm('KMeans', 'digits', {'n_init': 10}, name='ten')], seeds=1), []
    assert run(study, root=root, out=lines.append)['done']==2 and not any('as in' in x for x in lines)


def test_two_networks_are_two_parameters(root):
    a, b = nn.Linear(2, 3), nn.Linear(2, 4)
    assert bench.plain(a)==repr(a)!=bench.plain(b) and bench.plain([torch.relu, Toy])==['relu', 'Toy']
    long = [nn.Sequential(*[nn.Linear(2, 2) for _ in range(40)], nn.Linear(2, k)) for k in (3, 4)]
    assert bench.plain(long[0])!=bench.plain(long[1]) and all(len(bench.plain(v))<250 for v in long)
    class Thing: pass
    assert bench.plain(Thing())=='Thing' and '0x' not in bench.plain(SimpleNamespace(a=Thing()))
    assert bench.says_all({'a': [1, (2., None)], 'b': 'x'}) and not bench.says_all([a]) and not bench.says_all({'f': len})
    lines = []
    for name in ('one', 'two'): run(Study(name, '', [Arm(Toy, 'digits', {'epochs': 1, 'extra': nn.Linear(2, 2)})], seeds=1), root=root,
                                    out=lines.append)
    assert not any('as in' in x for x in lines)                               # their weights may differ


# ---- two commands at once, and broken files

def test_two_processes_leave_each_others_runs_alone(root):
    arm = Arm(Toy, 'digits', cost_s=100)
    study, lines = Study('s', '', [arm, ONE], seeds=1), []
    folder = bench.run_folder('s', arm, 0, root)
    other = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    try:
        (folder/'init-0'/'step-1').mkdir(parents=True); bench.lock_of(folder).write_text(str(other.pid))
        for opts in ({}, {'force': True}, {'resume': True}):
            assert run(study, only='Toy', root=root, out=lines.append, **opts)['left']==1
        assert all('another process is at it' in x for x in lines) and list(folder.rglob('step-*'))
        with pytest.raises(bench.Busy): run_one(study, arm, 0, root=root)
        assert run(study, only='one', root=root, out=silent)['done']==1
    finally: other.communicate(b'\n')
    assert run(study, only='Toy', root=root, force=True, out=silent)['done']==1   # its process is gone, the lock counts for nothing
    assert list((root.parent/'.runs').rglob('*.lock*'))==[]


def test_a_lock_is_released_whatever_happens(tmp_path):
    folder = tmp_path/'.runs'/'s'/'x-s0'
    with pytest.raises(KeyError), bench.at_work(folder): assert bench.taken(folder); raise KeyError
    assert not bench.taken(folder) and (tmp_path/'.runs'/'.gitignore').read_text()=='*\n'
    lock = bench.lock_of(folder); lock.write_text('')
    assert bench.taken(folder)                                                # just being written
    bench.os.utime(lock, (0, 0)); assert not bench.taken(folder)
    with bench.at_work(folder): pass


def test_a_run_in_its_own_process_says_that_another_is_at_it(root):
    folder = bench.run_folder('s', ONE, 0, root)
    with bench.at_work(folder), pytest.raises(SystemExit) as e: bench.in_process(STUDY, ONE, 0, None, False, root, 1, None)
    assert e.value.code==bench.BUSY


def test_an_interrupted_force_is_resumed(root, monkeypatch):
    arm = Arm(Toy, 'digits', cost_s=100); study, losses, lines = Study('s', '', [arm], seeds=1), Steps.losses, []
    old = run_one(study, arm, 0, root=root)
    monkeypatch.setattr('deepclust.train.time', SimpleNamespace(monotonic=lambda: 0.))
    def dies(self, *args):
        if self.n==21: raise KeyboardInterrupt
        return losses(self, *args)
    monkeypatch.setattr(Steps, 'losses', dies)
    with pytest.raises(KeyboardInterrupt): run(study, root=root, force=True, out=silent)
    monkeypatch.setattr(Steps, 'losses', losses)
    assert json.loads(result_path('s', arm, 0, root).read_text())==old        # still there,
    assert state(study, arm, 0, root)=='unfinished' and pending([study], root)[0]['why']=='unfinished'
    assert run(study, root=root, out=lines.append)['left']==1 and '--resume' in lines[0]
    with pytest.raises(ValueError, match='pass one of them'): run(study, root=root, force=True, resume=True, out=silent)
    assert run(study, root=root, resume=True, out=silent)['done']==1 and state(study, arm, 0, root)=='done'
    new = json.loads(result_path('s', arm, 0, root).read_text())
    assert new['metrics']==old['metrics'] and new['wall_s']<2*old['wall_s']+5


def test_seconds_of_slices_add_up_where_there_was_a_checkpoint(root):
    arm = Arm(Toy, 'digits')
    path, folder = result_path('s', arm, 0, root), bench.run_folder('s', arm, 0, root)
    run_one('s', arm, 0, time_budget_s=0, root=root)
    def pretend(): path.write_text(json.dumps(json.loads(path.read_text())|dict(complete=False, wall_s=1000., peak_mib=1e6)))
    pretend(); row = run_one('s', arm, 0, resume=True, root=root)
    assert row['complete'] and row['wall_s']>=1000 and row['peak_mib']==1e6
    pretend(); assert not folder.exists(); row = run_one('s', arm, 0, resume=True, root=root)
    assert row['wall_s']<900 and row['peak_mib']<1e6


def test_a_broken_file_is_named_and_the_rest_goes_on(root, capsys, monkeypatch):
    monkeypatch.setitem(STUDIES, 's', STUDY); lines = []
    path = result_path('s', ONE, 0, root); path.parent.mkdir(parents=True)
    for text, says in (('{"a": 1', 'no JSON'), ('[1]', 'list'), ('{}', 'lacks'), ('{"n": 3}', 'lacks')):
        path.write_text(text)
        with pytest.raises(ValueError, match=f'digits-KMeans-one-s0.json .*{says}'): read_results('s', root)
        assert verify(path) and run(STUDY, seeds=1, only='one', root=root, out=lines.append)['failed']==1
        assert path.name in lines[-1]
    assert main(['pending', 's', '--root', str(root)])==2 and path.name in capsys.readouterr().err
    assert run(STUDY, seeds=1, root=root, out=silent)==dict(done=1, kept=0, left=0, failed=1)
    assert verify(root/'s'/'nothing.json')==['there is no such file']


# ---- small things

def test_an_interpreter_named_by_a_relative_path(root, tmp_path, monkeypatch):
    fake_program(tmp_path/'site', """
        class DEC:
            def __init__(self, n_clusters=8): self.k = n_clusters
            def fit(self, X): self.labels_ = [i%self.k for i in range(len(X))]
        """)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path/'site')); monkeypatch.chdir(tmp_path)
    (tmp_path/'bin').mkdir(); (tmp_path/'bin'/'python').symlink_to(sys.executable)
    seen, start = [], subprocess.run
    monkeypatch.setattr(bench.subprocess, 'run', lambda cmd, **how: seen.append(cmd[0]) or start(cmd, **how))
    arm = Arm('ClustPy DEC', 'digits', {'n_clusters': 7})
    assert run_peer(arm, load('digits'), 10, 0, 1, python='bin/python')['params']['n_clusters']==7
    assert seen==[str(tmp_path/'bin'/'python')]                               # the link, not what it leads to


def test_features_are_measured_on_halves_where_there_is_only_one_part():
    from deepclust.data import Data
    y = np.repeat([0, 1], 30)
    class Good:
        def features(self, data): return np.eye(2)[y]
    for split in (None, np.zeros(60), np.ones(60), np.arange(60)%2):
        m = bench.measure_features(Good(), Data(torch.zeros(60, 2), torch.from_numpy(y), split=split), 2)
        assert m['probe_acc']==1 and m['features_acc']==1


def test_a_race_that_cannot_be_judged_keeps_the_last_one(root, monkeypatch):
    monkeypatch.setattr(bench, 'run_apart', run_one); monkeypatch.setattr(bench, 'datetime', Clock)
    bench.race('KMeans', 'Ward', turns=1, root=root, out=silent)
    before = {p.name: p.read_bytes() for p in (root/'races').iterdir()}
    commits = iter(['aaaa', 'aaaa', 'bbbb', 'bbbb'])
    monkeypatch.setattr(bench, 'commit', lambda: next(commits))
    with pytest.raises(RuntimeError, match='commit changed between aaaa and bbbb'):
        bench.race('KMeans', 'Ward', turns=2, root=root, out=silent)
    def stop(*args): raise KeyboardInterrupt
    monkeypatch.setattr(bench, 'run_apart', stop)
    with pytest.raises(KeyboardInterrupt): bench.race('KMeans', 'Ward', turns=2, root=root, out=silent)
    assert before=={p.name: p.read_bytes() for p in (root/'races').iterdir()} and len(before)==2 and len(races(root))==1


def test_a_metric_that_nobody_measured():
    def row(seed, **metrics): return dict(seed=seed, arm='', metrics=metrics)
    rows = [row(0, acc=.5, probe=.1), row(1, acc=.7), row(2, acc=None, diverged=True)]
    assert claim(rows)=='.600 ± .141 (n = 2, 1 diverged)' and claim(rows, 'probe')=='.100 (n = 1, 1 diverged)'
    with pytest.raises(KeyError, match="no run has 'prob'; there are acc, diverged, probe"): summarise(rows, 'prob', by=())
    assert claim(rows[2:], 'test_acc')=='– (n = 0, 1 diverged)' and summarise([])=={}
    assert summarise(rows[1:2]+rows[:1], 'probe', by=('seed',))[(1,)][2:]==(0, [])
    with pytest.raises(ValueError, match='no runs'): claim([])


def test_features_of_a_pretrained_network(tmp_path, monkeypatch):
    import deepclust.bench as b
    from deepclust.data import Data
    monkeypatch.setattr(b, 'FEATURES_OF', {'toy-net':('digits','resnet18',{}), 'other':('stl10','resnet18',{})})
    monkeypatch.setattr(b, 'load_data', lambda name: Data(torch.zeros(6,1,8,8), torch.tensor([0,0,1,1,2,2]), name))
    monkeypatch.setattr(b, 'extract_features', lambda d, net: np.full((len(d), len(net)), 7., np.float32))
    b.loaded.cache_clear(); d = b.dataset('toy-net', 0, tmp_path/'results')
    assert d.x.shape==(6, 8) and (d.x==7).all() and d.y.tolist()==[0,0,1,1,2,2]
    monkeypatch.setattr(b, 'cached_weights', lambda names: None)
    assert "weights of resnet18 are missing" in obstacle(Arm('KMeans', 'toy-net'))
    assert obstacle(Arm('KMeans', 'other'), [{'name': 'stl10', 'where': 'missing'}])=='data set stl10 is missing'
    monkeypatch.setattr(b, 'cached_weights', lambda names: names); assert obstacle(Arm('KMeans', 'toy-net'))==''


def test_links_by_views_of_pictures_behind_features(root, monkeypatch):
    small, seen, fit = load('digits'), [], bench.get_method('DCGMM').fit
    small = small.subset(np.arange(0, len(small), 6))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 6))
    monkeypatch.setattr(bench, 'FEATURES_OF', {'toy-net': ('digits', 'resnet18', {}), 'toy-ae': ('digits', 'DEC', {})})
    monkeypatch.setattr(bench, 'load_data', lambda name: small); bench.loaded.cache_clear()
    monkeypatch.setattr(bench, 'load_encoder', lambda name: net); monkeypatch.setattr(bench, 'cached_weights', lambda names: names)
    monkeypatch.setattr(bench, 'extract_features', lambda d, name: net(d.x.float()/255).detach().numpy())
    monkeypatch.setattr(bench.get_method('DCGMM'), 'fit', lambda self, x, **more: (seen.append((x, more)), fit(self, x, **more))[1])
    arm = Arm('DCGMM', 'toy-net', dict(encoder='mlp-16', pretrain_epochs=1, epochs=1, batch_size=64), given=dict(views='auto', test=.3))
    row = run_one('s', arm, 0, root=root, threads=1); bench.loaded.cache_clear()
    (x, more), = seen; views = more['constraints'].views
    assert 'y' not in more and views.shape==(bench.N_VIEWS, len(x), 6) and len(x)==round(.7*len(small)) and row['n']==len(small)
    near = (views-x.x).square().sum(-1); far = (views-x.x.roll(1, 0)).square().sum(-1)         # views of the samples that it sees, in order
    assert 0<near.mean()<.8*far.mean()
    assert row['protocol'].endswith('links by auto views; 30 % held out') and row['metrics']['test_acc']>0
    assert verify(result_path('s', arm, 0, root))==[] and len(list((root.parent/'.runs'/'features').glob('toy-net-views-*-s0.npy')))==1
    assert 'toy-ae has none' in obstacle(Arm('DCGMM', 'toy-ae', given=dict(views='crop')))


def test_links_of_which_some_are_wrong(root, monkeypatch):
    seen, fit = [], bench.get_method('DCGMM').fit
    monkeypatch.setattr(bench.get_method('DCGMM'), 'fit', lambda self, x, **more: (seen.append((x, more)), fit(self, x, **more))[1])
    arm = Arm('DCGMM', 'digits', dict(encoder='mlp-16', pretrain_epochs=1, epochs=1), given=dict(links=500, flip=.1, test=.3))
    row = run_one('s', arm, 0, root=root, threads=1); (x, more), = seen
    c, y = more['constraints'], x.y.numpy(); pairs = np.concatenate([c.must_link, c.cannot_link])
    assert 'y' not in more and c.noise==.1 and len(c)==500 and pairs.max()<len(x)<.71*row['n']
    said = np.arange(500)<len(c.must_link); assert ((y[pairs[:, 0]]==y[pairs[:, 1]])!=said).sum()==50
    assert row['protocol'].endswith('500 links, 10 % of them wrong; 30 % held out') and verify(result_path('s', arm, 0, root))==[]


def test_a_data_set_may_be_spelt_as_load_takes_it():
    assert obstacle(Arm('KMeans', 'Digits'))==obstacle(Arm('KMeans', 'digits_16'))=='' and 'unknown' in obstacle(Arm('KMeans', 'dogits'))
    assert obstacle(Arm('KMeans', 'MNIST-test'), [{'name': 'mnist-test', 'where': 'missing'}])=='data set MNIST-test is missing'


@pytest.mark.parametrize('given,error', [({}, 'one of them'), (dict(flip=.1), 'one of them'), (dict(share=.1, per_class=2), 'one of them'),
    (dict(share=0.), 'share'), (dict(share=1.1), 'share'), (dict(per_class=0), 'per_class'), (dict(per_class=1.5), 'per_class'),
    (dict(share=.1, flip=-.1), 'flip'), (dict(share=.1, flip=2), 'flip'), (dict(share='1'), 'share'),
    (dict(share=.1, views='crop'), 'one of them'), (dict(links=0), 'links'), (dict(links=9, share=.1), 'one of them')])
def test_labels_to_give_are_checked(given, error):
    with pytest.raises((ValueError, TypeError), match=error): give_labels([0, 1]*5, given)


def test_only_takes_an_arm_as_it_is_written(root):
    study, lines = Study('s', '', [Arm('KMeans', 'digits', name='one start'), Arm('Ward', 'digits')], seeds=1), []
    for only in ('digits-KMeans one start', 'one_start'): run(study, only=only, root=root, out=lines.append)
    assert [x.split(':')[0] for x in lines]==['digits-KMeans-one_start-s0']*2


def test_seconds_and_runs_are_said_alike_everywhere():
    assert [bench.in_seconds(s) for s in (.044, 4.44, 44.44, 444.4, np.nan)]==['0.04', '4.4', '44.4', '444', '–']
    assert bench.in_seconds(12.34, 1.26)=='12.3 ± 1.3'
    assert [bench.runs_in_words(*a) for a in ((2, [1, 1]), (1, [1, np.nan]))]==['2', '1 (+1 diverged)']
