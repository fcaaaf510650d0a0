"""A simulated retailer: every table of the log, from a documented process whose truth is known.

`propensity simulate FOLDER` writes it, `PROPENSITY_SHOP=FOLDER propensity ingest` takes it in. Sold online and
in 40 stores in China; days are Shanghai's, money is CNY. The same seed and size give the same bytes, whatever
the number of workers; a larger shop begins with the customers of a smaller one, save their groups and staff; a
change planted on a day leaves everything before that day as it was.

    draws.py       random numbers as a function of seed, purpose and customer
    world.py       size, seasons, calendar, and what can change on a day
    people.py      who the customers are: true rates and tastes
    records.py     what is known of them: accounts, attributes, consents, groups, scores, tags
    campaigns.py   randomised campaigns, and what each action truly does
    purchases.py   the purchase process; orders, lines, returns
    behaviour.py   visits, answers, cases, surveys, the calendar
    truth.py       what no shop knows: true rates, churn and effects, and probabilities computed from them
    writing.py     the files

    FOLDER/<table>.parquet/<table>-00000.parquet    the raw files, a file for each 20,000 customers
    FOLDER/README.md                                this text
    FOLDER/truth/customers.parquet/                 true rates, tastes, when lost; with and without campaigns
    FOLDER/truth/effects.parquet/                   customer, action -> effects on orders, margin, retention, opt-out
    FOLDER/truth/assignments.parquet/               every draw of a campaign, `nothing` included, with its propensity
    FOLDER/truth/grievances.parquet/                who was slowed by a bad experience, from when until when
    FOLDER/truth/drift.json                         what was planted, and when
    FOLDER/shop.toml, shop.py                       the shop, and its actions: those of the campaigns
    FOLDER/world.json, rows.json                    what was simulated; rows of each table

The process. A customer comes on a day, places orders at her own `rate` (a Poisson process, slower and faster with
season, weekday and hour, half as fast for 90 days after a bad experience), and is lost for good at her own
`hazard`, whichever is first; nothing that happens after is in the files. Visits, answers and cases follow from her
rate and tastes. Campaigns draw actions with known propensities, never for the holdout; an action adds an order, puts
one off, keeps a customer or drives her off as `effects` says of her, and nothing else does.

The truth, which no feature may read:

    customers     customer_id, second_id and linked_at (of an account that turns out to be hers), acquired_at,
                  archetype, rate (orders a day), hazard (of being lost, a day), mean_order (CNY), visit_rate (a day),
                  deal, novelty, live (tastes, 0 to 1), holdout, lifetime_margin (CNY, expected, left alone),
                  churned_at (as it came), churned_at_alone (had nobody contacted her); empty: not in these days
    effects       customer_id, action, orders (chance of one more order in 14 days), put_off (chance that an
                  order is put off), margin (CNY an action), retention and opt_out (chances)
    assignments   campaign_id, at, action (`nothing` too), propensity, band, lost (was she by then),
                  expected_orders (in 14 days, left alone), caused_order (whether it brought one)
    grievances    customer_id, at, until

`features.sources.simulated.truth.Truth.load(FOLDER)` computes probabilities from it, exactly: of an order and of
being lost within any days from any moment, and what an action moves.

Orders of magnitude, and why. A third to a half of buyers order once only, as in most retail logs (54 % of CDNOW's
cohort over 18 months, 36 % of a UK gift shop over a year); 2 to 3 % of customers visit on a day (the usual
ratio of daily to yearly active members of a retailer's app); a text message is read by a quarter, a push by a
twelfth, a member of staff's message by half; 2.4 % of group members leave in a month; 6 % of orders come back in
part or whole (apparel more, food less); 2 % are a bad experience, of which three of four complain. An action
moves an order's probability by 0 to 2 points, as in large public trials (Hillstrom's mailings: .3 and .7
points); some do nothing, one harms the best customers. These are choices of an example, not findings.

Rows may arrive late (`known_at` after `at`): 3 to 5 % of orders, visits, answers and consents; 20 % of changes of
membership; half of the tags. Every row that happened before the last day ends is in the files.
"""

from pathlib import Path

from features.errors import SourceError
from features.moments import iso
from features.shop import Shop
from features.sources import Source
from features.sources.simulated.world import World
from features.tables import OURS, TABLES

NAME = "simulated"


def source(shop: Shop, folder: Path | None = None) -> Source:
    """The files of `folder`, or of the shop's own folder: their columns are the log's."""
    root = folder or shop.folder
    world = World.load(root / "world.json")
    parts = {name: sorted((root / f"{name}.parquet").glob(f"{name}-*.parquet")) for name in TABLES}
    missing = [name for name, paths in parts.items() if not paths]
    if missing:
        raise SourceError(f"{root} lacks the tables {', '.join(missing)}: simulate the shop anew")
    quoted = str(root).replace("'", "''")
    return Source(
        name=NAME,
        files=tuple(path for name in TABLES for path in parts[name]),
        tables={
            name: f"""
                SELECT {", ".join(f'"{column}"' for column in TABLES[name].columns if column not in OURS)},
                       parse_filename(filename, true) AS _file, file_row_number AS _line, NULL AS _note
                FROM read_parquet('{quoted}/{name}.parquet/*.parquet', file_row_number = true, filename = true)"""
            for name in TABLES
        },
        complete_until=f"SELECT TIMESTAMPTZ '{iso(world.end)}'",
    )
