//go:build 386 || arm

package privilege

import "golang.org/x/sys/unix"

// The calls with these names take 16 bits on old architectures (setresuid(2)).
const (
	sysSetresuid = unix.SYS_SETRESUID32
	sysSetresgid = unix.SYS_SETRESGID32
	sysGeteuid   = unix.SYS_GETEUID32
)
