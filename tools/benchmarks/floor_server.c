/* A keep-alive HTTP/1.1 server that costs next to nothing, so that a benchmark measures the client.
 *
 * Built with the system's C compiler at run time by floor.py; one thread, epoll, 127.0.0.1 only.
 *
 *     floor_server BODY_FILE CONTENT_TYPE BIG_BYTES [SPIN]
 *
 * prints its port and serves until its standard input closes. Any request is answered with the contents of BODY_FILE
 * (200 bytes of JSON in the transport benchmark), except GET /big..., which brings BIG_BYTES zero bytes. Requests may be
 * pipelined; their bodies are read by Content-Length and dropped. With SPIN = 1 the server polls without sleeping, which
 * keeps the scheduler out of the measurement.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IN_BYTES (1 << 20)
#define EVENTS 256

struct connection {
    int fd;
    size_t used;         /* bytes in `in` */
    size_t skip;         /* bytes of a request body still to drop */
    size_t big_left;     /* bytes of a long body still to send */
    char in[IN_BYTES];
};

static char *small;
static size_t small_bytes;
static char big_head[512];
static size_t big_head_bytes;
static size_t big_bytes;
static char *zeros;
static const size_t zeros_bytes = 1 << 20;
static int poller;

static void watch(struct connection *c, int writing) {
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static int send_all(int fd, const char *data, size_t count) {
    while (count) {
        ssize_t done = send(fd, data, count, MSG_NOSIGNAL);
        if (done < 0) {
            if (errno == EAGAIN) continue;
            return -1;
        }
        data += done;
        count -= (size_t)done;
    }
    return 0;
}

static int pump(struct connection *c) {
    while (c->big_left) {
        size_t piece = c->big_left < zeros_bytes ? c->big_left : zeros_bytes;
        ssize_t done = send(c->fd, zeros, piece, MSG_NOSIGNAL);
        if (done < 0) {
            if (errno != EAGAIN) return -1;
            watch(c, 1);
            return 0;
        }
        c->big_left -= (size_t)done;
    }
    watch(c, 0);
    return 0;
}

static int serve(struct connection *c) {
    size_t at = 0;
    while (at < c->used) {
        if (c->skip) {
            size_t drop = c->used - at < c->skip ? c->used - at : c->skip;
            c->skip -= drop;
            at += drop;
            if (c->skip || at == c->used) break;
            continue;
        }
        char *end = memmem(c->in + at, c->used - at, "\r\n\r\n", 4);
        if (!end) break;
        char *head = c->in + at;
        *end = 0;
        char *length = strcasestr(head, "\r\ncontent-length:");
        c->skip = length ? strtoul(length + 17, NULL, 10) : 0;
        at = (size_t)(end + 4 - c->in);
        if (strncmp(head, "GET /big", 8) == 0) {
            if (send_all(c->fd, big_head, big_head_bytes)) return -1;
            c->big_left = big_bytes;
            if (pump(c)) return -1;
        } else {
            /* Answer only once the whole body is here, as a real server would. */
            if (c->skip > c->used - at) {
                size_t missing = c->skip - (c->used - at);
                at = c->used;
                char sink[65536];
                while (missing) {
                    ssize_t got = recv(c->fd, sink, missing < sizeof sink ? missing : sizeof sink, 0);
                    if (got == 0 || (got < 0 && errno != EAGAIN)) return -1;
                    if (got > 0) missing -= (size_t)got;
                }
            } else {
                at += c->skip;
            }
            c->skip = 0;
            if (send_all(c->fd, small, small_bytes)) return -1;
        }
    }
    memmove(c->in, c->in + at, c->used - at);
    c->used -= at;
    return c->used == IN_BYTES ? -1 : 0;
}

static char *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    char *data = malloc(1 << 20);
    *bytes = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

int main(int argc, char **argv) {
    if (argc < 4) { fputs("usage: floor_server BODY_FILE CONTENT_TYPE BIG_BYTES [SPIN]\n", stderr); return 2; }
    size_t body_bytes;
    char *body = read_file(argv[1], &body_bytes);
    big_bytes = strtoul(argv[3], NULL, 10);
    int wait_ms = argc > 4 && atoi(argv[4]) ? 0 : -1;
    const char *form = "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\nServer: floor\r\n"
                       "Date: Wed, 01 Jan 2025 00:00:00 GMT\r\nConnection: keep-alive\r\n\r\n";
    const char *date_form = "%a, %d %b %Y %H:%M:%S GMT";
    time_t dated = 0;
    small = malloc(body_bytes + 512);
    small_bytes = (size_t)snprintf(small, 512, form, argv[2], body_bytes);
    memcpy(small + small_bytes, body, body_bytes);
    small_bytes += body_bytes;
    big_head_bytes = (size_t)snprintf(big_head, sizeof big_head, form, "application/octet-stream", big_bytes);
    zeros = calloc(1, zeros_bytes);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 512)) { perror("listen"); return 1; }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    static int stdin_mark;
    event.data.ptr = &stdin_mark;
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);

    struct epoll_event events[EVENTS];
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, wait_ms);
        time_t now = time(NULL);
        if (now != dated) {
            /* Heads change once a second, as those of real servers do. */
            char text[32];
            dated = now;
            strftime(text, sizeof text, date_form, gmtime(&now));
            memcpy(strstr(small, "Date: ") + 6, text, 29);
            memcpy(strstr(big_head, "Date: ") + 6, text, 29);
        }
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &stdin_mark) return 0;
            if (events[i].data.ptr == NULL) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                struct connection *fresh = malloc(sizeof *fresh);
                fresh->fd = fd;
                fresh->used = fresh->skip = fresh->big_left = 0;
                struct epoll_event new_event = {.events = EPOLLIN, .data.ptr = fresh};
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &new_event);
                continue;
            }
            struct connection *c = events[i].data.ptr;
            int broken = 0;
            if (events[i].events & EPOLLOUT) broken = pump(c);
            if (!broken && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                ssize_t got = recv(c->fd, c->in + c->used, IN_BYTES - c->used, 0);
                if (got > 0) {
                    c->used += (size_t)got;
                    broken = serve(c);
                } else if (got == 0 || errno != EAGAIN) {
                    broken = 1;
                }
            }
            if (broken) {
                close(c->fd);
                free(c);
            }
        }
    }
}
