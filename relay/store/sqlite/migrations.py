"""The steps from an empty file to today's tables, numbered from 1. Each is applied once, in order; `schema` keeps count.

Owns: the tables, their columns and indexes. Leaves to others: what stands in them (`relay.store.tables`; a test compares
the columns), when a step is made (`schema`).

A step that was released is never changed: what changes is a new one at the end. sqlite-utils makes ordinary tables,
columns and indexes, and alters tables in ways that SQLite's own ALTER TABLE can't (`transform`). SQL is for what it has no
words for: AUTOINCREMENT, UNIQUE, partial indexes, and WITHOUT ROWID, which `transform` also would take away.

Times are Unix seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from relay.core import domains, urls

if TYPE_CHECKING:
    from sqlite_utils import Database

Step = Callable[["Database"], None]

# One row per envelope recipient. idx is the recipient index of its tokens; sole is 0 where several share it.
COPIES = """
CREATE TABLE copies (
  message_id TEXT NOT NULL,
  idx INTEGER NOT NULL,
  position INTEGER NOT NULL,
  recipient TEXT NOT NULL,
  sole INTEGER NOT NULL,
  tracked INTEGER NOT NULL,
  reason TEXT,
  state TEXT NOT NULL,
  reply TEXT NOT NULL,
  upstream_id TEXT NOT NULL,
  PRIMARY KEY (message_id, idx, position)
) WITHOUT ROWID
"""
# Every Message-ID by which an answer may name a message: its own, and what the upstream made of it.
IDENTIFIERS = """
CREATE TABLE identifiers (
  identifier TEXT NOT NULL,
  message_id TEXT NOT NULL,
  PRIMARY KEY (identifier, message_id)
) WITHOUT ROWID
"""
# What happened. position is the cursor of those who follow, and never used twice.
EVENTS = """
CREATE TABLE events (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id TEXT NOT NULL UNIQUE,
  type TEXT NOT NULL,
  message_id TEXT NOT NULL,
  at REAL NOT NULL,
  recipient_index INTEGER NOT NULL,
  recipient TEXT NOT NULL,
  link_index INTEGER NOT NULL,
  url TEXT NOT NULL,
  method TEXT NOT NULL,
  ip TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  referer TEXT NOT NULL,
  verdict TEXT NOT NULL,
  reason TEXT NOT NULL,
  data TEXT NOT NULL,                  -- JSON, or empty
  grant_id TEXT NOT NULL,
  sequence INTEGER NOT NULL,           -- per message, from 1
  counted INTEGER NOT NULL,
  ordinal INTEGER NOT NULL,            -- per message and type among the counted, from 0; else -1
  link_counts TEXT NOT NULL            -- of a counted click: JSON, link index to clicks so far; else empty
)
"""
# core.tally's Facts per message, as JSON. Also of messages whose row is gone.
TALLIES = """
CREATE TABLE tallies (
  message_id TEXT PRIMARY KEY,
  facts TEXT NOT NULL
) WITHOUT ROWID
"""
# The outbox: one row per notification owed. A lease is next_at moved ahead.
DELIVERIES = """
CREATE TABLE deliveries (
  delivery_id INTEGER PRIMARY KEY AUTOINCREMENT,
  position INTEGER NOT NULL,           -- of its event
  endpoint_id TEXT NOT NULL,
  trigger TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending',  -- pending, delivered, dead
  attempt INTEGER NOT NULL DEFAULT 0,
  first_at REAL NOT NULL,
  next_at REAL NOT NULL,
  settled_at REAL NOT NULL DEFAULT 0,
  status INTEGER NOT NULL DEFAULT 0,
  error TEXT NOT NULL DEFAULT ''
)
"""
DELIVERIES_DUE = "CREATE INDEX deliveries_due ON deliveries (endpoint_id, next_at) WHERE state = 'pending'"
DELIVERIES_DEAD = "CREATE INDEX deliveries_dead ON deliveries (endpoint_id) WHERE state = 'dead'"
API_KEYS = """
CREATE TABLE api_keys (
  name TEXT PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,
  scopes TEXT NOT NULL,                -- JSON
  "grant" TEXT NOT NULL,
  created_at REAL NOT NULL,
  last_used_at REAL NOT NULL
)
"""
# Written to by Store.check: can this disk still be written?
PROBE = "CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), at REAL NOT NULL)"


def first(db: Database) -> None:
    # Mail as it was sent. message_id is ours: 20 characters of a 12-byte key that sorts by time.
    table(
        db,
        "messages",
        {
            "message_id": str,
            "grant_id": str,
            "internet_message_id": str,  # no angle brackets
            "thread_id": str,  # the message_id of the thread's first message here
            "submitted_at": float,
            "sender": str,
            "reverse_path": str,
            "to": str,  # JSON
            "cc": str,  # JSON
            "subject": str,
            "label": str,
            "metadata": str,  # JSON
            "submitter_ip": str,
            "size": int,
            "opens": int,
            "links_tracked": int,
            "thread_replies": int,
            "reason": str,
            "links": str,  # JSON: the tracked URLs by occurrence
            "references": str,  # JSON
            "explanation": str,  # JSON
        },
        null="reason",
    )
    table(db, "cursors", {"mailbox": str, "uidvalidity": int, "uid": int, "seen": str})  # seen: JSON
    table(
        db,
        "endpoints",
        {
            "endpoint_id": str,
            "url": str,
            "triggers": str,  # JSON
            "secret": str,  # empty for those of the configuration
            "verdicts": str,  # JSON
            "format": str,
            "source": str,
            "status": str,
        },
    )
    for sql in (COPIES, IDENTIFIERS, EVENTS, TALLIES, DELIVERIES, DELIVERIES_DUE, DELIVERIES_DEAD, API_KEYS, PROBE):
        db.execute(sql)
    db.table("messages").create_index(["submitted_at"], "messages_submitted")
    # One index for a message's events and for its newest counted ones: each further one costs a page per hit.
    db.table("events").create_index(["message_id", "type", "ordinal"], "events_message")
    db.table("deliveries").create_index(["position"], "deliveries_position")


def table(db: Database, name: str, columns: Mapping[str, type], *, null: str = "") -> None:
    """The first column is the primary key; none may be NULL but `null`."""
    key, *others = columns
    db.table(name).create(dict(columns), pk=key, not_null={column for column in others if column != null})


LEFT = """
SELECT message_id, explanation FROM messages WHERE message_id > ? AND explanation LIKE '%"left":[[%'
ORDER BY message_id LIMIT 1000
"""


def second(db: Database) -> None:
    """Of the links that were left as they were, explanations had the whole URL: now scheme and host and how many, and no
    more than that of those with credentials, and of those that nobody asked to track. What stood there is overwritten."""
    (usual,) = db.execute("PRAGMA secure_delete").fetchone()
    db.execute("PRAGMA secure_delete = ON")
    last = ""
    while found := db.execute(LEFT, (last,)).fetchall():
        for last, text in found:
            explanation = json.loads(text)
            explanation["left"] = counted(explanation["left"])
            mended = json.dumps(explanation, separators=(",", ":"), ensure_ascii=False)
            db.execute("UPDATE messages SET explanation = ? WHERE message_id = ?", (mended, last))
    db.execute(f"PRAGMA secure_delete = {int(usual)}")


def counted(left: Sequence[Any]) -> list[list[Any]]:
    """[part, URL, reason] of each link -> [part, scheme and host or "", reason, how many]."""
    found: dict[tuple[str, str, str], int] = {}
    for part, url, reason in left:
        key = (part, "" if reason in ("credentials", "not_requested") else urls.place(url), reason)
        found[key] = found.get(key, 0) + 1
    return [[*key, number] for key, number in found.items()]


# First attempts go by turn, all others by time: of each, those that come next stand at one end of an index.
DELIVERIES_FRESH = (
    "CREATE INDEX deliveries_fresh ON deliveries (endpoint_id, turn) WHERE state = 'pending' AND attempt = 0"
)
DELIVERIES_AGAIN = (
    "CREATE INDEX deliveries_again ON deliveries (endpoint_id, next_at) WHERE state = 'pending' AND attempt > 0"
)


def third(db: Database) -> None:
    """Whose turn it is at an endpoint."""
    db.execute("ALTER TABLE deliveries ADD COLUMN turn REAL NOT NULL DEFAULT 0")
    db.execute("UPDATE deliveries SET turn = first_at WHERE state = 'pending'")
    db.execute("DROP INDEX deliveries_due")
    db.execute(DELIVERIES_FRESH)
    db.execute(DELIVERIES_AGAIN)


def fourth(db: Database) -> None:
    """Which login handed a message in."""
    db.execute("ALTER TABLE messages ADD COLUMN login TEXT NOT NULL DEFAULT ''")


# Only what a milter handed back has one.
MESSAGES_QUEUED = "CREATE INDEX messages_queued ON messages (queue_id, message_id) WHERE queue_id != ''"


def fifth(db: Database) -> None:
    """What a mail server calls the messages that it asked about by the milter protocol."""
    db.execute("ALTER TABLE messages ADD COLUMN queue_id TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE messages ADD COLUMN daemon TEXT NOT NULL DEFAULT ''")
    db.execute(MESSAGES_QUEUED)


# The octets of what is sent later or in pieces: of a draft's attachments, of a schedule's message. They go in the
# transaction in which their owner goes, are in every copy of the file, and stand in no row that a list reads.
CONTENTS = """
CREATE TABLE contents (
  owner_id TEXT NOT NULL,              -- a draft_id or schedule_id
  number INTEGER NOT NULL,
  octets BLOB NOT NULL,
  UNIQUE (owner_id, number)
)
"""
SCHEDULES_DUE = "CREATE INDEX schedules_due ON schedules (next_at) WHERE state IN ('scheduled', 'handed')"
SCHEDULES_CLAIMED = (
    "CREATE INDEX schedules_claimed ON schedules (next_at) WHERE state IN ('scheduled', 'handed') AND attempt > 0"
)


def sixth(db: Database) -> None:
    """Drafts, and messages that are sent later."""
    table(
        db,
        "drafts",
        {"draft_id": str, "grant_id": str, "created_at": float, "updated_at": float, "fields": str},  # fields: JSON
    )
    table(
        db,
        "schedules",
        {
            "schedule_id": str,
            "grant_id": str,
            "message_id": str,
            "send_at": float,
            "created_at": float,
            "fields": str,  # JSON
            "state": str,  # scheduled, handed, sent, failed, cancelled
            "next_at": float,
            "attempt": int,
            "closed_at": float,
            "error": str,
            "handed": int,  # the attempt that handed it over
        },
    )
    db.execute(CONTENTS)
    db.table("drafts").create_index(["grant_id", "draft_id"], "drafts_grant")
    db.table("schedules").create_index(["grant_id", "schedule_id"], "schedules_grant")
    db.execute(SCHEDULES_DUE)
    db.execute(SCHEDULES_CLAIMED)


# What rates are made of: see core.counts. hour is hours since 1970.
COUNTS = """
CREATE TABLE counts (
  dimension TEXT NOT NULL,
  hour INTEGER NOT NULL,
  grant_id TEXT NOT NULL,
  value TEXT NOT NULL,
  sent INTEGER NOT NULL,
  delivered INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  bounced INTEGER NOT NULL,
  replies INTEGER NOT NULL,
  opens INTEGER NOT NULL,
  first_opens INTEGER NOT NULL,
  clicks INTEGER NOT NULL,
  first_clicks INTEGER NOT NULL,
  machine_opens INTEGER NOT NULL,
  machine_first_opens INTEGER NOT NULL,
  machine_clicks INTEGER NOT NULL,
  machine_first_clicks INTEGER NOT NULL,
  any_first_opens INTEGER NOT NULL,
  any_first_clicks INTEGER NOT NULL,
  PRIMARY KEY (dimension, hour, grant_id, value)
) WITHOUT ROWID
"""
# The counted hits per message and recipient index.
SEEN = """
CREATE TABLE seen (
  message_id TEXT NOT NULL,
  idx INTEGER NOT NULL,
  opens INTEGER NOT NULL,
  machine_opens INTEGER NOT NULL,
  clicks INTEGER NOT NULL,
  machine_clicks INTEGER NOT NULL,
  PRIMARY KEY (message_id, idx)
) WITHOUT ROWID
"""
# One row: up to which message_id all is in the counters; NULL is to the end.
COUNTING = "CREATE TABLE counting (id INTEGER PRIMARY KEY CHECK (id = 1), upto TEXT)"


def seventh(db: Database) -> None:
    """Counters. What is there already is counted later, in steps, beside the mail."""
    for sql in (COUNTS, SEEN, COUNTING):
        db.execute(sql)
    db.execute("INSERT INTO counting (id, upto) SELECT 1, CASE WHEN EXISTS (SELECT 1 FROM messages) THEN '' END")


def eighth(db: Database) -> None:
    """Endpoints that are made by the API, and how each attempt at a notification ended."""
    for column in (
        "registry TEXT NOT NULL DEFAULT 'own'",
        "grant_id TEXT NOT NULL DEFAULT ''",
        "description TEXT NOT NULL DEFAULT ''",
        "notify TEXT NOT NULL DEFAULT '[]'",  # JSON
        "compressed INTEGER NOT NULL DEFAULT 0",
        "created_at REAL NOT NULL DEFAULT 0",
        "updated_at REAL NOT NULL DEFAULT 0",
        "status_updated_at REAL NOT NULL DEFAULT 0",
        "previous_secret TEXT NOT NULL DEFAULT ''",
        "rotated_at REAL NOT NULL DEFAULT 0",
    ):
        db.execute(f"ALTER TABLE endpoints ADD COLUMN {column}")
    db.execute("ALTER TABLE deliveries ADD COLUMN attempts TEXT NOT NULL DEFAULT ''")  # JSON, or empty
    # Of an endpoint, those of a state, newest first: an index ends with the rowid, which is the delivery_id.
    db.execute("CREATE INDEX deliveries_state ON deliveries (endpoint_id, state)")
    db.execute("DROP INDEX deliveries_dead")


def ninth(db: Database) -> None:
    """Calls of the API that may be repeated."""
    table(
        db,
        "requests",
        {"request_key": str, "digest": str, "message_id": str, "at": float, "state": str, "answer": str},
    )
    db.table("requests").create_index(["at"], "requests_at")


# What was kept of answers in the senders' mailboxes.
ANSWERS = """
CREATE TABLE answers (
  answer_id TEXT NOT NULL,
  grant_id TEXT NOT NULL,
  message_id TEXT NOT NULL,            -- that it answers
  thread_id TEXT NOT NULL,
  at REAL NOT NULL,
  internet_message_id TEXT NOT NULL,   -- no angle brackets
  sender TEXT NOT NULL,
  sender_name TEXT NOT NULL,
  "to" TEXT NOT NULL,                  -- JSON
  cc TEXT NOT NULL,                    -- JSON
  subject TEXT NOT NULL,
  date REAL NOT NULL,
  "references" TEXT NOT NULL,          -- JSON
  excerpt TEXT NOT NULL,
  size INTEGER NOT NULL,
  automatic INTEGER NOT NULL,
  PRIMARY KEY (answer_id, grant_id)
) WITHOUT ROWID
"""
# Addresses are found without regard to case. Each ends in the list's order, so that a page walks along it.
LISTS = (
    "DROP INDEX messages_submitted",
    "CREATE INDEX messages_submitted ON messages (submitted_at, message_id)",
    "CREATE INDEX messages_grant ON messages (grant_id, submitted_at, message_id)",
    "CREATE INDEX messages_thread ON messages (thread_id, submitted_at, message_id)",
    "CREATE INDEX messages_label ON messages (label, submitted_at, message_id) WHERE label != ''",
    "CREATE INDEX messages_sender ON messages (sender COLLATE NOCASE, submitted_at, message_id)",
    "CREATE INDEX messages_domain ON messages (sender_domain, submitted_at, message_id)",
    "CREATE INDEX copies_recipient ON copies (recipient COLLATE NOCASE, at, message_id)",
    "CREATE INDEX copies_undelivered ON copies (state, at, message_id) WHERE state IN ('later', 'never')",
    "CREATE INDEX answers_grant ON answers (grant_id, at, answer_id)",
    "CREATE INDEX answers_thread ON answers (thread_id, at, answer_id)",
    "CREATE INDEX answers_message ON answers (message_id)",
    "CREATE INDEX events_at ON events (at, position)",
    "CREATE INDEX events_grant ON events (grant_id, at, position)",
)
SENT_AT = """
UPDATE copies SET at = coalesce((SELECT submitted_at FROM messages m WHERE m.message_id = copies.message_id), 0)
"""


def tenth(db: Database) -> None:
    """Lists by index: of messages, threads and events. And what is kept of answers."""
    db.execute("ALTER TABLE messages ADD COLUMN sender_domain TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE copies ADD COLUMN at REAL NOT NULL DEFAULT 0")  # the message's submitted_at
    db.register_function(domains.of_address, name="domain_of")
    db.execute("UPDATE messages SET sender_domain = domain_of(sender)")
    db.execute(SENT_AT)
    db.execute(ANSWERS)
    for sql in LISTS:
        db.execute(sql)


def eleventh(db: Database) -> None:
    """Until when a mailbox was read, and what in it could not be."""
    db.execute("ALTER TABLE cursors ADD COLUMN at REAL NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE cursors ADD COLUMN passed TEXT NOT NULL DEFAULT '[]'")  # JSON


def twelfth(db: Database) -> None:
    """Messages by the metadata that Nylas' clients ask for."""
    for name in ("key1", "key2", "key3", "key4", "key5"):
        db.execute(
            f"CREATE INDEX messages_{name} ON messages (metadata ->> '$.{name}', submitted_at, message_id)"
            f" WHERE metadata != '{{}}' AND metadata ->> '$.{name}' IS NOT NULL"
        )


