"""What a page of this library has to look like. Also a command: python tests/test_lint.py nbs/15_metrics.ipynb ... lists a page's problems.

The sizes are signs, not laws. A page that passes one on purpose says so in `KNOWN`, with the reason.
"""
import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path

import pytest

from site_files import NBS, ROOT, move_links, pages, readme_text

CAPS = {'export': 40, 'estimator': 50, 'code': 15, 'markdown': 12}
OUTPUT_CAP, ALL_OUTPUTS_CAP = 300_000, 6_000_000

# (page, what): reason.  `what` is a name defined in the cell, or 'outputs'.
KNOWN: dict[tuple[str, str], str] = {
    ('55_base', 'DeepClusterer'): 'the whole public face in one place; what it does stands in functions below it',
    ('methods/60_lnscc', 'CutStage'): 'the whole of the training of the method, to be read in one go',
}

# Described once, in 55_base: an estimator's signature need not repeat them.
COMMON_TAIL = {'n_clusters', 'epochs', 'pretrain_epochs', 'batch_size', 'lr', 'loss_weights', 'encoder', 'recipe', 'n_init', 'device',
               'precision', 'random_state', 'verbose'}
NOT_ESTIMATORS = {'Module', 'Exception', 'object', 'NamedTuple', 'Protocol', 'ABC', 'Enum', 'Generic', 'Dataset', 'Function', 'tuple',
                  'dict', 'list', 'str'}


# ---- reading a page

class Cell:
    "A cell: its kind, its source without directives, its directives, its syntax tree"
    def __init__(self, i, raw):
        self.i, self.kind, self.raw, self.outputs = i, raw['cell_type'], raw['source'], raw.get('outputs', [])
        self.full = ''.join(self.raw)
        lines = self.full.splitlines()
        self.directives = {m[1]: m[2].strip() for line in lines if self.kind=='code' and (m := re.match(r'\s*#\|\s*([\w-]+):?(.*)', line))}
        not_python = lambda line: re.match(r'\s*#\||[%!]', line) and self.kind=='code'
        self.source = '\n'.join('' if not_python(line) else line for line in lines)
        self.exported = bool(self.directives.keys() & {'export', 'exporti', 'exports'})
        self.public = bool(self.directives.keys() & {'export', 'exports'})

    @property
    def tree(self):
        try: return ast.parse(self.source).body if self.kind=='code' and not self.source.lstrip().startswith('%%') else []
        except SyntaxError: return []

    @property
    def names(self): return [n.name for n in self.tree if hasattr(n, 'name')]

    def __str__(self): return f"cell {self.i} ({', '.join(self.names) or ' '.join(self.source.split())[:40]})"


def read(path)->list[Cell]: return [Cell(i, c) for i, c in enumerate(json.loads(Path(path).read_text(encoding='utf-8'))['cells'])]


def name_of(path)->str: return Path(path).resolve().relative_to(NBS).with_suffix('').as_posix()


def module_of(page:str)->str:
    "methods/60_lnscc -> methods.lnscc"
    return '.'.join(re.sub(r'^\d+[a-z]?_', '', part) for part in page.split('/'))


def rank(page:str)->tuple:
    "Where a page stands in the one order of imports; methods come after 60_distributed and before 70_registry"
    numbers = [int(m[1]) if (m := re.match(r'(\d+)', part)) else 0 for part in page.split('/')]
    return (65, numbers[1]) if page.startswith('methods/') else (numbers[0], 0)


@cache
def exporting()->dict:
    "Module name -> page"
    found = {}
    for p in pages():
        for c in read(p):
            if 'default_exp' in c.directives: found.setdefault(c.directives['default_exp'], name_of(p))
    return found


# ---- one check each: (page, cells) -> problems

def check_default_exp(page, cells):
    exps = [c.directives['default_exp'] for c in cells if 'default_exp' in c.directives]
    if not exps:
        if any(c.exported for c in cells): yield 'exports cells but has no #| default_exp'
        return
    if exps!=[module_of(page)]: yield f'#| default_exp is {exps}, the page is called {page}: expected {module_of(page)}'
    if exporting().get(exps[0], page)!=page: yield f'{exps[0]} is also exported by {exporting()[exps[0]]}'
    first = next((c for c in cells if c.kind=='code'), cells[0])
    if 'default_exp' not in first.directives: yield 'the first code cell must be #| default_exp'
    for c in cells:
        if any(c.directives.get(k) for k in ('export', 'exporti', 'exports')): yield f'{c} names a module: one notebook, one module'


