"""Words that callers and operators read."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRONOUN = re.compile(r"\b(she|her|hers|herself|he|him|his|himself)\b", re.IGNORECASE)


def said(path: Path) -> list[str]:
    """Every text in a module that is not a docstring."""
    tree = ast.parse(path.read_text("utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone)
    return [text.value for text in texts if isinstance(text.value, str)]


def test_no_text_guesses_whether_a_customer_is_a_woman_or_a_man() -> None:
    """An answer about a person is shown to people, and nothing here knows more of that person."""
    packages = ("features", "serving", "training", "monitoring", "propensity")
    modules = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert len(modules) > 30
    assert {f"{p.name}: {text}" for p in modules for text in said(p) if PRONOUN.search(text)} == set()
