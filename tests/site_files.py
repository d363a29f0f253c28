"""Two files made from the notebooks: `README.md` from nbs/index.ipynb, `nbs/sidebar.yml` from the list of pages.

    python tests/site_files.py readme | sidebar

`readme` first executes the front page (but for its slow cells), so that its tables hold what `results/` holds.
"""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'


def pages()->list[Path]:
    "All notebooks, in reading order: by folder, then number"
    shown = (p for p in NBS.rglob('*.ipynb') if not any(part[0] in '._' for part in p.relative_to(NBS).parts))
    return sorted(shown, key=lambda p: p.as_posix())


def move_links(text:str)->str:
    "Markdown links as seen from nbs/, rewritten as seen from the top"
    def move(m):
        if re.match(r'[a-z]+:|#|/', m[1]): return m[0]
        return f"]({os.path.normpath(os.path.join('nbs', m[1])).replace(os.sep, '/')})"
    return re.sub(r'\]\(([^)\s]+)\)', move, text)


def code_of(src:str)->str:
    "A cell's code without directives; nothing where only its output is shown"
    if re.search(r'^#\|\s*echo:\s*false', src, re.M): return ''
    return '\n'.join(line for line in src.splitlines() if not line.startswith('#|')).strip()


def readme_text()->str:
    "The front page as Markdown: text cells and Markdown outputs as they are, shown code in fences, links moved up one folder"
    parts, fence = [], False
    for cell in json.loads((NBS/'index.ipynb').read_text(encoding='utf-8'))['cells']:
        src = ''.join(cell['source'])
        if cell['cell_type']=='markdown': parts.append(move_links(src.strip())); fence = False
        elif cell['cell_type']=='code' and not re.search(r'^#\|\s*(hide|include:\s*false|default_exp)', src, re.M):
            if code := code_of(src):     # cells that follow one another share a fence
                if fence: parts[-1] = f'{parts[-1].removesuffix("```")}\n{code}\n```'
                else: parts.append(f'```python\n{code}\n```')
                fence = True
            shown = [''.join(o['data']['text/markdown']) for o in cell['outputs'] if 'text/markdown' in o.get('data', {})]
            if shown: parts += [move_links(t.strip()) for t in shown]; fence = False
    return '\n\n'.join(parts)+'\n'


def sidebar_text()->str:
    "Quarto's sidebar: a section per folder; the core pages from 70 on are tools"
    sections = {'Core': [], 'Methods': [], 'Tools': [], 'Ablations': [], 'Tutorials': []}
    for page in pages():
        rel = page.relative_to(NBS)
        if rel.parent.name: sections.setdefault(rel.parts[0].capitalize(), []).append(rel)
        elif page.stem in ('index', 'notation'): continue
        else: sections['Tools' if page.stem[:2].isdigit() and int(page.stem[:2])>=70 else 'Core'].append(rel)
    names = 'own_images own_embeddings pictures_as_vectors few_labels choosing_k when_it_collapses resuming several_gpus add_a_method'
    order = names.split() # as one would read them
    sections['Tutorials'].sort(key=lambda r: order.index(r.stem) if r.stem in order else len(order))
    lines = ['website:', '  sidebar:', '    style: docked', '    collapse-level: 1', '    contents:']
    lines += [f'      - {p}.ipynb' for p in ('index', 'notation') if (NBS/f'{p}.ipynb').exists()]
    for name, members in sections.items():
        if members: lines += [f'      - section: {name}', '        contents:', *(f'          - {m.as_posix()}' for m in members)]
    return '\n'.join(lines)+'\n'


if __name__=='__main__':
    what = sys.argv[1:]
    if what==['readme']:
        subprocess.run([sys.executable, ROOT/'tests'/'run_notebook.py', NBS/'index.ipynb'], check=True)
        (ROOT/'README.md').write_text(readme_text(), encoding='utf-8')
    elif what==['sidebar']: (NBS/'sidebar.yml').write_text(sidebar_text(), encoding='utf-8')
    else: sys.exit(__doc__)
