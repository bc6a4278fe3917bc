package transport

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"time"
)

// fake is a transport that returns what it was told to.
type fake struct {
	fd, n  int
	err    error
	called time.Time // when Recv, Send or Close was
}

func (f *fake) FD() int                     { return f.fd }
func (f *fake) BatchSize() int              { return 8 }
func (f *fake) Recv([]Message) (int, error) { f.called = time.Now(); return f.n, f.err }
func (f *fake) Send([]Message) (int, error) { f.called = time.Now(); return f.n, f.err }
func (f *fake) Close() error                { f.called, f.fd = time.Now(), -1; return f.err }

// framed is a fake that is a Framer.
type framed struct{ fake }

func (*framed) Framing() Framing { return Ethernet }

// wrapper is a transport round another one.
type wrapper struct{ Transport }

func (w wrapper) Unwrap() Transport { return w.Transport }

func TestAsFindsAnOptionalInterface(t *testing.T) {
	for name, tr := range map[string]Transport{
		"itself":        &framed{},
		"wrapped":       wrapper{&framed{}},
		"wrapped twice": wrapper{wrapper{&framed{}}},
		"traced":        Trace(&framed{}, nil),
	} {
		if f, ok := As[Framer](tr); !ok || f.Framing() != Ethernet {
			t.Errorf("%s: As[Framer] = %v, %v", name, f, ok)
		}
	}
}

func TestAsDoesNotFindWhatIsNotThere(t *testing.T) {
	for name, tr := range map[string]Transport{
		"nil":           nil,
		"without":       &fake{},
		"wrapped":       wrapper{&fake{}},
		"wrapping none": wrapper{nil},
		"other":         &framed{},
	} {
		if v, ok := As[Identifier](tr); ok || v != nil {
			t.Errorf("%s: As[Identifier] = %v, %v", name, v, ok)
		}
	}
}

func TestPermissionErrorTellsCauseCapabilityAndAdvice(t *testing.T) {
	cause := os.NewSyscallError("socket", syscall.EPERM)
	err := &PermissionError{Capability: "CAP_NET_RAW", Advice: "run as root", Err: cause}
	if got, want := err.Error(), "socket: operation not permitted: it needs CAP_NET_RAW; run as root"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	err.Capability = ""
	if got, want := err.Error(), "socket: operation not permitted: run as root"; got != want {
		t.Errorf("without a capability Error() = %q, want %q", got, want)
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("it is not fs.ErrPermission")
	}
}
