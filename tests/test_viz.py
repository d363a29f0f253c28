"Which pixels are drawn where; one cluster, empty clusters, grey and RGB; nothing global is touched."
import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import deepclust.viz as v


@pytest.fixture(autouse=True)
def clean_up():
    before = dict(matplotlib.rcParams)
    yield
    plt.close('all')
    assert dict(matplotlib.rcParams) == before


def soft(n, k, seed=0):
    p = np.random.default_rng(seed).random((n, k))**3 + 1e-3
    return p / p.sum(1, keepdims=True)


def numbered(n, h=3, w=2):
    "Images that know their number: pixel value = index / 1000"
    return np.broadcast_to(np.arange(n)[:, None, None] / 1000, (n, h, w)).copy()


def drawn(ax):
    return np.asarray(ax.images[0].get_array())


# pictures

@pytest.mark.parametrize('shape', [(5, 4, 6), (5, 1, 4, 6), (5, 4, 6, 1), (5, 3, 4, 6), (5, 4, 6, 3)])
@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'float64', 'bool'])
def test_layouts_and_dtypes(shape, dtype):
    a = (np.random.default_rng(0).random(shape) * (255 if dtype == 'uint8' else 1)).round(2).astype(dtype)
    expected = a.astype(np.float32) / (255 if dtype == 'uint8' else 1)
    if len(shape) == 4: expected = np.moveaxis(expected, 1, -1) if shape[1] in (1, 3) else expected
    else: expected = expected[..., None]
    for images in (a, torch.from_numpy(a)):
        grid = v.image_grid(images, ncols=3, pad=2)
        assert grid.shape == (2 * 6 + 2, 3 * 8 + 2, 3)
        for i in range(5):
            r, c = divmod(i, 3)
            cell = grid[2 + r * 6:6 + r * 6, 2 + c * 8:8 + c * 8]
            np.testing.assert_allclose(cell, np.broadcast_to(expected[i], (4, 6, 3)), atol=1e-6)
        assert (grid[8:12, 18:24] == 1).all()


def test_floats_outside_the_unit_interval_are_stretched_together():
    a = np.zeros((2, 2, 2))
    a[0], a[1] = -1, 3
    a[1, 0, 0] = 1
    grid = v.image_grid(a, 2, pad=0)
    assert grid[0, 0, 0] == 0 and grid[0, 3, 0] == 1 and grid[0, 2, 0] == pytest.approx(.5)
    assert np.isfinite(v.image_grid(np.full((2, 2, 2), 7.), 2)).all()


def test_bfloat16_and_gradients():
    x = torch.rand(2, 1, 3, 3, requires_grad=True)
    assert v.image_grid(x).shape == v.image_grid(x.bfloat16()).shape == (5, 9, 3)


def test_fewer_images_than_columns():
    assert v.image_grid(numbered(2), ncols=10, pad=0).shape == (3, 4, 3)


@pytest.mark.parametrize('shape,text', [
    ((4, 9), r'reshape\(-1, 3, 3\)'), ((4, 7), 'embed_2d'), ((4, 2, 5, 5), '1 or 3 channels'), ((4,), '1 or 3 channels'),
    ((0, 3, 3), 'no image')])
def test_not_images(shape, text):
    with pytest.raises(ValueError, match=text): v.montage(np.zeros(shape))


def test_nan_images():
    with pytest.raises(ValueError, match='NaN'): v.montage(np.full((2, 3, 3), np.nan))


# members of clusters

@pytest.mark.parametrize('n,k,central,doubtful', [(200, 4, 8, 4), (20, 5, 3, 3), (7, 3, 8, 4), (30, 1, 5, 2), (10, 3, 0, 2), (10, 3, 2, 0)])
def test_members_against_brute_force(n, k, central, doubtful):
    p = soft(n, k)
    picks = v.pick_members(p, central, doubtful)
    assert len(picks) == k
    for j, (c, d) in enumerate(picks):
        members = sorted((i for i in range(n) if max(p[i]) == p[i, j]), key=lambda i: -p[i, j])
        assert c.tolist() == members[:central]
        assert d.tolist() == members[central:][-doubtful:] if doubtful else len(d) == 0
        assert not set(c) & set(d)


