package tun_test

import (
	"context"
	"encoding/binary"
	"os/exec"
	"strings"
	"testing"

	"iomux/mux"
	"iomux/mux/loop"
	"iomux/transport"
	"iomux/transport/internal/wiretest"
)

// TestPeersReachEveryAddress has ping and fping look for hosts in prefixes that
// are answered by one descriptor.
func TestPeersReachEveryAddress(t *testing.T) {
	wiretest.NeedTUN(t)
	for _, backend := range mux.Backends() {
		t.Run(backend, func(t *testing.T) {
			d := open(t, "", routed())
			awaitAddrs(t, d)
			respond(t, backend, d)
			// -l sends them all at once, for ping waits as long as its interval for
			// the last answer.
			for _, c := range []struct {
				program, args, want string
				times               int
			}{
				{"ping", "-c 20 -l 20 198.51.100.77", " 0% packet loss", 1},
				{"ping", "-c 3 -l 3 -s 1472 198.51.100.0", " 0% packet loss", 1},
				{"ping", "-c 3 -i 0.002 -s 4000 198.51.100.0", " 100% packet loss", 1}, // fragments are not put together
				{"ping", "-c 20 -l 20 2001:db8:1::77", " 0% packet loss", 1},
				{"fping", "-t 20000 -i 1 -g 198.51.100.0 198.51.100.255", " is alive", 256},
				{"fping", "-t 20000 2001:db8:1:: 2001:db8:1::ffff:ffff:ffff:ffff 2001:db8:1::3", " is alive", 3},
			} {
				out := run(t, c.program, strings.Fields(c.args)...)
				if got := strings.Count(out, c.want); got != c.times {
					t.Errorf("%s %s: %q occurs %d times, want %d:\n%s", c.program, c.args, c.want, got, c.times, out)
				}
			}
		})
	}
}

// run runs a program, whatever its exit code.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wiretest.Watchdog)
	defer cancel()
	if strings.HasPrefix(program, "ping") {
		args = append([]string{"-n", "-W", "1"}, args...)
	}
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s %q hangs:\n%s", program, args, out)
	}
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		t.Fatal(err)
	}
	return string(out)
}

// respond answers echo requests until the end of the test, on a loop.
func respond(t *testing.T, backend string, tr transport.Transport) {
	t.Helper()
	m, err := mux.Open(backend)
	if err != nil {
		t.Fatal(err)
	}
	l := loop.New(m)
	ms := wiretest.Slots(tr.BatchSize(), 2048)
	_, err = l.Watch(tr.FD(), mux.Readable, func(mux.Event) {
		n, err := tr.Recv(ms)
		if err != nil {
			t.Errorf("Recv: %v", err)
			l.Stop()
		}
		answers := ms[:0]
		for i := range ms[:n] {
			if answer(ms[i].Bytes()) {
				ms[i].Reply()
				ms[i], ms[len(answers)] = ms[len(answers)], ms[i]
				answers = ms[:len(answers)+1]
			}
		}
		if n, err := tr.Send(answers); n != len(answers) || err != nil {
			t.Errorf("Send of %d answers: %d, %v", len(answers), n, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	t.Cleanup(func() {
		l.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// answer makes of an echo request the reply to it, in place.
func answer(packet []byte) bool {
	const (
		fragment    = 0x3fff // fragment offset, and more fragments
		icmp        = 1
		icmp6       = 58
		request4    = 8
		request6    = 128
		reply6      = 129
		header4     = 20
		header6     = 40
		icmpHeader  = 8
		sumPosition = 2
	)
	switch {
	case len(packet) >= header4+icmpHeader && packet[0] == 0x45 && packet[9] == icmp && packet[header4] == request4 &&
		binary.BigEndian.Uint16(packet[6:])&fragment == 0:
		message := packet[header4:]
		message[0], message[sumPosition], message[sumPosition+1] = 0, 0, 0
		padded := append(message[:len(message):len(message)], 0)
		binary.BigEndian.PutUint16(message[sumPosition:], checksum(padded[:len(padded)&^1]))
	case len(packet) >= header6+icmpHeader && packet[0]>>4 == 6 && packet[6] == icmp6 && packet[header6] == request6:
		message := packet[header6:]
		message[0] = reply6
		// The type is 0x100 more in its word of the sum, the complement so much less
		// (RFC 1624).
		sum := uint32(^binary.BigEndian.Uint16(message[sumPosition:])) + 0x100
		binary.BigEndian.PutUint16(message[sumPosition:], ^uint16(sum+sum>>16))
	default:
		return false
	}
	turnRound(packet)
	return true
}
