// batch info|bare answers on a raw socket with a recvmmsg(2) and a sendmmsg(2) for up
// to 32 packets, and no other call. With info the kernel says to which address a
// request was sent, and the reply leaves from there (IP_PKTINFO), which a server that
// has several addresses cannot do without.

#include "server.h"

enum { BATCH = 32 };

static struct mmsghdr in[BATCH], out[BATCH];
static struct iovec vectors[BATCH], replies[BATCH];
static struct sockaddr_in peers[BATCH];
static char packets[BATCH][SIZE];
static _Alignas(struct cmsghdr) char control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];

// answer makes out[n] the reply to in[i], and tells whether there is one.
static int answer(int i, int n)
{
	long skip = header(packets[i]), length = (long)in[i].msg_len - skip;
	struct msghdr *m = &in[i].msg_hdr;
	struct cmsghdr *c = CMSG_FIRSTHDR(m);

	if (!turn(packets[i] + skip, length))
		return 0;
	replies[n] = (struct iovec){packets[i] + skip, (size_t)length};
	out[n].msg_hdr = (struct msghdr){.msg_name = m->msg_name, .msg_namelen = m->msg_namelen, .msg_iov = &replies[n], .msg_iovlen = 1};
	if (c && c->cmsg_type == IP_PKTINFO) {
		struct in_pktinfo info;

		memcpy(&info, CMSG_DATA(c), sizeof info);
		info = (struct in_pktinfo){.ipi_spec_dst = info.ipi_addr};
		memcpy(CMSG_DATA(c), &info, sizeof info);
		out[n].msg_hdr.msg_control = m->msg_control;
		out[n].msg_hdr.msg_controllen = m->msg_controllen;
	}
	return 1;
}

int main(int argc, char **argv)
{
	int fd, info, on = 1, used = BATCH; // headers to be prepared

	if (argc == 1) {
		printf("recvmmsg, sendmmsg, gcc %s\n", __VERSION__);
		return 0;
	}
	info = strcmp(argv[1], "info") == 0;
	if (argc != 2 || (!info && strcmp(argv[1], "bare") != 0)) {
		fprintf(stderr, "usage: batch info|bare\n");
		return 2;
	}
	fd = open_raw();
	if (info && setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) != 0)
		fail("IP_PKTINFO");
	ready();
	for (;;) {
		int got, n = 0;

		for (int i = 0; i < used; i++) {
			vectors[i] = (struct iovec){packets[i], SIZE};
			in[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &vectors[i], .msg_iovlen = 1};
			if (info) {
				in[i].msg_hdr.msg_control = control[i];
				in[i].msg_hdr.msg_controllen = sizeof control[i];
			}
		}
		got = recvmmsg(fd, in, BATCH, MSG_WAITFORONE, NULL);
		used = got < 0 ? 0 : got;
		if (got < 0) {
			if (errno == EINTR)
				continue;
			fail("recvmmsg");
		}
		for (int i = 0; i < got; i++)
			n += answer(i, n);
		for (int sent = 0, k; sent < n; sent += k) {
			k = sendmmsg(fd, out + sent, (unsigned)(n - sent), 0);
			if (k < 0)
				fail("sendmmsg");
		}
	}
}
