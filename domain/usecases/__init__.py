"""Everything the system can be asked to do: its table of contents."""

from dataclasses import dataclass

from domain.usecases.change_booking import CancelBooking, RescheduleBooking
from domain.usecases.confirm_booking import ConfirmBooking
from domain.usecases.find_slots import FindSlots
from domain.usecases.hold_slot import HoldSlot
from domain.usecases.import_catalogue import ImportCatalogue
from domain.usecases.keep_hold import ReleaseHold, RenewHold
from domain.usecases.reconcile import Reconcile
from domain.usecases.see_sources import SeeSources
from domain.usecases.sign_in import SignIn


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    find_slots: FindSlots
    hold_slot: HoldSlot
    release_hold: ReleaseHold
    renew_hold: RenewHold
    confirm_booking: ConfirmBooking
    reschedule_booking: RescheduleBooking
    cancel_booking: CancelBooking
    reconcile: Reconcile
    see_sources: SeeSources
    sign_in: SignIn
    import_catalogue: ImportCatalogue
