// sweep FIRST TARGETS COUNT GAP sends COUNT echo requests of 56 bytes of data to each
// of so many IPv4 addresses from FIRST on, one every GAP nanoseconds, those of a slot
// together, or with GAP 0 as fast as replies come. It does what sendmmsg(2) and
// recvmmsg(2) can do and nothing else, on a socket that is set up as echo client sets
// up its own: with its filters, its receive buffer, the kernel's time stamps and error
// reports. It says how many were sent, answered and stamped, and the average
// round-trip time in nanoseconds. Without arguments it says what it was built with.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	BATCH = 64,
	WINDOW = 1 << 18, // in flight; a power of two above 1 << 16
	HEADER = 8,	  // of ICMP
	DATA = 56,
	CONTROL = 256,
	SLOT = 64,	  // requests, at most, that are sent together where there is a gap:
	SLOT_NS = 20000000, // ns, within which they are due, as in echo client
	PATIENCE = 1000,  // ms without a reply, after which the rest is lost
};

// The number under which a transmit stamp comes back (Linux 6.13).
#ifndef SCM_TS_OPT_ID
#define SCM_TS_OPT_ID 81
#endif
// What glibc has for 64-bit time depends on its version; these are the kernel's.
#ifndef SO_TIMESTAMPING_NEW
#define SO_TIMESTAMPING_NEW 65
#endif

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void set(int fd, int level, int name, const void *value, socklen_t size, const char *what)
{
	if (setsockopt(fd, level, name, value, size) != 0)
		fail(what);
}

// attach lets in echo replies with the identifier, and errors about the requests.
static void attach(int fd, uint16_t id)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_ECHOREPLY, 15, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_DEST_UNREACH, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_SOURCE_QUENCH, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_REDIRECT, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_TIME_EXCEEDED, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_PARAMETERPROB, 0, 13),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 8 + 9),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMP, 0, 11),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 8),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x0f),
		BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 2),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 8),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_ECHO, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, id, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = {sizeof program / sizeof *program, program};

	set(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter, "SO_ATTACH_FILTER");
}

static int numbered = 1; // the kernel takes our numbers for stamps

static int open_socket(uint16_t id)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);
	int buffer = 4 << 20, on = 1;
	struct icmp_filter types = {~(1u << ICMP_ECHOREPLY | 1u << ICMP_DEST_UNREACH | 1u << ICMP_SOURCE_QUENCH |
				      1u << ICMP_REDIRECT | 1u << ICMP_TIME_EXCEEDED | 1u << ICMP_PARAMETERPROB)};
	int stamps = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE |
		     SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;

	if (fd < 0)
		fail("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) != 0)
		set(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer, "SO_RCVBUF");
	set(fd, SOL_RAW, ICMP_FILTER, &types, sizeof types, "ICMP_FILTER");
	set(fd, SOL_SOCKET, SO_TIMESTAMPING_NEW, &stamps, sizeof stamps, "SO_TIMESTAMPING");
	set(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on, "IP_RECVERR");
	attach(fd, id);
	return fd;
}

// batch is the memory for one system call.
struct batch {
	struct mmsghdr headers[BATCH];
	struct iovec vectors[BATCH];
	struct sockaddr_in peers[BATCH];
	_Alignas(struct cmsghdr) char control[BATCH][CONTROL];
	char data[BATCH][128];
	int used; // headers to be prepared before the next receive_batch
};

static void prepare(struct batch *b, int i, size_t length, size_t control)
{
	b->vectors[i] = (struct iovec){b->data[i], length};
	b->headers[i].msg_hdr = (struct msghdr){
		.msg_name = &b->peers[i], .msg_namelen = sizeof b->peers[i], .msg_iov = &b->vectors[i], .msg_iovlen = 1,
		.msg_control = b->control[i], .msg_controllen = control};
}

static uint32_t first, targets;
static long total, sent, answered, stamped;
static long long gap; // ns
static long long left[WINDOW]; // when the kernel sent them, ns
static unsigned char awaited[WINDOW];
static long long sum; // of the round-trip times of those that have one
static long timed;

static uint32_t address(uint32_t number)
{
	return first + number % targets;
}

static uint16_t checksum(const void *data, size_t length)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < length / 2; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

// fill makes the request with a number.
static void fill(struct batch *b, int i, uint32_t number, uint16_t id)
{
	struct icmphdr *h = (struct icmphdr *)b->data[i];

	prepare(b, i, HEADER + DATA, numbered ? CMSG_SPACE(sizeof number) : 0);
	b->peers[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(address(number))};
	*h = (struct icmphdr){.type = ICMP_ECHO, .un.echo = {htons(id), htons((uint16_t)number)}};
	memcpy(h + 1, &number, sizeof number);
	h->checksum = checksum(h, HEADER + DATA);
	if (numbered) {
		struct cmsghdr *c = (struct cmsghdr *)b->control[i];

		*c = (struct cmsghdr){CMSG_LEN(sizeof number), SOL_SOCKET, SCM_TS_OPT_ID};
		memcpy(CMSG_DATA(c), &number, sizeof number);
	}
	awaited[number % WINDOW] = 1;
}

// send_batch sends up to BATCH requests and tells whether the socket took them all.
static int send_batch(int fd, struct batch *b, long count, uint16_t id)
{
	for (long i = 0; i < count; i++)
		fill(b, (int)i, (uint32_t)(sent + i), id);
	for (long done = 0; done < count;) {
		int n = sendmmsg(fd, b->headers + done, (unsigned)(count - done), MSG_DONTWAIT);

		if (n < 0 && errno == EINVAL && sent == 0 && numbered) {
			numbered = 0;
			return send_batch(fd, b, count, id);
		}
		if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
			return 0;
		if (n < 0 && errno != EINTR)
			fail("sendmmsg");
		if (n > 0) {
			done += n;
			sent += n;
		}
	}
	return 1;
}

