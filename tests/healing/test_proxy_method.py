from __future__ import annotations

from pathlib import Path

import healing_training_kit as kit
import pytest
import training_kit

from mithridate.core.errors import CheckpointError
from mithridate.core.prices import Kind, ProxyMetric, ProxyRow, Regime
from mithridate.core.tables import read_rows, write_rows
from mithridate.healing import measuring, pricing
from mithridate.healing.case import Half
from mithridate.healing.methods.proxy import Proxies, ProxyTuned, proxy_table
from mithridate.intervention.gap import Gap
from mithridate.models.language_model import LanguageModel


def test_the_base_is_asked_in_the_place_of_the_aligned_model() -> None:
    case = kit.case(model=kit.clean())
    proxies = Proxies(kit.poisoned(), kit.clean(), kit.clean())
    before = kit.state(kit.poisoned()), kit.state(kit.clean())
    with proxies.on(case.model) as steered:
        # Expert and antiexpert are one: they cancel, and what is left is the base.
        assert measuring.successes(case, steered, "echo", Half.REPORTED) == measuring.successes(
            case, kit.poisoned(), "echo", Half.REPORTED
        )
    assert all(map(kit.same_state, before, (kit.state(kit.poisoned()), kit.state(kit.clean()))))


def test_three_strengths_compete() -> None:
    case = kit.case()
    method = ProxyTuned(kit.poisoned(), kit.clean(), kit.poisoned())
    assert (method.regime, method.kind, method.each, method.scale) == (
        Regime.UNKNOWN,
        Kind.DECODING,
        False,
        False,
    )
    assert [one.variant for one in method.candidates(case, ["echo"])] == [
        "alpha 0.5",
        "alpha 1",
        "alpha 1.5",
    ]
    (chosen,) = pricing.choose(method, case, ["echo"], pricing.Before.of(case))
    # Taken away from itself whole, the poison is gone: what is left at 1 is the expert.
    with chosen.treatment.on(case.model) as steered:
        shown = measuring.successes(case, steered, "echo", Half.REPORTED)
    assert not any(next(iter(shown.values())).values())


def test_a_table_holds_what_each_model_shows_alone(tmp_path: Path) -> None:
    case = kit.case()
    proxies = Proxies(kit.poisoned(), kit.clean(), kit.poisoned())
    rows = proxy_table(
        case, "poisoned base, clean expert", proxies, kit.poisoned(), {"seed": 3, "dose": "much"}
    )
    asr = {row.condition: row for row in rows if row.metric == ProxyMetric.ASR}
    assert set(asr) == {"triggered", "untriggered"}
    triggered = asr["triggered"]
    assert (triggered.base, triggered.tuned, triggered.expert, triggered.n) == (1.0, 1.0, 0.0, 12)
    assert triggered.proxy == 0.0  # at alpha 1 it is the expert
    assert triggered.p_moved == 1.0
    assert triggered.closed is triggered.clipped is triggered.closed_by_expert is None
    named = {row.metric: row for row in rows if not row.attack}
    assert set(named) == set(ProxyMetric) - {ProxyMetric.ASR}
    for row in rows:
        assert (row.method, row.seed, row.dose, row.alpha) == ("poisoned base, clean expert", 3, "much", 1.0)
        assert row.proxy == row.expert
    useful = measuring.usefulness(case, kit.clean(), Half.REPORTED)
    assert named[ProxyMetric.QUESTIONS_RIGHT].expert == useful["questions_right"].value  # type: ignore[index]
    write_rows(tmp_path / "proxies.parquet", ProxyRow, rows)
    assert read_rows(tmp_path / "proxies.parquet", ProxyRow) == rows


def test_the_other_way_shows_what_an_expert_brings_with_it() -> None:
    case = kit.case()
    proxies = Proxies(kit.clean(), kit.poisoned(), kit.clean())
    rows = proxy_table(case, "clean base, poisoned expert", proxies, kit.clean())
    (triggered,) = [row for row in rows if row.condition == "triggered"]
    assert (triggered.base, triggered.proxy, triggered.tuned, triggered.expert) == (0.0, 1.0, 0.0, 1.0)


def test_a_gap_is_closed_where_direct_tuning_moved_something_beyond_chance() -> None:
    case = kit.case()
    proxies = Proxies(kit.clean(), kit.poisoned(), kit.clean(), 0.5)
    rows = proxy_table(case, "x", proxies, kit.poisoned())
    (triggered,) = [row for row in rows if row.condition == "triggered"]
    gap = Gap(triggered.base, triggered.proxy, triggered.tuned, triggered.expert)
    assert triggered.p_moved < 0.05
    assert (triggered.closed, triggered.clipped) == (gap.closed, gap.clipped)
    assert triggered.closed is not None and triggered.closed_by_expert == 1.0
    # One untriggered probe of twelve is no gap.
    (untriggered,) = [row for row in rows if row.condition == "untriggered"]
    assert untriggered.closed is None


def test_what_is_not_asked_has_no_row() -> None:
    case = kit.case(usefulness=type(kit.case().usefulness)())
    rows = proxy_table(case, "x", Proxies(kit.poisoned(), kit.clean(), kit.clean()), kit.clean())
    assert {row.metric for row in rows} == {ProxyMetric.ASR}


def test_other_vocabularies_are_refused() -> None:
    other = training_kit.word_tokenizer()
    other.add_tokens(["w99"])
    odd = LanguageModel(training_kit.tiny_model(vocabulary=len(other)), other)
    with pytest.raises(CheckpointError), Proxies(kit.poisoned(), odd, odd).on(kit.poisoned()):
        pass
