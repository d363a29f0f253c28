"The tutorials do what they say: their cells are run here as a reader would run them, slow ones too, and the results are looked at."
import csv
import json
import re
import shlex
import sys
import time
import types
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from site_files import NBS, code_of

PAGES = sorted((NBS/'tutorials').glob('*.ipynb'))


def read(name)->list:
    "Cells as (kind, source)"
    cells = json.loads((NBS/'tutorials'/f'{name}.ipynb').read_text(encoding='utf-8'))['cells']
    return [(c['cell_type'], ''.join(c['source'])) for c in cells]


def run(name, skip=lambda source: False)->dict:
    "Names that are there after the code cells, run in order"
    module = sys.modules[f'tutorial_{name}'] = types.ModuleType(f'tutorial_{name}')       # what is made there can be pickled
    space = vars(module)
    for i,(kind,source) in enumerate(read(name)):
        if kind=='code' and not skip(source) and 'os.chdir(home)' not in source: exec(compile(source, f'{name}, cell {i}', 'exec'), space)
    plt.close('all')
    return space


def table(path)->list:
    with open(path, newline='', encoding='utf-8') as f: return list(csv.DictReader(f))


def slow(source)->bool: return bool(re.search(r'^#\|\s*slow', source, re.M))


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    "Pages change the folder; put it back"
    monkeypatch.chdir(tmp_path)


def test_there_are_tutorials(): assert {'own_images', 'own_embeddings', 'few_labels'} <= {p.stem for p in PAGES}


# ---- your own pictures: from a folder to groups in under ten lines and five minutes

def lines_to_clusters()->list:
    "What a reader has to type: the visible imports, and the cell under the heading Cluster"
    cells = read('own_images')
    at = next(i for i,(kind,s) in enumerate(cells) if kind=='markdown' and s.startswith('## Cluster'))
    shown = [code_of(s) for kind,s in cells if kind=='code' and s.startswith('from deepclust')]+[code_of(cells[at+1][1])]
    return '\n'.join(shown).splitlines()


def test_few_lines_do_it():
    lines = lines_to_clusters()
    assert len(lines)<10 and any('fit(' in line for line in lines) and any('labels.csv' in line for line in lines)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    "A folder of pictures, made by the cell of the page that makes it; the true classes"
    import os
    from PIL import Image
    from sklearn.datasets import load_digits
    folder,back = tmp_path_factory.mktemp('tutorial'), os.getcwd()
    make = next(s for kind,s in read('own_images') if kind=='code' and '.resize(' in s)
    space = dict(os=os, tempfile=None, Path=Path, Image=Image, load_digits=load_digits, np=np)
    os.chdir(folder)
    try: exec(make.split('\n', 1)[1], space)       # without its first line, which makes a temporary folder
    finally: os.chdir(back)
    return folder, space['digits'].target


def test_a_stranger_types_only_that(pictures, monkeypatch):
    "Nothing else defined: neither hidden imports nor earlier cells"
    from deepclust.metrics import cluster_accuracy
    folder,y = pictures; monkeypatch.chdir(folder)
    space,start = {}, time.monotonic()
    exec('\n'.join(lines_to_clusters()), space)
    assert time.monotonic()-start < 300
    rows = table('labels.csv')
    assert [Path(r['path']).name for r in rows]==sorted(p.name for p in Path('pictures').iterdir())
    assert cluster_accuracy(y[:500], np.array([int(r['label']) for r in rows]))>.8
    assert (folder/'model'/'model.json').exists()


def test_the_commands_on_the_page(pictures, monkeypatch, capsys):
    "Each line of the shell block, typed"
    from deepclust.cli import main
    from deepclust.metrics import cluster_accuracy
    folder,y = pictures; monkeypatch.chdir(folder)
    block = next(re.search(r'```sh\n(.*?)```', s, re.S)[1] for kind,s in read('own_images') if kind=='markdown' and '```sh' in s)
    commands = [shlex.split(line) for line in block.splitlines()]
    assert [c[:2] for c in commands]==[['deepclust', 'fit'], ['deepclust', 'predict']]
    for c in commands: assert main(c[1:])==0, capsys.readouterr().err
    run_folder = Path('runs/pictures-lnscc')
    assert {'labels.csv', 'clusters.png', 'embedding.png', 'model'} <= {p.name for p in run_folder.iterdir()}
    found = [int(r['label']) for r in table(run_folder/'labels.csv')]
    assert cluster_accuracy(y[:500], np.array(found))>.8
    assert len(table('new.csv'))==100


def test_own_images_as_a_whole():
    space = run('own_images', skip=slow)        # its slow cell is the test above
    assert space['acc']['LNSCC']>.8 and space['new_acc']>.7 and len(space['data'])==500


# ---- the others: their slow cells, which `nbdev_test` leaves out, included where they are affordable

def test_a_killed_fit_goes_on():
    "The page kills a process; what it left must be a whole checkpoint"
    space = run('resuming')
    assert space['more'].history_['step'][-1]>space['left']>0 and space['same'] and space['m'].finished_


def test_pairs_help():
    space = run('few_labels')
    assert space['by_pairs']['pairs']>space['by_pairs']['none']+.01
    assert space['found']['ClusterNet']>space['found']['SeededKMeans']>space['found']['KMeans']


def test_a_method_in_thirty_lines():
    space = run('add_a_method')
    made = [code_of(s) for kind,s in read('add_a_method') if kind=='code' and s.startswith('class ')]
    assert len(made)==2 and sum(len(s.splitlines()) for s in made)<=30
    assert space['acc']>.95 and space['model'].history_.columns[4:6]==['reconstruction', 'near']


# ---- what holds for all

@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.stem)
def test_form(path):
    cells = read(path.stem)
    assert len(cells)<=25, 'a tutorial is a short lesson'
    for kind,source in cells:
        for target in re.findall(r'\]\(([^)\s]+)\)', source) if kind=='markdown' else ():
            file,_,anchor = target.partition('#')
            if re.match(r'[a-z]+:', file): continue
            page = (path.parent/file).resolve() if file else path
            assert page.exists(), f'{path.stem} links to {target}'
            if anchor: assert anchor in anchors(page), f'{path.stem} links to {target}, which has no such heading'


def anchors(page)->set:
    "Headings of a page, as Quarto names them"
    text = '\n'.join(''.join(c['source']) for c in json.loads(page.read_text(encoding='utf-8'))['cells'] if c['cell_type']=='markdown')
    return {re.sub(r'[^\w\s-]', '', h).strip().lower().replace(' ', '-') for h in re.findall(r'^#+ (.+)$', text, re.M)}


@pytest.mark.parametrize('path', PAGES, ids=lambda p: p.stem)
def test_every_slow_cell_has_its_output_stored(path):
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    for c in cells:
        source = ''.join(c['source'])
        if c['cell_type']=='code' and slow(source): assert c['outputs'] or source.rstrip().endswith(')'), source[:60]
