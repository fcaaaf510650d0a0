"""One POST, and what its failure means."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx

from features.errors import SettingsError
from features.toml import Entry
from monitoring.sinks.letters import TIMEOUT, NotDeliveredError
from serving.webhooks import retry_after

_ITS_OWN = {400, 413, 415, 422}  # answers that speak of this message: it would be refused again


def post(url: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
    """The answer, which is 2xx. Redirects are not followed. NotDeliveredError says why there is none."""
    try:
        with httpx.Client(trust_env=False, follow_redirects=False, timeout=TIMEOUT) as client:
            answer = client.post(url, content=body, headers={"user-agent": "propensity", **headers})
    except httpx.TimeoutException:
        raise NotDeliveredError(f"no answer within {TIMEOUT:g} s") from None
    except httpx.ConnectError:
        raise NotDeliveredError("it cannot be reached, or its certificate cannot be trusted") from None
    except (httpx.HTTPError, OSError):
        raise NotDeliveredError("the connection broke") from None
    if answer.is_success:
        return answer
    why = f"it answered {answer.status_code}"
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        why += ": look at its secret"
    wait = retry_after(answer.headers.get("retry-after", ""))
    raise NotDeliveredError(why, wait, final=answer.status_code in _ITS_OWN)


def address(entry: Entry, default: str | None = None) -> str:
    """The `url` of a sink. SettingsError says what is wrong with it, and repeats nothing of it."""
    url: str = entry.take("url", "text", default) if default else entry.take("url", "text")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        good = good and not parts.fragment and parts.username is None and parts.password is None
    except ValueError:
        good = False
    if not good:
        raise SettingsError(
            f"{entry.name('url')} is no address to send to: expected https://host/path, without a user and a "
            "password"
        )
    return url