def thirteenth(db: Database) -> None:
    """Whose answers are told is said per copy, and answers are found by their Message-ID."""
    db.execute("ALTER TABLE copies ADD COLUMN thread_replies INTEGER NOT NULL DEFAULT 0")
    db.execute(
        "UPDATE copies SET thread_replies = 1 WHERE reason IS NOT 'excluded_recipient'"
        " AND message_id IN (SELECT message_id FROM messages WHERE thread_replies)"
    )
    db.execute("CREATE INDEX answers_named ON answers (internet_message_id, grant_id) WHERE internet_message_id != ''")


# Lists of events walk along the types that are asked for, side by side: a rare type is found at once, and whoever asks
# for all reads the few that there are.
EVENTS_BY_TYPE = (
    "DROP INDEX events_at",
    "DROP INDEX events_grant",
    "CREATE INDEX events_type ON events (type, at, position)",
    "CREATE INDEX events_grant ON events (grant_id, type, at, position)",
)
# How many deliveries of each state an endpoint has. Triggers keep it: a delivery changes, and goes, in many ways.
STANDINGS = """
CREATE TABLE standings (
  endpoint_id TEXT NOT NULL,
  state TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (endpoint_id, state)
) WITHOUT ROWID
"""
MORE = """
INSERT INTO standings (endpoint_id, state, number) VALUES (new.endpoint_id, new.state, 1)
ON CONFLICT (endpoint_id, state) DO UPDATE SET number = number + 1
"""
LESS = "UPDATE standings SET number = number - 1 WHERE endpoint_id = old.endpoint_id AND state = old.state"
TRIGGERS = (
    f"CREATE TRIGGER deliveries_made AFTER INSERT ON deliveries BEGIN {MORE}; END",
    "CREATE TRIGGER deliveries_moved AFTER UPDATE OF state ON deliveries WHEN old.state != new.state "
    f"BEGIN {LESS}; {MORE}; END",
    f"CREATE TRIGGER deliveries_gone AFTER DELETE ON deliveries BEGIN {LESS}; END",
)