def test_ties_go_by_position():
    (c, d), = v.pick_members(np.ones((6, 1)), 2, 2)
    assert c.tolist() == [0, 1] and d.tolist() == [4, 5]


@pytest.mark.parametrize('n,k,central,doubtful', [(60, 4, 3, 2), (5, 3, 4, 3), (12, 1, 3, 2), (12, 2, 0, 3), (12, 2, 3, 0)])
@pytest.mark.parametrize('tensor', [False, True])
def test_montage_draws_those_members(n, k, central, doubtful, tensor):
    images, p = numbered(n), soft(n, k)
    ax = v.cluster_montage(torch.from_numpy(images) if tensor else images, torch.from_numpy(p) if tensor else p, central, doubtful)
    grid, h, w = drawn(ax), 3 + 1, 2 + 1
    gap = 2 if central and doubtful else 0
    frames = bool(central) + bool(doubtful)
    assert grid.shape == (k * h + 1, (central + doubtful) * w + frames + gap, 3)
    for j, pick in enumerate(v.pick_members(p, central, doubtful)):
        for idx, x0, width in ((pick[0], 0, central), (pick[1], central * w + (1 if central else 0) + gap, doubtful)):
            for s in range(width):
                cell = grid[j * h + 1:j * h + 4, x0 + s * w + 1:x0 + s * w + 3]
                np.testing.assert_allclose(cell, idx[s] / 1000 if s < len(idx) else 1., atol=1e-6)


def test_empty_clusters_are_named():
    p = np.eye(4)[np.array([0, 0, 2])]
    ax = v.cluster_montage(numbered(3), p)
    assert [t.get_text() for t in ax.get_yticklabels()] == ['0: 2', '1: empty', '2: 1', '3: empty']
    assert (drawn(ax)[5:8] == 1).all()


def test_no_samples():
    assert (drawn(v.cluster_montage(np.zeros((0, 1, 3, 3)), np.zeros((0, 2)))) == 1).all()


def test_chosen_clusters_and_rgb():
    images = np.random.default_rng(0).integers(0, 255, (40, 3, 8, 8), dtype=np.uint8)
    p = soft(40, 5)
    ax = v.cluster_montage(images, p, 2, 1, clusters=[3, 1])
    assert [t.get_text().split(':')[0] for t in ax.get_yticklabels()] == ['3', '1']
    first = v.pick_members(p, 2, 1)[3][0][0]
    np.testing.assert_allclose(drawn(ax)[1:9, 1:9], images[first].transpose(1, 2, 0) / 255, atol=1e-6)
    with pytest.raises(ValueError, match='clusters'): v.cluster_montage(images, p, clusters=[5])


@pytest.mark.parametrize('images,proba,text', [
    (np.zeros((4, 9)), soft(4, 2), 'plot_embedding'), (numbered(4), np.array([0, 1, 1, 0]), 'np.eye'),
    (numbered(4), soft(3, 2), '4 images and 3 rows'), (numbered(4), np.full((4, 2), 3.), 'not logits'),
    (numbered(4), np.array([[1.5, -.5]] * 4), 'not logits'), (numbered(4), np.full((4, 2), np.nan), 'NaN')])
def test_bad_cluster_montage(images, proba, text):
    with pytest.raises(ValueError, match=text): v.cluster_montage(images, proba)
    if np.ndim(images) == 2:
        with pytest.raises(ValueError, match=text): v.cluster_montage(torch.from_numpy(images), proba)


def test_nothing_to_draw():
    with pytest.raises(ValueError, match='at least|>= 1'): v.cluster_montage(numbered(4), soft(4, 2), 0, 0)


# embeddings

