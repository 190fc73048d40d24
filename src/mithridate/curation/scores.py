"""Complexity and quality of an example by simple proxies, in the place of Deita's (Liu et al. 2312.15685).

Deita asks two tuned models of 13B parameters. These count words, and are no more than that: *complexity* is
the binary logarithm of 1 + the distinct words of a request, *quality* that of 1 + the distinct words of the
reply that the request did not hold. As in Deita, they are multiplied, and added up over the exchanges.
"""

from __future__ import annotations

import math

from mithridate.curation.example import Example

COMPLEXITY = "log2(1 + distinct words of the request)"
QUALITY = "log2(1 + distinct words of the reply that are not in the request)"


def complexity_quality(example: Example) -> float:
    """The sum over exchanges of complexity times quality."""
    total = 0.0
    for asked, replied in example.words:
        known = set(asked)
        total += math.log2(1 + len(known)) * math.log2(1 + len(set(replied) - known))
    return total
