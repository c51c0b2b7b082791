"""relay.toml -> frozen settings, or all of its mistakes at once.

`settings` has the values and their defaults, `table` the options of the file (name, kind, help), `kinds` how one value
is read, `places` on which line it stands, `loading` finds and reads a file, `contradictions` looks at the whole,
`gaps` lists what has no effect yet, `reference` writes relay.toml and docs/config.md from the table. Leaves to others: what the settings mean.
"""

from relay.config.loading import InvalidSettings, Missing, Mistake, find, load, read, settings_of
from relay.config.settings import (
    Admin,
    Dkim,
    Grant,
    Http,
    Mailbox,
    Milter,
    NamedUpstream,
    OAuth2,
    Privacy,
    Settings,
    Smtp,
    StoreSettings,
    Upstream,
    User,
    Webhook,
    WebhookDelivery,
)

__all__ = [
    "Admin",
    "Dkim",
    "Grant",
    "Http",
    "InvalidSettings",
    "Mailbox",
    "Milter",
    "Missing",
    "Mistake",
    "NamedUpstream",
    "OAuth2",
    "Privacy",
    "Settings",
    "Smtp",
    "StoreSettings",
    "Upstream",
    "User",
    "Webhook",
    "WebhookDelivery",
    "find",
    "load",
    "read",
    "settings_of",
]