def check_title(page, cells):
    first = next((c for c in cells if c.kind=='markdown'), None)
    if first is None or not re.match(r'# \S.*\n+> \S', first.full): yield 'the first markdown cell must be "# Title" and "> one line"'


def check_ends_with_export(page, cells):
    if not any('default_exp' in c.directives for c in cells): return
    last = cells[-1]
    if 'hide' not in last.directives or 'nbdev_export()' not in last.source: yield 'the last cell must be #| hide with nbdev.nbdev_export()'


def _imports(tree):
    for node in (n for top in tree for n in ast.walk(top)):
        if isinstance(node, ast.Import): yield from ((a.name, ()) for a in node.names)
        elif isinstance(node, ast.ImportFrom): yield '.'*node.level+(node.module or ''), [a.name for a in node.names]


def check_imports_point_down(page, cells):
    for c in cells:
        if not c.exported: continue
        for module, names in _imports(c.tree):
            if '*' in names: yield f'{c}: star import from {module}'
            if module.startswith('.'): yield f'{c}: relative import of {module}: write deepclust.…'
            if module.split('.')[0]!='deepclust': continue
            targets = [module]
            if module in ('deepclust', 'deepclust.methods') and names: targets = [f'{module}.{n}' for n in names if n[:2]!='__']
            for t in targets:
                source = exporting().get(t.removeprefix('deepclust').lstrip('.'))
                if source is None: yield f'{c}: no page exports {t}: import from the module that defines the name'
                elif rank(source)>=rank(page): yield f'{c}: imports {t}, which stands below this page'


def check_import_cells(page, cells):
    for c in cells:
        is_import = [isinstance(n, (ast.Import, ast.ImportFrom)) for n in c.tree]
        if any(is_import) and not all(is_import): yield f'{c} mixes imports with other code: nbdev runs it to build the docs'


def _is_estimator(node):
    bases = [b.id if isinstance(b, ast.Name) else b.attr if isinstance(b, ast.Attribute) else '' for b in getattr(node, 'bases', [])]
    return any(b and b not in NOT_ESTIMATORS and not b.endswith(('Error', 'Warning', 'Stage', 'Exception')) for b in bases)


def _signature_lines(node)->int:
    init = next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name=='__init__'), None)
    return init.body[0].lineno-init.lineno if init else 0


def check_sizes(page, cells):
    for c in cells:
        lines = [x for x in c.source.splitlines() if x.strip()]
        if c.kind=='markdown': kind, n = 'markdown', sum(not x.lstrip().startswith('|') for x in lines)
        elif c.kind!='code': continue
        else:
            est = [n for n in c.tree if isinstance(n, ast.ClassDef) and _is_estimator(n)]
            kind = 'estimator' if c.exported and est else 'export' if c.exported else 'code'
            n = len(lines)-sum(map(_signature_lines, est))
        known = any((page, x) in KNOWN for x in c.names)
        if n>CAPS[kind] and not known: yield f'{c}: {n} lines, the cap for {kind} cells is {CAPS[kind]}'


def _commented(source)->set:
    "Lines that carry a comment"
    return {t.start[0] for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type==tokenize.COMMENT}


def _public_functions(tree, exempt):
    for n in tree:
        if getattr(n, 'name', '_').startswith('_'): continue
        if isinstance(n, ast.FunctionDef): yield n.name, n, set()
        elif isinstance(n, ast.ClassDef):
            inits = [f for f in n.body if isinstance(f, ast.FunctionDef) and f.name=='__init__']
            yield from ((n.name, f, exempt if _is_estimator(n) else set()) for f in inits)


def check_docments(page, cells):
    for c in cells:
        if not c.public: continue
        commented = _commented(c.source) if c.tree else set()
        for name, f, common in _public_functions(c.tree, set() if page=='55_base' else COMMON_TAIL):
            args = [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs, *filter(None, [f.args.vararg])]
            if f.args.kwarg: yield f'{c}: {name} takes **{f.args.kwarg.arg}: name the parameters'
            if f.name!='__init__' and not ast.get_docstring(f): yield f'{c}: {name} has no docstring'
            args = [a for a in args if a.arg not in {'self', 'cls', '_'} | common]
            lines = [a.lineno for a in args]
            missing = [a.arg for a in args if a.lineno not in commented or lines.count(a.lineno)>1]
            if missing: yield f"{c}: {name} has no docment for {', '.join(missing)} (one parameter a line, with a comment)"


