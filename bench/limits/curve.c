/* curve.c - the limit of every exchange between services: a bare ROUTER and a bare
 * DEALER in two processes, with CURVE, over TCP on loopback.
 *
 * A message is MESSAGE bytes, as much as a task in its frame; the ROUTER's process
 * sends each back.  Prints, a line each: messages a second with 1,000 in flight;
 * tasks a second with 256 tasks a message, as many in flight at most as an executor
 * may hold; the round trip of a message alone in microseconds (all medians); and the
 * resident megabytes of a process that has one connected socket and nothing else.
 * There is no ZAP handler: nobody is told apart here, so nothing but loopback is bound.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define MESSAGE 64
#define IN_FLIGHT 1000
#define BATCH 256
#define BATCHES_IN_FLIGHT 16
#define MESSAGES_A_ROUND 200000
#define BATCHES_A_ROUND 8000
#define ROUNDS 5
#define ROUND_TRIPS 2000
#define HWM (2 * IN_FLIGHT)
#define KEY_MAX 41
#define ENDPOINT_MAX 64
#define SILENCE_MS 10000 /* an answer that takes longer never comes */

struct keys {
    char public_key[KEY_MAX], secret_key[KEY_MAX];
};

static void die(const char *what)
{
    fprintf(stderr, "limit-curve: %s: %s\n", what, zmq_strerror(errno));
    exit(1);
}

static void set_int(void *socket, int option, int value)
{
    if (zmq_setsockopt(socket, option, &value, sizeof value))
        die("zmq_setsockopt");
}

static void set_key(void *socket, int option, const char *key)
{
    if (zmq_setsockopt(socket, option, key, KEY_MAX))
        die("zmq_setsockopt");
}

static void *open_socket(void *context, int type, const struct keys *own)
{
    void *socket = zmq_socket(context, type);
    if (!socket)
        die("zmq_socket");
    set_int(socket, ZMQ_LINGER, 0);
    set_int(socket, ZMQ_SNDHWM, HWM);
    set_int(socket, ZMQ_RCVHWM, HWM);
    set_int(socket, ZMQ_RCVTIMEO, SILENCE_MS);
    set_int(socket, ZMQ_SNDTIMEO, SILENCE_MS);
    set_key(socket, ZMQ_CURVE_PUBLICKEY, own->public_key);
    set_key(socket, ZMQ_CURVE_SECRETKEY, own->secret_key);
    return socket;
}

/* The ROUTER's process: send every frame back until the parent ends it. */
static void echo(const struct keys *own, int out)
{
    char endpoint[ENDPOINT_MAX] = "";
    size_t n = sizeof endpoint;
    void *router = open_socket(zmq_ctx_new(), ZMQ_ROUTER, own);
    set_int(router, ZMQ_CURVE_SERVER, 1);
    if (zmq_bind(router, "tcp://127.0.0.1:*") || zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &n) ||
        write(out, endpoint, sizeof endpoint) != sizeof endpoint)
        die("bind");
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    for (;;) {
        if (zmq_msg_recv(&frame, router, 0) < 0 ||
            zmq_msg_send(&frame, router, zmq_msg_more(&frame) ? ZMQ_SNDMORE : 0) < 0)
            _exit(1);
    }
}

static void *connect_to(const char *endpoint, const struct keys *own, const char *server_key)
{
    void *dealer = open_socket(zmq_ctx_new(), ZMQ_DEALER, own);
    set_key(dealer, ZMQ_CURVE_SERVERKEY, server_key);
    if (zmq_connect(dealer, endpoint))
        die(endpoint);
    return dealer;
}

static void put(void *dealer, size_t bytes)
{
    static const char zeroes[BATCH * MESSAGE];
    if (zmq_send(dealer, zeroes, bytes, 0) < 0)
        die("send");
}

static void get(void *dealer)
{
    static char into[BATCH * MESSAGE];
    if (zmq_recv(dealer, into, sizeof into, 0) < 0)
        die("receive");
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_size);
    return v[n / 2];
}

/* Messages a second: n there and back, at most `in_flight` on their way. */
static double rate(void *dealer, size_t bytes, int n, int in_flight)
{
    double rounds[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        double start = now_s();
        for (int i = 0; i < in_flight; i++)
            put(dealer, bytes);
        for (int i = in_flight; i < n; i++) {
            get(dealer);
            put(dealer, bytes);
        }
        for (int i = 0; i < in_flight; i++)
            get(dealer);
        rounds[r] = n / (now_s() - start);
    }
    return median(rounds, ROUNDS);
}

static double round_trip(void *dealer)
{
    static double trips[ROUND_TRIPS];
    for (int i = 0; i < ROUND_TRIPS; i++) {
        double start = now_s();
        put(dealer, MESSAGE);
        get(dealer);
        trips[i] = now_s() - start;
    }
    return median(trips, ROUND_TRIPS);
}

static double resident_mb(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*d %ld", &pages) != 1)
        die("/proc/self/statm");
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

int main(void)
{
    struct keys server, client;
    char endpoint[ENDPOINT_MAX];
    int ends[2];
    if (zmq_curve_keypair(server.public_key, server.secret_key) ||
        zmq_curve_keypair(client.public_key, client.secret_key) || pipe(ends))
        die("keys");
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        echo(&server, ends[1]);
    }
    close(ends[1]);
    if (read(ends[0], endpoint, sizeof endpoint) != sizeof endpoint)
        die("the ROUTER's process ended early");
    void *dealer = connect_to(endpoint, &client, server.public_key);
    put(dealer, MESSAGE); /* the handshake is none of the figures */
    get(dealer);
    printf("curve_idle_mb %.2f\n", resident_mb());
    printf("curve_messages_s %.0f\n", rate(dealer, MESSAGE, MESSAGES_A_ROUND, IN_FLIGHT));
    printf("curve_batched_tasks_s %.0f\n",
           BATCH * rate(dealer, (size_t)BATCH * MESSAGE, BATCHES_A_ROUND, BATCHES_IN_FLIGHT));
    printf("curve_round_trip_us %.1f\n", round_trip(dealer) * 1e6);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}
