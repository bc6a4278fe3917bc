package responder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"
)

// Family is a version of IP, of those that the kernel answers echo requests of.
type Family int

const (
	IPv4 Family = 4 // net.ipv4.icmp_echo_ignore_all, see icmp(7)
	IPv6 Family = 6 // net.ipv6.icmp.echo_ignore_all, since Linux 5.0
)

// String returns "IPv4" or "IPv6".
func (f Family) String() string { return fmt.Sprintf("IPv%d", int(f)) }

// setting is the kernel's switch for a family in the network namespace of the
// thread that opens it: 0 answers echo requests, 1 does not. Raw sockets see the
// requests in both cases.
type setting struct {
	family Family
	name   string // as sysctl(8) has it
	record string // of a takeover, before the namespace
}

var (
	setting4 = &setting{IPv4, "net.ipv4.icmp_echo_ignore_all", "icmp_echo_ignore_all"}
	setting6 = &setting{IPv6, "net.ipv6.icmp.echo_ignore_all", "icmpv6_echo_ignore_all"}
)

func (s *setting) path() string { return "/proc/sys/" + strings.ReplaceAll(s.name, ".", "/") }

// settings are those of the families, IPv4's if there are none, without that of a
// family that this kernel or namespace does not have.
func settings(families []Family) ([]*setting, error) {
	if len(families) == 0 {
		families = []Family{IPv4}
	}
	var all []*setting
	for _, f := range families {
		switch f {
		case IPv4:
			all = append(all, setting4)
		case IPv6:
			if _, err := os.Stat("/proc/sys/net/ipv6"); !errors.Is(err, fs.ErrNotExist) {
				all = append(all, setting6)
			}
		default:
			return nil, fmt.Errorf("there is no %v: want responder.IPv4 or responder.IPv6", f)
		}
	}
	return all, nil
}

