"Scores against scikit-learn, brute force and invariances, on random cases."
import itertools

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from deepclust import metrics as m

AVERAGES = ('arithmetic', 'geometric', 'max')


def draw(seed, classes=4, clusters=4, n=60):
    "Random classes, and clusters that depend on them for half of the samples"
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return y, np.where(rng.random(n) < .5, y % clusters, rng.integers(0, clusters, n))


def brute_force(y, labels):
    "ACC by trying every injective naming"
    classes, clusters = np.unique(y), np.unique(labels)
    table = [[int(((y == c) & (labels == j)).sum()) for j in clusters] for c in classes]
    if len(classes) > len(clusters): table = np.transpose(table).tolist()
    best = max(sum(row[j] for row, j in zip(table, pi)) for pi in itertools.permutations(range(len(table[0])), len(table)))
    return best / len(y)


@pytest.mark.parametrize('seed', range(12))
@pytest.mark.parametrize('classes,clusters', [(1, 1), (2, 2), (3, 5), (5, 3), (5, 5), (1, 4), (4, 1)])
def test_accuracy_is_the_best_naming(seed, classes, clusters):
    y, labels = draw(seed, classes, clusters)
    assert m.cluster_accuracy(y, labels) == pytest.approx(brute_force(y, labels))


@pytest.mark.parametrize('seed', range(10))
def test_match_reaches_the_accuracy(seed):
    y, labels = draw(seed, 3 + seed % 3, 3 + seed % 4)
    match = m.match_clusters(y, labels)
    assert len(set(match.values())) == len(match) == min(len(np.unique(y)), len(np.unique(labels)))
    assert np.mean([match.get(int(j)) == c for c, j in zip(y, labels)]) == pytest.approx(m.cluster_accuracy(y, labels))
    assert all(type(i) is int for pair in match.items() for i in pair)


@pytest.mark.parametrize('seed', range(10))
def test_scores_equal_scikit_learn(seed):
    y, labels = draw(seed, 2 + seed % 5, 2 + seed % 7, n=200)
    s = m.scores(y, labels)
    for key, average in zip(('nmi', 'nmi_geometric', 'nmi_max'), AVERAGES):
        expected = sk.normalized_mutual_info_score(y, labels, average_method=average)
        assert s[key] == pytest.approx(expected) == m.nmi(y, labels, average)
    assert s['ari'] == pytest.approx(sk.adjusted_rand_score(y, labels))
    assert set(s) == {'acc', 'nmi', 'nmi_geometric', 'nmi_max', 'ari'}
    assert all(type(v) is float for v in s.values())
    assert np.array_equal(m.confusion(y, labels), sk.cluster.contingency_matrix(y, labels))


@pytest.mark.parametrize('seed', range(6))
def test_names_and_order_do_not_matter(seed):
    y, labels = draw(seed, 5, 6)
    rng = np.random.default_rng(seed)
    names_y, names_l, order = rng.permutation(5) * 1000, rng.permutation(6) * 10**9, rng.permutation(len(y))
    a, b = m.scores(y, labels), m.scores(names_y[y][order], names_l[labels][order])
    assert a == pytest.approx(b)


def test_unlabelled_samples_are_left_out():
    y, labels = draw(0, n=100)
    hidden = np.where(np.arange(100) % 3 == 0, -1, y)
    keep = hidden >= 0
    assert m.scores(hidden, labels) == m.scores(y[keep], labels[keep])
    assert np.array_equal(m.confusion(hidden, labels), m.confusion(y[keep], labels[keep]))
    assert m.match_clusters(hidden, labels) == m.match_clusters(y[keep], labels[keep])


@pytest.mark.parametrize('kind', [list, np.int8, np.uint8, np.int64, np.float32, torch.int64, torch.int32, torch.uint8])
def test_types_of_labels(kind):
    y, labels = draw(1)
    def convert(a):
        if kind is list: return a.tolist()
        return torch.tensor(a, dtype=kind) if isinstance(kind, torch.dtype) else a.astype(kind)
    assert m.scores(convert(y), convert(labels)) == m.scores(y, labels)


def test_many_clusters_are_fast():
    y, labels = draw(0, 200, 300, n=70_000)
    assert 0 < m.cluster_accuracy(y, labels) < 1


@pytest.mark.parametrize('y,labels,error,text', [
    ([0, 1], [0], ValueError, 'y has 2 entries and labels has 1'),
    ([0, 1], [0, -1], ValueError, '1 negative'),
    ([-1, -1], [0, 1], ValueError, 'no labelled sample'),
    ([], [], ValueError, 'no labelled sample'),
    (['a', 'b'], [0, 1], TypeError, 'np.unique'),
    ([0, 1], [.5, 1], TypeError, 'whole numbers'),
    ([0, np.nan], [0, 1], TypeError, 'whole numbers'),
    ([0, 1], [[0, 1], [1, 0]], ValueError, 'argmax'),
])
@pytest.mark.parametrize('f', [m.cluster_accuracy, m.match_clusters, m.confusion, m.nmi, m.scores])
def test_bad_labels(f, y, labels, error, text):
    with pytest.raises(error, match=text): f(y, labels)


