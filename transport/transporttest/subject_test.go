package transporttest

import (
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"iomux/transport"
)

// disconnect makes a UNIX domain socket leave its peer (connect(2)), which gets
// ECONNRESET for the messages that were not received.
func disconnect(tr transport.Transport) error {
	none := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(tr.FD()), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
	if errno != 0 {
		return errno
	}
	return nil
}

func TestSubjectThatCannotBeTestedIsAnError(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*Subject)
	}{
		{"it needs Open and Network", func(s *Subject) { s.Open = nil }},
		{"it needs Open and Network", func(s *Subject) { s.Network = "" }},
		{"MinSize is -1", func(s *Subject) { s.MinSize = -1 }},
		{"MaxSize 20: want 0 or more, and at least 16 more", func(s *Subject) { s.MinSize, s.MaxSize = 8, 20 }},
		{"as MinSize is not 0 there is no empty_message: give the reason in Without", func(s *Subject) { s.MinSize = 8 }},
		{"as Unsendable is nil there is no send_error_is_about_the_first: give the reason in Without", func(s *Subject) { s.Unsendable = nil }},
		{"as Starve is nil there is no enobufs_blocks_or_is_an_error: give the reason in Without", func(s *Subject) { s.Starve = nil }},
		{"as Disturb is nil there is no pending_error_reported_once: give the reason in Without", func(s *Subject) { s.Disturb = nil }},
		{"as Deny is nil there is no unprivileged_open: give the reason in Without", func(s *Subject) { s.Deny = nil }},
		{"as SetLink is nil there is no link_down_and_up: give the reason in Without", func(s *Subject) { s.SetLink = nil }},
		{`there is no case "order" to be declared in Without; there are ["descriptor_is_stable"`, func(s *Subject) { s.Without = map[string]string{"order": "none"} }},
		{"the case order_kept is declared in Without without a reason", func(s *Subject) { s.Without = map[string]string{"order_kept": ""} }},
	} {
		s := referenceSubject("")
		c.change(&s)
		if err := s.check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// A declared case is no subtest, as one that ran or was skipped would look.
func TestDeclaredCaseDoesNotRun(t *testing.T) {
	s := referenceSubject("")
	s.Without = make(map[string]string)
	for _, name := range caseNames() {
		s.Without[name] = "declared by the test"
	}
	opened := 0
	open := s.Open
	s.Open = func(cfg *transport.Config) (Pair, error) { opened++; return open(cfg) }
	Run(t, s)
	if opened != 0 {
		t.Errorf("%d pairs were opened for cases that there are not", opened)
	}
}

func TestTransportThatOnlySendsOrOnlyReceives(t *testing.T) {
	for name, c := range map[string]struct {
		cut     func(*Pair)
		without []string
	}{
		"sends": {func(p *Pair) { p.ToA = nil }, []string{"readable_on_every_backend", "drained_is_silent", "truncation_flagged",
			"empty_slice_consumes_nothing", "recv_leaves_the_rest_untouched", "filter_before_the_first_message",
			"echo_in_place", "recv_and_send_at_once"}},
		"receives": {func(p *Pair) { p.ToB = nil }, []string{"send_leaves_messages_untouched", "echo_in_place",
			"recv_and_send_at_once", "short_send_then_writable", "send_error_is_about_the_first",
			"pending_error_reported_once", "enobufs_blocks_or_is_an_error", "eintr_invisible", "link_down_and_up"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := referenceSubject("")
			s.Reporting = nil
			s.Without = make(map[string]string)
			for _, name := range c.without {
				s.Without[name] = "it goes one way only"
			}
			open := s.Open
			s.Open = func(cfg *transport.Config) (Pair, error) {
				p, err := open(cfg)
				c.cut(&p)
				return p, err
			}
			Run(t, s)
		})
	}
}

func TestWithoutCapabilitiesGivesThemBack(t *testing.T) {
	effective := func() uint64 {
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&head, &data[0]); err != nil {
			t.Error(err)
		}
		return uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	}
	before := effective()
	ran := false
	err := WithoutCapabilities(unix.CAP_NET_RAW, unix.CAP_SYSLOG)(func() {
		ran = true
		if got, want := effective(), before&^(1<<unix.CAP_NET_RAW|1<<unix.CAP_SYSLOG); got != want {
			t.Errorf("the effective capabilities are %#x, want %#x", got, want)
		}
	})
	if err != nil || !ran {
		t.Fatalf("WithoutCapabilities: %v, and open was called: %v", err, ran)
	}
	if got := effective(); got != before {
		t.Errorf("the effective capabilities are %#x afterwards, want %#x", got, before)
	}
}
