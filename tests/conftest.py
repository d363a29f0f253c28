"Few threads, no windows, and a plain word on tests that were skipped for want of data."
import os
from pathlib import Path

for var in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'): os.environ.setdefault(var, '1')
os.environ.setdefault('MPLBACKEND', 'Agg')
os.environ.pop('IN_TEST', None)

import pytest  # noqa: E402

NO_DATA = 'DEEPCLUST_DATA is not set: point it at a folder with the data sets'


@pytest.fixture(autouse=True, scope='session')
def few_threads():
    "One thread unless OMP_NUM_THREADS says two: small tensors only lose time with more, and results depend on the count"
    import torch
    torch.set_num_threads(min(2, int(os.environ['OMP_NUM_THREADS'].split(',')[0])))


@pytest.fixture(autouse=True)
def seeded():
    "A network or array that a test makes without a seed of its own is the same in every run; DEEPCLUST_TEST_SEED asks for another"
    import numpy as np
    import torch
    seed = int(os.environ.get('DEEPCLUST_TEST_SEED', 0))
    torch.manual_seed(seed); np.random.seed(seed)


@pytest.fixture
def ticking(monkeypatch):
    "A clock of 10 ms a look inside the training loop: the same slices on any machine"
    from types import SimpleNamespace
    from itertools import count
    import deepclust.train
    ticks = count(); monkeypatch.setattr(deepclust.train, 'time', SimpleNamespace(monotonic=lambda: next(ticks)/100))


@pytest.fixture(scope='module')
def pictures():
    "Ninety noisy images of 16 x 16, each class bright in a channel of its own"
    import numpy as np
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 30)
    x = rng.integers(0, 60, (90, 3, 16, 16))
    x[np.arange(90), y] += 150
    return x.astype(np.uint8), y


@pytest.fixture(scope='session')
def data_root()->Path:
    "The folder with the data sets, or a skip"
    root = os.environ.get('DEEPCLUST_DATA')
    if not root: pytest.skip(NO_DATA)
    if not Path(root).is_dir(): pytest.skip(f'DEEPCLUST_DATA={root} is not a folder')
    return Path(root)


def pytest_terminal_summary(terminalreporter):
    reasons = [str(r.longrepr[2] if isinstance(r.longrepr, tuple) else r.longrepr) for r in terminalreporter.stats.get('skipped', [])]
    n = sum('DEEPCLUST_DATA' in r for r in reasons)
    if n: terminalreporter.write_line(f'{n} tests were skipped for want of data: set DEEPCLUST_DATA to the folder that holds it')
