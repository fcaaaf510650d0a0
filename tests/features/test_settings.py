"""What the environment and shop.toml may hold, and that a wrong entry is named and a secret never shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from logs import empty_shop

from features.errors import SettingsError
from features.moments import parse_moment
from features.settings import Settings
from features.shop import Shop


def test_defaults_are_loopback_and_nobody_has_a_key() -> None:
    settings = Settings.from_env({})
    assert (settings.host, settings.port, dict(settings.api_keys)) == ("127.0.0.1", 3000, {})
    assert settings.home == Path.cwd() / ".propensity"


@pytest.mark.parametrize(
    "keys",
    [
        "a-secret-without-a-client",
        "me:short",
        "me:a-key-of-enough-length,a-secret-without-a-client",
        "me:a-key-of-enough-length,me:another-key-long-enough",
    ],
)
def test_a_wrong_entry_of_the_keys_is_named_by_its_place_and_never_shown(keys: str) -> None:
    with pytest.raises(SettingsError, match="PROPENSITY_API_KEYS .* entry [12] does not") as error:
        Settings.from_env({"PROPENSITY_API_KEYS": keys})
    for part in keys.replace(",", ":").split(":"):
        assert part == "me" or part not in str(error.value)


def test_keys_do_not_show_when_settings_are_printed() -> None:
    settings = Settings.from_env({"PROPENSITY_API_KEYS": "me:a-key-of-enough-length"})
    assert "a-key-of-enough-length" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROPENSITY_PORT", "many"),
        ("PROPENSITY_STALE_HOURS", "-1"),
        ("PROPENSITY_EXPIRE_DAYS", "nan"),
        ("PROPENSITY_AS_OF", "yesterday"),
        ("PROPENSITY_ONLINE", "postgres://someone:a-password@here/0"),
        ("PROPENSITY_ONLINE", "redis:///a-password"),
        ("PROPENSITY_ONLINE", "redis://:a-password@here:port/0"),
        ("PROPENSITY_ONLINE", "redis://:a-password@here/0?foo=bar"),
        ("PROPENSITY_ONLINE", "redis://:a-password@here/0?socket_timeout=60"),
        ("PROPENSITY_ONLINE", "redis://:a-password@here/0#1"),
        ("PROPENSITY_ONLINE", "redis://:a-password@here/0?"),
        ("PROPENSITY_ONLINE", "redis://:a-password@here/99999999999"),
        ("PROPENSITY_ONLINE_TIMEOUT_MS", "0"),
        ("PROPENSITY_ONLINE_TIMEOUT_MS", "0.0001"),
        ("PROPENSITY_PORT", "0.5"),
        ("PROPENSITY_PORT", "3000.7"),
        ("PROPENSITY_PORT", "65536"),
        ("PROPENSITY_PORT", "0"),
        ("PROPENSITY_MEMORY", "0GB"),
        ("PROPENSITY_MEMORY", "279MB"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as error:
        Settings.from_env({name: value})
    assert "a-password" not in str(error.value)


def test_the_telemetry_of_dependencies_is_off_in_every_process_that_loads_us() -> None:
    """A retailer's machines must not call home on our account."""
    names = ("BENTOML_DO_NOT_TRACK", "DO_NOT_TRACK", "FEAST_USAGE", "MLFLOW_DISABLE_TELEMETRY")
    clean = {k: v for k, v in os.environ.items() if k not in names}
    for package in ("features", "serving", "training", "monitoring"):
        code = f"import os, {package}; print([os.environ.get(n) for n in {names}])"
        done = subprocess.run(
            [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "['True', '1', 'False', 'true']", package


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('zone = "America/New_York"', 'zone = "Mars/Base"', "Mars/Base.: expected an IANA time zone"),
        (
            "max_contacts = 2",
            'max_contacts = "two"',
            r"policy\[1\]\.max_contacts is .two.: expected a whole number",
        ),
        ("holdout = 0.05", "holdout = 1.5", "between 0 and 1"),
        ('name = "Complete Journey"', "", "lacks name: expected a text"),
        ('currency = "USD"', "currency = USD", "not valid TOML"),
    ],
)
def test_what_is_wrong_in_shop_toml_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    folder = empty_shop(tmp_path)
    text = (folder / "shop.toml").read_text("utf-8")
    assert old in text
    (folder / "shop.toml").write_text(text.replace(old, new), "utf-8")
    with pytest.raises(SettingsError, match=said):
        Shop.load(folder)


def test_the_policy_in_force_is_the_latest_that_has_begun() -> None:
    shop = Shop.load(Settings().shop)
    assert shop.policy(parse_moment("2017-12-31")).max_contacts == 2
    with pytest.raises(SettingsError, match="no .*policy.* in force on 2016-12-31"):
        shop.policy(parse_moment("2017-01-01"))  # still the old year in New York
