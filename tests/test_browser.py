"""A browser clicks the explorer as a person would: a notebook served by Voilà, chromium without a window, and what the page then says.

Skipped where chromium, its driver, selenium, Voilà or ipykernel are missing. DEEPCLUST_SCREENSHOT names a file for a picture of
the page."""
import base64
import csv
import importlib.util
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CHROME = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
DRIVER = next(filter(None, map(shutil.which, ('chromedriver', 'chromium.chromedriver'))), None)
MISSING = [name for name, there in {'chromium': CHROME, 'chromium-driver': DRIVER}.items() if not there]
MISSING += [name for name in ('selenium', 'voila', 'ipykernel') if importlib.util.find_spec(name) is None]
if MISSING: pytest.skip(f'a browser test needs {", ".join(MISSING)}: see CONTRIBUTING', allow_module_level=True)

N, PATIENCE = 300, 300 # samples; seconds for the notebook to run on a busy machine
NOTEBOOK = f'''
import warnings
from sklearn.datasets import load_digits
from deepclust import LNSCC
from deepclust.explorer import explore
warnings.simplefilter('ignore')
X, y = (v[:{N}] for v in load_digits(return_X_y=True))
model = LNSCC(10, epochs=4, batch_size=64, device='cpu', random_state=0).fit(X, snapshots=(1, 3))
explore(model, X, y, images=X.reshape(-1, 8, 8))
'''
FLAGS = ('--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking '
         '--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1150,1000').split()


def until(f, what, seconds=30.):
    "The first true value of f; elements that were replaced meanwhile are looked for again"
    from selenium.common.exceptions import WebDriverException
    end, error = time.monotonic()+seconds, None
    while time.monotonic()<end:
        try:
            if v := f(): return v
        except WebDriverException as e: error = e
        time.sleep(.1)
    raise AssertionError(f'not within {seconds:.0f} s: {what}'+(f' ({error})' if error else ''))


class Page:
    "The explorer as one sees and touches it"
    def __init__(self, browser, folder): self.b, self.folder = browser, folder
    def all(self, css): return self.b.find_elements('css selector', f'.deepclust-explorer {css}')
    def one(self, css): return self.b.find_element('css selector', f'.deepclust-explorer {css}')
    def text(self, css=''): return self.b.find_element('css selector', f'.deepclust-explorer {css}').text.replace('\xa0', ' ')
    def field(self, label):
        way = f'//div[contains(@class,"deepclust-explorer")]//label[normalize-space()="{label}"]/following-sibling::*'
        return self.b.find_element('xpath', way)
    def button(self, text): return next(b for b in self.all('button') if b.text==text)
    def press(self, text): self.button(text).click()
    def options(self, label)->list: return [o.text.replace('\xa0', ' ') for o in self.field(label).find_elements('tag name', 'option')]
    def choose(self, label, start):
        next(o for o in self.field(label).find_elements('tag name', 'option') if o.text.replace('\xa0', ' ').startswith(start)).click()
    def type(self, label, text):
        from selenium.webdriver.common.keys import Keys
        self.field(label).send_keys(Keys.CONTROL, 'a'); self.field(label).send_keys(Keys.DELETE, text, Keys.TAB)
    def sizes(self)->dict: return {int(o.split()[0]): int(re.search(r'\((\d+)\)$', o)[1]) for o in self.options('cluster')}
    def members(self)->list: return [int(i.get_attribute('alt').split()[1]) for i in self.all('.deepclust-members img')]
    def notes(self)->list: return [f.text for f in self.all('.deepclust-members figcaption')]
    def chosen(self)->int: return int(self.text('.deepclust-detail b'))
    def map(self)->np.ndarray:
        src = self.one('.deepclust-map img').get_attribute('src')
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(src.split(',')[1]))).convert('RGB')).astype(int)
    def show(self, j): # a cluster, once its members are there
        n = self.sizes()[j]; self.choose('cluster', f'{j} ')
        until(lambda: len(self.members())==min(24, n) and f'of {max(1, -(-n//24))}' in self.text(), f'members of cluster {j}')


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    "Voilà with a notebook of one cell: its address, and the folder in which its kernel runs"
    folder = tmp_path_factory.mktemp('page'); log = folder/'voila.log'
    cell = dict(cell_type='code', id='only', metadata={}, execution_count=None, outputs=[], source=NOTEBOOK)
    spec = dict(kernelspec=dict(name='python3', display_name='python3', language='python'))
    (folder/'explorer.ipynb').write_text(json.dumps(dict(cells=[cell], metadata=spec, nbformat=4, nbformat_minor=5)), encoding='utf-8')
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    own = {f'{k}_DIR': str(folder/k.lower()) for k in ('JUPYTER_CONFIG', 'JUPYTER_RUNTIME')}|{'IPYTHONDIR': str(folder/'ipython')}
    env = {k: v for k, v in os.environ.items() if k!='MPLBACKEND'}|own|{'PYTHONPATH': str(ROOT)}
    with log.open('w') as out:
        p = subprocess.Popen([sys.executable, '-m', 'voila', 'explorer.ipynb', '--no-browser', f'--port={port}', '--Voila.ip=127.0.0.1',
                              '--show_tracebacks=True'], cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT)
    def up():
        assert p.poll() is None, log.read_text()
        with socket.socket() as s: return s.connect_ex(('127.0.0.1', port))==0
    try: until(up, 'Voilà listens', 120); yield f'http://127.0.0.1:{port}/', folder
    finally:
        p.terminate()                                                                    # which ends the kernel, too
        try: p.wait(30)
        except subprocess.TimeoutExpired: p.kill(); p.wait()


