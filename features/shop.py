"""A shop is a folder: `shop.toml` and, if wanted, a `shop.py` with declarations of its own."""

import ast
import importlib.util
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.machinery import SourceFileLoader
from itertools import pairwise
from pathlib import Path
from traceback import extract_tb
from types import CodeType
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from features import policy
from features.definitions import FEATURES, Feature
from features.errors import FeatureError, PropensityError, SettingsError
from features.policy import Policy
from features.settings import Settings
from features.toml import NAME, Entry, nearest, zone_named

BUNDLED_SOURCES = ("complete_journey", "simulated")  # modules of features/sources
DISCOUNT = 0.1  # of money a year later, if a shop does not say: what a retailer's capital costs, about
CALENDAR = "calendar"  # the source that [calendar] declares
DECLARATIONS = {  # what a shop.py may hold, and the class that each of it is
    "FEATURES": "Feature",
    "TAGS": "Tag",
    "TARGETS": "Target",
    "ACTIONS": "Action",
    "SCENARIOS": "Scenario",
    "CONTEXT": "Live",
    "CHECKS": "Check",
    "SEGMENTS": "DeclaredSegment",
    "WATCHES": "Watch",
}
T = TypeVar("T")


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
    value_horizon_days: int  # an action's effect is counted over so many days
    grace_days: int  # and is final so many days later: until then an outcome may be told late, or revised
    lifetime_value: (
        float | None
    )  # beyond that horizon, a customer; what decisions count without a value model
    consent_default: Mapping[str, bool]  # channel -> may be used where no consent is on record
    policies: tuple[Policy, ...]
    mappings: Mapping[str, Any] = field(
        default_factory=dict
    )  # a source's name -> its [mapping.NAME], as it stands
    calendar: Mapping[str, Any] | None = None  # [calendar], as it stands
    discount: float = DISCOUNT  # a year, of what customers bring later
    targets: tuple[str, ...] = ()  # what is trained without being named; none: the default ones
    segments: tuple[str, ...] = ()  # attributes of customers that models are judged by apart
    protected: tuple[str, ...] = ()  # those of them whose groups must be treated alike
    hooks: tuple[Any, ...] = ()  # every [[hooks]], as it stands
    pushes: Mapping[str, Any] = field(default_factory=dict)  # [pushes], as it stands
    monitoring: Mapping[str, Any] = field(default_factory=dict)  # [monitoring], as it stands
    sinks: tuple[Any, ...] = ()  # every [[sinks]], as it stands

    @classmethod
    def load(cls, folder: Path) -> "Shop":
        """Read `folder/shop.toml`; SettingsError says what is wrong in it, and where."""
        path = folder / "shop.toml"
        try:
            raw = tomllib.loads(path.read_text("utf-8-sig"))
        except FileNotFoundError:
            raise SettingsError(f"{path} does not exist: `propensity init {folder}` writes one") from None
        except UnicodeDecodeError as error:
            raise SettingsError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from None
        except (tomllib.TOMLDecodeError, RecursionError) as error:  # the second: nested too deeply
            raise SettingsError(f"{path} is not valid TOML: {error}") from None
        top = Entry(f"{path}:", raw)
        value = top.entry("value")
        mappings = {name: top.entry("mapping", {}).take(name, "table") for name in raw.get("mapping", {})}
        calendar = top.take("calendar", "table", None)
        consent = top.entry("consent", {})
        policies = sorted((policy.read(one) for one in top.entries("policy", [])), key=lambda p: p.starts)
        for before, after in pairwise(policies):
            if before.starts == after.starts:
                raise SettingsError(
                    f"{path} has two [[policy]] from {after.version}: give one of them another day, or make "
                    "one of the two"
                )
        exponent = top.take("exponent", "whole")
        if not 0 <= exponent <= 4:
            raise top.error("exponent", "0 to 4 decimal places: 2 where a minor unit is a cent")
        shop = cls(
            folder=folder,
            name=top.take("name", "text"),
            zone=ZoneInfo(zone_named(top, top.take("zone", "text"))),
            currency=top.take("currency", "text"),
            exponent=exponent,
            sources=_sources(top, mappings, calendar is not None),
            margin_rate=value.share("margin_rate"),
            value_horizon_days=value.take("horizon_days", "whole", 28),
            grace_days=value.take("grace_days", "whole", 7),
            lifetime_value=_lifetime(value),
            discount=_discount(value),
            consent_default={channel: consent.take(channel, "boolean") for channel in consent.raw},
            policies=tuple(policies),
            mappings=mappings,
            calendar=calendar,
            targets=top.take("targets", "texts", ()),
            segments=top.take("segments", "list", ()),
            protected=top.take("protected", "list", ()),
            hooks=tuple(top.take("hooks", "tables", ())),
            pushes=top.take("pushes", "table", {}),
            monitoring=top.take("monitoring", "table", {}),
            sinks=tuple(top.take("sinks", "tables", ())),
        )
        value.close()
        top.close()
        return shop

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

    def policies_from(self, at: datetime) -> list[Policy]:
        """The policy in force at a moment, if one is, and those that follow it."""
        local = at.astimezone(self.zone).date()
        over = [p for p in self.policies if p.starts <= local][:-1]
        return [p for p in self.policies if p not in over]

    def place(self, name: str, kind: str = "") -> str:
        """Where its shop.py declares that name: the file, and the line if the name stands in it.

        kind: one of DECLARATIONS, if it is known; else whatever has that name. Declared twice, both lines.
        """
        return _line_of(self.folder / "shop.py", name, kind)

    def where(self, error: str, kind: str = "") -> str:
        """Where what an error names is declared: the first name of a declaration in it that shop.py holds."""
        path = str(self.folder / "shop.py")
        kinds = (kind,) if kind else DECLARATIONS
        names = {(str(getattr(one, "name", "")), of) for of in kinds for one in self.declared(of)}
        said = [
            (m.start(), *of) for of in names if of[0] and (m := re.search(rf"\b{re.escape(of[0])}\b", error))
        ]
        places = (self.place(name, of) for _, name, of in sorted(said))
        return next((place for place in places if place != path), path)

    def raised(self, error: BaseException) -> str | None:
        """The file and the last line of its shop.py that an error passed; None if it passed none."""
        path = self.folder / "shop.py"
        place = _raised_at(error, path)
        return None if place == str(path) else place

    def declared(self, kind: str) -> tuple[Any, ...]:
        """The shop's own FEATURES, TAGS, TARGETS ..., from its shop.py; empty if it has none.

        Its features are also those that its policies count contacts by.
        """
        assert kind in DECLARATIONS
        path = self.folder / "shop.py"
        given = getattr(_module(path), kind, ())
        if not isinstance(given, list | tuple):
            one = f"{DECLARATIONS[kind]}(...)"
            raise SettingsError(f"{path}: {kind} is no list: write {kind} = [{one}, {one}]")
        own = tuple(given)
        if kind != "FEATURES":
            return own
        for one in own:
            if not isinstance(one, Feature):
                raise FeatureError(f"{path}: FEATURES holds {one!r}, no Feature: declare it as Feature(...)")
        known = {feature.name for feature in (*FEATURES, *own)}
        return (*own, *policy.features_of(self.policies, known))

    @property
    def channels(self) -> tuple[str, ...]:
        """Those that its own ACTIONS use, or whose consents shop.toml speaks of, each once."""
        used = (channel for action in self.declared("ACTIONS") for channel in getattr(action, "channels", ()))
        return tuple(dict.fromkeys((*used, *self.consent_default)))

    def read(self, kind: str, catalogue: Callable[..., T], *others: Any) -> T:
        """Its own declarations of that kind as their catalogue has them, given these others beside them.

        What the catalogue raises names the file and the line.
        """
        own = self.declared(kind)
        try:
            return catalogue(own, *others)
        except PropensityError as error:
            raise type(error)(f"{self.where(str(error), kind)}: {error}") from error


