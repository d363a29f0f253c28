"The command line: what it writes, what it says, what it refuses."
import csv
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from deepclust import cli, data, features, registry
from deepclust.base import DeepClusterer, note_collapse
from deepclust.cli import main
from deepclust.train import Stage, make_optimizer

ROOT = Path(__file__).resolve().parents[1]
FAST = ['--baselines', 'none', '--no-plots', '--quiet']


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    "Every test works in a folder of its own"
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope='module')
def digits(): return data.load('digits').subset(slice(300))


@pytest.fixture
def vectors(here):
    "Three far blobs of 20 vectors: b.npy"
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(60, 5))+20*np.repeat(np.eye(3, 5), 20, 0)).astype('float32')
    np.save('b.npy', X)
    return X


def fit(*args): return main(['fit', *map(str, args), *FAST])


def labels(path):
    with open(path, newline='', encoding='utf-8') as f: return list(csv.DictReader(f))


def error(capsys, *args):
    "The one line of an error, after checking that it is one"
    assert main([str(a) for a in args])==2
    err = capsys.readouterr().err.strip().splitlines()
    assert err[-1].startswith('deepclust: error: ') and 'Traceback' not in '\n'.join(err)
    assert sum(line.startswith('deepclust: error: ') for line in err)==1
    return err[-1]


# ---- fit

def test_digits_with_pictures_and_baselines(digits, capsys):
    np.savez('d.npz', x=digits.x.numpy(), y=digits.y.numpy())
    assert main('fit --data d.npz --k 10 --method KMeans --out r'.split())==0
    out, run = capsys.readouterr().out, Path('r')
    for word in ('ACC', 'Ward', 'SpectralClustering', 'labels were used for these scores only', 'written to r'): assert word in out
    assert out.count('KMeans ')>=1 and 'history.jsonl' not in out
    for f in ('clusters.png', 'embedding.png'):
        with Image.open(run/f) as im: assert min(im.size)>200
        assert (run/f).stat().st_size<=200_000
    s = json.loads((run/'summary.json').read_text())
    assert s['finished'] and s['k']==10 and sum(s['sizes'])==300 and s['scores']['acc']>.6
    assert [b['method'] for b in s['baselines']]==['Ward', 'SpectralClustering'] and list(s['baselines_skipped'])==['KMeans']
    assert set(s['versions'])=={'deepclust', 'torch', 'numpy', 'sklearn', 'python'} and s['data']['shape']==[1, 8, 8]
    assert not (run/'history.jsonl').exists()


def test_named_set_knows_k(capsys):
    assert fit('--data', 'digits', '--method', 'gaussianmixture', '--set', 'n_init=1')==0
    s = json.loads(Path('runs/digits-gaussianmixture/summary.json').read_text())
    assert s['k']==10 and s['parameters']['n_init']==1 and s['files_missing']['clusters.png']=='--no-plots'
    assert len(labels('runs/digits-gaussianmixture/labels.csv'))==1797


def test_folder_of_mixed_images_without_labels(capsys):
    Path('my photos').mkdir()
    rng = np.random.default_rng(0)
    for i in range(18):
        w, h, base = 20+i, 40-i, np.array([(220, 30, 30), (30, 220, 30), (30, 30, 220)][i%3])
        Image.fromarray((base+rng.integers(-20, 20, (h, w, 3))).astype('uint8')).save(f'my photos/{i:02}.png')
    assert main(['fit', '--data', 'my photos', '--k', '3', '--method', 'KMeans', '--out', 'r'])==0
    out = capsys.readouterr().out
    assert 'raw pixels' in out and 'similar-looking' in out and 'No labels' in out and ' - ' in out
    rows = labels('r/labels.csv')
    assert list(rows[0])==['path', 'label', 'probability'] and Path(rows[5]['path']).name=='05.png'
    assert len({r['label'] for r in rows[::3]})==1 and len({r['label'] for r in rows})==3
    assert (Path('r')/'clusters.png').exists() and json.loads(Path('r/summary.json').read_text())['scores'] is None
    assert main(['predict', '--model', 'r/model', '--data', 'my photos', '--out', 'p.csv'])==0
    assert Path('p.csv').read_bytes()==Path('r/labels.csv').read_bytes()