@pytest.fixture(scope='module')
def page(server, tmp_path_factory):
    "The page, opened once; the tests below go through it in order, like a visitor"
    from selenium import webdriver
    url, folder = server; options = webdriver.ChromeOptions(); options.binary_location = CHROME
    for f in (*FLAGS, f'--user-data-dir={tmp_path_factory.mktemp("chromium")}'): options.add_argument(f)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        browser.command_executor.client_config.timeout = PATIENCE+60
        browser.set_page_load_timeout(PATIENCE); browser.get(url); page = Page(browser, folder)
        try: until(lambda: page.all('.deepclust-map img') and page.members(), 'the explorer is shown', 60)
        except AssertionError as e:
            raise AssertionError(browser.find_element('tag name', 'body').text+(folder/'voila.log').read_text()) from e
        yield page
    finally: browser.quit()


def test_it_opens_with_everything_labelled(page):
    heads = ('Map', 'Sample', 'Cluster', 'Pair of samples', 'Labels of all samples'); text = page.text()
    for word in (*heads, f'{N} of {N} samples', 'below each: membership · class'): assert word in text
    assert list(page.sizes())==list(range(10)) and sum(page.sizes().values())==N and not page.text('.deepclust-status')
    for e in page.all('select, input'):
        if e.is_displayed(): assert page.all(f'label[for="{e.get_attribute("id")}"]')[0].text, e.get_attribute('outerHTML')
    assert all(b.get_attribute('title') for b in page.all('button')) and all(i.get_attribute('alt') for i in page.all('img'))
    assert page.map().shape==(380, 380, 3) and page.one('.deepclust-map img').size=={'width': 380, 'height': 380}


@pytest.mark.parametrize('width', [1150, 700])
def test_nothing_is_cut_off(page, width):
    page.b.set_window_size(width, 1000); time.sleep(.5)
    over = page.b.execute_script('''const r=[], w=document.documentElement.clientWidth, box=document.querySelector('.deepclust-explorer');
      for (const e of box.querySelectorAll('select, input, button, img, label')) { const b=e.getBoundingClientRect();
        const cut=['BUTTON','LABEL'].includes(e.tagName) && e.scrollWidth>e.clientWidth+1;
        if (b.width && (b.right>w+1 || cut)) r.push(e.outerHTML.slice(0,90)) }
      return r''')
    page.b.set_window_size(1150, 1000); assert not over


