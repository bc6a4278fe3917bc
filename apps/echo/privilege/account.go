package privilege

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Account is a user to become.
type Account struct {
	Name       string
	UID, GID   int
	Groups     []int // supplementary ones
	keepGroups bool  // as setgroups(2) is denied
}

// String returns the name and the number.
func (a *Account) String() string { return fmt.Sprintf("%s (%d:%d)", a.Name, a.UID, a.GID) }

// nobody is the user that owns nothing, where no file says who that is
// (/proc/sys/kernel/overflowuid has the same number).
const nobody = 65534

// Lookup finds a user by name or number for [Config]: "nobody", "65534". It gets the
// user's primary group, or for a number that nobody has the group of the same number, and
// no other groups.
//
// In a user namespace (user_namespaces(7)) only some users exist, often user 0 alone.
// If this one does not, the Account is nil, which changes nothing, and the note says
// so: the program goes on as the user it is, whom this namespace alone knows and who
// is an ordinary user outside. The note is also about groups that the namespace does
// not let go of. An unknown name, and a user that this process may not become, are
// errors.
func Lookup(name string) (a *Account, note string, err error) {
	if a, err = find(name); err != nil {
		return nil, "", err
	}
	if a.UID == os.Getuid() && a.UID == os.Geteuid() && a.UID != 0 {
		return nil, "", nil
	}
	for _, m := range []struct {
		file string
		id   int
		what string
	}{{"/proc/self/uid_map", a.UID, "user"}, {"/proc/self/gid_map", a.GID, "group"}} {
		b, err := os.ReadFile(m.file)
		if err != nil {
			return nil, "", fmt.Errorf("privilege: %w", err)
		}
		if !mapped(string(b), m.id) {
			return nil, fmt.Sprintf("user %v cannot be had, as %s %d does not exist in this user namespace: staying user %d of it",
				a, m.what, m.id, os.Geteuid()), nil
		}
	}
	threads, err := Threads()
	if err != nil {
		return nil, "", err
	}
	if e := threads[0].Effective; !e.Has(unix.CAP_SETUID) || !e.Has(unix.CAP_SETGID) {
		return nil, "", fmt.Errorf("privilege: becoming user %v needs CAP_SETUID and CAP_SETGID: %w", a, unix.EPERM)
	}
	if b, err := os.ReadFile("/proc/self/setgroups"); err == nil && strings.TrimSpace(string(b)) == "deny" {
		a.keepGroups = true
		note = fmt.Sprintf("user %v keeps the supplementary groups of this process, as its user namespace denies setgroups(2)", a)
	}
	return a, note, nil
}

func find(name string) (*Account, error) {
	u, err := user.Lookup(name)
	n, numeric := number(name)
	switch {
	case err == nil:
	case name == "nobody":
		n, numeric = nobody, true
		fallthrough
	case numeric:
		if u, err = user.LookupId(strconv.Itoa(n)); err != nil {
			return &Account{Name: name, UID: n, GID: n}, nil
		}
	default:
		return nil, fmt.Errorf("privilege: user %q: %w (want a name in /etc/passwd, or a number)", name, err)
	}
	uid, okUser := number(u.Uid)
	gid, okGroup := number(u.Gid)
	if !okUser || !okGroup {
		return nil, fmt.Errorf("privilege: user %q has the numbers %q and %q: want 0 to %d", name, u.Uid, u.Gid, uint32(math.MaxUint32-1))
	}
	return &Account{Name: u.Username, UID: uid, GID: gid}, nil
}

// number reads that of a user or group. The highest means none (setresuid(2)).
func number(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n), err == nil && n < math.MaxUint32 && uint64(int(n)) == n && int(n) >= 0
}

// mapped tells whether a map of user_namespaces(7) has the number inside.
func mapped(file string, id int) bool {
	for line := range strings.Lines(file) {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err == nil && uint64(id) >= inside && uint64(id)-inside < count {
			return true
		}
	}
	return false
}

// errNoThread is of a /proc without this process.
var errNoThread = errors.New("privilege: /proc/self/task is empty")
