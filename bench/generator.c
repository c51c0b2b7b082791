/* Load for the benchmarks, in C so that it is never the slow side. One thread, epoll. JSON on standard output.

   generator smtp HOST PORT SESSIONS MESSAGES FILE [PER_CONNECTION]
       SESSIONS parallel sessions send MESSAGES in all, each the bytes of FILE (line ends become CRLF, dots are
       stuffed), PER_CONNECTION (default: all) over one connection. MAIL, RCPT and DATA go together where the server
       offers PIPELINING. The latency of a message runs from its MAIL to the reply after its dot.
   generator http HOST PORT CONNECTIONS REQUESTS FILE
       CONNECTIONS keep-alive connections ask for REQUESTS in all, for the paths in FILE (one a line) in turn.
   generator sink [SECONDS]
       An SMTP server that offers PIPELINING and 8BITMIME, takes everything and keeps nothing; with SECONDS it thinks
       so long after each final dot. Prints its port. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
enum State { GREETING, HELLO, MAIL, RCPT, DATA, ENVELOPE, BODY, QUIT, ANSWER, DONE };

struct Session {
  int fd, left, waiting, pipelining, bad, failed; /* left: messages on this connection; waiting: replies to come */
  enum State state;
  double began;
  const char *out; /* what is still to be written */
  size_t out_left, in_used;
  struct Session *next; /* the sink's: thinking too */
  long body_left; /* HTTP: octets of the body still to come, -1 in the head */
  char in[IN];
};

static int epoll, total, started, finished, refused, per_connection, sessions_open;
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
      paths[path_count] = malloc(strlen(line) + 400);
      sprintf(paths[path_count++],
              "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 "
              "Firefox/128.0\r\nAccept: image/*\r\n\r\n",
              line, host);
    }
  if (!path_count) exit((fprintf(stderr, "no paths\n"), 1));
}

static void watch(struct Session *s, int op) {
  struct epoll_event event = {.events = EPOLLIN | (s->out_left ? EPOLLOUT : 0), .data.ptr = s};
  if (epoll_ctl(epoll, op, s->fd, &event)) die("epoll_ctl");
}

static void flush_out(struct Session *s) {
  size_t before = s->out_left;
  while (s->out_left) {
    ssize_t n = write(s->fd, s->out, s->out_left);
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
  s->bad = 0;
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
  s->failed = 0;
  s->state = GREETING;
  s->waiting = 1;
  s->body_left = -1;
  watch(s, EPOLL_CTL_ADD);
}

static void end_session(struct Session *s) {
  close(s->fd);
  s->state = DONE;
  sessions_open--;
}

/* -- SMTP ---------------------------------------------------------------------------------------------------------- */

#define MAIL_TEXT "MAIL FROM:<sender@example.com>\r\n"
#define RCPT_TEXT "RCPT TO:<recipient@example.org>\r\n"

static void next_message(struct Session *s) {
  if (started == total) {
    SAY(s, "QUIT\r\n", QUIT, 1);
  } else if (!s->left) {
    close(s->fd);
    open_session(s);
  } else {
    started++;
    s->left--;
    s->began = now();
    if (s->pipelining)
      SAY(s, MAIL_TEXT RCPT_TEXT "DATA\r\n", ENVELOPE, 3);
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
  case HELLO: next_message(s); break;
  case MAIL: SAY(s, RCPT_TEXT, RCPT, 1); break;
  case RCPT: SAY(s, "DATA\r\n", DATA, 1); break;
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
    if (end - line >= 4 && s->state == HELLO && !strncasecmp(line + 4, "PIPELINING", 10)) s->pipelining = 1;
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
      if (events[i].events & EPOLLOUT) flush_out(s);
      if (!(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
      ssize_t got = read(s->fd, s->in + s->in_used, IN - 1 - s->in_used);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0) exit((fprintf(stderr, "the server closed a connection in state %d\n", s->state), 1));
      s->in_used += got;
      http ? read_answer(s) : read_replies(s);
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
      if (write(s->fd, "250 2.0.0 Ok\r\n", 14) < 0) s->failed = 1;
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
      to = stpcpy(to, "250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n");
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
  if (to > out && write(s->fd, out, to - out) < 0) s->failed = 1;
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
        s->fd = accept(listener, NULL, NULL);
        s->state = HELLO;
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(s, EPOLL_CTL_ADD);
        if (write(s->fd, "220 sink.example ESMTP\r\n", 24) < 0) s->failed = 1;
        continue;
      }
      ssize_t got = read(s->fd, s->in + s->in_used, IN - s->in_used);
      if (got > 0) {
        s->in_used += got;
        take(s);
      }
      if (got <= 0 || s->failed) {
        close(s->fd);
        if (s->state == HELLO && s->waiting == 5)
          s->fd = -1; /* freed with its thought */
        else
          free(s);
      }
    }
  }
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "sink")) {
    delay = argc > 2 ? atof(argv[2]) : 0;
    sink();
  }
  if (argc < 7) exit((fprintf(stderr, "usage: see the head of generator.c\n"), 2));
  int http = !strcmp(argv[1], "http");
  server.sin_family = AF_INET;
  server.sin_port = htons(atoi(argv[3]));
  if (!inet_aton(argv[2], &server.sin_addr)) die("HOST must be an IPv4 address");
  total = atoi(argv[5]);
  per_connection = argc > 7 ? atoi(argv[7]) : total + 1;
  http ? load_paths(argv[6], argv[2]) : load_message(argv[6]);
  load(http, atoi(argv[4]));
}
