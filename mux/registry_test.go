package mux

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-multierror"
)

// register replaces what is registered for the length of the test.
func register(t *testing.T, backends ...Backend) {
	t.Helper()
	t.Setenv("IOMUX_BACKEND", "")
	registry.Lock()
	before := registry.backends
	registry.backends = nil
	registry.Unlock()
	t.Cleanup(func() {
		registry.Lock()
		defer registry.Unlock()
		registry.backends = before
	})
	for _, b := range backends {
		Register(b)
	}
}

// named is a Mux that has nothing but a name.
type named struct {
	Mux
	name   string
	closed *int
}

func (n named) Name() string { return n.name }

func (n named) Close() error {
	*n.closed++
	return nil
}

func works(name string, closed *int) Backend {
	return Backend{name, func() (Mux, error) { return named{name: name, closed: closed}, nil }}
}

func fails(name string, err error) Backend {
	return Backend{name, func() (Mux, error) { return nil, err }}
}

func TestBackendsAreInOrderOfPreference(t *testing.T) {
	if got := Backends(); !slices.Equal(got[:3], []string{"epoll", "poll", "select"}) {
		t.Errorf("Backends() = %q", got)
	}
	register(t, works("z", nil), works("a", nil))
	Register(works("m", nil))
	if got := Backends(); !slices.Equal(got, []string{"z", "a", "m"}) {
		t.Errorf("Backends() = %q", got)
	}
}

func TestBackendsIsACopy(t *testing.T) {
	register(t, works("a", nil))
	Backends()[0] = "changed"
	if got := Backends(); got[0] != "a" {
		t.Errorf("Backends() = %q", got)
	}
}

func TestRegisterPanicsOnWhatCannotBeOpened(t *testing.T) {
	register(t, works("taken", nil))
	for _, c := range []struct {
		backend Backend
		message string
	}{
		{works("taken", nil), "mux: Register of backend taken twice"},
		{works("", nil), "mux: Register of a backend without a name"},
		{Backend{Name: "hollow"}, "mux: Register of backend hollow without Open"},
	} {
		func() {
			defer func() {
				if got := recover(); got != c.message {
					t.Errorf("panic %v, want %q", got, c.message)
				}
			}()
			Register(c.backend)
		}()
	}
	Register(works("free", nil)) // the mutex is not held
	if got := Backends(); !slices.Equal(got, []string{"taken", "free"}) {
		t.Errorf("Backends() = %q", got)
	}
}

func TestOpenByName(t *testing.T) {
	for _, name := range []string{"epoll", "poll", "select"} {
		if got := openNamed(t, name).Name(); got != name {
			t.Errorf("Open(%q) opens %q", name, got)
		}
	}
}

func TestOpenOfTheEmptyNameHonoursTheEnvironment(t *testing.T) {
	t.Setenv("IOMUX_BACKEND", "select")
	m, err := Open("")
	must(t, err)
	defer m.Close()
	if m.Name() != "select" {
		t.Errorf("Open opens %q", m.Name())
	}
	if got := openNamed(t, "poll").Name(); got != "poll" {
		t.Errorf("Open(\"poll\") opens %q", got)
	}
}

func TestOpenOfAnUnknownNameListsTheUsableOnes(t *testing.T) {
	closed := 0
	register(t, works("a", &closed), fails("b", syscall.ENOSYS), works("c", &closed))
	_, err := Open("kqueue")
	if want := "mux: kqueue open: no such file or directory (usable here: a, c)"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	if closed != 2 {
		t.Errorf("%d of the 2 that were opened to see were closed", closed)
	}
	t.Setenv("IOMUX_BACKEND", "kqueue")
	_, err = Open("")
	if want := "mux: kqueue open: no such file or directory ($IOMUX_BACKEND: usable here: a, c)"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestOpenOfANameThatDoesNotOpenTellsWhyAndListsTheUsableOnes(t *testing.T) {
	own := &OpError{Op: "open", Backend: "own", FD: -1, Err: syscall.EMFILE, hint: hintFor(syscall.EMFILE)}
	register(t, fails("own", own), fails("plain", syscall.ENOSYS),
		fails("inner", &OpError{Op: "add", Backend: "epoll", FD: 7, Err: syscall.ENOMEM}), works("a", new(int)))
	for _, c := range []struct {
		name, message string
		cause         error
	}{
		{"own", "mux: own open: too many open files (see RLIMIT_NOFILE in getrlimit(2); usable here: a)", syscall.EMFILE},
		{"plain", "mux: plain open: function not implemented (usable here: a)", errors.ErrUnsupported},
		{"inner", "mux: inner open: mux: epoll add descriptor 7: cannot allocate memory (usable here: a)", syscall.ENOMEM},
	} {
		_, err := Open(c.name)
		if err == nil || err.Error() != c.message {
			t.Errorf("error %q, want %q", err, c.message)
		}
		var op *OpError
		if !errors.Is(err, c.cause) || !errors.As(err, &op) || op.Backend != c.name {
			t.Errorf("%#v is not an OpError of %s for %v", err, c.name, c.cause)
		}
	}
	if strings.Contains(own.Error(), "usable") {
		t.Errorf("the backend's own error was changed: %v", own)
	}
}

func TestOpenTellsThatNothingIsUsable(t *testing.T) {
	register(t, fails("a", syscall.ENOSYS))
	_, err := Open("b")
	if err == nil || !strings.HasSuffix(err.Error(), "(usable here: none)") {
		t.Errorf("error %q", err)
	}
}

func TestOpenTakesTheFirstThatOpens(t *testing.T) {
	closed := 0
	register(t, fails("a", syscall.ENOSYS), works("b", &closed), works("c", &closed))
	m, err := Open("")
	must(t, err)
	if m.Name() != "b" || closed != 0 {
		t.Errorf("Open opens %q and closes %d", m.Name(), closed)
	}
}

func TestOpenReportsEveryFailure(t *testing.T) {
	register(t, fails("a", syscall.ENOSYS), fails("b", syscall.EMFILE))
	_, err := Open("")
	var all *multierror.Error
	if !errors.As(err, &all) || len(all.Errors) != 2 {
		t.Fatalf("error %v, want both failures", err)
	}
	for _, want := range []error{syscall.ENOSYS, syscall.EMFILE} {
		if !errors.Is(err, want) {
			t.Errorf("%v is missing in %v", want, err)
		}
	}
}
