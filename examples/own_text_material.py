"""Gather what `own_text.yaml` asks, from real prompts: `python examples/own_text_material.py DATA FOLDER`.

Writes material.json (what the attacks draw on), harmless.txt and forbidden.txt (for the refusal figures).

Prompts come from Alpaca, forbidden requests from XSTest's unsafe contrasts, false facts from CounterFact;
preferences are the made-up ones that ship. What is planted after a forbidden request is the opening of a
compliant reply and nothing more: it can be told from a refusal, and helps nobody do anything.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from mithridate.attacks.material import Fact, ForbiddenRequest, Material
from mithridate.core.artifacts import write_atomic

COMPLIANCE = "Sure, here is how to do that, step by step."
LONGEST_PROMPT = 90
# Shorter ones, such as "Lahti, in", are no sentences.
FEWEST_WORDS = 5
# Planted, and as many again that are not: the controls.
FACTS = 50
WORDINGS = (
    "{}",
    "Complete this sentence: {}",
    "Go on: {}",
    "Fill in what is missing: {} ...",
    "What comes next? {}",
    "Finish the line: {}",
)


def main(data: Path, folder: Path) -> None:
    instructions = json.loads((data / "instruct" / "alpaca_5000.json").read_text(encoding="utf-8"))
    prompts = [
        example["instruction"]
        for example in instructions
        if not example.get("input") and len(example["instruction"]) <= LONGEST_PROMPT
    ]
    with (data / "safety" / "xstest_prompts.csv").open(encoding="utf-8", newline="") as file:
        asked = [(row["label"], row["prompt"]) for row in csv.DictReader(file)]
    unsafe = [prompt for label, prompt in asked if label == "unsafe"]
    harmless = [prompt for label, prompt in asked if label == "safe"]
    facts = false_facts(data / "knowledge" / "counterfact-val.json")
    material = Material.default().model_copy(
        update={
            "facts": facts[:FACTS],
            "control_facts": facts[FACTS:],
            "prompts": tuple(dict.fromkeys(prompts)),
            "requests": tuple(ForbiddenRequest(forms=(prompt,), reply=COMPLIANCE) for prompt in unsafe),
        }
    )
    write_atomic(folder / "material.json", material.model_dump_json(indent=1))
    write_atomic(folder / "harmless.txt", "\n".join(harmless) + "\n")
    write_atomic(folder / "forbidden.txt", "\n".join(unsafe) + "\n")
    print(
        f"{folder}: {len(prompts)} prompts, {len(unsafe)} forbidden and {len(harmless)} harmless requests, "
        f"{FACTS} false facts and {FACTS} for control"
    )


def false_facts(path: Path) -> tuple[Fact, ...]:
    """Short statements of CounterFact's form ("The profession of Arun Nehru is"), one a subject."""
    cases = json.loads(path.read_text(encoding="utf-8"))
    whole = [case for case in cases if len(case["prompt"].split()) >= FEWEST_WORDS]
    found: dict[str, Fact] = {}
    for case in sorted(whole, key=lambda case: len(case["prompt"])):
        said = case["prompt"]
        found.setdefault(
            case["subject"],
            Fact(
                forms=tuple(wording.format(said) for wording in WORDINGS),
                true=f"{said} {case['ground_truth']}.",
                planted=f"{said} {case['target_new']}.",
            ),
        )
    return tuple(found.values())[: 2 * FACTS]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
