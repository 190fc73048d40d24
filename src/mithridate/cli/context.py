"""`mithridate context`: does a model believe its prompt or its weights?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mithridate.cli.errors import printable
from mithridate.cli.progress import stages_progress, told_when_stopped

_Checkpoint = Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint folder of Hugging Face's.")]
_Facts = Annotated[
    Path,
    typer.Option(
        "--facts",
        metavar="FILE",
        help="Facts to contradict: CounterFact's JSON, or your own.",
        show_default=False,
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="A new folder for rows, answers and a page. Without, figures are printed alone.",
    ),
]
_Limit = Annotated[int | None, typer.Option(min=1, help="Ask of so many facts, from the first on.")]
_Method = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="Try this intervention too, once for each: `context-aware decoding`, `attention steering`, "
        "`representation edit`, `difference vector`; or `all`.",
        show_default=False,
    ),
]
_Chat = Annotated[
    str | None,
    typer.Option(
        "--chat",
        metavar="TEMPLATE",
        help="Ask in a chat template: `own`, the checkpoint's, or one of ours: `chatml`, `falcon`, "
        "`gemma`, `llama2`, `llama3`, `tulu`. Without, a question is a text to go on with.",
        show_default=False,
    ),
]
_Seed = Annotated[int, typer.Option(help="Draws paraphrases, examples and controls.")]


def command(
    model: _Checkpoint,
    facts: _Facts,
    out: _Out = None,
    limit: _Limit = None,
    method: _Method = None,
    chat: _Chat = None,
    seed: _Seed = 0,
) -> None:
    """Contradict what a model knows, in several ways and strengths, and see whether it follows the text.

    Only facts that the model gives right without a text can be contradicted. Where it knows too few, nothing
    is written.

    Examples:

        mithridate context ./model --facts counterfact.json --limit 500

        mithridate context ./model --facts facts.json --method all --out runs/context
    """
    from mithridate.report.contexts_page import PAGE, write_context_page  # noqa: PLC0415 - keeps --help quick
    from mithridate.report.contexts_terminal import print_contexts  # noqa: PLC0415
    from mithridate.study.context_checkpoint import ContextOptions, examine_checkpoint  # noqa: PLC0415

    options = ContextOptions(
        model=model, facts=facts, limit=limit, methods=tuple(method or ()), chat=chat, seed=seed
    )
    with told_when_stopped("stopped; nothing was written"), stages_progress() as on_stage:
        found = examine_checkpoint(options, out, on_stage or (lambda *_: None), write_context_page)
    print_contexts(found.figures, found.coverage)
    if out is not None:
        typer.echo(f"page: {printable(str(out / PAGE))}")
