"""E-mail by SMTP: text and HTML, to the owner's addresses, or to the sink's `to` where the owner has none.

[[sinks]]
kind = "mail"
host = "smtp.example.com"
port = 587
from = "Propensity <propensity@example.com>"
to = ["ops@example.com"]
starttls = true                        # false only for a relay on this machine or network
user = "propensity"                    # if it wants to know who sends
PROPENSITY_SINK_<NAME>                 # that user's password

Every recipient is told apart, so that one who is refused keeps no one else waiting, and nobody is told twice.
"""

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

from features.settings import clock
from features.toml import Entry
from monitoring.messages import page, text
from monitoring.sinks.letters import TIMEOUT, Letter, NotDeliveredError

_TOO_LARGE = {552, 554}  # what a server says of a message that it would refuse again


@dataclass(frozen=True)
class Mail:
    """Which server, from whom, to whom."""

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    starttls: bool
    user: str
    state: bool = False
    per_minute: int | None = None

    @property
    def secret(self) -> str:
        """The user's password, if there is a user."""
        return "the password of its user" if self.user else ""

    def deliver(self, letter: Letter) -> None:
        """Send it to whoever has not got it yet. NotDeliveredError if somebody did not."""
        left = letter.rest.split(",") if letter.rest else list(letter.to.email or self.to)
        failed: list[str] = []
        codes: list[int] = []
        try:
            with smtplib.SMTP(self.host, self.port, timeout=TIMEOUT) as server:
                if self.starttls:
                    server.starttls(context=ssl.create_default_context())
                if self.user:
                    server.login(self.user, letter.secret)
                for recipient in list(left):
                    try:
                        server.send_message(
                            self._message(letter, recipient), to_addrs=[parseaddr(recipient)[1]]
                        )
                    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException) as error:
                        failed.append(recipient)
                        codes.append(_code(error))
                    left.remove(recipient)
        except smtplib.SMTPAuthenticationError:
            raise _again("the server refused the user or the password", [*failed, *left], letter) from None
        except smtplib.SMTPNotSupportedError:
            raise _again("the server offers no STARTTLS, or no login", [*failed, *left], letter) from None
        except ssl.SSLError:
            raise _again("its certificate cannot be trusted", [*failed, *left], letter) from None
        except (smtplib.SMTPException, OSError) as error:
            slow = isinstance(error, TimeoutError)
            said = f"no answer within {TIMEOUT:g} s" if slow else "the server cannot be reached, or hung up"
            if left or failed:  # else it hung up after all had it
                raise _again(said, [*failed, *left], letter) from None
        if failed:
            whom = f" for {len(failed)} of its recipients" if len(failed) > 1 or letter.rest else ""
            why = f"the server answered {codes[-1]}{whom}"
            raise NotDeliveredError(why, final=set(codes) <= _TOO_LARGE, rest=",".join(failed))

    def _message(self, letter: Letter, recipient: str) -> EmailMessage:
        telling = letter.telling()
        domain = parseaddr(self.sender)[1].rpartition("@")[2] or "propensity"
        message = EmailMessage()
        message["Subject"] = " / ".join(getattr(telling.title, one) for one in letter.languages)[:200]
        message["From"], message["To"] = self.sender, recipient
        message["Date"] = format_datetime(clock())
        message["Message-ID"] = f"<{letter.id}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text(telling, letter.languages) + "\n")
        message.add_alternative(page(telling, letter.languages), subtype="html")
        return message


def declared(entry: Entry) -> Mail:
    """As shop.toml declares it."""
    found = Mail(
        host=entry.take("host", "text"),
        port=entry.take("port", "whole", 587),
        sender=entry.take("from", "text"),
        to=entry.take("to", "texts"),
        starttls=entry.take("starttls", "boolean", True),
        user=entry.take("user", "text", ""),
    )
    if not 1 <= found.port <= 65535:
        raise entry.error("port", "a port such as 587")
    for key, addresses in (("from", (found.sender,)), ("to", found.to)):
        for one in addresses:
            if "@" not in parseaddr(one)[1] or any(c in one for c in ",\r\n"):
                raise entry.error(key, "addresses such as ops@example.com, each a text of its own")
    if found.user and not found.starttls:
        raise entry.error("starttls", "true where there is a user: a password is sent over TLS only")
    return found


def _again(why: str, to: list[str], letter: Letter) -> NotDeliveredError:
    return NotDeliveredError(why, rest=",".join(to) if letter.rest or to else "")


def _code(error: smtplib.SMTPRecipientsRefused | smtplib.SMTPResponseException) -> int:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return next((code for code, _ in error.recipients.values()), 0)
    return error.smtp_code
