package sock

import (
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"iomux/transport"
	"iomux/transport/netlab"
)

// stamped opens a socket with time stamps, on which the kernel numbers the
// messages if counts is set: it refuses our numbers in a message that it does
// not know.
func stamped(t *testing.T, counts bool) (*Socket, netip.AddrPort) {
	t.Helper()
	s, to := unstarted(t, nil)
	s.SetStamps()
	if counts {
		s.stamps.optID = 0x7fff
	}
	if err := s.Start(nil); err != nil {
		t.Fatal(err)
	}
	return s, to
}

// reporting is stamped for any address, and with error reports, without which a
// drop goes unnoticed.
func reporting(t *testing.T, counts bool) *Socket {
	t.Helper()
	s, err := Open(spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.SetStamps()
	s.SetErrors(func(*transport.ErrorReport) bool { return true })
	if counts {
		s.stamps.optID = 0x7fff
	}
	if err := s.Start(nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// stamps waits for n stamps and returns their IDs.
func stamps(t *testing.T, s *Socket, n int) (ids []uint32) {
	t.Helper()
	for buf := make([]transport.TransmitStamp, n); ; await(t, s) {
		for got := 1; got > 0; {
			var err error
			if got, err = s.Recv(slots(1)); err != nil {
				t.Fatal(err)
			}
		}
		got, lost, err := s.TransmitStamps(buf)
		if lost != 0 || err != nil {
			t.Fatalf("TransmitStamps: %d lost, %v", lost, err)
		}
		for _, stamp := range buf[:got] {
			ids = append(ids, stamp.ID)
		}
		if len(ids) >= n {
			return ids
		}
	}
}

func numbered(to netip.AddrPort, id uint32) transport.Message {
	m := datagram(to, "hello")
	m.ID = id
	return m
}

func TestStampsComeBackUnderTheirIDs(t *testing.T) {
	for _, counts := range []bool{false, true} {
		s, to := stamped(t, counts)
		var want []uint32
		for i := range uint32(3) {
			send(t, s, numbered(to, 1<<31+i), numbered(to, 7*i), numbered(to, 5))
			want = append(want, 1<<31+i, 7*i, 5)
		}
		if got := stamps(t, s, len(want)); !slices.Equal(got, want) {
			t.Errorf("counts is %v: the stamps are of %v, want %v", counts, got, want)
		}
		if got := s.stamps.counts.Load(); got != counts {
			t.Errorf("the kernel numbers the messages: %v, want %v", got, counts)
		}
	}
}

// A message that cannot be sent has no number of the kernel's.
func TestStampsStayWithTheirMessagesAfterErrors(t *testing.T) {
	for _, counts := range []bool{false, true} {
		s, to := stamped(t, counts)
		broken := func(errno syscall.Errno, m transport.Message) {
			t.Helper()
			m.ID = 99
			if n, err := s.Send([]transport.Message{m}); n != 0 || !errors.Is(err, errno) {
				t.Errorf("Send = %d, %v, want %v", n, err, errno)
			}
		}
		want := []uint32{1, 2, 3, 4, 5}
		send(t, s, numbered(to, 1))
		broken(syscall.EMSGSIZE, datagram(to, strings.Repeat("x", 1<<16)))
		send(t, s, numbered(to, 2))
		broken(syscall.EACCES, datagram(netip.MustParseAddrPort("127.255.255.255:1"), "x"))
		send(t, s, numbered(to, 3))
		broken(syscall.EINVAL, datagram(netip.AddrPortFrom(to.Addr(), 0), "x"))
		send(t, s, numbered(to, 4), numbered(to, 5))
		if got := stamps(t, s, len(want)); !slices.Equal(got, want) {
			t.Errorf("counts is %v: the stamps are of %v, want %v", counts, got, want)
		}
	}
}

// A message that the kernel takes from nobody does not tell whether it takes
// our numbers.
func TestBadFirstMessageProvesNothingAboutNumbers(t *testing.T) {
	for _, counts := range []bool{false, true} {
		s, to := stamped(t, counts)
		for range 2 {
			bad := numbered(netip.AddrPortFrom(to.Addr(), 0), 9)
			if n, err := s.Send([]transport.Message{bad, numbered(to, 10)}); n != 0 || !errors.Is(err, syscall.EINVAL) {
				t.Errorf("Send to port 0 = %d, %v, want EINVAL", n, err)
			}
		}
		send(t, s, numbered(to, 1), numbered(to, 2))
		if got, want := stamps(t, s, 2), []uint32{1, 2}; !slices.Equal(got, want) {
			t.Errorf("counts is %v: the stamps are of %v, want %v", counts, got, want)
		}
		if got := s.stamps.counts.Load(); got != counts {
			t.Errorf("the kernel numbers the messages: %v, want %v", got, counts)
		}
	}
}

// Whether a message that fails was numbered is not known, but what follows has
// its own stamps.
func TestStampsStayWithTheirMessagesAfterDrops(t *testing.T) {
	far := cable(t)
	for _, counts := range []bool{false, true} {
		s := reporting(t, counts)
		send(t, s, numbered(far, 1))
		if got, want := stamps(t, s, 1), []uint32{1}; !slices.Equal(got, want) {
			t.Errorf("counts is %v: the stamps are of %v, want %v", counts, got, want)
		}
		starve := hold(t)
		long := datagram(far, strings.Repeat("x", 1000))
		for range 3 {
			if n, err := s.Send([]transport.Message{long}); n != 0 || !errors.Is(err, syscall.ENOBUFS) {
				t.Errorf("Send of what is dropped = %d, %v, want ENOBUFS", n, err)
			}
		}
		starve()
		send(t, s, numbered(far, 2), numbered(far, 3))
		if got, want := stamps(t, s, 2), []uint32{2, 3}; !slices.Equal(got, want) {
			t.Errorf("counts is %v: the stamps are of %v, want %v", counts, got, want)
		}
	}
}

// refuse has the firewall refuse what goes to a port, with EPERM.
func refuse(t *testing.T, port string) {
	t.Helper()
	netlab.Need(t)
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Skip("nft is not installed (apt-get install nftables)")
	}
	if out, err := exec.Command(nft, "add table ip refuse; add chain ip refuse out { type filter hook output priority 0; }; add rule ip refuse out udp dport "+port+" drop").CombinedOutput(); err != nil {
		t.Skipf("the firewall cannot be set up: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command(nft, "delete table ip refuse").Run() })
}

func TestStampsStayWithTheirMessagesAfterTheFirewallRefuses(t *testing.T) {
	refuse(t, "9")
	for _, counts := range []bool{false, true} {
		s, to := stamped(t, counts)
		for round := range uint32(3) {
			send(t, s, numbered(to, 10*round+1), numbered(to, 10*round+2))
			if got, want := stamps(t, s, 2), []uint32{10*round + 1, 10*round + 2}; !slices.Equal(got, want) {
				t.Errorf("counts is %v: the stamps are of %v, want %v", counts, got, want)
			}
			for range 2 {
				refused := numbered(netip.AddrPortFrom(to.Addr(), 9), 99)
				if n, err := s.Send([]transport.Message{refused}); n != 0 || !errors.Is(err, syscall.EPERM) {
					t.Fatalf("Send of what is refused = %d, %v, want EPERM", n, err)
				}
			}
		}
	}
}

// Stamps are under way when the kernel begins to number anew: a number that was
// given out before tells nothing.
func TestStampOfADoubtfulNumberIsLost(t *testing.T) {
	refuse(t, "9")
	s, to := stamped(t, true)
	send(t, s, numbered(to, 1), numbered(to, 2))
	refused := numbered(netip.AddrPortFrom(to.Addr(), 9), 99)
	for range 2 { // a second time without a message in between changes nothing
		if n, err := s.Send([]transport.Message{refused}); n != 0 || !errors.Is(err, syscall.EPERM) {
			t.Fatalf("Send of what is refused = %d, %v, want EPERM", n, err)
		}
	}
	send(t, s, numbered(to, 3), numbered(to, 4), numbered(to, 5))
	var got []uint32
	for buf := make([]transport.TransmitStamp, 9); ; await(t, s) {
		if _, err := s.Recv(slots(9)); err != nil {
			t.Fatal(err)
		}
		n, lost, err := s.TransmitStamps(buf)
		if err != nil {
			t.Fatal(err)
		}
		for _, stamp := range buf[:n] {
			got = append(got, stamp.ID)
		}
		if len(got)+int(lost) >= 5 {
			break
		}
	}
	if want := []uint32{5}; !slices.Equal(got, want) {
		t.Errorf("the stamps are of %v, want %v: the numbers of the others are doubtful", got, want)
	}
}

// So many messages are on their way that the number's place is another's.
func TestStampThatComesTooLateIsLost(t *testing.T) {
	s, to := stamped(t, true)
	send(t, s, numbered(to, 1))
	stamps(t, s, 1)
	s.stamps.received(maxCounted, time.Now())
	if n, lost, err := s.TransmitStamps(make([]transport.TransmitStamp, 1)); n != 0 || lost != 1 || err != nil {
		t.Errorf("TransmitStamps = %d, %d, %v, want one lost", n, lost, err)
	}
}
