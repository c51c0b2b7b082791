/* Load for the benchmarks, in C so that it is never the slow side. One thread, epoll. JSON on standard output.

   generator smtp|starttls|smtps HOST PORT SESSIONS MESSAGES FILE [each=N] [rcpt=N] [apart]
       SESSIONS parallel sessions send MESSAGES in all, each the bytes of FILE (line ends become CRLF, dots are
       stuffed): in clear, after STARTTLS, or with TLS from the first byte. `each`: so many go over one connection
       (default: all); every handshake is a whole one, and the certificate is not looked at. `rcpt`: recipients of each
       message (default: 1). MAIL, RCPT and DATA go together where the server offers PIPELINING, unless `apart`. The
       latency of a message runs from its MAIL to the reply after its dot.
   generator http HOST PORT CONNECTIONS REQUESTS FILE
       CONNECTIONS keep-alive connections ask for REQUESTS in all, for the paths in FILE (one a line) in turn. Behind a path
       may stand the header fields of its request, each behind a tab; else all have the same ones.
   generator post HOST PORT CONNECTIONS REQUESTS FILE
       The same with one POST of JSON: FILE has the path in its first line, and then the body.
   generator sink [SECONDS [CERTIFICATE KEY]]
       An SMTP server that offers PIPELINING and 8BITMIME, takes everything and keeps nothing; with SECONDS it thinks
       so long after each final dot; with a certificate and its key (PEM) it offers STARTTLS. Prints its port.

   TLS is there where it is compiled with -DTLS, -lssl and -lcrypto. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN = 1 << 16, EVENTS = 256 };
enum State { GREETING, HELLO, SECURE, MAIL, RCPT, DATA, ENVELOPE, BODY, QUIT, ANSWER, DONE };

struct Session {
  int fd, left, waiting, pipelining, bad, failed; /* left: messages on this connection; waiting: replies to come */
  enum State state;
  double began;
  const char *out; /* what is still to be written */
  size_t out_left, in_used;
  struct Session *next; /* the sink's: thinking too */
  int named; /* recipients so far, where they are named one by one */
  long body_left; /* HTTP: octets of the body still to come, -1 in the head */
  void *tls;
  int blocked; /* TLS: what is still to be written waits for something to read */
  uint32_t watched;
  char in[IN];
};

static int epoll, total, started, finished, refused, per_connection, recipients = 1, apart, sessions_open;
static struct sockaddr_in server;
static char *message, **paths;
static size_t message_size;
static int path_count;
static double *latencies;
static long statuses[600];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

static char *slurp(const char *name, size_t *size) {
  FILE *file = fopen(name, "rb");
  if (!file) die(name);
  fseek(file, 0, SEEK_END);
  *size = ftell(file);
  rewind(file);
  char *bytes = malloc(*size + 1);
  if (fread(bytes, 1, *size, file) != *size) die(name);
  bytes[*size] = 0;
  fclose(file);
  return bytes;
}

static void load_message(const char *name) {
  size_t size;
  char *raw = slurp(name, &size), *at = message = malloc(2 * size + 8);
  int line_start = 1;
  for (size_t i = 0; i < size; i++) {
    if (line_start && raw[i] == '.') *at++ = '.';
    line_start = raw[i] == '\n';
    if (raw[i] == '\n' && (i == 0 || raw[i - 1] != '\r')) *at++ = '\r';
    *at++ = raw[i];
  }
  if (!line_start) at = stpcpy(at, "\r\n");
  at = stpcpy(at, ".\r\n");
  message_size = at - message;
  free(raw);
}

static void load_paths(const char *name, const char *host) {
  size_t size;
  char *raw = slurp(name, &size), *line, *rest = raw;
  paths = malloc((size / 2 + 2) * sizeof *paths);
  while ((line = strsep(&rest, "\n")))
    if (*line) {
      char *path = strsep(&line, "\t"), *field, *at;
      size_t room = strlen(path) + 400;
      if (line) room += 2 * strlen(line);
      at = paths[path_count++] = malloc(room);
      at += sprintf(at, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, host);
      if (!line)
        at = stpcpy(at, "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0\r\nAccept: image/*\r\n");
      while ((field = strsep(&line, "\t"))) at = stpcpy(stpcpy(at, field), "\r\n");
      strcpy(at, "\r\n");
    }
  if (!path_count) exit((fprintf(stderr, "no paths\n"), 1));
}

