package targets_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/hashicorp/go-multierror"

	"iomux/apps/echo/prober/targets"
)

func TestFiles(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"10.0.0.1\n10.0.0.2\n", "10.0.0.1 10.0.0.2"},
		{"10.0.0.1", "10.0.0.1"},
		{"10.0.0.1 \t a\n\n \n b", "10.0.0.1 a b"},
		{"a\r\nb\r\n", "a b"},
		{"\xef\xbb\xbfa\n", "a"},
		{"# all\na # the first\nb# c d\n#e\nf", "a b f"},
		{"a # b # c\r\nd", "a d"},
		{"x", "x"},
	} {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(c.text), "by byte": iotest.OneByteReader(strings.NewReader(c.text)),
			"with EOF": iotest.DataErrReader(strings.NewReader(c.text)),
		} {
			var b targets.Builder
			if err := b.AddFile("hosts", r); err != nil {
				t.Errorf("%q %s: %v", c.text, name, err)
				continue
			}
			if l, err := b.List(); err != nil || all(l) != c.want {
				t.Errorf("%q %s: %v, want %s", c.text, name, err, c.want)
			}
		}
	}
}

func TestBadFiles(t *testing.T) {
	broken := errors.New("broken")
	long := strings.Repeat("a.", 256)
	const number = "it ends in a number as an IPv4 address does and is none; write four numbers from 0 to 255 without leading zeros, such as 192.0.2.7, or a range such as 192.0.2.10-192.0.3.20"
	for _, c := range []struct {
		text string
		want []string
	}{
		{"\n\n1.2.3 a", []string{`hosts:3: target "1.2.3": ` + number}},
		{"a 1.2.3\r\n# 4\nb:80 c", []string{
			`hosts:1: target "1.2.3": ` + number,
			`hosts:3: target "b:80": there is a port in it; write the host alone: "b"`,
		}},
		{long, []string{`hosts:1: target "` + long[:80] + `"...: a name has at most 253 characters and this one has 511; write a shorter name`}},
		{long + "a\n1", []string{
			`hosts:1: "` + long[:80] + `"... is longer than 512 bytes; write targets with blanks between them`,
			`hosts:2: target "1": ` + number,
		}},
		{"\xff\xfea\x00", []string{"hosts: it is written in UTF-16; convert it to UTF-8"}},
		{"\xfe\xff\x00a", []string{"hosts: it is written in UTF-16; convert it to UTF-8"}},
	} {
		var b targets.Builder
		wantErrors(t, b.AddFile("hosts", strings.NewReader(c.text)), c.want)
	}

	var b targets.Builder
	err := b.AddFile("hosts", io.MultiReader(strings.NewReader("a\n1\nb"), iotest.ErrReader(broken)))
	wantErrors(t, err, []string{`hosts:2: target "1": ` + number, "hosts:3: broken"})
	if l, err := b.List(); err != nil || all(l) != "a b" {
		t.Errorf("what is right was not added: %v", err)
	}
	if err := b.AddFile("hosts", iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("%v does not wrap the error of the reader", err)
	}
	wantErrors(t, b.ExcludeFile("no", strings.NewReader("::/0 1")), []string{`no:1: exclude "1": ` + number})
	if err := b.ExcludeFile("no", strings.NewReader("# none\nA.\n")); err != nil {
		t.Fatal(err)
	}
	if l, err := b.List(); err != nil || all(l) != "b" {
		t.Errorf("the file excludes nothing: %v", err)
	}
}

func wantErrors(t *testing.T, err error, want []string) {
	t.Helper()
	got := []error{err}
	var several *multierror.Error
	if errors.As(err, &several) {
		got = several.Errors
	}
	if several != nil && len(got) == 1 || fmt.Sprintf("%v", got) != fmt.Sprintf("%v", want) {
		t.Errorf("%v, want\n%v", got, want)
	}
}

func TestManyFaultsInAFile(t *testing.T) {
	for _, c := range []struct {
		faults, told int
		last         string
	}{
		{100, 100, `hosts:100: target "%": only an IPv6 address can have a zone; write one such as fe80::1%eth0`},
		{101, 101, "hosts: 1 more like these"},
		{5000, 101, "hosts: 4900 more like these"},
	} {
		var b targets.Builder
		var several *multierror.Error
		err := b.AddFile("hosts", strings.NewReader(strings.Repeat("%\n", c.faults)))
		if !errors.As(err, &several) || len(several.Errors) != c.told || several.Errors[c.told-1].Error() != c.last {
			t.Errorf("%d faults: %v", c.faults, err)
		}
	}
}
