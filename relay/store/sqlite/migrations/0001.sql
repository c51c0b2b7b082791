-- Mail as it was sent. message_id is ours: 20 characters of a 12-byte key that sorts by time.
CREATE TABLE messages (
  message_id TEXT PRIMARY KEY,
  grant_id TEXT NOT NULL,
  internet_message_id TEXT NOT NULL,   -- no angle brackets
  thread_id TEXT NOT NULL,             -- the message_id of the thread's first message here
  submitted_at REAL NOT NULL,          -- Unix seconds, as all times here
  sender TEXT NOT NULL,
  reverse_path TEXT NOT NULL,
  "to" TEXT NOT NULL,                  -- JSON
  cc TEXT NOT NULL,                    -- JSON
  subject TEXT NOT NULL,
  label TEXT NOT NULL,
  metadata TEXT NOT NULL,              -- JSON
  submitter_ip TEXT NOT NULL,
  size INTEGER NOT NULL,
  opens INTEGER NOT NULL,
  links_tracked INTEGER NOT NULL,
  thread_replies INTEGER NOT NULL,
  reason TEXT,
  links TEXT NOT NULL,                 -- JSON: the tracked URLs by occurrence
  "references" TEXT NOT NULL,          -- JSON
  explanation TEXT NOT NULL            -- JSON
);
CREATE INDEX messages_submitted ON messages (submitted_at);

-- One row per envelope recipient. idx is the recipient index of its tokens; sole is 0 where several share it.
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
) WITHOUT ROWID;

-- Every Message-ID by which an answer may name a message: its own, and what the upstream made of it.
CREATE TABLE identifiers (
  identifier TEXT NOT NULL,
  message_id TEXT NOT NULL,
  PRIMARY KEY (identifier, message_id)
) WITHOUT ROWID;

-- What happened. position is the cursor of those who follow, and never used twice.
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
);
-- One index for a message's events and for its newest counted ones: each further one costs a page per hit.
CREATE INDEX events_message ON events (message_id, type, ordinal);

-- core.tally's Facts per message, as JSON. Also of messages whose row is gone.
CREATE TABLE tallies (
  message_id TEXT PRIMARY KEY,
  facts TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE cursors (
  mailbox TEXT PRIMARY KEY,
  uidvalidity INTEGER NOT NULL,
  uid INTEGER NOT NULL,
  seen TEXT NOT NULL                   -- JSON
);

CREATE TABLE endpoints (
  endpoint_id TEXT PRIMARY KEY,
  url TEXT NOT NULL,
  triggers TEXT NOT NULL,              -- JSON
  secret TEXT NOT NULL,                -- empty for those of the configuration
  verdicts TEXT NOT NULL,              -- JSON
  format TEXT NOT NULL,
  source TEXT NOT NULL,
  status TEXT NOT NULL
);

-- The outbox: one row per notification owed. A lease is next_at moved ahead.
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
);
CREATE INDEX deliveries_due ON deliveries (endpoint_id, next_at) WHERE state = 'pending';
CREATE INDEX deliveries_position ON deliveries (position);
CREATE INDEX deliveries_dead ON deliveries (endpoint_id) WHERE state = 'dead';

CREATE TABLE api_keys (
  name TEXT PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE,
  scopes TEXT NOT NULL,                -- JSON
  "grant" TEXT NOT NULL,
  created_at REAL NOT NULL,
  last_used_at REAL NOT NULL
);

-- Written to by Store.check: can this disk still be written?
CREATE TABLE probe (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  at REAL NOT NULL
);