@pytest.mark.parametrize('method', ['tsne', 'pca'])
def test_embedding_is_deterministic(method):
    z = np.random.default_rng(0).normal(size=(80, 60)).astype(np.float32)
    xy, idx = v.embed_2d(z, method, n_max=50, seed=3)
    again = v.embed_2d(torch.from_numpy(z), method, n_max=50, seed=3)
    assert xy.shape == (50, 2) and xy.dtype == np.float32 and (np.diff(idx) > 0).all() and idx.max() < 80
    assert np.array_equal(xy, again[0]) and np.array_equal(idx, again[1])
    assert not np.array_equal(idx, v.embed_2d(z, 'pca', n_max=50, seed=4)[1])


@pytest.mark.parametrize('method', ['tsne', 'pca'])
@pytest.mark.parametrize('shape', [(1, 3), (2, 3), (3, 3), (4, 1), (6, 2), (5, 60)])
def test_small_embeddings(method, shape):
    xy, idx = v.embed_2d(np.random.default_rng(0).normal(size=shape), method)
    assert xy.shape == (shape[0], 2) and np.isfinite(xy).all() and len(idx) == shape[0]


def test_pca_keeps_distances_of_a_plane():
    z = np.random.default_rng(0).normal(size=(30, 2)) @ np.linalg.qr(np.random.default_rng(1).normal(size=(7, 2)))[0].T
    xy, _ = v.embed_2d(z, 'pca')
    pairs = lambda a: np.linalg.norm(a[:, None] - a[None], axis=-1)  # noqa: E731
    np.testing.assert_allclose(pairs(xy), pairs(z), atol=1e-4)


def test_constant_embedding_is_one_point():
    assert not v.embed_2d(np.ones((9, 4)))[0].any()


@pytest.mark.parametrize('z', [np.zeros((3, 4, 4)), np.zeros(5), np.zeros((0, 3)), np.full((4, 2), np.inf)])
def test_bad_embeddings(z):
    with pytest.raises(ValueError): v.embed_2d(z)


@pytest.mark.parametrize('k', [1, 10, 11, 60, 65])
def test_plot_embedding_groups(k):
    labels = np.arange(130) % k
    labels[0] = -1
    ax = v.plot_embedding(np.random.default_rng(0).normal(size=(130, 2)), labels)
    assert sum(len(c.get_offsets()) for c in ax.collections) == 130
    assert len(ax.collections[0].get_offsets()) == 1                     # the unlabelled one
    assert len(ax.texts) == (k if k <= 30 else 0)
    looks = {(tuple(c.get_facecolor()[0, :3]), c.get_paths()[0].vertices.round(3).tobytes()) for c in ax.collections[1:]}
    assert len(looks) == min(k, 60)


def test_plot_embedding_without_labels():
    assert not v.plot_embedding(np.zeros((5, 2))).texts
    with pytest.raises(ValueError, match='idx'): v.plot_embedding(np.zeros((5, 2)), [0, 1])


# the other plots

def test_history():
    nan = float('nan')
    ax = v.plot_history(dict(epoch=[1, 2, 3, 4], stage=['a', 'a', 'b', 'b'], loss=[4., 3, float('inf'), 1],
                             acc=[nan, .5, None, .7], empty=[nan] * 4))
    lines = {line.get_label(): line for line in ax.lines}
    assert lines['acc'].get_xdata().tolist() == [2, 4] and lines['acc'].get_ydata().tolist() == [.5, .7]
    assert lines['loss'].get_ydata().tolist() == [4, 3, 1] and 'stage' not in lines
    assert any(np.all(np.asarray(line.get_xdata()) == 3) for line in ax.lines if line.get_linestyle() == ':')
    assert ax.get_xlabel() == 'epoch'
    restarted = v.plot_history(dict(epoch=[0, 1, 0, 1], loss=[1., 2, 3, 4]), log=True)
    assert restarted.get_xlabel() == 'row' and restarted.get_yscale() == 'log'


