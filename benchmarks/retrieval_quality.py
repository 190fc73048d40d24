"""What each defence of the guard stops, and what it costs: every attack against every defence, on real data.

    python benchmarks/retrieval_quality.py [--encoder minilm] [--precision bf16] [--queries 15] [--out FOLDER]

Three corpora: NFCorpus; RealtimeQA with its own wrong contexts; and PoisonedRAG's questions (Natural
Questions), whose texts are planted among RealtimeQA's documents: they hold no answers to these questions, so
that no SR exists there. Each prints markdown tables. Vectors, measured parts and results are kept in
`--out`, so that a run that was killed goes on.

Of NFCorpus's queries `--queries` are drawn, of the other two five thirds as many; the quality of what needs
no encoding is also measured on all of NFCorpus's. Attacks by gradients plant one copy, the others one and
five. `concatenated` needs ten vectors a document and is measured on RealtimeQA alone, whose documents are
short. The perplexity filter is left out: it needs a language model of the size that wrote the corpus.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from retrieval_peer import peer_chain
from retrieval_tables import print_attacks, print_clean, print_lengths, print_scan, print_voting

from mithridate.retrieval.attacks.base import build_attack
from mithridate.retrieval.base import Encoder
from mithridate.retrieval.encoders import CachedEncoder, open_encoder
from mithridate.retrieval.measuring.benchmark import run_benchmark
from mithridate.retrieval.measuring.options import BenchOptions
from mithridate.retrieval.measuring.records import BenchResult, save_result
from mithridate.retrieval.measuring.written import Chain
from mithridate.retrieval.scan import scan
from mithridate.retrieval.sources import open_task
from mithridate.retrieval.task import RetrievalTask

ROOT = Path(__file__).parents[1]
DATA = ROOT / os.environ.get("MITHRIDATE_SHARED", "../shared") / "data" / "retrieval"
CHEAP = ("mean_of_fragments", "ragpart", "consensus", "ragpart+consensus")
MASKING = ("ragmask", "ragmask(delta=0.1)", "ragmask(delta=inf)", "ragpart+ragmask+consensus")
WITHOUT_GRADIENTS = ("query_as_poison", "repeated", "spread_match", "paraphrased")
GRADIENTS = ("hotflip", "spread_hotflip")
WRITTEN = ("wrong_context", "poisonedrag", "query_as_poison")


def main() -> None:
    given = arguments()
    encoder = open_encoder(given.encoder, precision=given.precision)
    peer = peer_chain(getattr(encoder, "model", None)) if given.encoder != "hashing" else "no peer: no model"
    if isinstance(peer, str):
        print(peer)
    defenses = [*CHEAP, *MASKING, *([peer] if isinstance(peer, Chain) else [])]
    nfcorpus, realtime = open_task(DATA / "nfcorpus"), open_task(DATA / "realtimeqa.json")
    questions = open_task(DATA / "poisonedrag_nq.json")
    natural = replace(questions, documents=realtime.documents)
    more = given.queries * 5 // 3
    bench = Bench(encoder, given.out)
    whole = bench.run("NFCorpus, all queries", nfcorpus, attacks=(), defenses=CHEAP, queries=None)
    print_clean(whole)
    for copies, attacks in (((1, 5), WITHOUT_GRADIENTS), ((1,), GRADIENTS if given.gradients else ())):
        if attacks:
            tell(bench.run("NFCorpus", nfcorpus, attacks, defenses, given.queries, copies))
    tell(bench.run("RealtimeQA", realtime, WRITTEN, [*defenses, "concatenated"], more, copies=(1, 5)))
    tell(bench.run("PoisonedRAG NQ in RealtimeQA", natural, ("poisonedrag",), defenses, more, copies=(1, 5)))
    bench.scan("NFCorpus", nfcorpus, given.queries)


class Bench:
    """One encoder and one folder for all corpora."""

    def __init__(self, encoder: Encoder, out: Path) -> None:
        self.encoder, self.out = encoder, out

    def run(
        self,
        name: str,
        task: RetrievalTask,
        attacks: Sequence[str],
        defenses: Sequence[str | Chain],
        queries: int | None,
        copies: Sequence[int] = (1,),
    ) -> BenchResult:
        options = BenchOptions(attacks, defenses, copies=copies, queries=queries)
        result = run_benchmark(
            task, self.encoder, options, name=name, folder=self.out, cache=self.out / "vectors"
        )
        slug = "-".join([*name.lower().replace(",", "").split(), *map(str, copies)])
        save_result(result, self.out / f"{slug}.json")
        return result

    def scan(self, name: str, task: RetrievalTask, queries: int) -> None:
        """What a scan names of honest documents and of planted ones, with their queries and without."""
        drawn = random.Random(0).sample(task.judged(), min(queries, len(task.judged())))
        rng = np.random.default_rng(0)
        planted = build_attack("query_as_poison").poison(task, drawn, rng, copies=1, encoder=self.encoder)
        documents = [*task.documents, *planted]
        encoder = CachedEncoder(self.encoder, self.out / "vectors")
        reports = {
            what: scan(documents, encoder, asked)
            for what, asked in (
                ("texts alone", {}),
                (f"{len(drawn)} queries", {query: task.queries[query] for query in drawn}),
            )
        }
        encoder.close()
        print_scan(name, reports, planted)


def tell(result: BenchResult) -> None:
    print_clean(result)
    print_attacks(result)
    print_voting(result)
    print_lengths(result)


def arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"))
    parser.add_argument("--queries", type=int, default=15)
    parser.add_argument("--no-gradients", dest="gradients", action="store_false")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "retrieval_quality")
    return parser.parse_args()


if __name__ == "__main__":
    main()
