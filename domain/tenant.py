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
    """A way to sign in: `hint` picks BankID or Vipps at a broker (`kc_idp_hint`).

    What is left empty is as the settings say. `issuer` is the provider's name for itself, `market` the country whose
    people it serves ("" for all). `client_secret_variable` names the environment variable that holds our client's
    secret, which is kept nowhere. `audience` is whom an app's access tokens must be meant for. `app_clients` are the
    client ids of the group's own apps: tokens of others count only beside an API key. `acr_prefixes`: the level of
    assurance must start with one of them. `national_id_claims` are the claims that may carry the national
    number, each with the country whose rules it must keep, and first valid wins. `ask_userinfo` is for brokers that
    tell the number only there, `plain_jwt_allowed` for those whose access tokens do not say that they are some
    (RFC 9068).
    """

    id: str
    name: LocalText
    hint: str | None = None
    market: str = ""
    issuer: str = ""
    client_id: str = ""
    client_secret_variable: str = ""
    audience: str = ""
    app_clients: tuple[str, ...] = ()
    acr_values: str = ""
    acr_prefixes: tuple[str, ...] = ()
    national_id_claims: tuple[tuple[str, str], ...] = ()
    ask_userinfo: bool = False
    plain_jwt_allowed: bool = False


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

    def identity_provider(self, id: str) -> IdentityProvider | None:
        return next((each for each in self.identity_providers if each.id == id), None)