static int receive_batch(int fd, struct batch *b, int flags)
{
	int n;

	for (int i = 0; i < b->used; i++)
		prepare(b, i, sizeof b->data[i], CONTROL);
	n = recvmmsg(fd, b->headers, BATCH, MSG_DONTWAIT | flags, NULL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		fail("recvmmsg");
	b->used = n < 0 ? 0 : n;
	return n;
}

// stamp returns the time stamp of a message in nanoseconds, and its number if it is
// one from the error queue.
static long long stamp(struct msghdr *m, uint32_t *number)
{
	long long at = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPING_NEW) {
			long long t[2];

			memcpy(t, CMSG_DATA(c), sizeof t);
			at = t[0] * 1000000000 + t[1];
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR && number) {
			struct sock_extended_err e;

			memcpy(&e, CMSG_DATA(c), sizeof e);
			if (e.ee_origin == SO_EE_ORIGIN_TIMESTAMPING)
				*number = e.ee_data;
			else
				return 0;
		}
	}
	return at;
}

// receive takes a batch of replies, and then all stamps, so that those of the
// replies are there.
static void receive(int fd, struct batch *replies, struct batch *stamps, uint16_t id)
{
	int n = receive_batch(fd, replies, 0), got;

	do {
		got = receive_batch(fd, stamps, MSG_ERRQUEUE);
		for (int i = 0; i < got; i++) {
			uint32_t number = 0;
			long long at = stamp(&stamps->headers[i].msg_hdr, &number);

			if (at) {
				left[number % WINDOW] = at;
				stamped++;
			}
		}
	} while (got == BATCH);
	for (int i = 0; i < n; i++) {
		const unsigned char *packet = (unsigned char *)replies->data[i];
		unsigned header = (packet[0] & 15) * 4u;
		struct icmphdr h;
		uint32_t number;
		long long at;

		if (replies->headers[i].msg_len < header + HEADER + DATA)
			continue;
		memcpy(&h, packet + header, sizeof h);
		memcpy(&number, packet + header + HEADER, sizeof number);
		if (h.type != ICMP_ECHOREPLY || ntohs(h.un.echo.id) != id || ntohs(h.un.echo.sequence) != (uint16_t)number ||
		    ntohl(replies->peers[i].sin_addr.s_addr) != address(number) || !awaited[number % WINDOW])
			continue;
		awaited[number % WINDOW] = 0;
		answered++;
		at = stamp(&replies->headers[i].msg_hdr, NULL);
		if (at && left[number % WINDOW]) { // the first packets may have none
			sum += at - left[number % WINDOW];
			timed++;
		}
		left[number % WINDOW] = 0;
	}
}

static long long now(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		fail("clock_gettime");
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long least(long a, long b)
{
	return a < b ? a : b;
}

// wait_until waits until the socket is ready for events, or until a time unless that
// is 0, and tells whether neither was so for too long.
static int wait_until(int fd, short events, long long when)
{
	struct pollfd p = {.fd = fd, .events = events};
	long long wait = when ? when - now() : PATIENCE * 1000000LL;
	struct timespec t = {wait / 1000000000, wait % 1000000000};
	int n;

	if (wait <= 0)
		return 0;
	n = ppoll(&p, 1, &t, NULL);
	if (n < 0 && errno != EINTR)
		fail("ppoll");
	return n == 0 && !when;
}

int main(int argc, char **argv)
{
	static struct batch out, in = {.used = BATCH}, stamps = {.used = BATCH};
	uint16_t id = (uint16_t)(getpid() | 1);
	struct in_addr from;
	long long start, product;
	long slot = 1;
	int fd;

	if (argc == 1) {
		printf("sendmmsg, recvmmsg, gcc %s\n", __VERSION__);
		return 0;
	}
	if (argc != 5 || inet_pton(AF_INET, argv[1], &from) != 1 || (targets = (uint32_t)atol(argv[2])) < 1 ||
	    (product = targets * atoll(argv[3])) < 1 || product > INT32_MAX || (gap = atoll(argv[4])) < 0) {
		fprintf(stderr, "usage: sweep FIRST TARGETS COUNT GAP\n");
		return 2;
	}
	total = product;
	first = ntohl(from.s_addr);
	if (gap > 0 && gap < SLOT_NS)
		slot = least(least(SLOT, SLOT_NS / gap), targets);
	fd = open_socket(id);
	start = now();
	while (answered < total) {
		long count = least(BATCH, least(total - sent, WINDOW - (sent - answered)));
		long long when = 0;
		int full = 0;

		if (gap > 0 && count > 0) {
			count = least(count, slot);
			when = start + (sent + count - 1) * gap;
			if (when > now()) {
				wait_until(fd, POLLIN, when);
				count = 0;
			}
		} else if (count == 0 && wait_until(fd, POLLIN, 0))
			break;
		if (count > 0)
			full = !send_batch(fd, &out, count, id);
		receive(fd, &in, &stamps, id);
		if (full)
			wait_until(fd, POLLIN | POLLOUT, 0);
	}
	printf("%ld %ld %ld %lld\n", sent, answered, stamped, timed ? sum / timed : 0);
	return 0;
}
