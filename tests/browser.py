"""Pages as a browser shows them: Debian's chromium, headless. Tests that need it skip where it is absent."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.image import imread

PHONE, DESKTOP = 360, 1280  # pixels across
_HEIGHT = 1_600
_MEASURE = """<script>
document.documentElement.dataset.inside = [
  window.innerWidth, document.scrollingElement.scrollWidth, document.scrollingElement.scrollHeight,
  performance.getEntriesByType("resource").length,
].join(" ");
</script></html>"""


class Seen(NamedTuple):
    """width: of the window; reach: how far the content goes to the right; height: of the content, in pixels.

    asked: resources that the page asked the network for. ink: share of the screenshot that is not its most
    frequent colour. colours: how many there are.
    """

    width: int
    reach: int
    height: int
    asked: int
    ink: float
    colours: int
    picture: Path

    @property
    def overflows(self) -> bool:
        """Whether somebody must scroll sideways to read it."""
        return self.reach > self.width


def chromium() -> str:
    """The browser; without it the test skips, unless the environment demands it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("PROPENSITY_REQUIRE_BROWSER"):
            pytest.fail("chromium is absent, and PROPENSITY_REQUIRE_BROWSER demands it")
        pytest.skip("chromium is absent: apt-get install chromium")
    return found


def run_script(script: str, scratch: Path) -> str:
    """The text that an expression of JavaScript is."""
    scratch.mkdir(parents=True, exist_ok=True)
    page = scratch / "script.html"
    page.write_text(f"<meta charset=utf-8><script>document.title = {script}</script>", "utf-8")
    told = _run([*_headless(scratch), "--dump-dom", page.resolve().as_uri()])
    return told.partition("<title>")[2].partition("</title>")[0]


def _headless(scratch: Path) -> list[str]:
    return [
        chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
        "--disable-dev-shm-usage", "--allow-file-access-from-files", f"--user-data-dir={scratch / 'profile'}",
        "--virtual-time-budget=3000",
    ]  # fmt: skip


def look(page: Path, width: int, scratch: Path, height: int = _HEIGHT) -> Seen:
    """Open a page of one file in a window of that width, as a phone or a desktop would.

    The window is an iframe of that width, since a window of its own is never narrower than 500 pixels.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    copy, frame = scratch / f"{page.stem}-{width}.html", scratch / f"{page.stem}-{width}-frame.html"
    copy.write_text(page.read_text("utf-8").replace("</html>", _MEASURE), "utf-8")
    frame.write_text(
        f"<!doctype html><style>body {{ margin: 0 }} iframe {{ border: 0 }}</style>"
        f'<iframe src="{copy.name}" width="{width}" height="{height}"></iframe>'
        "<script>document.querySelector('iframe').onload = event => { document.body.dataset.inside = "
        "event.target.contentDocument.documentElement.dataset.inside }</script>",
        "utf-8",
    )
    common = [*_headless(scratch), f"--window-size={max(width, 500)},{height}"]
    address = frame.resolve().as_uri()
    picture = scratch / f"{page.stem}-{width}.png"
    told = _run([*common, "--dump-dom", f"--screenshot={picture}", address])
    inside = told.rpartition('data-inside="')[2].partition('"')[0].split()
    assert len(inside) == 4, f"the page did not load: {told[-500:]}"
    pixels = np.round(imread(picture)[:, :width, :3] * 255).astype(np.int64)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    counts = np.unique(codes, return_counts=True)[1]
    return Seen(*map(int, inside), 1 - counts.max() / codes.size, len(counts), picture)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