def check_outputs(page, cells):
    total = sum(len(json.dumps(c.outputs)) for c in cells)
    if total>OUTPUT_CAP and (page, 'outputs') not in KNOWN: yield f'{total//1000} kB of stored outputs, the cap is {OUTPUT_CAP//1000}'
    for c in cells:
        for o in c.outputs:
            data = o.get('data', {})
            text = ''.join(o.get('text', []))+''.join(data.get('text/html', []))+''.join(data.get('text/plain', []))
            if o['output_type']=='error': yield f"{c} stores an error: {o.get('ename')}"
            if any('widget' in k for k in data): yield f'{c} stores a widget: mark the cell #| eval: false or show a picture'
            if re.search(r'<progress|it/s|s/it|█{2}', text): yield f'{c} stores a progress bar'
            if o.get('name')=='stderr': yield f'{c} stores stderr: {text[:60]!r}'
            if 'image/png' in data and not c.directives.get('fig-alt'): yield f'{c} shows a picture without #| fig-alt: (what, in words)'


def check_source_lists(page, cells):
    for c in cells:
        if not isinstance(c.raw, list): yield f'{c}: source is one string; Quarto needs a list of lines'
        elif any(not x.endswith('\n') for x in c.raw[:-1]): yield f'{c}: a source line without its newline'


CHECKS = [check_default_exp, check_title, check_ends_with_export, check_imports_point_down, check_import_cells, check_sizes, check_docments,
          check_outputs, check_source_lists]


def lint_page(path)->list[str]:
    "All problems of one page"
    page, cells = name_of(path), read(path)
    return [f'{page}: {problem}' for check in CHECKS for problem in check(page, cells)]


@pytest.mark.parametrize('path', pages(), ids=name_of)
def test_page(path):
    problems = lint_page(path)
    assert not problems, '\n'+'\n'.join(problems)


# ---- the repository as a whole

def test_numbers_are_unique():
    seen = [(p.parent.name, m[1]) for p in pages() if p.parent.name!='ablations' and (m := re.match(r'(\d+)', p.stem))]
    assert sorted(seen)==sorted(set(seen)), 'two pages of one folder bear the same number: their order of import is undefined'


def test_outputs_altogether():
    total = sum(len(json.dumps(c.outputs)) for p in pages() for c in read(p))
    assert total<ALL_OUTPUTS_CAP, f'{total/1e6:.1f} MB of stored outputs'


def test_every_module_has_its_page():
    package = ROOT/'deepclust'
    files = [p.relative_to(package) for p in package.rglob('*.py') if p.name not in ('__init__.py', '__main__.py', '_modidx.py')]
    modules = {p.with_suffix('').as_posix().replace('/', '.') for p in files}
    assert modules==set(exporting()), 'modules without a page, or pages that were not exported (run nbdev_export)'


@pytest.mark.skipif(not (NBS/'index.ipynb').exists(), reason='no front page yet')
def test_readme_is_the_front_page():
    assert (ROOT/'README.md').read_text(encoding='utf-8')==readme_text(), 'README.md and nbs/index.ipynb differ: run `make readme`'


def test_quarto_file_is_a_relative_link():
    link = NBS/'_quarto.yml'
    assert link.is_symlink() and str(link.readlink())=='../_quarto.yml'


def tracked()->list[Path]:
    "Text files that are, or would be, committed"
    try:
        out = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '-z'], cwd=ROOT, capture_output=True, check=True).stdout
        files = [ROOT/f for f in out.decode().split('\0') if f]
    except (OSError, subprocess.CalledProcessError):
        files = [p for d in ('deepclust', 'nbs', 'tests', 'results') for p in (ROOT/d).rglob('*')]+list(ROOT.glob('*'))
    kinds = {'.py', '.ipynb', '.md', '.ini', '.toml', '.yml', '.yaml', '.json', '.txt', '.cfg', '.csv', ''}
    return [f for f in files if f.is_file() and not f.is_symlink() and f.suffix in kinds]


