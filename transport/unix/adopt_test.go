package unix_test

import (
	"os"
	"strings"
	"testing"

	"iomux/transport"
	"iomux/transport/unix"
)

func TestFilesAreRefused(t *testing.T) {
	const want = "Config.Files: opening a UNIX domain socket takes no privileges"
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cfg := &transport.Config{Files: []*os.File{f}}
	if a, b, err := unix.Pair(cfg); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Pair = %v, %v, %v, want %s", a, b, err, want)
	}
	if tr, err := transport.Open("unixgram", "", cfg); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Open = %v, %v, want %s", tr, err, want)
	}
}
