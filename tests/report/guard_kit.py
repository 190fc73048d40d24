"""The result of a benchmark of defences, with figures made up and texts out to do harm."""

from __future__ import annotations

from collections.abc import Sequence

from report_kit import HOSTILE

from mithridate.retrieval.measuring.records import (
    AttackAt,
    AttackBand,
    AttackRecord,
    AttackResult,
    BenchResult,
    CleanAt,
    CleanBand,
    CleanResult,
    Cost,
    Example,
    Figure,
    FigureAt,
    Settings,
    Versions,
)

QUERIES = 40
DEFENSES = ("plain", "ragpart", "ragmask(delta=0.1)", "ragpart+ragmask+consensus")
ATTACKS = ("query_as_poison", "repeated")
NDCG = (0.316, 0.311, 0.312, 0.301)
MS = (0.5, 1.5, 50.0, 60.0)
RATES = {"query_as_poison": (0.35, 0.10, 0.05, 0.05), "repeated": (0.60, 0.55, 0.30, 0.25)}
"""ASR@5 with one copy, by defence."""
_BANDS = ((20.0, 61.0), (62.0, 120.0), (121.0, 1430.0))


def figure(value: float, half: float = 0.1) -> Figure:
    return Figure(value=value, low=max(0.0, value - half), high=min(1.0, value + half), n=QUERIES)


def rate(attack: str, copies: int, defense: int, k: int = 5) -> float:
    """More copies and more hits let more through."""
    rates = RATES.get(attack, RATES["repeated"])
    return min(1.0, rates[defense % len(rates)] * (1 + 0.1 * (copies - 1)) * (k / 5) ** 0.25)


def result(
    *,
    attacks: Sequence[str] = ATTACKS,
    copies: Sequence[int] = (1, 5),
    defenses: Sequence[str] = DEFENSES,
    ks: Sequence[int] = (3, 5, 10),
    judged: bool = True,
    corpus: str = "data/nfcorpus",
    warnings: Sequence[str] = (),
) -> BenchResult:
    """A finished benchmark; without `judged`, no question has a relevant document."""
    settings = Settings(
        corpus=corpus,
        corpus_digest="0" * 64,
        documents=3633,
        queries=QUERIES,
        judged=QUERIES if judged else 0,
        encoder="hashing:1:256",
        dimension=256,
        top_ks=list(ks),
        copies=list(copies),
        attacks=list(attacks),
        defenses=list(defenses),
        seed=7,
        timed_queries=20,
        timed_k=5 if 5 in ks else ks[-1],
        versions=Versions(python="3.12.1", packages={"numpy": "2.3.0"}),
    )
    return BenchResult(
        settings=settings,
        attacks=[_record(attack) for attack in attacks],
        clean=[_clean(i, defense, ks, judged) for i, defense in enumerate(defenses)],
        attacked=[
            _attacked(attack, n, i, defense, ks, judged)
            for attack in attacks
            for n in copies
            for i, defense in enumerate(defenses)
        ],
        warnings=list(warnings),
    )


def hostile() -> BenchResult:
    """Every text that may come from a file does its worst."""
    evil = HOSTILE[0]
    return result(
        attacks=(f"query_as_poison(file='{HOSTILE[1]}')", "repeated"),
        defenses=("plain", f"perplexity(model='{HOSTILE[5]}')", f"ragpart\x1b[31m{evil}"),
        corpus=f"data/{HOSTILE[6]}\x1b]0;pwned\x07".replace("/svg", "svg"),
        warnings=[f"the encoder {text}" for text in HOSTILE],
    )


def _record(attack: str) -> AttackRecord:
    examples = [
        Example(document=f"poison:{text}", query=f"q{text}", text=f"{text} planted \ud800", cut=i == 0)
        for i, text in enumerate(HOSTILE)
    ]
    return AttackRecord(attack=attack, attacked=QUERIES - 2, skipped=2, words=73.0, examples=examples)


def _clean(i: int, defense: str, ks: Sequence[int], judged: bool) -> CleanResult:
    ndcg = NDCG[i % len(NDCG)]
    lost = NDCG[0] - ndcg
    return CleanResult(
        defense=defense,
        ndcg=figure(ndcg, 0.05) if judged else None,
        ndcg_loss=Figure(value=lost, low=lost - 0.004, high=lost + 0.01, n=QUERIES) if judged else None,
        at=[
            CleanAt(
                k=k,
                recall=figure(0.02 * k) if judged else None,
                sr=figure(0.5 + 0.02 * k) if judged else None,
                dropped_hits=figure(0.03 * i),
                dropped_queries=figure(0.12 * i),
            )
            for k in ks
        ],
        by_length=[
            CleanBand(
                least=least,
                most=most,
                queries=13,
                ndcg=figure(ndcg + 0.01 * band),
                recall=[FigureAt(k=k, figure=figure(0.02 * k)) for k in ks],
            )
            for band, (least, most) in enumerate(_BANDS if judged else ())
        ],
        cost=Cost(
            k=5,
            ms_median=MS[i % len(MS)],
            ms_p95=2 * MS[i % len(MS)],
            encodings=0.4 * i,
            encodings_cold=170.0 * i,
            index_bytes=5_580_288 * (1 + i),
            build_encodings=3633 * (1 + i),
            build_seconds=None if i == 1 else 41.5,
        ),
        rows=[],
    )


def _attacked(
    attack: str, copies: int, i: int, defense: str, ks: Sequence[int], judged: bool
) -> AttackResult:
    return AttackResult(
        attack=attack,
        copies=copies,
        defense=defense,
        planted=copies * (QUERIES - 2),
        at=[
            AttackAt(
                k=k,
                asr=figure(rate(attack, copies, i, k)),
                any_planted=figure(min(1.0, rate(attack, copies, i, k) + 0.05)),
                sr=figure(0.5) if judged else None,
                poison=figure(rate(attack, copies, i, k) / 4),
            )
            for k in ks
        ],
        by_length=[
            AttackBand(
                least=least,
                most=most,
                queries=12,
                asr=[FigureAt(k=k, figure=figure(rate(attack, copies, i, k) * (1 - band / 4))) for k in ks],
            )
            for band, (least, most) in enumerate(_BANDS)
        ],
        rows=[],
    )