def _without_pictures(path)->str:
    "A file's text; of a notebook, without the base64 of its pictures, in which anything may occur"
    text = path.read_text(encoding='utf-8', errors='replace')
    return re.sub(r'("image/\w+": )"[^"]*"', r'\1""', text) if path.suffix=='.ipynb' else text


def test_nothing_of_one_machine_is_kept():
    # written in pieces, so that this file does not match itself
    roots = ['wo' 'rk', 'ro' 'ot', 'op' 't', 'Use' 'rs', 'ho' 'me', 'tm' 'p', 'm' 'nt', 'var/fol' 'ders']
    words = ['work' 'place', 'sub' 'agent', 'chat' 'bot', r'this se' 'ssion', r'helper se' 'ssion', 'CONT' r'RACT\.md',
             r'language mo' 'del']
    paths = rf"(?<![\w.~/$}}-])/(?:{'|'.join(roots)})/[\w.]|[A-Z]:\\+Users"
    bad = re.compile(rf"{paths}|\b(?:{'|'.join(words)})\b")
    found = [f'{f.relative_to(ROOT)}: …{" ".join(t[max(0, m.start()-30):m.end()+30].split())}…'
             for f in tracked() if f.name!='LICENSE' for t in [_without_pictures(f)] for m in bad.finditer(t)]
    assert not found, '\n'+'\n'.join(found[:30])


# ---- the lint itself

def _page(*cells): return [Cell(i, {'cell_type': 'code', 'source': c.splitlines(True), 'outputs': []}) for i, c in enumerate(cells)]


@pytest.mark.parametrize('check,source,says', [
    (check_import_cells, 'import os\nx = 1', 'mixes imports'),
    (check_imports_point_down, '#| export\nfrom deepclust.core import *', 'star import'),
    (check_imports_point_down, '#| export\nimport deepclust', 'import from the module'),
    (check_imports_point_down, '#| export\nfrom deepclust import core', 'stands below'),
    (check_imports_point_down, '#| export\ndef f():\n    from deepclust.core import check_int', 'stands below'),
    (check_sizes, 'x = 1\n'*16, '16 lines, the cap for code cells is 15'),
    (check_sizes, '#| export\n'+'x = 1\n'*41, '41 lines'),
    (check_docments, '#| export\ndef f(\n    a,  # good\n    b,\n):\n    "doc"', 'no docment for b'),
    (check_docments, '#| export\ndef f(a, b): # both\n    "doc"', 'no docment for a, b'),
    (check_docments, '#| export\ndef f(\n    a, # x\n): return a', 'no docstring'),
    (check_docments, '#| export\ndef f(**kw):\n    "doc"', r'takes \*\*kw'),
    (check_docments, '#| export\nclass A(DEC):\n    def __init__(self, n_clusters=8, *, own=1): pass', 'no docment for own'),
    (check_default_exp, '#| default_exp wrong', 'expected core'),
    (check_default_exp, '#| export\nx = 1', 'no #| default_exp'),
])
def test_lint_sees(check, source, says):
    assert any(re.search(says, p) for p in check('00_core', _page(source)))


@pytest.mark.parametrize('text,moved', [('[a](05_data.ipynb)', '[a](nbs/05_data.ipynb)'), ('[a](../LICENSE)', '[a](LICENSE)'),
                                        ('[a](https://x.org/a)', '[a](https://x.org/a)'), ('[a](#top)', '[a](#top)')])
def test_readme_links_are_seen_from_the_top(text, moved): assert move_links(text)==moved


def test_lint_accepts():
    good = ['#| export\nfrom deepclust import __version__', '#| exporti\ndef f(**kw): pass', '#| hide\nimport os',
            '#| export\ndef f(\n    a:int=1,  # one\n)->int:\n    "doc"\n    return a']
    checks = check_import_cells, check_imports_point_down, check_sizes, check_docments
    for check in checks: assert not list(check('00_core', _page(*good)))
    signature = ''.join(f'        a{i}=0,  # own\n' for i in range(30))
    page = _page(f'#| export\nclass A(DEC):\n    def __init__(self,\n{signature}    ):\n'+'        x = 1\n'*45)
    assert not list(check_sizes('methods/60_a', page)) and not list(check_docments('methods/60_a', page))


if __name__=='__main__':
    todo = [Path(a).resolve() for a in sys.argv[1:]] or pages()
    problems = [x for p in todo for x in lint_page(p)]
    print('\n'.join(problems) or 'nothing to say')
    sys.exit(bool(problems))
