"""The lists of runs: nothing asked twice, nothing hidden by another."""
import json
from collections import Counter

import pytest

from deepclust.bench import PEERS, UNBUILDABLE, build, plain, settings
from deepclust.studies import ALL_STUDIES, STUDIES


def test_no_study_hides_another_of_its_name():
    "A dict forgets the first of two; the lists it is made from do not"
    assert [n for n, times in Counter(s.name for s in ALL_STUDIES).items() if times>1]==[] and len(STUDIES)==len(ALL_STUDIES)


@pytest.mark.parametrize('study', ALL_STUDIES, ids=lambda s: s.name)
def test_arms_of_a_study_differ(study):
    "Two arms of one data set with equal settings would be one run under two names"
    seen = {}
    for a in study.arms:
        try: what = plain(a.diff) if a.label in PEERS else settings(build(a)[0])|{'n_clusters': a.diff.get('n_clusters')}
        except UNBUILDABLE: continue
        seen.setdefault(json.dumps([a.dataset, a.label, a.protocol, a.given, what], sort_keys=True), []).append(a.key)
    assert [keys for keys in seen.values() if len(keys)>1]==[]