def _discount(value: Entry) -> float:
    given = float(value.take("discount", "number", DISCOUNT))
    if not 0 <= given < 1:
        raise value.error("discount", "a share from 0 to below 1: what money loses in worth a year")
    return given


def _lifetime(value: Entry) -> float | None:
    declared = value.take("lifetime", "number", None)
    if declared is not None and declared < 0:
        raise value.error("lifetime", "money, 0 or more: what a customer is worth beyond the horizon")
    return None if declared is None else float(declared)


def _line_of(path: Path, name: str, kind: str) -> str:
    """`path, line N` where a declaration gets that name, else where it stands in quotes, else the path."""
    text = path.read_text("utf-8-sig") if path.exists() else ""
    if numbers := sorted(_given(text, name, kind)):
        return f"{path}, line{'s' * (len(numbers) > 1)} {' and '.join(map(str, numbers))}"
    for number, line in enumerate(text.splitlines(), start=1):
        if re.search(rf"""(["']){re.escape(name)}\1""", line):
            return f"{path}, line {number}"
    return str(path)


def _given(text: str, name: str, kind: str) -> set[int]:
    """The lines where `name=` of a call, or its first argument, is that; not where another kind is made."""
    own = {DECLARATIONS[kind]} if kind else {*DECLARATIONS.values()}
    others = {*DECLARATIONS.values()} - own
    found = set()
    for call in ast.walk(ast.parse(text)):
        if not isinstance(call, ast.Call):
            continue
        made = getattr(call.func, "id", getattr(call.func, "attr", ""))
        named = [] if made in others else [word.value for word in call.keywords if word.arg == "name"]
        named += call.args[:1] if made in own else []
        found |= {of.lineno for of in named if isinstance(of, ast.Constant) and of.value == name}
    return found


