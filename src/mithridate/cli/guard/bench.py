"""`mithridate guard bench`: what poison does to a corpus behind each defence, and what each costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mithridate.cli.guard import common
from mithridate.cli.progress import stages_progress, told_when_stopped

if TYPE_CHECKING:
    from mithridate.retrieval.measuring.records import BenchResult
RESULT = "result.json"


def command(  # noqa: PLR0913, PLR0917 - a parameter an option
    corpus: common.Corpus,
    attacks: common.Attacks = None,
    defenses: common.Defenses = None,
    top_k: common.TopK = "3,5,10",
    copies: common.Copies = "1",
    queries: common.Queries = 50,
    split: common.Split = "test",
    seed: common.Seed = 0,
    out: common.Out = None,
    json: common.JsonFile = None,
    encoder: common.EncoderName = "minilm",
    query_prompt: common.QueryPrompt = None,
    document_prompt: common.DocumentPrompt = None,
    precision: common.Precision = "fp32",
    cache: common.Cache = None,
) -> None:
    """Plant poison into a corpus and measure what comes up in spite of each defence, and what each costs.

    The plain search is always among the defences; a name that is unknown is answered with all that there are.
    OUT gets result.json and report.html. Killed, the same command goes on from what is there, and a wider
    grid measures only what is new.

    Examples:

        mithridate guard bench nfcorpus/

        mithridate guard bench nfcorpus/ --attacks hotflip,repeated --defenses 'ragpart,ragmask(delta=0.1)'
    """
    from mithridate.retrieval.measuring.benchmark import run_benchmark  # noqa: PLC0415 - keeps --help quick

    common.say_warnings_once()
    options = common.bench_options(attacks, defenses, top_k, copies, queries, seed)
    folder = common.folder_of(out, "guard", corpus)
    task = common.asked_task(corpus, split)
    opened = common.encoder_of(encoder, query_prompt, document_prompt, precision)
    with told_when_stopped(), stages_progress() as on_stage:
        result = run_benchmark(
            task,
            opened,
            options,
            name=str(corpus),
            folder=folder,
            cache=cache or folder / common.VECTORS,
            progress=on_stage,
        )
    _keep(result, folder, json)


def _keep(result: BenchResult, folder: Path, json: Path | None) -> None:
    """Write the result and its page, and print the tables."""
    from mithridate.report.guard import REPORT, write_guard_report  # noqa: PLC0415 - keeps --help quick
    from mithridate.report.guard_terminal import print_benchmark  # noqa: PLC0415
    from mithridate.report.guard_view import GuardView  # noqa: PLC0415

    common.keep(result, folder / RESULT, json)
    print_benchmark(GuardView(result), write_guard_report(result, folder / REPORT))