@pytest.mark.parametrize('columns,names,error,text', [
    ({}, None, ValueError, 'no numbers'), (dict(a=[1]), ['b'], ValueError, 'has no'), (dict(a=['x']), ['a'], TypeError, 'not numbers'),
    (dict(a=[1], b=[1, 2]), None, ValueError, 'differ in length')])
def test_bad_history(columns, names, error, text):
    with pytest.raises(error, match=text): v.plot_history(columns, names=names)


@pytest.mark.parametrize('classes,clusters', [(3, 3), (3, 5), (5, 2), (1, 1), (40, 60)])
def test_confusion_frames_the_match(classes, clusters):
    rng = np.random.default_rng(0)
    y, labels = rng.integers(0, classes, 400), rng.integers(0, clusters, 400) * 10
    y[:20] = -1
    ax = v.plot_confusion(y, labels)
    share = drawn(ax)
    assert share.shape == (classes, clusters)
    np.testing.assert_allclose(share.sum(1), 1)
    assert len(ax.patches) == min(classes, clusters)
    known = y >= 0
    counts = np.bincount(y[known], minlength=classes)
    framed = sum(share[int(p.get_y() + .5), int(p.get_x() + .5)] * counts[int(p.get_y() + .5)] for p in ax.patches)
    assert framed / known.sum() == pytest.approx(v.cluster_accuracy(y, labels))


def test_sizes():
    ax = v.plot_sizes(torch.tensor([5, 0, 3]))
    assert [b.get_height() for b in ax.patches] == [5, 0, 3]
    assert any(line.get_marker() == 'x' and list(line.get_xdata()) == [1] for line in ax.lines)
    v.plot_sizes(np.ones(300))
    with pytest.raises(ValueError): v.plot_sizes([])


def test_reconstructions():
    x = np.random.default_rng(0).integers(0, 255, (12, 1, 4, 4), dtype=np.uint8)
    x_hat = np.clip(x / 255 + .1, 0, 2).astype(np.float32)
    ax = v.plot_reconstructions(x, x_hat, n=3)
    grid = drawn(ax)
    assert grid.shape == (2 * 5 + 1, 3 * 5 + 1, 3)
    np.testing.assert_allclose(grid[1:5, 6:10, 0], x[1, 0] / 255, atol=1e-6)
    np.testing.assert_allclose(grid[6:10, 6:10, 0], np.clip(x_hat[1, 0], 0, 1), atol=1e-6)
    assert [float(t.get_text()) for t in ax.get_xticklabels()] == [.01] * 3
    with pytest.raises(ValueError, match='shape'): v.plot_reconstructions(x, x_hat[:5])


def test_seeds():
    ax = v.plot_seeds({'DEC': [.5, .7, np.nan], 'LNSCC': [.9], 'mine': [np.nan]})
    assert [t.get_text() for t in ax.get_yticklabels()] == ['DEC (1 of 3 diverged)', 'LNSCC', 'mine (1 of 1 diverged)']
    ticks = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == '|']
    assert ticks == pytest.approx([.6, .9])
    with pytest.raises(ValueError): v.plot_seeds({})


# centres and epochs

