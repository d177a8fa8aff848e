"""Four made-up clinics in Oslo and Bergen, speaking the IHE dialect."""

from typing import Any
from zoneinfo import ZoneInfo

from integrations.sandbox.world import WEEKEND, Clinic, Opening, Role, World, treatments, weekly

_TREATMENTS = treatments(
    "AD:",
    {
        "consultation": (30, "Legetime", "Vanlig time for undersøkelse, råd og oppfølging."),
        "long-consultation": (45, "Lang legetime", "God tid til sammensatte plager eller flere spørsmål."),
        "vaccination": (15, "Vaksinering", "Influensa, stivkrampe og andre vanlige vaksiner."),
        "blood-test": (15, "Blodprøve", "Blodprøve tatt av sykepleier. Møt fastende hvis du har fått beskjed om det."),
        "skin-check": (45, "Føflekksjekk", "Gjennomgang av føflekker og hudforandringer med dermatoskop."),
        "physiotherapy": (45, "Fysioterapi", "Undersøkelse og behandling av muskler og ledd."),
        "psychology": (60, "Psykologtime", "Samtale med psykolog."),
        "dental-check": (45, "Tannlegekontroll", "Undersøkelse av tenner og tannkjøtt."),
        "womens-health": (30, "Kvinnehelse", "Prevensjon, celleprøve, svangerskap og overgangsalder."),
        "child-health": (30, "Barnehelse", "Time for barn sammen med en voksen."),
        "travel-advice": (30, "Reiseråd", "Råd og reisevaksiner før du reiser."),
        "ear-care": (15, "Øreskylling", "Fjerning av ørevoks."),
    },
)

_CLINICS = (
    Clinic(
        id="hs-oslo-sentrum",
        name="Sentrum legesenter",
        phone="+47 21 00 01 10",
        street="Storgata 14",
        postal_code="0184",
        city="Oslo",
        latitude=59.91391,
        longitude=10.75224,
        openings=weekly("08:00", "17:00", Opening(days=WEEKEND, opens="10:00", closes="15:00")),
    ),
    Clinic(
        id="hs-oslo-grunerlokka",
        name="Grünerløkka legesenter",
        phone="+47 21 00 01 20",
        street="Thorvald Meyers gate 48",
        postal_code="0552",
        city="Oslo",
        latitude=59.92318,
        longitude=10.75871,
        openings=weekly("08:00", "16:00"),
    ),
    Clinic(
        id="hs-bergen-bryggen",
        name="Bryggen legesenter",
        phone="+47 55 00 01 30",
        street="Bryggen 23",
        postal_code="5003",
        city="Bergen",
        latitude=60.39749,
        longitude=5.32427,
        openings=weekly("08:00", "16:00"),
    ),
    Clinic(
        id="hs-bergen-fana",
        name="Fana legesenter",
        phone="+47 55 00 01 40",
        street="Nesttunvegen 90",
        postal_code="5221",
        city="Nesttun",
        latitude=60.31902,
        longitude=5.35204,
        openings=weekly("07:30", "15:30"),
    ),
)

_UNITS = {
    "B544": "hs-oslo-sentrum",
    "B551": "hs-oslo-grunerlokka",
    "B560": "hs-bergen-bryggen",
    "B571": "hs-bergen-fana",
}


def _role(
    at: str,
    given: str,
    family: str,
    title: str,
    gender: str,
    codes: str,
    **more: Any,
) -> Role:
    return Role(
        id=at,
        schedule=f"S:{at}",
        practitioner=at[5:],
        clinic=_UNITS[at[:4]],
        given=given,
        family=family,
        title=title,
        gender=gender,
        treatments=tuple(codes.split()),
        **{"languages": ("nb", "en"), **more},
    )


_ROLES = (
    _role(
        "B544:E472",
        "Ingrid Solberg",
        "Haugen",
        "Lege",
        "female",
        "consultation long-consultation skin-check womens-health travel-advice",
    ),
    _role(
        "B544:E473",
        "Lars Erik",
        "Moen",
        "Lege",
        "male",
        "consultation long-consultation skin-check ear-care",
        days=("mon", "tue", "thu", "fri", "sat", "sun"),
    ),
    _role("B544:E481", "Siri", "Kvamme", "Sykepleier", "female", "vaccination blood-test travel-advice ear-care"),
    _role(
        "B544:E490",
        "Henrik",
        "Dahl",
        "Fysioterapeut",
        "male",
        "physiotherapy consultation long-consultation",
        device="BENK-4",
    ),
    _role(
        "B551:E501",
        "Amina Yusuf",
        "Berg",
        "Lege",
        "female",
        "consultation skin-check womens-health child-health",
        languages=("nb", "en", "so"),
    ),
    _role("B551:E502", "Jonas", "Lunde", "Lege", "male", "consultation long-consultation skin-check travel-advice"),
    _role(
        "B551:E507",
        "Maria",
        "Nygård",
        "Psykolog",
        "female",
        "psychology consultation long-consultation",
        days=("mon", "tue", "wed", "thu"),
    ),
    _role("B560:E601", "Kari", "Fjeldstad", "Lege", "female", "consultation long-consultation skin-check ear-care"),
    _role(
        "B560:E602",
        "Tor-Arne",
        "Vik",
        "Lege",
        "male",
        "consultation skin-check child-health blood-test",
        device="ROM-2/DERMATOSKOP",
    ),
    _role(
        "B560:E608",
        "Nora",
        "Birkeland",
        "Tannlege",
        "female",
        "dental-check consultation long-consultation",
        device="STOL-1",
    ),
    _role(
        "B571:E701",
        "Sunniva",
        "Myklebust",
        "Lege",
        "female",
        "consultation skin-check womens-health child-health vaccination",
    ),
    _role(
        "B571:E702",
        "Anders",
        "Tveit",
        "Lege",
        "male",
        "consultation long-consultation skin-check travel-advice",
        days=("mon", "tue", "wed", "fri"),
    ),
    _role("B571:E709", "Elise", "Hovland", "Sykepleier", "female", "vaccination blood-test ear-care child-health"),
)

NORWAY = World(
    name="norway",
    dialect="ihe",
    country="NO",
    language="nb",
    zone=ZoneInfo("Europe/Oslo"),
    endpoint_id="001",
    organization_id="ORG:991",
    organization="Fjordhelse",
    practitioner_system="urn:oid:2.16.578.1.12.4.1.4.4",
    treatments=_TREATMENTS,
    clinics=_CLINICS,
    roles=_ROLES,
)
