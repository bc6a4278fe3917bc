package privilege_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/apps/echo/privilege"
)

// The test binary plays other roles when it finds one in the environment.
const roleVariable = "IOMUX_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		if _, set := os.LookupEnv("GORACE"); !set { // each race build would wait a second before it ends
			os.Setenv("GORACE", "atexit_sleep_ms=0")
		}
		os.Exit(m.Run())
	}
	if err := play(role); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(3)
	}
}

func play(role string) error {
	switch role {
	case "launch":
		return launch()
	case "report":
		return json.NewEncoder(os.Stdout).Encode(look())
	case "idle": // until it is killed
		fmt.Println(os.Getpid())
		select {}
	case "parent":
		return parent()
	case "worker":
		return worker()
	}
	return fmt.Errorf("unknown role")
}

// plan is what a launcher does.
type plan struct {
	Exec  bool
	Keep  []int
	User  string
	Role  string            // of the program that it starts
	Files map[string]string // what is in them
}

// report is what a program finds out about itself.
type report struct {
	Threads []privilege.Thread
	NoRoot  bool   // the securebits NOROOT and its lock
	Verify  string // the error of privilege.Verify without what the plan keeps
	Handed  bool
	Files   map[string]string
	Error   string
	Before  privilege.Thread // the launcher
	PID     int
	Note    string
	EnvLeft bool
}

const planVariable = "IOMUX_TEST_PLAN"

func readPlan() (p plan, err error) {
	return p, json.Unmarshal([]byte(os.Getenv(planVariable)), &p)
}

// launch starts another role with fewer privileges, as the plan has it.
func launch() error {
	p, err := readPlan()
	if err != nil {
		return err
	}
	c := &privilege.Config{Keep: p.Keep}
	var note string
	if p.User != "" {
		if c.Account, note, err = privilege.Lookup(p.User); err != nil {
			return err
		}
	}
	for name, text := range p.Files {
		f, err := unnamed(text)
		if err != nil {
			return err
		}
		if c.Files == nil {
			c.Files = map[string][]*os.File{}
		}
		c.Files[name] = append(c.Files[name], f)
	}
	before, err := privilege.Threads()
	if err != nil {
		return err
	}
	b, err := json.Marshal(report{Before: before[0], Note: note, PID: os.Getpid()})
	if err != nil {
		return err
	}
	os.Setenv("IOMUX_TEST_BEFORE", string(b))
	os.Setenv(roleVariable, p.Role)
	if p.Exec {
		return privilege.Exec(os.Args, c)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := privilege.Start(cmd, c); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	after, err := privilege.Threads()
	if err != nil {
		return err
	}
	for _, t := range after { // the one that gave up may end a moment later
		if t.ID == os.Getpid() && (t.Permitted != before[0].Permitted || t.NoNewPrivs != before[0].NoNewPrivs) {
			return fmt.Errorf("the launcher has changed from %+v to %+v", before[0], t)
		}
	}
	return nil
}

// unnamed is a file to be read from its start.
func unnamed(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "test")
	_, err = f.WriteAt([]byte(text), 0)
	return f, err
}

// look reports on several threads, all of which are there at once.
func look() (r report) {
	json.Unmarshal([]byte(os.Getenv("IOMUX_TEST_BEFORE")), &r)
	p, _ := readPlan()
	var ready, done sync.WaitGroup
	done.Add(1)
	for range 8 {
		ready.Add(1)
		go func() {
			runtime.LockOSThread()
			ready.Done()
			done.Wait()
		}()
	}
	ready.Wait()
	defer done.Done()
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil {
		r.Error = err.Error()
	}
	r.NoRoot = bits&3 == 3
	if r.Threads, err = privilege.Threads(); err != nil {
		r.Error = err.Error()
	}
	if err := privilege.Verify(p.Keep...); err != nil {
		r.Verify = err.Error()
	}
	if r.PID == os.Getpid() {
		r.PID = 0 // the launcher's and this one's are the same
	}
	files, ok, err := privilege.Inherited()
	r.Handed, r.Files = ok, map[string]string{}
	if err != nil {
		r.Error = err.Error()
	}
	for name, all := range files {
		for _, f := range all {
			b, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
			if err != nil {
				r.Error = err.Error()
			}
			r.Files[name] += string(b)
		}
	}
	_, r.EnvLeft = os.LookupEnv("IOMUX_PRIVILEGE")
	return r
}

