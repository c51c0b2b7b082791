"""Whether a name in the DNS is one of a mail gateway's machines.

Owns: the table of domains. Leaves to others: looking a name up, and whether it is true (`tracking_http.reverse_names`).

A domain is here only if its machines are nobody's browser. That of Mimecast and of Proofpoint's isolated browsers is
not.
"""

from __future__ import annotations

DATED = "2026-11-29"  # when the table was last looked through

# Each with where it was seen. "Received" is of mail in public archives, where the receiving server wrote the name that the
# address has in the DNS.
DOMAINS = (
    "pphosted.com",  # Proofpoint. Received at vger.kernel.org, 2024-08-21: mx0a-00069f02.pphosted.com [205.220.165.32]
    "iphmx.com",  # Cisco. Received at kernel.org, 2024-07-25: esa.microchip.iphmx.com [68.232.154.123]
    "outbound.protection.outlook.com",  # Microsoft. PTR in github.com/hmailserver/hmailserver/issues/176, 2022-01-15
    "ess.barracudanetworks.com",  # Barracuda. As MX of regis.edu, 2024-01-20; not seen as the name of an address
    "messagelabs.com",  # Broadcom. As MX (cluster5.eu.messagelabs.com) of service.justice.gov.uk; the same
)


def of_gateway(name: str) -> bool:
    """`name` is absolute or not, in any case."""
    spelt = name.rstrip(".").lower()
    return any(spelt.endswith("." + domain) for domain in DOMAINS)
