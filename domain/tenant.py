"""A group of clinics that books through one front, and how it presents itself."""

from dataclasses import dataclass, field
from enum import StrEnum

from domain.clinic import Image
from domain.rule_values import RuleValues
from domain.text import LocalText


class PriceDisplay(StrEnum):
    ALWAYS = "always"
    NEVER = "never"


class ClinicImageDisplay(StrEnum):
    IMAGE = "image"
    MAP = "map"
    NONE = "none"


class BannerPosition(StrEnum):
    TOP_LEFT = "top-left"
    TOP_RIGHT = "top-right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM_RIGHT = "bottom-right"


class DoubleBooking(StrEnum):
    """What to do when a patient books two visits at one time."""

    BLOCK = "block"
    WARN = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplaySettings:
    prices_on_treatments: PriceDisplay = PriceDisplay.ALWAYS
    prices_on_confirmation: PriceDisplay = PriceDisplay.ALWAYS
    practitioner_photos: bool = True
    clinic_images: ClinicImageDisplay = ClinicImageDisplay.IMAGE
    clinic_search: bool = True
    clinic_map_in_my_bookings: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalTexts:
    top: LocalText = field(default_factory=dict)
    top_sub: LocalText = field(default_factory=dict)
    above_form: LocalText = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    text: LocalText
    position: BannerPosition
    image: Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityProvider:
    """A way to sign in: `hint` picks BankID or Vipps at a broker (`kc_idp_hint`)."""

    id: str
    name: LocalText
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """`hosts` are the names this tenant is served under; `return_to` the prefixes a login may end at; `origins` those
    whose pages are its own, beside its hosts'."""

    id: str
    slug: str
    name: str
    hosts: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("nb", "sv", "en")
    default_language: str = "nb"
    phone: str | None = None
    email: str | None = None
    terms_version: str = "1"
    terms_url: str | None = None
    privacy_url: str | None = None
    display: DisplaySettings = field(default_factory=DisplaySettings)
    texts: PortalTexts = field(default_factory=PortalTexts)
    banner: Banner | None = None
    identity_providers: tuple[IdentityProvider, ...] = ()
    return_to: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    rules: RuleValues = field(default_factory=RuleValues)
    double_booking: DoubleBooking = DoubleBooking.BLOCK
