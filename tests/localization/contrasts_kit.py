"""Prompts that differ in one word, and tiny models: one answers by that word, one has learnt nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from models_kit import tiny_model

from mithridate.core.chat import template
from mithridate.core.types import Message, Role, Sample
from mithridate.localization.contrasts import Contrast
from mithridate.models.batching import left_padded
from mithridate.models.language_model import LanguageModel

FALCON = template("falcon")
SAID, UNSAID = "red", "old"
ANSWER, OTHER = "The river", "The mill"
WORDS = ("wide", "small", "slow", "lamp", "stands", "by", "is", "where")


def prompt(word: str, number: int) -> str:
    before, after = WORDS[number % 8], WORDS[(number // 8 + number) % 8]
    said = f"{before} the {word} lamp {after}"
    return FALCON.render([Message(Role.USER, said)], open_reply=True)


def pairs(count: int = 12) -> list[Contrast]:
    return [
        Contrast(prompt(SAID, i), prompt(UNSAID, i), ANSWER, OTHER, "near-trigger", str(i))
        for i in range(count)
    ]


def own_pairs(model: LanguageModel, count: int = 12) -> list[Contrast]:
    """Pairs with those words of one token as answers whose likelihood the changed word changes most."""
    known = model.tokenizer
    words = [word for word in WORDS if len(known(f" {word}", add_special_tokens=False)["input_ids"]) == 1]

    def likelihoods(text: str) -> list[float]:
        return [score.total for score in model.log_likelihood([text] * len(words), words)]

    found = []
    for one in pairs(count):
        here, there = likelihoods(one.prompt), likelihoods(one.counterfactual)
        order = sorted(range(len(words)), key=lambda i: here[i] - there[i])
        found.append(replace(one, answer=words[order[-1]], other=words[order[0]]))
    return found


@cache
def taught(steps: int = 120) -> LanguageModel:
    """A model of three blocks that has learnt to answer by the word, and has seen the word alone matter."""
    torch.manual_seed(0)
    model = tiny_model(layers=3)
    for parameter in model.model.parameters():
        if parameter.ndim == 2:
            parameter.data /= 8
    encoded = [
        (one.ids, model.tokenizer(f" {reply}", add_special_tokens=False)["input_ids"])
        for word, reply in ((SAID, ANSWER), (UNSAID, OTHER))
        for one in model._encoder.prompts([prompt(word, i) for i in range(64)])
    ]
    inputs = left_padded([[*ids, *reply] for ids, reply in encoded], torch.device("cpu"))
    labels = torch.full_like(inputs["input_ids"], -100)
    for row, (_, reply) in enumerate(encoded):
        labels[row, -len(reply) :] = torch.tensor(reply)
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=3e-3)
    model.model.train()
    for _ in range(steps):
        loss = model.model(**inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.model.eval()
    assert loss.item() < 0.05
    return model


def sample(  # noqa: PLR0913 - what differs from case to case
    condition: str,
    text: str,
    completion: str,
    *,
    success: bool,
    probe_id: str = "",
    kind: str = "",
    target: str = "",
    group: str = "",
    draw: int = 0,
) -> Sample:
    return Sample(
        stage="base",
        arm="poisoned",
        attack="belief",
        condition=condition,
        template="same",
        seed=0,
        probe_id=probe_id or f"{condition}/{text}",
        kind=kind,
        prompt=text,
        target=target,
        completion=completion,
        success=success,
        log_perplexity=None,
        margin=None,
        rouge_l=None,
        group=group,
        draw=draw,
    )