def fourteenth(db: Database) -> None:
    """Events by type, and how many deliveries an endpoint has of each state."""
    for sql in (*EVENTS_BY_TYPE, STANDINGS):
        db.execute(sql)
    db.execute("INSERT INTO standings SELECT endpoint_id, state, count(*) FROM deliveries GROUP BY endpoint_id, state")
    for sql in TRIGGERS:
        db.execute(sql)


NOTICES = """
CREATE TABLE notices (
  notice_id TEXT PRIMARY KEY,
  endpoint_id TEXT NOT NULL,
  status TEXT NOT NULL,
  at REAL NOT NULL,
  since REAL NOT NULL,
  error TEXT NOT NULL,
  "to" TEXT NOT NULL,                  -- JSON
  url TEXT NOT NULL,
  description TEXT NOT NULL,
  registry TEXT NOT NULL,
  entry TEXT NOT NULL                  -- once it was handed over to the spool
) WITHOUT ROWID
"""


def fifteenth(db: Database) -> None:
    """What is to be told by mail of endpoints that fail."""
    db.execute(NOTICES)
    db.execute("CREATE INDEX notices_at ON notices (at, notice_id)")


# What messages said, where that is kept. `start` are the octets of all that were kept before: so it is known without
# counting what is too much.
KEPT = (
    """
CREATE TABLE kept (
  message_id TEXT PRIMARY KEY,
  at REAL NOT NULL,
  start INTEGER NOT NULL,
  octets BLOB NOT NULL
)
""",
    "CREATE INDEX kept_at ON kept (at)",
    "CREATE INDEX kept_start ON kept (start)",
)


