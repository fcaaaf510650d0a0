"""The only door to BentoML: its service, with our dispatch in front, and how to run it.

`propensity serve` runs one process; `bentoml serve serving.service:svc` runs the same application under
BentoML's supervisor. BentoML brings the life cycle and workers. Its access log, its metrics, its document and
its index page are off: they show raw paths, which hold customers' ids, and load scripts from elsewhere.
"""

import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import bentoml
import uvicorn
from _bentoml_sdk import Service
from bentoml._internal.utils.analytics import usage_stats
from uvicorn.config import HTTP_PROTOCOLS

from features.errors import PropensityError, UsageError
from features.settings import Settings
from serving import stock
from serving.dispatch import Dispatch, keys, service
from serving.scores import Scorer

# `bentoml serve` asks and remembers before it loads us, and we are who says no (features/__init__.py).
usage_stats.do_not_track.cache_clear()

GRACE_SECONDS = 10  # for requests in flight when asked to stop
# BentoML never cancels its timer of a request that it has answered: a long one would keep it in memory.
BENTOML_SECONDS = 2
LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Fronted(Service):  # type: ignore[misc]  # BentoML ships no types that mypy may follow
    """BentoML's service, whose application stands behind ours."""

    settings: Settings | None = None  # None: from the environment, as in BentoML's own worker

    def to_asgi(self, is_main: bool = True) -> Dispatch:
        """Our dispatch in front of BentoML's application."""
        log_to_stderr()
        HTTP_PROTOCOLS["auto"] = "serving.connection:Connection"  # also where BentoML configures uvicorn
        return Dispatch(self.settings or Settings.from_env(), super().to_asgi(is_main=is_main))


@bentoml.service(
    name="propensity",
    service_class=Fronted,
    workers=1,
    http={"host": "127.0.0.1"},
    traffic={"timeout": BENTOML_SECONDS},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Propensity:
    """Scores and decisions for customers; see `GET /`."""

    def __init__(self) -> None:
        self._scorer: Scorer | None = None  # opened by the first request, as most services have none for it

    @bentoml.api(route="/v1/scores")  # type: ignore[untyped-decorator]
    async def scores(
        self,
        ctx: bentoml.Context,
        customers: list[str | dict[str, str]],
        targets: list[str] | None = None,
        reasons: int = 3,
        exact: bool = False,
    ) -> dict[str, Any]:
        """As `/v1/scores` of our own, which asks this one if PROPENSITY_SCORES is `bentoml`."""
        self._scorer = self._scorer or Scorer(svc.settings or Settings.from_env())
        sent = {"customers": customers, "targets": targets, "reasons": reasons, "exact": exact}
        return stock.answer(self._scorer, sent, ctx.request.headers["x-request-id"])

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def refuse_without_keys() -> None:
        """Stop `bentoml serve` before it starts a worker that could let nobody in."""
        try:
            keys(Settings.from_env())
        except PropensityError as error:
            raise bentoml.exceptions.BentoMLException(str(error)) from None  # BentoML prints it as a line


svc: Fronted = Propensity  # type: ignore[assignment]  # the decorator made it one


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._listening()


def serve(settings: Settings, listening: Callable[[], None] = lambda: None) -> None:
    """Answer on settings.host and port until SIGTERM or SIGINT, then finish what is in flight and return.

    listening: called once a caller can connect.
    SettingsError without a key, UsageError if the port is taken. Call it from the main thread.
    """
    keys(settings)
    listener = _bind(settings.host, settings.port)
    # uvicorn stops gracefully on the first signal, then raises it again for the handler it found: this one.
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        svc.settings = settings
        config = uvicorn.Config(
            svc.to_asgi(),
            log_config=None,
            access_log=False,
            proxy_headers=False,  # who a caller is, its key says
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        _Server(config, listening).run(sockets=[listener])
    except _Stopped:
        service.info("stopped")
    finally:
        listener.close()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Stopped(BaseException):
    """Asked to stop; no error."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped


def _bind(host: str, port: int) -> socket.socket:
    """The service's socket, bound before the slow imports' work is wasted; it listens once all is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror}. Stop what does, or set PROPENSITY_PORT"
        ) from None
    return listener


def log_to_stderr() -> None:
    """All that is logged to stderr in one format; uvicorn's own access log, with raw paths, off."""
    logging.basicConfig(format=LINE, force=True)  # what BentoML imports has put a format of its own there
    logging.getLogger("uvicorn.error").handlers.clear()  # BentoML's, which would say it a second time
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("propensity").setLevel(logging.INFO)
