"""The use cases, each with the adapters that it needs."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from api.bootstrap.jobs import done_later
from api.bootstrap.shared import Shared
from api.settings import Settings
from api.signing import Signer
from api.webhooks import hook_url
from domain.endpoint import Endpoint
from domain.ports import Clock, Hook
from domain.usecases import UseCases
from domain.usecases.adopt_booking import AdoptBooking
from domain.usecases.change_booking import CancelBooking, RescheduleBooking
from domain.usecases.changing import Changing
from domain.usecases.confirm_booking import ConfirmBooking
from domain.usecases.erase_patient import ErasePatient
from domain.usecases.find_bookings import FindBookings
from domain.usecases.find_slots import FindSlots
from domain.usecases.follow_ehrs import FollowEhrs
from domain.usecases.forget import ForgetOld
from domain.usecases.forget_keys import ForgetKeys
from domain.usecases.free_times import FreeTimes
from domain.usecases.hear_notification import HearNotification
from domain.usecases.hold_in_ehr import HoldInEhr, LetGo
from domain.usecases.hold_slot import HoldSlot
from domain.usecases.import_catalogue import ImportCatalogue
from domain.usecases.issue_token import IssueToken
from domain.usecases.keep_hold import ExpireHolds, ReleaseHold, RenewHold
from domain.usecases.keep_keys import MintKey, RevokeKey, RotateKey
from domain.usecases.key_origins import TellKeyOrigins
from domain.usecases.know_client import KnowClient
from domain.usecases.news import ForgetChanges, News
from domain.usecases.note_reads import NoteReads
from domain.usecases.prepare_export import PrepareExport
from domain.usecases.read_audit import ReadAudit
from domain.usecases.reconcile import Reconcile
from domain.usecases.rotate_keys import RotateKeys
from domain.usecases.see_sources import SeeSources
from domain.usecases.set_consent import SetConsent
from domain.usecases.sign_in import SignIn
from domain.usecases.sign_out import HearLogout, SignOut, SignOutEverywhere
from domain.usecases.sweep import Sweep
from domain.usecases.take_hold import TakeHold
from domain.usecases.take_in_changes import TakeInChanges
from domain.usecases.update_contact_details import UpdateContactDetails
from domain.usecases.visits import Visits
from domain.usecases.watch_bookings import WatchBookings
from domain.usecases.watch_slots import WatchSlots
from integrations.fhir.ehrs import FhirEhrs
from integrations.store.api_keys import SqlKeyReads
from integrations.store.booking_reads import SqlBookingReads
from integrations.store.catalogue import SqlCatalogue
from integrations.store.changes import SqlChangeLog
from integrations.store.feeds import SqlFeedReads
from integrations.store.sealing import Sealing
from integrations.store.sessions import SqlSessionReads
from integrations.store.work import StartSqlWork
from integrations.tokens.system_tokens import EcSystemTokens


def use_cases(engine: AsyncEngine, ehrs: FhirEhrs, clock: Clock, settings: Settings, shared: Shared) -> UseCases:
    sealing = sealing_by(settings)
    timing, changes, reads = settings.timing(), SqlChangeLog(engine), SqlBookingReads(engine, sealing)
    news, bell = News(shared.times, shared.bus, changes), asyncio.Event()
    start = StartSqlWork(engine, sealing, clock, news.spread, bell.set)
    stored: dict[str, Any] = {"catalogue": SqlCatalogue(engine), "start_work": start}
    timed: dict[str, Any] = {"clock": clock, "timing": timing}
    visits = Visits(**stored, ehrs=ehrs)
    free = FreeTimes(shared.times, ehrs, clock, timing)
    found: dict[str, Any] = {"reads": reads, "ehrs": ehrs, "visits": visits}
    find = FindSlots(catalogue=stored["catalogue"], **found, free_times=free, **timed)
    use: dict[str, Any] = {
        "find_slots": find,
        "reconcile": Reconcile(reads=reads, start_work=start, visits=visits, **timed),
        "see_sources": SeeSources(catalogue=stored["catalogue"], ehrs=ehrs, **timed),
        **_signing_in(start, SqlSessionReads(engine, sealing, clock), clock),
        "import_catalogue": ImportCatalogue(start_work=start, ehrs=ehrs, timing=timing),
        "forget_old": ForgetOld(start_work=start, clock=clock),
        **_rights(start, clock, settings),
        **_knowing_clients(engine, start, clock, settings),
        **_watching(find, news, reads, changes, timed, settings),
        **_booking(stored, found, find, timed, settings),
        **_listening(stored, found, SqlFeedReads(engine), timed, settings),
    }
    return UseCases(**use, **done_later(engine, start, clock, bell, settings, use))


def _rights(start: StartSqlWork, clock: Clock, settings: Settings) -> dict[str, Any]:
    kept = timedelta(seconds=settings.export_seconds)
    return {
        "set_consent": SetConsent(start_work=start, clock=clock),
        "update_contact_details": UpdateContactDetails(start_work=start, clock=clock),
        "prepare_export": PrepareExport(start_work=start, clock=clock, kept=kept),
        "erase_patient": ErasePatient(start_work=start, clock=clock),
        "read_audit": ReadAudit(start_work=start, clock=clock),
        "note_reads": NoteReads(start_work=start, clock=clock),
        "rotate_keys": RotateKeys(start_work=start, settle=2 * settings.key_seconds),
        "forget_keys": ForgetKeys(start_work=start, clock=clock),
    }


def sealing_by(settings: Settings) -> Sealing:
    return Sealing(settings.secret, settings.masters, fresh_seconds=settings.key_seconds)


def _knowing_clients(engine: AsyncEngine, start: StartSqlWork, clock: Clock, settings: Settings) -> dict[str, Any]:
    keys, peppers, kept = SqlKeyReads(engine), settings.peppers(), timedelta(seconds=settings.api_key_seconds)
    tokens = EcSystemTokens(settings.secret, settings.token_key, settings.base_url, clock)
    read: dict[str, Any] = {"keys": keys, "clock": clock, "kept": kept}
    kept_by: dict[str, Any] = {"start_work": start, "clock": clock}
    mint = MintKey(**kept_by, peppers=peppers)
    return {
        "know_client": KnowClient(
            **read, tokens=tokens, start_work=start, peppers=peppers, synthetic=settings.synthetic_people
        ),
        "issue_token": IssueToken(tokens=tokens, clock=clock),
        "mint_key": mint,
        "rotate_key": RotateKey(keys=keys, mint=mint),
        "revoke_key": RevokeKey(keys=keys, **kept_by),
        "key_origins": TellKeyOrigins(**read),
    }


def _signing_in(start: StartSqlWork, reads: SqlSessionReads, clock: Clock) -> dict[str, Any]:
    ending: dict[str, Any] = {"start_work": start, "clock": clock}
    return {
        "sign_in": SignIn(start_work=start, reads=reads, clock=clock),
        "sign_out": SignOut(**ending),
        "sign_out_everywhere": SignOutEverywhere(**ending),
        "hear_logout": HearLogout(**ending),
    }


def _watching(
    find: FindSlots,
    news: News,
    reads: SqlBookingReads,
    changes: SqlChangeLog,
    timed: dict[str, Any],
    settings: Settings,
) -> dict[str, Any]:
    return {
        "news": news,
        "watch_slots": WatchSlots(find, find.catalogue, news, timed["timing"], settings.most_watches),
        "watch_bookings": WatchBookings(reads=reads, changes=changes, news=news, **timed),
        "forget_changes": ForgetChanges(changes=changes, clock=timed["clock"]),
    }


def _booking(
    stored: dict[str, Any], found: dict[str, Any], find: FindSlots, timed: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    start, clock, visits, reads = stored["start_work"], timed["clock"], found["visits"], found["reads"]
    own = FindBookings(catalogue=stored["catalogue"], reads=reads, ehrs=found["ehrs"], **timed)
    adopt = AdoptBooking(**stored, find_bookings=own, reads=reads, clock=clock)
    take = TakeHold(reads=reads, start_work=start, most_at_clinic=settings.holds_per_clinic, **timed)
    in_ehr = HoldInEhr(visits=visits, start_work=start, **timed)
    holding: dict[str, Any] = {"take_hold": take, "hold_in_ehr": in_ehr, "find_slots": find, "adopt": adopt}
    hold = HoldSlot(catalogue=stored["catalogue"], **found, **holding, **timed)
    changing = Changing(start_work=start, visits=visits, adopt=adopt, **timed)
    return {
        "find_bookings": own,
        "hold_slot": hold,
        "release_hold": ReleaseHold(start_work=start, clock=clock),
        "let_go": LetGo(reads=reads, visits=visits, timing=timed["timing"]),
        "renew_hold": RenewHold(start_work=start, **timed),
        "expire_holds": ExpireHolds(reads=reads, start_work=start, clock=clock),
        "confirm_booking": ConfirmBooking(start_work=start, visits=visits, hold_slot=hold, **timed),
        "reschedule_booking": RescheduleBooking(changing=changing, hold_slot=hold),
        "cancel_booking": CancelBooking(changing=changing),
    }


def _listening(
    stored: dict[str, Any], found: dict[str, Any], feeds: SqlFeedReads, timed: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    ehrs, signer = found["ehrs"], Signer(settings.secret.encode())
    sweep = Sweep(reads=found["reads"], visits=found["visits"], **timed)
    take_in = TakeInChanges(**stored, reads=found["reads"], visits=found["visits"], sweep=sweep, **timed)

    def secret(endpoint: Endpoint) -> str:
        return signer.seal(f"hook:{endpoint.tenant_id}", endpoint.id.encode())

    def hook(endpoint: Endpoint, until: datetime) -> Hook:
        url = hook_url(settings.base_url, endpoint.tenant_id, endpoint.id)
        return Hook(url=url, secret=secret(endpoint), until=until)

    return {
        "sweep": sweep,
        "follow_ehrs": FollowEhrs(**stored, take_in=take_in, ehrs=ehrs, hook=hook, feeds=feeds, **timed),
        "hear_notification": HearNotification(**stored, take_in=take_in, ehrs=ehrs, secret=secret, **timed),
    }
