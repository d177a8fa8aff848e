"""Four made-up clinics in and around Stockholm, speaking plain FHIR R4."""

from zoneinfo import ZoneInfo

from integrations.sandbox.world import WEEKDAYS, WEEKEND, Clinic, Opening, Role, World, treatments, weekly

_TREATMENTS = treatments(
    "ad-",
    {
        "consultation": (30, "Läkarbesök", "Vanligt besök för undersökning, råd och uppföljning."),
        "long-consultation": (45, "Långt läkarbesök", "Gott om tid för sammansatta besvär eller flera frågor."),
        "vaccination": (15, "Vaccination", "Influensa, stelkramp och andra vanliga vaccin."),
        "blood-test": (15, "Blodprov", "Provtagning hos sjuksköterska. Kom fastande om du har blivit ombedd."),
        "skin-check": (45, "Hudkontroll", "Genomgång av födelsemärken och hudförändringar med dermatoskop."),
        "physiotherapy": (45, "Fysioterapi", "Undersökning och behandling av muskler och leder."),
        "psychology": (60, "Psykologsamtal", "Samtal med psykolog."),
        "dental-check": (45, "Tandkontroll", "Undersökning av tänder och tandkött."),
        "womens-health": (30, "Kvinnohälsa", "Preventivmedel, cellprov, graviditet och klimakterium."),
        "child-health": (30, "Barnhälsa", "Besök för barn tillsammans med en vuxen."),
        "travel-advice": (30, "Reserådgivning", "Råd och resevaccin inför resan."),
        "ear-care": (15, "Öronspolning", "Borttagning av öronvax."),
    },
)

_CLINICS = (
    Clinic(
        id="hs-sthlm-vasastan",
        name="Vasastans vårdcentral",
        phone="+46 8 465 004 11",
        street="Odengatan 62",
        postal_code="113 22",
        city="Stockholm",
        latitude=59.34331,
        longitude=18.05074,
        openings=weekly("08:00", "17:00", Opening(days=WEEKEND, opens="10:00", closes="15:00")),
    ),
    Clinic(
        id="hs-sthlm-sodermalm",
        name="Södermalms vårdcentral",
        phone="+46 8 465 004 21",
        street="Götgatan 71",
        postal_code="116 21",
        city="Stockholm",
        latitude=59.31203,
        longitude=18.07402,
        openings=weekly("08:00", "17:00"),
    ),
    Clinic(
        id="hs-sthlm-solna",
        name="Solna vårdcentral",
        phone="+46 8 465 004 31",
        street="Råsundavägen 40",
        postal_code="169 57",
        city="Solna",
        latitude=59.36552,
        longitude=17.99853,
        openings=weekly("07:30", "16:00"),
    ),
    Clinic(
        id="hs-sthlm-nacka",
        name="Nacka vårdcentral",
        phone="+46 8 465 004 41",
        street="Vikdalsvägen 12",
        postal_code="131 52",
        city="Nacka",
        latitude=59.31006,
        longitude=18.16301,
        openings=weekly("08:00", "16:30"),
    ),
)


def _role(
    number: int,
    given: str,
    family: str,
    title: str,
    gender: str,
    codes: str,
    *,
    days: tuple[str, ...] = WEEKDAYS,
    languages: tuple[str, ...] = ("sv", "en"),
) -> Role:
    return Role(
        id=f"pr{number}",
        schedule=f"sk{number}",
        practitioner=f"p{number}",
        clinic=_CLINICS[number // 10 - 1].id,
        given=given,
        family=family,
        title=title,
        gender=gender,
        treatments=tuple(codes.split()),
        days=days,
        languages=languages,
    )


_ROLES = (
    _role(
        11,
        "Astrid",
        "Lindqvist",
        "Läkare",
        "female",
        "consultation long-consultation skin-check womens-health travel-advice",
    ),
    _role(
        12,
        "Johan",
        "Ekström",
        "Läkare",
        "male",
        "consultation skin-check long-consultation ear-care",
        days=("mon", "tue", "thu", "fri", "sat", "sun"),
    ),
    _role(13, "Elin", "Sandberg", "Sjuksköterska", "female", "vaccination blood-test travel-advice ear-care"),
    _role(14, "Oskar", "Nyström", "Fysioterapeut", "male", "physiotherapy consultation long-consultation"),
    _role(
        21,
        "Fatima",
        "Rashidi",
        "Läkare",
        "female",
        "consultation skin-check womens-health child-health",
        languages=("sv", "en", "ar"),
    ),
    _role(22, "Gustav", "Hedlund", "Läkare", "male", "consultation long-consultation skin-check travel-advice"),
    _role(
        23,
        "Sofia",
        "Bergman",
        "Psykolog",
        "female",
        "psychology consultation long-consultation",
        days=("mon", "tue", "wed", "thu"),
    ),
    _role(31, "Karin", "Wallin", "Läkare", "female", "consultation long-consultation skin-check ear-care"),
    _role(32, "Mikael", "Åström", "Läkare", "male", "consultation skin-check child-health blood-test"),
    _role(33, "Linnea", "Forsberg", "Tandläkare", "female", "dental-check consultation long-consultation"),
    _role(
        41, "Hanna", "Söderlund", "Läkare", "female", "consultation skin-check womens-health child-health vaccination"
    ),
    _role(
        42,
        "Per",
        "Lundgren",
        "Läkare",
        "male",
        "consultation long-consultation skin-check travel-advice",
        days=("mon", "tue", "wed", "fri"),
    ),
    _role(43, "Maja", "Öberg", "Sjuksköterska", "female", "vaccination blood-test ear-care child-health"),
)

SWEDEN = World(
    name="sweden",
    dialect="r4",
    country="SE",
    language="sv",
    zone=ZoneInfo("Europe/Stockholm"),
    endpoint_id="101",
    organization_id="org-501",
    organization="Mälarvård",
    practitioner_system="urn:oid:1.2.752.29.4.19",
    treatments=_TREATMENTS,
    clinics=_CLINICS,
    roles=_ROLES,
)
