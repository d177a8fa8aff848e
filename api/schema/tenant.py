"""The group of clinics that a request is for, and how it presents itself."""

from typing import TYPE_CHECKING, Annotated, Optional
from uuid import UUID, uuid5

import strawberry

from api.errors import BadInput
from api.return_to import login_url, return_to_allowed
from api.schema.allowed import owned
from api.schema.fields import Info, described_enum
from api.schema.ids import global_id
from api.schema.image import Image
from api.schema.node import LOOK_UPS, Node
from api.schema.scalars import URL, LanguageTag, PhoneNumber
from domain.tenant import Banner as BannerEntity
from domain.tenant import BannerPosition, ClinicImageDisplay, PriceDisplay
from domain.tenant import DisplaySettings as DisplayEntity
from domain.tenant import IdentityProvider as ProviderEntity
from domain.tenant import PortalTexts as TextsEntity
from domain.tenant import Tenant as TenantEntity
from domain.text import said_in

if TYPE_CHECKING:
    from api.context import Context

TENANTS = UUID("6f0a7a52-7d0b-4c1c-9f0e-2f6d0b9b6f3e")
"""The namespace that tenants' own names become uuids in (RFC 9562 §5.5)."""

LONGEST_HOLD_TOKEN = 500

described_enum(
    PriceDisplay,
    description="Whether the group shows prices.",
    ALWAYS="Wherever a clinic tells a price.",
    NEVER="Not at all: prices are answered with null.",
)
described_enum(
    ClinicImageDisplay,
    description="What to put beside a clinic.",
    IMAGE="Its photo, where there is one.",
    MAP="A street map with the place marked on it.",
    NONE="Nothing but its words.",
)
described_enum(
    BannerPosition,
    description="Which corner of the page the banner sits in.",
    TOP_LEFT="Above the page's content, at its left edge.",
    TOP_RIGHT="Above the page's content, at its right edge.",
    BOTTOM_LEFT="Below the page's content, at its left edge.",
    BOTTOM_RIGHT="Below the page's content, at its right edge.",
)


@strawberry.type(description="What the group wants its frontends to show.")
class DisplaySettings:
    prices_on_treatments: PriceDisplay = strawberry.field(description="While somebody chooses what to book.")
    prices_on_confirmation: PriceDisplay = strawberry.field(description="With a held time and a booking.")
    practitioner_photos: bool = strawberry.field(description="False: every practitioner's `photo` is null.")
    clinic_images: ClinicImageDisplay = strawberry.field(description="What stands beside each clinic in overviews.")
    clinic_search: bool = strawberry.field(description="Whether to offer a search field above the list of clinics.")
    clinic_map_in_my_bookings: bool = strawberry.field(description="Whether a patient's bookings show a map.")

    @classmethod
    def of(cls, display: DisplayEntity) -> "DisplaySettings":
        return cls(
            prices_on_treatments=display.prices_on_treatments,
            prices_on_confirmation=display.prices_on_confirmation,
            practitioner_photos=display.practitioner_photos,
            clinic_images=display.clinic_images,
            clinic_search=display.clinic_search,
            clinic_map_in_my_bookings=display.clinic_map_in_my_bookings,
        )


@strawberry.type(description="The group's own words around the booking form, in the reader's language.")
class PortalTexts:
    top: str | None = strawberry.field(description="The page's heading; null when the frontend should use its own.")
    top_sub: str | None = strawberry.field(description="A line below the heading; null for none.")
    above_form: str | None = strawberry.field(description="What to know before starting; null for nothing.")

    @classmethod
    def of(cls, texts: TextsEntity, context: "Context") -> "PortalTexts":
        said = context.languages
        return cls(
            top=said_in(texts.top, said),
            top_sub=said_in(texts.top_sub, said),
            above_form=said_in(texts.above_form, said),
        )


@strawberry.type(description="A notice laid over the page.")
class Banner:
    text: str | None = strawberry.field(description="In the reader's language; null for one that is only a picture.")
    position: BannerPosition = strawberry.field(description="Where on the page it goes.")
    image: Image | None = strawberry.field(description="A picture in it; null for one of words only.")

    @classmethod
    def of(cls, banner: BannerEntity | None, context: "Context") -> Optional["Banner"]:
        if banner is None:
            return None
        image = Image.of(banner.image, context)
        return cls(text=said_in(banner.text, context.languages), position=banner.position, image=image)


