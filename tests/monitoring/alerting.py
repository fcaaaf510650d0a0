"""A home whose monitoring finds what a test says; and fake sinks that hold to the real formats."""

import base64
import json
import shutil
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from click.testing import CliRunner, Result

from features.moments import iso
from features.settings import BUNDLED_SHOPS, Settings, clock
from features.words import Words
from monitoring import alerts
from monitoring.alert_store import AlertStore
from monitoring.alerts import Taken
from monitoring.findings import Contributor, Finding, Owner, Status
from propensity import main
from serving import signing

MONDAY = datetime(2018, 1, 1, 6, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"alerts " * 6).decode()
KEY = "693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa"
WEBHOOK = """
[[sinks]]
name = "hook"
kind = "webhook"
url = "http://127.0.0.1:{port}/alerts"
"""


def found(
    subject: str = "churn_28d",
    check: str = "features",
    value: float = 2.0,
    limit: float = 1.0,
    status: Status | None = None,
    topic: str = "",
    owner: Owner = "models",
    contributors: Sequence[tuple[str, float]] = (),
    words: Words | None = None,
    **others: Any,
) -> Finding:
    """A finding that pages from twice its limit on."""
    by_value: Status = "ok" if not value >= limit else "warning" if value < 2 * limit else "page"
    return Finding(
        subject=subject, check=check, status=status or by_value, value=value, limit=limit,
        words=words or Words(f"{check} is at {value:g}", f"{check}为{value:g}"), owner=owner,
        topic=topic or f"{subject} {check}",
        contributors=tuple(Contributor(name, Words("", ""), excess) for name, excess in contributors),
        **others,
    )  # fmt: skip


class Days:
    """A home, and its runs. now: of the next one."""

    def __init__(self, folder: Path, shop_toml: str = "", secrets: dict[str, str] | None = None) -> None:
        shop = folder / "shop"
        shop.mkdir(parents=True)
        shutil.copy(BUNDLED_SHOPS / "complete_journey" / "shop.toml", shop)
        with (shop / "shop.toml").open("a", encoding="utf-8") as file:
            file.write(shop_toml)
        self.settings = replace(
            Settings(),
            home=folder / "home",
            shop=shop,
            as_of=MONDAY,
            sink_secrets=secrets or {"hook": SECRET},
        )
        self.now = MONDAY

    def day(self, *findings: Finding, days: float = 1, report: str = "") -> Taken:
        """Run, and let days pass."""
        taken = alerts.take(self.settings, findings, self.now, report)
        self.now += timedelta(days=days)
        self.settings = replace(self.settings, as_of=self.now)
        return taken

    def run(self, *arguments: str, **env: str) -> Result:
        """A command of this home."""
        home = {"PROPENSITY_HOME": str(self.settings.home), "PROPENSITY_SHOP": str(self.settings.shop)}
        secrets = {f"PROPENSITY_SINK_{name.upper()}": s for name, s in self.settings.sink_secrets.items()}
        moment = {"PROPENSITY_AS_OF": iso(self.now)}
        return CliRunner().invoke(main, ["monitor", *arguments], env=home | secrets | moment | env)

    def store(self) -> "closing[AlertStore]":
        return closing(AlertStore(self.settings))

    def hurry(self) -> None:
        """Whatever waits for its next try may be tried now."""
        with self.store() as store, store.writing():
            store.db.execute("UPDATE deliveries SET next = 0")


def said(taken: Taken) -> list[tuple[str, str, list[str]]]:
    """(kind, topic, alerts) of every message of a run."""
    bodies = [json.loads(one.body) for one in taken.messages]
    return [(b["data"]["kind"], b["subject"], [one["alert"] for one in b["data"]["alerts"]]) for b in bodies]


@dataclass
class Http:
    """What came to a server: (path with query, headers, body). answers: the next ones, status and body."""

    port: int = 0
    came: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        if self.answers:
            return self.answers.pop(0)
        self.came.append((path, headers, body))
        return 200, {}

    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.came]


class SignedHttp(Http):
    """A receiver of Standard Webhooks: what is not signed with SECRET, or was seen, is refused."""

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        now = clock().timestamp()
        if not signing.verified([SECRET], headers, body, now):
            return 401, {}
        if headers["webhook-id"] in {seen["webhook-id"] for _, seen, _ in self.came}:
            return 409, {}
        return super().answer(path, headers, body)


class FakeWeCom(Http):
    """A group robot as WeCom's document has it: its key, markdown of at most 4096 bytes, 20 a minute."""

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        if self.answers:
            return self.answers.pop(0)
        if parse_qs(urlsplit(path).query).get("key") != [KEY]:
            return 200, {"errcode": 93000, "errmsg": "invalid webhook url"}
        sent = json.loads(body)
        if sent.get("msgtype") != "markdown" or set(sent) != {"msgtype", "markdown"}:
            return 200, {"errcode": 40008, "errmsg": "invalid message type"}
        if not 0 < len(sent["markdown"]["content"].encode()) <= 4096:
            return 200, {"errcode": 40058, "errmsg": "markdown.content exceed max length 4096"}
        if len(self.came) >= 20:
            return 200, {"errcode": 45009, "errmsg": "api freq out of limit"}
        self.came.append((path, headers, body))
        return 200, {"errcode": 0, "errmsg": "ok"}

    def contents(self) -> list[str]:
        return [one["markdown"]["content"] for one in self.bodies()]


