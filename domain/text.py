"""Words shown to people, in the languages they exist in."""

from collections.abc import Mapping, Sequence

LocalText = Mapping[str, str]
"""BCP 47 language tag → text. A missing language falls back; an empty mapping says nothing at all."""

LANGUAGES = ("nb", "sv", "en")


def said_in(text: LocalText, languages: Sequence[str]) -> str | None:
    """The text in the first wanted language it exists in, else in any; None when it does not exist."""
    for language in (*languages, *sorted(text)):
        if found := text.get(language):
            return found
    return None
