"""`propensity check`: declarations, mappings and the values of features, held to their contracts."""

from __future__ import annotations

from contextlib import suppress
from textwrap import fill, indent

from features.definitions import FEATURES, Feature, looked_through
from features.errors import FeatureError, PropensityError
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from features.shop import Shop, shop_of


def check_everything(settings: Settings, customers: int) -> tuple[list[str], str]:
    """Problems, and what was checked."""
    from features import contracts, tags
    from features.compute import engine
    from features.describe.absent import absent, in_short
    from features.sources.checked import mapping_problems
    from features.unread import held, unread
    from monitoring import checks, routes
    from propensity.pushed import declared as pushed
    from propensity.segmented import names_of
    from serving import actions, conditions, scenarios, watches
    from serving import segments as declared_segments
    from serving.bundles import bundle_problems, remarks
    from serving.decision_context import policy_problems
    from training import segments, targets

    shop = shop_of(settings)
    own = shop.declared("FEATURES")
    sound, wrong_features = looked_through(own)
    features: dict[str, Feature] = {}  # with broken ones: they are declared, too
    for feature in (*FEATURES, *own):
        features.setdefault(feature.name, feature)

    def own_tags() -> dict[str, tags.Tag]:
        declared, wrong = shop.read("TAGS", tags.looked_through, features)
        problems.extend(f"{shop.place(name, 'TAGS')}: {what}" for name, what in wrong)
        return declared

    def own_actions() -> dict[str, actions.Action]:
        return shop.read("ACTIONS", actions.catalogue, features, own_context())

    def own_context() -> dict[str, conditions.Live]:
        return shop.read("CONTEXT", conditions.catalogue)

    def own_scenarios() -> dict[str, scenarios.Scenario]:
        return shop.read("SCENARIOS", scenarios.catalogue, own_actions(), features, own_context())

    def own_targets() -> dict[str, targets.Target]:
        declared = targets.of_shop(shop)
        problems.extend(declared.wrong.values())
        targets.chosen(declared, (), shop.targets)
        return declared

    def own_segments() -> dict[str, declared_segments.DeclaredSegment]:
        return shop.read("SEGMENTS", declared_segments.catalogue, names_of(shop))

    place = shop.folder / "shop.py"
    problems = [f"{shop.place(name, 'FEATURES')}: {what}" for name, what in wrong_features]
    problems += contracts.shop_problems(shop, features)
    numbers = [f"{len(features)} features"]
    for kind, declared in (
        ("tags", own_tags),
        ("targets", own_targets),
        ("fields of the live context", own_context),
        ("actions", own_actions),
        ("scenarios", own_scenarios),
        ("segments", own_segments),
        ("watches", lambda: shop.read("WATCHES", watches.catalogue, names_of(shop))),
        ("hooks", lambda: pushed(shop).pushes.hooks),
        ("sinks", lambda: routes.declared(shop).sinks),
        ("checks", lambda: shop.read("CHECKS", checks.by_name)),
    ):
        try:
            numbers.append(f"{len(declared())} {kind}")
        except PropensityError as error:
            said = str(error)
            placed = said.startswith(str(shop.folder / "shop."))
            said = said if placed else f"{shop.where(said)}: {said}"
            if said not in problems:  # of the features, for one
                problems.append(said)
    notes: list[str] = []
    with suppress(PropensityError):  # of the sinks: named above
        notes += [f"note: {one}" for one in routes.unmentioned(routes.declared(shop))]
    with suppress(PropensityError):  # of the actions: named above
        for said in remarks(own_actions().values(), shop.policies_from(settings.now())):
            notes.append(f"note: {shop.where(said, 'ACTIONS')}: {said}")
        problems += policy_problems(shop, settings.now(), features)
        for said in bundle_problems(own_actions().values(), shop.policies_from(settings.now())):
            problems.append(f"{shop.where(said, 'ACTIONS')}: {said}")
    wrong, of_mappings = mapping_problems(shop)
    problems += wrong
    notes += of_mappings
    if shop.mappings:
        numbers.append(f"{len(shop.mappings)} mapping{'s' * (len(shop.mappings) > 1)}")
    text = ", ".join(numbers)
    try:
        log = Log.open(settings)
    except PropensityError:
        values = "values and own checks" if shop.declared("CHECKS") else "values"
        said = f"checked the declarations of {text}; {values} not checked: no log yet (`propensity ingest`)"
        return problems, "\n".join([said, *notes])
    problems += [f"{place}: {one}" for one in targets.strange_categories(shop.declared("TARGETS"), log)]
    problems += segments.strange_attributes(log, shop)
    known = engine.available(log, sound)
    ids = log.read("customers", ["customer_id"])["customer_id"].to_pylist()
    some = ids[:: max(1, len(ids) // customers)][:customers]
    end = log.latest(settings)
    moments = [m for m in (end - 120 * DAY, end - 30 * DAY, end) if m > log.starts_at]
    try:
        problems += contracts.value_problems(log, shop, known, moments, some)
    except FeatureError as error:
        problems += [str(error)] if str(error) not in problems else []
    with suppress(PropensityError):  # of the declarations: named above
        wrong, unasked = _own_checks(settings, log, shop)
        problems += wrong
        notes += unasked
    values = f"values of {len(known)} features for {len(some)} customers at {len(moments)} moments"
    lines = [
        f"checked {text}; {values}",
        *notes,
    ]
    lacking = [a for a in absent(log, sound) if a.column is None]
    if lacking:
        number = sum(len(a.features) for a in lacking)
        lines.append(f"{number} features are absent, because the log lacks their table:")
        for a in lacking:
            named = fill(in_short(a.features), 96, break_long_words=False, break_on_hyphens=False)
            lines += [f"  {a.table} ({len(a.features)})", indent(named, "    ")]
    lines += [f"note: {one.what.en} {one.do.en}" for one in unread(held(log), sound, shop.channels)]
    return problems, "\n".join(lines)


def _own_checks(settings: Settings, log: Log, shop: Shop) -> tuple[list[str], list[str]]:
    """Of the shop's own checks, asked of what this home has: which are broken, and which were not asked."""
    from monitoring import asked, evidence, occasions, verdicts
    from monitoring.checks import RUNS, by_name

    shop.read("CHECKS", by_name)
    own = shop.declared("CHECKS")
    if not own:
        return [], []
    until = min(settings.now(), log.complete_until)
    of_shop = evidence.of_shop(settings, log, shop, until, occasions.of_log(log))
    findings = asked.ask_of_shop(own, of_shop, shop)
    # A first run counts two years of days, for which nobody waits here.
    if any(one.of == "release" for one in own) and any(settings.home.glob("reports/*/verdict.json")):
        with suppress(PropensityError):  # nothing is published for now, for one
            findings += verdicts.run(settings, html=False, keep=False).findings
    runs = {one.subject: one for one in asked.with_own(findings, own) if one.check == RUNS}
    broken = [one.words.en for one in runs.values() if one.status != "ok"]
    unasked = ", ".join(check.name for check in own if check.name not in runs)
    note = f"note: own checks that have nothing to judge yet, and were not run: {unasked}"
    return broken, [f"{note} (`propensity monitor run` runs them)"] if unasked else []