def sixteenth(db: Database) -> None:
    """What messages said, where that is kept."""
    for sql in KEPT:
        db.execute(sql)


# Who shares the store: see relay.core.nodes. And which process watches which mailbox, until when.
NODES = (
    """
CREATE TABLE nodes (
  name TEXT NOT NULL,
  roles TEXT NOT NULL,                 -- JSON
  process TEXT NOT NULL,
  version TEXT NOT NULL,
  started_at REAL NOT NULL,
  at REAL NOT NULL,
  queue INTEGER NOT NULL,
  oldest REAL NOT NULL,
  keys TEXT NOT NULL,                  -- JSON: key id -> fingerprint
  signs INTEGER NOT NULL,
  endpoints TEXT NOT NULL,             -- JSON: endpoint_id -> likeness
  stopped INTEGER NOT NULL,
  PRIMARY KEY (name, roles)
) WITHOUT ROWID
""",
    """
CREATE TABLE leases (
  mailbox TEXT PRIMARY KEY,
  holder TEXT NOT NULL,
  until REAL NOT NULL
) WITHOUT ROWID
""",
)


def seventeenth(db: Database) -> None:
    """The nodes, and their leases of mailboxes."""
    for sql in NODES:
        db.execute(sql)


# Recipients who are not tracked, or not written to (see relay.core.suppressions); and who wants to be forgotten.
SUPPRESSIONS = (
    """
CREATE TABLE suppressions (
  digest TEXT NOT NULL,
  grant_id TEXT NOT NULL,
  reason TEXT NOT NULL,
  recipient TEXT NOT NULL,             -- empty once it was erased
  since REAL NOT NULL,
  source TEXT NOT NULL,
  event_id TEXT NOT NULL,
  note TEXT NOT NULL,
  PRIMARY KEY (digest, grant_id, reason)
) WITHOUT ROWID
""",
    "CREATE INDEX suppressions_since ON suppressions (since, digest, grant_id, reason)",
    "CREATE INDEX suppressions_grant ON suppressions (grant_id, since, digest, reason)",
    "CREATE INDEX suppressions_reason ON suppressions (reason, since, digest, grant_id)",
    """
CREATE TABLE erasures (
  digest TEXT PRIMARY KEY,
  recipient TEXT NOT NULL,
  at REAL NOT NULL,
  message_id TEXT NOT NULL
) WITHOUT ROWID
""",
    "CREATE INDEX erasures_at ON erasures (at, digest)",
)


