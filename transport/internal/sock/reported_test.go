package sock

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// refusing opens a socket with error reports, not started yet, and returns the
// address of nobody, at which messages are refused.
func refusing(t *testing.T, keep func(*transport.ErrorReport) bool) (*Socket, netip.AddrPort) {
	t.Helper()
	s, _ := unstarted(t, nil)
	s.SetErrors(keep)
	gone, nobody := open(t, nil)
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	return s, nobody
}

func keepAll(*transport.ErrorReport) bool { return true }

func TestStartIsNotToldOfErrorsThatHaveAReport(t *testing.T) {
	s, nobody := refusing(t, keepAll)
	send(t, s, datagram(nobody, "hello"))
	await(t, s)
	if err := s.Start(nil); err != nil {
		t.Errorf("Start = %v, want nil", err)
	}
	recv(t, s) // nothing, and no error
	if n, _, _ := s.ErrorReports(make([]transport.ErrorReport, 2)); n != 1 {
		t.Errorf("there are %d reports, want 1", n)
	}
}

// An error of the socket itself never ends.
func TestStartGivesUp(t *testing.T) {
	s, _ := refusing(t, keepAll)
	fd := s.fd.Swap(math.MaxInt32)
	defer s.fd.Store(fd)
	if err := s.Start(nil); !errors.Is(err, syscall.EBADF) {
		t.Errorf("Start = %v, want EBADF", err)
	}
	if s.drain(math.MaxInt32) {
		t.Error("there is something in the error queue of no socket")
	}
}

// While Recv looks at one error, the next one comes.
func TestRecvIsNotToldOfErrorsThatHaveAReport(t *testing.T) {
	const errs = queuePasses / 2
	var s *Socket
	var nobody netip.AddrPort
	seen := 0
	s, nobody = refusing(t, func(*transport.ErrorReport) bool {
		if seen++; seen < errs {
			send(t, s, datagram(nobody, "again"))
			await(t, s)
		}
		return true
	})
	if err := s.Start(nil); err != nil {
		t.Fatal(err)
	}
	send(t, s, datagram(nobody, "hello"))
	await(t, s)
	recv(t, s) // nothing, and no error
	if n, lost, _ := s.ErrorReports(make([]transport.ErrorReport, 2*errs)); n != errs || lost != 0 {
		t.Errorf("there are %d reports and %d lost, want %d and none", n, lost, errs)
	}
}

func TestRecvEmptiesAQueueOfSeveralBatches(t *testing.T) {
	s, nobody := refusing(t, keepAll)
	if err := s.Start(nil); err != nil {
		t.Fatal(err)
	}
	const errs = queueBatch + queueBatch/2
	for range errs {
		send(t, s, datagram(nobody, "hello"))
		await(t, s)
	}
	if n, err := s.Recv(slots(1)); n != 0 || err != nil {
		t.Errorf("Recv = %d, %v, want nothing", n, err)
	}
	if n, lost, _ := s.ErrorReports(make([]transport.ErrorReport, 2*errs)); n != errs || lost != 0 {
		t.Errorf("there are %d reports and %d lost, want %d and none", n, lost, errs)
	}
}

// The kernel queues an error of its own for each try of a message too long.
func TestErrorOfTheMessageIsTriedTwice(t *testing.T) {
	s, to := unstarted(t, nil)
	s.SetErrors(keepAll)
	long := datagram(to, strings.Repeat("x", 1<<16-9)) // fits UDP's length, not IP's
	if n, err := s.Send([]transport.Message{long}); n != 0 || !errors.Is(err, syscall.EMSGSIZE) {
		t.Fatalf("Send = %d, %v, want EMSGSIZE", n, err)
	}
	tries := 0
	for ; ; tries++ {
		if _, _, _, _, err := unix.Recvmsg(s.FD(), nil, make([]byte, controlSize), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if tries != 2 {
		t.Errorf("there were %d tries, want 2", tries)
	}
}

func TestErrorReportAllocatesNothing(t *testing.T) {
	s, _ := refusing(t, keepAll)
	entry := errorEntry(unix.SockExtendedErr{Origin: unix.SO_EE_ORIGIN_ICMP}, "192.0.2.9")
	quote := []byte("quote")
	if n := testing.AllocsPerRun(100, func() { s.queued(entry, quote) }); n != 0 {
		t.Errorf("%v allocations for a report, want 0", n)
	}
}
