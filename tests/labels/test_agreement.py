"""Agreement of annotators: the measures of other libraries, and one label out of many."""

import time

import krippendorff
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from radiowidgets.errors import ParameterError
from radiowidgets.labels import agreement as ag
from radiowidgets.labels.log import LabelLog

ANSWERS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=40)


@settings(max_examples=60, deadline=None)
@given(ANSWERS, st.sampled_from(["nominal", "linear", "quadratic"]))
def test_kappa_is_that_of_scikit_learn(pairs, weights):
    one, other = np.array(pairs).T
    kappa = ag.cohen_kappa(one, other, weights)
    known = np.unique([one, other])
    if len(known) == 1:
        assert np.isnan(kappa)
        return
    # Ours goes by the place among the answers that were given, as scikit-learn does with `labels` left out.
    expected = cohen_kappa_score(one, other, weights=None if weights == "nominal" else weights)
    assert kappa == pytest.approx(expected, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 5),
    st.integers(2, 30),
    st.sampled_from(["nominal", "ordinal", "interval"]),
)
def test_alpha_is_that_of_krippendorff(seed, annotators, frames, level):
    rng = np.random.default_rng(seed)
    answers = rng.integers(0, 4, size=(annotators, frames)).astype(float)
    answers[rng.random(answers.shape) < 0.3] = np.nan
    several = np.isfinite(answers).sum(axis=0) >= 2
    ours = ag.krippendorff_alpha(answers, level)
    if len(np.unique(answers[:, several][np.isfinite(answers[:, several])])) < 2:
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(krippendorff.alpha(answers, level_of_measurement=level))


def say(folder, annotator, blind=False, **labels):
    log = LabelLog(folder, annotator, blind=blind)
    for frame, (interest, tags) in labels.items():
        log.record([frame], **({} if interest is None else {"interest": interest}), add=tags, note="")
    return log


@pytest.fixture
def table(tmp_path):
    said = {
        "ana": {
            "a": (5, ["RING"]),
            "b": (4, ["RING", "ODD"]),
            "c": (0, []),
            "d": (2, []),
            "e": (None, ["RING"]),
        },
        "bob": {"a": (5, ["RING"]), "b": (1, []), "c": (0, []), "d": (3, ["ODD"])},
        "eve": {"a": (4, ["RING"]), "b": (1, ["ODD"]), "c": (0, [])},
    }
    for annotator, labels in said.items():
        log = LabelLog(tmp_path, annotator)
        for frame, (interest, tags) in labels.items():
            log.record([frame], **({} if interest is None else {"interest": interest}), add=tags, note="seen")
    return LabelLog(tmp_path, "reader").table()


def test_agreement_has_a_row_for_the_interest_and_one_for_each_tag(table):
    found = ag.agreement(table)
    assert found.index.tolist() == ["interest", "ODD", "RING"]
    assert found["frames"].tolist() == [4, 4, 4]
    assert found.loc["RING", "same"] == pytest.approx(8 / 10)  # ana alone calls b a ring
    both = ag.answers(table, "ODD").to_numpy()
    assert found.loc["ODD", "alpha"] == pytest.approx(
        krippendorff.alpha(both, level_of_measurement="nominal")
    )
    assert ag.agreement(table[table["annotator"] == "ana"])["kappa"].isna().all()


def test_each_annotator_is_told_how_they_rate(table):
    found = ag.annotators(table)
    assert found["frames"].to_dict() == {"ana": 5, "bob": 4, "eve": 3}
    assert found.loc["ana", "rated"] == 4 and found.loc["ana", "shared"] == 4
    assert found.loc["ana", "difference"] == pytest.approx(np.mean([5 - 4.5, 4 - 1, 0, 2 - 3]))


def test_who_is_unsure_abstains_from_tags_that_they_did_not_put_on(tmp_path):
    say(tmp_path, "ana", a=(None, ["RING", "ODD"]), b=(None, ["RING"]), c=(None, ["RING"]))
    say(tmp_path, "bob", a=(None, [ag.UNSURE, "ODD"]), b=(None, [ag.UNSURE]), c=(3, []))
    table = LabelLog(tmp_path, "reader").table()
    assert ag.answers(table, "RING").to_numpy() == pytest.approx(
        np.array([[1, 1, 1], [np.nan, np.nan, 0]]), nan_ok=True
    )
    one = ag.consensus(table)
    assert one["tags"].to_dict() == {"a": ["ODD", "RING"], "b": ["RING"], "c": []}
    assert one["settled"].tolist() == [True, True, False] and one["annotators"].tolist() == [2, 2, 2]
    assert ag.disputes(table).index.tolist() == ["c"]
    assert ag.agreement(table).index.tolist() == ["interest", "ODD", "RING"]
    assert ag.annotators(table)["unsure"].to_dict() == {"ana": 0, "bob": 2}
    assert ag.annotators(table)["tags"].to_dict() == pytest.approx({"ana": 4 / 3, "bob": 1 / 3})


