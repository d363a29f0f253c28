"The front page says what is so: its numbers are those of results/, its commands and links exist, its code runs."
import json
import re
import shlex
import statistics
from pathlib import Path

import pytest

from site_files import NBS, ROOT, code_of, readme_text

if not (NBS/'index.ipynb').exists(): pytest.skip('no front page yet', allow_module_level=True)

README = (ROOT/'README.md').read_text(encoding='utf-8')
STALE = 'the front page is older than results/ or the registry: run `make readme`'
PAPER = {'usps': ('.970', '.937'), 'mnist-test': ('.946', '.889'), 'fashion-10k': ('.670', '.656'), 'mnist': ('.964', '.921'),
         'reuters-10k': ('.812', '.605')}  # Ma and Kim (2022), Table 2, the row of LNSCC without convolution


def files()->list[dict]:
    "Complete results of the studies on the front page, straight from the files"
    rows = {}
    for study in ('comparison', 'lnscc-digits', 'lnscc-tables', 'lnscc-paper', 'autoencoders'):  # a run may stand in several
        for f in sorted((ROOT/'results'/study).glob('*.json')):
            r = json.loads(f.read_text(encoding='utf-8'))
            name = re.sub(r'[^A-Za-z0-9.+-]+', '_', f"{r['dataset']}-{r['method']}")
            arm = f.stem.removesuffix(f"-s{r['seed']}").removeprefix(name).lstrip('-')
            if r['complete'] and arm in ('', 'paper'): rows[r['method'], r['dataset'], arm, r['seed']] = r|{'arm': arm}
    return list(rows.values())


def values(rows, key, metric)->list:
    found = [r['metrics'][metric] for r in rows if (r['method'], r['dataset'], r['arm'])==key]
    return [v for v in found if v is not None]


def table()->dict:
    "(row, column) -> text of the headline table"
    lines = [x for x in README.splitlines() if x.startswith('|')]
    start = next(i for i, x in enumerate(lines) if 's per fit' in x)
    head, cells = [c.strip() for c in lines[start].split('|')[1:-1]], {}
    for x in lines[start+2:]:
        row = [c.strip() for c in x.split('|')[1:-1]]
        if len(row)!=len(head): break
        cells |= {(row[0], h): c for h, c in zip(head[1:], row[1:])}
    return cells


def method_of(name:str)->tuple|None:
    "Method and arm of a row; nothing for the rows that are not ours"
    m = re.search(r'`(.+?)`', name)
    return m and (m[1], 'paper' if "paper's" in name else '')


def left_out(keys, rows)->set:
    "Methods that stand on the page of the comparison only: third-party networks but the one best on digits, and one of scikit-learn's"
    third = {m for m, *_ in keys if m.startswith('ClustPy')}
    best = max(third, key=lambda m: statistics.fmean(values(rows, (m, 'digits', ''), 'acc') or [0.]), default=None)
    return (third-{best}) | {'GaussianMixture'} & {m for m, *_ in keys}


def test_readme_is_made_from_the_page(): assert README==readme_text(), STALE


def test_table_is_that_of_the_files():
    rows, seen = files(), set()
    for (name, data), text in table().items():
        if not (who := method_of(name)) or data.endswith('s per fit') or text=='–': continue
        key = who[0], data, who[1]
        seen.add(key)
        acc, nmi = (values(rows, key, m) for m in ('acc', 'nmi'))
        m = re.match(r'([\d.]+)(?: ± ([\d.]+))? / ([\d.]+) \(n = (\d+)', text)
        assert m and int(m[4])==len(acc), f'{key}: {text}, {len(acc)} files: {STALE}'
        assert float(m[1])==pytest.approx(statistics.fmean(acc), abs=5.1e-4), f'{key}: {STALE}'
        assert float(m[3])==pytest.approx(statistics.fmean(nmi), abs=5.1e-4), f'{key}: {STALE}'
        if len(acc)>1: assert float(m[2])==pytest.approx(statistics.stdev(acc), abs=5.1e-4), f'{key}: {STALE}'
        else: assert m[2] is None
    columns = {data for _, data in table()}
    there = {(r['method'], r['dataset'], r['arm']) for r in rows if values(rows, (r['method'], r['dataset'], r['arm']), 'acc')}
    left = left_out({k for k in there if k[1] in columns}, rows)
    assert seen=={k for k in there if k[1] in columns and k[0] not in left}, STALE
    assert f'Left to [the comparison](nbs/ablations/comparison.ipynb): {len(left)} methods' in README, STALE
    assert {d for m, d, a in there if m=='LNSCC' and not a}<=columns, STALE


