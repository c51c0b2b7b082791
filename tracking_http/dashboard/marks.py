"""How a page says which events it has seen.

Owns: the text of a position in the store, as a page gets it and gives it back. Whoever sees everybody's mail gets the
number itself. The numbers that one grant's events have would tell how much happens at the others: its pages get them
enciphered, by a key that this process alone has and forgets. A mark of an earlier process is no mark any more.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

NONE = -1  # what a text that is no mark stands for: nothing is known of what that page has seen


class Marks:
    def __init__(self) -> None:
        # One block each, of a number and of whose it is: equal positions are to have equal marks.
        self._cipher = Cipher(algorithms.AES(secrets.token_bytes(16)), modes.ECB())  # noqa: S305

    def write(self, position: int, grant: str) -> str:
        if not grant:
            return str(position)
        return self._cipher.encryptor().update(position.to_bytes(8, "big") + whose(grant)).hex()

    def read(self, text: str, grant: str) -> int:
        if not grant:
            return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else NONE
        try:
            block = bytes.fromhex(text) if len(text) == 32 else b""
        except ValueError:
            return NONE
        found = self._cipher.decryptor().update(block) if len(block) == 16 else b""
        return int.from_bytes(found[:8], "big") if found[8:] == whose(grant) else NONE


def whose(grant: str) -> bytes:
    return hashlib.blake2b(grant.encode("utf-8", "surrogatepass"), digest_size=8).digest()
