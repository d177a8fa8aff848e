"""Everything the system can be asked to do: its table of contents."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.usecases.change_booking import CancelBooking, RescheduleBooking
from domain.usecases.confirm_booking import ConfirmBooking
from domain.usecases.deliver import Deliver
from domain.usecases.erase_patient import ErasePatient
from domain.usecases.find_bookings import FindBookings
from domain.usecases.find_slots import FindSlots
from domain.usecases.follow_ehrs import FollowEhrs
from domain.usecases.forget import ForgetOld
from domain.usecases.forget_keys import ForgetKeys
from domain.usecases.hear_notification import HearNotification
from domain.usecases.hold_in_ehr import LetGo
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
from domain.usecases.recur import Recur, Recurring
from domain.usecases.rotate_keys import RotateKeys
from domain.usecases.run_jobs import RetryJob, RunJobs
from domain.usecases.see_sources import SeeSources
from domain.usecases.set_consent import SetConsent
from domain.usecases.sign_in import SignIn
from domain.usecases.sign_out import HearLogout, SignOut, SignOutEverywhere
from domain.usecases.sweep import Sweep
from domain.usecases.update_contact_details import UpdateContactDetails
from domain.usecases.watch_bookings import WatchBookings
from domain.usecases.watch_slots import WatchSlots


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    find_slots: FindSlots
    find_bookings: FindBookings
    watch_slots: WatchSlots
    watch_bookings: WatchBookings
    hold_slot: HoldSlot
    release_hold: ReleaseHold
    renew_hold: RenewHold
    expire_holds: ExpireHolds
    confirm_booking: ConfirmBooking
    reschedule_booking: RescheduleBooking
    cancel_booking: CancelBooking
    let_go: LetGo
    reconcile: Reconcile
    sweep: Sweep
    hear_notification: HearNotification
    follow_ehrs: FollowEhrs
    news: News
    forget_changes: ForgetChanges
    forget_old: ForgetOld
    deliver: Deliver
    run_jobs: RunJobs
    retry_job: RetryJob
    rotate_keys: RotateKeys
    forget_keys: ForgetKeys
    recur: Recur
    recurring: Sequence[Recurring]
    see_sources: SeeSources
    sign_in: SignIn
    set_consent: SetConsent
    update_contact_details: UpdateContactDetails
    prepare_export: PrepareExport
    erase_patient: ErasePatient
    read_audit: ReadAudit
    note_reads: NoteReads
    sign_out: SignOut
    sign_out_everywhere: SignOutEverywhere
    hear_logout: HearLogout
    import_catalogue: ImportCatalogue
    know_client: KnowClient
    issue_token: IssueToken
    mint_key: MintKey
    rotate_key: RotateKey
    revoke_key: RevokeKey
    key_origins: TellKeyOrigins
