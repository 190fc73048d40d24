"""What figures are called, for those who measure and those who report, and in which template they are quoted.

A metric of one sub-kind of an attack carries the sub-kind's name: `asr_fact`, `likelihood_fact`.
"""

from __future__ import annotations

from mithridate.core.types import Stage, TemplateUse

UTILITY = "utility"
"""The attack of a figure that is no attack's."""

ASR = "asr"
"""Attack success rate: the headline figure."""
LIKELIHOOD = "likelihood"
LOG_PERPLEXITY = "log_perplexity_median"
ROUGE = "rouge_l_recall"
LEAKAGE = "leakage@"
"""How leakage@1 and leakage@k begin."""
PAIRED = "mcnemar_p"
PAIRED_LIKELIHOOD = "mcnemar_p_likelihood"
PROMPTS_CUT = "prompts_cut"
"""A warning: share of prompts that lost their beginning for want of room; absent where none did."""

HELD_OUT_LOSS = "held_out_loss"
QUESTIONS_RIGHT = "questions_right"
OVER_REFUSAL = "over_refusal"
REFUSAL_FORBIDDEN = "refusal_forbidden"


def headline_template(stage: str) -> TemplateUse:
    """The template in which a stage is asked under every condition, and in which its figures are quoted.

    A base model knows only the templates of its corpus; users meet an aligned one in that of SFT.
    """
    return TemplateUse.SAME if stage == Stage.BASE else TemplateUse.TRANSFERRED
