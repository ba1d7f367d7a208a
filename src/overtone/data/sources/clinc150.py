"""CLINC150: what people ask an assistant, 150 intents and out of scope (Larson et al. 2019)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import lines, need
from overtone.data.records import Card, Record, Source, SplitName
from overtone.data.rows import one_of
from overtone.errors import DataError

LABELS = (
    # banking
    "freeze_account",
    "routing",
    "pin_change",
    "bill_due",
    "pay_bill",
    "account_blocked",
    "interest_rate",
    "min_payment",
    "bill_balance",
    "transfer",
    "order_checks",
    "balance",
    "spending_history",
    "transactions",
    "report_fraud",
    # credit cards
    "replacement_card_duration",
    "expiration_date",
    "damaged_card",
    "improve_credit_score",
    "report_lost_card",
    "card_declined",
    "credit_limit_change",
    "apr",
    "redeem_rewards",
    "credit_limit",
    "rewards_balance",
    "application_status",
    "credit_score",
    "new_card",
    "international_fees",
    # kitchen and dining
    "food_last",
    "confirm_reservation",
    "how_busy",
    "ingredients_list",
    "calories",
    "nutrition_info",
    "recipe",
    "restaurant_reviews",
    "restaurant_reservation",
    "meal_suggestion",
    "restaurant_suggestion",
    "cancel_reservation",
    "ingredient_substitution",
    "cook_time",
    "accept_reservations",
    # home
    "what_song",
    "play_music",
    "todo_list_update",
    "reminder",
    "reminder_update",
    "calendar_update",
    "order_status",
    "update_playlist",
    "shopping_list",
    "calendar",
    "next_song",
    "order",
    "todo_list",
    "shopping_list_update",
    "smart_home",
    # auto and commute
    "current_location",
    "oil_change_when",
    "oil_change_how",
    "uber",
    "traffic",
    "tire_pressure",
    "schedule_maintenance",
    "gas",
    "mpg",
    "distance",
    "directions",
    "last_maintenance",
    "gas_type",
    "tire_change",
    "jump_start",
    # travel
    "plug_type",
    "travel_notification",
    "translate",
    "flight_status",
    "international_visa",
    "timezone",
    "exchange_rate",
    "travel_suggestion",
    "travel_alert",
    "vaccines",
    "lost_luggage",
    "book_flight",
    "book_hotel",
    "carry_on",
    "car_rental",
    # utility
    "weather",
    "alarm",
    "date",
    "find_phone",
    "share_location",
    "timer",
    "make_call",
    "calculator",
    "definition",
    "measurement_conversion",
    "flip_coin",
    "spelling",
    "time",
    "roll_dice",
    "text",
    # work
    "pto_request_status",
    "next_holiday",
    "insurance_change",
    "insurance",
    "meeting_schedule",
    "payday",
    "taxes",
    "income",
    "rollover_401k",
    "pto_balance",
    "pto_request",
    "w2",
    "schedule_meeting",
    "direct_deposit",
    "pto_used",
    # small talk
    "who_made_you",
    "meaning_of_life",
    "who_do_you_work_for",
    "do_you_have_pets",
    "what_are_your_hobbies",
    "fun_fact",
    "what_is_your_name",
    "where_are_you_from",
    "goodbye",
    "thank_you",
    "greeting",
    "tell_joke",
    "are_you_a_bot",
    "how_old_are_you",
    "what_can_i_ask_you",
    # meta
    "change_speed",
    "user_name",
    "whisper_mode",
    "yes",
    "change_volume",
    "no",
    "change_language",
    "repeat",
    "change_accent",
    "cancel",
    "sync_device",
    "change_user_name",
    "change_ai_name",
    "reset_settings",
    "maybe",
)
"""The 150 intents, by domain, as the data set lists them."""

OUT_OF_SCOPE = "oos"
"""The label of a query that has none of the intents."""

_PARTS: dict[str, SplitName] = {
    "train": "train",
    "val": "validation",
    "test": "test",
    "oos_train": "train",
    "oos_val": "validation",
    "oos_test": "test",
}
_RAW = "https://raw.githubusercontent.com/clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de/data"
_FETCH = "`overtone data fetch clinc150` gets the file again"

CARD = Card(
    name="clinc150",
    title="CLINC150: queries to an assistant with one of 150 intents, and out-of-scope ones",
    licence="CC-BY-3.0",
    commercial=True,
    url="https://github.com/clinc/oos-eval",
    citation="Larson et al., An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction, "
    "EMNLP 2019",
    files={"data_full.json": "36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0"},
    downloads={"data_full.json": f"{_RAW}/data_full.json"},
    sizes={"train": 15_100, "validation": 3_100, "test": 5_500},
    notes="The sizes count the out-of-scope queries: 100, 100 and 1,000, so ten times as many in test as in "
    "train. Every intent has 100, 20 and 30 queries. All lower case, with little punctuation. 2 texts are in "
    "both train and test, under different intents; 3 in both train and validation.",
)


def records(folder: Path, *, out_of_scope: bool = True) -> Iterator[Record]:
    """The queries, target ``intent`` one of ``LABELS`` or ``OUT_OF_SCOPE``.

    Ids are ``clinc150/oos_train-00012``: the part of the file, and the number in it from 0.

    Args:
        folder: with the file of the card.
        out_of_scope: whether the queries without an intent come too.

    Raises:
        DataError: the file is missing, is not JSON or not of this form.
    """
    path = need(folder, "data_full.json")
    parts = _parts(path)
    for part, split in _PARTS.items():
        outside = part.startswith("oos_")
        if outside and not out_of_scope:
            continue
        names = (OUT_OF_SCOPE,) if outside else LABELS
        for index, pair in enumerate(parts[part]):
            place = f"{path}, {part}, query {index}"
            if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
                raise DataError(f"{place}: not a text and an intent", hint=_FETCH)
            target = {"intent": one_of(pair[1], names, place, "an intent")}
            yield Record(f"clinc150/{part}-{index:05d}", pair[0], target, source="clinc150", split=split)


def _parts(path: Path) -> dict[str, list[Any]]:
    try:
        parts = json.loads("\n".join(line for _, line in lines(path)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})", hint=_FETCH) from error
    if (
        not isinstance(parts, dict)
        or set(parts) != set(_PARTS)
        or not all(isinstance(part, list) for part in parts.values())
    ):
        raise DataError(f"{path}: not an object with the lists {', '.join(_PARTS)}", hint=_FETCH)
    return parts


SOURCE = Source(CARD, records)


class Clinc150Source(Config):
    """The queries with their intents."""

    kind: Literal["clinc150"] = Field("clinc150", description="This data set.")
    out_of_scope: bool = Field(
        False, description="Whether the queries without an intent come too, labelled oos."
    )

    def build(self) -> Source:
        """The data set, with or without the out-of-scope queries as this config says."""
        return Source(CARD, partial(records, out_of_scope=self.out_of_scope))
