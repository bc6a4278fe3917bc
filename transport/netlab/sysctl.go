package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// SetEchoReplies switches the kernel's own answers to IPv4 and IPv6 echo
// requests, which are on in a new namespace: net.ipv4.icmp_echo_ignore_all in
// icmp(7) and, since Linux 5.0, net.ipv6.icmp.echo_ignore_all. Raw sockets see
// the requests in any case.
func (n *Namespace) SetEchoReplies(on bool) error {
	ignore := "1"
	if on {
		ignore = "0"
	}
	return n.Do(func() error {
		if err := writeSysctl("net.ipv4.icmp_echo_ignore_all", ignore); err != nil {
			return err
		}
		if _, err := os.Stat(sysctlPath("net.ipv6")); errors.Is(err, fs.ErrNotExist) {
			return nil // no IPv6, no IPv6 echo replies
		}
		return writeSysctl("net.ipv6.icmp.echo_ignore_all", ignore)
	})
}

// SetPingGroups lets the groups from low to high open ping sockets
// (net.ipv4.ping_group_range in icmp(7)); low above high means nobody, as in a
// new namespace. The groups must exist in the user namespace: as an ordinary
// user there is only group 0, so 0, 0 is all that can be set.
func (n *Namespace) SetPingGroups(low, high int) error {
	return n.Do(func() error {
		return writeSysctl("net.ipv4.ping_group_range", fmt.Sprintf("%d %d", low, high))
	})
}

// SetSysctl sets what sysctl(8) does, "net.ipv6.conf.all.keep_addr_on_down" for
// instance, if it is a setting of network namespaces. The kernel has others under
// net too, which only root can set, and which concern everybody: leave them alone.
// A setting that this kernel does not have is [fs.ErrNotExist].
func (n *Namespace) SetSysctl(name, value string) error {
	return n.Do(func() error { return writeSysctl(name, value) })
}

// writeSysctl sets what belongs to the network namespace of the calling thread.
func writeSysctl(name, value string) error {
	file, err := os.OpenFile(sysctlPath(name), os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteString(value)
		file.Close()
	}
	if err == nil {
		return nil
	}
	advice := hint(err, unix.EROFS, "/proc/sys is mounted read-only, as containers have it: run the container privileged or mount it writable")
	advice += hint(err, unix.EACCES, "it needs CAP_NET_ADMIN over the network namespace")
	advice += hint(err, unix.EPERM, "it needs CAP_NET_ADMIN over the network namespace")
	advice += hint(err, unix.ENOENT, "this kernel does not have that setting")
	advice += hint(err, unix.EINVAL, "the kernel does not accept that value here; of users and groups, only those of the user namespace exist")
	return fmt.Errorf("netlab: set %s to %q: %w%s", name, value, err, advice)
}

func readSysctl(name string) (string, error) {
	b, err := os.ReadFile(sysctlPath(name))
	return strings.TrimSpace(string(b)), err
}

func sysctlPath(name string) string { return "/proc/sys/" + strings.ReplaceAll(name, ".", "/") }

// hint is what would be right, in brackets, if err is errno.
func hint(err error, errno unix.Errno, advice string) string {
	if !errors.Is(err, errno) {
		return ""
	}
	return " (" + advice + ")"
}
