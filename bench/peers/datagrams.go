package peers

import (
	"debug/buildinfo"
	"fmt"
	"runtime"
)

// newDatagramServers builds the servers of UDP, the programs c/datagrams.c and datagrams, in
// dir. The first one is gnet.
func newDatagramServers(dir string) ([]*server, error) {
	c, err := bareC.build(dir, "datagrams")
	if err != nil {
		return nil, err
	}
	path, err := buildGo(dir, ".", "./datagrams")
	if err != nil {
		return nil, err
	}
	gnet, err := builtWith(path, "github.com/panjf2000/gnet/v2")
	if err != nil {
		return nil, err
	}
	return []*server{
		{name: "gnet", about: gnet + ", " + runtime.Version(), args: []string{path, "gnet"}, cpus: 1},
		{name: "iomux", about: runtime.Version(), args: []string{path, "iomux"}, cpus: 1},
		{name: "goroutine", about: runtime.Version(), args: []string{path, "goroutine"}, cpus: 1},
		{name: "bare-c", about: "recvmmsg, sendmmsg, " + c.about, args: []string{c.path, "batch"}, cpus: 1},
		{name: "bare-c-single", about: "recvfrom, sendto, " + c.about, args: []string{c.path, "single"}, cpus: 1},
	}, nil
}

// builtWith is the version of a module in a program of Go.
func builtWith(path, module string) (string, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", err
	}
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version, nil
		}
	}
	return "", fmt.Errorf("%s is not built with %s", path, module)
}
