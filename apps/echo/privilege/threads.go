package privilege

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"
)

// Set is a set of capabilities: bit n is capability n of capabilities(7).
type Set uint64

// Has tells whether a capability is in the set, unix.CAP_NET_ADMIN for instance.
func (s Set) Has(capability int) bool { return s>>capability&1 != 0 }

// String lists the numbers of the capabilities, or says none.
func (s Set) String() string {
	var all []string
	for n := range maxCapability + 1 {
		if s.Has(n) {
			all = append(all, strconv.Itoa(n))
		}
	}
	switch len(all) {
	case 0:
		return "none"
	case 1:
		return "capability " + all[0]
	}
	return "capabilities " + strings.Join(all, " ")
}

func setOf(capabilities []int) (s Set) {
	for _, n := range capabilities {
		s |= 1 << n
	}
	return s
}

func set(low, high uint32) Set { return Set(low) | Set(high)<<32 }

// Thread is what a thread of this process may do (proc_pid_status(5)).
type Thread struct {
	ID                                                   int
	Effective, Permitted, Inheritable, Bounding, Ambient Set
	NoNewPrivs                                           bool
	UIDs, GIDs                                           [4]int // real, effective, saved, of files
	Groups                                               []int
}

// Threads reads /proc/self/task/*/status: of each thread of this process, the main one
// first.
func Threads() ([]Thread, error) {
	const folder = "/proc/self/task"
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("privilege: %w", err)
	}
	var all []Thread
	for _, e := range entries { // the numbers are in order, but as words
		b, err := os.ReadFile(folder + "/" + e.Name() + "/status")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return nil, fmt.Errorf("privilege: %w", err)
		}
		t, err := parseStatus(string(b))
		if err != nil {
			return nil, fmt.Errorf("privilege: %s/%s/status: %w", folder, e.Name(), err)
		}
		all = append(all, t)
		if last := len(all) - 1; t.ID == os.Getpid() {
			all[0], all[last] = all[last], all[0]
		}
	}
	if len(all) == 0 {
		return nil, errNoThread
	}
	return all, nil
}

func parseStatus(text string) (t Thread, err error) {
	seen := 0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		caps := map[string]*Set{"CapEff": &t.Effective, "CapPrm": &t.Permitted, "CapInh": &t.Inheritable,
			"CapBnd": &t.Bounding, "CapAmb": &t.Ambient}[name]
		var failed error
		switch {
		case caps != nil:
			var n uint64
			n, failed = strconv.ParseUint(value, 16, 64)
			*caps = Set(n)
		case name == "Pid":
			t.ID, failed = strconv.Atoi(value)
		case name == "NoNewPrivs":
			t.NoNewPrivs = value == "1"
		case name == "Uid":
			failed = numbers(value, t.UIDs[:])
		case name == "Gid":
			failed = numbers(value, t.GIDs[:])
		case name == "Groups":
			t.Groups = make([]int, len(strings.Fields(value)))
			failed = numbers(value, t.Groups)
		default:
			continue
		}
		if failed != nil {
			return t, fmt.Errorf("%q: %w", strings.TrimSpace(line), failed)
		}
		seen++
	}
	if seen != 10 {
		return t, fmt.Errorf("%d of the 10 lines about capabilities, no_new_privs, users and groups are there (Linux 4.10 has them)", seen)
	}
	return t, nil
}

func numbers(text string, into []int) error {
	fields := strings.Fields(text)
	if len(fields) != len(into) {
		return fmt.Errorf("%d numbers, want %d", len(fields), len(into))
	}
	for i, f := range fields {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return err
		}
		into[i] = int(n)
	}
	return nil
}

// Verify reports every thread of this process that has a capability beside those to
// keep, in its effective, permitted, inheritable or ambient set, or that could get
// one, as no_new_privs is not set. A program that was to give up privileges refuses to
// run then. The bounding set, which not every process can lower, gives nothing to a
// thread with no_new_privs.
func Verify(keep ...int) error {
	threads, err := Threads()
	if err != nil {
		return err
	}
	var errs *multierror.Error
	for _, t := range threads {
		if err := t.verify(setOf(keep)); err != nil {
			errs = multierror.Append(errs, err)
		}
	}
	if errs != nil && len(errs.Errors) == 1 {
		return errs.Errors[0]
	}
	return errs.ErrorOrNil()
}

func (t *Thread) verify(keep Set) error {
	for _, s := range []struct {
		name string
		set  Set
	}{{"effective", t.Effective}, {"permitted", t.Permitted}, {"inheritable", t.Inheritable}, {"ambient", t.Ambient}} {
		if more := s.set &^ keep; more != 0 {
			return fmt.Errorf("privilege: thread %d has %v in its %s set: want %v", t.ID, s.set, s.name, keep)
		}
	}
	if !t.NoNewPrivs {
		return fmt.Errorf("privilege: thread %d does not have no_new_privs", t.ID)
	}
	return nil
}
