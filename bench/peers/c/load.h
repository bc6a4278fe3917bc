// What the programs that load a server have in common:
//
//	CPUS FIRST TARGETS COUNT WINDOW SPIN SERVER ARGUMENTS...
//
// starts a server, on the first so many processors, and has it answer rounds of COUNT
// requests from the last processor. WINDOW of them are outstanding, to addresses from
// among TARGETS from FIRST on. For SPIN nanoseconds it asks for replies before it
// sleeps. The server is ready when it has printed a line.
//
// A round's time on processors is the server's. Behind the line about a round is another:
// with a WINDOW of 1 how many nanoseconds each round trip took, from when the reply before
// it was there to when its own was, which together are the round; else it is empty. A reply that is wrong, one that is too
// many and one that does not come end the program.

#define _GNU_SOURCE
#include "session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum {
	BATCH = 32,
	DATA = 56,         // bytes that a request has behind its header, of ICMP or of UDP
	NUMBERS = 1 << 16, // of requests that may be told apart
	PATIENCE = 3000,   // ms without a reply, after which the rest is lost
};

// What a program has of its own: fill makes the request with a number and returns its
// length, and check returns the number of reply i of the last batch, if all of it is right.
static int open_socket(void);
static size_t fill(char *message, uint32_t number);
static uint32_t check(int i);

static uint32_t first, targets;
static uint16_t port; // in network byte order; 0 for ICMP
static long count, window;
static long long spin; // ns
static int fd;
static pid_t server;
static uint32_t next; // number of the next request
static unsigned char awaited[NUMBERS];
static long long *trips; // ns, of a round with a window of 1

// batch is the memory for one system call.
static struct batch {
	struct mmsghdr headers[BATCH];
	struct iovec vectors[BATCH];
	struct sockaddr_in peers[BATCH];
	char data[BATCH][128];
} out, in;

static void prepare(struct batch *b, int i, size_t length)
{
	b->vectors[i] = (struct iovec){b->data[i], length};
	b->headers[i].msg_hdr = (struct msghdr){
		.msg_name = &b->peers[i], .msg_namelen = sizeof b->peers[i], .msg_iov = &b->vectors[i], .msg_iovlen = 1};
}

// address is where a request goes: all over the targets, for the neighbour of what was
// looked up last is found sooner.
static uint32_t address(uint32_t number)
{
	return first + number * 2654435761u % targets;
}

static void send_batch(long n)
{
	for (int i = 0; i < n; i++) {
		uint32_t number = next++;

		prepare(&out, i, fill(out.data[i], number));
		out.peers[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(address(number))};
		awaited[number % NUMBERS] = 1;
	}
	for (long done = 0; done < n;) {
		int k = sendmmsg(fd, out.headers + done, (unsigned)(n - done), 0);

		if (k < 0 && errno != EINTR)
			fail("sendmmsg");
		if (k > 0)
			done += k;
	}
}

static void wrong(int i, const char *what)
{
	unsigned length = in.headers[i].msg_len;

	fprintf(stderr, "load: %s from %s, %u bytes:", what, inet_ntoa(in.peers[i].sin_addr), length);
	for (unsigned k = 0; k < length && k < 96; k++)
		fprintf(stderr, " %02x", (unsigned char)in.data[i][k]);
	fprintf(stderr, "\n");
	exit(1);
}

static void receive(int i)
{
	uint32_t number = check(i);

	if (ntohl(in.peers[i].sin_addr.s_addr) != address(number) || in.peers[i].sin_port != port)
		wrong(i, "a reply from elsewhere");
	if (next - number > NUMBERS || next == number || !awaited[number % NUMBERS])
		wrong(i, "one reply too many");
	awaited[number % NUMBERS] = 0;
}

static long receive_batch(void)
{
	int n;

	for (int i = 0; i < BATCH; i++)
		prepare(&in, i, sizeof in.data[i]);
	n = recvmmsg(fd, in.headers, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		fail("recvmmsg");
	for (int i = 0; i < n; i++)
		receive(i);
	return n < 0 ? 0 : n;
}

static void await(long outstanding)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n = poll(&p, 1, PATIENCE);

	if (n < 0 && errno != EINTR)
		fail("poll");
	if (n == 0) {
		fprintf(stderr, "load: %ld requests without a reply\n", outstanding);
		exit(1);
	}
}

static long least(long a, long b)
{
	return a < b ? a : b;
}

