"""Every error that Propensity raises on purpose. Each names the offender, what was expected, and the remedy.

PropensityError                 exit code 1
├── UsageError                  exit code 2: the request itself cannot be met
│   └── SettingsError           an environment variable or shop.toml is wrong
├── DatabaseError               the team's PostgreSQL does not answer, or refuses
├── LogError                    the customer log is absent, incomplete or broken
│   ├── NoLog                   it is on another host
│   └── SourceError             a source's raw files are absent or not what they should be
├── FeatureError                a feature is declared wrongly or cannot be computed
│   ├── FeatureMismatch         a release needs a feature that a build lacks or defines differently
│   ├── NoBuild                 no features were built, or none for that moment
│   └── OnlineUnavailable       the store of the online rows does not answer
├── CustomerError               one customer cannot be answered
│   ├── UnknownCustomer
│   └── FeaturesExpired
├── ReleaseError                a release is absent
│   └── ReleaseCorrupt          its files were changed, or it re-scores its examples differently
├── DecisionError               no decision can be taken or replayed
│   ├── IdempotencyConflict     the same key with another body
│   ├── CustomerErased          the key's decision was erased with its customer
│   ├── UnknownDecision         the ledger has none with that id
│   ├── ReportConflict          what is reported of a decision cannot be of it
│   └── NotDue                  the customer is not due for the scenario that was named
├── MonitoringError             the state of the monitoring cannot be used
└── TrainingError               a model cannot be fitted, judged or registered
    └── NotEnoughData
"""


class PropensityError(Exception):
    """Base of all. `code` is stable and part of the API; `exit_code` is the command line's."""

    code = "error"
    exit_code = 1


class UsageError(PropensityError):
    """The request cannot be met as it was put."""

    code = "usage"
    exit_code = 2


class SettingsError(UsageError):
    """A setting is absent or has a value that cannot be used."""

    code = "settings"


class DatabaseError(PropensityError):
    """The team's PostgreSQL does not answer in time, or refuses us."""

    code = "database"


class LogError(PropensityError):
    """The customer log is absent, incomplete or broken."""

    code = "log"


class NoLog(LogError):
    """This host shares with others and has no log, so what must be in one is told elsewhere; `code` is the
    log's."""


class SourceError(LogError):
    """The raw files of a source are absent or not what they should be."""

    code = "source"


class FeatureError(PropensityError):
    """A feature is declared wrongly or cannot be computed."""

    code = "feature"


class FeatureMismatch(FeatureError):
    """A release needs a feature that a build lacks or defines differently."""

    code = "feature_mismatch"


class NoBuild(FeatureError):
    """No features were built, or none for the moment asked for."""

    code = "no_build"


class OnlineUnavailable(FeatureError):
    """The store of the online rows is away, too slow or damaged; `code` is the same for all three."""

    code = "online_unavailable"


class CustomerError(PropensityError):
    """One customer cannot be answered."""

    code = "customer"


class UnknownCustomer(CustomerError):
    """No such customer in the features that are published."""

    code = "unknown_customer"


class FeaturesExpired(CustomerError):
    """The published features are too old to answer from."""

    code = "features_expired"


class ReleaseError(PropensityError):
    """There is no such release."""

    code = "no_release"


class ReleaseCorrupt(ReleaseError):
    """A release's files were changed, or it re-scores its examples differently."""

    code = "release_corrupt"


class DecisionError(PropensityError):
    """No decision can be taken or replayed."""

    code = "decision"


class IdempotencyConflict(DecisionError):
    """The same idempotency key came with another body."""

    code = "idempotency_conflict"


class CustomerErased(DecisionError):
    """The decision of this idempotency key was erased with its customer."""

    code = "customer_erased"


class UnknownDecision(DecisionError):
    """The ledger has no decision with that id."""

    code = "unknown_decision"


class ReportConflict(DecisionError):
    """What is reported of a decision cannot be of it."""

    code = "report_conflict"


class NotDue(DecisionError):
    """The customer is not due for the scenario that was named."""

    code = "not_due"


class MonitoringError(PropensityError):
    """The state of the monitoring cannot be used."""

    code = "monitoring"


class TrainingError(PropensityError):
    """A model cannot be fitted, judged or registered."""

    code = "training"


class NotEnoughData(TrainingError):
    """The log is too short or too small for what was asked."""

    code = "not_enough_data"
