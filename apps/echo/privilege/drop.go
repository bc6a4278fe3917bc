package privilege

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// maxCapability is the last that the sets have room for; kernels know fewer.
const maxCapability = 63

// SECBIT_NOROOT and its lock (linux/securebits.h): user 0 gets no capabilities by
// execve(2).
const noRoot = 1<<0 | 1<<1

// drop takes from the calling thread what the Config does not leave it. It cannot
// be undone, and after an error some of it has been done: the thread has to end.
//
// The file is the program to execute, which may have capabilities of its own.
func (c *Config) drop(file string) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var now [2]unix.CapUserData
	if err := unix.Capget(&head, &now[0]); err != nil {
		return fmt.Errorf("privilege: capget: %w", err)
	}
	keep := setOf(c.Keep) & set(now[0].Permitted, now[1].Permitted)
	own := readFileSets(file)
	if lost := own.lost(keep); lost != 0 {
		return fmt.Errorf("privilege: %v would be lost, as the program's file has capabilities and not these: add them by setcap(8), +ep, or take all away by `setcap -r`", lost)
	}
	// The last things that take capabilities come first.
	if set(now[0].Effective, now[1].Effective).Has(unix.CAP_SETPCAP) {
		bounding := keep | own.demanded()
		for n := range maxCapability + 1 {
			if bounding.Has(n) {
				continue
			}
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); errors.Is(err, unix.EINVAL) {
				break // the kernel knows no more
			} else if err != nil {
				return fmt.Errorf("privilege: take capability %d from the bounding set: %w", n, err)
			}
		}
		bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
		if err == nil {
			err = unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(bits|noRoot), 0, 0, 0)
		}
		if err != nil {
			return fmt.Errorf("privilege: set the securebits NOROOT: %w", err)
		}
	}
	if c.Account != nil {
		// Otherwise the change of user would take those that are kept as well.
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("privilege: keep capabilities: %w", err)
		}
		if err := c.Account.become(); err != nil {
			return fmt.Errorf("privilege: become user %s: %w", c.Account, err)
		}
	}
	for i := range now {
		word := uint32(keep >> (32 * i))
		now[i] = unix.CapUserData{Effective: word, Permitted: word, Inheritable: word}
	}
	if err := unix.Capset(&head, &now[0]); err != nil {
		return fmt.Errorf("privilege: capset: %w", err)
	}
	if err := c.ambient(keep); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("privilege: no_new_privs: %w", err)
	}
	return nil
}

// fileSets is what setcap(8) has given a file (struct vfs_cap_data in
// linux/capability.h).
type fileSets struct {
	some      bool // it has any: the kernel clears the ambient set then
	effective bool
	permitted Set
}

func readFileSets(file string) (f fileSets) {
	const effective, permitted, more, size = 0, 4, 12, 20 // offsets in bytes
	var b [24]byte
	n, err := unix.Getxattr(file, "security.capability", b[:])
	if err != nil || n < size {
		return f
	}
	low, high := binary.LittleEndian.Uint32(b[permitted:]), binary.LittleEndian.Uint32(b[more:])
	return fileSets{true, b[effective]&1 != 0, set(low, high)}
}

// demanded are those without which the kernel does not execute the file: EPERM, see
// capabilities(7) about capability-dumb programs. They have to stay in the bounding
// set, where they are of no use with no_new_privs.
func (f fileSets) demanded() Set {
	if !f.effective {
		return 0
	}
	return f.permitted
}

// lost are those of keep that the program would not have.
func (f fileSets) lost(keep Set) Set {
	if !f.some {
		return 0
	}
	return keep &^ f.demanded()
}

// ambient makes the ambient set, which execve(2) hands on.
func (c *Config) ambient(keep Set) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("privilege: clear the ambient set: %w", err)
	}
	for n := range maxCapability + 1 {
		if !keep.Has(n) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(n), 0, 0); err != nil {
			return fmt.Errorf("privilege: keep %v: %w (do the securebits of this process forbid ambient capabilities?)", setOf([]int{n}), err)
		}
	}
	return nil
}

// become changes the user of the calling thread, as the functions of package
// syscall would that of all.
func (a *Account) become() error {
	if !a.keepGroups {
		if err := unix.Setgroups(a.Groups); err != nil {
			return fmt.Errorf("setgroups: %w", err)
		}
	}
	gid, uid := uintptr(a.GID), uintptr(a.UID)
	if _, _, errno := unix.RawSyscall(sysSetresgid, gid, gid, gid); errno != 0 {
		return fmt.Errorf("setresgid: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(sysSetresuid, uid, uid, uid); errno != 0 {
		return fmt.Errorf("setresuid: %w", errno)
	}
	return nil
}
