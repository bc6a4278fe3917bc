package sock

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

func TestRingKeepsOrderAndCountsWhatDoesNotFit(t *testing.T) {
	r := ring[int]{entries: make([]int, 3)}
	next, taken := 0, []int{}
	put := func(n int) {
		for range n {
			if e := r.next(); e != nil {
				*e = next
			}
			next++
		}
	}
	take := func(n int) {
		buf := make([]int, n)
		taken = append(taken, buf[:r.take(buf)]...)
	}
	put(2) // 0 1
	take(1)
	put(3) // 2 3, and 4 is lost
	take(0)
	take(2)
	put(2) // 5 6
	take(9)
	take(9)
	if want := []int{0, 1, 2, 3, 5, 6}; !slices.Equal(taken, want) || r.lost != 1 {
		t.Errorf("took %v and lost %d, want %v and 1", taken, r.lost, want)
	}
	var none ring[int]
	if none.next() != nil || none.take(make([]int, 1)) != 0 || none.lost != 1 {
		t.Error("a ring of no entries keeps one")
	}
}

// errorEntry is an entry of the error queue about a datagram to an address.
func errorEntry(e unix.SockExtendedErr, offender string) *Packet {
	var p Packet
	EncodeIPv4(&transport.Message{Peer: netip.MustParseAddrPort("192.0.2.2:7")}, &p, netip.Addr{})
	data := p.append(unix.SOL_IP, unix.IP_RECVERR, sizeofExtendedErr+unix.SizeofSockaddrInet4)
	*(*unix.SockExtendedErr)(unsafe.Pointer(&data[0])) = e
	from := data[sizeofExtendedErr:]
	binary.NativeEndian.PutUint16(from, unix.AF_INET)
	copy(from[4:], netip.MustParseAddr(offender).AsSlice())
	return &p
}

func TestErrorQueueKeepsWhatTheNetworkSays(t *testing.T) {
	s, _ := unstarted(t, nil)
	s.SetErrors(func(r *transport.ErrorReport) bool { return r.Code != 9 })
	peer, from := netip.MustParseAddrPort("192.0.2.2:7"), netip.MustParseAddr("192.0.2.9")
	for _, e := range []unix.SockExtendedErr{
		{Errno: uint32(unix.EHOSTUNREACH), Origin: unix.SO_EE_ORIGIN_ICMP, Type: 3, Code: 1, Info: 5},
		{Errno: uint32(unix.EMSGSIZE), Origin: unix.SO_EE_ORIGIN_LOCAL, Info: 1500},
		{Errno: uint32(unix.EHOSTUNREACH), Origin: unix.SO_EE_ORIGIN_ICMP, Type: 3, Code: 9}, // keep says no
		{Errno: uint32(unix.EMSGSIZE), Origin: unix.SO_EE_ORIGIN_ICMP, Type: 3, Code: 4, Info: 1300},
		{Origin: unix.SO_EE_ORIGIN_NONE},
	} {
		s.queued(errorEntry(e, from.String()), []byte("quote"))
	}
	want := []transport.ErrorReport{
		{Peer: peer, From: from, Errno: unix.EHOSTUNREACH, Type: 3, Code: 1},
		{Peer: peer, From: from, Errno: unix.EMSGSIZE, Type: 3, Code: 4, MTU: 1300},
	}
	for i := range want {
		want[i].SetQuote([]byte("quote"))
	}
	got := make([]transport.ErrorReport, 9)
	n, lost, err := s.ErrorReports(got)
	if !slices.Equal(got[:n], want) || lost != 0 || err != nil {
		t.Errorf("got %+v, %d lost, %v, want %+v", got[:n], lost, err, want)
	}
	for range maxReports + 3 {
		s.queued(errorEntry(unix.SockExtendedErr{Origin: unix.SO_EE_ORIGIN_ICMP}, from.String()), nil)
	}
	if n, lost, _ := s.ErrorReports(make([]transport.ErrorReport, 2*maxReports)); n != maxReports || lost != 3 {
		t.Errorf("%d reports were kept and %d lost, want %d and 3", n, lost, maxReports)
	}
}

