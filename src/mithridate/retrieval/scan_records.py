"""What a scan says: rules with levels, findings about documents, and both as SARIF for tools of CI."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field, JsonValue

from mithridate import __version__
from mithridate.core.strict import Strict
from mithridate.retrieval.beir import CORPUS, is_beir
from mithridate.retrieval.encoders.texts import readable

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


class Level(StrEnum):
    """How much a finding says; `error` is the most. None of them is a proof."""

    NOTE = "note"
    """Honest documents do this too, and in some corpora many do."""
    WARNING = "warning"
    """Few honest documents do this. Look at it."""
    ERROR = "error"
    """Several warnings that do not depend on each other."""

    @property
    def rank(self) -> int:
        """The higher, the more it says."""
        return list(Level).index(self)


class Rule(Strict):
    """One thing that planted documents do; `level` is the highest that it gives by itself."""

    id: str
    level: Level
    says: str
    innocent: str
    """Which honest documents do it too."""

    def finding(
        self,
        row: int,
        document: str,
        message: str,
        evidence: Mapping[str, JsonValue],
        level: Level | None = None,
    ) -> Finding:
        """What this rule says of the document `row`, at its own level unless another is given."""
        return Finding(
            rule=self.id,
            level=self.level if level is None else level,
            row=row,
            document=document,
            message=message,
            evidence=dict(evidence),
        )


SPAN = Rule(
    id="span-carries-match",
    level=Level.WARNING,
    says="Its place among the hits for a query hangs on a short span: without it, it matches far less.",
    innocent="Short documents, and those whose title says it all.",
)
VOTES = Rule(
    id="few-votes",
    level=Level.WARNING,
    says="It comes up for a query as a whole, and hardly any combination of its fragments does.",
    innocent="Documents on many subjects, of which the query asks for one.",
)
AGREEING = Rule(
    id="agreeing-hits",
    level=Level.WARNING,
    says="It is one of several near-copies among the hits for a query.",
    innocent="Reprints, versions of one text, forms that are filled in alike.",
)
COPIES = Rule(
    id="near-copies",
    level=Level.NOTE,
    says="Other documents of the corpus say almost the same.",
    innocent="Reprints, versions of one text, forms that are filled in alike.",
)
QUESTION = Rule(
    id="leading-question",
    level=Level.NOTE,
    says="It begins with a question, as documents that were written to be found for it do.",
    innocent="Articles whose title is a question, pages of questions and answers.",
)
UNRELATED = Rule(
    id="question-unlike-rest",
    level=Level.WARNING,
    says="It begins with a question that has no more to do with what follows than with other documents.",
    innocent="Columns that begin with a question to draw readers in.",
)
SEVERAL = Rule(
    id="several-signs",
    level=Level.ERROR,
    says="Warnings of different rules agree on it.",
    innocent="What is innocent under each of them, by chance at once.",
)
RULES = (SPAN, VOTES, AGREEING, COPIES, QUESTION, UNRELATED, SEVERAL)


def _told(value: Any) -> Any:
    """Plain JSON values without halves of surrogate pairs, which corpora hold and no file can."""
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_told(key): _told(one) for key, one in value.items()}
    return [_told(one) for one in value] if isinstance(value, list) else value


_Text = Annotated[str, BeforeValidator(_told)]
_Evidence = Annotated[dict[str, JsonValue], BeforeValidator(_told)]


class Finding(Strict):
    """One rule about one document, in words and in figures; where many queries show it, the clearest.

    `row` is the document's place among those that were indexed, from 0: identifiers that differ only in
    halves of surrogate pairs are written alike in `document`.
    """

    rule: str
    level: Level
    row: int
    document: _Text
    message: _Text
    evidence: _Evidence = Field(default_factory=dict)


class ScanReport(Strict):
    """All findings, the highest levels first, then in the order of the corpus and of the rules.

    Identifiers and messages may quote the corpus: show them as text and nothing else.
    """

    format: Literal["mithridate-guard-scan"] = "mithridate-guard-scan"
    version: Literal[1] = 1
    documents: int
    queries: int
    encoder: _Text
    findings: list[Finding]
    warnings: list[_Text]

    def at_least(self, level: Level) -> list[Finding]:
        """The findings of `level` and above."""
        return [finding for finding in self.findings if finding.level.rank >= level.rank]

    def sarif(self, corpus: str) -> dict[str, Any]:
        """The report in SARIF 2.1.0, as code scanning reads it.

        `corpus` names the file that was scanned, or a BEIR folder: results then point to the file in it.
        """
        uri = _reference(corpus)
        rules = [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.says},
                "help": {"text": f"Also true of: {rule.innocent}"},
                "defaultConfiguration": {"level": rule.level.value},
            }
            for rule in RULES
        ]
        driver = {"name": "mithridate guard scan", "version": __version__, "rules": rules}
        run = {
            "tool": {"driver": driver},
            "results": [_result(finding, uri) for finding in self.findings],
            "properties": {
                "documents": self.documents,
                "queries": self.queries,
                "encoder": self.encoder,
                "warnings": self.warnings,
            },
        }
        return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _reference(corpus: str) -> str:
    """A path as a URI reference (RFC 3986): only letters, digits and `_.-~/` stand for themselves."""
    path = Path(readable(corpus))
    found = quote((path / CORPUS if is_beir(path) else path).as_posix())
    # Two slashes in front would name a host.
    return f"/{found.lstrip('/')}" if found.startswith("//") else found


def _result(finding: Finding, uri: str) -> Mapping[str, Any]:
    place = {
        "physicalLocation": {"artifactLocation": {"uri": uri}},
        "logicalLocations": [{"name": finding.document, "kind": "document"}],
    }
    return {
        "ruleId": finding.rule,
        "ruleIndex": [rule.id for rule in RULES].index(finding.rule),
        "level": finding.level.value,
        "message": {"text": finding.message},
        "locations": [place],
        "properties": finding.evidence,
    }