def test_picking_a_cluster_and_paging(page):
    big = max(page.sizes(), key=page.sizes().get); n = page.sizes()[big]; assert n>24; page.show(big)
    first = page.members(); assert not page.button('◀').is_enabled()
    page.press('▶'); until(lambda: 'page 2 of' in page.text(), 'the second page'); second = page.members()
    assert second and not {*first}&{*second} and len(second)==min(24, n-24)
    page.press('◀'); until(lambda: page.members()==first, 'the first page again')
    page.choose('order', 'doubtful'); until(lambda: page.members()!=first, 'another order')
    share = [float(s.split(' · ')[0]) for s in page.notes()]; assert share==sorted(share) and len(share)==24
    page.choose('order', 'central'); until(lambda: page.members()==first, 'the old order')


def test_choosing_a_sample_by_click_and_by_key(page):
    from selenium.webdriver.common.keys import Keys
    a, b = page.members()[1:3]; page.all('.deepclust-members img')[1].click(); until(lambda: page.chosen()==a, 'the sample clicked on')
    assert page.field('sample').get_attribute('value')==str(a) and len(page.all('.deepclust-detail img'))==9
    page.all('.deepclust-members img')[2].send_keys(Keys.ENTER); until(lambda: page.chosen()==b, 'the sample reached by keyboard')
    until(lambda: page.field('with').get_attribute('value')==str(a), 'the one before as the other end')
    until(lambda: [i.get_attribute('alt') for i in page.all('.deepclust-pair img')]==[f'sample {b}', f'sample {a}'], 'both in the pair')
    page.all('.deepclust-detail img')[1].click(); until(lambda: page.chosen()!=b, 'a neighbour')
    page.type('sample', '17'); until(lambda: page.chosen()==17, 'a number typed')


def test_choosing_a_point_on_the_map(page):
    from selenium.webdriver import ActionChains
    a = page.map(); down, across = np.nonzero(np.ptp(a, axis=2)>60); at = across.argmax()
    x, y = int(across[at])-1, int(down[at]); was = page.chosen()                         # the rightmost dot
    dark = lambda a: (a[max(y-11, 0):y+12, max(x-11, 0):x+12].max(2)<80).sum(); before = dark(a)
    img = page.one('.deepclust-map img'); page.b.execute_script('arguments[0].scrollIntoView({block:"center"})', img)
    ActionChains(page.b).move_to_element_with_offset(img, x-190, y-190).click().perform()
    until(lambda: page.chosen()!=was, 'a sample chosen on the map'); until(lambda: dark(page.map())>before+40, 'a ring where the click was')
    assert not page.text('.deepclust-status')


def test_colours(page):
    seen = [page.map()]
    for colour in ('membership', 'class', 'cluster'):
        page.choose('colour', colour); until(lambda: (page.map()!=seen[-1]).any(), colour); seen.append(page.map())
        assert ('dark: doubtful' in page.text('.deepclust-map'))==(colour=='membership')
    assert (seen[0]==seen[-1]).all()


def test_naming_splitting_merging_undoing(page):
    j = sorted(page.sizes(), key=page.sizes().get)[-2]; page.show(j); n = page.sizes()[j]; before = page.map()
    page.type('name', 'like a <b>one</b>, $x$'); page.press('set name')
    until(lambda: f'{j} · like a <b>one</b>, $x$ ({n})' in page.options('cluster'), 'the name in the list')
    until(lambda: (page.map()!=before).any(), 'the name on the map')
    page.press('split'); until(lambda: 10 in page.sizes(), 'a new cluster'); assert page.sizes()[j]+page.sizes()[10]==n
    page.choose('other', '10 '); page.press('merge'); until(lambda: 10 not in page.sizes(), 'one again'); assert page.sizes()[j]==n
    page.choose('other', f'{j} '); page.press('merge'); until(lambda: 'itself' in page.text('.deepclust-status'), 'an error in words')
    page.press('undo'); until(lambda: 10 in page.sizes(), 'the merge undone'); assert not page.text('.deepclust-status')
    page.press('undo'); until(lambda: 10 not in page.sizes(), 'the split undone')
    until(lambda: 'changes: 1' in page.text('.deepclust-detail'), 'one change left')