func TestReportNamesTheInterface(t *testing.T) {
	pktinfo4 := binary.NativeEndian.AppendUint32(nil, 7)
	pktinfo4 = append(pktinfo4, make([]byte, unix.SizeofInet4Pktinfo-4)...)
	pktinfo6 := binary.NativeEndian.AppendUint32(make([]byte, 16), 8)
	for _, c := range []struct {
		name        string
		level, kind int32
		data        []byte
		want        int
	}{
		{"none", 0, 0, nil, 0},
		{"IPv4", unix.SOL_IP, unix.IP_PKTINFO, pktinfo4, 7},
		{"IPv6", unix.SOL_IPV6, unix.IPV6_PKTINFO, pktinfo6, 8},
		{"IPv4, too short", unix.SOL_IP, unix.IP_PKTINFO, pktinfo4[:8], 0},
		{"IPv6, too short", unix.SOL_IPV6, unix.IPV6_PKTINFO, pktinfo6[:16], 0},
		{"another level's number of IPv4", unix.SOL_SOCKET, unix.IP_PKTINFO, pktinfo4, 0},
		{"another level's number of IPv6", unix.SOL_SOCKET, unix.IPV6_PKTINFO, pktinfo6, 0},
		{"another type of IPv4", unix.SOL_IP, unix.IP_TTL, pktinfo4, 0},
		{"another type of IPv6", unix.SOL_IPV6, unix.IPV6_HOPLIMIT, pktinfo6, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := unstarted(t, nil)
			s.SetErrors(func(r *transport.ErrorReport) bool { return r.Ifindex == c.want })
			p := errorEntry(unix.SockExtendedErr{Origin: unix.SO_EE_ORIGIN_ICMP}, "192.0.2.9")
			if c.data != nil {
				copy(p.append(c.level, c.kind, len(c.data)), c.data)
			}
			s.queued(p, nil)
			if n, _, err := s.ErrorReports(make([]transport.ErrorReport, 2)); n != 1 || err != nil {
				t.Errorf("%d reports name interface %d, %v", n, c.want, err)
			}
		})
	}
}

// Control messages may be cut off (MSG_CTRUNC), and their lengths may lie.
func TestErrorQueueSurvivesWhatIsCutOff(t *testing.T) {
	s, _ := unstarted(t, nil)
	s.SetStamps()
	s.SetErrors(func(*transport.ErrorReport) bool { return true })
	for _, origin := range []uint8{unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6, unix.SO_EE_ORIGIN_TIMESTAMPING} {
		entry := func() *Packet { return errorEntry(unix.SockExtendedErr{Origin: origin}, "192.0.2.9") }
		for n := range entry().controlLen {
			p := entry()
			p.controlLen = n
			s.queued(p, nil)
		}
		for i := range controlSize {
			for _, b := range []byte{0, 1, 17, 0x7f, 0xff} {
				p := entry()
				p.controls()[i] = b
				s.queued(p, nil)
			}
		}
		p := entry()
		p.nameLen = 0
		s.queued(p, nil)
	}
}

// An ability that the kernel refuses keeps nothing else from working.
func TestRefusedAbilitySaysWhy(t *testing.T) {
	a, b := pair(t, unixSpec, nil)
	a.SetErrors(func(*transport.ErrorReport) bool { return true }) // no IP
	_, _, err := a.ErrorReports(nil)
	if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("ErrorReports: %v, want errors.ErrUnsupported and EOPNOTSUPP", err)
	}
	fd := a.fd.Swap(math.MaxInt32)
	a.SetStamps()
	a.fd.Store(fd)
	_, _, err = a.TransmitStamps(nil)
	if !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, syscall.EBADF) {
		t.Errorf("TransmitStamps: %v, want errors.ErrUnsupported and EBADF", err)
	}
	send(t, a, packet("hello"))
	recv(t, b, slots(1)...)
}

func TestAddressOfAnOffender(t *testing.T) {
	v4, v6 := make([]byte, unix.SizeofSockaddrInet4), make([]byte, unix.SizeofSockaddrInet6)
	binary.NativeEndian.PutUint16(v4, unix.AF_INET)
	binary.NativeEndian.PutUint16(v6, unix.AF_INET6)
	copy(v4[4:], netip.MustParseAddr("192.0.2.9").AsSlice())
	copy(v6[8:], netip.MustParseAddr("2001:db8::9").AsSlice())
	for _, c := range []struct {
		sa   []byte
		want string
	}{
		{v4, "192.0.2.9"}, {v6, "2001:db8::9"},
		{nil, "invalid IP"}, {v4[:1], "invalid IP"}, {v4[:7], "invalid IP"}, {v6[:23], "invalid IP"},
		{make([]byte, 28), "invalid IP"}, // AF_UNSPEC: nobody
	} {
		if got := address(c.sa).String(); got != c.want {
			t.Errorf("address(%x) = %s, want %s", c.sa, got, c.want)
		}
	}
}