@strawberry.type(description="A way to sign in, such as BankID or Vipps.")
class IdentityProvider:
    id: strawberry.ID = strawberry.field(description="Unique within the tenant, for caches; it is part of `loginUrl`.")
    name: str = strawberry.field(description="What to write on the button.")
    country_code: str | None = strawberry.field(
        description="Whose people it is for, as in a clinic's address: two letters by ISO 3166-1, null for everybody."
    )

    @strawberry.field(
        description="Where to send the browser to sign in. It comes back to `returnTo`, signed in, or with "
        "`login=failed` in the query. A login that is not known any more, such as one of more than 15 minutes ago, "
        "comes back so to the first address that the tenant has listed, or, under a host that is not the tenant's own, "
        "ends at a plain page that says so."
    )
    def login_url(
        self,
        info: Info,
        return_to: Annotated[
            URL,
            strawberry.argument(
                description="Where to come back to: an address that the tenant has listed, or one below it. Anything "
                "else is `BAD_USER_INPUT`."
            ),
        ],
        hold_token: Annotated[
            str | None,
            strawberry.argument(
                description="The held time to renew, once, when the login succeeds. Apps that log in by themselves "
                "renew it by holding the same slot again."
            ),
        ] = strawberry.UNSET,
    ) -> URL:
        tenant = info.context.tenant
        if not return_to_allowed(tenant, return_to):
            raise BadInput("`returnTo` is not among the addresses that this tenant lets a login end at.")
        if hold_token and len(hold_token) > LONGEST_HOLD_TOKEN:
            raise BadInput("`holdToken` is not the token of a hold.")
        return login_url(info.context.public_url, tenant, self.id, return_to, hold_token or None)

    @classmethod
    def of(cls, provider: ProviderEntity, context: "Context") -> "IdentityProvider":
        name = said_in(provider.name, context.languages) or provider.id
        return cls(id=strawberry.ID(provider.id), name=name, country_code=provider.market or None)


@strawberry.type(
    description="A group of clinics that books through one front. Nothing is shared between two groups.",
    directives=[owned("Tenant")],
)
class Tenant(Node):
    name: str = strawberry.field(description="What patients know the group by.")
    slug: str = strawberry.field(description="A readable name, stable; it is what the X-Tenant header takes.")
    languages: list[LanguageTag] = strawberry.field(description="What its texts exist in, to be offered to readers.")
    default_language: LanguageTag = strawberry.field(
        description="What is answered when none of the languages that the reader wants exists."
    )
    phone: PhoneNumber | None = strawberry.field(description="For help with booking anywhere in the group.")
    email: str | None = strawberry.field(description="For help with booking; not for anything about somebody's health.")
    display: DisplaySettings = strawberry.field(description="Which prices, photos and maps its frontends show.")
    texts: PortalTexts = strawberry.field(description="Its own words around the booking form.")
    banner: Banner | None = strawberry.field(description="What to announce right now; null for nothing.")
    identity_providers: list[IdentityProvider] = strawberry.field(
        description="The ways to sign in that it accepts, in the order to show them."
    )
    terms_version: str = strawberry.field(
        description="The terms in force: confirming a booking takes the version that the patient accepted."
    )
    terms_url: URL | None = strawberry.field(description="Where the terms are to be read; null while not published.")
    privacy_url: URL | None = strawberry.field(description="How it treats people's data; null while not published.")

    @classmethod
    def of(cls, tenant: TenantEntity, context: "Context") -> "Tenant":
        return cls(
            id=global_id("Tenant", tenant_uuid(tenant)),
            name=tenant.name,
            slug=tenant.slug,
            languages=list(tenant.languages),
            default_language=tenant.default_language,
            phone=tenant.phone,
            email=tenant.email,
            display=DisplaySettings.of(tenant.display),
            texts=PortalTexts.of(tenant.texts, context),
            banner=Banner.of(tenant.banner, context),
            identity_providers=[IdentityProvider.of(provider, context) for provider in tenant.identity_providers],
            terms_version=tenant.terms_version,
            terms_url=tenant.terms_url,
            privacy_url=tenant.privacy_url,
        )


def tenant_uuid(tenant: TenantEntity) -> UUID:
    return uuid5(TENANTS, tenant.id)


async def _tenant(context: "Context", id: UUID) -> Tenant | None:
    """Only the one that the request is for."""
    return Tenant.of(context.tenant, context) if id == tenant_uuid(context.tenant) else None


LOOK_UPS["Tenant"] = _tenant
