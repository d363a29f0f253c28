"""The explorer: its arithmetic against plain loops, its widgets by their buttons, and methods of every kind behind it."""
import ast, base64, csv, io, os, subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np, pytest, torch
from PIL import Image
from sklearn.cluster import DBSCAN, KMeans as SkKMeans
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from deepclust import Constraints
from deepclust.base import as_input, outputs
from deepclust.data import Data, as_data
from deepclust.explorer import (ORDERS, Explorer, ExplorerState, align, bar_pictures, clicked, draw_map, explore, first_edit,
                                fitted_outputs, frame_of, image_pictures, member_order, nearest, on_page, partner, picture_maker,
                                say_sample, soft_labels, takes_pairs, thumbnail, unusual)
from deepclust.methods.clusternet import ClusterNet
from deepclust.methods.dcgmm import DCGMM
from deepclust.methods.lnscc import LNSCC
from deepclust.methods.nat import NAT
from deepclust.methods.shallow import GaussianMixture, KMeans, Ward

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.filterwarnings('ignore::deepclust.core.CollapseWarning', 'ignore:no sample is labelled',
                                        'ignore:clusters .* no lab')


def png(data)->np.ndarray: return np.asarray(Image.open(io.BytesIO(data)))


def some_state(n=60, k=4, seed=0, **kw):
    rng = np.random.default_rng(seed); z = rng.normal(size=(n, 3)).astype('f'); q = rng.dirichlet(np.ones(k)/2, n).astype('f')
    return ExplorerState(z, q, **kw)


@pytest.fixture(scope='module')
def digits(): return load_digits(return_X_y=True)


@pytest.fixture
def shown(digits):
    X, y = digits; X, y = X[:400], y[:400]
    return explore(KMeans(10, n_init=2, random_state=0).fit(X), X, y, images=X.reshape(-1, 8, 8), n_max=200)


# ---- arithmetic

def test_soft_labels_are_the_posterior():
    rng = np.random.default_rng(0); z = rng.normal(size=(40, 3)); labels = rng.integers(0, 3, 40)
    c = np.stack([z[labels==j].mean(0) for j in range(3)]); var = ((z-c[labels])**2).sum()/z.size
    p = np.array([[np.exp(-((x-m)**2).sum()/(2*var)) for m in c] for x in z])
    np.testing.assert_allclose(soft_labels(z, labels), p/p.sum(1, keepdims=True), atol=2e-6)
    assert np.isfinite(soft_labels(np.zeros((4, 2)), [0, 0, 3, 3])).all()       # all in one point, two empty clusters


def test_orders_against_loops():
    s = some_state(); m = np.flatnonzero(s.labels==1); mean = s.z[m].mean(0)
    d = {i: np.linalg.norm(s.z[i]-mean) for i in m}
    assert s.members(1).tolist()==sorted(m, key=d.get) and s.members(1, 'remote').tolist()==sorted(m, key=lambda i: -d[i])
    assert s.members(1, 'doubtful').tolist()==sorted(m, key=lambda i: s.now.share[i])
    for by in ORDERS: assert len(member_order(s.z, s.now.share, m[:0], by))==0
    with pytest.raises(ValueError, match='remote'): member_order(s.z, s.now.share, m, 'far')


@pytest.mark.parametrize('n,per', [(0, 5), (1, 1), (10, 5), (11, 5), (3, 24)])
def test_pages_hold_everything_once(n, per):
    order = np.arange(n)[::-1]; pages = on_page(order, 0, per)[1]
    assert np.concatenate([on_page(order, p, per)[0] for p in range(pages)]).tolist()==order.tolist()
    assert (on_page(order, 99, per)[0]==on_page(order, pages-1, per)[0]).all() and (on_page(order, -3, per)[0]==order[:per]).all()


def test_nearest_against_sorting():
    z = np.random.default_rng(1).normal(size=(50, 4)); d = ((z-z[7])**2).sum(1)
    assert nearest(z, 7, 6).tolist()==np.argsort(d)[1:7].tolist() and sorted(nearest(z, 7, 99))==[*range(7), *range(8, 50)]
    assert nearest(np.zeros((5, 2)), 2, 3).shape==(3,) and 2 not in nearest(np.zeros((5, 2)), 2, 3)
    with pytest.raises(ValueError): nearest(z, 50)