static void load_post(const char *name, const char *host) {
  size_t size;
  char *path = slurp(name, &size), *body = path;
  strsep(&body, "\n");
  if (!body) exit((fprintf(stderr, "no body\n"), 1));
  paths = malloc(sizeof *paths);
  paths[0] = malloc(size + 400);
  sprintf(paths[0],
          "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", path, host,
          strlen(body), body);
  path_count = 1;
}

/* -- the connection, in clear or not -------------------------------------------------------------------------------- */

static enum { CLEAR, STARTTLS, IMPLICIT } secrecy;
static int serving;

#ifdef TLS
static SSL_CTX *context;

static void prepare_tls(const char *certificate, const char *key) {
  context = SSL_CTX_new(TLS_method());
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (certificate && (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
                      SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1))
    exit((fprintf(stderr, "the certificate or its key can't be used\n"), 1));
}

static ssize_t result(struct Session *s, int n) { /* as read and write say it */
  int why = n > 0 ? SSL_ERROR_NONE : SSL_get_error(s->tls, n);
  if (why == SSL_ERROR_NONE) return n;
  ERR_clear_error(); /* else the next session is told of it */
  errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
  return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static void start_tls(struct Session *s) {
  s->tls = SSL_new(context);
  SSL_set_fd(s->tls, s->fd);
  serving ? SSL_set_accept_state(s->tls) : SSL_set_connect_state(s->tls);
  if (result(s, SSL_do_handshake(s->tls)) < 0 && errno != EAGAIN) s->failed = 1;
}

static ssize_t get(struct Session *s, void *to, size_t size) {
  return s->tls ? result(s, SSL_read(s->tls, to, size)) : read(s->fd, to, size);
}

static ssize_t put(struct Session *s, const void *from, size_t size) {
  if (!s->tls) return write(s->fd, from, size);
  int n = SSL_write(s->tls, from, size);
  s->blocked = n <= 0 && SSL_want_read(s->tls);
  return result(s, n);
}

static int more(struct Session *s) { return s->tls && SSL_has_pending(s->tls); }

static void hang_up(struct Session *s) {
  if (s->tls) {
    if (SSL_is_init_finished(s->tls)) SSL_shutdown(s->tls);
    ERR_clear_error();
    SSL_free(s->tls);
    s->tls = NULL;
  }
  close(s->fd);
}
#else
static void prepare_tls(const char *certificate, const char *key) {
  (void)certificate, (void)key;
  exit((fprintf(stderr, "compiled without TLS\n"), 2));
}

static void start_tls(struct Session *s) { s->failed = 1; }
static ssize_t get(struct Session *s, void *to, size_t size) { return read(s->fd, to, size); }
static ssize_t put(struct Session *s, const void *from, size_t size) { return write(s->fd, from, size); }
static int more(struct Session *s) { return (void)s, 0; }
static void hang_up(struct Session *s) { close(s->fd); }
#endif

static void watch(struct Session *s, int op) {
  struct epoll_event event = {.events = EPOLLIN | (s->out_left && !s->blocked ? EPOLLOUT : 0), .data.ptr = s};
  if (op == EPOLL_CTL_MOD && event.events == s->watched) return;
  s->watched = event.events;
  if (epoll_ctl(epoll, op, s->fd, &event)) die("epoll_ctl");
}

static void flush_out(struct Session *s) {
  size_t before = s->out_left;
  while (s->out_left) {
    ssize_t n = put(s, s->out, s->out_left);
    if (n < 0) {
      if (errno == EAGAIN) break;
      s->failed = 1;
      return;
    }
    s->out += n;
    s->out_left -= n;
  }
  if (s->out_left || before) watch(s, EPOLL_CTL_MOD);
}

static void send_text(struct Session *s, const char *text, size_t size, enum State state, int replies) {
  s->out = text;
  s->out_left = size;
  s->state = state;
  s->waiting = replies;
  flush_out(s);
}
#define SAY(s, text, state, replies) send_text(s, text, sizeof(text) - 1, state, replies)

static void open_session(struct Session *s) {
  int one = 1;
  s->fd = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
  setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&server, sizeof server)) die("connect");
  if (fcntl(s->fd, F_SETFL, O_NONBLOCK)) die("fcntl");
  s->in_used = s->out_left = 0;
  s->left = per_connection;
  s->failed = s->blocked = 0;
  s->state = GREETING;
  s->waiting = 1;
  s->body_left = -1;
  watch(s, EPOLL_CTL_ADD);
  if (secrecy == IMPLICIT) start_tls(s);
}

