package wiretest

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"iomux/transport/netlab"
)

// NeedTUN skips the test where no TUN device can be made: without a private
// namespace or without /dev/net/tun.
func NeedTUN(t testing.TB) {
	t.Helper()
	netlab.Need(t)
	file, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no TUN device can be made: %v; a user namespace gives no right to it: an administrator lets everybody open it "+
			"by `chmod 0666 /dev/net/tun`, for good by a udev rule with MODE=\"0666\", or loads it by `modprobe tun`", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
}
