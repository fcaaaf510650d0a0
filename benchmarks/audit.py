"""Known vulnerabilities of what `requirements.lock` installs: `make audit`.

Exit code 1 if there are any. Where no advisories can be read (offline, or a registry that gives none) it says
so, and exits with 0: nothing is claimed of what was not looked at.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

AUDITOR = "pip-audit==2.10.1"
LOCK = Path(__file__).parents[1] / "requirements.lock"


def main() -> int:
    """Print what is vulnerable, and how many packages were looked at; the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        uv = Path(sys.executable).with_name("uv")
        done = subprocess.run(
            [
                uv, "tool", "run", AUDITOR, "--requirement", LOCK, "--disable-pip", "--no-deps",
                "--progress-spinner", "off", "--format", "json", "--output", report,
            ],
            capture_output=True,
            text=True,
        )  # fmt: skip
        if not report.exists():
            print(f"nothing was audited: {(done.stderr.strip().splitlines() or ['offline?'])[-1]}")
            return 0
        found = json.loads(report.read_text("utf-8"))["dependencies"]
    looked = [one for one in found if "vulns" in one]
    bad = [one for one in looked if one["vulns"]]
    for one in bad:
        for of in one["vulns"]:
            fixed = ", ".join(of["fix_versions"]) or "no version yet"
            print(
                f"{one['name']} {one['version']}: {of['id']} ({', '.join(of['aliases'])}), mended in {fixed}"
            )
    print(f"{len(bad)} of {len(looked)} packages have known vulnerabilities")
    if len(looked) < len(found):
        print(f"{len(found) - len(looked)} could not be looked at: their advisories cannot be read from here")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