// place is where a launcher runs: user and capabilities.
type place struct {
	name     string
	attr     func() *syscall.SysProcAttr
	caps     []int // of the file, nil for none
	lowers   bool  // has CAP_SETPCAP, so that the bounding set is lowered
	becomes  bool  // can become nobody
	needRoot bool
}

var places = []place{
	{name: "root", attr: asRoot, lowers: true, becomes: true, needRoot: true},
	{name: "a user namespace of one", attr: inUserNamespace, lowers: true},
	{name: "root, a file with capabilities", attr: asRoot,
		caps: []int{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}, lowers: true, becomes: true, needRoot: true},
	{name: "a file with capabilities", attr: asNobody, caps: []int{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN}, needRoot: true},
	{name: "a file with capabilities, CAP_SETPCAP too", attr: asNobody,
		caps: []int{unix.CAP_NET_RAW, unix.CAP_NET_ADMIN, unix.CAP_SETPCAP}, lowers: true, needRoot: true},
}

const nobody = 65534

// asRoot has groups that are to be given up.
func asRoot() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{1, 2}}}
}

func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// inUserNamespace is where an ordinary user is user 0 and no other user exists.
func inUserNamespace() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	if os.Geteuid() == 0 {
		a.UidMappings[0].HostID, a.GidMappings[0].HostID = nobody, nobody
		a.Credential = &syscall.Credential{NoSetGroups: true} // user 0 there
	}
	return a
}

// need skips what an ordinary user cannot have.
func (p place) need(t *testing.T) {
	t.Helper()
	if p.needRoot && os.Geteuid() != 0 {
		t.Skip("it takes root to become another user, or to give a file capabilities")
	}
}

// program is a copy of the test binary with the place's capabilities, if it has any.
func (p place) program(t *testing.T) string {
	t.Helper()
	if p.caps == nil {
		return "/proc/self/exe"
	}
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "privilege") // which others may search
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "program")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	setCapabilities(t, path, p.caps)
	return path
}

// setCapabilities is setcap(8) with +ep (struct vfs_cap_data in linux/capability.h).
func setCapabilities(t *testing.T, path string, caps []int) {
	t.Helper()
	value := make([]byte, 20)
	value[0], value[3] = 1, 2 // effective, VFS_CAP_REVISION_2
	for _, c := range caps {
		value[4+c/32*8+c%32/8] |= 1 << (c % 8)
	}
	if err := unix.Setxattr(path, "security.capability", value, 0); err != nil {
		t.Fatal(err)
	}
}

// command is a role in the place.
func (p place) command(t *testing.T, role string, plan plan) *exec.Cmd {
	t.Helper()
	b, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(p.program(t))
	cmd.Env = append(os.Environ(), roleVariable+"="+role, planVariable+"="+string(b))
	cmd.SysProcAttr = p.attr()
	return cmd
}

func (p place) launch(t *testing.T, plan plan) report {
	t.Helper()
	cmd := p.command(t, "launch", plan)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %q, %s", err, out, stderr.String())
	}
	if r.Error != "" {
		t.Fatal(r.Error)
	}
	return r
}

func everywhere(t *testing.T, test func(*testing.T, place, bool)) {
	for _, p := range places {
		for _, exec := range []bool{true, false} {
			way := "start"
			if exec {
				way = "exec"
			}
			t.Run(strings.ReplaceAll(p.name, " ", "_")+"/"+way, func(t *testing.T) {
				p.need(t)
				test(t, p, exec)
			})
		}
	}
}
