"""Banking77: what customers ask a bank online, 77 intents (Casanueva et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import need
from overtone.data.records import Card, Record, Source, SplitName
from overtone.data.rows import csv_rows, one_of

LABELS = (
    "card_arrival",
    "card_linking",
    "exchange_rate",
    "card_payment_wrong_exchange_rate",
    "extra_charge_on_statement",
    "pending_cash_withdrawal",
    "fiat_currency_support",
    "card_delivery_estimate",
    "automatic_top_up",
    "card_not_working",
    "exchange_via_app",
    "lost_or_stolen_card",
    "age_limit",
    "pin_blocked",
    "contactless_not_working",
    "top_up_by_bank_transfer_charge",
    "pending_top_up",
    "cancel_transfer",
    "top_up_limits",
    "wrong_amount_of_cash_received",
    "card_payment_fee_charged",
    "transfer_not_received_by_recipient",
    "supported_cards_and_currencies",
    "getting_virtual_card",
    "card_acceptance",
    "top_up_reverted",
    "balance_not_updated_after_cheque_or_cash_deposit",
    "card_payment_not_recognised",
    "edit_personal_details",
    "why_verify_identity",
    "unable_to_verify_identity",
    "get_physical_card",
    "visa_or_mastercard",
    "topping_up_by_card",
    "disposable_card_limits",
    "compromised_card",
    "atm_support",
    "direct_debit_payment_not_recognised",
    "passcode_forgotten",
    "declined_cash_withdrawal",
    "pending_card_payment",
    "lost_or_stolen_phone",
    "request_refund",
    "declined_transfer",
    "Refund_not_showing_up",
    "declined_card_payment",
    "pending_transfer",
    "terminate_account",
    "card_swallowed",
    "transaction_charged_twice",
    "verify_source_of_funds",
    "transfer_timing",
    "reverted_card_payment?",
    "change_pin",
    "beneficiary_not_allowed",
    "transfer_fee_charged",
    "receiving_money",
    "failed_transfer",
    "transfer_into_account",
    "verify_top_up",
    "getting_spare_card",
    "top_up_by_cash_or_cheque",
    "order_physical_card",
    "virtual_card_not_working",
    "wrong_exchange_rate_for_cash_withdrawal",
    "get_disposable_virtual_card",
    "top_up_failed",
    "balance_not_updated_after_bank_transfer",
    "cash_withdrawal_not_recognised",
    "exchange_charge",
    "top_up_by_card_charge",
    "activate_my_card",
    "cash_withdrawal_charge",
    "card_about_to_expire",
    "apple_pay_or_google_pay",
    "verify_my_identity",
    "country_support",
)
"""The 77 intents, as the data set lists and spells them."""

_SPLITS: dict[str, SplitName] = {"train": "train", "test": "test"}
_RAW = (
    "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/"
    "57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data"
)

CARD = Card(
    name="banking77",
    title="Banking77: questions to an online bank with one of 77 intents",
    licence="CC-BY-4.0",
    commercial=True,
    url="https://github.com/PolyAI-LDN/task-specific-datasets",
    citation="Casanueva et al., Efficient Intent Detection with Dual Sentence Encoders, NLP4ConvAI 2020",
    files={
        "train.csv": "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
        "test.csv": "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
    },
    downloads={"train.csv": f"{_RAW}/train.csv", "test.csv": f"{_RAW}/test.csv"},
    sizes={"train": 10_003, "test": 3_080},
    notes="No validation split. Test has 40 rows of each intent, train from 35 to 187. 6 texts differ only "
    "in case and outer spacing from one in train. Two intents are spelt unlike the others: "
    "Refund_not_showing_up, reverted_card_payment?.",
)


def records(folder: Path) -> Iterator[Record]:
    """The questions, target ``intent`` one of ``LABELS``; ids are ``banking77/train-00012``, from 0.

    Raises:
        DataError: a file is missing, its header is another one or a row is not of this form.
    """
    for name, split in _SPLITS.items():
        path = need(folder, f"{name}.csv")
        for index, (place, row) in enumerate(csv_rows(path, ("text", "category"))):
            target = {"intent": one_of(row["category"], LABELS, place, "an intent")}
            yield Record(
                f"banking77/{name}-{index:05d}", row["text"], target, source="banking77", split=split
            )


SOURCE = Source(CARD, records)


class Banking77Source(Config):
    """The bank's questions with their intents."""

    kind: Literal["banking77"] = Field("banking77", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