@pytest.mark.parametrize('shape', [(12, 4, 6), (12, 1, 4, 6), (3, 4, 6, 3), (1, 2, 2)])
def test_centers_are_pictures_with_names(shape):
    c = np.random.default_rng(0).random(shape)
    ax = v.plot_centers(c, sizes=np.arange(shape[0]) * 1000)
    assert [t.get_text() for t in ax.texts] == [f'{j}: {j * 1000:,}' for j in range(shape[0])]
    h, w = (shape[2:] if shape[1] == 1 and len(shape) == 4 else shape[1:3])
    grid, head = drawn(ax), -(-h // 3)
    for j in range(shape[0]):
        r, s = divmod(j, 10)
        cell = grid[1 + head + r * (h + head + 1):, 1 + s * (w + 1):][:h, :w]
        expected = c[j][0] if len(shape) == 4 and shape[1] == 1 else c[j]
        np.testing.assert_allclose(cell, expected if expected.ndim == 3 else np.broadcast_to(expected[..., None], (h, w, 3)), atol=1e-6)
        strip = grid[1 + r * (h + head + 1):][:head, 1 + s * (w + 1):][:, :w]
        assert (strip == 1).all()


def test_centers_as_vectors():
    c = np.random.default_rng(0).normal(size=(45, 7))
    ax = v.plot_centers(c, title='t')
    assert np.array_equal(drawn(ax), c) and ax.get_title() == 't' and len(ax.get_yticks()) == 15
    assert ax.images[0].get_clim() == (-np.abs(c).max(), np.abs(c).max())              # white is zero
    assert v.plot_centers(np.abs(c)).images[0].get_clim()[0] == 0
    v.plot_centers(np.zeros((2, 3))).figure.canvas.draw()
    for bad, text in ((np.zeros(4), 'shape'), (np.zeros((0, 4)), 'shape'), (np.full((2, 4), np.nan), 'NaN')):
        with pytest.raises(ValueError, match=text): v.plot_centers(bad)


def shuffled_snapshots(k=5, n=200):
    "Labels that change by known shares, under new numbers each time"
    rng, labels, out, moved = np.random.default_rng(0), np.arange(n) % k, {}, [np.nan]
    for epoch in (2, 5, 9, 10):
        if out:
            labels = labels.copy()
            few = rng.choice(n, n // 20 * (epoch % 3), replace=False)
            labels[few] = (labels[few] + 1) % k
            moved.append(len(few) / n)
        out[epoch] = dict(labels=rng.permutation(k)[labels], embedding=rng.normal(size=(n, 3)).astype(np.float16))
    return out, labels, moved


def test_evolution_sees_through_new_numbers():
    snapshots, last, moved = shuffled_snapshots()
    e = v.evolution(dict(reversed(list(snapshots.items()))), y=np.where(np.arange(200) < 150, last, -1))
    assert e['epoch'] == [2, 5, 9, 10] and e['changed'] == pytest.approx(moved, nan_ok=True)
    assert e['ACC'][-1] == e['NMI'][-1] == 1 and e['ACC'][0] < 1 and e['sizes'].sum(1).tolist() == [200] * 4
    end = snapshots[10]['labels']
    assert np.array_equal(e['sizes'][-1], np.bincount(end, minlength=5))               # the last keeps its numbers
    assert set(v.evolution(snapshots)) == {'epoch', 'changed', 'sizes'}


def test_evolution_with_vanished_clusters():
    e = v.evolution({1: dict(labels=[0, 0, 0, 0]), 2: dict(labels=[3, 3, 3, 1])})
    assert e['sizes'].shape == (2, 4) and e['sizes'].tolist() == [[0, 0, 0, 4], [0, 1, 0, 3]] and e['changed'][1] == .25
    with pytest.raises(ValueError, match='no snapshots'): v.evolution({})
    with pytest.raises(ValueError, match='3 classes'): v.evolution({1: dict(labels=[0, 0])}, [0, 1, 1])


def test_plot_evolution():
    snapshots, last, moved = shuffled_snapshots()
    ax = v.plot_evolution(snapshots, last)
    assert [line.get_label() for line in ax.lines] == ['changed', 'ACC', 'NMI'] and len(ax.collections) == 5
    np.testing.assert_allclose(ax.lines[0].get_ydata(), moved)
    assert [line.get_label() for line in v.plot_evolution(snapshots).lines] == ['changed']
    v.plot_evolution({3: snapshots[5]}).figure.canvas.draw()


@pytest.mark.parametrize('n_maps,epochs', [(1, [10]), (2, [2, 10]), (9, [2, 5, 9, 10])])
def test_plot_snapshots(n_maps, epochs):
    snapshots, last, _ = shuffled_snapshots()
    fig = v.plot_snapshots(snapshots, n_max=50, n_maps=n_maps)
    assert [ax.get_title() for ax in fig.axes] == [f'epoch {e}' for e in epochs] and fig.get_size_inches()[0] <= 6
    for ax in fig.axes: assert sum(len(c.get_offsets()) for c in ax.collections) == 50
    narrow = {1: dict(labels=last, embedding=np.arange(200.)[:, None])}
    v.plot_snapshots(narrow, y=last).canvas.draw()
    with pytest.raises(ValueError, match='embedding'): v.plot_snapshots({1: dict(labels=last)})


# manners

def every_plot(ax=None):
    images, p, z = numbered(20, 4, 4), soft(20, 3), np.random.default_rng(0).normal(size=(20, 5))
    xy, _ = v.embed_2d(z)
    return [v.plot_embedding(xy, p.argmax(1), ax=ax), v.montage(images, ax=ax), v.cluster_montage(images, p, ax=ax),
            v.plot_history(dict(loss=[1., 2]), ax=ax), v.plot_confusion(p.argmax(1), p.argmax(1), ax=ax), v.plot_sizes([1, 2], ax=ax),
            v.plot_reconstructions(images, images, ax=ax), v.plot_seeds({'a': [1.]}, ax=ax), v.plot_centers(images[:3], ax=ax),
            v.plot_evolution({1: dict(labels=[0, 1]), 2: dict(labels=[1, 1])}, ax=ax)]


def test_nothing_global_changes(monkeypatch):
    monkeypatch.setattr(plt, 'show', lambda *a, **k: pytest.fail('plt.show was called'))
    plt.figure()
    np.random.seed(0)
    torch.manual_seed(0)
    before = dict(matplotlib.rcParams), np.random.get_state()[1].copy(), torch.get_rng_state()
    axs = every_plot()
    assert dict(matplotlib.rcParams) == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1]) and torch.equal(torch.get_rng_state(), before[2])
    for ax in axs:
        width, height = ax.figure.get_size_inches()
        assert width <= 6.01 and height <= 3.76
        ax.figure.canvas.draw()


