package muxtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The module example.org/ring has a backend that is registered when it is
// imported, as somebody else would write it.
const ringModule = `module example.org/ring

go 1.26

require iomux v0.0.0

replace iomux => %q
`

const ringSource = `package ring

import "iomux/mux"

type ring struct{ mux.Mux }

func (ring) Name() string { return "ring" }

func init() { mux.Register(mux.Backend{Name: "ring", Open: open}) }

func open() (mux.Mux, error) {
	m, err := mux.Open("epoll")
	return ring{m}, err
}
`

const ringTest = `package ring_test

import (
	"testing"

	_ "example.org/ring"
	"iomux/mux"
	"iomux/mux/muxtest"
)

func TestConformance(t *testing.T) {
	muxtest.Run(t, func() (mux.Mux, error) { return mux.Open("ring") })
}
`

// ringBug is a mistake that a backend can make.
const ringBug = `
func (r ring) Remove(fd int) error {
	r.Mux.Remove(fd)
	return nil
}
`

// testRing tests the module, outside of this one's folder and without a network,
// and returns what that printed.
func testRing(t *testing.T, source string, args ...string) (out string, passed bool) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts the go command")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	iomux, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	// What iomux requires is there, for it was needed to build this test, and -mod=mod
	// writes it into the go.mod.
	sums, err := os.ReadFile(filepath.Join(iomux, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":       fmt.Sprintf(ringModule, iomux),
		"go.sum":       string(sums),
		"ring.go":      source,
		"ring_test.go": ringTest,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", append([]string{"test", "-count=1"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOARCH="+runtime.GOARCH, "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	b, err := cmd.CombinedOutput()
	return string(b), err == nil
}

func TestABackendFromAnotherModulePasses(t *testing.T) {
	out, passed := testRing(t, ringSource, "-v")
	if !passed || !strings.Contains(out, "\n--- PASS: TestConformance (") {
		t.Errorf("go test fails:\n%s", out)
	}
}

func TestABrokenBackendFromAnotherModuleFails(t *testing.T) {
	out, passed := testRing(t, ringSource+ringBug, "-v", "-run=TestConformance/^(modify_unknown|remove_unknown)$")
	if passed {
		t.Errorf("go test passes:\n%s", out)
	}
	for _, line := range []string{
		"    --- PASS: TestConformance/modify_unknown (",
		"    --- FAIL: TestConformance/remove_unknown (",
	} {
		if !strings.Contains(out, "\n"+line) {
			t.Errorf("the output has no %q:\n%s", strings.TrimSpace(line), out)
		}
	}
}
