// load-udp loads a server of the echo protocol on UDP (RFC 862): see load.h. A request
// is a datagram of 56 bytes.

#include "load.h"

static char expected[DATA]; // but for the number

static size_t fill(char *message, uint32_t number)
{
	memcpy(message, expected, DATA);
	memcpy(message, &number, sizeof number);
	return DATA;
}

static uint32_t check(int i)
{
	uint32_t number;

	if (in.headers[i].msg_len != DATA)
		wrong(i, "a reply of another length");
	memcpy(&number, in.data[i], sizeof number);
	memcpy(expected, &number, sizeof number);
	if (memcmp(in.data[i], expected, DATA) != 0)
		wrong(i, "not the reply to a request");
	return number;
}

static int open_socket(void)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0)
		fail("socket");
	return s;
}

int main(int argc, char **argv)
{
	port = htons(7);
	for (int i = 0; i < DATA; i++)
		expected[i] = (char)i;
	return load(argc, argv);
}