// KernelReplies reports whether the kernel answers echo requests of one of the
// families, or of IPv4 if none is named, in this network namespace. If it does, a
// responder on a raw socket makes every client see duplicates. Where there is no
// IPv6 nobody answers it; a kernel before Linux 5.0 always does.
func KernelReplies(families ...Family) (bool, error) {
	all, err := settings(families)
	if err != nil {
		return false, err
	}
	for _, s := range all {
		f, err := os.Open(s.path())
		if s.family == IPv6 && errors.Is(err, fs.ErrNotExist) {
			return true, nil // there is no switch
		}
		if err != nil {
			return false, err
		}
		value, err := readSetting(f)
		f.Close()
		if err != nil || value == 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// Takeover is the state of the kernel's echo replies being left to responders.
type Takeover struct {
	each []*takeover
	once sync.Once
	err  error
}

// takeover is that of one family.
type takeover struct {
	*setting
	file   *os.File // open, so that Restore finds it from any namespace
	record *os.File // locked
	found  int
	note   string
}

// TakeOver switches the kernel's echo replies of the families, or of IPv4 if none is
// named, off in this network namespace until Restore: all of them, or none and an
// error. It needs CAP_NET_ADMIN, of anybody but user 0. Where there is no IPv6 there is
// nothing to switch off.
//
// What a setting was is kept in a file as well, so that it is not lost when
// the process is killed (SIGKILL): the next TakeOver finds it, and its Restore
// brings it back. The file is in /run/iomux or, for users who may not write
// there, in the folder iomux-UID of the temporary folder. Several processes of a
// user may take over at the same time, each the families that it wants; the last one
// of a family to restore does.
func TakeOver(families ...Family) (*Takeover, error) {
	all, err := settings(families)
	if err != nil {
		return nil, err
	}
	t := &Takeover{}
	for _, s := range all {
		one, err := s.takeOver()
		if err != nil {
			var errs *multierror.Error
			if back := t.Restore(); back != nil {
				errs = multierror.Append(errs, err, back)
				return nil, errs
			}
			return nil, err
		}
		t.each = append(t.each, one)
	}
	return t, nil
}

func (s *setting) takeOver() (*takeover, error) {
	f, err := os.OpenFile(s.path(), os.O_RDWR, 0)
	if err != nil {
		return nil, s.explain(err)
	}
	t := &takeover{setting: s, file: f}
	if err := t.begin(); err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

func (t *takeover) begin() error {
	record, err := t.openRecord()
	if err != nil {
		return fmt.Errorf("cannot keep what %s was: %w", t.name, err)
	}
	t.record = record
	if t.found, err = readSetting(t.file); err != nil {
		t.found = 1 // nothing is to be restored
		t.leave()
		return err
	}
	last, unusable := readRecord(record)
	if unusable == nil && t.found == 1 {
		t.found = last.found
		t.note = t.describe(last, locked(record))
	} else {
		// There was no takeover, or someone has changed the setting since.
		err = writeRecord(record, t.found)
	}
	if err == nil {
		err = t.write(1)
	}
	if err != nil {
		t.leave()
	}
	return err
}

// Note tells what an earlier takeover has left behind, or that another one is
// in force; it is empty if there was nothing. What concerns several families is
// joined by "; ".
func (t *Takeover) Note() string {
	var notes []string
	for _, one := range t.each {
		if one.note != "" {
			notes = append(notes, one.note)
		}
	}
	return strings.Join(notes, "; ")
}

// Restore makes each setting what it was found to be, unless another process
// has taken over too. If someone has switched the kernel's replies on since, they
// stay on. It may be called from any goroutine and more than once. Of several
// settings that cannot be restored it reports all.
func (t *Takeover) Restore() error {
	t.once.Do(func() {
		var errs *multierror.Error
		for _, one := range t.each {
			if err := one.leave(); err != nil {
				t.err = err
				errs = multierror.Append(errs, err)
			}
			one.file.Close()
		}
		if errs != nil && len(errs.Errors) > 1 {
			t.err = errs
		}
	})
	return t.err
}

// leave restores the setting and removes the record, if nobody else needs them.
func (t *takeover) leave() error {
	defer func() { t.record.Close() }() // and with it the lock
	for {
		// Of several who leave at the same time, each lets go of its lock before
		// it asks for all of them: so the last one gets that.
		err := lock(t.record, unix.F_UNLCK, false)
		if err == nil {
			err = lock(t.record, unix.F_WRLCK, false)
		}
		if errors.Is(err, unix.EAGAIN) {
			return nil // others are left
		}
		if err != nil {
			return err
		}
		if named(t.record) {
			break
		}
		// Someone has left in the meantime, and restoring once more does no harm;
		// or someone has cleaned up. There may be others with a new record.
		t.record.Close()
		record, err := t.openRecord()
		if err != nil {
			return err
		}
		t.record = record
	}
	if t.found == 0 {
		if err := t.write(0); err != nil {
			return err
		}
	}
	return removeRecord(t.record)
}

// Leftover tells what a takeover of the families, or of IPv4 if none is named, has
// left behind or that one is in force, without doing anything about it; it is empty
// if there is nothing.
func Leftover(families ...Family) string {
	all, err := settings(families)
	if err != nil {
		return ""
	}
	var notes []string
	for _, s := range all {
		if note := s.leftover(); note != "" {
			notes = append(notes, note)
		}
	}
	return strings.Join(notes, "; ")
}

func (s *setting) leftover() string {
	if replies, err := KernelReplies(s.family); err != nil || replies {
		return ""
	}
	path, err := s.recordPath(false)
	if err != nil {
		return ""
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	last, err := readRecord(f)
	if err != nil {
		return ""
	}
	return s.describe(last, locked(f))
}

func readSetting(f *os.File) (int, error) {
	var b [16]byte
	n, err := f.ReadAt(b[:], 0)
	value, syntax := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if syntax != nil {
		return 0, fmt.Errorf("%s: %w", f.Name(), errors.Join(err, syntax))
	}
	return value, nil
}

func (t *takeover) write(value int) error {
	_, err := t.file.WriteAt(strconv.AppendInt(nil, int64(value), 10), 0)
	return t.explain(err)
}

// explain adds to a refusal what is missing.
func (s *setting) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("changing %s needs CAP_NET_ADMIN and a writable /proc/sys: run as root, or grant it with setcap cap_net_admin,cap_net_raw+ep: %w",
			s.name, err)
	case s.family == IPv6 && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w: a kernel before Linux 5.0 always answers over IPv6", s.name, err)
	}
	return err
}
