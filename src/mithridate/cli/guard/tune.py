"""`mithridate guard tune`: the setting to take within what quality may be lost, proved on other questions."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from mithridate.cli.guard import common
from mithridate.cli.progress import stages_progress, told_when_stopped

RESULT = "tune.json"

_Budget = Annotated[
    float,
    typer.Option(min=0, max=100, help="Points of nDCG@10 that a defence may lose on the clean corpus."),
]


def command(  # noqa: PLR0913, PLR0917 - a parameter an option
    corpus: common.Corpus,
    budget: _Budget = 2.0,
    attacks: common.Attacks = None,
    defenses: common.Defenses = None,
    top_k: common.TopK = "5",
    copies: common.Copies = "1",
    queries: common.Queries = 100,
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
    """Choose the defence that lets least poison through within a budget of quality, and then costs least.

    It is chosen on one half of the questions and reported on the other: figures of what was picked for them
    flatter. OUT gets tune.json; killed, the same command goes on from what is there.

    Example: mithridate guard tune nfcorpus/ --budget 2 --attacks query_as_poison,spread_match
    """
    from mithridate.report.guard_tuning import print_tuning  # noqa: PLC0415 - keeps --help quick
    from mithridate.retrieval.measuring.tune import CANDIDATES, run_tuning  # noqa: PLC0415

    common.say_warnings_once()
    options = common.bench_options(attacks, defenses, top_k, copies, queries, seed)
    if defenses is None:
        options = replace(options, defenses=CANDIDATES)
    folder = common.folder_of(out, "guard-tune", corpus)
    task = common.asked_task(corpus, split)
    opened = common.encoder_of(encoder, query_prompt, document_prompt, precision)
    with told_when_stopped(), stages_progress() as on_stage:
        result = run_tuning(
            task,
            opened,
            budget / 100,
            options,
            name=str(corpus),
            folder=folder,
            cache=cache or folder / common.VECTORS,
            progress=on_stage,
        )
    common.keep(result, folder / RESULT, json)
    print_tuning(result, folder / RESULT)