def test_protocol_and_seconds_are_those_of_the_files():
    rows = files()
    for (name, data), text in table().items():
        if 'clustered and scored' in name and text:
            protocol, n = next((r['protocol'], r['n']) for r in rows if r['dataset']==data)
            assert text==f"{protocol.split('; ')[0]}, {n:,}"
        if data.endswith('s per fit') and method_of(name) and text!='–':
            wall = next(filter(None, ([r['wall_s'] for r in rows if (r['method'], r['dataset'], r['arm'])==(method_of(name)[0], d, '')]
                                      for d in ('digits', 'digits16'))))
            assert float(text)==pytest.approx(statistics.fmean(wall), rel=.06), STALE
    for device in {r['device'] for r in rows}: assert device in README, STALE


def test_what_the_paper_states():
    stated = {data: text for (name, data), text in table().items() if 'in its paper' in name and '/' in text}
    assert stated and stated=={d: ' / '.join(PAPER[d]) for d in stated}


def test_shortfalls_are_told():
    "Wherever LNSCC is behind its paper or behind another method, the sentences below the table say so, with the right number"
    rows, columns = files(), {d for n, d in table() if method_of(n)==('LNSCC', '')}
    text = next(x for x in README.splitlines() if x.startswith('**Below the paper**'))
    mean = lambda m, d, metric: statistics.fmean(values(rows, (m, d, ''), metric) or [0.])
    for data in columns & PAPER.keys():
        said = re.search(rf'on {data}, (.*?)(?:;|\. |\.$)', text.split('**Ahead')[0].split('Nothing else')[0])
        for metric, stated in zip(('acc', 'nmi'), map(float, PAPER[data])):
            gap = stated-mean('LNSCC', data, metric)
            m = said and re.search(rf'{metric.upper()} by (\.\d+)', said[1])
            assert bool(m)==(gap>=5e-4), f'{data} {metric}: {STALE}'
            if m: assert float(m[1])==pytest.approx(gap, abs=5.1e-4), f'{data} {metric}: {STALE}'
    for data in columns & {r['dataset'] for r in rows if r['method']=='LNSCC'}:
        for method in {r['method'] for r in rows}-{'LNSCC'}:
            better = [x.upper() for x in ('acc', 'nmi') if mean(method, data, x)>mean('LNSCC', data, x)]
            assert (f"`{method}` on {data} ({', '.join(better)})" in text)==bool(better), f'{method} on {data}: {STALE}'


def test_here_and_planned_are_told_apart():
    from deepclust.registry import METHODS
    lines = README.splitlines()
    start = next(i for i, x in enumerate(lines) if x.startswith('| from '))
    rows = [x.split('|')[2:4] for x in lines[start+2:start+20] if x.startswith('|')]
    here, planned = ({n for r in rows for n in re.findall(r'`(.+?)`', r[i])} for i in (0, 1))
    assert here==set(METHODS) and not here & planned, STALE


def test_make_targets_exist():
    targets = set(re.findall(r'^([\w-]+):', (ROOT/'Makefile').read_text(encoding='utf-8'), re.M))
    named = set(re.findall(r'(?:^|`)make (\w+)', README, re.M))
    assert {'demo', 'test'}<=named<=targets


def test_links_lead_somewhere():
    text = re.sub(r'```.*?```', '', README, flags=re.S)
    anchors = {re.sub(r'[^\w -]', '', h).strip().lower().replace(' ', '-') for h in re.findall(r'^#+ (.*)', text, re.M)}
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if re.match(r'[a-z]+:', target): continue
        path, _, anchor = target.partition('#')
        assert (ROOT/path).exists() if path else anchor in anchors, target


def test_picture_is_small():
    pictures = re.findall(r'!\[(.*?)\]\((\S+)\)', README)
    assert pictures
    for alt, f in pictures: assert len(alt)>20 and f.endswith('.png') and 5_000<Path(ROOT/f).stat().st_size<=60_000


def test_commands_are_understood():
    from deepclust.cli import _parser
    lines = [x for block in re.findall(r'```sh\n(.*?)```', README, re.S) for x in block.splitlines() if x.startswith('deepclust ')]
    assert {x.split()[1] for x in lines}>={'fit', 'predict', 'data'}
    for x in lines: _parser().parse_args(shlex.split(x, comments=True)[1:])


def test_python_runs(monkeypatch):
    "The code of the front page, with few epochs"
    from deepclust import LNSCC
    blocks = re.findall(r'```python\n(.*?)```', README, re.S)
    assert blocks and 'from deepclust import LNSCC' in blocks[0]
    monkeypatch.setitem(LNSCC.__init__.__kwdefaults__, 'epochs', 2)
    space = {}
    for b in blocks: exec(b, space)
    assert space['labels'].shape==(1797,) and set(space['labels'])<=set(range(10))


@pytest.mark.parametrize('src,code', [('#| slow\nx = 1', 'x = 1'), ('#| echo: false\nMarkdown(t)', '')])
def test_only_shown_code_is_in_the_readme(src, code): assert code_of(src)==code
