"""The proxy of SECURITY.md lets through what the service takes: else a night's load fails behind it alone."""

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from running import CUSTOMERS, KEY, LONG, free_port, release, running, settings_of, small_build, until
from tiny import TINY_MOMENT

from features import online
from serving import api, arrow
from serving.client import Client

ROOT = Path(__file__).parents[2]


def example() -> str:
    """The server block of the page."""
    text = (ROOT / "serving" / "SECURITY.md").read_text("utf-8")
    (block,) = re.findall(r"```\n(server \{.*?)```", text, re.DOTALL)
    return block


def test_the_limits_of_the_proxy_are_those_of_the_service() -> None:
    outer, inner = (int(mega) << 20 for mega in re.findall(r"client_max_body_size (\d+)m;", example()))
    assert (outer, inner) == (api.MAX_BODY, arrow.MAX_BODY)
    (large,) = re.findall(r"location ~ (\S+) \{", example())
    assert {path for path in api.ROUTES if re.search(large, path)} == {"/v1/scores.arrow", "/v1/jobs"}


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_many_are_scored_through_the_proxy(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    release(settings, tmp_path, build, "churn_28d")
    port = free_port()
    with running(settings, watched=True) as service:
        server = re.sub(r"(ssl_protocols|add_header Strict).*?;\n", "", example())
        server = server.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
        server = server.replace("127.0.0.1:3000", f"127.0.0.1:{service.client.base_url.port}")
        temporary = "".join(
            f"{of}_temp_path {tmp_path / of};\n"
            for of in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        conf = tmp_path / "nginx.conf"
        conf.write_text(
            f"daemon off; user root; pid {tmp_path / 'pid'}; error_log {tmp_path / 'error'};\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{server}}}\n"
        )
        proxy = subprocess.Popen(["nginx", "-c", str(conf)], stdin=subprocess.DEVNULL)
        try:
            until(lambda: listens(port))
            ids = [f"{id}-{'x' * 20}" for id in CUSTOMERS] * 80 + CUSTOMERS[:3]
            with Client(f"http://127.0.0.1:{port}", KEY) as client:
                table: pa.Table = client.scores_arrow(ids)
                assert client.ask_job(ids).customers == len(ids)
            assert len(ids) > 90_000
            assert table["churn_28d_status"].to_pylist()[-4:] == ["unknown_customer", *["scored"] * 3]
            assert httpx.get(f"http://127.0.0.1:{port}/metrics").status_code == 403
        finally:
            proxy.terminate()
            proxy.wait(LONG)


def listens(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/livez")
        return True
    except httpx.TransportError:
        return False
