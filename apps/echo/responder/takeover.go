package responder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// setting is the kernel's switch in the network namespace of the thread that
// opens it: 0 answers echo requests, 1 does not. Raw sockets see the requests
// in both cases.
const (
	setting     = "/proc/sys/net/ipv4/icmp_echo_ignore_all"
	settingName = "net.ipv4.icmp_echo_ignore_all"
)

// KernelReplies reports whether the kernel answers IPv4 echo requests in this
// network namespace (icmp_echo_ignore_all in icmp(7)). If it does, a responder
// on a raw socket makes every client see duplicates.
func KernelReplies() (bool, error) {
	f, err := os.Open(setting)
	if err != nil {
		return false, err
	}
	defer f.Close()
	value, err := readSetting(f)
	return err == nil && value == 0, err
}

// Takeover is the state of the kernel's echo replies being left to responders.
type Takeover struct {
	setting *os.File // open, so that Restore finds it from any namespace
	record  *os.File // locked
	found   int
	note    string
	once    sync.Once
	err     error
}

// TakeOver switches the kernel's IPv4 echo replies off in this network
// namespace until Restore. It needs CAP_NET_ADMIN, of anybody but user 0.
//
// What the setting was is kept in a file as well, so that it is not lost when
// the process is killed (SIGKILL): the next TakeOver finds it, and its Restore
// brings it back. The file is in /run/iomux or, for users who may not write
// there, in the folder iomux-UID of the temporary folder. Several processes of a
// user may take over at the same time; the last one to restore does.
func TakeOver() (*Takeover, error) {
	f, err := os.OpenFile(setting, os.O_RDWR, 0)
	if err != nil {
		return nil, explain(err)
	}
	t := &Takeover{setting: f}
	if err := t.takeOver(); err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

func (t *Takeover) takeOver() error {
	record, err := openRecord()
	if err != nil {
		return fmt.Errorf("cannot keep what %s was: %w", settingName, err)
	}
	t.record = record
	if t.found, err = readSetting(t.setting); err == nil {
		last, unusable := readRecord(record)
		if unusable == nil && t.found == 1 {
			t.found = last.found
			t.note = last.describe(locked(record))
		} else {
			// There was no takeover, or someone has changed the setting since.
			err = writeRecord(record, t.found)
		}
	}
	if err == nil {
		err = writeSetting(t.setting, 1)
	}
	if err != nil {
		t.leave()
	}
	return err
}

// Note tells what an earlier takeover has left behind, or that another one is
// in force; it is empty if there was nothing.
func (t *Takeover) Note() string { return t.note }

// Restore makes the setting what it was found to be, unless another process
// has taken over too. If someone has switched the kernel's replies on since, they
// stay on. It may be called from any goroutine and more than once.
func (t *Takeover) Restore() error {
	t.once.Do(func() {
		t.err = t.leave()
		t.setting.Close()
	})
	return t.err
}

// leave restores the setting and removes the record, if nobody else needs them.
func (t *Takeover) leave() error {
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
		record, err := openRecord()
		if err != nil {
			return err
		}
		t.record = record
	}
	if t.found == 0 {
		if err := writeSetting(t.setting, 0); err != nil {
			return err
		}
	}
	return removeRecord(t.record)
}

// Leftover tells what a takeover has left behind or that one is in force,
// without doing anything about it; it is empty if there is nothing.
func Leftover() string {
	if replies, err := KernelReplies(); err != nil || replies {
		return ""
	}
	path, err := recordPath(false)
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
	return last.describe(locked(f))
}

func readSetting(f *os.File) (int, error) {
	var b [16]byte
	n, err := f.ReadAt(b[:], 0)
	value, syntax := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if syntax != nil {
		return 0, fmt.Errorf("%s: %w", setting, errors.Join(err, syntax))
	}
	return value, nil
}

func writeSetting(f *os.File, value int) error {
	_, err := f.WriteAt(strconv.AppendInt(nil, int64(value), 10), 0)
	return explain(err)
}

// explain adds to a refusal what is missing.
func explain(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return fmt.Errorf("changing %s needs CAP_NET_ADMIN and a writable /proc/sys: run as root, or grant it with setcap cap_net_admin,cap_net_raw+ep: %w",
			settingName, err)
	}
	return err
}