def test_vectors_have_no_montage(vectors, capsys):
    assert main('fit --data b.npy --k 3 --method KMeans --out r --baselines none'.split())==0
    out = capsys.readouterr().out
    assert 'clusters.png is left out: the samples are vectors' in out and 'judge by embedding.png and the sizes' in out
    assert not Path('r/clusters.png').exists() and Path('r/embedding.png').exists()
    assert sorted(json.loads(Path('r/summary.json').read_text())['sizes'])==[20, 20, 20]


def test_labels_do_not_change_the_result(vectors):
    np.savez('y.npz', x=vectors, y=np.random.default_rng(1).integers(0, 3, 60))
    for f in ('b.npy', 'y.npz'): assert fit('--data', f, '--k', 3, '--method', 'KMeans', '--out', f[0])==0
    assert Path('b/labels.csv').read_text()==Path('y/labels.csv').read_text()


def test_transductive_method(digits, capsys):
    np.save('d.npy', digits.x.numpy())
    assert main('fit --data d.npy --k 10 --method Ward --out r --baselines none --quiet'.split())==0
    assert {r['probability'] for r in labels('r/labels.csv')}=={''} and Path('r/clusters.png').exists()
    assert 'labels only what it was fitted on' in error(capsys, 'predict', '--model', 'r', '--data', 'd.npy', '--out', 'p.csv')


def test_collapse_is_said(capsys):
    X = np.zeros((100, 2), 'float32')
    X[0] = 1000
    np.save('x.npy', X)
    assert fit('--data', 'x.npy', '--k', 2, '--method', 'KMeans', '--out', 'r')==0
    assert 'collapsed' in (out := capsys.readouterr().out) and 'holds 99.0% of 100 samples' in out
    assert 'collapsed: cluster' in (said := json.loads(Path('r/summary.json').read_text())['warnings'])[0] and len(said)==1


def test_what_a_fit_noted_of_collapse_is_kept(tiny, monkeypatch, capsys):
    monkeypatch.setattr(Tiny, '_finish', lambda self, z, q: note_collapse(self, 'all centres are one'))
    assert main([*tiny, '--out', 'r'])==0
    assert capsys.readouterr().out.count('warning: the clustering collapsed: all centres are one')==1
    assert json.loads(Path('r/summary.json').read_text())['warnings']==['the clustering collapsed: all centres are one']


@pytest.mark.parametrize('method', ['SeededKMeans', 'KMeans'])
def test_labels_never_enter_a_fit(vectors, capsys, method):
    y = np.full(60, -1)
    y[:3] = 0, 1, 2                                                      # of one blob: to learn from them would change the result
    np.savez('y.npz', x=vectors, y=y)
    assert fit('--data', 'y.npz', '--k', 3, '--method', method, '--out', 'r')==0
    assert sorted(json.loads(Path('r/summary.json').read_text())['sizes'])==[20, 20, 20]
    assert ('SeededKMeans can learn from known labels or pairs; here it gets none' in capsys.readouterr().out)==(method!='KMeans')


def test_baselines_are_skipped_above_their_limit(vectors, monkeypatch, capsys):
    monkeypatch.setitem(cli.BASELINE_LIMIT, 'Ward', 50)
    assert main('fit --data b.npy --k 3 --method GaussianMixture --baselines kmeans,ward --no-plots --quiet'.split())==0
    out = capsys.readouterr().out
    assert 'Ward was not run: n = 60 is above 50' in out and '\nKMeans' in out


# ---- predict in another process

