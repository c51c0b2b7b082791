"""What `trackrelay init` makes: a first relay.toml, the secrets beside it, and what to do next.

`answers` reads what somebody answers, `known` has what providers want, `writing` makes relay.toml of the answers, `asking` asks at a
terminal, `folders` has whose the files are and puts them there, `steps` says what comes next. Leaves to others: what is right in
relay.toml (`config`), whether it works (`check`).
"""
