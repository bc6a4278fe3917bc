// What the servers have in common. A server says when it is ready, by a line, and
// answers until a signal ends it. Without arguments it says what it was built with.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 2048 }; // bytes of a packet

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

// checksum is RFC 1071's, word by word.
static uint16_t checksum(const void *data, size_t length)
{
	const uint8_t *bytes = data;
	uint32_t sum = 0;

	for (; length > 1; bytes += 2, length -= 2) {
		uint16_t word;

		memcpy(&word, bytes, sizeof word);
		sum += word;
	}
	if (length > 0)
		sum += ntohs((uint16_t)(*bytes << 8));
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

// turn makes an echo request of ICMP the reply to it, and tells whether it was one.
static int turn(char *message, long length)
{
	struct icmphdr h;

	if (length < (long)sizeof h)
		return 0;
	memcpy(&h, message, sizeof h);
	if (h.type != ICMP_ECHO)
		return 0;
	h.type = ICMP_ECHOREPLY;
	h.checksum = 0;
	memcpy(message, &h, sizeof h);
	h.checksum = checksum(message, (size_t)length);
	memcpy(message, &h, sizeof h);
	return 1;
}

// header is how long the IPv4 header is that a packet begins with, in bytes.
static long header(const char *packet)
{
	return (packet[0] & 15) * 4;
}

// open_raw opens a raw socket that receives echo requests.
static int open_raw(void)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	struct icmp_filter types = {~(1u << ICMP_ECHO)}; // not its own replies, on loopback

	if (fd < 0)
		fail("socket");
	if (setsockopt(fd, SOL_RAW, ICMP_FILTER, &types, sizeof types) != 0)
		fail("ICMP_FILTER");
	return fd;
}
