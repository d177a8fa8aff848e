"""Take a visit that was booked past us, by phone say, among our own bookings: right before it is first changed here."""

from dataclasses import dataclass, replace
from uuid import UUID

from domain.audit import EHR, Actor
from domain.booking import Booking
from domain.own_booking import ID_VERSION, OwnBooking
from domain.patient import Patient
from domain.ports import BookingReads, Catalogue, Clock, StartWork, UnitOfWork
from domain.refusals import ChangeNotAllowed, ChangeRefusal, Refused, UpstreamUnavailable
from domain.tenant import Tenant
from domain.usecases.find_bookings import FindBookings
from domain.usecases.keep_hold import release
from domain.usecases.record import record


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptBooking:
    """Once it is ours everything else treats it as any other booking, under the same id and version as it was shown."""

    find_bookings: FindBookings
    catalogue: Catalogue
    reads: BookingReads
    start_work: StartWork
    clock: Clock

    async def __call__(
        self, tenant: Tenant, actor: Actor, patient: Patient | None, id: UUID | None, *, moving: bool
    ) -> None:
        """Nothing where it is ours already, or no visit of the patient's: who asked sees to that.

        The clinic has given that time, and `actor` only has it taken in: told are its request and its client's key.
        Raises `Refused` where it may not be changed so, and then it stays where it is; also where it may well be one,
        but a record system has not answered.
        """
        if id is None or id.version != ID_VERSION or patient is None or await self.reads.get(tenant.id, [id]):
            return
        own, silent = await self.find_bookings.one(tenant, patient, id)
        if own is None and silent:
            raise Refused(UpstreamUnavailable(silent[0].retry_after))
        if own is not None:
            await self._check_right(own, moving)
            await self._adopt(own.booking, replace(EHR, request_id=actor.request_id, through=actor.through))

    async def _check_right(self, own: OwnBooking, moving: bool) -> None:
        rules, now = own.booking.rules, self.clock.now()
        right = own.rescheduling(rules, now) if moving else own.cancellation(rules, now)
        if right.refusal:
            raise await self._refused(own.booking, right.refusal)

    async def _adopt(self, booking: Booking, by: Actor) -> None:
        """The patient is kept locked meanwhile, so that it is adopted once however often it is asked for.

        One who was erased while the record system was asked has no bookings any more.
        """
        async with self.start_work(booking.tenant_id) as work:
            assert booking.patient_id is not None
            if not await work.bookings.queue_for_patient(booking.tenant_id, booking.patient_id):
                return
            if await work.bookings.get(booking.tenant_id, booking.id):
                return
            await self._make_room(work, booking, by)
            now, action = self.clock.now(), "booking.adopted"
            if not await record(work, booking, by, now, action=action, is_new=True):
                raise await self._refused(booking, ChangeRefusal.MANAGED_EXTERNALLY)
            await work.commit()

    async def _make_room(self, work: UnitOfWork, booking: Booking, by: Actor) -> None:
        """Holds in its way are let go, for the clinic has given that time."""
        for hold in await work.bookings.holds_in(booking.tenant_id, booking.slot):
            await release(work, hold, by, self.clock.now())

    async def _refused(self, booking: Booking, refusal: ChangeRefusal) -> Refused:
        clinics = await self.catalogue.clinics_by_id(booking.tenant_id, [booking.slot.clinic_id])
        clinic = clinics.get(booking.slot.clinic_id)
        return Refused(ChangeNotAllowed(refusal, clinic.phone if clinic else None))