@contextmanager
def serving(fake: Http, port: int = 0) -> Iterator[Http]:
    """The fake on a port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = fake.answer(self.path, headers, body)
            encoded = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in (fake.headers | {"content-length": f"{len(encoded)}"}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    fake.port = server.server_port
    with _threaded(server):
        yield fake


@dataclass
class FakeMail:
    """A mail server (RFC 5321). refused: recipient -> the answer to its RCPT. user: (name, password) that it
    wants. tls: a PEM file with its key; then it offers STARTTLS. largest: bytes of a message."""

    refused: dict[str, str] = field(default_factory=dict)
    user: tuple[str, str] | None = None
    tls: Path | None = None
    largest: int = 1_000_000
    came: list[tuple[str, EmailMessage]] = field(default_factory=list)
    port: int = 0
    secured: list[bool] = field(default_factory=list)

    def to(self) -> list[str]:
        return [recipient for recipient, _ in self.came]


@contextmanager
def mailing(fake: FakeMail) -> Iterator[FakeMail]:
    """The fake on a port of loopback."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            conversation = _Conversation(self, fake)
            try:
                conversation.run()
            except OSError:
                pass  # the sender hung up
            finally:
                conversation.close()

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.port = server.server_address[1]
    with _threaded(server):
        yield fake


class _Conversation:
    def __init__(self, handler: socketserver.StreamRequestHandler, fake: FakeMail) -> None:
        self._in, self._out, self._socket, self._fake = handler.rfile, handler.wfile, handler.connection, fake
        self._secure, self._known = False, fake.user is None
        self._recipient = ""

    def run(self) -> None:
        self._say("220 fake ESMTP")
        while line := self._in.readline().decode().strip():
            verb, _, rest = line.partition(" ")
            if verb.upper() == "QUIT":
                self._say("221 bye")
                return
            getattr(self, verb.upper(), self._unknown)(rest)

    def close(self) -> None:
        if self._secure:  # what was wrapped is not the handler's any more
            self._in.close()
            self._out.close()
            self._socket.close()

    def _say(self, *lines: str) -> None:
        *before, last = lines
        for line in before:
            self._out.write(f"{line[:3]}-{line[4:]}\r\n".encode())
        self._out.write(f"{last}\r\n".encode())
        self._out.flush()

    def _unknown(self, _: str) -> None:
        self._say("502 unknown")

    def EHLO(self, _: str) -> None:
        offers = ["STARTTLS"] if self._fake.tls and not self._secure else []
        offers += ["AUTH PLAIN"] if self._fake.user else []
        self._say("250 fake", *(f"250 {one}" for one in offers))

    def STARTTLS(self, _: str) -> None:
        import ssl

        assert self._fake.tls is not None
        self._say("220 go on")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._fake.tls)
        self._socket = context.wrap_socket(self._socket, server_side=True)
        self._in, self._out, self._secure = self._socket.makefile("rb"), self._socket.makefile("wb"), True

    def AUTH(self, rest: str) -> None:
        _, name, password = base64.b64decode(rest.split()[1]).decode().split("\0")
        self._known = (name, password) == self._fake.user
        self._say("235 welcome" if self._known else "535 wrong")

    def MAIL(self, _: str) -> None:
        self._say("250 ok" if self._known else "530 who are you")

    def RCPT(self, rest: str) -> None:
        self._recipient = rest.partition("<")[2].partition(">")[0]
        self._say(self._fake.refused.get(self._recipient, "250 ok"))

    def RSET(self, _: str) -> None:
        self._say("250 ok")

    def DATA(self, _: str) -> None:
        self._say("354 go on")
        lines = []
        while (line := self._in.readline()) != b".\r\n":
            assert len(line) <= 1000, "RFC 5321: a line has at most 1000 octets"
            lines.append(line[1:] if line.startswith(b".") else line)
        raw = b"".join(lines)
        if len(raw) > self._fake.largest:
            self._say("552 too large")
            return
        message = message_from_bytes(raw, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self._fake.came.append((self._recipient, message))
        self._fake.secured.append(self._secure)
        self._say("250 taken")


@contextmanager
def _threaded(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


PARTIES = """
[monitoring]
reports = "https://ops.example.com/reports/"

[monitoring.owners.data]
name = "Data team"
email = ["data@example.com"]

[monitoring.escalation]
name = "Head of CRM"
after_hours = 36
"""


def came(hook: SignedHttp) -> list[tuple[str, str]]:
    return [(body["data"]["kind"], body["subject"]) for body in hook.bodies()]


def metrics(days: Days) -> str:
    return (days.settings.home / "monitoring" / "metrics.prom").read_text("utf-8")