def _sources(top: Entry, mappings: Mapping[str, Any], calendar: bool) -> tuple[str, ...]:
    """As listed, else every mapping; the calendar follows by itself."""
    for name in mappings:
        if name in (*BUNDLED_SOURCES, CALENDAR) or not NAME.fullmatch(name):
            raise SettingsError(
                f"{top.where} mapping.{name}: expected a name of small letters, digits and _ that no bundled "
                f"source has ({', '.join((*BUNDLED_SOURCES, CALENDAR))})"
            )
    names: tuple[str, ...] = top.take("sources", "texts", tuple(mappings))
    known = (*mappings, *BUNDLED_SOURCES, *((CALENDAR,) if calendar else ()))
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            raise SettingsError(f"{top.where} sources names {name!r}{hint} There are: {', '.join(known)}")
    return (*dict.fromkeys(names), *((CALENDAR,) if calendar and CALENDAR not in names else ()))


class _Uncached(SourceFileLoader):
    """Python's own takes the bytecode of before for a file of the same size and second."""

    def get_code(self, fullname: str) -> CodeType:
        """Of the file as it is; nothing is left beside it."""
        return self.source_to_code(self.get_data(self.path), self.path)


@cache
def _module(path: Path) -> object:
    """Run a shop's own declarations. It is the operator's code, trusted as the rest of the product is."""
    if not path.exists():
        return object()
    name = f"shop_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Uncached(name, str(path.absolute())))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except PropensityError as error:
        raise type(error)(f"{_raised_at(error, path)}: {error}") from error
    except Exception as error:  # the operator's own code: whatever it raises is theirs to mend
        raise SettingsError(
            f"{_raised_at(error, path)} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return module


def _raised_at(error: BaseException, path: Path) -> str:
    """`path, line N` of the file's last line that an error passed. A frame has a file's whole path."""
    whole = str(path.absolute())
    lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == whole]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def shop_of(settings: Settings) -> Shop:
    """The shop that the settings name."""
    return Shop.load(settings.shop)
