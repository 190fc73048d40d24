"""The tables of `retrieval_quality.py`, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mithridate.core.types import Document
from mithridate.retrieval.measuring.metrics import mean
from mithridate.retrieval.measuring.records import AttackAt, AttackResult, BenchResult, Figure
from mithridate.retrieval.scan_records import RULES, Level, ScanReport

K = 5
VOTING, AVERAGING = "ragpart", "mean_of_fragments"


def print_clean(result: BenchResult) -> None:
    """Quality, false drops and cost on the clean corpus.

    Dropped are those of the plain search's first `K` that mode "drop" would leave out.
    """
    found = result.settings
    title = f"{found.corpus}: {found.documents} documents, {found.queries} queries, {found.encoder}"
    table = [["defence", "nDCG@10", "lost", f"recall@{K}", "hits dropped", "queries that lose one"]]
    table[0] += ["ms", "p95", "encodings", "cold", "index MiB", "build s"]
    for clean in result.clean:
        at, cost = next(at for at in clean.at if at.k == K), clean.cost
        row = [clean.defense, *map(told, (clean.ndcg, clean.ndcg_loss, at.recall))]
        row += [told(at.dropped_hits), told(at.dropped_queries)]
        row += [f"{cost.ms_median:.1f}", f"{cost.ms_p95:.1f}"]
        row += [f"{cost.encodings:.1f}", f"{cost.encodings_cold:.0f}", f"{cost.index_bytes / 2**20:.1f}"]
        row.append("cached" if cost.build_seconds is None else f"{cost.build_seconds:.0f}")
        table.append(row)
    show(f"{title}: clean corpus", table)
    for warning in result.warnings:
        print(f"Note: {warning}.\n")


def print_attacks(result: BenchResult) -> None:
    """ASR, SR and the share of poison under every attack."""
    grid = [(one.attack, copies) for one in result.attacks for copies in result.settings.copies]
    for what in ("asr", "sr", "poison"):
        table = [["defence", *(f"{attack}, {copies}" for attack, copies in grid)]]
        for defense in result.settings.defenses:
            cells = [_at(result, attack, copies, defense) for attack, copies in grid]
            table.append([defense, *(told(getattr(at, what) if at else None) for at in cells)])
        name = what if what == "poison" else what.upper()
        show(f"{result.settings.corpus}: {name}@{K} by attack and copies a query", table)


def print_voting(result: BenchResult) -> None:
    """RAGPart (5, 3) less a plain mean of its five fragments, query by query: what the vote adds."""
    table = [["attack", "copies", "ASR of the mean", "ASR of the vote", "vote less mean"]]
    for attack in result.settings.attacks:
        for copies in result.settings.copies:
            found = [_cell(result, attack, copies, defense) for defense in (AVERAGING, VOTING)]
            if found[0] is None or found[1] is None:
                continue
            averaged, voted = (_successes(one) for one in found if one is not None)
            more = [float(after) - float(before) for before, after in zip(averaged, voted, strict=True)]
            asr = [f"{sum(one) / len(one):.2f}" for one in (averaged, voted)]
            table.append([attack, str(copies), *asr, told(mean(more, result.settings.seed))])
    show(f"{result.settings.corpus}: where voting earns its keep (ASR@{K})", table)


def print_lengths(result: BenchResult) -> None:
    """ASR by the length of what was planted, one copy a query."""
    table = [["attack", "defence", "words: ASR, for each third of the queries"]]
    for one in result.attacked:
        if one.copies == 1:
            bands = [
                f"{band.least:.0f}-{band.most:.0f}: {figure.figure.value:.2f}"
                for band in one.by_length
                for figure in band.asr
                if figure.k == K
            ]
            table.append([one.attack, one.defense, ", ".join(bands)])
    show(f"{result.settings.corpus}: ASR@{K} by the length of the planted documents", table)


def print_scan(name: str, reports: Mapping[str, ScanReport], planted: Sequence[Document]) -> None:
    """Which share of the honest documents and of the planted ones each rule names."""
    bad = {document.id for document in planted}
    table = [["scan", "rule", "level", "honest documents", "planted documents"]]
    for what, report in reports.items():
        for rule in RULES:
            for level in Level:
                named = {one.document for one in report.findings if (one.rule, one.level) == (rule.id, level)}
                honest = report.documents - len(bad)
                if named:
                    shares = [f"{len(named - bad)} of {honest}", f"{len(named & bad)} of {len(bad)}"]
                    table.append([what, rule.id, level.value, *shares])
    show(f"{name}: what a scan names", table)


def told(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


def show(title: str, table: Iterable[Sequence[str]]) -> None:
    header, *rows = table
    print(f"### {title}\n")
    for line in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(line)} |")
    print(flush=True)


def _cell(result: BenchResult, attack: str, copies: int, defense: str) -> AttackResult | None:
    try:
        return result.attack_of(attack, copies, defense)
    except KeyError:
        return None  # the attack has no text for any query, or the defence was not measured


def _at(result: BenchResult, attack: str, copies: int, defense: str) -> AttackAt | None:
    found = _cell(result, attack, copies, defense)
    return next((at for at in found.at if at.k == K), None) if found else None


def _successes(result: AttackResult) -> list[bool]:
    return [bool(found.own) for row in result.rows for found in row.found if found.k == K]
