/*
 * What TCP on loopback, and a Unix socket, can do without us: an echo server, and a client that measures it.
 *
 *   tcp server SOCKET         prints its port; echoes what comes, counts what comes after the byte 'B'
 *   tcp ping AT BYTES N       median round trip, microseconds; AT is the port or the socket's path
 *   tcp bulk AT BYTES         megabytes a second from a buffer of 64 MiB into another, again and again, until the last
 *                             byte is acknowledged
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, PIECE = 1 << 16, COPIED = 1 << 26 };

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void read_all(int fd, char *to, size_t n) {
  while (n > 0) {
    ssize_t got = read(fd, to, n);
    if (got <= 0) die("read");
    to += got;
    n -= got;
  }
}

static void write_all(int fd, const char *from, size_t n) {
  while (n > 0) {
    ssize_t put = write(fd, from, n);
    if (put <= 0) die("write");
    from += put;
    n -= put;
  }
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* One byte says what the client wants: E echo, B take eight bytes' worth and answer with one byte. */
static void serve_one(int fd) {
  char *buffer = malloc(BUFFER);
  char what;
  if (read(fd, &what, 1) != 1) exit(0);
  if (what == 'E') {
    for (;;) {
      ssize_t got = read(fd, buffer, BUFFER);
      if (got <= 0) exit(0);
      write_all(fd, buffer, got);
    }
  }
  unsigned long long left;
  read_all(fd, (char *)&left, sizeof left);
  char *to = malloc(COPIED);
  memset(to, 1, COPIED);
  for (unsigned long long at = 0; left > 0;) {
    ssize_t got = read(fd, to + at, COPIED - at < BUFFER ? COPIED - at : BUFFER);
    if (got <= 0) exit(0);
    left -= got;
    at = (at + got) % COPIED;
  }
  write_all(fd, "k", 1);
  exit(0);
}

static struct sockaddr_un unix_address(const char *path) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
  return at;
}

static void server(const char *path) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_un at_path = unix_address(path);
  socklen_t length = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0), one = 1;
  if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 8)) die("listen");
  if (bind(local, (struct sockaddr *)&at_path, sizeof at_path) || listen(local, 8)) die("listen");
  getsockname(fd, (struct sockaddr *)&at, &length);
  printf("%d\n", ntohs(at.sin_port));
  fflush(stdout);
  for (;;) {
    struct pollfd both[] = {{.fd = fd, .events = POLLIN}, {.fd = local, .events = POLLIN}};
    poll(both, 2, -1);
    int peer = accept(both[0].revents ? fd : local, NULL, NULL);
    if (peer < 0) continue;
    if (both[0].revents) setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fork() == 0) serve_one(peer);
    close(peer);
  }
}

static int dial(const char *where, char what) {
  int is_path = where[0] == '/', one = 1;
  int fd = socket(is_path ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(atoi(where))};
  struct sockaddr_un at_path = unix_address(where);
  if (is_path ? connect(fd, (struct sockaddr *)&at_path, sizeof at_path)
              : connect(fd, (struct sockaddr *)&at, sizeof at))
    die("connect");
  if (!is_path) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  write_all(fd, &what, 1);
  return fd;
}

static void ping(const char *at, size_t bytes, int n) {
  int fd = dial(at, 'E');
  char *buffer = calloc(1, bytes);
  double *times = malloc(n * sizeof *times);
  for (int i = -500; i < n; i++) {
    double began = now_us();
    write_all(fd, buffer, bytes);
    read_all(fd, buffer, bytes);
    if (i >= 0) times[i] = now_us() - began;
  }
  qsort(times, n, sizeof *times, by_value);
  printf("%.3f\n", times[n / 2]);
}

static void bulk(const char *at, unsigned long long bytes) {
  int fd = dial(at, 'B');
  char *from = malloc(COPIED), answer;
  memset(from, 3, COPIED);
  write_all(fd, (char *)&bytes, sizeof bytes);
  double began = now_us();
  for (unsigned long long left = bytes; left > 0;) {
    size_t n = left < PIECE ? left : PIECE;
    write_all(fd, from + (bytes - left) % COPIED, n);
    left -= n;
  }
  read_all(fd, &answer, 1);
  printf("%.1f\n", bytes / (now_us() - began));
}

int main(int count, char **args) {
  const char *what = count > 1 ? args[1] : "";
  signal(SIGCHLD, SIG_IGN);
  if (!strcmp(what, "server") && count == 3) server(args[2]);
  else if (!strcmp(what, "ping") && count == 5) ping(args[2], atol(args[3]), atoi(args[4]));
  else if (!strcmp(what, "bulk") && count == 4) bulk(args[2], strtoull(args[3], NULL, 10));
  else return 2;
  return 0;
}