static void end_session(struct Session *s) {
  hang_up(s);
  s->state = DONE;
  sessions_open--;
}

/* -- SMTP ---------------------------------------------------------------------------------------------------------- */

#define MAIL_TEXT "MAIL FROM:<sender@example.com>\r\n"
#define RCPT_TEXT "RCPT TO:<recipient%d@example.org>\r\n"

static char *envelope, **rcpts;

static void prepare_envelope(void) {
  char *at = envelope = malloc(100 + 60 * recipients);
  rcpts = malloc(recipients * sizeof *rcpts);
  at = stpcpy(at, MAIL_TEXT);
  for (int i = 0; i < recipients; i++) {
    if (asprintf(&rcpts[i], RCPT_TEXT, i) < 0) die("asprintf");
    at = stpcpy(at, rcpts[i]);
  }
  stpcpy(at, "DATA\r\n");
}

static void name_next(struct Session *s) {
  const char *text = rcpts[s->named++];
  send_text(s, text, strlen(text), RCPT, 1);
}

static void next_message(struct Session *s) {
  if (started == total) {
    SAY(s, "QUIT\r\n", QUIT, 1);
  } else if (!s->left) {
    hang_up(s);
    open_session(s);
  } else {
    started++;
    s->left--;
    s->bad = 0;
    s->began = now();
    if (s->pipelining)
      send_text(s, envelope, strlen(envelope), ENVELOPE, recipients + 2);
    else
      SAY(s, MAIL_TEXT, MAIL, 1);
  }
}

static void settle(struct Session *s, int good) {
  latencies[finished++] = now() - s->began;
  if (!good) refused++;
  next_message(s);
}

static void on_reply(struct Session *s, int code) {
  if (code >= 400) s->bad = 1;
  if (--s->waiting > 0) return;
  switch (s->state) {
  case GREETING:
    s->pipelining = 0;
    SAY(s, "EHLO generator.example\r\n", HELLO, 1);
    break;
  case HELLO:
    if (secrecy != STARTTLS || s->tls)
      next_message(s);
    else
      SAY(s, "STARTTLS\r\n", SECURE, 1);
    break;
  case SECURE:
    if (code != 220) exit((fprintf(stderr, "STARTTLS was answered %d\n", code), 1));
    start_tls(s);
    SAY(s, "EHLO generator.example\r\n", HELLO, 1);
    break;
  case MAIL:
    s->named = 0;
    name_next(s);
    break;
  case RCPT:
    if (s->named < recipients)
      name_next(s);
    else
      SAY(s, "DATA\r\n", DATA, 1);
    break;
  case DATA:
  case ENVELOPE:
    if (code == 354)
      send_text(s, message, message_size, BODY, 1);
    else
      exit((fprintf(stderr, "DATA was answered %d\n", code), 1));
    break;
  case BODY: settle(s, !s->bad && code < 300); break;
  default: end_session(s);
  }
}

static void read_replies(struct Session *s) {
  size_t at = 0;
  char *end;
  int fd = s->fd;
  while ((end = memchr(s->in + at, '\n', s->in_used - at))) {
    char *line = s->in + at;
    at = end + 1 - s->in;
    if (end - line >= 4 && s->state == HELLO && !strncasecmp(line + 4, "PIPELINING", 10)) s->pipelining = !apart;
    if (end - line >= 3 && line[3] != '-') on_reply(s, atoi(line));
    if (s->state == DONE || s->fd != fd || s->state == GREETING) return;
  }
  memmove(s->in, s->in + at, s->in_used -= at);
}

/* -- HTTP ---------------------------------------------------------------------------------------------------------- */

static void next_request(struct Session *s) {
  if (started == total) return end_session(s);
  const char *request = paths[started++ % path_count];
  s->began = now();
  s->body_left = -1;
  send_text(s, request, strlen(request), ANSWER, 1);
}