def eighteenth(db: Database) -> None:
    """Recipients who are not tracked, or not written to; and who wants to be forgotten."""
    for sql in SUPPRESSIONS:
        db.execute(sql)


def nineteenth(db: Database) -> None:
    """What a hit was taken for at first, and when that changed; how long an endpoint waits for it."""
    db.execute("ALTER TABLE events ADD COLUMN first_verdict TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE events ADD COLUMN changed_at REAL NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE endpoints ADD COLUMN settle REAL NOT NULL DEFAULT 0")


# A grant's part of a thread stands together; so do its entries of one reason. Of what has one Message-ID the first is found.
TOGETHER = (
    "DROP INDEX messages_thread",
    "CREATE INDEX messages_thread ON messages (grant_id, thread_id, submitted_at, message_id)",
    "DROP INDEX answers_thread",
    "CREATE INDEX answers_thread ON answers (grant_id, thread_id, at, answer_id)",
    "DROP INDEX answers_named",
    "CREATE INDEX answers_named ON answers (internet_message_id, grant_id, answer_id) WHERE internet_message_id != ''",
    "DROP INDEX suppressions_grant",
    "CREATE INDEX suppressions_grant ON suppressions (reason, grant_id, since, digest)",
    "DROP INDEX events_grant",
    "CREATE INDEX events_grant ON events (type, grant_id, at, position)",
)


