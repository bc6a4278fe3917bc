// tun ADDRESS MASK answers on a TUN device, with a read(2) and a write(2) for each
// packet and a poll(2) when there are no more. The address is the kernel's own; all
// others under the mask are answered.

#include "server.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/if.h>
#include <poll.h>
#include <sys/ioctl.h>

static void set(struct ifreq *r, unsigned long request, const char *address, const char *what)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (address) {
		if (inet_pton(AF_INET, address, &a.sin_addr) != 1) {
			fprintf(stderr, "usage: tun ADDRESS MASK\n");
			exit(2);
		}
		memcpy(&r->ifr_addr, &a, sizeof a);
	} else {
		r->ifr_flags = IFF_UP | IFF_RUNNING;
	}
	if (fd < 0 || ioctl(fd, request, r) != 0)
		fail(what);
	close(fd);
}

static int open_tun(const char *address, const char *mask)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};

	if (fd < 0)
		fail("/dev/net/tun");
	if (ioctl(fd, TUNSETIFF, &r) != 0)
		fail("TUNSETIFF");
	set(&r, SIOCSIFADDR, address, "SIOCSIFADDR");
	set(&r, SIOCSIFNETMASK, mask, "SIOCSIFNETMASK");
	set(&r, SIOCSIFFLAGS, NULL, "SIOCSIFFLAGS");
	return fd;
}

// answer makes an IPv4 packet the reply to it, and tells whether it is to have one.
static int answer(char *packet, long length)
{
	long skip = header(packet);
	char address[4];

	if (length < 28 || packet[0] >> 4 != 4 || packet[9] != IPPROTO_ICMP || !turn(packet + skip, length - skip))
		return 0;
	memcpy(address, packet + 12, 4);
	memcpy(packet + 12, packet + 16, 4);
	memcpy(packet + 16, address, 4); // which leaves the checksum as it is
	return 1;
}

int main(int argc, char **argv)
{
	static char packet[SIZE];
	struct pollfd p = {.events = POLLIN};

	if (argc == 1) {
		printf("poll, read, write, gcc %s\n", __VERSION__);
		return 0;
	}
	if (argc != 3) {
		fprintf(stderr, "usage: tun ADDRESS MASK\n");
		return 2;
	}
	p.fd = open_tun(argv[1], argv[2]);
	ready();
	for (;;) {
		long got = read(p.fd, packet, sizeof packet);

		if (got < 0 && errno == EAGAIN) {
			if (poll(&p, 1, -1) < 0 && errno != EINTR)
				fail("poll");
		} else if (got < 0 && errno != EINTR) {
			fail("read");
		} else if (answer(packet, got) && write(p.fd, packet, (size_t)got) != got) {
			fail("write");
		}
	}
}
