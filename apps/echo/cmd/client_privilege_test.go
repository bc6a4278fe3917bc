package cmd

import (
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport/netlab"
)

// unprivileged runs a client without CAP_NET_RAW, in a namespace of its own which allows
// ping sockets or does not.
func unprivileged(t *testing.T, pingSockets bool, args ...string) (out string, code int) {
	t.Helper()
	netlab.Need(t)
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	if pingSockets {
		if err := lab.SetPingGroups(0, 0); err != nil {
			t.Fatal(err)
		}
	}
	lab.Do(func() error {
		out, code = withoutCapability(t, unix.CAP_NET_RAW, append([]string{"client", "--verbose", "--timeout", "30s"}, args...)...)
		return nil
	})
	return out, code
}

func TestAPingSocketServesWithoutThePrivilege(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		out, code := unprivileged(t, true, "--count", "3", "--interval", "1ms", host)
		mustContain(t, "client", out, "ping socket for IPv", "icmp_seq=3 ttl=64", "clock=kernel", "3 packets transmitted, 3 received, 0% packet loss")
		if code != exitOK {
			t.Errorf("%s: exit code %d", host, code)
		}
	}
	out, code := unprivileged(t, true, "127.0.0.0/24", "::1", "localhost")
	mustContain(t, "client", out, "ping socket for IPv4", "ping socket for IPv6", " 258 ICMP Echo Replies received")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestWithoutAnySocketTheErrorSaysHowToGetOne(t *testing.T) {
	for _, hosts := range [][]string{{"127.0.0.1"}, {"::1"}, {"127.0.0.1", "::1"}, {"localhost"}, {"localhost", "127.0.0.1"}} {
		out, code := unprivileged(t, false, hosts...)
		mustContain(t, "error", out, "CAP_NET_RAW", "setcap cap_net_raw+ep ", "net.ipv4.ping_group_range")
		mustNotContain(t, "error", out, "icmp_seq=2", "SIGABRT") // it does not go on
		if code != exitError {
			t.Errorf("%q: exit code %d, want %d", hosts, code, exitError)
		}
	}
}

func TestAKindOfSocketThatIsAskedForIsNotReplaced(t *testing.T) {
	out, code := unprivileged(t, true, "--network", "ip4:icmp", "127.0.0.1")
	mustContain(t, "error", out, "CAP_NET_RAW")
	if code != exitError {
		t.Errorf("exit code %d, want %d", code, exitError)
	}
	for network, host := range map[string]string{"udp4:icmp": "127.0.0.1", "udp6:ipv6-icmp": "::1"} {
		out, code = unprivileged(t, true, "--network", network, "--count", "2", "--interval", "1ms", host)
		mustContain(t, "client", out, "network "+network, "2 received")
		if code != exitOK {
			t.Errorf("%s: exit code %d", network, code)
		}
	}
}
