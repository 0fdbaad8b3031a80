/* The v3io web API as far as a benchmark looks at it: prepared answers by function, at next to no cost.
 *
 * Built with the system's C compiler at run time by v3io.py; one thread, epoll, 127.0.0.1 only.
 *
 *     v3io_server FOLDER PAGES
 *
 * prints its port and serves until its standard input closes. FOLDER holds one file per answer, head and body as they go
 * out: the X-v3io-function's name, or the method for plain object access. GetItems answers PAGES pages: the answer's
 * twelve zeros are replaced by the number of the next page, and the last page is FOLDER/GetItems.last.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_BYTES (4 << 20)
#define MAX_ANSWERS 32
#define MARKER "000000000000"

struct answer { char name[64]; char *data; size_t bytes; };
struct connection { int fd; size_t used; char in[IN_BYTES]; };

static struct answer answers[MAX_ANSWERS];
static int answer_count;
static long pages;

static struct answer *load(const char *folder, const char *name) {
    for (int i = 0; i < answer_count; i++)
        if (strcmp(answers[i].name, name) == 0) return &answers[i];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file || answer_count == MAX_ANSWERS) { fprintf(stderr, "no answer for %s\n", name); exit(1); }
    struct answer *fresh = &answers[answer_count++];
    snprintf(fresh->name, sizeof fresh->name, "%s", name);
    fseek(file, 0, SEEK_END);
    fresh->bytes = (size_t)ftell(file);
    rewind(file);
    fresh->data = malloc(fresh->bytes);
    if (fread(fresh->data, 1, fresh->bytes, file) != fresh->bytes) exit(1);
    fclose(file);
    return fresh;
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

static int reply(int fd, const char *folder, const char *head, const char *body, size_t body_bytes) {
    char name[64];
    const char *function = strcasestr(head, "\r\nx-v3io-function:");
    if (function) {
        function += 18;
        function += strspn(function, " ");
        snprintf(name, sizeof name, "%.*s", (int)strcspn(function, "\r"), function);
    } else {
        snprintf(name, sizeof name, "%.*s", (int)strcspn(head, " "), head);
    }
    struct answer *answer = load(folder, name);
    if (strcmp(name, "GetItems") == 0) {
        const char *marker = memmem(body, body_bytes, "\"Marker\":\"", 10);
        long page = (marker ? strtol(marker + 10, NULL, 10) : 0) + 1;
        if (page >= pages) {
            answer = load(folder, "GetItems.last");
        } else {
            static char *spot;
            if (!spot) spot = memmem(answer->data, answer->bytes, MARKER, 12);
            char digits[16];
            snprintf(digits, sizeof digits, "%012ld", page);
            memcpy(spot, digits, 12);
        }
    }
    return send_all(fd, answer->data, answer->bytes);
}

static int serve(struct connection *c, const char *folder) {
    size_t at = 0;
    while (at < c->used) {
        char *end = memmem(c->in + at, c->used - at, "\r\n\r\n", 4);
        if (!end) break;
        char *head = c->in + at;
        *end = 0;
        char *length = strcasestr(head, "\r\ncontent-length:");
        size_t body = length ? strtoul(length + 17, NULL, 10) : 0;
        size_t start = (size_t)(end + 4 - c->in);
        if (c->used - start < body) {
            *end = '\r';
            break;
        }
        if (reply(c->fd, folder, head, c->in + start, body)) return -1;
        at = start + body;
    }
    memmove(c->in, c->in + at, c->used - at);
    c->used -= at;
    return c->used == IN_BYTES ? -1 : 0;
}

int main(int argc, char **argv) {
    if (argc < 3) { fputs("usage: v3io_server FOLDER PAGES\n", stderr); return 2; }
    pages = atol(argv[2]);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 512)) { perror("listen"); return 1; }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int poller = epoll_create1(0);
    static int stdin_mark;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &stdin_mark;
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
    struct epoll_event events[256];
    for (;;) {
        int count = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &stdin_mark) return 0;
            if (events[i].data.ptr == NULL) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                struct connection *fresh = malloc(sizeof *fresh);
                fresh->fd = fd;
                fresh->used = 0;
                struct epoll_event new_event = {.events = EPOLLIN, .data.ptr = fresh};
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &new_event);
                continue;
            }
            struct connection *c = events[i].data.ptr;
            ssize_t got = recv(c->fd, c->in + c->used, IN_BYTES - c->used, 0);
            if (got > 0) {
                c->used += (size_t)got;
                if (serve(c, argv[1]) == 0) continue;
            } else if (got < 0 && errno == EAGAIN) {
                continue;
            }
            close(c->fd);
            free(c);
        }
    }
}
