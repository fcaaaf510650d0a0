"""What a customer log is, and whether it can be modelled: `propensity log describe`.

facts = measure(settings)       what was counted
verdict = judge(facts)          whether it is enough, and what to look at
render(facts, verdict)          the page
"""

import msgspec

from features.describe.facts import Facts
from features.describe.measure import measure
from features.describe.page import render
from features.describe.verdict import Verdict, judge

__all__ = ["Facts", "Verdict", "as_json", "judge", "measure", "render"]


def as_json(facts: Facts, verdict: Verdict) -> str:
    """One JSON object: `enough`, the findings with their words, and every number. Money is text, exact."""
    findings = [
        {"weight": f.weight, "what": f.what._asdict(), "do": f.do._asdict()} for f in verdict.findings
    ]
    told = {
        "enough": verdict.enough,
        "verdict": verdict.words._asdict(),
        "findings": findings,
        "facts": facts,
    }
    return msgspec.json.encode(told).decode()
