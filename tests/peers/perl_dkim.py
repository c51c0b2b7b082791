"""Perl's Mail::DKIM (Debian: libmail-dkim-perl), as a second opinion on signatures. It knows RSA only."""

import json
import subprocess

from tests import peers

# The DNS of the test is a JSON object of names and TXT texts in the environment; the message is on standard input.
VERIFY = r"""
use strict; use warnings; no warnings 'redefine';
use JSON::PP; use Net::DNS::RR; use Mail::DKIM::Verifier; use Mail::DKIM::DNS;
my $zone = decode_json($ENV{ZONE});
*Mail::DKIM::DNS::query = sub {
    my ($name, $type) = @_;
    return unless defined $zone->{$name};
    my @strings = unpack("(A255)*", $zone->{$name});
    return Net::DNS::RR->new(owner => $name, type => $type, txtdata => \@strings);
};
my $verifier = Mail::DKIM::Verifier->new();
binmode STDIN;
while (my $line = <STDIN>) { $verifier->PRINT($line); }
$verifier->CLOSE;
print $verifier->result_detail, "\n";
"""


def verify(message: bytes, zone: dict[str, str]) -> str:
    """`pass`, or `fail (body has been altered)` and the like. Skips by name where Perl or the module is missing."""
    perl = peers.require("perl", package="libmail-dkim-perl")
    if subprocess.run([perl, "-MMail::DKIM", "-e", "1"], capture_output=True).returncode:
        peers.require("Mail::DKIM", package="libmail-dkim-perl")
    done = subprocess.run(
        [perl, "-e", VERIFY], input=message, env={"ZONE": json.dumps(zone)}, capture_output=True, timeout=60
    )
    assert not done.returncode, done.stderr.decode()
    return done.stdout.decode().strip()
