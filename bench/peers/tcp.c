/*
 * What TCP on loopback can do without us: an echo server, and a client that measures it.
 *
 *   tcp server                     prints its port; echoes what comes, counts what comes after the byte 'B'
 *   tcp ping PORT BYTES N          median round trip, microseconds
 *   tcp pipe PORT BYTES WINDOW N   messages a second with WINDOW of them under way
 *   tcp bulk PORT BYTES            megabytes a second in one direction, until the last byte is acknowledged
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18 };

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

/* One byte says what the client wants: E echo, B count eight bytes' worth and answer with one byte. */
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
  while (left > 0) {
    ssize_t got = read(fd, buffer, BUFFER);
    if (got <= 0) exit(0);
    left -= got;
  }
  write_all(fd, "k", 1);
  exit(0);
}

static void server(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 8)) die("listen");
  getsockname(fd, (struct sockaddr *)&at, &length);
  printf("%d\n", ntohs(at.sin_port));
  fflush(stdout);
  for (;;) {
    int peer = accept(fd, NULL, NULL);
    if (peer < 0) continue;
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fork() == 0) serve_one(peer);
    close(peer);
  }
}

static int dial(int port, char what) {
  struct sockaddr_in at = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (connect(fd, (struct sockaddr *)&at, sizeof at)) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  write_all(fd, &what, 1);
  return fd;
}

static void ping(int port, size_t bytes, int n) {
  int fd = dial(port, 'E');
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

/* A batch leaves when the one before it has come back whole: what a server of many callers sees. */
static void pipe_(int port, size_t bytes, int window, int n) {
  int fd = dial(port, 'E');
  char *buffer = calloc(window, bytes);
  double began = now_us();
  int done = 0;
  for (; done < n; done += window) {
    write_all(fd, buffer, bytes * window);
    read_all(fd, buffer, bytes * window);
  }
  printf("%.0f\n", done / (now_us() - began) * 1e6);
}

static void bulk(int port, unsigned long long bytes) {
  int fd = dial(port, 'B');
  char *buffer = calloc(1, BUFFER), answer;
  write_all(fd, (char *)&bytes, sizeof bytes);
  double began = now_us();
  for (unsigned long long left = bytes; left > 0;) {
    size_t n = left < 65536 ? left : 65536;
    write_all(fd, buffer, n);
    left -= n;
  }
  read_all(fd, &answer, 1);
  printf("%.1f\n", bytes / (now_us() - began));
}

int main(int count, char **args) {
  const char *what = count > 1 ? args[1] : "";
  if (!strcmp(what, "server")) server();
  else if (!strcmp(what, "ping") && count == 5) ping(atoi(args[2]), atol(args[3]), atoi(args[4]));
  else if (!strcmp(what, "pipe") && count == 6) pipe_(atoi(args[2]), atol(args[3]), atoi(args[4]), atoi(args[5]));
  else if (!strcmp(what, "bulk") && count == 4) bulk(atoi(args[2]), strtoull(args[3], NULL, 10));
  else return 2;
  return 0;
}
