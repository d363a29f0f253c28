"What is committed is what the tools would write; what is installed is the whole package."
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from site_files import ROOT

LEFT_OUT = {'.git', '.venv', '__pycache__', '.pytest_cache', '.ruff_cache', '.ipynb_checkpoints', '.data', 'runs', 'build', 'dist', '_proc',
            '_docs', 'results', '.last_checked'}


@pytest.fixture
def tree(tmp_path)->Path:
    "A copy of the source tree, so that no test writes into it"
    skip = lambda d, names: [n for n in names if n in LEFT_OUT or n.endswith(('.egg-info', '.tmp'))]
    return Path(shutil.copytree(ROOT, tmp_path/'tree', symlinks=True, ignore=skip))


def run(tree, *cmd):
    env = {k: v for k, v in os.environ.items() if k!='IN_TEST'} | {'PYTHONPATH': str(tree)}
    done = subprocess.run([sys.executable, *cmd], cwd=tree, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode==0, done.stdout+done.stderr


def snapshot(tree):
    return {p.relative_to(tree).as_posix(): p.read_bytes() for p in sorted(tree.rglob('*'))
            if p.is_file() and not p.is_symlink() and not LEFT_OUT & set(p.relative_to(tree).parts)}


def same(before, after):
    changed = [f for f in sorted(before.keys() | after.keys()) if before.get(f)!=after.get(f)]
    assert not changed, f'changed by the tool: {changed}'


def test_clean_changes_nothing(tree):
    before = snapshot(tree)
    run(tree, '-c', 'from nbdev.clean import nbdev_clean; nbdev_clean()')
    same(before, snapshot(tree))


def test_export_changes_nothing(tree):
    before = snapshot(tree)
    run(tree, '-c', 'from nbdev.doclinks import nbdev_export; nbdev_export()')
    same(before, snapshot(tree))


def test_site_pages_are_processed(tree):
    run(tree, 'tests/site_files.py', 'sidebar')
    run(tree, '-c', 'from nbdev.serve import proc_nbs; proc_nbs(n_workers=1)')
    proc = tree/'_proc'
    assert {p.name for p in proc.rglob('*.ipynb')}=={p.name for p in (tree/'nbs').rglob('*.ipynb')}
    assert (proc/'_quarto.yml').is_file() and not (proc/'_quarto.yml').is_symlink() and (proc/'sidebar.yml').is_file()


def test_wheel_holds_the_whole_package(tree, tmp_path):
    pytest.importorskip('build')
    run(tree, '-m', 'build', '--wheel', '--no-isolation', '--outdir', str(tmp_path/'dist'))
    wheel = next((tmp_path/'dist').glob('*.whl'))
    with zipfile.ZipFile(wheel) as z:
        held = {n for n in z.namelist() if '.dist-info/' not in n}
        meta = {Path(n).name: z.read(n).decode() for n in z.namelist() if '.dist-info/' in n and not n.endswith('RECORD')}
    assert held=={p.relative_to(tree).as_posix() for p in (tree/'deepclust').rglob('*.py')}
    assert 'deepclust = deepclust.cli:main' in meta['entry_points.txt']
    for line in ('Name: deepclust', 'Requires-Python: >=3.10', 'Provides-Extra: dev', 'Provides-Extra: fast', 'Provides-Extra: bench'):
        assert line in meta['METADATA'], line
