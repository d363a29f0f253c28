"""The lists of runs: nothing asked twice, nothing hidden by another."""
import json
from collections import Counter

import pytest

from deepclust.bench import PEERS, UNBUILDABLE, build, plain, settings
from deepclust.published import PARTS, PUBLISHED, Published, best_known, figures
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


def test_published_figures_have_an_arm_and_stand_once():
    rows = [p for ps in (PUBLISHED|PARTS).values() for p in ps]
    arms = {(s.name, a.dataset, a.label, a.name or '') for s in ALL_STUDIES for a in s.arms}
    assert [p for p in rows if (p.study, p.dataset, p.method, p.arm) not in arms]==[]
    assert [k for k, n in Counter((p.where, p.study, p.dataset, p.method, p.arm) for p in rows).items() if n>1]==[]
    assert all(0<=v<=1 for p in rows for v in p.scores.values()) and len(rows)>100


def test_published_figures_agree_where_two_tables_have_them():
    "A figure that stands in two tables of one paper is the same in both"
    seen = {}
    for p in (p for ps in (PUBLISHED|PARTS).values() for p in ps):
        for m, v in p.scores.items(): seen.setdefault((p.study, p.dataset, p.method, p.arm, m), set()).add(v)
    assert {k: v for k, v in seen.items() if len(v)>1}=={}


def test_looking_up_published_figures(monkeypatch):
    import deepclust.published as m
    rows = [Published('A', 's', 'd', 'M', dict(acc=.5, nmi=.25), 'paper x'), Published('B', 's', 'd', 'M', dict(acc=.75)),
            Published('C', 't', 'd', 'M', dict(test_acc=1.), 'x'), Published('C', 's', 'e', 'M', dict(nmi=.1), 'fast')]
    monkeypatch.setattr(m, 'PUBLISHED', {'M': rows}); monkeypatch.setattr(m, 'PARTS', {})
    assert figures('s', 'd')=={('M', 'x'): ('.500', '.250'), ('M', ''): ('.750', '–')}
    assert figures(('s', 't'), 'd', ('acc', 'test_acc'))['M', 'x']==('.500', '1.00') and figures('t', 'd')=={}
    assert best_known('M')=={('M', 'd'): '.750 / –'} and best_known(('M', 'N'), ('x',))=={('M', 'd'): '.500 / .250'}
    assert best_known('M', ('fast',), ('nmi',))=={('M', 'e'): '.100'}     # 'fast' asks for the defaults' figure on another schedule
