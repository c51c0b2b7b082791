/* A milter that does not think: it takes each message in, and gives the same answer to all of them.

   thoughtless SOCKET ANSWER: listens at the unix socket; ANSWER is a file with the packets that answer a whole message.
   One thread; the steps that it does without are those of relay/core/milter/session.py. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECTIONS = 4096, PIECE = 1 << 18 };

static struct {
  char *data;
  size_t used, room;
} held[CONNECTIONS];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void say(int fd, const char *data, size_t size) {
  while (size) {
    ssize_t sent = write(fd, data, size);
    if (sent <= 0) return;
    data += sent;
    size -= sent;
  }
}

int main(int argc, char **argv) {
  static char answer[1 << 24];
  static const char agreed[] = "\0\0\0\15O\0\0\0\6\0\0\0\23\0\37\263\302", go_on[] = "\0\0\0\1c";
  if (argc < 3) exit(2);
  FILE *file = fopen(argv[2], "rb");
  if (!file) die(argv[2]);
  size_t length = fread(answer, 1, sizeof answer, file);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0), poll = epoll_create1(0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || chmod(argv[1], 0666) || listen(listener, 128))
    die(argv[1]);
  struct epoll_event event = {EPOLLIN, {.fd = listener}}, events[64];
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
  puts("0");
  fflush(stdout);
  for (;;) {
    int count = epoll_wait(poll, events, 64, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        fd = accept(listener, NULL, NULL);
        if (fd < 0 || fd >= CONNECTIONS) die("accept");
        held[fd].used = 0;
        event.data.fd = fd;
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        continue;
      }
      if (held[fd].room - held[fd].used < PIECE) {
        held[fd].room = held[fd].used + 4 * PIECE;
        if (!(held[fd].data = realloc(held[fd].data, held[fd].room))) die("realloc");
      }
      ssize_t got = read(fd, held[fd].data + held[fd].used, PIECE);
      if (got <= 0) {
        close(fd);
        continue;
      }
      held[fd].used += got;
      size_t at = 0;
      while (held[fd].used - at >= 5) {
        uint32_t size;
        memcpy(&size, held[fd].data + at, 4);
        size = ntohl(size);
        if (held[fd].used - at < 4 + size) break;
        char command = held[fd].data[at + 4];
        if (command == 'O') say(fd, agreed, sizeof agreed - 1);
        if (command == 'M') say(fd, go_on, sizeof go_on - 1);
        if (command == 'E') say(fd, answer, length);
        at += 4 + size;
      }
      held[fd].used -= at;
      memmove(held[fd].data, held[fd].data + at, held[fd].used);
    }
  }
}