static void read_answer(struct Session *s) {
  if (s->body_left < 0) {
    s->in[s->in_used] = 0;
    char *end = strstr(s->in, "\r\n\r\n"), *length;
    if (!end) return;
    length = strcasestr(s->in, "\r\ncontent-length:");
    s->body_left = length && length < end ? atol(length + 17) : 0;
    int status = atoi(s->in + 9);
    statuses[status < 600 && status > 0 ? status : 0]++;
    size_t head = end + 4 - s->in;
    memmove(s->in, s->in + head, s->in_used -= head);
  }
  size_t taken = s->in_used < (size_t)s->body_left ? s->in_used : (size_t)s->body_left;
  s->body_left -= taken;
  memmove(s->in, s->in + taken, s->in_used -= taken);
  if (!s->body_left) {
    latencies[finished++] = now() - s->began;
    next_request(s);
  }
}

/* -- both ---------------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void report(double seconds) {
  qsort(latencies, finished, sizeof *latencies, ascending);
  printf("{\"done\": %d, \"refused\": %d, \"seconds\": %.6f, \"per_second\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
         "\"max_ms\": %.3f, \"statuses\": {",
         finished, refused, seconds, finished / seconds, latencies[finished / 2] * 1e3,
         latencies[(int)(finished * 0.99)] * 1e3, latencies[finished - 1] * 1e3);
  for (int i = 0, n = 0; i < 600; i++)
    if (statuses[i]) printf("%s\"%d\": %ld", n++ ? ", " : "", i, statuses[i]);
  printf("}}\n");
}

static void load(int http, int count) {
  struct Session *all = calloc(count, sizeof *all);
  struct epoll_event events[EVENTS];
  epoll = epoll_create1(0);
  latencies = calloc(total + 1, sizeof *latencies);
  double began = now();
  for (sessions_open = 0; sessions_open < count; sessions_open++) {
    open_session(&all[sessions_open]);
    if (http) next_request(&all[sessions_open]);
  }
  while (sessions_open > 0 && finished < total) {
    int n = epoll_wait(epoll, events, EVENTS, 60000);
    if (n <= 0) exit((fprintf(stderr, "nothing happened for a minute\n"), 1));
    for (int i = 0; i < n; i++) {
      struct Session *s = events[i].data.ptr;
      if (s->state == DONE) continue;
      if (events[i].events & EPOLLOUT || s->blocked) flush_out(s);
      if (!(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
      do {
        ssize_t got = get(s, s->in + s->in_used, IN - 1 - s->in_used);
        if (got < 0 && errno == EAGAIN) {
          if (s->blocked) flush_out(s); /* that was the end of the handshake */
          break;
        }
        if (got <= 0) exit((fprintf(stderr, "the server closed a connection in state %d\n", s->state), 1));
        s->in_used += got;
        http ? read_answer(s) : read_replies(s);
      } while (more(s));
    }
  }
  report(now() - began);
}

static double delay;
static struct Session *thinking; /* in the order of their `began` */
static struct Session **last = &thinking;

static void think(struct Session *s) {
  s->began = now() + delay;
  s->next = NULL;
  *last = s;
  last = &s->next;
}

static void answer_thoughts(void) {
  while (thinking && thinking->began <= now()) {
    struct Session *s = thinking;
    thinking = s->next;
    if (!thinking) last = &thinking;
    if (s->fd < 0)
      free(s);
    else {
      s->waiting = 0;
      if (put(s, "250 2.0.0 Ok\r\n", 14) < 0) s->failed = 1;
    }
  }
}