def test_a_click_finds_its_point():
    xy = np.random.default_rng(2).normal(size=(80, 2))*[3, 1]+[5, -9]; x, y, half = frame_of(xy)
    for i in range(80): assert clicked(xy, (xy[i, 0]-x)/(2*half)+.5, .5-(xy[i, 1]-y)/(2*half))==i
    assert frame_of(np.zeros((3, 2)))==(0, 0, 1) and (np.abs(xy-[x, y])<half).all()


def test_align_turns_and_mirrors():
    rng = np.random.default_rng(3); a = rng.normal(size=(30, 2))*[2, 1]
    for r in ([[0, 1], [-1, 0]], [[1, 0], [0, -1]]): np.testing.assert_allclose(align(a@r+7, a), a-a.mean(0), atol=1e-5)


@pytest.mark.parametrize('names', [None, {0: '$\\frac{', 1: 'a_$b', 2: '<i>'}])
def test_maps_are_drawn_to_the_edge(names):
    rng = np.random.default_rng(0); xy, labels = rng.normal(size=(50, 2)), rng.integers(0, 3, 50)
    a = draw_map(xy, labels, names=names, size=120); assert a.shape==(120, 120, 3) and a.dtype==np.uint8 and (a!=255).any()
    by, ring = draw_map(xy, labels, rng.random(50)), draw_map(xy, labels, rng.random(50), xy[:4], xy[5]); assert (by!=ring).any()
    assert draw_map(xy[:1], labels[:1]).shape==(380, 380, 3)


def test_pictures():
    x = torch.randint(0, 256, (5, 3, 6, 7), dtype=torch.uint8)
    assert (picture_maker(as_data(x))([1, 3])==x[[1, 3]].permute(0, 2, 3, 1).numpy()).all()
    g = torch.rand(4, 1, 5, 5); assert np.abs(image_pictures(g, 0, 1)[..., 2]-255*g[:, 0].numpy()).max()<=.5+1e-4
    v = picture_maker(Data(torch.randn(30, 200)))(np.arange(3)); assert v.shape==(3, 32, 48, 3)
    flat = picture_maker(Data(torch.ones(30, 3)))([0]); assert (flat==245).all() and flat.shape==(1, 32, 48, 3)
    high = bar_pictures(np.array([[1., -9]]), 6, 2)[0]; assert (high!=245).any(2).sum(0).tolist()==[1, 3]


def test_unusual_features():
    got = unusual(np.array([0., 4, 1]), np.array([0., 1, 3]), np.array([1., 1, .5]), list('abc'), 2)
    assert got==[('c', 1., -4.), ('b', 4., 3.)]


# ---- edits

def consistent(s):
    "Every label is a cluster that exists, every membership is the share of its columns"
    now = s.now
    assert set(now.labels)<=set(now.parts) and now.labels.dtype.kind=='i' and len(now.labels)==len(s)
    assert set(now.names)<=set(now.parts) and (now.share>=0).all() and (now.share<=1).all()
    for j, p in now.parts.items():
        m = now.labels==j; assert (now.share[m]<=s.q[m][:, list(p)].sum(1)+1e-5).all()


def test_random_edits_and_all_of_them_undone():
    rng = np.random.default_rng(4); s = some_state(200, 6, 4); record = [s.now]
    for _ in range(60):
        a, b = rng.choice(s.clusters, 2, replace=False); what = rng.integers(4)
        try:
            if what==0 and len(s.clusters)>2: s.merge(int(a), int(b))
            elif what==1: s.split(int(a))
            elif what==2: s.rename(int(a), f'c{a}')
            else: s.link('must' if a<b else 'cannot', *map(int, rng.integers(0, 200, 2)))
        except ValueError: pass
        if s.now is not record[-1]: record.append(s.now)
        consistent(s)
    assert len(record)>30
    for e in record[::-1]: assert s.now is e; s.undo()
    assert s.now is record[0] and (s.labels==s.q.argmax(1)).all()


