"""The keys that wrap the tenants' own, as they are set."""

from base64 import b64decode

BYTES = 32


def read_master_keys(text: str) -> dict[int, bytes]:
    """`1:…,2:…` by number. Raises `ValueError`, which repeats nothing of it."""
    keys: dict[int, bytes] = {}
    for each in filter(None, text.split(",")):
        number, _, written = each.partition(":")
        try:
            key = b64decode(written, validate=True)
        except ValueError:
            key = b""
        if not (number.isascii() and number.isdigit() and int(number)) or int(number) in keys or len(key) != BYTES:
            raise ValueError("must be number:key, separated by commas, from 1 on, each key 32 bytes in base64")
        keys[int(number)] = key
    return keys
