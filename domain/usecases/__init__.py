"""Everything the system can be asked to do: its table of contents."""

from dataclasses import dataclass

from domain.usecases.change_booking import CancelBooking, RescheduleBooking
from domain.usecases.confirm_booking import ConfirmBooking
from domain.usecases.find_bookings import FindBookings
from domain.usecases.find_slots import FindSlots
from domain.usecases.follow_ehrs import FollowEhrs
from domain.usecases.hear_notification import HearNotification
from domain.usecases.hold_slot import HoldSlot
from domain.usecases.import_catalogue import ImportCatalogue
from domain.usecases.keep_hold import ExpireHolds, ReleaseHold, RenewHold
from domain.usecases.news import ForgetChanges, News
from domain.usecases.reconcile import Reconcile
from domain.usecases.see_sources import SeeSources
from domain.usecases.sign_in import SignIn
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
    reconcile: Reconcile
    hear_notification: HearNotification
    follow_ehrs: FollowEhrs
    news: News
    forget_changes: ForgetChanges
    see_sources: SeeSources
    sign_in: SignIn
    import_catalogue: ImportCatalogue
