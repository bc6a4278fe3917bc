package transport

import (
	"errors"
	"io/fs"
	"net"
	"slices"
	"strings"
	"testing"
)

// withRegistry gives the test a registry of its own.
func withRegistry(t *testing.T, networks ...string) {
	t.Helper()
	was := registry.open
	t.Cleanup(func() { registry.open = was })
	registry.open = map[string]OpenFunc{}
	for _, network := range networks {
		Register(network, func(string, string, *Config) (Transport, error) { return nil, nil })
	}
}

func TestOpenHandsItsArgumentsToTheNetwork(t *testing.T) {
	withRegistry(t, "other")
	want, wantErr, wantConfig := new(fake), errors.New("no"), new(Config)
	Register("net0", func(network, address string, cfg *Config) (Transport, error) {
		if network != "net0" || address != "here" || cfg != wantConfig {
			t.Errorf("the OpenFunc got %q, %q, %p, want net0, here, %p", network, address, cfg, wantConfig)
		}
		return want, wantErr
	})
	if got, err := Open("net0", "here", wantConfig); got != want || err != wantErr {
		t.Errorf("Open = %v, %v, want %v, %v", got, err, want, wantErr)
	}
}

func TestNetworksAreSorted(t *testing.T) {
	withRegistry(t, "udp4", "ip4:icmp", "tun")
	if got, want := Networks(), []string{"ip4:icmp", "tun", "udp4"}; !slices.Equal(got, want) {
		t.Errorf("Networks() = %q, want %q", got, want)
	}
}

func TestUnknownNetworkListsTheKnownOnes(t *testing.T) {
	withRegistry(t, "udp4", "ip4:icmp")
	tr, err := Open("ip4:igmp", "", nil)
	if tr != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Open = %v, %v, want fs.ErrNotExist", tr, err)
	}
	if op, ok := err.(*net.OpError); !ok || op.Op != "open" || op.Net != "ip4:igmp" {
		t.Errorf("the error is %#v, want a *net.OpError with Op open and Net ip4:igmp", err)
	}
	if !strings.Contains(err.Error(), "known: ip4:icmp, udp4") {
		t.Errorf("%q does not list the known networks", err)
	}
}

func TestUnknownNetworkWithNoneRegisteredSaysWhatToImport(t *testing.T) {
	withRegistry(t)
	if _, err := Open("ip4:icmp", "", nil); err == nil || !strings.Contains(err.Error(), `_ "iomux/transport/icmp"`) {
		t.Errorf("%v does not say what to import", err)
	}
}

func TestRegisterPanicsOnMistakes(t *testing.T) {
	open := func(string, string, *Config) (Transport, error) { return nil, nil }
	for name, register := range map[string]func(){
		"no name":     func() { Register("", open) },
		"no OpenFunc": func() { Register("net0", nil) },
		"duplicate":   func() { Register("taken", open) },
	} {
		t.Run(name, func(t *testing.T) {
			withRegistry(t, "taken")
			defer func() {
				if recover() == nil {
					t.Error("Register did not panic")
				}
				if got := Networks(); !slices.Equal(got, []string{"taken"}) {
					t.Errorf("Networks() = %q afterwards", got)
				}
			}()
			register()
		})
	}
}
