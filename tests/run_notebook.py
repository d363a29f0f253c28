"""Execute one notebook in place, keep small outputs, clean it and export its module.

    python tests/run_notebook.py nbs/15_metrics.ipynb [--flags cuda slow]

Cells marked `#| cuda`, `#| slow` or `#| eval: false` are left as they are, with the outputs they have, unless the flag is given.
Nothing is written when a cell fails.
"""
import argparse
import os
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def skipped(
    source:str,      # a code cell
    flags=(),        # flags whose cells run all the same
)->bool:
    "Whether a cell is not to be executed"
    marks = set(re.findall(r'^\s*#\|\s*(cuda|slow)\b', source, re.M))-set(flags)
    return bool(marks or re.search(r'^\s*#\|\s*eval:\s*false', source, re.M) or 'nbdev_export(' in source)


def keep(output)->bool:
    "Outputs worth storing: neither widgets nor what went to stderr (warnings, progress bars)"
    if output['output_type']=='stream': return output['name']!='stderr'
    return 'application/vnd.jupyter.widget-view+json' not in output.get('data', {})


def run(path:Path, flags=())->list[str]:
    "Execute the cells of `path` in its own folder; the tracebacks of the first cell that fails, or nothing"
    from execnb.nbio import read_nb, write_nb
    from execnb.shell import CaptureShell
    nb, here, start = read_nb(path), os.getcwd(), time.perf_counter()
    sys.path.insert(0, str(ROOT))
    os.environ['IN_TEST'] = '1'
    os.environ.setdefault('MPLBACKEND', 'module://matplotlib_inline.backend_inline')
    os.chdir(path.parent)
    try:
        shell = CaptureShell(path.parent, mpl_format='png')   # the default, retina, makes pictures three times as large
        for cell in nb.cells:
            if cell.cell_type!='code' or skipped(cell.source, flags): continue
            shell.cell(cell)
            errors = [o for o in cell.get('outputs', []) if o['output_type']=='error']
            if errors: return [cell.source, *('\n'.join(e['traceback']) for e in errors)]
            cell.outputs = [o for o in cell.get('outputs', []) if keep(o)]
    finally: os.chdir(here)
    write_nb(nb, path)
    print(f'executed in {time.perf_counter()-start:.1f} s')
    return []


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('notebook', type=lambda p: Path(p).resolve())
    ap.add_argument('--flags', nargs='*', default=[], choices=['cuda', 'slow'], help='also run the cells with these flags')
    args = ap.parse_args()
    os.chdir(ROOT)
    failed = run(args.notebook, args.flags)
    if failed: sys.exit('this cell failed, nothing was written:\n\n'+'\n\n'.join(failed))
    os.environ.pop('IN_TEST')
    from nbdev.clean import nbdev_clean
    from nbdev.doclinks import _build_modidx
    from nbdev.export import nb_export
    nbdev_clean(str(args.notebook))
    if 'default_exp' in args.notebook.read_text(encoding='utf-8'): nb_export(args.notebook, ROOT/'deepclust')
    _build_modidx()
    from test_lint import lint_page
    problems = lint_page(args.notebook)
    print('\n'.join(problems) or 'lint: nothing to say')


if __name__=='__main__': main()