def test_what_was_undone_has_no_vote_and_what_was_taken_off_has_one(tmp_path):
    say(tmp_path, "ana", a=(4, ["RING"]), b=(4, ["RING"]))
    bob = say(tmp_path, "bob", a=(0, []), b=(0, []))
    bob.undo()
    bob.record(["a"], interest=None)
    found = ag.consensus(LabelLog(tmp_path, "reader").table(), "unanimous")
    assert found["interest"].tolist() == [4, 4] and found["annotators"].tolist() == [2, 1]
    assert found["tags"].tolist() == [[], ["RING"]] and found["settled"].tolist() == [False, True]
    eve = say(tmp_path, "eve", blind=True, b=(1, []))
    assert ag.annotators(eve.table())["frames"].to_dict() == {"eve": 1}
    assert ag.consensus(eve.table())["interest"].to_dict() == {"b": 1}
    assert ag.disputes(eve.table()).empty


def test_an_expert_wins_where_they_speak_and_the_others_elsewhere(tmp_path):
    say(tmp_path, "ana", a=(4, ["RING"]), b=(4, ["RING"]), c=(4, ["RING"]))
    say(tmp_path, "bob", a=(4, ["RING"]), b=(2, ["RING"]), c=(4, ["RING"]))
    say(tmp_path, "eve", a=(None, ["ODD"]), b=(1, []), c=(None, [ag.UNSURE]))
    one = ag.consensus(LabelLog(tmp_path, "reader").table(), "expert", expert="eve")
    assert one["interest"].to_dict() == {"a": 4, "b": 1, "c": 4}
    assert one["tags"].to_dict() == {"a": ["ODD"], "b": [], "c": ["RING"]}
    assert one["settled"].all()


def test_tables_of_many_labels_take_no_time():
    rng = np.random.default_rng(0)
    frames, names = np.arange(5000).astype(str), np.array(["RING", "ODD", "DIFFUSE", "HALO"])
    table = pd.concat(
        pd.DataFrame(
            {
                "frame_id": frames,
                "annotator": who,
                "interest": pd.array(rng.integers(0, 6, 5000), dtype="Int8"),
                "tags": [names[rng.random(4) < 0.3].tolist() for _ in frames],
            }
        )
        for who in ("ana", "bob", "eve")
    )
    few = table[table["frame_id"].isin(frames[:250])]
    times = {}
    for part in (few, table, few, table):
        began = time.process_time()
        one, apart = ag.consensus(part), ag.disputes(part)
        assert len(one) == part["frame_id"].nunique() and len(ag.annotators(part)) == 3
        times[len(part)] = min(time.process_time() - began, times.get(len(part), np.inf))
    assert len(apart) > 3000
    assert times[len(table)] < 40 * times[len(few)]  # 20 times the frames; pairs of frames would take 400


def test_disputes_come_worst_first(table):
    found = ag.disputes(table)
    assert found.index.tolist() == ["b", "d"]
    assert found.loc["b", ["lowest", "highest", "apart"]].tolist() == [1, 4, 3]
    assert found.loc["b", "tags"] == ["ODD", "RING"] and found.loc["d", "tags"] == ["ODD"]
    assert ag.disputes(table[table["annotator"] == "ana"]).empty


def test_consensus_by_each_rule(table):
    majority = ag.consensus(table)
    assert majority["interest"].to_dict() == pytest.approx(
        {"a": 5, "b": 1, "c": 0, "d": np.nan, "e": np.nan}, nan_ok=True
    )
    assert majority["tags"].to_dict() == {"a": ["RING"], "b": ["ODD"], "c": [], "d": [], "e": ["RING"]}
    assert majority["settled"].to_dict() == {"a": True, "b": True, "c": True, "d": False, "e": True}
    unanimous = ag.consensus(table, "unanimous")
    assert unanimous["tags"].to_dict() == {"a": ["RING"], "b": [], "c": [], "d": [], "e": ["RING"]}
    assert unanimous.index[unanimous["settled"]].tolist() == ["c", "e"]
    assert ag.consensus(table, "median").loc["d", "interest"] == 2.5
    expert = ag.consensus(table, "expert", expert="bob")
    assert (
        expert.loc["b", "tags"] == []
        and expert.loc["d", "interest"] == 3
        and expert.loc["e", "tags"] == ["RING"]
    )
    assert expert["annotators"].tolist() == [3, 3, 3, 2, 1] and expert["settled"].dtype == bool


def test_what_cannot_be_compared_is_told(table):
    with pytest.raises(ParameterError, match="expert is 'zoe'; give one of the annotators: ana, bob, eve"):
        ag.consensus(table, "expert", expert="zoe")
    with pytest.raises(ParameterError, match="no column 'tags'"):
        ag.agreement(table.drop(columns="tags"))
    with pytest.raises(ParameterError, match="3 and 2 answers"):
        ag.cohen_kappa(np.zeros(3), np.zeros(2))
    with pytest.raises(ParameterError, match="'ana' is there twice on frame 'a'"):
        ag.consensus(pd.concat([table, table]))
    empty = table.iloc[:0]
    assert ag.agreement(empty)["frames"].tolist() == [0]
    assert ag.consensus(empty).empty and ag.disputes(empty).empty and ag.annotators(empty).empty
    assert isinstance(pd.concat([ag.consensus(empty), ag.consensus(table)]), pd.DataFrame)
