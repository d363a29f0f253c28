"Links of the pages and the README lead somewhere: files, anchors as Quarto makes them, pictures, and names in backticks"
import ast
import json
import re
from functools import cache
from types import SimpleNamespace

import pytest

from site_files import NBS, ROOT, pages

LINK = re.compile(r'(!?)\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)')
TEXTS = [*pages(), ROOT/'README.md', ROOT/'CONTRIBUTING.md']


def shown(path)->list[str]:
    "Markdown of a page or text: cells, and Markdown outputs; without code"
    if path.suffix=='.md': parts = [path.read_text(encoding='utf-8')]
    else:
        cells = json.loads(path.read_text(encoding='utf-8'))['cells']
        parts = [''.join(c['source']) for c in cells if c['cell_type']=='markdown']
        parts += [''.join(o['data']['text/markdown']) for c in cells for o in c.get('outputs', []) if 'text/markdown' in o.get('data', {})]
    return [re.sub(r'```.*?```|~~~.*?~~~', '', p, flags=re.S) for p in parts]


def anchor(heading:str)->str:
    "Pandoc's identifier of a heading"
    if m := re.search(r'\{[^}]*#([\w:.-]+)[^}]*\}\s*$', heading): return m[1]
    text = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)                              # links become their text
    text = re.sub(r'[*`]|(?<!\w)_|_(?!\w)', '', re.sub(r'\$[^$]*\$', lambda m: m[0].strip('$'), text)).strip().lower()
    text = re.sub(r'\s+', '-', re.sub(r'[^\w\s.-]', '', text))
    return re.sub(r'^[^a-z\u00c0-\uffff]+', '', text) or 'section'


@cache
def anchors(path)->set:
    "Identifiers of a page; a heading that comes twice gets -1, -2, …"
    found, seen = set(), {}
    for part in shown(path):
        for h in re.findall(r'^#{1,6} (.+)$', part, re.M):
            a = anchor(h); n = seen[a] = seen.get(a, -1)+1
            found.add(f'{a}-{n}' if n else a)
        found |= set(re.findall(r'(?:id|name)="([\w:.-]+)"', part))
    return found


def links(path)->list[tuple]:
    "(target, whether a picture) outside of code in backticks"
    found = []
    for part in shown(path):
        text = re.sub(r'(`+).+?\1', '', part)
        found += [(t, bool(bang)) for bang, t in LINK.findall(text)]
        found += [(t, tag=='img') for tag, t in re.findall(r'<(img|a)[^>]+(?:src|href)="([^"]+)"', text)]
    return found


def problems(path)->list[str]:
    out = []
    for target, picture in links(path):
        if re.match(r'[a-z][a-z0-9+.-]*:', target): continue
        file, _, at = target.partition('#')
        to = (path.parent/file).resolve() if file else path
        if not to.exists(): out.append(f'{target}: there is no such file'); continue
        if ROOT not in to.parents and to!=ROOT: out.append(f'{target} leads out of the repository'); continue
        if picture and to.suffix not in ('.png', '.svg', '.jpg'): out.append(f'{target} is no picture')
        if at and to.suffix in ('.ipynb', '.md') and at not in anchors(to):
            close = sorted(anchors(to), key=lambda a: -len(set(a.split('-')) & set(at.split('-'))))[:3]
            out.append(f'{target}: no heading gives this anchor; perhaps {close}')
    return out


def name(path): return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize('path', TEXTS, ids=name)
def test_links_lead_somewhere(path):
    found = problems(path)
    assert not found, '\n'+'\n'.join(found)


@pytest.mark.parametrize('path', TEXTS, ids=name)
def test_pictures_say_what_they_show(path):
    "Pictures in text have an alternative text; figures that code draws have `fig-alt`"
    bare = [t for part in shown(path) for alt, t in re.findall(r'!\[(.*?)\]\(([^)]+)\)', part) if len(alt)<15]
    if path.suffix=='.ipynb':
        for c in json.loads(path.read_text(encoding='utf-8'))['cells']:
            src, kinds = ''.join(c['source']), {k for o in c.get('outputs', []) for k in o.get('data', {})}
            alt = re.search(r'^#\| fig-alt: *(.+)', src, re.M)
            if kinds & {'image/png', 'image/svg+xml', 'image/jpeg'} and (not alt or len(alt[1])<15): bare.append(src[:60])
    assert not bare