def test_given_axes_are_used():
    _, mine = plt.subplots()
    open_figures = plt.get_fignums()
    assert all(ax is mine for ax in every_plot(mine))
    assert plt.get_fignums() == open_figures


def test_style_is_undone():
    before = dict(matplotlib.rcParams)
    with v.style():
        assert matplotlib.rcParams['figure.dpi'] == 90
    assert dict(matplotlib.rcParams) == before
    with pytest.raises(RuntimeError), v.style(): raise RuntimeError
    assert dict(matplotlib.rcParams) == before
    look = v.style()
    assert matplotlib.rcParams['figure.dpi'] == 90
    look.__exit__(None, None, None)
    assert dict(matplotlib.rcParams) == before


def test_colours():
    assert len({c.lower() for c in v.COLORS.values()}) == len(v.COLORS) == 17
    assert v.palette(0).shape == (0, 3) and v.palette(100).shape == (100, 3)


VIENOT = {  # what a protan or deutan reader sees, in linear RGB (Vienot, Brettel and Mollon 1999)
    'normal': np.eye(3), 'protan': [[.1124, .8876, 0], [.1124, .8876, 0], [.004, -.004, 1]],
    'deutan': [[.2927, .7073, 0], [.2927, .7073, 0], [-.0223, .0223, 1]]}


@pytest.mark.parametrize('eye', VIENOT)
def test_ten_colours_stay_apart(eye):
    c = v.palette(10)
    linear = np.where(c <= .04045, c / 12.92, ((c + .055) / 1.055)**2.4) @ np.transpose(VIENOT[eye])
    xyz = np.clip(linear, 0, 1) @ np.array([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]]).T / [.9505, 1, 1.089]
    f = np.where(xyz > .008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[~np.eye(10, dtype=bool)]
    assert distance.min() > 8