def test_merge_and_split():
    s = some_state(); q = s.q; m = np.isin(s.labels, (1, 2)); s.rename(2, 'two'); s.merge(1, 2)
    assert (s.labels[m]==1).all() and s.clusters==[0, 1, 3] and s.title(1)=='1 · two'
    np.testing.assert_allclose(s.now.share[m], (q[:, 1]+q[:, 2])[m], atol=1e-6)
    s.split(1); assert s.clusters==[0, 1, 3, 4] and set(s.labels[m])=={1, 4} and (s.labels==1).sum()>=(s.labels==4).sum()
    s.merge(4, 1); np.testing.assert_allclose(s.now.share[m], (q[:, 1]+q[:, 2])[m], atol=1e-6) # halves together are the whole again
    assert s.title(4)=='4 · two' and 'next' in say_sample(s, 0)
    before = s.now
    for bad, what in ((lambda: s.merge(0, 0), 'itself'), (lambda: s.merge(0, 9), 'no cluster 9'), (lambda: s.split(1), 'no cluster 1')):
        with pytest.raises(ValueError, match=what): bad()
    assert s.now is before


def test_partner_is_who_the_members_doubt_about():
    s = some_state(); m = s.labels==2; rest = {j: s.q[m, j].sum() for j in (0, 1, 3)}
    assert partner(s, 2)==max(rest, key=rest.get) and partner(ExplorerState(np.zeros((2, 1)), np.ones((2, 1))), 0)==0
    s.split(2); assert partner(s, 2)==4 and partner(s, 4)==2                             # halves of one cluster


def test_what_cannot_be_split():
    s = ExplorerState(np.zeros((5, 2)), np.eye(3)[[0, 0, 0, 1, 1]])
    with pytest.raises(ValueError, match='one point'): s.split(0)
    with pytest.raises(ValueError, match='0 members'): s.split(2)


def test_labels_given_out_are_copies():
    s = some_state(); s.labels[:] = 99; consistent(s)


def test_links_and_their_contradictions():
    s = some_state(); s.link('must', 3, 1); s.link('must', 1, 8); s.link('cannot', 8, 20); s.link('must', 1, 3)
    c = s.constraints; assert isinstance(c, Constraints) and len(s.edits)==4
    assert c.must_link.tolist()==[[1, 3], [1, 8]] and c.cannot_link.tolist()==[[8, 20]]
    with pytest.raises(ValueError, match='must-links join'): s.link('cannot', 3, 8)
    with pytest.raises(ValueError, match='itself'): s.link('must', 3, 3)
    with pytest.raises(ValueError): s.link('must', 3, 60)
    s.undo(); assert len(s.constraints)==2


def test_csv_round_trip():
    y = np.arange(60)%3; s = some_state(y=y, paths=[f'a,{i}.png' for i in range(60)])
    s.rename(0, 'with "quotes", a comma\nand a line'); s.split(1)
    rows = list(csv.DictReader(io.StringIO(s.table())))
    assert [int(r['cluster']) for r in rows]==s.labels.tolist() and [int(r['fitted_cluster']) for r in rows]==s.q.argmax(1).tolist()
    assert [r['path'] for r in rows]==s.paths and [int(r['class']) for r in rows]==y.tolist()
    assert [int(r['index']) for r in rows]==list(range(60))
    np.testing.assert_allclose([float(r['membership']) for r in rows], s.now.share, rtol=1e-5)
    assert {r['name'] for r in rows if r['cluster']=='0'}=={'with "quotes", a comma and a line'}


def test_map_is_made_once_and_places_everything():
    s = some_state(n_max=20); xy, idx = s.map(); assert s.map()[0] is xy and len(idx)==20
    for i in range(60):
        near = idx[s.place(i)]; d = ((s.z[idx]-s.z[i])**2).sum(1); assert near==i if i in idx else d.min()==((s.z[near]-s.z[i])**2).sum()
    tsne, again = s.map(None, 'tsne'); assert tsne.shape==(20, 2) and (again==idx).all()


def test_snapshots_of_other_data_are_left_out():
    flip = lambda z: z*[-1, 1, 1]
    s = some_state()
    t = some_state(snapshots={3: dict(labels=s.labels[:9]), 5: dict(labels=s.labels, embedding=flip(s.z)), 2: dict(labels=s.labels)})
    assert list(t.snapshots)==[2, 5]
    np.testing.assert_allclose(t.map(5)[0], t.map()[0]-t.map()[0].mean(0), atol=1e-4)   # a mirrored embedding is mirrored back
    assert np.allclose(t.map(2)[0], t.map()[0], atol=1e-4)                              # labels only: the final map


def test_html_is_escaped():
    assert '<script>' not in thumbnail(np.zeros((4, 4, 3), np.uint8), "'1'", '<script>', title='"><script>')
    s = some_state(); s.rename(int(s.labels[0]), '<script>'); assert '<script>' not in say_sample(s, 0)


