"""One installation of a record system, and how it wants to be spoken to."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Dialect(StrEnum):
    """How an EHR is booked; one adapter each."""

    IHE = "ihe"  # `$find` and `$book` of IHE Scheduling, as WOF Connect constrains it
    R4 = "r4"  # plain FHIR R4: Slot and Appointment


class News(StrEnum):
    """How an EHR lets us know that something has changed. It is asked now and then all the same."""

    POLL = "poll"  # not at all
    REST_HOOK = "rest-hook"  # R4 Subscription: the changed resource is sent
    TOPICS = "topics"  # R5 topics in R4 (Subscriptions Backport): numbered events


class FindsBy(StrEnum):
    """What an EHR can look for an Appointment by, when an answer was lost."""

    BOTH = "both"  # our booking number; where that finds nothing, patient, start and practitioner
    NUMBER = "number"  # our number alone: what it does not find by it is not there
    PERSON = "person"  # it knows nothing of our numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An EHR of one tenant. Everything but the first four fields has a default that suits most servers.

    `longest_delay` is how late a request that we sent may still take effect there: together with the deadline of a
    write it makes the settling time before "not found" is believed.
    `authorization_variable` names the environment variable that holds the whole value of the header `Authorization`;
    the secret itself is kept nowhere. Empty: none is sent.
    `calls_per_second` is what the EHR allows all of us together, 0 for as many as it takes; `longest_wait` is how long
    a call may wait for its turn before it is given up. `signs_news`: it signs what it sends (HMAC-SHA256), and what it
    does not sign is not believed. `topics` is where the canonical addresses of its topics begin.
    `finds_by` says what it can be asked for. `holds`: it has `$hold`, so that a held time is kept there too.
    `searches_by_get`: it knows no `_search`, so that whom we ask for stands in the address, and in its own access log.
    `no_change_within` is its own limit before the start, under which nothing can be moved or cancelled online.
    """

    tenant_id: str
    id: str
    dialect: Dialect
    base_url: str
    name: str = ""
    max_concurrency: int = 8
    page_size: int = 200
    book_parameter: str = "appointment-resource"
    status_sent: str = "pending"
    service_system: str = "https://sandbox.example/treatments"
    booking_system: str = "https://itb.example/identifiers/booking"
    longest_delay: timedelta = timedelta(seconds=120)
    authorization_variable: str = ""
    calls_per_second: float = 0.0
    longest_wait: timedelta = timedelta(seconds=3)
    news: News = News.POLL
    signs_news: bool = False
    topics: str = "https://sandbox.example/topics"
    finds_by: FindsBy = FindsBy.BOTH
    holds: bool = False
    no_change_within: timedelta = timedelta()
    searches_by_get: bool = False
