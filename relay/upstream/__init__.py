"""The upstream: the server, or the servers, that mail goes on to.

`choice` says which one carries whose mail, `failover` goes on to the next where one can't be reached, `client` brings an
envelope and its bytes to one of them, `connections` opens connections to it, `transaction` is one message on one of these.
Leaves to others: what may stand in a command (`core.envelopes`), what becomes of an outcome (`delivery`, `spool`),
access tokens (`relay.oauth`, which the mailboxes need too).
"""
