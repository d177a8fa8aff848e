"""What people are told when something cannot be done: in Norwegian, Swedish and English, with a way forward."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from domain.text import LANGUAGES

Texts = Mapping[str, str]


def _said(nb: str, sv: str, en: str) -> Texts:
    return {"nb": nb, "sv": sv, "en": en}


REFUSALS: Mapping[str, Texts] = {
    "SLOT_TAKEN": _said(
        "Timen er dessverre nettopp blitt tatt. Velg en annen tid.",
        "Tiden har tyvärr precis blivit bokad. Välj en annan tid.",
        "Sorry, this time has just been taken. Please choose another.",
    ),
    "HOLD_EXPIRED": _said(
        "Reservasjonen av timen har gått ut. Velg timen på nytt hvis den fortsatt er ledig.",
        "Reservationen av tiden har gått ut. Välj tiden igen om den fortfarande är ledig.",
        "Your reservation of this time has run out. Choose the time again if it is still free.",
    ),
    "HOLD_NOT_FOUND": _said(
        "Vi finner ikke reservasjonen. Velg en tid på nytt.",
        "Vi hittar inte reservationen. Välj en tid igen.",
        "We cannot find this reservation. Please choose a time again.",
    ),
    "HOLD_LIMIT": _said(
        "Det er reservert for mange timer herfra på kort tid. Vent noen minutter og prøv igjen.",
        "För många tider har reserverats härifrån på kort tid. Vänta några minuter och försök igen.",
        "Too many times have been reserved from here in a short while. Wait a few minutes and try again.",
    ),
    "NOT_ENOUGH_NOTICE": _said(
        "Timen starter for snart til å kunne bestilles på nett. Velg en senere tid.",
        "Tiden börjar för snart för att kunna bokas på nätet. Välj en senare tid.",
        "This time starts too soon to be booked online. Please choose a later one.",
    ),
    "NOT_ENOUGH_NOTICE_BEFORE": _said(
        "Timen starter for snart til å kunne bestilles på nett. Velg en tid fra {earliest}.",
        "Tiden börjar för snart för att kunna bokas på nätet. Välj en tid från {earliest}.",
        "This time starts too soon to be booked online. Please choose one from {earliest}.",
    ),
    "TOO_YOUNG": _said(
        "Du må ha fylt {minimum_age} år på timens dato for å bestille her. Ring klinikken, så hjelper de deg.",
        "Du måste ha fyllt {minimum_age} år på besöksdagen för att boka här. Ring kliniken, så hjälper de dig.",
        "You must be {minimum_age} or older on the day of the visit to book here. Call the clinic for help.",
    ),
    "AGE_UNKNOWN": _said(
        "Her må man ha fylt {minimum_age} år, og innloggingen oppga ikke fødselsdatoen din. Logg inn på en annen måte.",
        "Här måste man ha fyllt {minimum_age} år, och inloggningen angav inget födelsedatum. Logga in på annat sätt.",
        "You must be at least {minimum_age} here, and your login did not tell us your date of birth. "
        "Sign in another way.",
    ),
    "PATIENT_DOUBLE_BOOKED": _said(
        "Du har allerede en time som overlapper med denne.",
        "Du har redan en tid som krockar med den här.",
        "You already have a visit that overlaps with this time.",
    ),
    "CLINIC_CLOSED": _said(
        "Klinikken tar ikke imot bestillinger på nett. Ring klinikken for å bestille time.",
        "Kliniken tar inte emot bokningar på nätet. Ring kliniken för att boka tid.",
        "This clinic does not take bookings online. Please call the clinic.",
    ),
    "TREATMENT_NOT_OFFERED": _said(
        "Behandlingen tilbys ikke lenger her. Velg en annen behandling eller klinikk.",
        "Behandlingen erbjuds inte längre här. Välj en annan behandling eller klinik.",
        "This treatment is no longer offered here. Choose another treatment or clinic.",
    ),
    "CAMPAIGN_INVALID": _said(
        "Koden gjelder ikke for denne timen. Sjekk at den er riktig skrevet, eller bestill uten kode.",
        "Koden gäller inte för den här tiden. Kontrollera stavningen, eller boka utan kod.",
        "This code does not apply to this time. Check the spelling, or book without a code.",
    ),
    "CAMPAIGN_EXHAUSTED": _said(
        "Kampanjen er brukt opp. Du kan fortsatt bestille uten kode.",
        "Kampanjen är slut. Du kan fortfarande boka utan kod.",
        "This campaign has been used up. You can still book without a code.",
    ),
    "TERMS_NOT_ACCEPTED": _said(
        "Les og godta vilkårene (versjon {version}) for å bestille.",
        "Läs och godkänn villkoren (version {version}) för att boka.",
        "Read and accept the terms (version {version}) to book.",
    ),
    "NATIONAL_ID_REQUIRED": _said(
        "Klinikken trenger fødselsnummeret ditt. Logg inn med BankID eller Vipps.",
        "Kliniken behöver ditt personnummer. Logga in med BankID.",
        "The clinic needs your national identity number. Sign in with BankID or Vipps.",
    ),
    "CHANGE_NOT_ALLOWED": _said(
        "Timen kan ikke endres her.", "Tiden kan inte ändras här.", "This booking cannot be changed here."
    ),
    "STALE_VERSION": _said(
        "Timen er endret i mellomtiden. Se over den på nytt og prøv igjen.",
        "Bokningen har ändrats under tiden. Titta igenom den och försök igen.",
        "The booking has changed in the meantime. Look it over and try again.",
    ),
    "UPSTREAM_UNAVAILABLE": _said(
        "Klinikkens system svarer ikke akkurat nå. Prøv igjen om litt, eller ring klinikken.",
        "Klinikens system svarar inte just nu. Försök igen om en stund, eller ring kliniken.",
        "The clinic's system is not answering right now. Try again in a while, or call the clinic.",
    ),
    "REJECTED_BY_EHR": _said(
        "Klinikken kunne ikke ta imot bestillingen. Velg en annen tid, eller ring klinikken.",
        "Kliniken kunde inte ta emot bokningen. Välj en annan tid, eller ring kliniken.",
        "The clinic could not accept this booking. Choose another time, or call the clinic.",
    ),
    "IDEMPOTENCY_KEY_REUSED": _said(
        "Forespørselen er allerede brukt til noe annet. Last siden på nytt og prøv igjen.",
        "Begäran har redan använts till något annat. Ladda om sidan och försök igen.",
        "This request was already used for something else. Reload the page and try again.",
    ),
    "IN_PROGRESS": _said(
        "Vi holder allerede på med dette. Vent litt, så kommer svaret.",
        "Vi arbetar redan med detta. Vänta lite, så kommer svaret.",
        "We are already working on this. Wait a moment for the answer.",
    ),
    "INVALID_INPUT": _said(
        "Noe er ikke riktig fylt ut. Rett det og prøv igjen.",
        "Något är inte rätt ifyllt. Rätta det och försök igen.",
        "Something is not filled in correctly. Put it right and try again.",
    ),
    "NOT_FOUND": _said(
        "Vi finner ikke det du leter etter. Det kan være fjernet.",
        "Vi hittar inte det du söker. Det kan ha tagits bort.",
        "We cannot find what you are looking for. It may have been removed.",
    ),
}

CHANGE_REFUSALS: Mapping[str, Texts] = {
    "NOT_ALLOWED": _said(
        "Timen kan ikke endres på nett.", "Tiden kan inte ändras på nätet.", "This booking cannot be changed online."
    ),
    "TOO_LATE": _said(
        "Det er for tett på timen til å endre den på nett.",
        "Det är för nära inpå besöket för att ändra på nätet.",
        "It is too close to the visit to change it online.",
    ),
    "GRACE_OVER": _said(
        "Fristen for å endre timen etter bestilling er ute.",
        "Fristen för att ändra efter bokningen har gått ut.",
        "The time to change this booking after making it has passed.",
    ),
    "COUNT_EXCEEDED": _said(
        "Timen er flyttet så mange ganger som klinikken tillater på nett.",
        "Tiden har flyttats så många gånger som kliniken tillåter på nätet.",
        "This booking has been moved as many times as the clinic allows online.",
    ),
    "ALREADY_STARTED": _said(
        "Timen har allerede startet.", "Besöket har redan börjat.", "The visit has already started."
    ),
    "EHR_OFFLINE": _said(
        "Klinikkens system svarer ikke akkurat nå. Prøv igjen om litt.",
        "Klinikens system svarar inte just nu. Försök igen om en stund.",
        "The clinic's system is not answering right now. Try again in a while.",
    ),
    "MANAGED_EXTERNALLY": _said(
        "Timen er avtalt direkte med klinikken og endres hos dem.",
        "Tiden är avtalad direkt med kliniken och ändras hos dem.",
        "This visit was arranged with the clinic and is changed there.",
    ),
    "A_VISIT": _said("Time hos klinikken", "Besök hos kliniken", "Visit at the clinic"),
    "CALL_THE_CLINIC": _said("Ring klinikken på {phone}.", "Ring kliniken på {phone}.", "Call the clinic on {phone}."),
}

OWN_DATA: Mapping[str, Texts] = {
    "EXPORT_WITHOUT_RECORDS": _said(
        "Her er alt vi har om deg. Det klinikkene har i sine journaler og timebøker, får du hos dem.",
        "Här är allt vi har om dig. Det som klinikerna har i sina journaler och tidböcker får du hos dem.",
        "This is everything we have about you. What clinics keep in their own records you get from them.",
    ),
    "LEFT_STANDING": _said(
        "Timen din {when} står fortsatt, og klinikken venter deg. Avlys den hos klinikken hvis du ikke kommer.",
        "Ditt besök {when} står kvar, och kliniken väntar dig. Avboka hos kliniken om du inte kommer.",
        "Your visit on {when} still stands, and the clinic expects you. Cancel it with them if you are not coming.",
    ),
    "LEFT_STANDING_AT": _said(
        "Timen din hos {clinic} {when} står fortsatt, og de venter deg. Avlys den hos dem hvis du ikke kommer.",
        "Ditt besök hos {clinic} {when} står kvar, och de väntar dig. Avboka hos dem om du inte kommer.",
        "Your visit at {clinic} on {when} still stands: they expect you. Cancel it with them if you are not coming.",
    ),
    "LEFT_IN_RECORDS": _said(
        "Klinikkenes egne journaler og timebøker. De er klinikkenes å ta vare på: spør dem.",
        "Klinikernas egna journaler och tidböcker. Dem ansvarar klinikerna för: fråga dem.",
        "The clinics' own records and calendars. They are theirs to keep: ask them.",
    ),
    "LEFT_IN_THE_TRAIL": _said(
        "Loggen over hvem som har gjort hva, som loven krever at vi tar vare på i fem år. Der er du bare et tall.",
        "Loggen över vem som har gjort vad, som vi enligt lag ska spara i fem år. Där är du bara ett slumpat nummer.",
        "The log of who did what, which the law has us keep for five years. In it you are only a random number.",
    ),
    "LEFT_FOR_A_MONTH": _said(
        "I tretti dager et uleselig merke av innloggingen din, så ingen glemt innlogging registrerer deg på nytt.",
        "I trettio dagar ett oläsligt märke av din inloggning, så att ingen glömd inloggning registrerar dig igen.",
        "For thirty days an unreadable mark of your sign-in, so that no forgotten login registers you again.",
    ),
}

TOP_LEVEL: Mapping[str, Texts] = {
    "UNAUTHENTICATED": _said("Du må logge inn.", "Du måste logga in.", "Please sign in."),
    "KEY_ENDED": _said(
        "API-nøkkelen eller systemtokenet gjelder ikke lenger. Ta i bruk et nytt.",
        "API-nyckeln eller systemtoken gäller inte längre. Börja använda en ny.",
        "The API key or system token is no longer valid. Use a new one.",
    ),
    "FORBIDDEN": _said(
        "Du har ikke tilgang til dette.", "Du har inte tillgång till detta.", "You do not have access to this."
    ),
    "NOT_FROM_OUR_PAGES": _said(
        "Forespørselen kom ikke fra våre egne sider. Last siden på nytt og prøv igjen.",
        "Begäran kom inte från våra egna sidor. Ladda om sidan och försök igen.",
        "This request did not come from our own pages. Reload the page and try again.",
    ),
    "STEP_UP_REQUIRED": _said(
        "Logg inn på nytt for å fortsette.", "Logga in igen för att fortsätta.", "Sign in again to go on."
    ),
    "LOGIN_ASTRAY": _said(
        "Du ble ikke logget inn. Gå tilbake til siden du kom fra, og prøv igjen.",
        "Inloggningen lyckades inte. Gå tillbaka till sidan du kom från och försök igen.",
        "You were not signed in. Go back to the page you came from and try again.",
    ),
    "OPERATION_TOO_COMPLEX": _said(
        "Det ble spurt om for mye på en gang.",
        "För mycket efterfrågades på en gång.",
        "Too much was asked for at once.",
    ),
    "RATE_LIMITED": _said(
        "For mange forsøk. Vent litt og prøv igjen.",
        "För många försök. Vänta lite och försök igen.",
        "Too many attempts. Wait a little and try again.",
    ),
    "TIMEOUT": _said(
        "Det tok for lang tid. Prøv igjen.",
        "Det tog för lång tid. Försök igen.",
        "This took too long. Please try again.",
    ),
    "INTERNAL_SERVER_ERROR": _said("Noe gikk galt.", "Något gick fel.", "Something went wrong."),
}

_ALL: Mapping[str, Texts] = {**REFUSALS, **CHANGE_REFUSALS, **OWN_DATA, **TOP_LEVEL}


def message(code: str, languages: Sequence[str], **values: object) -> str:
    """The text for a code in the first wanted language that it exists in. Raises `KeyError` for an unknown code."""
    texts = _ALL[code]
    return next(texts[language] for language in (*languages, *LANGUAGES) if language in texts).format(**values)


def in_english(text: str) -> str:
    """One of ours, said to whoever wrote the client; what is none of ours stays as it is."""
    return next((texts["en"] for texts in _ALL.values() if text in texts.values()), text)


def local_time(moment: datetime, zone: ZoneInfo, languages: Sequence[str]) -> str:
    """Day and time on the clinic's wall, to go into a sentence: "3.9. kl. 14.30", "3/9 kl. 14.30", "3/9 at 14:30"."""
    local = moment.astimezone(zone)
    language = next((tag for tag in languages if tag in LANGUAGES), LANGUAGES[0])
    day = f"{local.day}.{local.month}." if language == "nb" else f"{local.day}/{local.month}"
    return f"{day} at {local:%H:%M}" if language == "en" else f"{day} kl. {local:%H.%M}"