def test_bad_average():
    with pytest.raises(ValueError, match='average'): m.nmi([0, 1], [0, 1], 'harmonic')


def test_sizes():
    assert m.cluster_sizes([], 3).tolist() == [0, 0, 0]
    assert m.cluster_sizes(torch.tensor([2, 2, 0]), 4).tolist() == [1, 0, 2, 0]
    for labels, k in (([0, 4], 4), ([-1, 0], 4), ([0], 0)):
        with pytest.raises(ValueError): m.cluster_sizes(labels, k)


def test_collapse():
    assert m.collapse_report(np.arange(100) % 10, 10) == []
    assert m.collapse_report([], 3) == []
    report = m.collapse_report(np.zeros(100, int), 100)
    assert len(report) == 2 and '99 of 100' in report[0] and ', ...' in report[0] and '100.0%' in report[1]
    assert m.collapse_report(np.repeat([0, 1], [90, 10]), 2) == []
    assert 'cluster 0' in m.collapse_report(np.repeat([0, 1], [91, 9]), 2)[0]
    assert m.collapse_report(np.repeat([0, 1], [6, 4]), 2, max_share=.5)
    for share in (0, 1.1, float('nan')):
        with pytest.raises(ValueError, match='max_share'): m.collapse_report([0, 1], 2, share)


def blobs(n=240, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 4
    return (4 * np.eye(4)[y] + rng.normal(size=(n, 4))).astype(np.float32), y


@pytest.mark.parametrize('solver', ['lbfgs', 'sgd'])
def test_linear_probe(solver):
    z, y = blobs()
    acc = m.linear_probe(z[:120], y[:120], z[120:], y[120:], solver)
    assert acc > .95
    assert acc == m.linear_probe(torch.tensor(z[:120]), torch.tensor(y[:120]), z[120:], y[120:], solver)
    named = m.linear_probe(z[:120], 7 * y[:120] + 3, z[120:], 7 * y[120:] + 3, solver)
    assert named == acc
    partly = np.where(np.arange(120) < 60, -1, y[:120])
    assert m.linear_probe(z[:120], partly, z[120:], y[120:], solver) == m.linear_probe(z[60:120], y[60:120], z[120:], y[120:], solver)


def test_linear_probe_is_logistic_regression_on_standardised_features():
    z, y = blobs(seed=3)
    scaled = (z - z[:120].mean(0)) / z[:120].std(0)
    expected = LogisticRegression(max_iter=1000).fit(scaled[:120], y[:120]).score(scaled[120:], y[120:])
    assert m.linear_probe(z[:120], y[:120], z[120:], y[120:]) == pytest.approx(expected)
    assert m.linear_probe(1e4 * z[:120] + 7, y[:120], 1e4 * z[120:] + 7, y[120:]) == pytest.approx(expected, abs=.02)


def test_probes_leave_global_random_state_alone():
    z, y = blobs()
    np.random.seed(3)
    torch.manual_seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    m.linear_probe(z, y, z, y, 'sgd', seed=5)
    m.kmeans_probe(z, y, 4, seed=2**40)
    assert torch.equal(before[0], torch.get_rng_state()) and np.array_equal(before[1], np.random.get_state()[1])


def test_kmeans_probe():
    z, y = blobs()
    assert m.kmeans_probe(z, y, 4)['acc'] > .9
    assert m.kmeans_probe(z, np.where(y == 0, -1, y), 4)['acc'] > .9
    with pytest.raises(ValueError): m.kmeans_probe(z, y, len(z) + 1)


@pytest.mark.parametrize('change,text', [
    (dict(z_train=np.ones((10, 2, 2))), 'Flatten'), (dict(y_train=np.zeros(10, int)), 'only class 0'),
    (dict(z_test=np.ones((10, 3))), 'same layer'),
    (dict(y_test=np.zeros(9, int)), '10 rows and y_test has 9'), (dict(y_train=-np.ones(10, int)), 'no labelled sample'),
    (dict(z_train=np.full((10, 2), np.nan)), 'NaN'), (dict(solver='svm'), 'solver')])
def test_bad_probe(change, text):
    good = dict(z_train=np.ones((10, 2)), y_train=np.arange(10) % 2, z_test=np.ones((10, 2)), y_test=np.arange(10) % 2)
    with pytest.raises(ValueError, match=text): m.linear_probe(**(good | change))
