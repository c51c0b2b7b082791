"""The steps from an empty database to today's tables, numbered from 1. Each is applied once, in order; `schema` keeps count.

Owns: the tables, their columns, indexes and triggers. Leaves to others: what stands in them (`relay.store.tables`; a test
compares the columns), when a step is made (`schema`).

A step that was released is never changed: what changes is a new one at the end.

Text is compared by its code points ("C"), as everywhere in this program, whatever the database's language is. Times are Unix
seconds. JSON is text: as jsonb it would not come back as it was, and U+0000 in it would be refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.core.counts import COUNTERS
from relay.store.lists import INDEXED

TEXT = 'text COLLATE "C" NOT NULL'
INT = "integer NOT NULL"
BIG = "bigint NOT NULL"
TIME = "double precision NOT NULL"
FLAG = "boolean NOT NULL"


def table(name: str, *parts: tuple[str, Sequence[str]] | str, settings: str = "") -> str:
    """Columns by their type, then constraints as they are."""
    lines = []
    for part in parts:
        if isinstance(part, str):
            lines.append(part)
        else:
            lines += [f'"{column}" {part[0]}' for column in part[1]]
    return f"CREATE TABLE {name} ({', '.join(lines)})" + (f" WITH ({settings})" if settings else "")


# Rows that change with each transaction stay in their page while there is room in it, and what they were is cleared away
# by whoever reads the page (HOT).
BUSY = "fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000"
# Of a large table what is dead is cleared away before it is a fifth, which is the usual.
LARGE = "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05"

TABLES = (
    # Mail as it was sent. message_id is ours: 20 characters of a 12-byte key that sorts by time.
    table(
        "messages",
        (TEXT, ("message_id", "grant_id", "internet_message_id", "thread_id")),
        (TIME, ("submitted_at",)),
        (TEXT, ("sender", "reverse_path", "to", "cc", "subject", "label", "metadata", "submitter_ip")),
        (BIG, ("size",)),
        (FLAG, ("opens", "links_tracked", "thread_replies")),
        ('text COLLATE "C"', ("reason",)),
        (TEXT, ("links", "references", "explanation", "login", "queue_id", "daemon", "sender_domain")),
        "PRIMARY KEY (message_id)",
        settings=LARGE,
    ),
    # One row per envelope recipient. idx is the recipient index of its tokens; sole is false where several share it.
    table(
        "copies",
        (TEXT, ("message_id",)),
        (INT, ("idx", "position")),
        (TEXT, ("recipient",)),
        (FLAG, ("sole", "tracked", "thread_replies")),
        ('text COLLATE "C"', ("reason",)),
        (TEXT, ("state", "reply", "upstream_id")),
        (TIME, ("at",)),
        "PRIMARY KEY (message_id, idx, position)",
        settings=f"fillfactor = 80, {LARGE}",
    ),
    # Every Message-ID by which an answer may name a message: its own, and what the upstream made of it.
    table("identifiers", (TEXT, ("identifier", "message_id")), "PRIMARY KEY (identifier, message_id)"),
    # What happened. position is the cursor of those who follow, and never used twice: it is given while a lock is held
    # that goes with the commit, so nobody sees a later one before an earlier one.
    table(
        "events",
        (BIG, ("position",)),
        (TEXT, ("event_id", "type", "message_id")),
        (TIME, ("at",)),
        (INT, ("recipient_index",)),
        (TEXT, ("recipient",)),
        (INT, ("link_index",)),
        (TEXT, ("url", "method", "ip", "user_agent", "referer", "verdict", "reason", "data", "grant_id")),
        (INT, ("sequence",)),
        (FLAG, ("counted",)),
        (INT, ("ordinal",)),
        (TEXT, ("link_counts",)),
        "PRIMARY KEY (position)",
        "UNIQUE (event_id)",
        settings=LARGE,
    ),
    # core.tally's Facts per message, as JSON. Also of messages whose row is gone.
    table("tallies", (TEXT, ("message_id", "facts")), "PRIMARY KEY (message_id)", settings=f"fillfactor = 70, {LARGE}"),
    # The outbox: one row per notification owed. A lease is next_at moved ahead.
    table(
        "deliveries",
        "delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        (BIG, ("position",)),
        (TEXT, ("endpoint_id", "trigger")),
        (f"{TEXT} DEFAULT 'pending'", ("state",)),
        (f"{INT} DEFAULT 0", ("attempt",)),
        (TIME, ("first_at", "next_at")),
        (f"{TIME} DEFAULT 0", ("settled_at", "turn")),
        (f"{INT} DEFAULT 0", ("status",)),
        (f"{TEXT} DEFAULT ''", ("error", "attempts")),
        settings=f"fillfactor = 80, {LARGE}",
    ),
    # How many deliveries of each state an endpoint has. Triggers keep it.
    table(
        "standings",
        (TEXT, ("endpoint_id", "state")),
        (BIG, ("number",)),
        "PRIMARY KEY (endpoint_id, state)",
        settings=BUSY,
    ),
    table(
        "api_keys",
        (TEXT, ("name", "digest", "scopes", "grant")),
        (TIME, ("created_at", "last_used_at")),
        "PRIMARY KEY (name)",
        "UNIQUE (digest)",
    ),
    table(
        "cursors",
        (TEXT, ("mailbox",)),
        (BIG, ("uidvalidity", "uid")),
        (TEXT, ("seen", "passed")),
        (TIME, ("at",)),
        "PRIMARY KEY (mailbox)",
        settings=BUSY,
    ),
    table(
        "endpoints",
        (TEXT, ("endpoint_id", "url", "triggers", "secret", "verdicts", "format", "source", "status", "registry")),
        (TEXT, ("grant_id", "description", "notify")),
        (FLAG, ("compressed",)),
        (TIME, ("created_at", "updated_at", "status_updated_at")),
        (TEXT, ("previous_secret",)),
        (TIME, ("rotated_at",)),
        "PRIMARY KEY (endpoint_id)",
    ),
    # What is to be told by mail of endpoints that fail.
    table(
        "notices",
        (TEXT, ("notice_id", "endpoint_id", "status")),
        (TIME, ("at", "since")),
        (TEXT, ("error", "to", "url", "description", "registry", "entry")),
        "PRIMARY KEY (notice_id)",
    ),
    table(
        "drafts",
        (TEXT, ("draft_id", "grant_id")),
        (TIME, ("created_at", "updated_at")),
        (TEXT, ("fields",)),
        "PRIMARY KEY (draft_id)",
    ),
    table(
        "schedules",
        (TEXT, ("schedule_id", "grant_id", "message_id")),
        (TIME, ("send_at", "created_at")),
        (TEXT, ("fields", "state")),
        (TIME, ("next_at",)),
        (INT, ("attempt",)),
        (TIME, ("closed_at",)),
        (TEXT, ("error",)),
        (INT, ("handed",)),
        "PRIMARY KEY (schedule_id)",
    ),
    # The octets of what is sent later or in pieces: of a draft's attachments, of a schedule's message.
    table(
        "contents",
        (TEXT, ("owner_id",)),
        (INT, ("number",)),
        ("bytea NOT NULL", ("octets",)),
        "PRIMARY KEY (owner_id, number)",
    ),
    # Calls of the API that may be repeated.
    table(
        "requests",
        (TEXT, ("request_key", "digest", "message_id")),
        (TIME, ("at",)),
        (TEXT, ("state", "answer")),
        "PRIMARY KEY (request_key)",
    ),
    # What was kept of answers in the senders' mailboxes.
    table(
        "answers",
        (TEXT, ("answer_id", "grant_id", "message_id", "thread_id")),
        (TIME, ("at",)),
        (TEXT, ("internet_message_id", "sender", "sender_name", "to", "cc", "subject")),
        (TIME, ("date",)),
        (TEXT, ("references", "excerpt")),
        (BIG, ("size",)),
        (FLAG, ("automatic",)),
        "PRIMARY KEY (answer_id, grant_id)",
    ),
    # What messages said, where that is kept. `start` are the octets of all that were kept before.
    table(
        "kept",
        (TEXT, ("message_id",)),
        (TIME, ("at",)),
        (BIG, ("start",)),
        ("bytea NOT NULL", ("octets",)),
        "PRIMARY KEY (message_id)",
    ),
    # What rates are made of: see core.counts. hour is hours since 1970.
    table(
        "counts",
        (TEXT, ("dimension",)),
        (BIG, ("hour",)),
        (TEXT, ("grant_id", "value")),
        (BIG, COUNTERS),
        "PRIMARY KEY (dimension, hour, grant_id, value)",
        settings=f"fillfactor = 70, {LARGE}",
    ),
    # The counted hits per message and recipient index.
    table(
        "seen",
        (TEXT, ("message_id",)),
        (INT, ("idx", "opens", "machine_opens", "clicks", "machine_clicks")),
        "PRIMARY KEY (message_id, idx)",
        settings=f"fillfactor = 80, {LARGE}",
    ),
    # One row: up to which message_id all is in the counters (NULL is to the end), and the last position that was used.
    table(
        "counting",
        "id integer PRIMARY KEY CHECK (id = 1)",
        ('text COLLATE "C"', ("upto",)),
        (f"{BIG} DEFAULT 0", ("position",)),
        settings=BUSY,
    ),
    "INSERT INTO counting (id) VALUES (1)",
    # Per process that writes, its last transaction: whoever lost the connection while it committed looks here.
    table(
        "writers",
        (TEXT, ("writer_id",)),
        (BIG, ("batch",)),
        (TIME, ("at",)),
        "PRIMARY KEY (writer_id)",
        settings=BUSY,
    ),
    # Written to by Store.check.
    table("probe", "id integer PRIMARY KEY CHECK (id = 1)", (TIME, ("at",)), settings=BUSY),
)
# A text of a JSON object -> the text under a name in it; NULL for all that is none.
METADATA = """
CREATE FUNCTION metadata_of(object text, name text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  RETURN object::json ->> name;
EXCEPTION WHEN data_exception THEN
  RETURN NULL;
END $$
"""
# Each list's ends in its order, so that a page walks along it. Addresses are found without regard to case.
INDEXES = (
    "messages_submitted ON messages (submitted_at, message_id)",
    "messages_grant ON messages (grant_id, submitted_at, message_id)",
    "messages_thread ON messages (thread_id, submitted_at, message_id)",
    "messages_label ON messages (label, submitted_at, message_id) WHERE label != ''",
    "messages_sender ON messages (lower(sender), submitted_at, message_id)",
    "messages_domain ON messages (sender_domain, submitted_at, message_id)",
    "messages_queued ON messages (queue_id, message_id) WHERE queue_id != ''",
    *(
        f"messages_{name} ON messages (metadata_of(metadata, '{name}'), submitted_at, message_id)"
        f" WHERE metadata != '{{}}' AND metadata_of(metadata, '{name}') IS NOT NULL"
        for name in INDEXED
    ),
    "copies_recipient ON copies (lower(recipient), at, message_id)",
    "copies_undelivered ON copies (state, at, message_id) WHERE state IN ('later', 'never')",
    "events_message ON events (message_id, type, ordinal)",
    "events_type ON events (type, at, position)",
    "events_grant ON events (grant_id, type, at, position)",
    "deliveries_position ON deliveries (position)",
    "deliveries_fresh ON deliveries (endpoint_id, turn, delivery_id) WHERE state = 'pending' AND attempt = 0",
    "deliveries_again ON deliveries (endpoint_id, next_at, delivery_id) WHERE state = 'pending' AND attempt > 0",
    "deliveries_state ON deliveries (endpoint_id, state, delivery_id)",
    "notices_at ON notices (at, notice_id)",
    "drafts_grant ON drafts (grant_id, draft_id)",
    "schedules_grant ON schedules (grant_id, schedule_id)",
    "schedules_due ON schedules (next_at) WHERE state IN ('scheduled', 'handed')",
    "schedules_claimed ON schedules (next_at) WHERE state IN ('scheduled', 'handed') AND attempt > 0",
    "requests_at ON requests (at)",
    "answers_grant ON answers (grant_id, at, answer_id)",
    "answers_thread ON answers (thread_id, at, answer_id)",
    "answers_message ON answers (message_id)",
    "answers_named ON answers (internet_message_id, grant_id) WHERE internet_message_id != ''",
    "kept_at ON kept (at)",
    "kept_start ON kept (start)",
)
# A whole statement at a time: many rows are one change of a standing.
ADDED = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO standings (endpoint_id, state, number)
  SELECT endpoint_id, state, sum(change) FROM ({changes}) AS changed
  GROUP BY endpoint_id, state HAVING sum(change) != 0 ORDER BY endpoint_id, state
  ON CONFLICT (endpoint_id, state) DO UPDATE SET number = standings.number + excluded.number;
  RETURN NULL;
END $$
"""
MORE = "SELECT endpoint_id, state, 1 AS change FROM after"
LESS = "SELECT endpoint_id, state, -1 AS change FROM before"
TRIGGERS = (
    ADDED.format(name="deliveries_made", changes=MORE),
    "CREATE TRIGGER deliveries_made AFTER INSERT ON deliveries REFERENCING NEW TABLE AS after"
    " FOR EACH STATEMENT EXECUTE FUNCTION deliveries_made()",
    ADDED.format(name="deliveries_moved", changes=f"{MORE} UNION ALL {LESS}"),
    "CREATE TRIGGER deliveries_moved AFTER UPDATE ON deliveries REFERENCING OLD TABLE AS before NEW TABLE AS after"
    " FOR EACH STATEMENT EXECUTE FUNCTION deliveries_moved()",
    ADDED.format(name="deliveries_gone", changes=LESS),
    "CREATE TRIGGER deliveries_gone AFTER DELETE ON deliveries REFERENCING OLD TABLE AS before"
    " FOR EACH STATEMENT EXECUTE FUNCTION deliveries_gone()",
    # The last position, and word to who listens.
    """
CREATE FUNCTION events_made() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE counting SET position = last FROM (SELECT max(position) AS last FROM after) AS found WHERE last > counting.position;
  PERFORM pg_notify('trackrelay', '');
  RETURN NULL;
END $$
""",
    "CREATE TRIGGER events_made AFTER INSERT ON events REFERENCING NEW TABLE AS after"
    " FOR EACH STATEMENT EXECUTE FUNCTION events_made()",
)

STEPS: tuple[tuple[str, ...], ...] = ((*TABLES, METADATA, *(f"CREATE INDEX {index}" for index in INDEXES), *TRIGGERS),)