def test_marking_pairs(page):
    def choose(i): page.all('.deepclust-members img')[i].click(); until(lambda: page.chosen()==page.members()[i], f'member {i}')
    def count(must, cannot): until(lambda: f'must-links: {must}, cannot-links: {cannot},' in page.text('.deepclust-detail'), 'a new count')
    choose(0); choose(1); page.press('must-link'); count(1, 0)
    page.press('cannot-link'); until(lambda: 'contradict' in page.text('.deepclust-status'), 'a contradiction in words'); count(1, 0)
    choose(2); page.press('cannot-link'); count(1, 1); assert not page.text('.deepclust-status')
    page.press('refit'); until(lambda: 'DCGMM' in page.text('.deepclust-status'), 'which methods learn from pairs')


def test_sliding_through_the_epochs(page):
    from selenium.webdriver.common.keys import Keys
    end = page.map(); readout = lambda: page.text('.widget-readout'); moved = {}; assert readout()=='end'
    for epoch in ('3', '1'):
        last = page.map(); page.one('.noUi-handle').send_keys(Keys.ARROW_LEFT); until(lambda: readout()==epoch, f'epoch {epoch}')
        until(lambda: (page.map()!=last).any(), f'the map of epoch {epoch}')
        moved[epoch] = float(re.search(r'([\d.]+)% of the labels change until the end', page.text('.deepclust-map'))[1])
    assert 0<=moved['3']<=moved['1']<=100 and moved['1']>0
    page.one('.noUi-handle').send_keys(Keys.END); until(lambda: (page.map()==end).all(), 'the end again'); assert readout()=='end'


def test_saving_the_labels(page):
    page.type('file', 'mine.csv'); page.press('save CSV')
    until(lambda: f'written to {page.folder.resolve()/"mine.csv"}' in page.text('.deepclust-status'), 'word of the file')
    with open(page.folder/'mine.csv', newline='', encoding='utf-8') as f: rows = list(csv.DictReader(f))
    labels = np.array([int(r['cluster']) for r in rows]); assert {j: int((labels==j).sum()) for j in range(10)}==page.sizes()
    assert [int(r['index']) for r in rows]==list(range(N)) and {int(r['class']) for r in rows}=={*range(10)}
    named, = {int(r['cluster']) for r in rows if r['name']=='like a <b>one</b>, $x$'}
    assert page.options('cluster')[named].startswith(f'{named} · like a <b>one</b>, $x$ (')
    seen = page.members(); assert len({int(labels[i]) for i in seen})==1
    assert [f'{float(rows[i]["membership"]):.2f} · {rows[i]["class"]}' for i in seen]==page.notes()


def test_the_page_had_no_errors(page, tmp_path):
    "Last, with a picture. What the page would fetch from elsewhere (an icon font) may fail"
    errors = [m['message'] for m in page.b.get_log('browser') if m['level']=='SEVERE' and m['source']!='network']; assert not errors
    height = page.b.execute_script('return document.querySelector(".deepclust-explorer").scrollHeight')
    page.b.set_window_size(1150, height+180); time.sleep(.5)
    file = Path(os.environ.get('DEEPCLUST_SCREENSHOT') or tmp_path/'explorer.png'); file.parent.mkdir(parents=True, exist_ok=True)
    assert page.b.save_screenshot(str(file)) and np.asarray(Image.open(file).convert('L')).std()>5
