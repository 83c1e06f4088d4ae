/* A load generator for one question: how fast does a server answer these requests, N at a time?
 *
 *   client HOST PORT CONNECTIONS WARM_S MEASURE_S MIN_ANSWERS MOST_S FOLDER REQUEST...
 *
 * One thread, epoll, HTTP/1.1 with keep-alive, one request in flight on each connection. A REQUEST is a file that
 * is sent byte for byte; connections take them in turn, each beginning elsewhere. Every answer is hashed, and each
 * distinct body is kept once, with its head, in FOLDER as REQUEST-HASH, for somebody else to judge.
 *
 * Prints `begin` when warm (WARM_S have passed, and as many answers as connections), and in the end one line of
 * JSON about the answers that ended since. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 4096, FIRST_BUFFER = 1 << 20 };

struct request { char *bytes; size_t length; };

struct connection {
    int fd;
    size_t turn, sent;           /* which request, and how much of it is out */
    double asked_s;
    char *buffer;
    size_t room, held, head;     /* head: the answer's, 0 until it is whole */
    size_t body;                 /* what the head promises */
    int status;
};

struct distinct { uint64_t hash; size_t request, count, bytes; int status; };

static struct request *requests;
static size_t request_count;
static struct distinct *seen;
static size_t seen_count, seen_room;
static const char *folder;
static struct sockaddr_in address;
static int poller;

static double *taken_s;
static size_t taken_count, taken_room;
static size_t answers, failures, broken;
static uint64_t body_bytes;

static void die(const char *what) { perror(what); exit(1); }

static void *grown(void *old, size_t bytes) {
    void *new = realloc(old, bytes);
    if (!new) die("realloc");
    return new;
}

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

/* Four lanes of multiply and rotate: several bytes a cycle, so that hashing costs next to nothing. */
static uint64_t hash_of(const char *bytes, size_t length) {
    const uint64_t prime = 0x9E3779B185EBCA87ULL;
    uint64_t lane[4] = {length, prime, ~prime, 1}, word;
    size_t at = 0;
    for (; at + 32 <= length; at += 32)
        for (int i = 0; i < 4; i++) {
            memcpy(&word, bytes + at + 8 * i, 8);
            lane[i] = (lane[i] ^ word) * prime;
            lane[i] = lane[i] << 31 | lane[i] >> 33;
        }
    uint64_t all = lane[0];
    for (int i = 1; i < 4; i++) all = ((all << 27 | all >> 37) ^ lane[i]) * prime;
    for (; at < length; at++) all = (all ^ (unsigned char)bytes[at]) * prime;
    return all ^ all >> 29;
}

static void keep(size_t request, uint64_t hash, const struct connection *c) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%zu-%016llx", folder, request, (unsigned long long)hash);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(c->buffer, 1, c->head + c->body, file) != c->head + c->body || fclose(file)) die(path);
}

static void note_body(const struct connection *c) {
    uint64_t hash = hash_of(c->buffer + c->head, c->body);
    size_t request = c->turn % request_count;
    for (size_t i = 0; i < seen_count; i++)
        if (seen[i].hash == hash && seen[i].request == request && seen[i].status == c->status) {
            seen[i].count++;
            return;
        }
    if (seen_count == seen_room) seen = grown(seen, (seen_room = 2 * seen_room + 64) * sizeof *seen);
    seen[seen_count++] = (struct distinct){hash, request, 1, c->body, c->status};
    keep(request, hash, c);
}

static void watch(struct connection *c, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, how, c->fd, &event)) die("epoll_ctl");
}

static void push(struct connection *c, int how) {
    const struct request *request = &requests[c->turn % request_count];
    while (c->sent < request->length) {
        ssize_t out = send(c->fd, request->bytes + c->sent, request->length - c->sent, MSG_NOSIGNAL);
        if (out < 0) break;
        c->sent += out;
    }
    watch(c, c->sent < request->length ? EPOLLIN | EPOLLOUT : EPOLLIN, how);
}

static void ask(struct connection *c) {
    c->sent = c->held = c->head = c->body = 0;
    c->asked_s = now_s();
    push(c, EPOLL_CTL_MOD);
}

static void open_connection(struct connection *c) {
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->sent = c->held = c->head = c->body = 0;
    c->asked_s = now_s();
    push(c, EPOLL_CTL_ADD);
}

static void read_head(struct connection *c) {
    char *end = memmem(c->buffer, c->held, "\r\n\r\n", 4);
    if (!end) return;
    c->head = end + 4 - c->buffer;
    c->status = c->held > 12 ? atoi(c->buffer + 9) : 0;
    for (char *line = c->buffer; line < end; line = (char *)memmem(line, end + 2 - line, "\r\n", 2) + 2) {
        if (!strncasecmp(line, "content-length:", 15)) c->body = strtoull(line + 15, NULL, 10);
        if (!strncasecmp(line, "transfer-encoding:", 18)) {
            fprintf(stderr, "the server answers in chunks; expected a Content-Length\n");
            exit(1);
        }
    }
    if (c->head + c->body > c->room) c->buffer = grown(c->buffer, c->room = c->head + c->body);
}

