package responder

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A record is a file that says what a setting of a network namespace was
// before the first takeover. Each takeover in force holds a shared lock on it,
// which ends with its process. The last one to leave gets an exclusive lock,
// restores the setting and removes the record.

// record is what the file says.
type record struct {
	pid   int    // of who wrote it
	found int    // the setting before
	boot  string // of the machine, as the file may outlive it
}

// recordFormat gives every record the same length: of two takeovers that begin
// at the same time both may write it, while a third one reads it.
const recordFormat = "pid %10d found %d boot %s\n"

func (s *setting) describe(r record, inForce bool) string {
	if inForce {
		return fmt.Sprintf("%s is 1 because another server has taken over (process %d was the first); what both are asked is answered twice, and the last one to end restores %d",
			s.name, r.pid, r.found)
	}
	return fmt.Sprintf("%s is 1 because a server was killed before it could restore it (process %d was the first to take over); it was %d",
		s.name, r.pid, r.found)
}

func readRecord(f *os.File) (record, error) {
	var b [128]byte
	n, _ := f.ReadAt(b[:], 0) // a failure leaves nothing to scan
	var r record
	if _, err := fmt.Sscanf(string(b[:n]), recordFormat, &r.pid, &r.found, &r.boot); err != nil {
		return r, err
	}
	if r.found != 0 && r.found != 1 || r.boot != bootID() {
		return r, fmt.Errorf("%s: not a record of this boot", f.Name())
	}
	return r, nil
}

func writeRecord(f *os.File, found int) error {
	_, err := f.WriteAt(fmt.Appendf(nil, recordFormat, os.Getpid(), found, bootID()), 0)
	return err
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return cmp.Or(strings.TrimSpace(string(b)), "unknown")
}

// openRecord opens the record of this network namespace and takes a shared lock
// on it.
func (s *setting) openRecord() (*os.File, error) {
	for {
		path, err := s.recordPath(true)
		if err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			continue // whoever was last has removed the folder
		}
		if err != nil {
			return nil, err
		}
		if err = lock(f, unix.F_RDLCK, true); err == nil && named(f) {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

func removeRecord(f *os.File) error {
	err := os.Remove(f.Name())
	os.Remove(filepath.Dir(f.Name())) // unless there are others in it
	return err
}

// lock takes or changes the lock on a file, or lets go of it: unix.F_RDLCK,
// F_WRLCK or F_UNLCK. It belongs to the open file (F_OFD_SETLK in fcntl(2)), so
// that two takeovers of one process are two. The error is EAGAIN if another one
// is in the way and it is not to wait.
func lock(f *os.File, kind int16, wait bool) error {
	cmd := unix.F_OFD_SETLK
	if wait {
		cmd = unix.F_OFD_SETLKW
	}
	for {
		err := unix.FcntlFlock(f.Fd(), cmd, &unix.Flock_t{Type: kind})
		if err != unix.EINTR {
			return os.NewSyscallError("fcntl", err)
		}
	}
}

// locked reports whether someone else has a lock on the file. It takes none, so
// that nobody who leaves meanwhile believes that others are left.
func locked(f *os.File) bool {
	lk := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lk) == nil && lk.Type != unix.F_UNLCK
}

// named reports whether the file still has its name: whoever was last may have
// removed it before it was locked here.
func named(f *os.File) bool {
	opened, err1 := f.Stat()
	there, err2 := os.Lstat(f.Name())
	return err1 == nil && err2 == nil && os.SameFile(opened, there)
}

// recordPath names the record after the network namespace, in a folder that
// belongs to this user alone, which it may create.
func (s *setting) recordPath(create bool) (string, error) {
	ns, err := namespaceID()
	if err != nil {
		return "", err
	}
	user := os.Geteuid()
	dirs := []string{"/run/iomux", filepath.Join(os.TempDir(), "iomux-"+strconv.Itoa(user))}
	for _, dir := range dirs {
		var st unix.Stat_t
		err := unix.Lstat(dir, &st)
		for create && err == unix.ENOENT {
			// Whoever was last may remove it between these two.
			if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				break
			}
			err = unix.Lstat(dir, &st)
		}
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&0o022 == 0 && int(st.Uid) == user {
			return filepath.Join(dir, s.record+"."+ns), nil
		}
	}
	return "", fmt.Errorf("none of %s is a folder of this user's alone", strings.Join(dirs, ", "))
}

// namespaceID tells network namespaces apart until the machine restarts.
func namespaceID() (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err == nil { // Linux 5.14
		return strconv.FormatUint(cookie, 10), nil
	}
	// An inode number may be used again, but not while the namespace exists.
	const path = "/proc/thread-self/ns/net"
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return fmt.Sprintf("inode-%d", st.Ino), nil
}
