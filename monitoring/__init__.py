"""Whether it still holds."""

from monitoring.verdicts import Finding, Verdict, run

__all__ = ["Finding", "Verdict", "run"]
