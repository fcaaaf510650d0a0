"""A shop is a folder: `shop.toml` and, if wanted, a `shop.py` with declarations of its own."""

import importlib.util
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.errors import PropensityError, SettingsError
from features.settings import Settings

DECLARATIONS = ("FEATURES", "TARGETS", "ACTIONS", "CHECKS")


@dataclass(frozen=True)
class Policy:
    """Limits on marketing contacts, in force from a date (shop.toml `[[policy]]`)."""

    starts: date
    max_contacts: int  # per customer, all channels, in the last `per_days` days
    per_days: int
    holdout: float  # share of customers, 0..1
    explore: float  # share of decisions, 0..1
    salt: str

    @property
    def version(self) -> str:
        """Names this policy in every decision that it governed."""
        return self.starts.isoformat()


@dataclass(frozen=True)
class Shop:
    """What holds for one shop. `exponent`: decimal places of its currency's minor unit."""

    folder: Path
    name: str
    zone: ZoneInfo
    currency: str
    exponent: int
    sources: tuple[str, ...]
    margin_rate: float  # gross margin as a share of sales
    value_horizon_days: int
    consent_default: Mapping[str, bool]  # channel -> may be used where no consent is on record
    policies: tuple[Policy, ...]

    @classmethod
    def load(cls, folder: Path) -> "Shop":
        """Read `folder/shop.toml`; SettingsError says what is wrong in it."""
        path = folder / "shop.toml"
        try:
            raw = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise SettingsError(f"{path} does not exist: `propensity init {folder}` writes one") from None
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path} is not valid TOML: {error}") from None
        try:
            value = raw.get("value", {})
            policies = tuple(
                sorted(
                    (
                        Policy(
                            starts=p["from"],
                            max_contacts=int(p["max_contacts"]),
                            per_days=int(p["per_days"]),
                            holdout=_share(p, "holdout"),
                            explore=_share(p, "explore"),
                            salt=str(p["salt"]),
                        )
                        for p in raw.get("policy", [])
                    ),
                    key=lambda p: p.starts,
                )
            )
            return cls(
                folder=folder,
                name=str(raw["name"]),
                zone=ZoneInfo(raw["zone"]),
                currency=str(raw["currency"]),
                exponent=int(raw["exponent"]),
                sources=tuple(raw["sources"]),
                margin_rate=_share(value, "margin_rate"),
                value_horizon_days=int(value.get("horizon_days", 28)),
                consent_default={str(k): bool(v) for k, v in raw.get("consent", {}).items()},
                policies=policies,
            )
        except ZoneInfoNotFoundError:  # a KeyError too
            raise SettingsError(f"{path}: zone {raw['zone']!r} is not an IANA time zone") from None
        except KeyError as error:
            raise SettingsError(f"{path} lacks {error}; the bundled shop.toml shows every entry") from None
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{path}: a wrong type ({error}); the bundled shop.toml shows each") from None

    @property
    def of_log(self) -> dict[str, object]:
        """What the customer log depends on: days are this zone's, money is in this currency's minor units."""
        return {"zone": self.zone.key, "currency": self.currency, "exponent": self.exponent}

    def policy(self, at: datetime) -> Policy:
        """The policy in force at a moment; without one nothing may be sent, so that is an error."""
        local = at.astimezone(self.zone).date()
        in_force = [p for p in self.policies if p.starts <= local]
        if not in_force:
            raise SettingsError(f"{self.folder / 'shop.toml'} has no [[policy]] in force on {local}")
        return in_force[-1]

    def declared(self, kind: str) -> tuple[Any, ...]:
        """The shop's own FEATURES, TARGETS, ACTIONS or CHECKS, from its shop.py; empty if it has none."""
        assert kind in DECLARATIONS
        return tuple(getattr(_module(self.folder / "shop.py"), kind, ()))


def _share(table: Mapping[str, Any], key: str) -> float:
    share = float(table[key])
    if not 0 <= share <= 1:
        raise SettingsError(f"shop.toml: {key} is {share}: expected a share between 0 and 1")
    return share


@cache
def _module(path: Path) -> object:
    """Run a shop's own declarations. It is the operator's code, trusted as the rest of the product is."""
    if not path.exists():
        return object()
    spec = importlib.util.spec_from_file_location(f"shop_{abs(hash(path))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except PropensityError:
        raise
    except Exception as error:  # the operator's own code: whatever it raises is theirs to mend
        raise SettingsError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def shop_of(settings: Settings) -> Shop:
    """The shop that the settings name."""
    return Shop.load(settings.shop)