# ---- widgets

def test_first_view(shown):
    c = shown.panel.c; assert shown.widget is shown.panel.box
    assert c.members.value.count('<img')==24 and c.map.value.count('<img')==1 and c.page.value.startswith('page 1 of ')
    assert [j for _, j in c.cluster.options]==list(range(10)) and c.back.disabled and not c.status.value
    assert f' · {shown.state.y[shown.panel.shown[0]]}<' in c.members.value and 'class ' in c.detail.value


def test_thumbnails_are_made_for_the_page_in_view_only(shown):
    drawn, real = [], shown.pictures
    shown.pictures = lambda i: (drawn.extend(np.asarray(i).tolist()), real(i))[1]
    c = shown.panel.c; assert len(drawn)<=24+1+8+33 and len(set(drawn))<50
    drawn.clear(); c.next.click(); assert sorted(drawn)==sorted(shown.panel.shown.tolist()) and len(drawn)<=24


def test_paging_and_orders(shown):
    c, s = shown.panel.c, shown.state; seen = []
    while True:
        seen += shown.panel.shown.tolist()
        if c.next.disabled: break
        c.next.click()
    assert seen==s.members(c.cluster.value).tolist() and not c.back.disabled
    c.order.value = 'doubtful'; assert shown.panel.shown.tolist()==s.members(c.cluster.value, 'doubtful')[:24].tolist() and c.back.disabled
    c.cluster.value = 4; assert c.into.value==partner(s, 4)!=4; assert shown.panel.shown.tolist()==s.members(4, 'doubtful')[:24].tolist()


def test_choosing_a_sample_by_number_and_by_click(shown):
    c = shown.panel.c; before = c.map.value; c.sample.value = 17
    assert '<b>17</b>' in c.detail.value and c.map.value!=before and c.other.value==0
    c.click.value = '23'; assert c.sample.value==23 and c.other.value==17
    xy, idx = shown.state.map(); x, y, half = frame_of(xy)
    c.click.value = f'{(xy[50, 0]-x)/(2*half)+.5:.4f} {.5-(xy[50, 1]-y)/(2*half):.4f}'
    assert np.linalg.norm(xy[shown.state.place(c.sample.value)]-xy[50])<.01*half       # four digits, as the page sends them
    c.click.value = 'x'; assert 'alert' in c.status.value and shown.state.place(c.sample.value)>=0
    for j in nearest(shown.state.z, c.sample.value): assert f'sample {j}"' in c.detail.value


def test_editing_by_buttons(shown, tmp_path):
    c, s = shown.panel.c, shown.state; first = s.labels
    c.cluster.value = 3; c.name.value = 'threes'; c.rename.click()
    assert ('3 · threes', 3)==(c.cluster.label.split(' (')[0], c.cluster.value)
    c.into.value = 5; c.merge.click(); assert len(c.cluster.options)==9 and (s.labels[first==5]==3).all() and c.cluster.value==3
    c.split.click(); assert [j for _, j in c.cluster.options][-1]==10
    c.path.value = str(tmp_path/'out'/'l.csv'); c.save.click(); assert 'written' in c.status.value
    rows = list(csv.DictReader(open(tmp_path/'out'/'l.csv', newline=''))); assert [int(r['cluster']) for r in rows]==shown.labels.tolist()
    for _ in range(3): c.undo.click()
    assert (shown.labels==first).all() and len(c.cluster.options)==10 and c.name.value==''
    c.undo.click(); assert not c.status.value and (shown.labels==first).all()           # nothing left to take back
    c.into.value = c.cluster.value; c.merge.click(); assert 'itself' in c.status.value
    c.path.value = str(tmp_path); c.save.click(); assert 'alert' in c.status.value


def test_pairs_by_buttons(shown):
    c = shown.panel.c; c.sample.value = 4; c.sample.value = 9; c.must.click(); c.sample.value = 11; c.cannot.click()
    assert shown.constraints.must_link.tolist()==[[4, 9]] and shown.constraints.cannot_link.tolist()==[[9, 11]]
    assert 'must-links: 1, cannot-links: 1, changes: 2' in c.detail.value
    c.other.value = 4; c.must.click(); assert 'contradict' in c.status.value and len(shown.constraints)==2
    c.refit.click(); assert 'DCGMM' in c.status.value


