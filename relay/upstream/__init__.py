"""The upstream: the server, or the servers, that mail goes on to.

`choice` says which one carries whose mail. `failover.Upstreams` is what the other rooms hold: it goes on to the next one
where one can't be reached. `client` brings an envelope and its bytes to one of them, over connections of a `pool`, which
`connections` opens (`logins`; `failures` where there is none); `transaction` is one message on one connection, and
`protocol` reads what is said meanwhile. Nothing is imported here, so that whoever asks for a name does not load an SMTP
library.
Leaves to others: what may stand in a command (`core.envelopes`), what is known of providers (`core.providers`), what
becomes of an outcome (`delivery`, `spool`), access tokens (`relay.oauth`, which mailboxes need too).
"""