@cache
def index()->set:
    "Exported names, read from the package without importing it; nbdev's index leaves out pages with 'auto' in their name"
    files = [f for f in (ROOT/'deepclust').rglob('*.py') if f.name not in ('__init__.py', '_modidx.py') and 'auto' not in f.name]
    trees = [ast.parse(f.read_text(encoding='utf-8')).body for f in files]
    lists = [n.value for tree in trees for n in tree if isinstance(n, ast.Assign) and ast.unparse(n.targets[0])=='__all__']
    defined = {n.name for tree in trees for n in tree if isinstance(n, (ast.FunctionDef, ast.ClassDef))}  # nbdev links no constants
    return {e.value for v in lists for e in v.elts} & defined


def backticked(path)->set: return {n for part in shown(path) for n in re.findall(r'(?<!`)`([A-Za-z_]\w*)`(?!`)', part)}


def page_of(url)->bool:
    "Whether the page that nbdev would link to is among the notebooks; on the site its number is gone"
    m = re.search(r'/deepclust/(.+?)\.html#', url or '')
    return bool(m) and any(re.sub(r'(^|/)\d+[a-z]?_', r'\1', p.relative_to(NBS).with_suffix('').as_posix())==m[1] for p in pages())


def test_names_in_backticks_become_links(monkeypatch):
    "Every exported function or class that a page names is found by nbdev, on a page that is there"
    from nbdev import doclinks
    from deepclust import _modidx
    point = SimpleNamespace(name='deepclust', dist=SimpleNamespace(name='deepclust'), load=lambda: _modidx.d)
    monkeypatch.setattr(doclinks, 'entry_points', lambda group=None: [point])            # as if installed
    monkeypatch.chdir(ROOT)
    doclinks._build_lookup_table.cache_clear()
    find, used = doclinks.NbdevLookup('deepclust'), {n for p in pages() for n in backticked(p)} & index()
    doclinks._build_lookup_table.cache_clear()
    lost = [f'{n} -> {find.doc(n)}' for n in sorted(used) if not page_of(find.doc(n))]
    assert len(used)>50 and not lost, '\n'+'\n'.join(lost)


def test_every_page_is_in_the_sidebar():
    from site_files import sidebar_text
    text = sidebar_text()
    assert all(p.relative_to(NBS).as_posix() in text for p in pages())
    for section in ('Core', 'Methods', 'Ablations', 'Tutorials', 'Tools'): assert f'section: {section}' in text


def test_the_site_has_search_and_two_themes():
    text = (ROOT/'_quarto.yml').read_text(encoding='utf-8')
    assert re.search(r'search:\s', text) and 'dark:' in text and 'light:' in text and 'notation.ipynb' in text


# ---- the test itself

@pytest.mark.parametrize('heading,expected', [
    ('Look', 'look'), ('What is here, what is planned', 'what-is-here-what-is-planned'), ('ACC / NMI', 'acc-nmi'),
    ('`fit` and *more*', 'fit-and-more'),
    ('1. First step', 'first-step'), ("LNSCC's way", 'lnsccs-way'), ('Version 2: losses have names', 'version-2-losses-have-names'),
    ('With $k$ known', 'with-k-known'), ('A [link](x.md) here', 'a-link-here'), ('Own {#mine}', 'mine'), ('Özsoy 2022', 'özsoy-2022'),
    ('3.5', 'section')])
def test_anchor(heading, expected): assert anchor(heading)==expected


def test_broken_links_are_seen(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), 'ROOT', tmp_path)
    (tmp_path/'b.md').write_text('# Title\n\n## Part\n\n## Part\n')
    bad = '[a](c.md) [b](b.md#nowhere) ![alt text](b.md) [self](#none)'
    good = '[a](b.md) [b](b.md#part) [c](b.md#part-1) [d](https://x.org/y) [e](#here)\n\n# Here\n`[f](g.md)`\n```\n[h](i.md)\n```\n'
    for text, n in ((bad, 4), (good, 0)):
        (tmp_path/'a.md').write_text(text); anchors.cache_clear()
        assert len(problems(tmp_path/'a.md'))==n, problems(tmp_path/'a.md')
    anchors.cache_clear()


if __name__=='__main__':
    for p in TEXTS:
        for x in problems(p): print(name(p), x)
