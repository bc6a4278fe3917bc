//go:build !386 && !arm

package privilege

import "golang.org/x/sys/unix"

const (
	sysSetresuid = unix.SYS_SETRESUID
	sysSetresgid = unix.SYS_SETRESGID
	sysGeteuid   = unix.SYS_GETEUID
)