def test_a_fresh_process_predicts_the_same(digits):
    np.save('d.npy', digits.x.numpy())
    env = os.environ | {'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
    assert fit('--data', 'd.npy', '--k', 10, '--method', 'KMeans', '--out', 'r')==0
    cmd = [sys.executable, '-m', 'deepclust', 'predict', '--model', 'r', '--data', 'd.npy', '--out', 'p.csv']
    done = subprocess.run(cmd, capture_output=True, text=True, env=env)
    assert done.returncode==0, done.stderr
    assert Path('p.csv').read_bytes()==Path('r/labels.csv').read_bytes() and 'samples per cluster' in done.stdout


def test_help_needs_no_torch():
    code = ("import sys; from deepclust.cli import main; main(['--help']); "
            "print('heavy', [m for m in ('torch', 'numpy', 'sklearn', 'matplotlib') if m in sys.modules])")
    env = os.environ | {'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
    assert 'heavy []' in subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env, check=True).stdout


def test_predict_refuses(digits, capsys):
    np.save('d.npy', digits.x.numpy()), np.save('wide.npy', np.zeros((4, 99)))
    fit('--data', 'd.npy', '--k', 4, '--method', 'KMeans', '--out', 'r')
    capsys.readouterr()
    assert 'fitted on (1, 8, 8)' in error(capsys, 'predict', '--model', 'r', '--data', 'wide.npy', '--out', 'p.csv')
    assert not Path('p.csv').exists()
    Path('p.csv').write_text('mine')
    assert '--overwrite' in error(capsys, 'predict', '--model', 'r', '--data', 'd.npy', '--out', 'p.csv')
    assert 'no model.json' in error(capsys, 'predict', '--model', '.', '--data', 'd.npy')
    assert '--data is empty' in error(capsys, 'predict', '--model', 'r', '--data', '')
    assert main('predict --model r --data wide.npy --out q.csv --debug'.split())==2 and 'Traceback' in capsys.readouterr().err


@pytest.mark.parametrize('name, text', [
    ('model.json', '{"method": "KM'), ('model.json', '[]'), ('model.json', '{}'), ('model.json', '{"method": "KMeans"}'),
    ('model.json', '{"method": "Other", "params": {}}'), ('model.safetensors', 'x')])
def test_corrupted_model(vectors, capsys, name, text):
    fit('--data', 'b.npy', '--k', 3, '--method', 'KMeans', '--out', 'r')
    capsys.readouterr()
    (Path('r/model')/name).write_text(text)
    message = error(capsys, 'predict', '--model', 'r', '--data', 'b.npy')
    assert 'r/model' in message and ('fit again' in message or 'Other' in message)


# ---- features

@pytest.fixture
def photos(here):
    "Three colours, four pictures each, of mixed sizes"
    (here/'pics').mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        base = np.array([(220, 30, 30), (30, 220, 30), (30, 30, 220)][i%3])
        Image.fromarray((base+rng.integers(-20, 20, (40+i, 50-i, 3))).astype('uint8')).save(here/'pics'/f'{i:02}.png')
    return ['--data', 'pics', '--k', 3, '--method', 'KMeans', '--out', 'r']


@pytest.fixture
def hub(here, monkeypatch):
    "A hub of our own with random weights of a small network; no way to the outside"
    from torchvision import models
    monkeypatch.setenv('TORCH_HOME', str(here/'hub'))
    def refuse(*a, **kw): raise OSError('no network')
    monkeypatch.setattr(features, 'urlopen', refuse)
    monkeypatch.setattr(features, 'ENCODERS', ('resnet50', 'mobilenet_v3_small'))
    file = features.hub_file(models.get_model_weights('mobilenet_v3_small').DEFAULT)
    file.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(models.get_model('mobilenet_v3_small').state_dict(), file)
    return file


def note(): return json.loads(Path('r/features.json').read_text())


def test_features_auto(photos, hub, capsys):
    assert main([*map(str, ['fit', *photos]), '--features', 'auto', '--baselines', 'none', '--quiet'])==0
    out = capsys.readouterr().out
    assert 'features 1024 numbers a picture, mobilenet_v3_small IMAGENET1K_V1' in out and 'raw pixels' not in out
    assert 'features.npy' in out and Path('r/clusters.png').exists()
    z = np.load('r/features.npy')
    assert z.shape==(12, 1024) and z.dtype==np.float32 and (note()['encoder'], note()['n'], note()['d'])==('mobilenet_v3_small', 12, 1024)
    enc = features.load_encoder('mobilenet_v3_small')
    np.testing.assert_allclose(z, features.extract_features('pics', enc, device='cpu'), atol=1e-5)
    s = json.loads(Path('r/summary.json').read_text())
    assert s['features']['encoder']=='mobilenet_v3_small' and s['data']['shape'][0]==3
    assert np.array_equal([int(r['label']) for r in labels('r/labels.csv')], registry.load('r').predict(z))
    for i, m in enumerate(('r', 'r/model')):                           # new pictures go through the same network
        assert main(['predict', '--model', m, '--data', 'pics', '--out', f'{i}.csv'])==0
        assert Path(f'{i}.csv').read_text()==Path('r/labels.csv').read_text()
    hub.unlink()
    assert 'MobileNet_V3_Small_Weights.IMAGENET1K_V1' in error(capsys, 'predict', '--model', 'r', '--data', 'pics', '--out', '3.csv')


def test_features_auto_without_weights(photos, hub, capsys):
    hub.unlink()
    assert fit(*photos, '--features', 'auto')==0
    out = capsys.readouterr().out
    assert 'no network' in out and 'So the pictures themselves are clustered' in out and 'ResNet50_Weights' in out
    assert not Path('r/features.npy').exists() and note()['encoder'] is None
    plain = Path('r/labels.csv').read_text()
    assert fit(*photos[:-1], 'plain')==0 and Path('plain/labels.csv').read_text()==plain
    assert '--features auto lets a pretrained network look first' in capsys.readouterr().out
    assert main(['predict', '--model', 'r', '--data', 'pics', '--out', 'p.csv'])==0 and Path('p.csv').read_text()==plain
    assert 'no network' in error(capsys, 'fit', *photos[:-1], 'q', '--features', 'resnet18', *FAST) and not Path('q').exists()


def test_features_of_ones_own(photos, capsys):
    z = np.repeat(np.eye(3, 5), 4, 0).astype('float32')+.01*np.arange(12)[:, None]
    np.save('z.npy', z), np.save('few.npy', z[:3])
    assert fit(*photos, '--features', 'z.npy')==0
    got = [int(r['label']) for r in labels('r/labels.csv')]
    assert [got[i] for i in (0, 4, 8)]==[got[i] for i in (3, 7, 11)] and len(set(got))==3 and note()['encoder']=='file'
    capsys.readouterr()
    assert '--features NEW.npy' in error(capsys, 'predict', '--model', 'r', '--data', 'pics', '--out', 'p.csv')
    assert main('predict --model r --data pics --features z.npy --out p.csv'.split())==0
    assert Path('p.csv').read_text()==Path('r/labels.csv').read_text()
    assert main('predict --model r --data few.npy --out v.csv'.split())==0          # vectors are taken as they are
    assert [int(r['label']) for r in labels('v.csv')]==got[:3]
    for args, says in ((['--features', 'few.npy'], '3 rows, but there are 12'), (['--features', 'no.npy'], 'no such file'),
                       (['--features', 'resnet-50'], 'did you mean'),
                       (['--features', 'z.npy', '--method', 'MMDC'], 'from the pictures themselves')):
        assert says in error(capsys, 'fit', *photos[:-1], 'q', *args, *FAST)
    assert 'vectors already' in error(capsys, 'fit', '--data', 'z.npy', '--k', 3, '--method', 'KMeans', '--out', 'q', '--features', 'auto')


def test_features_are_kept_for_resuming(tiny, photos, hub, capsys):
    args = ['fit', *map(str, photos[:4]), '--method', 'Tiny', '--out', 'r', '--features', 'auto', *FAST]
    assert main([*args, '--time-budget', '0'])==0 and not json.loads(Path('r/summary.json').read_text())['finished']
    kept = Path('r/features.npy').read_bytes()
    hub.unlink()                                                        # the weights are not needed again
    capsys.readouterr()
    assert 'the run began with --features auto' in error(capsys, *args[:-len(FAST)-2], *FAST, '--resume')
    assert 'the run began with --features auto' in error(capsys, *args[:-len(FAST)-1], 'resnet18', *FAST, '--resume')
    for _ in range(40):
        assert main([*args, '--resume'])==0
        if json.loads(Path('r/summary.json').read_text())['finished']: break
    assert Path('r/features.npy').read_bytes()==kept and 'mobilenet_v3_small' in capsys.readouterr().out
    Image.new('RGB', (40, 40)).save('pics/00.png')
    assert 'features in r are of other pictures' in error(capsys, *args, '--resume')
    assert main([*args[:-len(FAST)-2], *FAST, '--overwrite'])==0 and not Path('r/features.json').exists()


def test_resume_with_other_features_touches_nothing(tiny, photos, capsys):
    np.save('z.npy', np.eye(12, 5, dtype='float32'))
    args = ['fit', *map(str, photos[:4]), '--method', 'Tiny', '--out', 'r', *FAST]
    assert main([*args, '--time-budget', '0'])==0
    before = {f: f.read_bytes() for f in Path('r').rglob('*') if f.is_file()}
    capsys.readouterr()
    assert 'the run began without --features; go on as it began' in error(capsys, *args, '--resume', '--features', 'z.npy')
    assert 'epochs is 9 here and 6 there' in error(capsys, *args, '--resume', '--set', 'epochs=9')
    assert {f: f.read_bytes() for f in Path('r').rglob('*') if f.is_file()}==before
    assert main(['predict', '--model', 'r', '--data', 'pics', '--out', 'p.csv'])==0 and main([*args, '--resume'])==0


def test_overwrite_by_a_fit_that_never_began_touches_nothing(tiny, photos, capsys):
    for name in ('z', 'w'): np.save(f'{name}.npy', np.eye(12, 5, dtype='float32')*(1+(name=='w')))
    args = ['fit', *map(str, photos[:4]), '--method', 'Tiny', '--out', 'r', *FAST]
    assert main([*args, '--features', 'z.npy', '--time-budget', '0'])==0
    before = {f: f.read_bytes() for f in Path('r').rglob('*') if f.is_file()}
    capsys.readouterr()
    again = [*args, '--features', 'w.npy', '--overwrite', '--checkpoint']
    assert 'epochs' in error(capsys, *again, '--set', 'epochs=-1')
    assert main([*again, '--set', 'interrupt=true'])==130
    assert {f: f.read_bytes() for f in Path('r').rglob('*') if f.is_file()}==before
    assert main([*args, '--overwrite'])==0 and not {'.before', 'checkpoints', 'features.json'} & {f.name for f in Path('r').iterdir()}


def test_features_of_a_refused_fit_do_not_stay(photos):
    np.save('z.npy', np.eye(12, 5, dtype='float32'))
    assert main([*map(str, ['fit', *photos]), *FAST, '--features', 'z.npy', '--set', 'n_init=0'])==2 and Path('r/features.json').exists()
    assert fit(*photos)==0 and cli.features_note('r') is None
    assert main(['predict', '--model', 'r', '--data', 'pics', '--out', 'p.csv'])==0


def test_features_note(here):
    kept = dict(encoder=None, asked='auto', data=1, why='')
    for f in ('model/features.json', 'run/features.json', 'run/model/model.json'): (here/f).parent.mkdir(parents=True, exist_ok=True)
    for f in ('model', 'run'): (here/f/'features.json').write_text(json.dumps(kept))
    (here/'run/model/model.json').write_text('{}')
    assert cli.features_note('model')==cli.features_note('run')==cli.features_note('run/model')==kept      # also where --out is 'model'
    for text in ('{"encoder": ', '{}', '[]'):
        (here/'run/features.json').write_text(text)
        with pytest.raises(ValueError, match='run/features.json cannot be read'): cli.features_note('run')


# ---- mistakes

@pytest.mark.parametrize('args, says', [
    ('fit --data nowhere/photos --k 3', 'no such file or folder'),
    ('fit --data digit --k 3', 'digits'),
    ('fit --data b.npy', '--k is missing'),
    ('fit --data b.npy --k 0', '--k'),
    ('fit --data b.npy --k three', 'invalid int value'),
    ('fit --data b.npy --k 61', 'n_clusters=61'),
    ('fit --data b.npy --k 3 --method Magic', 'choose from'),
    ('fit --data b.npy --k 3 --set n_int=3', 'did you mean n_init'),
    ('fit --data b.npy --k 3 --set n_init', 'name=value'),
    ('fit --data b.npy --k 3 --set n_init=0', 'n_init'),
    ('fit --data b.npy --k 3 --set n_clusters=3', '--k'),
    ('fit --data b.npy --k 3 --baselines tsne', 'none of kmeans, ward, spectral'),
    ('fit --data b.npy --k 3 --device tpu', 'tpu'),
    ('fit --data b.npy --k 3 --paper usps', 'no settings of a paper'),
    ('fit --data b.npy --k 3 --time-budget 5', 'fitted in one go'),
    ('fit --data b.npy --k 3 --resume --overwrite', 'one of them'),
    ('fit --data b.npy --k 3 --no-such-option', 'unrecognized arguments'),
    ('fit --data b.npy --k 3 --out b.npy', 'is a file'),
    ('fit --data text.txt --k 3', 'neither a folder nor'),
    ('fit --data nan.npy --k 1', 'NaN'),
    ('fit --k 3', '--data'),
    ('dance', 'invalid choice')])
def test_mistakes(vectors, capsys, args, says):
    Path('text.txt').write_text('hello')
    np.save('nan.npy', np.full((3, 2), np.nan))
    args = args.split()
    if args[0]=='fit' and '--method' not in args: args += ['--method', 'KMeans']
    assert says in error(capsys, *args)


def test_unreadable_image(capsys):
    Path('pics').mkdir()
    for i in range(6): Image.new('RGB', (16, 16), (40*i, 0, 0)).save(f'pics/{i}.png')
    Path('pics/zz.jpg').write_bytes(b'no image')
    message = error(capsys, 'fit', '--data', 'pics', '--k', 2, '--method', 'KMeans', '--out', 'r')
    assert 'zz.jpg' in message and '--on-error skip' in message and not Path('r').exists()
    assert fit('--data', 'pics', '--k', 2, '--method', 'KMeans', '--on-error', 'skip', '--image-size', 8, '--out', 'r')==0
    assert 'zz.jpg' in capsys.readouterr().out and len(labels('r/labels.csv'))==6
    s = json.loads(Path('r/summary.json').read_text())
    assert s['data']['shape']==[3, 8, 8] and len(s['data']['skipped'])==1 and len(s['warnings'])==1
    Path('more').mkdir()
    Image.new('L', (20, 24), 90).save('more/grey.png')                         # one grey picture, of another size
    for new in ('more', 'more/grey.png'):
        assert main(['predict', '--model', 'r', '--data', new, '--out', 'p.csv', '--overwrite'])==0
        assert 'more/grey.png' in Path('p.csv').read_text()


def test_existing_run_folder(vectors, capsys):
    args = ['--data', 'b.npy', '--k', 3, '--method', 'KMeans', '--out', 'r']
    assert fit(*args)==0
    Path('r/notes.txt').write_text('mine')
    Path('r/clusters.png').write_text('old')
    before = Path('r/model/model.json').read_text()
    assert 'use another --out, --resume or --overwrite' in error(capsys, 'fit', *args, *FAST)
    assert Path('r/model/model.json').read_text()==before
    assert 'no checkpoints' in error(capsys, 'fit', *args, *FAST, '--resume')
    assert fit(*args, '--overwrite', '--seed', 1)==0
    assert Path('r/notes.txt').read_text()=='mine' and not Path('r/clusters.png').exists()


@pytest.mark.parametrize('args', ['--help', 'fit --help', 'predict --help', 'data --help', 'methods --help', '--version', ''])
def test_help(capsys, args):
    assert main(args.split())==0
    out = capsys.readouterr().out
    assert '--version' in args or 'example' in out


def test_lists(here, capsys):
    np.savez('usps.npz', x=np.zeros((4, 16, 16), 'uint8'), y=np.arange(4))
    assert main(['data', 'list', '--root', '.'])==0
    rows = {r.split()[0]: r for r in capsys.readouterr().out.splitlines()}
    assert 'missing' in rows['mnist'] and 'usps.npz' in rows['usps'] and 'scikit-learn' in rows['digits']
    assert main(['methods'])==0
    out = capsys.readouterr().out
    assert all(name in out for name in registry.METHODS)


# ---- budgets, with a method that trains

class Slow(Stage):
    name = 'cluster'
    def __init__(self, est, x): self.est, self.x, self.epochs = est, x, est.epochs
    def setup(self):
        with torch.no_grad(): self.est.net_.weight.copy_(self.x[:self.est.n_clusters])
    def optimizer(self): return make_optimizer(self.est.net_.parameters(), lr=.01)
    def batches(self, epoch, generator): return (('all', i) for i in torch.randperm(len(self.x), generator=generator).split(16))
    def losses(self, pass_, idx, prepared):
        if self.est.interrupt: raise KeyboardInterrupt
        return {'cluster': torch.cdist(self.x[idx], self.est.net_.weight).min(1).values.mean()}


class Tiny(DeepClusterer):
    _losses = ('cluster',)
    def __init__(self, n_clusters=3, *, epochs=6, interrupt=False, loss_weights=None, device='cpu', random_state=None, verbose=0):
        self.n_clusters, self.epochs, self.interrupt, self.loss_weights = n_clusters, epochs, interrupt, loss_weights
        self.device, self.random_state, self.verbose = device, random_state, verbose
    @classmethod
    def paper(cls, name):
        if name!='usps': raise ValueError(f'no settings for {name!r}: choose usps')
        return cls(epochs=2)
    def _build(self, shape): return nn.Linear(int(np.prod(shape)), self.n_clusters, bias=False)
    def _stages(self, x): return [Slow(self, x)]
    def _embed(self, x): return x
    def _log_proba(self, z): return (-torch.cdist(z, self.net_.weight)).log_softmax(1)


@pytest.fixture
def tiny(monkeypatch, vectors):
    "A trained method in the registry"
    module = types.ModuleType('deepclust.tiny')
    module.Tiny = Tiny
    monkeypatch.setitem(sys.modules, 'deepclust.tiny', module)
    monkeypatch.setitem(registry.METHODS, 'Tiny', registry.Method('Tiny', 'tiny', 'vectors', 'none', 'a test'))
    return ['fit', '--data', 'b.npy', '--k', '3', '--method', 'Tiny', *FAST]


def test_settings_reach_the_method(tiny, capsys):
    assert main([*tiny, '--paper', 'usps', '--out', 'p', '--set', 'loss_weights={"cluster": 0.5}'])==0
    s = json.loads(Path('p/summary.json').read_text())
    assert s['parameters']['epochs']==2 and s['parameters']['random_state']==0 and s['parameters']['loss_weights']=={'cluster': .5}
    rows = [json.loads(r) for r in Path('p/history.jsonl').read_text().splitlines()]
    assert len(rows)==2 and rows[0]['weight_cluster']==.5
    assert 'choose usps' in error(capsys, *tiny, '--paper', 'mnist', '--out', 'q')
    assert 'the losses are cluster' in error(capsys, *tiny, '--set', 'loss_weights={"x": 1}', '--out', 'q')


def test_budget_and_resume(tiny, capsys):
    assert main([*tiny, '--out', 'r', '--time-budget', '0'])==0
    out = capsys.readouterr().out
    assert 'labels are usable, not final' in out and json.loads(Path('r/summary.json').read_text())['finished'] is False
    line = next(r for r in out.splitlines() if r.strip().startswith('deepclust fit')).split()
    assert line[-1]=='--resume' and 'use another --out' in error(capsys, *tiny, '--out', 'r')
    for _ in range(40):
        assert main(line[1:])==0
        if json.loads(Path('r/summary.json').read_text())['finished']: break
    assert 'time budget' not in capsys.readouterr().out.rsplit('written', 1)[-1]
    assert main([*tiny, '--out', 'once'])==0
    assert Path('r/labels.csv').read_text()==Path('once/labels.csv').read_text()
    assert 'epochs is 7 here and 6 there' in error(capsys, *line[1:], '--set', 'epochs=7')


def test_progress_and_ctrl_c(tiny, capsys):
    assert main([*[a for a in tiny if a!='--quiet'], '--out', 'a'])==0
    assert 'epoch' in capsys.readouterr().err
    assert main([*tiny, '--out', 'b', '--set', 'interrupt=true'])==130
    assert 'stopped' in capsys.readouterr().err and not Path('b').exists()