def test_colours_and_maps(shown):
    c = shown.panel.c; pics = {}
    for colour in c.colour.options: c.colour.value = colour; pics[colour] = c.map.value
    assert list(pics)==['cluster', 'membership', 'class'] and len(set(pics.values()))==3
    c.method.value = 'tsne'; assert c.map.value not in pics.values() and not c.status.value


def test_still_picture_without_a_kernel(shown):
    bundle = shown._repr_mimebundle_(); assert set(bundle)=={'image/png', 'text/plain'} and shown._panel is None
    a = png(base64.b64decode(bundle['image/png'])); assert a.shape==(270, 540, 3) and '400 samples, 10 clusters' in bundle['text/plain']


def test_with_a_kernel_there_are_both(shown, monkeypatch):
    import IPython
    monkeypatch.setattr(IPython, 'get_ipython', lambda: SimpleNamespace(kernel=object()))
    bundle = shown._repr_mimebundle_(); assert 'application/vnd.jupyter.widget-view+json' in bundle and 'image/png' in bundle


def test_in_a_notebook():
    pytest.importorskip('execnb'); from execnb.shell import CaptureShell
    here, shell = os.getcwd(), CaptureShell(ROOT)
    try:
        out = shell.run('from sklearn.datasets import load_digits\nfrom deepclust import KMeans\nfrom deepclust.explorer import explore\n'
                        'X = load_digits().data[:200]\nex = explore(KMeans(5, n_init=1, random_state=0).fit(X), X, n_max=100)\n'
                        'ex.panel.c.split.click(); assert len(ex.state.clusters)==6\nex')
    finally: os.chdir(here)
    assert [o for o in out if 'image/png' in o.get('data', {})] and not [o for o in out if o['output_type']=='error'], out


# ---- methods

def test_vectors_of_every_kind(digits):
    import pandas as pd, scipy.sparse as sp
    X = digits[0][:120, 10:20]; m = KMeans(3, n_init=1, random_state=0).fit(X); want = m.predict(X)
    frame = pd.DataFrame(X, columns=[f'pixel {i}' for i in range(10)])
    for x in (X, X.astype('f'), torch.from_numpy(X), sp.csr_matrix(X)): assert (explore(m, x, n_max=50).labels==want).all()
    named = explore(KMeans(3, n_init=1, random_state=0).fit(frame), frame); assert 'pixel ' in named.panel.c.detail.value


def test_transductive_and_mixture(digits):
    X = digits[0][:150]
    w = Ward(4).fit(X); ex = explore(w, X); assert len(np.unique(ex.state.now.share))>10
    g = GaussianMixture(3, n_init=1, random_state=0).fit(X); assert (explore(g, X).labels==g.labels_).all()
    s = SkKMeans(4, n_init=1, random_state=0).fit(X); assert (explore(s, X[:99]).labels==s.labels_[:99]).all()
    with pytest.raises(ValueError, match='fitted on'): explore(w, X[:99])


def test_labels_without_predict_stay_those_of_the_method(digits):
    X = digits[0][:150]; w = Ward(4).fit(X); assert (explore(w, X).labels==w.labels_).all()


def test_image_method_in_one_pass(digits, monkeypatch):
    x = (digits[0][:96].reshape(-1, 8, 8)*15).astype(np.uint8); m = NAT(3, epochs=2, batch_size=32, device='cpu', random_state=0).fit(x)
    calls = []; import deepclust.base as e
    monkeypatch.setattr(e, 'outputs', lambda *a: (calls.append(1), outputs(*a))[1])
    ex = explore(m, x); ex.picture(); ex.panel.c.next.click(); assert len(calls)==1 and (ex.labels==m.labels_).all()
    np.testing.assert_array_equal(ex.state.z, m.transform(x)); assert ex.panel.c.detail.value.count('<table')==0 and ex.data.is_images


def test_snapshots_slide(digits):
    X = digits[0][:200]; m = LNSCC(4, epochs=4, batch_size=64, device='cpu', random_state=0).fit(X, snapshots=(1, 3))
    ex = explore(m, X, n_max=100); c = ex.panel.c; assert [v for _, v in c.epoch.options]==[1, 3, 'end'] and c.epoch.value=='end'
    last = c.map.value; c.epoch.value = 1; early = c.map.value; moved = np.mean(m.history_.snapshots[1]['labels']!=m.labels_)
    assert early!=last and f'{moved:.1%} of the labels change' in early
    c.epoch.value = 'end'; assert c.map.value==last
    np.testing.assert_array_equal(ex.state.z, outputs(m, as_input(m, X))[0].numpy())
    assert not explore(m, X[:50]).state.snapshots