// used is the server's time on processors until now. The kernel adds up that of a
// running thread from time to time, so this waits until the server has come to rest.
static long long used(void)
{
	const struct timespec pause = {0, 1000000};
	long long now, before = -1;
	clockid_t clock;

	errno = clock_getcpuclockid(server, &clock);
	if (errno != 0)
		fail("clock_getcpuclockid");
	while ((now = nanoseconds(clock)) != before) {
		before = now;
		nanosleep(&pause, NULL);
	}
	return now;
}

static void play(const char *command)
{
	long sent = 0, answered = 0;
	long long before = used(), active, replied;

	(void)command;
	active = replied = wall = nanoseconds(CLOCK_MONOTONIC);
	while (answered < count) {
		long slot = least(least(BATCH, window), count - sent), n;

		// Not one for one, which would keep the server from batches.
		if (slot > 0 && window - (sent - answered) >= slot) {
			send_batch(slot);
			sent += slot;
			continue;
		}
		n = receive_batch();
		if (n > 0 && (spin > 0 || window == 1))
			active = nanoseconds(CLOCK_MONOTONIC);
		if (n > 0 && window == 1) {
			trips[answered] = active - replied;
			replied = active;
		}
		answered += n;
		if (n == 0 && (spin == 0 || nanoseconds(CLOCK_MONOTONIC) - active > spin)) {
			await(sent - answered);
			active = nanoseconds(CLOCK_MONOTONIC);
		}
	}
	wall = (window == 1 ? replied : nanoseconds(CLOCK_MONOTONIC)) - wall;
	cpu = used() - before;
	receive_batch(); // of which any is one too many
	answer(answered);
	for (long i = 0; window == 1 && i < answered; i++)
		printf("%lld ", trips[i]);
	printf("\n");
	fflush(stdout);
}

// pin keeps the calling process on the first n processors of those it may use, or with
// 0 on the last.
static void pin(int n)
{
	cpu_set_t may, set;
	int last = 0;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof may, &may) != 0)
		fail("sched_getaffinity");
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &may)) {
			last = i;
			if (n-- > 0)
				CPU_SET(i, &set);
		}
	if (CPU_COUNT(&set) == 0)
		CPU_SET(last, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0)
		fail("sched_setaffinity");
}

// kill_server ends a server with this program, where nothing else has ended it.
static void kill_server(void)
{
	if (server > 0)
		kill(server, SIGKILL);
}

static void start(char **argv, int cpus)
{
	int ends[2];
	char byte = 0;

	if (pipe(ends) != 0)
		fail("pipe");
	server = fork();
	if (server < 0)
		fail("fork");
	if (server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin(cpus);
		dup2(ends[1], 1);
		close(0);
		close(ends[0]);
		close(ends[1]);
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(1);
	}
	atexit(kill_server);
	close(ends[1]);
	while (byte != '\n') {
		long n = read(ends[0], &byte, 1);

		if (n < 0 && errno != EINTR)
			fail("read");
		if (n == 0) {
			fprintf(stderr, "load: %s ended before it was ready\n", argv[0]);
			exit(1);
		}
	}
}

static void stop(void)
{
	int status;

	kill(server, SIGTERM);
	alarm(60);
	if (waitpid(server, &status, 0) != server)
		fail("waitpid");
	server = 0;
	if (WIFSIGNALED(status) ? WTERMSIG(status) != SIGTERM : WEXITSTATUS(status) != 0) {
		fprintf(stderr, "load: the server ended with %s %d\n", WIFSIGNALED(status) ? "signal" : "exit code",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		exit(1);
	}
}

static int load(int argc, char **argv)
{
	struct in_addr from;
	int cpus, buffer = 4 << 20;

	if (argc == 1) {
		printf("sendmmsg, recvmmsg, gcc %s\n", __VERSION__);
		return 0;
	}
	if (argc < 8 || (cpus = atoi(argv[1])) < 1 || inet_pton(AF_INET, argv[2], &from) != 1 ||
	    (targets = (uint32_t)atol(argv[3])) < 1 || (count = atol(argv[4])) < 1 || (window = atol(argv[5])) < 1 ||
	    window > NUMBERS / 2 || (spin = atoll(argv[6])) < 0) {
		fprintf(stderr, "usage: load CPUS FIRST TARGETS COUNT WINDOW SPIN SERVER ARGUMENTS...\n");
		return 2;
	}
	first = ntohl(from.s_addr);
	trips = calloc(window == 1 ? (size_t)count : 1, sizeof *trips);
	if (!trips)
		fail("calloc");
	alarm(60);
	fd = open_socket();
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) != 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) != 0)
		fail("SO_RCVBUF");
	start(argv + 7, cpus);
	alarm(0);
	pin(0);
	serve(play);
	stop();
	return 0;
}
