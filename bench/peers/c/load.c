// load loads a server of echo requests: see load.h. A request has 56 bytes of data.

#include "load.h"

#include <linux/icmp.h>

enum {
	HEADER = 8, // of ICMP
	MESSAGE = HEADER + DATA,
};

static uint16_t id;
static char expected[MESSAGE]; // of a reply, but for number and checksum

static uint16_t checksum(const void *data)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (int i = 0; i < MESSAGE / 2; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

// put makes the message with a number, all but its checksum.
static void put(char *message, int type, uint32_t number)
{
	struct icmphdr h = {.type = (uint8_t)type, .un.echo = {htons(id), htons((uint16_t)number)}};

	memcpy(message, &h, sizeof h);
	memcpy(message + HEADER, &number, sizeof number);
}

static size_t fill(char *message, uint32_t number)
{
	struct icmphdr *h = (struct icmphdr *)message;

	memcpy(message, expected, MESSAGE);
	put(message, ICMP_ECHO, number);
	h->checksum = checksum(message);
	return MESSAGE;
}

static uint32_t check(int i)
{
	const char *packet = in.data[i], *message = packet + (packet[0] & 15) * 4;
	struct icmphdr h;
	uint32_t number;

	if (packet + in.headers[i].msg_len != message + MESSAGE)
		wrong(i, "a reply of another length");
	memcpy(&h, message, sizeof h);
	memcpy(&number, message + HEADER, sizeof number);
	if (checksum(message) != 0)
		wrong(i, "a bad checksum");
	put(expected, ICMP_ECHOREPLY, number);
	memcpy(expected + offsetof(struct icmphdr, checksum), &h.checksum, sizeof h.checksum);
	if (memcmp(message, expected, MESSAGE) != 0)
		wrong(i, "not the reply to a request");
	return number;
}

static int open_socket(void)
{
	struct icmp_filter types = {~(1u << ICMP_ECHOREPLY)};
	int s = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);

	if (s < 0)
		fail("socket");
	if (setsockopt(s, SOL_RAW, ICMP_FILTER, &types, sizeof types) != 0)
		fail("ICMP_FILTER");
	return s;
}

int main(int argc, char **argv)
{
	id = (uint16_t)getpid();
	for (int i = HEADER; i < MESSAGE; i++)
		expected[i] = (char)i;
	return load(argc, argv);
}