@pytest.mark.parametrize('make', [
    lambda: DCGMM(3, embedding_dim=4, pretrain_epochs=2, epochs=2, batch_size=32, encoder='mlp-32-32', device='cpu', random_state=0),
    lambda: ClusterNet(3, embedding_dim=4, pretrain_epochs=2, epochs=2, batch_size=32, encoder='mlp-32-32', device='cpu', random_state=0)])
def test_refit_learns_from_the_pairs(digits, make):
    X = digits[0][:120]; m = make().fit(X, snapshots=(1,)); ex = explore(m, X); c = ex.panel.c; told = {}
    with pytest.raises(ValueError, match='no pair'): ex.refit()
    ex.state.link('must', 0, 10); ex.state.link('cannot', 0, 1); ex.state.merge(0, 1); fit = type(m).fit
    def spy(self, X, y=None, **kw): told.update(kw); return fit(self, X, y, **kw)
    type(m).fit = spy
    try: c.refit.click()
    finally: type(m).fit = fit
    assert 'fitted again' in c.status.value and told['constraints'].must_link.tolist()==[[0, 10]]
    assert ex.model is not m and type(ex.model) is type(m) and (ex.labels==ex.model.labels_).all() and len(ex.constraints)==2
    assert takes_pairs(m) and [v for _, v in c.epoch.options]==['end'] and len(c.cluster.options)==3


def test_folder_of_images(tmp_path, digits):
    for i in range(24):
        (tmp_path/'ab'[i%2]).mkdir(exist_ok=True)
        Image.fromarray((digits[0][i].reshape(8, 8)*15).astype('u1')).save(tmp_path/'ab'[i%2]/f'{i}.png')
    ex = explore(KMeans(2, n_init=1, random_state=0).fit(tmp_path), tmp_path)
    assert set(ex.state.y)=={'a', 'b'} and len(ex.state.paths)==24 and '.png' in ex.state.table()


@pytest.mark.parametrize('kw,what', [(dict(y=[1, 2]), 'one class for each'), (dict(images=np.zeros((3, 8, 8))), 'one image for each'),
                                     (dict(n_max=1), 'n_max'), (dict(per_page=0), 'per_page')])
def test_misuse(digits, kw, what):
    X = digits[0][:50]; m = KMeans(2, n_init=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match=what): explore(m, X, **kw)
    with pytest.raises(NotFittedError): explore(KMeans(2), X)
    with pytest.raises(ValueError, match='no cluster'): fitted_outputs(DBSCAN(1e-3).fit(X), X)


def test_few_samples():
    x = np.random.default_rng(0).normal(size=(3, 2)); ex = explore(KMeans(2, n_init=1, random_state=0).fit(x), x)
    ex.widget; assert isinstance(ex, Explorer) and png(ex.picture()).ndim==3 and not ex.panel.c.status.value
    one = ExplorerState(np.zeros((1, 2)), np.ones((1, 1))); assert 'next' not in say_sample(one, 0) and len(one.neighbours(0))==0
    assert first_edit(np.ones((2, 1)), np.zeros(2, int)).parts=={0: (0,)}


@pytest.mark.parametrize('images', [False, True])
def test_sixty_thousand(images):
    "Three seconds on two free cores, with the import; here with room for a busy machine"
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (60_000, 8, 8), dtype=np.uint8) if images else rng.normal(size=(60_000, 64)).astype('f')
    m = KMeans(10, n_init=1, random_state=0); m.fit(X[:2000]); t = time.perf_counter()
    ex = explore(m, X); a = ex.picture(); ex.widget; took = time.perf_counter()-t
    assert took<10 and png(a).shape==(270, 540, 3) and len(ex.state.map()[1])==3000 and len(ex.panel.c.members.value)<200_000
    t = time.perf_counter(); ex.panel.c.next.click(); ex.panel.c.sample.value = 59_999; assert time.perf_counter()-t<3


def test_import_stays_light():
    code = "import sys, deepclust; assert not {'torch', 'ipywidgets', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
    top = ast.parse((ROOT/'deepclust'/'explorer.py').read_text(encoding='utf-8')).body
    assert not [n for n in top if isinstance(n, (ast.Import, ast.ImportFrom)) and 'ipywidgets' in ast.unparse(n)]
