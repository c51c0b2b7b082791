"""Make a DKIM key pair: the private key goes into a file, the DNS record and the lines for relay.toml are printed."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HELP = "make a DKIM key and print its DNS record"
RSA_BITS = 2048  # what every verifier takes and what fits into one DNS answer (RFC 8301 3.2)


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="create", required=True)
    create = verbs.add_parser("create", help="make a key for a domain's mail; an existing key is never replaced")
    create.add_argument("domain", metavar="DOMAIN", help="the domain of the From addresses, e.g. example.com")
    create.add_argument("selector", metavar="SELECTOR", help="a name for this key in DNS, e.g. t1")
    kind = create.add_mutually_exclusive_group()
    kind.add_argument(
        "--rsa", action="store_true", help=f"RSA with {RSA_BITS} bits, which every receiver can verify (default)"
    )
    kind.add_argument("--ed25519", action="store_true", help="shorter and faster; some receivers can't verify it yet")
    create.add_argument("--out", metavar="FILE", help="where the private key goes; by default keys/dkim/ in state_dir")


def run(args: argparse.Namespace) -> int:
    from relay import causes, config, files
    from relay.core import dkim

    try:
        pem = generated(args.ed25519)
        signer = dkim.load(pem, args.domain, args.selector)
    except dkim.BadKey as reason:
        print(f"trackrelay dkim: {reason}", file=sys.stderr)
        return 2
    name = f"{signer.domain}.{signer.selector}.pem"
    path = Path(args.out) if args.out else config.settings_of(args).state_dir / "keys" / "dkim" / name
    try:
        if not args.out:
            files.make_folder(path.parent)
        files.write(path, pem, over=False)
    except FileExistsError:
        print(
            f"trackrelay dkim: {path} exists and is not replaced: mail signed with it could no longer be "
            "verified. Choose another selector.",
            file=sys.stderr,
        )
        return 1
    except OSError as reason:
        print(f"trackrelay dkim: {causes.at(reason, path)}", file=sys.stderr)
        return 1
    print(instructions(dkim.zone_line(signer), dkim.record(signer), path.absolute(), signer.domain, signer.selector))
    return 0


def generated(edwards: bool) -> bytes:
    """A new private key, PEM, PKCS #8."""
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ed25519.Ed25519PrivateKey.generate() if edwards else rsa.generate_private_key(65537, RSA_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def instructions(zone: str, text: str, path: Path, domain: str, selector: str) -> str:
    return "\n".join(
        (
            "; 1. Publish this TXT record. As a line of a zone file:",
            zone,
            "",
            "; or in a DNS provider's form:",
            f";   name   {selector}._domainkey.{domain}",
            f";   value  {text}",
            "",
            "# 2. Add this to relay.toml once the record is visible (trackrelay check compares the two):",
            "[[dkim]]",
            f"domain = {json.dumps(domain)}",
            f"selector = {json.dumps(selector)}",
            f"key = {json.dumps(str(path), ensure_ascii=False)}",
        )
    )