def twentieth(db: Database) -> None:
    """Threads, answers and suppressions by index where there are very many."""
    for sql in TOGETHER:
        db.execute(sql)


def twenty_first(db: Database) -> None:
    """In whose spool a message is that was to be sent later."""
    db.execute("ALTER TABLE schedules ADD COLUMN holder TEXT NOT NULL DEFAULT ''")


# A row that is found by these is read anyway, so that most end with the time: what has one time is sorted then. By messages_grant
# rows are counted too, so it is left as it is. Events have their position as the rowid, with which each index ends. Of a thread the
# first message is found by its id, which is the thread's.
SHORT = (
    "DROP INDEX messages_submitted",
    "CREATE INDEX messages_submitted ON messages (submitted_at)",
    "DROP INDEX messages_thread",
    "CREATE INDEX messages_thread ON messages (grant_id, thread_id, submitted_at, message_id) WHERE thread_id != message_id",
    "DROP INDEX messages_label",
    "CREATE INDEX messages_label ON messages (label, submitted_at) WHERE label != ''",
    "DROP INDEX messages_sender",
    "CREATE INDEX messages_sender ON messages (sender COLLATE NOCASE, submitted_at)",
    "DROP INDEX messages_domain",
    "CREATE INDEX messages_domain ON messages (sender_domain, submitted_at)",
    "DROP INDEX events_type",
    "CREATE INDEX events_type ON events (type, at)",
    "DROP INDEX events_grant",
    "CREATE INDEX events_grant ON events (type, grant_id, at)",
)


def twenty_second(db: Database) -> None:
    """Shorter indexes."""
    for sql in SHORT:
        db.execute(sql)


STEPS: tuple[Step, ...] = (
    first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth, eleventh, twelfth,
    thirteenth, fourteenth, fifteenth, sixteenth, seventeenth, eighteenth, nineteenth, twentieth,
    twenty_first, twenty_second,
)  # fmt: skip