/* Read what is there; 1: an answer is whole, -1: the connection is lost. */
static int pull(struct connection *c) {
    for (;;) {
        size_t wanted = c->head ? c->head + c->body - c->held : c->room - c->held;
        if (c->head && !wanted) return 1;
        ssize_t in = recv(c->fd, c->buffer + c->held, wanted, 0);
        if (in < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
        if (in == 0) return -1;
        c->held += in;
        if (!c->head) read_head(c);
    }
}

static void note_answer(struct connection *c, int measuring) {
    note_body(c);
    answers++;
    if (!measuring) return;
    if (c->status != 200) { failures++; return; }
    if (taken_count == taken_room) taken_s = grown(taken_s, (taken_room = 2 * taken_room + 4096) * sizeof *taken_s);
    taken_s[taken_count++] = now_s() - c->asked_s;
    body_bytes += c->body;
}

static int by_size(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double quantile_ms(double share) {
    return taken_count ? taken_s[(size_t)(share * (taken_count - 1) + 0.5)] * 1e3 : -1;
}

static double processor_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static void report(double seconds, double client_s) {
    qsort(taken_s, taken_count, sizeof *taken_s, by_size);
    double sum = 0;
    for (size_t i = 0; i < taken_count; i++) sum += taken_s[i];
    printf("{\"seconds\": %.4f, \"answers\": %zu, \"failures\": %zu, \"broken\": %zu, \"client_cpu_s\": %.4f, ",
           seconds, taken_count, failures, broken, client_s);
    printf("\"body_bytes\": %llu, \"mean_ms\": %.4f, \"p50_ms\": %.4f, \"p90_ms\": %.4f, \"p99_ms\": %.4f, ",
           (unsigned long long)body_bytes, taken_count ? sum / taken_count * 1e3 : -1, quantile_ms(0.5),
           quantile_ms(0.9), quantile_ms(0.99));
    printf("\"latencies_ms\": [");
    for (size_t i = 0; i < taken_count; i++) printf("%s%.2f", i ? ", " : "", taken_s[i] * 1e3);
    printf("], \"bodies\": [");
    for (size_t i = 0; i < seen_count; i++)
        printf("%s{\"request\": %zu, \"hash\": \"%016llx\", \"count\": %zu, \"bytes\": %zu, \"status\": %d}",
               i ? ", " : "", seen[i].request, (unsigned long long)seen[i].hash, seen[i].count, seen[i].bytes,
               seen[i].status);
    printf("]}\n");
}

static struct request read_request(const char *path) {
    struct stat about;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &about)) die(path);
    struct request request = {grown(NULL, about.st_size), about.st_size};
    if (fread(request.bytes, 1, request.length, file) != request.length) die(path);
    fclose(file);
    return request;
}

static void run(size_t count, double warm_s, double measure_s, size_t least, double most_s) {
    struct epoll_event ready[256];
    double started_s = now_s(), began_s = 0, began_cpu_s = 0;
    for (;;) {
        int news = epoll_wait(poller, ready, 256, 100);
        for (int i = 0; i < news; i++) {
            struct connection *c = ready[i].data.ptr;
            if (ready[i].events & EPOLLOUT) push(c, EPOLL_CTL_MOD);
            int got = pull(c);
            if (got > 0) {
                note_answer(c, began_s > 0);
                c->turn++;
                ask(c);
            } else if (got < 0) { /* servers may close a connection after some requests; not in an answer */
                broken += c->held > 0 || c->turn == 0;
                close(c->fd);
                open_connection(c);
                if (broken > 10 * count) { fprintf(stderr, "the server breaks off its answers\n"); exit(1); }
            }
        }
        double now = now_s();
        if (!began_s && now - started_s >= warm_s && answers >= count) {
            puts("begin");
            fflush(stdout);
            began_s = now_s();
            began_cpu_s = processor_s();
        } else if (began_s && now - began_s >= measure_s && taken_count + failures >= least) {
            break;
        } else if (now - started_s >= most_s) {
            if (!began_s) began_s = now;
            break;
        }
    }
    report(now_s() - began_s, processor_s() - began_cpu_s);
}

int main(int argc, char **argv) {
    if (argc < 10) {
        fprintf(stderr, "usage: client HOST PORT CONNECTIONS WARM_S MEASURE_S MIN_ANSWERS MOST_S FOLDER REQUEST...\n");
        return 2;
    }
    address.sin_family = AF_INET;
    address.sin_port = htons(atoi(argv[2]));
    if (!inet_pton(AF_INET, argv[1], &address.sin_addr)) die(argv[1]);
    size_t count = strtoull(argv[3], NULL, 10);
    if (count < 1 || count > MOST_CONNECTIONS) { fprintf(stderr, "CONNECTIONS: 1 to 4096\n"); return 2; }
    folder = argv[8];
    request_count = argc - 9;
    requests = grown(NULL, request_count * sizeof *requests);
    for (size_t i = 0; i < request_count; i++) requests[i] = read_request(argv[9 + i]);
    if ((poller = epoll_create1(0)) < 0) die("epoll_create1");
    struct connection *all = calloc(count, sizeof *all);
    for (size_t i = 0; i < count; i++) {
        all[i].turn = i;
        all[i].buffer = grown(NULL, all[i].room = FIRST_BUFFER);
        open_connection(&all[i]);
    }
    run(count, atof(argv[4]), atof(argv[5]), strtoull(argv[6], NULL, 10), atof(argv[7]));
    return 0;
}