static void take(struct Session *s) {
  static const char end[] = "\r\n.\r\n";
  char out[IN], *to = out;
  size_t at = 0;
  while (at < s->in_used && to < out + IN - 200) {
    if (s->state == DATA) { /* `waiting` octets of the end have been seen */
      char c = s->in[at++];
      s->waiting = c == end[s->waiting] ? s->waiting + 1 : c == '\r';
      if (s->waiting == 0) { /* fast over what can't be the end */
        char *next = memchr(s->in + at, '\r', s->in_used - at);
        at = next ? (size_t)(next - s->in) : s->in_used;
      }
      if (s->waiting == 5) {
        s->state = HELLO;
        if (delay > 0)
          think(s); /* `waiting` stays 5 until it is answered */
        else
          to = stpcpy(to, "250 2.0.0 Ok\r\n");
      }
      continue;
    }
    char *line = s->in + at, *stop = memchr(line, '\n', s->in_used - at);
    if (!stop) break;
    at = stop + 1 - s->in;
    if (!strncasecmp(line, "EHLO", 4))
      to = stpcpy(to, secrecy && !s->tls ? "250-sink.example\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 8BITMIME\r\n"
                                         : "250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n");
    else if (secrecy && !s->tls && !strncasecmp(line, "STARTTLS", 8)) {
      if (put(s, "220 2.0.0 Go on\r\n", 17) < 0) s->failed = 1;
      s->in_used = 0; /* what came with it in clear is not looked at */
      start_tls(s);
      return;
    }
    else if (!strncasecmp(line, "DATA", 4)) {
      s->state = DATA;
      s->waiting = 2;
      to = stpcpy(to, "354 Go on\r\n");
    } else if (!strncasecmp(line, "QUIT", 4))
      to = stpcpy(to, "221 2.0.0 Bye\r\n");
    else
      to = stpcpy(to, "250 2.0.0 Ok\r\n");
  }
  memmove(s->in, s->in + at, s->in_used -= at);
  if (to > out && put(s, out, to - out) < 0) s->failed = 1;
}

static void drop(struct Session *s) {
  hang_up(s);
  if (s->state == HELLO && s->waiting == 5)
    s->fd = -1; /* freed with its thought */
  else
    free(s);
}

static void sink(void) {
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
  socklen_t size = sizeof server;
  struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
  server.sin_family = AF_INET;
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (struct sockaddr *)&server, sizeof server) || listen(listener, 1024)) die("listen");
  getsockname(listener, (struct sockaddr *)&server, &size);
  printf("%d\n", ntohs(server.sin_port));
  fflush(stdout);
  epoll = epoll_create1(0);
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int n = epoll_wait(epoll, events, EVENTS, delay > 0 ? 20 : -1);
    answer_thoughts();
    for (int i = 0; i < n; i++) {
      struct Session *s = events[i].data.ptr;
      if (!s) {
        s = calloc(1, sizeof *s);
        s->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        s->state = HELLO;
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(s, EPOLL_CTL_ADD);
        if (write(s->fd, "220 sink.example ESMTP\r\n", 24) < 0) s->failed = 1;
        continue;
      }
      do {
        ssize_t got = get(s, s->in + s->in_used, IN - s->in_used);
        if (got < 0 && errno == EAGAIN) break;
        if (got <= 0) s->failed = 1;
        if (got > 0) {
          s->in_used += got;
          take(s);
        }
      } while (!s->failed && more(s));
      if (s->failed) drop(s);
    }
  }
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc > 1 && !strcmp(argv[1], "sink")) {
    delay = argc > 2 ? atof(argv[2]) : 0;
    serving = 1;
    if (argc > 4) {
      secrecy = STARTTLS;
      prepare_tls(argv[3], argv[4]);
    }
    sink();
  }
  if (argc < 7) exit((fprintf(stderr, "usage: see the head of generator.c\n"), 2));
  int post = !strcmp(argv[1], "post"), http = post || !strcmp(argv[1], "http");
  secrecy = !strcmp(argv[1], "starttls") ? STARTTLS : !strcmp(argv[1], "smtps") ? IMPLICIT : CLEAR;
  if (secrecy) prepare_tls(NULL, NULL);
  server.sin_family = AF_INET;
  server.sin_port = htons(atoi(argv[3]));
  if (!inet_aton(argv[2], &server.sin_addr)) die("HOST must be an IPv4 address");
  total = atoi(argv[5]);
  per_connection = total + 1;
  for (int i = 7; i < argc; i++)
    if (!strncmp(argv[i], "each=", 5))
      per_connection = atoi(argv[i] + 5);
    else if (!strncmp(argv[i], "rcpt=", 5))
      recipients = atoi(argv[i] + 5);
    else if (!strcmp(argv[i], "apart"))
      apart = 1;
    else
      exit((fprintf(stderr, "what is %s?\n", argv[i]), 2));
  prepare_envelope();
  post ? load_post(argv[6], argv[2]) : http ? load_paths(argv[6], argv[2]) : load_message(argv[6]);
  load(http, atoi(argv[4]));
}
