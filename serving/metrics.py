"""The service's own Prometheus metrics. Labels are bounded: route templates, never raw paths; no customer.

Values live in memory; with PROMETHEUS_MULTIPROC_DIR set (BentoML does, for several workers) they live in
that folder, and an answer sums over the workers.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
UNMATCHED = "unmatched"  # the route of every path that is not ours
NO_CLIENT = "-"
OTHER = "other"  # every method that is not one of METHODS
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# From the .1 ms of one customer to a list of 1,000 with reasons on a busy machine.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """Counters of one service process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "propensity_requests",
            "Requests answered",
            ("route", "method", "status", "client"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "propensity_request_seconds",
            "Time from a request's head to the end of its answer",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._customers = Counter(
            "propensity_customers", "Customers asked about, by outcome", ("outcome",), registry=self._registry
        )
        self._decisions = Counter(
            "propensity_decisions", "Decisions answered", ("action", "preview"), registry=self._registry
        )
        self._reports = Counter(
            "propensity_reports", "Deliveries and outcomes told", ("route", "outcome"),
            registry=self._registry,
        )  # fmt: skip
        self._events = Counter(
            "propensity_events", "Events told, by outcome", ("outcome",), registry=self._registry
        )
        self._age = Gauge(
            "propensity_features_age_seconds",
            "The service's now minus the moment of the published features",
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._lag = Gauge(
            "propensity_fresh_lag_seconds",
            "Age of the oldest event told that no score shows yet; 0 when none waits",
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._refused = Gauge(
            "propensity_release_refused",
            "1 if the version in force does not answer, or only from memory: on the disk it is damaged",
            ("model",),
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._undecided = Gauge(
            "propensity_decisions_refused",
            "1 if no decision can be taken, as /readyz says: the ledger cannot be used",
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._dead = Gauge(
            "propensity_pushes_dead",
            "Events that were given up for a hook after all tries, until they are sent again",
            ("client",),
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._children: dict[tuple[str, str, int, str], tuple[Counter, Histogram]] = {}
        self._outcomes: dict[str, Counter] = {}

    def request(self, route: str, method: str, status: int, client: str, seconds: float) -> None:
        """Count one answer. route: a template, or UNMATCHED; method: one of METHODS, or OTHER;
        client: a configured name, or NO_CLIENT."""
        key = (route, method, status, client)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = (
                self._requests.labels(*key),
                self._seconds.labels(route),
            )
        child[0].inc()
        child[1].observe(seconds)

    def customers(self, outcome: str, number: int) -> None:
        """Count customers asked about; outcome: `scored`, or the code of the error each got."""
        child = self._outcomes.get(outcome)
        if child is None:
            child = self._outcomes[outcome] = self._customers.labels(outcome)
        child.inc(number)

    def decision(self, action: str, preview: bool) -> None:
        """Count a decision; action: a name of the catalogue."""
        self._decisions.labels(action, str(preview).lower()).inc()

    def reports(self, route: str, outcome: str, number: int) -> None:
        """Count deliveries or outcomes told; outcome: accepted, duplicate, or the code of its error."""
        self._reports.labels(route, outcome).inc(number)

    def events(self, outcome: str, number: int) -> None:
        """Count events told; outcome: accepted, duplicate, or the code of the error each got."""
        self._events.labels(outcome).inc(number)

    def features_age(self, seconds: float) -> None:
        """Note how old the published features are."""
        self._age.set(seconds)

    def fresh_lag(self, seconds: float) -> None:
        """Note how long the oldest event waits that no score shows yet; NaN if it cannot be known."""
        self._lag.set(seconds)

    def release_refused(self, model: str, refused: bool) -> None:
        """Note whether a model's version in force is refused; model: a released name."""
        self._refused.labels(model).set(refused)

    def decisions_refused(self, refused: bool) -> None:
        """Note whether no decision can be taken."""
        self._undecided.set(refused)

    def pushes_dead(self, client: str, number: int) -> None:
        """Note how many events were given up for a hook; client: its name as declared."""
        self._dead.labels(client).set(number)

    def render(self) -> bytes:
        """The text exposition, summed over workers if there are several."""
        if values.ValueClass is values.MutexValue:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
